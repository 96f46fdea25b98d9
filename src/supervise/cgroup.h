/* Control groups (cgroup v2) for workers with limits.memory or limits.cpu.
 *
 * The daemon's own group must be delegated to it. Its processes are moved into
 * a leaf, `rivet-runnerd`, because a group with controllers for its children
 * holds no processes itself; beside it each such worker gets a group of its
 * own. One for the whole process. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum cgroup_controller { CGROUP_MEMORY = 1, CGROUP_CPU = 2 };

/* The path of the daemon's own group below the v2 mount, out of the texts of /proc/self/cgroup and
 * /proc/self/mountinfo. mem_, or NULL: there is no cgroup v2 here. */
char *cgroup_find(const char *self_cgroup, const char *mountinfo);

/* Whether any group of this machine can have these controllers, as far as can be seen from here; nothing is changed.
 * For a configuration that is checked outside the service. */
int cgroup_possible(unsigned controllers, struct err *e);
/* Makes groups with these controllers (a set of enum cgroup_controller) possible: at most once, later calls only check.
 * 0 or -errno with a sentence that says what is missing. */
int cgroup_need(unsigned controllers, struct err *e);
/* The same at this group, without asking whether it is delegated. */
int cgroup_need_at(const char *path, unsigned controllers, struct err *e);
/* Forgets what cgroup_need has found; for tests. */
void cgroup_done(void);

struct cgroup_group {
	char *path;   /* NULL: none */
	int procs_fd; /* the child writes "0" here */
};

/* After cgroup_need. memory_max in bytes, 0: no limit; cpu_milli in thousandths of a processor, 0: no limit. 0 or
 * -errno with a sentence; nothing is left then. */
int cgroup_group_make(struct cgroup_group *g, uint64_t memory_max, uint32_t cpu_milli, struct err *e);
/* The child is in. */
void cgroup_group_started(struct cgroup_group *g);
/* Kills every process in it, those that left the worker's process group too. */
void cgroup_group_kill(const struct cgroup_group *g);
/* Whether the kernel killed something in it for memory. */
bool cgroup_group_oom(const struct cgroup_group *g);
/* Removes it, now or with a later one, when its last process is gone. Idempotent. */
void cgroup_group_remove(struct cgroup_group *g);
