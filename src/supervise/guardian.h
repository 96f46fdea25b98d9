/* A tiny process that outlives the daemon by a moment: it knows every
 * worker's process group and kills them all when the pipe from the daemon
 * ends, however the daemon ended; and what is in workers' control groups. */
#pragma once

#include "base/err.h"
#include "io/loop.h"

struct guardian;

/* Forks it; call early, before threads and much memory. 0 or -errno with a sentence. It leaves the daemon's session,
 * closes every other descriptor and ignores TERM, INT and HUP. */
int guardian_start(struct guardian **ret, struct err *e);

/* Watches it on the loop: a guardian that was killed is started anew and told all groups again; `lost` (may be NULL) is
 * told each time for the log, when there is one again. */
int guardian_watch(struct guardian *g, struct loop *l, void (*lost)(void *arg), void *arg);

/* The descriptor a child writes its process group to before exec: 8 bytes, int32 group then int32 1. */
int guardian_fd(const struct guardian *g);
/* The daemon's own notes: the group exists (after the spawn) / is gone (before its leader is reaped). */
void guardian_add(struct guardian *g, int32_t group);
void guardian_remove(struct guardian *g, int32_t group);

/* Lets it end without killing anything left (all groups must be removed); reaps it. */
void guardian_stop(struct guardian *g);
