/* All actors that are not asleep: commands in, traffic in, one event queue
 * drained by the tick. */
#pragma once

#include "actor/driver.h"
#include "worker/actor_types.h"

struct actor_table;

/* What a driver tells about the actor it starts. Copied. */
struct actor_start {
	struct actor_ref ref;
	const struct actor_type *type;
	const char *name, *key, *namespace_name; /* key NULL: none */
	int64_t create_ts;
	struct slice input;
	bool has_input;
	int64_t alarm_at_wall_ms; /* known alarm, delivered by this actor's own timer while it runs; 0: none */
	int32_t alarm_attempts;
	void *driver_data; /* given back with state calls */
};

enum actor_start_outcome {
	ACTOR_START_FULL = 1, /* LIMIT_ACTORS, stopped ones whose seat is not gone yet included; or closing */
	ACTOR_START_LIVE,     /* an incarnation of that id is still live */
};

/* One table; `driver` and the pool options' loop outlive it. The table opens its worker pool. */
int actor_table_open(const struct worker_pool_options *pool, struct driver *driver, struct actor_table **ret,
		     struct err *e);

/* Kills what is left (each actor still reports STOPPED), runs itself until every seat is gone, closes the pool.
 * closed() comes later, never inside; the table is gone then. */
void actor_table_close(struct actor_table *t, void (*closed)(void *arg), void *arg);

/* Commands of the driver. */
int actor_table_start(struct actor_table *t, const struct actor_start *s);
/* reason: "sleep", "destroy", "drain", "restart", "evicted", "lost" (static). deadline_ms <= 0: the type's stop_grace.
 * Unknown refs are ignored. Of several stops the shortest deadline and the heaviest reason hold, in the order sleep,
 * restart, drain, destroy, evicted, lost. */
void actor_table_stop(struct actor_table *t, const struct actor_ref *a, const char *reason, int64_t deadline_ms);
/* All of them; for drain and eviction. kill_now: straight to SIGKILL. */
void actor_table_stop_all(struct actor_table *t, const char *reason, int64_t deadline_ms, bool kill_now);
size_t actor_table_count(const struct actor_table *t);
/* True while the actor of this id waits for a worker to have room. */
bool actor_table_is_placing(const struct actor_table *t, const char *id);

/* The alarm of a running actor was set or cleared (0), e.g. by a state call just made durable. attempts: failed so far.
 */
void actor_table_alarm(struct actor_table *t, const struct actor_ref *a, int64_t due_wall_ms, int32_t attempts);

/* Runs posted events with a budget. True when more is left; the loop then turns again by itself. */
bool actor_table_run(struct actor_table *t);

/* An own wish of the actor to sleep, made for it: REPORT_INTENT_SLEEP follows once it runs. Unknown refs are ignored.
 */
void actor_table_intend_sleep(struct actor_table *t, const struct actor_ref *a);

/* After types were replaced: the live incarnations of replaced ones are to be ended by the driver, one by one, as it
 * takes them with actor_table_next_stale. Their shared workers end when they are empty. */
void actor_table_retire(struct actor_table *t, const struct actor_types *types);
/* Takes out one that was not taken since then; first those of removed types, of a type first those that wait for a
 * worker: they start nothing when they end. False: there is none. After LIMIT_ROLL_OVER_FAILURES failed starts in a row
 * of the type that took its place a type's actors are left alone, until a start works or another type takes its place.
 */
bool actor_table_next_stale(struct actor_table *t, struct actor_ref *ret);
/* Incarnations of replaced types, live or leaving, but for those that are left alone, and these. */
size_t actor_table_count_stale(const struct actor_table *t);
size_t actor_table_count_halted(const struct actor_table *t);
/* Forgets a replaced type; false while an actor or a worker is of it. */
bool actor_table_forget_type(struct actor_table *t, const struct actor_type *type);

/* Enumerating for admin pages and metrics: fn is called for each; it must not call back. */
struct actor_view {
	const char *id, *name, *key, *namespace_name, *state, *worker_id;
	int64_t generation, since_mono_ms;
	int32_t pid;
	uint32_t in_flight, websockets, waiting, leases;
	unsigned type_slot;
};
/* The live incarnation of that id; false: there is none. */
bool actor_table_view(const struct actor_table *t, const char *id, struct actor_view *ret);
void actor_table_each(const struct actor_table *t, void (*fn)(void *arg, const struct actor_view *v), void *arg);
struct worker_pool *actor_table_pool(struct actor_table *t);
