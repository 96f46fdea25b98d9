/* Settings of one actor type: a configured name and the command that serves it. Made by app/config, immutable once
 * workers use it. */
#pragma once

#include "base/slice.h"
#include "supervise/sandbox.h"

enum isolation { ISOLATION_ACTOR, ISOLATION_SHARED };
enum serve { SERVE_FD, SERVE_BIND, SERVE_TCP };
enum ready { READY_ACCEPT, READY_NOTIFY, READY_PATH };

struct actor_type {
	char *name;
	char **argv;     /* NULL-terminated */
	char *directory; /* NULL: the daemon's */
	char *user;      /* NULL: the daemon's; for messages */
	bool set_user;
	uint32_t uid, gid;
	unsigned slot; /* no setting: metric_type_slot of the name, by actor_types; before that 0 */
	uint32_t *groups;
	size_t n_groups;
	char *home, *login, *shell; /* of that user, with set_user */
	char **environment; /* "NAME=value", NULL-terminated: environment_file, then environment, then pass_environment
			       resolved */
	enum isolation isolation;
	uint32_t workers_max;
	uint32_t actors_per_worker;
	enum serve serve;
	enum ready ready;
	char *ready_path;
	int64_t start_timeout_ms, stop_grace_ms, request_timeout_ms;
	int64_t sleep_after_ms; /* -1: never */
	uint32_t requests_max;  /* 0: no limit */
	struct {
		int resource;
		uint64_t value;
	} rlimits[8];
	size_t n_rlimits;
	struct sandbox sandbox;
};

void actor_type_free(struct actor_type *t);

/* Every setting is the same. */
bool actor_type_equal(const struct actor_type *a, const struct actor_type *b);

/* Variables that settings cannot give a worker: the ones the daemon itself sets, and the daemon's token. */
bool actor_type_env_is_reserved(struct slice name);
