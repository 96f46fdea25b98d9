/* Settings of an actor type's sandbox: readers of its rows and the judgement of the whole. */
#pragma once

#include "supervise/sandbox.h"

#include <jansson.h>

/* Reads the setting `key` (memory and cpu of `limits`, umask, nice, oom_score_adj, no_new_privs, private_tmp,
 * read_only_paths). 0 or -EINVAL with "WHAT: ..." and exit code 78, also for what this daemon may not do. */
int config_sandbox_read(struct sandbox *s, const char *key, const char *what, const json_t *value, struct err *e);

/* The defaults. */
void config_sandbox_init(struct sandbox *s);
/* Whether the machine can give it, and whether a private /tmp hides what the type needs. argv and directory are the
 * type's, directory NULL: the daemon's. The sentence begins with the setting's name. */
int config_sandbox_check(const struct sandbox *s, char *const *argv, const char *directory, struct err *e);
