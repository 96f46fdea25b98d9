/* Owns one incarnation of an actor: its events, its seat on a worker, what
 * waits for it and its last report.
 *
 * Events come from the pool (place_events), from commands and from the
 * deadline; each is only noted, and the table's next run lets lifecycle_step
 * decide and performs what it says. The happy path: placing and loading while
 * exchanges wait, running while they are forwarded, stopping until the seat is
 * gone.
 *
 * Failure paths: no seat or a failed start refuses all that waits, with the
 * reason; a crash does so with what requests_max held back; a STOP hands it
 * back to the driver instead. A worker that does not answer its stop in time
 * is killed. A seat that is still being waited for when the actor is stopped
 * outlives it: the id is free at once, the memory goes with the seat. */
#include "actor/actor.h"

#include "actor/actor_count.h"

#include "base/limits.h"
#include "base/log.h"

#include <stdio.h>

#define REFUSED_RETRY_S 1

/* The pool has time limits of its own; ours only hold when it misses them. */
#define LOAD_SLACK_MS 5000
#define STOP_SLACK_MS 2000

_Static_assert(LIFE_EVENTS <= 32, "actor.n_events and posted events");

/* ---- events ---- */

static bool is_posted(const struct actor *a, enum lifecycle_event ev)
{
	for (size_t i = 0; i < a->n_events; i++) {
		if (a->events[i] == ev)
			return true;
	}
	return false;
}

static void unpost(struct actor *a, enum lifecycle_event ev)
{
	uint8_t kept = 0;
	for (size_t i = 0; i < a->n_events; i++) {
		if (a->events[i] != ev)
			a->events[kept++] = a->events[i];
	}
	a->n_events = kept;
}

void actor_post(struct actor *a, enum lifecycle_event ev)
{
	if (a->state == LIFE_STOPPED || is_posted(a, ev))
		return;
	CHECK(a->n_events < ARRAY_SIZE(a->events));
	a->events[a->n_events++] = (uint8_t)ev;
	actor_table_ready(a->table, a);
}

static void on_deadline(void *arg)
{
	actor_post(CAST(struct actor, arg, ACTOR_MAGIC), LIFE_EV_DEADLINE);
}

static void keep_message(struct actor *a, const char *message)
{
	if (message == NULL || a->message != NULL)
		return;
	a->message = mem_strdup(message);
}

static void on_placed(void *arg)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	snprintf(a->worker_id, sizeof(a->worker_id), "%s", worker_place_worker_id(a->place));
	actor_post(a, LIFE_EV_PLACED);
}

static void on_loaded(void *arg)
{
	actor_post(CAST(struct actor, arg, ACTOR_MAGIC), LIFE_EV_LOADED);
}

/* The seat is gone. A stopped actor was only waiting for that. */
static bool left_seat(struct actor *a)
{
	a->place = NULL;
	if (a->state != LIFE_STOPPED)
		return false;
	actor_table_forget(a->table, a);
	return true;
}

static void on_unplaceable(void *arg, const char *reason)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	if (left_seat(a))
		return;
	keep_message(a, reason);
	actor_post(a, LIFE_EV_UNPLACEABLE);
}

static enum lifecycle_event event_of_loss(const struct actor *a, enum place_lost how)
{
	if (a->state == LIFE_KILLING)
		return LIFE_EV_WORKER_GONE;
	switch (how) {
	case PLACE_CRASHED:
		return LIFE_EV_WORKER_GONE;
	case PLACE_START_FAILED:
		return LIFE_EV_LOAD_FAILED;
	case PLACE_STOPPED:
		return LIFE_EV_UNLOADED;
	}
	IMPOSSIBLE("place_lost");
}

static void on_lost(void *arg, enum place_lost how, const char *reason)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	if (left_seat(a))
		return;
	keep_message(a, reason);
	/* A spawn that failed at once: it had a seat all the same. */
	if (a->state == LIFE_PLACING)
		actor_post(a, LIFE_EV_PLACED);
	actor_post(a, event_of_loss(a, how));
}

static void on_alarm_done(void *arg, bool ok, const char *why)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	actor_alarm_over(a, ok, why);
	actor_table_ready(a->table, a);
}

