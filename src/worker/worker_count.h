/* What is counted of workers, by actor type, and of the calls they make on
 * their runtime sockets. */
#pragma once

#include "base/metric.h"
#include "worker/runtime_api.h"

struct actor_type;

/* Why the start of an actor failed. */
enum worker_start_failure {
	START_SPAWN,     /* no process */
	START_EXIT,      /* it ended, with a code */
	START_SIGNAL,    /* it was ended by a signal */
	START_NOT_READY, /* too late */
	START_REFUSED,   /* by its answer to the start call */
	START_PROTOCOL,  /* no right answer, a wrong socket */
	START_NO_ROOM,   /* workers_max */
	START_FAILURES
};

enum worker_crash { CRASH_EXIT, CRASH_SIGNAL, CRASH_OOM, WORKER_CRASHES };

void worker_count_start(const struct actor_type *t);
/* It is ready, us after its start. */
void worker_count_ready(const struct actor_type *t, int64_t us);
void worker_count_start_failed(const struct actor_type *t, enum worker_start_failure why);
void worker_count_crash(const struct actor_type *t, enum worker_crash how);
void worker_count_output(const struct actor_type *t, uint64_t lines, uint64_t dropped);

/* An answer, us after the call was whole. */
void worker_count_answered(enum runtime_kind kind, enum runtime_outcome outcome, int64_t us);
/* It was refused before anybody looked at it. */
void worker_count_refused(enum runtime_kind kind);

/* All of it, and what is in the pool now (NULL: nothing). Measures the memory of some processes. */
void worker_count_metrics(struct worker_pool *p, struct metric_out *out);
