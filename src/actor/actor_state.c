/* What a worker's runtime calls do to its actor, by the actor's state.
 *
 * The actor answers what it knows itself (its alarm, its leases, its intents);
 * durable state is the driver's. Answers go out from the table's next run,
 * never from inside the call.
 *
 * Refusals: 409 stale when the actor is being killed or has stopped; 409
 * stopping for what would begin something new, and for all state when the
 * actor was evicted or lost, since another may own it by now. */
#include "actor/actor.h"

/* Stopping, and somebody else may run the actor by now. */
static bool may_be_elsewhere(const struct actor *a)
{
	return strcmp(a->stop_reason, "evicted") == 0 || strcmp(a->stop_reason, "lost") == 0;
}

static enum runtime_outcome intend(struct actor *a, enum actor_intent what)
{
	if (a->state == LIFE_STOPPING)
		return RUNTIME_STOPPING;
	actor_intend(a, what);
	return RUNTIME_OK;
}

static enum runtime_outcome keep_awake(struct actor *a, struct runtime_call *call)
{
	if (a->state == LIFE_STOPPING)
		return RUNTIME_STOPPING;
	enum runtime_outcome outcome = actor_awake_lease(a, call->ttl_ms, call->lease);
	if (outcome == RUNTIME_TOO_MANY)
		call->message = "the actor has too many keep-awake leases";
	return outcome;
}

/* Answered here, or RUNTIME_OK with *theirs set: the driver's to answer. */
static enum runtime_outcome answer(struct actor *a, struct runtime_call *call, bool *theirs)
{
	if (a->state > LIFE_STOPPING)
		return RUNTIME_STALE;
	switch (call->kind) {
	case RUNTIME_INFO:
	case RUNTIME_ALARM_GET:
		call->alarm_at_wall_ms = a->alarm_at_wall_ms;
		return RUNTIME_OK;
	case RUNTIME_SLEEP:
		return intend(a, ACTOR_INTENT_SLEEP);
	case RUNTIME_DESTROY:
		return intend(a, ACTOR_INTENT_DESTROY);
	case RUNTIME_KEEP_AWAKE:
		return keep_awake(a, call);
	case RUNTIME_LEASE_END:
		return actor_awake_lease_end(a, call->lease);
	case RUNTIME_INPUT:
	case RUNTIME_KV_GET:
	case RUNTIME_KV_PUT:
	case RUNTIME_KV_DELETE:
	case RUNTIME_KV_LIST:
	case RUNTIME_KV_DELETE_RANGE:
	case RUNTIME_KV_BATCH_GET:
	case RUNTIME_ALARM_SET:
		if (a->state == LIFE_STOPPING && may_be_elsewhere(a))
			return RUNTIME_STOPPING;
		*theirs = true;
		return RUNTIME_OK;
	}
	IMPOSSIBLE("runtime_kind");
}

static void on_call(void *arg, struct runtime_call *call)
{
	struct actor_table *t = arg;
	struct actor *a = CAST(struct actor, call->actor, ACTOR_MAGIC);
	bool theirs = false;
	enum runtime_outcome outcome = answer(a, call, &theirs);
	struct driver *d = actor_table_driver(t);
	if (theirs)
		d->ops->state(d, &a->ref, a->driver_data, call);
	else
		actor_table_answer(t, call, outcome);
}

const struct runtime_ops actor_state_ops = {.call = on_call};