static void on_exchange_over(void *arg, enum place_use use)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	CHECK(a->in_flight > 0 && (use == PLACE_REQUEST || a->websockets > 0));
	CHECK(use != PLACE_SOCKET_SLEEPS || a->sleepers > 0);
	a->in_flight--;
	a->websockets -= use != PLACE_REQUEST;
	a->sleepers -= use == PLACE_SOCKET_SLEEPS;
	if (a->n_waiting > 0)
		actor_table_ready(a->table, a);
	actor_awake_look(a);
}

static void on_websocket_open(void *arg, enum place_use use)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	CHECK(a->websockets < a->in_flight);
	a->websockets++;
	a->sleepers += use == PLACE_SOCKET_SLEEPS;
	actor_awake_look(a);
	if (a->n_waiting > 0)
		actor_table_ready(a->table, a);
}

static const struct place_events place_events = {
    .placed = on_placed,
    .unplaceable = on_unplaceable,
    .loaded = on_loaded,
    .alarm_done = on_alarm_done,
    .exchange_over = on_exchange_over,
    .websocket_open = on_websocket_open,
    .lost = on_lost,
};

/* ---- what waits ---- */

static void on_dropped(void *holder, struct exchange *x)
{
	struct actor *a = CAST(struct actor, holder, ACTOR_MAGIC);
	list_remove(&x->waiting);
	a->n_waiting--;
	actor_awake_look(a);
}

static void on_leftover_dropped(void *holder, struct exchange *x)
{
	(void)holder;
	list_remove(&x->waiting);
}

static struct exchange *take_waiting(struct list *from)
{
	struct list *node = list_pop(from);
	if (node == NULL)
		return NULL;
	struct exchange *x = CONTAINER_OF(node, struct exchange, waiting);
	x->dropped = NULL;
	x->holder = NULL;
	return x;
}

/* An open WebSocket holds its actor awake but is no request: requests_max does not count it. */
static bool has_room(const struct actor *a)
{
	return a->type->requests_max == 0 || a->in_flight - a->websockets < a->type->requests_max;
}

static void forward(struct actor *a, struct exchange *x)
{
	a->in_flight++;
	actor_awake_look(a);
	worker_place_forward(a->place, x);
}

static void admit(struct actor *a)
{
	while (a->place != NULL && has_room(a)) {
		struct exchange *x = take_waiting(&a->waiting);
		if (x == NULL)
			return;
		a->n_waiting--;
		forward(a, x);
	}
}

enum dispatch_outcome actor_offer(struct actor *a, struct exchange *x)
{
	x->type_slot = a->type->slot;
	if (a->state > LIFE_RUNNING || a->place == NULL)
		return DISPATCH_STOPPING;
	if (a->state == LIFE_RUNNING && a->n_waiting == 0 && has_room(a)) {
		forward(a, x);
		return DISPATCH_TAKEN;
	}
	if (a->n_waiting == LIMIT_ACTOR_WAITING)
		return DISPATCH_FULL;
	list_push_back(&a->waiting, &x->waiting);
	a->n_waiting++;
	x->dropped = on_dropped;
	x->holder = a;
	actor_awake_look(a);
	return DISPATCH_TAKEN;
}

/* What waits goes to a list of its own first: a front that is told may leave with others of it. */
static void take_all_waiting(struct actor *a, struct list *ret)
{
	list_init(ret);
	list_move_all(ret, &a->waiting);
	a->n_waiting = 0;
	LIST_FOR (ret, node) {
		struct exchange *x = CONTAINER_OF(node, struct exchange, waiting);
		x->dropped = on_leftover_dropped;
		x->holder = NULL;
	}
}

static void refuse_list(struct list *l, const char *group, const char *code, const char *message)
{
	for (struct exchange *x; (x = take_waiting(l)) != NULL;)
		exchange_refuse(x, 503, group, code, mem_strdup(message), REFUSED_RETRY_S);
}

