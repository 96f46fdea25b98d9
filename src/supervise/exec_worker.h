/* From the daemon's memory to the worker's program. Private to supervise/. */
#pragma once

#include "supervise/proc.h"

#include <sys/types.h>

/* What the child was doing when it failed. */
enum exec_step {
	EXEC_STEP_NONE,
	EXEC_STEP_CLONE, /* there was no child */
	EXEC_STEP_GROUP,
	EXEC_STEP_FDS,
	EXEC_STEP_CGROUP,
	EXEC_STEP_OOM_SCORE,
	EXEC_STEP_NICE,
	EXEC_STEP_NAMESPACE,
	EXEC_STEP_READ_ONLY, /* which: `read_only_at` */
	EXEC_STEP_TMP,
	EXEC_STEP_OWN_DIR,
	EXEC_STEP_NO_NEW_PRIVS,
	EXEC_STEP_LANDLOCK,
	EXEC_STEP_RLIMIT, /* which: `rlimit_at` */
	EXEC_STEP_GROUPS,
	EXEC_STEP_GID,
	EXEC_STEP_UID,
	EXEC_STEP_CAPS,
	EXEC_STEP_DIRECTORY,
	EXEC_STEP_PARENT_DEATH,
	EXEC_STEP_EXEC,
};

struct exec_worker {
	/* in: everything ready to be handed to the kernel, since the child must not allocate */
	const struct proc_spec *spec;
	const char *path;        /* of the program */
	char *const *envp;       /* spec->envp, with listen_pid in it */
	char *listen_pid;        /* writable, "LISTEN_PID=" and room for 11 bytes; NULL: none */
	int fds[3];              /* what becomes 0, 1 and 2 */
	int guardian_fd;         /* -1: none at the moment */
	const uint64_t *n_files; /* soft and hard RLIMIT_NOFILE, before the spec's limits; NULL: as it is */
	int32_t parent;
	const char *here;      /* the daemon's directory, with mounts; NULL: it has none */
	bool mounts;           /* the sandbox's paths by a mount namespace */
	bool var_tmp;          /* /var/tmp is a directory of its own */
	char *own_dir;         /* writable, with mounts; NULL: none */
	int ruleset_fd;        /* the sandbox's paths by Landlock; -1: none */
	int cgroup_fd;         /* join_fd of its control group; -1: none */
	char oom_score_adj[8]; /* digits; "": as it is */
	/* out */
	enum exec_step step; /* EXEC_STEP_NONE: the program runs */
	int why;             /* errno */
	size_t rlimit_at;    /* spec->n_rlimits: n_files */
	size_t read_only_at; /* in spec->sandbox->read_only */
};

/* Runs the child up to execve or failure. Returns its pid and *ret_pidfd, also when it failed on its way (it is a
 * zombie then), or -1 with EXEC_STEP_CLONE. */
pid_t exec_worker(struct exec_worker *w, int *ret_pidfd);
