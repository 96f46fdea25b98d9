/* Configuration: option, then environment, then file, then default.
 *
 * Every value knows where it came from. Unknown names are errors that name the
 * line and the nearest known name; nothing is ignored in silence. */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "engine/engine_endpoint.h"
#include "worker/actor_type.h"

enum config_id {
#define CONFIG(id, ...) CONFIG_##id,
#include "app/config.def"
#undef CONFIG
	CONFIG_COUNT,
};

enum config_type {
	CONFIG_TYPE_TEXT,
	CONFIG_TYPE_PATH, /* made absolute */
	CONFIG_TYPE_ADDRESS,
	CONFIG_TYPE_AUTH,
	CONFIG_TYPE_LIST,
	CONFIG_TYPE_BOOL,
	CONFIG_TYPE_COUNT,
	CONFIG_TYPE_DURATION,
	CONFIG_TYPE_LOG_LEVEL,
	CONFIG_TYPE_LOG_FORMAT,
	CONFIG_TYPE_EXIT_WHEN,
};

enum config_reload {
	CONFIG_RELOAD_LIVE,
	CONFIG_RELOAD_LOCAL, /* live in local mode */
	CONFIG_RELOAD_RESTART,
};

struct config_row {
	const char *key, *option;
	char letter;
	const char *env, *env2;
	enum config_type type;
	const char *preset, *argument;
	enum config_reload reload;
	const char *prose;
};
extern const struct config_row config_rows[CONFIG_COUNT];

struct config_value {
	char *text;   /* canonical text; lists are comma separated; NULL: not set */
	char *source; /* "default", "option --listen", "environment RIVET_LISTEN", "FILE:LINE" */
};

enum config_exit_when { CONFIG_EXIT_NEVER, CONFIG_EXIT_IDLE, CONFIG_EXIT_FAILED };

enum config_mode { CONFIG_RUN, CONFIG_CHECK, CONFIG_HELP, CONFIG_VERSION };

struct config {
	enum config_mode mode;
	bool foreground, detach, takeover;
	char *directory; /* where relative paths start: the one the daemon was started in; NULL: not known */
	char *file;      /* the file that was read, or NULL */
	struct config_value values[CONFIG_COUNT];
	/* typed copies of the values */
	int64_t drain_timeout_ms;
	enum log_level log_level;
	enum log_format log_format; /* auto is resolved */
	enum config_exit_when exit_when;
	bool auth_none, engine_limits;
	uint32_t starts_max, runner_version, total_slots;
	bool engine_mode; /* engine.endpoint is set; endpoint is what it says */
	struct engine_endpoint endpoint;
	char **hosts;        /* NULL-terminated */
	char **cors_origins; /* NULL-terminated, or NULL: the default rule */
	char *token;         /* NULL: none; never printed */
	char *token_source;
	struct actor_type **types; /* NULL-terminated; whoever takes it (TAKE) leaves NULL */
	struct config_note {       /* for --check-config: actor settings with their sources */
		char *key, *text, *source;
	} * notes;
	size_t n_notes;
	char **warnings; /* sentences about what is set and has no effect; NULL-terminated, or NULL: none */
};

/* Reads everything. envp is the environment. On failure -errno and a sentence with exit code 64 or 78.
 * The caller frees with config_free, also after a failure. */
int config_load(struct config *c, int argc, char *const *argv, char *const *envp, struct err *e);
void config_free(struct config *c);

/* The text of a value; never NULL. */
const char *config_get(const struct config *c, enum config_id id);
/* For those who read it: puts text and source, both taken over, in place of what was there. */
void config_set(struct config *c, size_t id, char *text, char *source);

/* --help, --check-config and the table of docs/CONFIGURATION.md. */
void config_print_help(struct buf *out);
void config_print(const struct config *c, struct buf *out);
void config_print_markdown(struct buf *out);
