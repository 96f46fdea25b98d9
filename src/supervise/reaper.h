/* Who waits for which child. Private to supervise/.
 *
 * A child of ours is reaped only by its owner, through here; everything else
 * that dies as our child (orphans of workers, what PID 1 inherits) is a
 * stranger and reaped unseen, once proc_reaper_start was called. */
#pragma once

#include "base/map.h"

#include <signal.h>

/* Embedded in the owner. */
struct reaper_child {
	struct map_node node;
	int32_t pid;
};

/* To be called in the same turn as the fork. */
void reaper_own(struct reaper_child *c, int32_t pid);

/* Waits for the child, which has exited or is about to. No longer owned then. */
void reaper_reap(struct reaper_child *c, siginfo_t *ret);
