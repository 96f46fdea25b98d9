/* What a worker may be kept from, and whether this machine can keep it.
 *
 * Read-only paths and a private /tmp are a mount namespace where the daemon may
 * make one (CAP_SYS_ADMIN). Without it read-only paths are a Landlock ruleset,
 * made here for each start and put on by the child. A ruleset can only allow,
 * so what lies beside a read-only path is allowed entry by entry: directories
 * on the way to one take no new entries. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define SANDBOX_UMASK 022

/* Settings of an actor type. Zeros but for the umask: nothing is kept from it. */
struct sandbox {
	uint32_t umask;
	bool set_nice, set_oom_score_adj;
	int nice;          /* -20 to 19 */
	int oom_score_adj; /* -1000 to 1000 */
	bool no_new_privs;
	bool private_tmp;
	uint64_t memory_max; /* bytes; 0: no limit */
	uint32_t cpu_milli;  /* thousandths of a processor; 0: no limit */
	char **read_only;    /* canonical paths, NULL-terminated; NULL: none. Owned by the type */
};

/* True when read_only or private_tmp asks for something. */
bool sandbox_has_paths(const struct sandbox *s);
/* Whether the daemon may make mount namespaces for workers: 0, or the errno that says why not. Tried once. */
int sandbox_mounts(void);

/* Whether a worker's child could do this now: 0 or the errno; tried in a process of its own. */
int sandbox_try_nice(int nice);
int sandbox_try_oom_score_adj(int value);
/* Whether the machine can give read_only and private_tmp: 0, or -errno with a sentence that begins with the setting's
 * name. */
int sandbox_check_paths(const struct sandbox *s, struct err *e);

/* A ruleset for the read-only paths, own_dir (or NULL) kept writable. The descriptor is the caller's. 0 or -errno with
 * a sentence. */
int sandbox_ruleset(const struct sandbox *s, const char *own_dir, int *ret_fd, struct err *e);
