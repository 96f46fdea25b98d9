/* A control group (cgroup v2) for each worker, where the daemon's own group is delegated to it.
 *
 * Below the delegated group:
 *   rivet-runnerd.ID/          the daemon and its guardian
 *   rivet-runnerd.ID/worker-N  a worker without limits: a threaded group, which a process enters without waiting for
 *                              the whole machine, as another kind of group makes it
 *   rivet-limited.ID/worker-N  a worker with limits.memory or limits.cpu: they are not to be had in a threaded group
 *   rivet-others/              what else was in the delegated group, once there are limits: a group with controllers
 *                              for its children holds no processes itself
 * ID is new with each daemon, and its directories are locked while it lives, so that a leftover is known and never
 * taken for one's own. One of all this for the whole process. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum cgroup_controller { CGROUP_MEMORY = 1, CGROUP_CPU = 2 };

/* The path of the daemon's own group below the v2 mount, out of the texts of /proc/self/cgroup and
 * /proc/self/mountinfo. mem_, or NULL: there is no cgroup v2 here. */
char *cgroup_find(const char *self_cgroup, const char *mountinfo);
/* Whether the group at this path was given to the daemon; is_root: nothing is above it in this namespace. */
bool cgroup_is_delegated(const char *path, bool is_root);

/* Kills and removes what daemons left that are gone, and moves this process into a group of its own, below which
 * workers get theirs. 0; or -errno with a sentence that says why there are none: then everything goes on without, but
 * limits. *ret_stuck: how many leftovers are still there, because something in them does not die.
 * To be called once, before the guardian is started. */
int cgroup_open(unsigned *ret_stuck, struct err *e);
/* The same below this group, without asking whether it is delegated. */
int cgroup_open_at(const char *path, unsigned *ret_stuck, struct err *e);
bool cgroup_is_open(void);
/* Removes what can be removed, and forgets. Nothing may be running in a group any more. */
void cgroup_close(void);

/* Whether any group of this machine can have these controllers, as far as can be seen from here; nothing is changed.
 * For a configuration that is checked outside the service. */
int cgroup_possible(unsigned controllers, struct err *e);
/* Makes groups with these controllers (a set of enum cgroup_controller) possible, opening if need be: at most once,
 * later calls only check. 0 or -errno with a sentence that says what is missing. */
int cgroup_need(unsigned controllers, struct err *e);
/* The same below this group, without asking whether it is delegated. */
int cgroup_need_at(const char *path, unsigned controllers, struct err *e);

/* Kills everything in the groups of workers. For the guardian: nothing but system calls and the stack. */
void cgroup_kill_all(void);

struct cgroup_group {
	char *path;  /* NULL: none */
	int join_fd; /* a single-threaded child writes "0" here, and is in */
	bool limited;
};

/* When open; with limits after cgroup_need. memory_max in bytes, 0: no limit; cpu_milli in thousandths of a processor,
 * 0: no limit. 0 or -errno with a sentence; nothing is left then. */
int cgroup_group_make(struct cgroup_group *g, uint64_t memory_max, uint32_t cpu_milli, struct err *e);
/* Writes the limits of a group at this path, as above. */
int cgroup_limit_at(const char *path, uint64_t memory_max, uint32_t cpu_milli, struct err *e);
/* The child is in. */
void cgroup_group_started(struct cgroup_group *g);
/* Kills every process in it, those that left the worker's process group too. */
void cgroup_group_kill(const struct cgroup_group *g);

enum cgroup_oom {
	CGROUP_OOM_NONE,
	CGROUP_OOM_LIMIT,   /* the group's own limit was met */
	CGROUP_OOM_OUTSIDE, /* memory was short in a group around it, or on the machine */
};
/* Whether the kernel killed something in it for memory; known of groups with limits only. */
enum cgroup_oom cgroup_group_oom(const struct cgroup_group *g);
/* Removes it, now or with a later one, when its last process is gone. Idempotent. */
void cgroup_group_remove(struct cgroup_group *g);
