/* What engine_driver.c, engine_commands.c, engine_actor.c and engine_alarm.c know of each other. */
#pragma once

#include "engine/engine_outbox.h"
#include "engine/engine_private.h"
#include "supervise/restart.h"

#include "base/log.h"

#define ENGINE_DRIVER_MAGIC 0x65647276u
#define ENGINE_ACTOR_MAGIC 0x65616374u

/* What every record of an actor's life carries. */
#define ENGINE_ACTOR_LOG(a) LOG_ACTOR_OF((a)->id, (a)->name, (a)->key, (a)->generation)

enum engine_actor_state {
	EA_NEW,    /* to be started when it may: no older incarnation, no back-off */
	EA_LIVE,   /* the actor table has this incarnation */
	EA_ENDING, /* it has ended; state calls are still under way, the last event waits for them */
	EA_ENDED,  /* a tombstone: its last event is queued, or it never was ours */
};

/* The alarm, as it is kept in the engine (engine_alarm.c). */
struct engine_alarm {
	bool known;           /* what is kept was read, or written, by this incarnation */
	bool destroy;         /* kept with it: the actor is to be destroyed when it next runs */
	int32_t attempts;     /* failed so far */
	int64_t due_wall_ms;  /* 0: none */
	int64_t next_wall_ms; /* when it rings: due, or later after a failed attempt */
	unsigned settings;    /* new alarms of the worker being written */
	bool tell;            /* the actor table is to be told, from the tick */
	bool counted;         /* the failed start of this incarnation counts as an attempt, and was counted */
	struct timer again;   /* the next attempt, or the next try to read it */
};

/* What is known of one actor: the newest incarnation the engine named, alive or dead. */
struct engine_actor {
	uint32_t magic;
	struct engine_driver *d;
	struct map_node by_id;
	struct list age; /* driver.ended while EA_ENDED, the longest dead first */
	int64_t ended_mono_ms;
	char id[64];
	uint32_t generation;
	enum engine_actor_state state;
	bool silent;           /* nothing of this incarnation is reported any more */
	bool in_table;         /* the actor table has an incarnation, perhaps an older one */
	struct actor_ref live; /* that one */
	/* From the start command. */
	char *name, *key; /* key NULL: none */
	uint8_t *input;
	size_t input_len;
	bool has_input;
	int64_t create_ms;
	/* Commands and intents. */
	int64_t command_index;           /* the highest seen of this incarnation */
	bool stop_commanded, stop_begun; /* by the engine; told to the actor table */
	bool sleep_asked, destroy_asked; /* intents of the actor */
	bool restart_asked;              /* by an operator: its sleep is to end at once */
	bool rolling;                    /* counts in d->n_rolling: its sleep was asked for, its type was replaced */
	struct timer intent;             /* the engine's command is overdue */
	struct timer why;                /* the next look at what a stop without a reason means */
	int64_t why_since_mono_ms;
	uint8_t why_asks;
	/* The end of this incarnation. */
	enum actor_stopped how;
	char *message;
	bool ended_well; /* what its last event said */
	/* Beyond one incarnation. */
	bool has_run;
	struct restart restart;
	struct timer back_off;
	char *last_failure, *failed_name; /* how it failed last, and as what; or NULL */
	char *alarm_failed;               /* JSON about its last alarm that was given up, or NULL */
	unsigned calls;                   /* state calls and alarm writes under way: they point here */
	struct engine_alarm alarm;
	struct loop_task work;
};

/* An incarnation whose commands the engine may forget. */
struct engine_ack {
	struct list node;
	char id[64];
	uint32_t generation;
	int64_t index;
	int64_t due_mono_ms;
};