/* Ends what waits, but for a STOP: that hands it back with the last report. `from`: the state before. */
static void act_refuse(struct actor *a, enum lifecycle_state from)
{
	if (a->how == STOPPED_ASKED || a->n_waiting == 0)
		return;
	struct list all;
	take_all_waiting(a, &all);
	if (a->how == STOPPED_UNPLACEABLE)
		refuse_list(&all, "actor", "overloaded", a->message);
	else if (from == LIFE_RUNNING)
		refuse_list(&all, "guard", "actor_stopped_while_waiting", a->message);
	else
		refuse_list(&all, "actor", "start_failed", a->message);
}

/* ---- actions ---- */

static void report(struct actor *a, const struct actor_report *r)
{
	struct driver *d = actor_table_driver(a->table);
	d->ops->report(d, &a->ref, r);
}

static void act_disarm(struct actor *a)
{
	timer_disarm(&a->deadline);
	unpost(a, LIFE_EV_DEADLINE);
}

static int64_t stop_left_ms(const struct actor *a)
{
	int64_t left_ms = a->stop_due_mono_ms - loop_mono_ms(actor_table_loop(a->table));
	return left_ms > 1 ? left_ms : 1;
}

static void act_unload(struct actor *a)
{
	if (a->place != NULL && !a->stop_kill)
		worker_place_stop(a->place, a->stop_reason, stop_left_ms(a));
}

/* Without a seat its end was told already, perhaps in a way that a state before this one waited for. */
static void act_kill(struct actor *a)
{
	if (a->place != NULL)
		worker_place_kill(a->place);
	else
		actor_post(a, LIFE_EV_WORKER_GONE);
}

static void act_arm(struct actor *a)
{
	act_disarm(a);
	if (a->state == LIFE_LOADING)
		timer_arm(&a->deadline, a->type->start_timeout_ms + LOAD_SLACK_MS);
	else if (a->stop_kill)
		actor_post(a, LIFE_EV_DEADLINE);
	else
		timer_arm(&a->deadline, stop_left_ms(a) + STOP_SLACK_MS);
}

static void act_report_running(struct actor *a)
{
	LOG(INFO, "actor is running", ACTOR_LOG(a));
	actor_count_running(a);
	actor_table_start_worked(a->table, a);
	report(a, &(struct actor_report){.kind = REPORT_RUNNING});
	if (a->intents_asked != 0)
		actor_post(a, LIFE_EV_INTENT);
}

static void act_report_intent(struct actor *a)
{
	uint8_t news = (uint8_t)(a->intents_asked & ~a->intents_reported);
	a->intents_reported |= news;
	/* In this order: a driver for which the first one counts must not let it only sleep. */
	if ((news & ACTOR_INTENT_DESTROY) != 0)
		report(a, &(struct actor_report){.kind = REPORT_INTENT_DESTROY});
	if ((news & ACTOR_INTENT_SLEEP) != 0)
		report(a, &(struct actor_report){.kind = REPORT_INTENT_SLEEP});
}

static void log_stopped(const struct actor *a)
{
	static const char *const hows[] = {
	    [STOPPED_ASKED] = "asked",
	    [STOPPED_CRASHED] = "crashed",
	    [STOPPED_START_FAILED] = "start_failed",
	    [STOPPED_UNPLACEABLE] = "unplaceable",
	};
	if (a->how == STOPPED_ASKED)
		LOG(INFO, "actor has stopped", ACTOR_LOG(a), LOG_STR("reason", a->stop_reason));
	else
		LOG(WARN, "actor has stopped", ACTOR_LOG(a), LOG_STR("how", hows[a->how]), LOG_STR("why", a->message));
}

static void act_report_stopped(struct actor *a)
{
	log_stopped(a);
	actor_count_stopped(a);
	if (a->how == STOPPED_START_FAILED)
		actor_table_start_failed(a->table, a);
	if (a->alarm_calling)
		actor_alarm_over(a, false, "the worker left before it answered the alarm call");
	struct list left;
	take_all_waiting(a, &left);
	report(a, &(struct actor_report){
		      .kind = REPORT_STOPPED,
		      .how = a->how,
		      .reason = a->stop_reason,
		      .message = a->message,
		      .leftover = &left,
		  });
	refuse_list(&left, "actor", "stopping", NULL);
}

