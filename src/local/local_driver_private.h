/* What local_driver.c, local_actor.c, local_actor_alarm.c and local_find.c know of each other. */
#pragma once

#include "local/local_private.h"
#include "supervise/restart.h"

#define LOCAL_DRIVER_MAGIC 0x6c647276u
#define LOCAL_READY_MS 30000 /* a waiting request waits at least so long for its actor */
#define LOCAL_ACTOR_MAGIC 0x6c616374u

enum local_actor_state {
	LA_ASLEEP,    /* no incarnation */
	LA_WAKING,    /* the new generation is being made durable */
	LA_LIVE,      /* the actor table has it */
	LA_ENDING,    /* its end is being made durable */
	LA_DESTROYED, /* gone; freed when nothing hangs on it */
};

/* What every record of an actor's life carries. */
#define RECORD_LOG(a) LOG_ACTOR_OF((a)->rec.id, (a)->rec.name, (a)->rec.key, (a)->rec.generation)

/* An API call that waits for the actor. */
struct local_call {
	struct list node;
	local_call_done *done;
	void *arg;
};

/* An actor with an incarnation, or with something waiting for one. */
struct local_actor {
	uint32_t magic;
	struct local_driver *d;
	struct map_node by_id, by_key;
	char *key_text; /* of by_key; NULL: the actor has no key */
	struct store_actor rec;
	enum local_actor_state state;
	struct actor_ref ref; /* of the live incarnation */
	struct list waiting;  /* exchanges */
	size_t n_waiting;
	struct list destroys; /* struct local_call */
	struct restart restart;
	struct timer back_off;
	struct timer alarm_again; /* the alarm that failed rings again */
	struct loop_task work;    /* looks at the wishes below */
	bool wake_wish, sleep_wish, destroy_wish, alarm_wish, force_wake, restart_wish;
	bool stop_sent;
	bool rolling; /* counts in d->n_rolling: being restarted because its type was replaced */
	bool ringing; /* woken for its alarm */
	int32_t alarm_attempts;
	char *last_failure; /* sentence for those who ask during back-off */
	uint8_t *input;
	size_t input_len;
	struct store_actor_save *saving;
	unsigned jobs; /* store jobs under way that point here */
};

struct local_driver {
	uint32_t magic;
	struct driver driver; /* the actor layer's view */
	struct local *l;
	struct actor_table *table;
	struct map by_id, by_key, finds;
	size_t n_ringing;
	size_t n_rolling;
	char *failing; /* the first actor that failed five starts in a row, as a sentence; or NULL */
	unsigned jobs; /* look-ups, creates and saves under way */
	bool draining;
	int64_t drain_until_mono_ms;
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
	struct loop_task finish;
};

/* local_actor.c */

/* Takes the record over (the struct is emptied). The id must not be in. NULL when LIMIT_ACTORS are in. */
struct local_actor *local_actor_new(struct local_driver *d, struct store_actor *rec);
struct local_actor *local_actor_by_id(const struct local_driver *d, const char *id);
struct local_actor *local_actor_by_key(const struct local_driver *d, const char *key_text);
/* "namespace\nname\nkey"; the caller frees. */
char *local_actor_key_text(const char *namespace_name, const char *name, const char *key);
/* Takes the exchange. `tick`: called from the tick, so that it may be ended at once. */
void local_actor_offer(struct local_actor *a, struct exchange *x);
/* Something may have to be done: looks in the tick. */
void local_actor_poke(struct local_actor *a);
void local_actor_destroy(struct local_actor *a, local_call_done *done, void *arg);
/* Its type was replaced or removed: restarted, or stopped. */
void local_actor_roll(struct local_actor *a);
void local_actor_report(struct local_actor *a, const struct actor_report *r);

/* local_actor_alarm.c */

/* The alarm that was due rang: gone when ok, else again later, six times in all. why: a sentence, or NULL. */
void local_actor_alarm_over(struct local_actor *a, int64_t due_wall_ms, bool ok, const char *why);
/* It is time for the next attempt; arg is the actor. */
void local_actor_alarm_again(void *arg);

/* local_driver.c */

/* Ends an exchange from the tick: posts itself. Message is taken over. */
void local_refuse_later(struct local_driver *d, struct exchange *x, unsigned status, const char *group,
			const char *code, char *message, uint32_t retry_after_s);
/* One of d->jobs has ended. */
void local_driver_job_done(struct local_driver *d);
/* An actor is gone: perhaps the last thing a close waited for. */
void local_driver_check_closed(struct local_driver *d);

/* 507 or 503 for a store failure; result is the job's. */
void local_refuse_store(struct exchange *x, int result);
enum local_call_outcome local_call_outcome_of(int result);
