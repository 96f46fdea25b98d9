/* Engine mode: this daemon as a runner of a Rivet Engine. Owns the link, the
 * driver that hosts the engine's actors, their state calls, and the tunnel of
 * their traffic. One object for app/. Follows runner protocol v7. */
#pragma once

#include "actor/actor_table.h"
#include "base/metric.h"
#include "engine/engine_endpoint.h"

struct engine;

struct engine_events {
	/* What engine_why_not answers has changed. */
	void (*changed)(void *arg);
	/* It cannot go on: evicted, or no protocol in common. It logged why. Once, and drained() does not follow. */
	void (*failed)(void *arg, int exit_code);
};

struct engine_options {
	struct loop *loop;
	const struct actor_types *types;        /* borrowed */
	const struct engine_endpoint *endpoint; /* borrowed; where the engine is */
	const char *namespace_name;
	const char *token;   /* NULL: none */
	const char *ca_file; /* NULL: the system's certificates */
	const char *runner, *runner_key;
	uint32_t runner_version, total_slots;
	uint32_t starts_max;
	const char *data_dir, *runtime_dir;
	struct guardian *guardian;
	const char *version; /* of this program */
	const struct engine_events *events;
	void *arg;
};

/* Opens the actor table and what belongs to it; does not connect. 0 or -errno with a sentence. */
int engine_open(const struct engine_options *o, struct engine **ret, struct err *e);

/* Connects, and keeps connecting. Failures come through events; 0, or -errno with a sentence for what no retry cures
 * (a CA file that cannot be read: exit code 78). */
int engine_serve(struct engine *g, struct err *e);

/* The types have changed: awake actors of replaced and removed types are put to sleep, starts_max at a time, so that
 * the engine wakes them on what is configured now. Names are announced with the next connection. */
void engine_reload(struct engine *g, uint32_t starts_max);
/* Actors that are not on the types in force yet: 0 when all are. */
size_t engine_rolling(const struct engine *g);

/* NULL: registered. Else what it waits for, static text until the next changed(). */
const char *engine_why_not(const struct engine *g);

/* NULL, or a sentence about an actor that has failed five starts in a row; the first one stays. */
const char *engine_failing(const struct engine *g);
/* No actor is awake or waits for its start. */
bool engine_idle(const struct engine *g);

/* The end of each tick. True when more is left for the next turn. */
bool engine_tick(struct engine *g);

/* Announces stopping, lets the engine move the actors away, ends what is left inside timeout_ms; drained() once, later.
 * engine_drain_now: SIGKILL to all workers. */
void engine_drain(struct engine *g, int64_t timeout_ms, void (*drained)(void *arg), void *arg);
void engine_drain_now(struct engine *g);

void engine_close(struct engine *g, void (*closed)(void *arg), void *arg);

/* NULL once closing. */
struct actor_table *engine_actors(struct engine *g);
void engine_metrics(const struct engine *g, struct metric_out *out);

/* One actor for an operator; text lives during the call. */
struct engine_view {
	struct actor_view actor; /* state "waiting": for its start; "ended": it, or its alarm, failed */
	const char *failure;     /* how it ended last, when not as asked; or NULL */
	int64_t create_ms;       /* of this incarnation; 0: not known */
	int64_t alarm_at_wall_ms;
	int64_t back_off_ms;
	struct slice alarm_failed_json; /* its last alarm that was given up, or SLICE_NONE */
};
/* Actors awake, waiting, or failed lately; name and id: of these only, NULL: any. fn must not call back. */
void engine_each(struct engine *g, const char *name, const char *id, void (*fn)(void *arg, const struct engine_view *v),
		 void *arg);

enum engine_wish {
	ENGINE_WISH_SLEEP,
	ENGINE_WISH_RESTART, /* it sleeps, and the engine wakes it at once, here or elsewhere */
	ENGINE_WISH_DESTROY,
};

enum engine_wish_outcome {
	ENGINE_WISH_ABSENT = 1, /* it is not awake here */
	ENGINE_WISH_STOPPING,   /* it is ending already */
};
/* Asks the engine for the end of a running actor, as the actor itself may. 0 or enum engine_wish_outcome. */
int engine_wish(struct engine *g, const char *id, enum engine_wish wish);
/* 0: it is awake here, or being started; or enum engine_wish_outcome. */
int engine_awake(struct engine *g, const char *id);

/* A state call of an operator, of the kinds RUNTIME_KV_*, for an actor that is awake here: the engine takes calls from
 * where the actor runs alone. `call` is the caller's until answered() returns. 0, answered() follows, not from inside;
 * or ENGINE_WISH_ABSENT. */
int engine_state(struct engine *g, const char *id, struct runtime_call *call,
		 void (*answered)(struct runtime_call *call, enum runtime_outcome outcome));