static void act_release(struct actor *a)
{
	actor_awake_done(a);
	actor_alarm_done(a);
	actor_table_unlist(a->table, a);
	if (a->place != NULL)
		worker_place_kill(a->place); /* forgotten in left_seat */
	else
		actor_table_forget(a->table, a);
}

static void act_peer_fault(const struct actor *a, enum lifecycle_event ev)
{
	LOG(WARN, "worker broke the rules and is ended", ACTOR_LOG(a), LOG_NUM("event", ev));
}

/* ---- deciding ---- */

/* Why it leaves placing, loading or running, once. The message is a sentence in any case but ASKED. */
static enum actor_stopped cause_of(struct actor *a, enum lifecycle_event ev)
{
	if (ev == LIFE_EV_STOP)
		return STOPPED_ASKED;
	if (a->state == LIFE_PLACING) {
		keep_message(a, "no worker was free in time");
		return STOPPED_UNPLACEABLE;
	}
	if (ev == LIFE_EV_DEADLINE) {
		keep_message(a, "the worker was not ready in time");
		return STOPPED_START_FAILED;
	}
	keep_message(a, "the worker ended");
	return a->state == LIFE_LOADING && ev == LIFE_EV_LOAD_FAILED ? STOPPED_START_FAILED : STOPPED_CRASHED;
}

static void enter(struct actor *a, enum lifecycle_state next)
{
	if (a->state == next)
		return;
	if (a->state == LIFE_PLACING) {
		a->kind->n_placing--;
		if (a->kind->n_wanted > a->kind->n_placing)
			a->kind->n_wanted = a->kind->n_placing;
	}
	a->state = next;
	a->since_mono_ms = loop_mono_ms(actor_table_loop(a->table));
}

/* In the order of enum lifecycle_action. LOAD is the pool's: the start call follows `placed` by itself. Intents asked
 * while loading are remembered by having been asked. */
static void perform(struct actor *a, enum lifecycle_state from, enum lifecycle_event ev, uint32_t actions)
{
	if (actions & LIFE_ACT_DISARM)
		act_disarm(a);
	if (actions & LIFE_ACT_REFUSE)
		act_refuse(a, from);
	if (actions & LIFE_ACT_UNLOAD)
		act_unload(a);
	if (actions & LIFE_ACT_KILL)
		act_kill(a);
	if (actions & LIFE_ACT_ARM)
		act_arm(a);
	if (actions & LIFE_ACT_REPORT_RUNNING)
		act_report_running(a);
	if (actions & LIFE_ACT_ADMIT)
		admit(a);
	if (actions & LIFE_ACT_REPORT_INTENT)
		act_report_intent(a);
	if (actions & LIFE_ACT_PEER_FAULT)
		act_peer_fault(a, ev);
	if (actions & LIFE_ACT_REPORT_STOPPED)
		act_report_stopped(a);
	if (actions & LIFE_ACT_RELEASE)
		act_release(a);
}

/* A further STOP cannot begin anew, but it can leave less time. */
static void shorten_stop(struct actor *a)
{
	if (!timer_armed(&a->deadline))
		return;
	if (!a->stop_kill && a->stop_due_mono_ms + STOP_SLACK_MS >= a->deadline.due_mono_ms)
		return;
	act_unload(a);
	act_arm(a);
}

/* Returns false when the actor may be gone. */
static bool step(struct actor *a, enum lifecycle_event ev)
{
	enum lifecycle_state from = a->state;
	struct lifecycle_step s = lifecycle_step(from, ev);
	CHECK(!s.impossible);
	if (from <= LIFE_RUNNING && s.next > LIFE_RUNNING)
		a->how = cause_of(a, ev);
	enter(a, s.next);
	bool ends = (s.actions & LIFE_ACT_RELEASE) != 0;
	perform(a, from, ev, s.actions);
	if (ends)
		return false;
	if (ev == LIFE_EV_STOP && from == LIFE_STOPPING)
		shorten_stop(a);
	return true;
}

