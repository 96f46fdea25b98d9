/* The configuration read again while the daemon runs: on SIGHUP, and by
 * `rivet-runnerctl reload`.
 *
 * It is read and judged as at start, with the same options and environment. A
 * bad one is refused whole. A good one is in force when the call returns: what
 * can change at once has; what takes a restart has not, and is named; awake
 * actors of changed types are then rolled over, which takes its time. */
#pragma once

#include "app/log_target.h"
#include "app/mode.h"

struct reload;

/* All is borrowed and outlives it. */
struct reload_options {
	struct config *config; /* in force; changed in place */
	struct actor_types *types;
	struct mode *mode; /* open */
	struct log_target *log;
	int argc; /* of the program */
	char *const *argv;
};

struct reload *reload_new(const struct reload_options *o);
/* NULL: nothing. */
void reload_free(struct reload *r);

/* Does it, and logs what came of it. 0: applied, and *out has one JSON object with what changed. -errno: refused, with
 * a sentence; what was in force is. The log file is opened anew either way. */
int reload_run(struct reload *r, struct buf *out, struct err *e);

/* Each tick: lets go of replaced types that nobody uses any more, and logs when all are rolled over. */
void reload_tick(struct reload *r);
/* Logs how far rolling over is, when it is under way; for a timer. */
void reload_progress(struct reload *r);
/* Appends members of a JSON object, each with a comma before it: what rolls over, what waits for a restart. */
void reload_status(const struct reload *r, struct buf *out);