struct engine_driver {
	uint32_t magic;
	struct driver driver; /* the actor layer's view */
	struct engine *g;
	struct actor_table *table;
	struct map by_id;
	struct list ended; /* engine_actor.age */
	size_t n_ended;
	struct list acks; /* struct engine_ack, the earliest due first */
	size_t n_acks;
	struct engine_outbox *outbox;
	struct buf frame; /* events the link did not take yet, or empty */
	bool frame_last;  /* a STOPPED is among them */
	struct loop_task flush;
	struct timer again; /* events without an answer, commands to be acknowledged */
	struct timer drain; /* the engine does not say stop */
	size_t n_rolling;
	char *failing;       /* the first actor that failed five starts in a row, as a sentence; or NULL */
	bool draining, mute; /* mute: evicted, another runner speaks for these actors */
	int64_t drain_until_mono_ms;
	struct engine_driver_stats stats;
	unsigned late; /* answers to runtime calls that are to be given from the tick */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
	struct loop_task finish;
};

/* ---- engine_driver.c ---- */

/* Queues an event of the actor's incarnation, unless nothing is said of it any more. */
void engine_driver_event(struct engine_driver *d, const struct engine_actor *a, struct runner_event ev);
/* The engine may forget the commands up to this one, soon. */
void engine_driver_ack(struct engine_driver *d, const char *id, uint32_t generation, int64_t index);
/* Ends a runtime call from the tick. input: copied, NULL: none. */
void engine_driver_answer(struct engine_driver *d, struct runtime_call *call, enum runtime_outcome outcome,
			  const struct engine_actor *input);
/* Something a close waits for may be gone. */
void engine_driver_check_closed(struct engine_driver *d);

/* ---- engine_actor.c ---- */

struct engine_actor *engine_actor_find(const struct engine_driver *d, struct slice id);
/* NULL when LIMIT_ENGINE_ACTORS are known and none of them is dead. */
struct engine_actor *engine_actor_need(struct engine_driver *d, struct slice id);
/* A new incarnation takes the place of what was known; an older one that lives is ended without a word. */
void engine_actor_begin(struct engine_actor *a, const struct runner_command *c);
/* The engine tells the start of this very incarnation again: it is this runner's, whatever was believed, and if it has
 * ended the engine has not heard of it. */
void engine_actor_replayed(struct engine_actor *a);
/* Looks at it in the tick. */
void engine_actor_poke(struct engine_actor *a);
/* Its type was replaced or removed: it is asked to sleep, so that it wakes on what is configured now. */
void engine_actor_roll(struct engine_actor *a);
void engine_actor_report(struct engine_actor *a, const struct actor_ref *ref, const struct actor_report *r);
/* The incarnation ends as it is, without having run: its last event is Stopped with this message (taken over), or Ok
 * without one. */
void engine_actor_end(struct engine_actor *a, char *message);
/* It is stopped, whether the engine said so or not. */
void engine_actor_stop(struct engine_actor *a, const char *reason, int64_t deadline_ms);
/* One of its calls is over. */
void engine_actor_call_over(void *actor);
bool engine_actor_active(const struct engine_actor *a);
/* Its memory, when nothing points to it. */
void engine_actor_free(struct engine_actor *a);

/* As if the actor had asked for it. It is EA_LIVE and not told to stop. */
void engine_actor_wish(struct engine_actor *a, enum engine_wish wish);

/* ---- engine_alarm.c ---- */

void engine_alarm_init(struct engine_actor *a);
/* A new incarnation: what is kept is read, then told to the actor and to the engine. */
void engine_alarm_begin(struct engine_actor *a);
/* Asks the engine for the key once more; done's arg is the actor, whose call it is. */
void engine_alarm_ask(struct engine_actor *a, engine_kv_done *done);
/* The worker's call: written, then set at the engine, then answered. */
void engine_alarm_set(struct engine_actor *a, struct runtime_call *call);
/* The alarm call ended. */
void engine_alarm_over(struct engine_actor *a, int64_t due_wall_ms, bool ok, const char *why);
/* From the tick: the actor table is told what is due. */
void engine_alarm_tell(struct engine_actor *a);
/* The actor asked to be destroyed when its sleep was already on its way: it is woken for it. */
void engine_alarm_wish_destroy(struct engine_actor *a);
/* The incarnation ends: what is still to be written is begun (true: wait for it), the engine's alarm is set anew. */
bool engine_alarm_end(struct engine_actor *a);
void engine_alarm_done(struct engine_actor *a);
