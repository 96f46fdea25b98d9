/* Settings of actor types, out of the file and the command line. */
#pragma once

#include "app/config.h"
#include "app/config_lines.h"

#include <jansson.h>

/* What every type needs from around it. Borrowed. */
struct config_actor_source {
	const char *file; /* for messages; NULL: the command line */
	const struct config_lines *lines;
	char *const *envp;     /* the daemon's environment */
	char *const *pass_env; /* names from --pass-env, NULL-terminated */
	bool engine_mode;
};

/* Reads one type's settings object into *ret (owned; config_free frees it through c->types). Appends notes to c.
 * argv: the command of the command line, or NULL; it overrides the object's (which may be NULL then). */
int config_actor(struct config *c, const struct config_actor_source *src, const char *name, const json_t *settings,
		 char *const *argv, struct actor_type **ret, struct err *e);

/* Rows for the documentation. */
void config_actor_markdown(struct buf *out);
/* The same as a definition list. */
void config_actor_list(struct buf *out);

/* Adds a line to --check-config, or replaces the one of this key. key, text and source are taken over. */
void config_note(struct config *c, char *key, char *text, char *source);
/* Adds a sentence about a setting without effect, taken over. */
void config_warn(struct config *c, char *sentence);
