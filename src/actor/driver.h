/* The port between actors and whoever owns their life cycle: the small engine
 * inside (local/) or a real one (engine/). Commands come in through
 * actor_table.h, reports and state go out through struct driver_ops. */
#pragma once

#include "base/slice.h"
#include "worker/runtime_api.h"

struct driver;

/* Which incarnation of which actor. */
struct actor_ref {
	char id[64];
	int64_t generation;
};

enum actor_report_kind {
	REPORT_RUNNING,
	REPORT_INTENT_SLEEP,   /* idle or asked: please stop it to sleep; it may be woken later */
	REPORT_INTENT_DESTROY, /* please destroy it */
	REPORT_STOPPED,        /* the last report of a generation */
	REPORT_ALARM_DONE,     /* the alarm call ended: ok or not */
};

enum actor_stopped {
	STOPPED_ASKED, /* after a STOP command, or an own intent that was granted */
	STOPPED_CRASHED,
	STOPPED_START_FAILED, /* message: what failed, with the worker's last lines */
	STOPPED_UNPLACEABLE,
};

struct actor_report {
	enum actor_report_kind kind;
	enum actor_stopped how; /* REPORT_STOPPED */
	const char *reason;     /* REPORT_STOPPED: the STOP command's reason, or NULL */
	const char *message;    /* a sentence, or NULL */
	/* REPORT_STOPPED, STOPPED_ASKED: exchanges that still waited, linked by `waiting`. The driver takes out
	 * (list_remove) what it offers again or refuses; the rest is refused with 503 actor.stopping when report()
	 * returns. NULL: none. */
	struct list *leftover;
	bool alarm_ok; /* REPORT_ALARM_DONE */
	int64_t alarm_due_wall_ms;
};

struct driver_ops {
	/* Copies what it keeps. Called from the tick; must not call back into actor_table (post instead). */
	void (*report)(struct driver *d, const struct actor_ref *a, const struct actor_report *r);
	/* State calls of a worker (KV, alarm, input): answers each exactly once, later, by runtime_call_done. */
	void (*state)(struct driver *d, const struct actor_ref *a, void *driver_data, struct runtime_call *call);
	/* Stops commanding new starts; reports when no actor of it is left. */
	void (*drain)(struct driver *d);
	void (*close)(struct driver *d, void (*closed)(void *arg), void *arg);
};

struct driver {
	const struct driver_ops *ops;
};
