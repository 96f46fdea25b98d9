/* The engine inside: owns the life of actors over the store and commands the
 * actor table as a Rivet Engine would. Implements struct driver. */
#pragma once

#include "actor/dispatch.h"
#include "base/log.h"
#include "local/local.h"
#include "store/store_actor.h"
#include "store/store_alarm.h"

struct local_driver;

/* The actor table is opened with it. */
int local_driver_open(struct local *l, struct local_driver **ret, struct err *e);
void local_driver_close(struct local_driver *d, void (*closed)(void *arg), void *arg);
struct actor_table *local_driver_table(struct local_driver *d);
bool local_driver_tick(struct local_driver *d);

/* Types or starts_max have changed: awake actors of replaced and removed types are ended, starts_max at a time. */
void local_driver_reload(struct local_driver *d);
/* Actors that are on an old type, or on their way from one. */
/* NULL, or a sentence about an actor that has failed five starts in a row. */
const char *local_driver_failing(const struct local_driver *d);
/* Actors that are awake, wait for a start or have one due after a crash. */
bool local_driver_awake(const struct local_driver *d);
size_t local_driver_rolling(const struct local_driver *d);

/* Starts again what ran (policy restart); puts the rest to sleep in its record. */
void local_driver_restore(struct local_driver *d);

/* Traffic. The exchange is taken: it ends by itself, never inside this call. Fills x->actor_id, x->actor_key,
 * x->generation as they become known. */
void local_driver_offer_id(struct local_driver *d, const char *id, struct exchange *x);

struct local_key {
	const char *namespace_name, *name, *key; /* key NULL: none (create only) */
	const char *pool;
	enum crash_policy crash_policy;
	struct slice input;
	bool has_input;
};
void local_driver_offer_key(struct local_driver *d, const struct local_key *k, bool create, struct exchange *x);

/* How long a waiting exchange for this actor may wait: max(30 s, start_timeout of its type). */
int64_t local_driver_ready_ms(const struct local_driver *d, const char *actor_id);

/* What a record about this actor carries, as far as it is known without asking the store; valid until the next turn. */
struct log_actor local_driver_who(const struct local_driver *d, const char *actor_id);

/* What the API asks for. `done` comes later, never inside, exactly once. */
enum local_call_outcome {
	LOCAL_CALL_OK = 0,
	LOCAL_CALL_CREATED, /* get-or-create made it */
	LOCAL_CALL_NOT_FOUND,
	LOCAL_CALL_KEY_TAKEN, /* actor: the one that has it */
	LOCAL_CALL_NO_NAMESPACE,
	LOCAL_CALL_NOT_REGISTERED, /* no actor type of that name */
	LOCAL_CALL_DISK_FULL,
	LOCAL_CALL_DISK_FAILED,
	LOCAL_CALL_STOPPING, /* the daemon drains */
	LOCAL_CALL_OVERLOADED,
};
/* actor may be NULL; valid during the call only. */
typedef void local_call_done(void *arg, enum local_call_outcome outcome, const struct store_actor *actor);

/* namespace_name NULL: whatever the actor's is. */
void local_driver_create(struct local_driver *d, const struct local_key *k, bool get_or_create, local_call_done *done,
			 void *arg);
void local_driver_destroy(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			  void *arg);
void local_driver_sleep(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			void *arg);
/* Starts it now, whatever the back-off. */
void local_driver_wake(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
		       void *arg);

/* Stops it with reason "restart" and starts it again; one that is asleep is woken. */
void local_driver_restart(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			  void *arg);

/* The record as it is in memory, where that is newer than the store's, or NULL. */
const struct store_actor *local_driver_record(const struct local_driver *d, const char *id);

/* For the alarm clock: wakes the actor for an alarm that is due. False: it is awake (its own timer rings), or cannot be
 * taken now. */
bool local_driver_ring(struct local_driver *d, const struct store_alarm_row *row);
/* Actors being woken for alarms right now. */
size_t local_driver_ringing(const struct local_driver *d);

void local_driver_drain(struct local_driver *d, int64_t timeout_ms);
bool local_driver_idle(const struct local_driver *d); /* no actor, no save under way */

/* A type's sentence for LOCAL_CALL_NOT_REGISTERED; the caller frees. */
char *local_driver_not_registered(const struct local_driver *d, const char *name);
