/* One incarnation of an actor, private to this folder.
 *
 * Made by actor_table_start, freed when it is stopped and its seat has gone.
 * Its state changes in actor_run alone; everybody else posts events. Idleness,
 * leases (actor_awake.c) and the alarm (actor_alarm.c) are its small concerns
 * beside the life cycle table and end in intents. */
#pragma once

#include "actor/dispatch.h"
#include "actor/lifecycle.h"
#include "base/map.h"
#include "io/timer.h"

#define ACTOR_MAGIC 0x6163746fu

/* What an actor may ask of its driver, each once. */
enum actor_intent { ACTOR_INTENT_SLEEP = 1 << 0, ACTOR_INTENT_DESTROY = 1 << 1 };

/* Actors of one type: who is idle, and who is to make room. Owned by the table, lives while it has actors. */
struct actor_kind {
	struct list node; /* actor_table.kinds */
	const struct actor_type *type;
	struct list idle;     /* actor.idle, the longest idle first */
	struct actor *victim; /* told to sleep to make room; NULL: none */
	uint32_t n_actors;    /* incarnations, stopped ones with a seat included */
	uint32_t n_placing;
	uint32_t n_wanted; /* seats the pool asked for, <= n_placing */

	/* Once its type was replaced or removed: */
	bool stale;
	bool halted;                        /* its actors are left alone */
	uint8_t n_failed;                   /* starts of the successor in a row */
	const struct actor_type *successor; /* NULL: the type was removed */
	struct list untaken;                /* actor.stale: those that the driver has not taken */
};

/* What every record of an actor's life carries. */
#define ACTOR_LOG(a)                                                         \
	LOG_ACTOR_OF((a)->ref.id, (a)->name, (a)->key, (a)->ref.generation), \
	    LOG_STR("worker_id", (a)->worker_id[0] == '\0' ? NULL : (a)->worker_id)

struct actor {
	uint32_t magic;
	struct actor_table *table;
	struct map_node by_id;
	struct list all, ready; /* the table's lists */
	struct list stale;      /* actor_kind.untaken */
	struct actor_ref ref;
	char *name, *key, *namespace_name; /* own copies */
	const struct actor_type *type;
	struct actor_kind *kind;
	void *driver_data;
	int64_t since_mono_ms; /* in this state */
	int64_t begun_mono_us;

	enum lifecycle_state state;
	uint8_t events[LIFE_EVENTS]; /* posted, in order; each kind at most once */
	uint8_t n_events;
	struct place *place; /* NULL once the pool told of its end */
	char worker_id[24];  /* of its seat, also after it; "" before */
	struct timer deadline;

	/* How it ended, for the last report. */
	enum actor_stopped how;
	char *message;           /* a sentence, or NULL */
	const char *stop_reason; /* of the STOP command, or NULL */
	int64_t stop_due_mono_ms;
	bool stop_kill; /* SIGKILL at once */

	uint8_t intents_asked;    /* enum actor_intent, ever */
	uint8_t intents_reported; /* told to the driver */

	struct list waiting; /* exchanges */
	uint32_t n_waiting;
	uint32_t in_flight;  /* forwarded and not over, WebSockets included */
	uint32_t websockets; /* of these, open */
	uint32_t sleepers;   /* of those, whose client outlives the worker */

	struct list idle; /* in kind->idle while idle */
	int64_t idle_since_mono_ms;
	struct timer sleep;
	struct list leases;
	uint32_t n_leases;
	struct timer lapse; /* of the earliest lease */

	int64_t alarm_at_wall_ms; /* 0: none */
	int32_t alarm_attempts;
	bool alarm_calling;        /* the worker has an alarm call */
	bool alarm_told;           /* this alarm was delivered; the driver says what is next */
	int64_t alarm_due_wall_ms; /* of the call under way */
	struct timer alarm;
};

/* ---- actor.c ---- */

/* Asks for a seat. The id is not live. */
struct actor *actor_new(struct actor_table *t, const struct actor_start *s, struct actor_kind *kind);
/* Called by actor_table_forget. */
void actor_free(struct actor *a);
void actor_post(struct actor *a, enum lifecycle_event ev);
/* The STOP command. deadline_ms <= 0: the type's grace. A later one may shorten and outrank an earlier one. */
void actor_stop(struct actor *a, const char *reason, int64_t deadline_ms, bool kill_now);
void actor_intend(struct actor *a, enum actor_intent what);
/* Handles what was posted to it. May free it. */
void actor_run(struct actor *a);
enum dispatch_outcome actor_offer(struct actor *a, struct exchange *x);
void actor_view(const struct actor *a, struct actor_view *ret);

/* ---- actor_awake.c ---- */

void actor_awake_init(struct actor *a);
/* Looks at the actor after anything that may have made it busy or idle. */
void actor_awake_look(struct actor *a);
/* Nothing of it stays armed, listed or leased. */
void actor_awake_done(struct actor *a);
enum runtime_outcome actor_awake_lease(struct actor *a, int64_t ttl_ms, char ret[40]);
enum runtime_outcome actor_awake_lease_end(struct actor *a, const char *lease);
/* The kind needs a seat: its longest idle actor goes to sleep, one at a time. */
void actor_awake_press(struct actor_kind *kind);

/* ---- actor_alarm.c ---- */

void actor_alarm_init(struct actor *a, int64_t due_wall_ms, int32_t attempts);
void actor_alarm_set(struct actor *a, int64_t due_wall_ms, int32_t attempts);
/* Delivers when due and possible, else arms the timer. */
void actor_alarm_look(struct actor *a);
/* The call ended, or was lost with the worker. Reports. */
void actor_alarm_over(struct actor *a, bool ok, const char *why);
void actor_alarm_done(struct actor *a);

/* ---- actor_state.c ---- */

extern const struct runtime_ops actor_state_ops; /* arg: struct actor_table */

/* ---- actor_table.c, for the above ---- */

struct loop *actor_table_loop(const struct actor_table *t);
struct driver *actor_table_driver(const struct actor_table *t);
struct actor *actor_table_find(const struct actor_table *t, const char *id);
/* The actor has something to do in the coming actor_table_run. */
void actor_table_ready(struct actor_table *t, struct actor *a);
/* It is stopped: its id is free. */
void actor_table_unlist(struct actor_table *t, struct actor *a);
/* Its memory goes now. */
void actor_table_forget(struct actor_table *t, struct actor *a);
/* Ends a runtime call from the coming actor_table_run. */
/* A start of the actor's type worked or failed, not for want of room: rolling over to that type depends on it. */
void actor_table_start_worked(struct actor_table *t, const struct actor *a);
void actor_table_start_failed(struct actor_table *t, const struct actor *a);
void actor_table_answer(struct actor_table *t, struct runtime_call *call, enum runtime_outcome outcome);