void actor_run(struct actor *a)
{
	while (a->n_events > 0) {
		enum lifecycle_event ev = a->events[0];
		unpost(a, ev);
		if (!step(a, ev))
			return;
	}
	if (a->state == LIFE_RUNNING) {
		admit(a);
		actor_alarm_look(a);
	}
	actor_awake_look(a);
}

/* ---- commands ---- */

/* A later STOP with more weight decides what the incarnation ends as: who is to be destroyed must not only sleep. */
static int weight_of(const char *reason)
{
	static const char *const order[] = {"sleep", "restart", "drain", "destroy", "evicted", "lost"};
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (strcmp(order[i], reason) == 0)
			return (int)i;
	}
	IMPOSSIBLE("stop reason");
}

void actor_stop(struct actor *a, const char *reason, int64_t deadline_ms, bool kill_now)
{
	if (deadline_ms <= 0)
		deadline_ms = a->type->stop_grace_ms;
	int64_t due_mono_ms = loop_mono_ms(actor_table_loop(a->table)) + deadline_ms;
	bool first = a->stop_reason == NULL;
	if (first || due_mono_ms < a->stop_due_mono_ms)
		a->stop_due_mono_ms = due_mono_ms;
	if (first || weight_of(reason) > weight_of(a->stop_reason))
		a->stop_reason = reason;
	a->stop_kill |= kill_now;
	actor_post(a, LIFE_EV_STOP);
}

void actor_intend(struct actor *a, enum actor_intent what)
{
	if ((a->intents_asked & what) != 0)
		return;
	a->intents_asked |= (uint8_t)what;
	if (a->state != LIFE_PLACING) /* from there act_report_running sees to it */
		actor_post(a, LIFE_EV_INTENT);
}

void actor_view(const struct actor *a, struct actor_view *ret)
{
	*ret = (struct actor_view){
	    .id = a->ref.id,
	    .name = a->name,
	    .key = a->key,
	    .namespace_name = a->namespace_name,
	    .state = lifecycle_state_name(a->state),
	    .worker_id = a->place == NULL ? "" : worker_place_worker_id(a->place),
	    .generation = a->ref.generation,
	    .since_mono_ms = a->since_mono_ms,
	    .pid = a->place == NULL ? 0 : worker_place_pid(a->place),
	    .in_flight = a->in_flight,
	    .websockets = a->websockets,
	    .waiting = a->n_waiting,
	    .leases = a->n_leases,
	    .type_slot = a->type->slot,
	};
}

struct actor *actor_new(struct actor_table *t, const struct actor_start *s, struct actor_kind *kind)
{
	struct actor *a = mem_zalloc(sizeof(*a));
	a->magic = ACTOR_MAGIC;
	a->table = t;
	list_init(&a->all);
	list_init(&a->ready);
	list_init(&a->stale);
	list_init(&a->waiting);
	a->ref = s->ref;
	a->name = mem_strdup(s->name);
	a->key = mem_strdup(s->key);
	a->namespace_name = mem_strdup(s->namespace_name);
	a->type = s->type;
	a->kind = kind;
	a->driver_data = s->driver_data;
	a->since_mono_ms = loop_mono_ms(actor_table_loop(t));
	timer_init(&a->deadline, actor_table_loop(t), on_deadline, a);
	actor_awake_init(a);
	actor_alarm_init(a, s->alarm_at_wall_ms, s->alarm_attempts);
	actor_count_start(a);
	kind->n_actors++;
	kind->n_placing++;
	const struct place_actor seat = {
	    .actor_id = a->ref.id,
	    .name = a->name,
	    .key = a->key,
	    .namespace_name = a->namespace_name,
	    .generation = a->ref.generation,
	    .create_ts = s->create_ts,
	    .input = s->input,
	    .has_input = s->has_input,
	};
	a->place = worker_pool_place(actor_table_pool(t), a->type, &seat, &place_events, a);
	return a;
}

void actor_free(struct actor *a)
{
	CHECK(a->state == LIFE_STOPPED && a->place == NULL && !timer_armed(&a->deadline));
	mem_free(a->name);
	mem_free(a->key);
	mem_free(a->namespace_name);
	mem_free(a->message);
	a->magic = 0;
	mem_free(a);
}
