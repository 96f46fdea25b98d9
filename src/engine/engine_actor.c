/* One actor as the engine names it: what its newest incarnation is doing.
 *
 * Happy path: a start command makes it new, the tick starts it in the actor
 * table and reads its alarm; it runs, asks to sleep, the engine commands stop,
 * the table reports its end, state calls come to their ends, the last event
 * goes out, and a tombstone remains that tells a replayed command from a new
 * one.
 *
 * Failure paths: what cannot be started ends at once with the reason; a start
 * in its back-off waits a little and is refused when that is not enough; a
 * newer incarnation ends an older one without a word, since the engine gave
 * that one up; a lost actor is stopped and reported as failed, so that a link
 * that comes back in time leaves nobody behind.
 *
 * Reports come from inside the actor table, so they only note and queue
 * events; on_work acts in the tick. */
#include "engine/engine_driver_private.h"

#include "base/log.h"
#include "codec/utf8.h"

#include <stdio.h>
#include <sys/random.h>

/* The engine gives a start 30 s, the worker may take 25 of them. */
#define HOLD_MS 4000
#define INTENT_MS 10000
#define WHY_ASKS 3
#define WHY_MS 100
#define MESSAGE_MAX 900

static void on_work(void *arg);
static void on_poke(void *arg);
static void on_intent(void *arg);
static void on_why_timer(void *arg);

static struct engine_actor *actor_of(void *arg)
{
	return CAST(struct engine_actor, arg, ENGINE_ACTOR_MAGIC);
}

static int64_t now_of(const struct engine_actor *a)
{
	return loop_mono_ms(a->d->g->o.loop);
}

struct engine_actor *engine_actor_find(const struct engine_driver *d, struct slice id)
{
	struct map_node *node = map_get(&d->by_id, id);
	return node == NULL ? NULL : CONTAINER_OF(node, struct engine_actor, by_id);
}

bool engine_actor_active(const struct engine_actor *a)
{
	return a->state != EA_ENDED || a->in_table || a->calls > 0;
}

/* ---- memory ---- */

/* The next one may be asked to sleep. */
static void stop_rolling(struct engine_actor *a)
{
	a->d->n_rolling -= a->rolling;
	a->rolling = false;
}

static void forget_incarnation(struct engine_actor *a)
{
	mem_free(TAKE(a->name));
	mem_free(TAKE(a->key));
	mem_free(TAKE(a->input));
	mem_free(TAKE(a->message));
	a->input_len = 0;
	a->has_input = false;
	stop_rolling(a);
	timer_disarm(&a->intent);
	timer_disarm(&a->why);
	timer_disarm(&a->back_off);
	engine_alarm_done(a);
}

static void unlist_ended(struct engine_actor *a)
{
	if (!list_linked(&a->age))
		return;
	list_remove(&a->age);
	a->d->n_ended--;
}

void engine_actor_free(struct engine_actor *a)
{
	CHECK(!engine_actor_active(a));
	unlist_ended(a);
	forget_incarnation(a);
	loop_cancel(&a->work);
	map_remove(&a->d->by_id, &a->by_id);
	mem_free(a->last_failure);
	mem_free(a->failed_name);
	mem_free(a->alarm_failed);
	a->magic = 0;
	mem_free(a);
}

/* The longest dead go when there are too many, or when no replay can name them any more. */
static void bury(struct engine_driver *d, bool one_at_least)
{
	int64_t now_mono_ms = loop_mono_ms(d->g->o.loop);
	LIST_FOR (&d->ended, node) {
		struct engine_actor *a = CONTAINER_OF(node, struct engine_actor, age);
		bool old = now_mono_ms - a->ended_mono_ms >= LIMIT_ENGINE_TOMBSTONE_MS;
		if (!old && d->n_ended <= LIMIT_ENGINE_TOMBSTONES && !one_at_least)
			return;
		if (engine_actor_active(a))
			continue;
		one_at_least = false;
		engine_actor_free(a);
	}
}

struct engine_actor *engine_actor_need(struct engine_driver *d, struct slice id)
{
	struct engine_actor *a = engine_actor_find(d, id);
	if (a != NULL)
		return a;
	if (d->by_id.count >= LIMIT_ENGINE_ACTORS)
		bury(d, true);
	if (d->by_id.count >= LIMIT_ENGINE_ACTORS)
		return NULL;
	a = mem_zalloc(sizeof(*a));
	a->magic = ENGINE_ACTOR_MAGIC;
	a->d = d;
	CHECK(id.n < sizeof(a->id));
	memcpy(a->id, id.p, id.n);
	CHECK(map_put(&d->by_id, &a->by_id, slice_str(a->id)) == 0);
	list_init(&a->age);
	a->state = EA_ENDED;
	a->command_index = -1;
	timer_init(&a->intent, d->g->o.loop, on_intent, a);
	timer_init(&a->why, d->g->o.loop, on_why_timer, a);
	timer_init(&a->back_off, d->g->o.loop, on_poke, a);
	loop_task_init(&a->work, on_work, a);
	engine_alarm_init(a);
	return a;
}

void engine_actor_poke(struct engine_actor *a)
{
	loop_post(a->d->g->o.loop, &a->work);
}

static void on_poke(void *arg)
{
	engine_actor_poke(actor_of(arg));
}

void engine_actor_call_over(void *arg)
{
	struct engine_actor *a = actor_of(arg);
	CHECK(a->calls > 0);
	a->calls--;
	engine_actor_poke(a);
	engine_driver_check_closed(a->d);
}

/* ---- beginning ---- */

void engine_actor_begin(struct engine_actor *a, const struct runner_command *c)
{
	unlist_ended(a);
	forget_incarnation(a);
	a->generation = c->checkpoint.generation;
	a->command_index = c->checkpoint.index;
	a->state = EA_NEW;
	a->why_asks = 0;
	a->silent = a->stop_commanded = a->stop_begun = a->sleep_asked = a->destroy_asked = false;
	a->restart_asked = false;
	a->name = slice_dup(c->name);
	a->key = c->has_key ? slice_dup(c->key) : NULL;
	a->create_ms = c->create_ms;
	a->has_input = c->has_input;
	a->input_len = c->has_input ? c->input.n : 0;
	if (c->has_input) {
		a->input = mem_alloc(c->input.n + 1);
		if (c->input.n > 0)
			memcpy(a->input, c->input.p, c->input.n);
	}
	a->how = STOPPED_ASKED;
	engine_tunnel_started(a->d->g->tunnel, a->id, c->sockets);
	engine_actor_poke(a);
}

static void start(struct engine_actor *a, const struct actor_type *type)
{
	struct engine_driver *d = a->d;
	struct actor_start s = {.type = type,
				.name = a->name,
				.key = a->key,
				.namespace_name = d->g->o.namespace_name,
				.create_ts = a->create_ms,
				.input = slice_of(a->input, a->input_len),
				.has_input = a->has_input,
				.driver_data = a};
	(void)snprintf(s.ref.id, sizeof(s.ref.id), "%s", a->id);
	s.ref.generation = a->generation;
	if (actor_table_start(d->table, &s) != 0) {
		engine_actor_end(a, mem_strdup("too many actors are awake on this runner"));
		return;
	}
	a->live = s.ref;
	a->in_table = true;
	a->stop_begun = false;
	a->state = EA_LIVE;
	d->stats.starts++;
	LOG(DEBUG, "actor starting", ENGINE_ACTOR_LOG(a));
	engine_alarm_begin(a);
}

/* The engine gave the older incarnation up: it goes without a word. Its end, and that of its calls, pokes. */
static void end_older(struct engine_actor *a)
{
	if (a->in_table && !a->stop_begun)
		engine_actor_stop(a, "lost", LIMIT_ENGINE_GOODBYE_MS);
}

/* It is EA_NEW: starts, waits, or ends. */
static void consider(struct engine_actor *a)
{
	struct engine_driver *d = a->d;
	int64_t wait_ms = restart_wait_ms(&a->restart, now_of(a));
	const struct actor_type *type = engine_driver_type(d, slice_str(a->name));
	if (a->stop_commanded)
		engine_actor_end(a, NULL);
	else if (d->draining || d->mute || d->closing)
		engine_actor_end(a, mem_strdup("this runner is stopping"));
	else if (type == NULL)
		engine_actor_end(a, engine_driver_not_registered(d, slice_str(a->name)));
	else if (a->in_table || a->calls > 0)
		end_older(a);
	else if (actor_table_count(d->table) >= d->g->o.total_slots)
		engine_actor_end(a, mem_printf("all %u slots of this runner are taken", d->g->o.total_slots));
	else if (wait_ms > HOLD_MS)
		engine_actor_end(a, mem_printf("it failed %u times in a row; its next start is due in %lld s: %s",
					       a->restart.failures, (long long)(wait_ms + 999) / 1000,
					       a->last_failure == NULL ? "" : a->last_failure));
	else if (wait_ms > 0)
		timer_arm(&a->back_off, wait_ms);
	else
		start(a, type);
}

/* ---- ending ---- */

/* Text that the engine takes: UTF-8, short. */
static char *clean(const char *text)
{
	struct buf b;
	const uint8_t *p = (const uint8_t *)text;
	size_t left = strlen(text);
	buf_init(&b, MESSAGE_MAX + 8);
	while (left > 0 && buf_len(&b) < MESSAGE_MAX) {
		size_t n = utf8_length(p, left);
		if (n == 0)
			buf_add_byte(&b, '?');
		else
			buf_add(&b, slice_of(p, n));
		p += n == 0 ? 1 : n;
		left -= n == 0 ? 1 : n;
	}
	char *ret = slice_dup(buf_slice(&b));
	buf_done(&b);
	return ret;
}

/* Ok is the answer to a stop command. To the engine Ok without one means "destroy": an actor that died, or that this
 * runner had to stop by itself, must not say it. */
static bool ended_well(const struct engine_actor *a)
{
	return a->destroy_asked || (a->stop_commanded && a->how == STOPPED_ASKED);
}

static void entomb(struct engine_actor *a)
{
	struct engine_driver *d = a->d;
	engine_driver_ack(d, a->id, a->generation, a->command_index);
	forget_incarnation(a);
	a->state = EA_ENDED;
	a->ended_mono_ms = now_of(a);
	list_push_back(&d->ended, &a->age);
	d->n_ended++;
	bury(d, false);
	engine_driver_check_closed(d);
}

static void put_stopped(struct engine_actor *a, const char *message)
{
	MEM_AUTO char *text = a->ended_well ? NULL : clean(message == NULL ? "this runner stopped it" : message);
	engine_driver_event(a->d, a,
			    (struct runner_event){.kind = RUNNER_EVENT_STOPPED,
						  .code = a->ended_well ? RUNNER_STOP_OK : RUNNER_STOP_ERROR,
						  .has_message = text != NULL,
						  .message = slice_str(text)});
}

static void tell_stopped(struct engine_actor *a)
{
	a->ended_well = ended_well(a);
	put_stopped(a, a->message);
	a->d->stats.stops++;
	entomb(a);
}

void engine_actor_replayed(struct engine_actor *a)
{
	a->silent = false;
	if (a->state == EA_ENDED &&
	    !engine_outbox_has(a->d->outbox, slice_str(a->id), a->generation, RUNNER_EVENT_STOPPED))
		put_stopped(a, NULL);
}

void engine_actor_end(struct engine_actor *a, char *message)
{
	a->message = message;
	if (message != NULL) {
		a->how = STOPPED_START_FAILED;
		LOG(WARN, "actor not started", ENGINE_ACTOR_LOG(a), LOG_STR("reason", message));
	}
	tell_stopped(a);
}

/* ---- being stopped ---- */

/* Known without asking; NULL: the engine gave none, and nobody here asked for it. */
static const char *reason_of(const struct engine_actor *a)
{
	if (a->destroy_asked)
		return "destroy";
	if (a->rolling)
		return engine_driver_type(a->d, slice_str(a->name)) != NULL ? "restart" : "drain";
	if (a->sleep_asked)
		return a->restart_asked ? "restart" : "sleep";
	return a->d->draining || !a->d->g->online ? "drain" : NULL;
}

void engine_actor_stop(struct engine_actor *a, const char *reason, int64_t deadline_ms)
{
	a->stop_begun = true;
	timer_disarm(&a->intent);
	actor_table_stop(a->d->table, &a->live, reason, deadline_ms);
}

static int64_t stop_ms(const struct engine_actor *a)
{
	if (!a->d->draining)
		return 0; /* the type's grace */
	int64_t left_ms = a->d->drain_until_mono_ms - now_of(a) - LIMIT_ENGINE_GOODBYE_MS;
	return left_ms > 1 ? left_ms : 1;
}

static void stop_for(struct engine_actor *a, const char *reason)
{
	timer_disarm(&a->why);
	if (a->state == EA_LIVE && !a->stop_begun)
		engine_actor_stop(a, reason, stop_ms(a));
}

/* The engine says stop without a reason. It takes a destroyed actor's state away, a moment later, so it is asked for
 * some, a few times. */
static void on_why(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct engine_actor *a = actor_of(arg);
	bool open = a->state == EA_LIVE && a->stop_commanded && !a->stop_begun && a->why_asks > 0;
	(void)r;
	if (open && outcome == ENGINE_KV_REFUSED)
		stop_for(a, "destroy");
	else if (open && outcome == ENGINE_KV_OK && a->why_asks < WHY_ASKS)
		timer_arm(&a->why, WHY_MS);
	else if (open)
		stop_for(a, "drain");
	engine_actor_call_over(a);
}

static void ask_why(struct engine_actor *a)
{
	a->why_asks++;
	timer_arm(&a->why, LIMIT_ENGINE_WHY_MS);
	engine_alarm_ask(a, on_why);
}

static void on_why_timer(void *arg)
{
	struct engine_actor *a = actor_of(arg);
	if (a->state != EA_LIVE || a->stop_begun)
		return;
	if (a->why.due_mono_ms - a->why_since_mono_ms >= LIMIT_ENGINE_WHY_MS || a->why_asks == WHY_ASKS)
		stop_for(a, "drain");
	else
		ask_why(a);
}

static void obey_stop(struct engine_actor *a)
{
	const char *reason = reason_of(a);
	if (reason != NULL) {
		stop_for(a, reason);
	} else if (a->why_asks == 0) {
		a->why_since_mono_ms = now_of(a);
		ask_why(a);
	}
}

static void on_work(void *arg)
{
	struct engine_actor *a = actor_of(arg);
	switch (a->state) {
	case EA_NEW:
		consider(a);
		return;
	case EA_LIVE:
		if (a->stop_commanded && !a->stop_begun)
			obey_stop(a);
		engine_alarm_tell(a);
		return;
	case EA_ENDING:
		if (a->calls == 0 && !engine_alarm_end(a))
			tell_stopped(a);
		return;
	case EA_ENDED:
		return;
	}
	IMPOSSIBLE("engine actor state");
}

/* ---- reports ---- */

static void on_running(struct engine_actor *a)
{
	restart_up(&a->restart, now_of(a));
	a->has_run = true;
	engine_driver_event(a->d, a, (struct runner_event){.kind = RUNNER_EVENT_RUNNING});
}

/* An intent that the engine does not answer with a command is told again: inside the engine it can be lost. */
static void intend(struct engine_actor *a, enum runner_event_kind kind)
{
	engine_driver_event(a->d, a, (struct runner_event){.kind = kind});
	timer_arm(&a->intent, INTENT_MS);
}

static void on_intent(void *arg)
{
	struct engine_actor *a = actor_of(arg);
	if (a->state == EA_LIVE && !a->stop_commanded)
		intend(a, a->sleep_asked ? RUNNER_EVENT_SLEEP : RUNNER_EVENT_STOP);
}

/* Of two intents the engine obeys the sleep, in either order: a destruction must be the only one, or wait. */
static void on_intent_sleep(struct engine_actor *a)
{
	if (a->destroy_asked)
		return;
	a->sleep_asked = true;
	intend(a, RUNNER_EVENT_SLEEP);
}

static void on_intent_destroy(struct engine_actor *a)
{
	if (a->sleep_asked) {
		engine_alarm_wish_destroy(a);
		return;
	}
	a->destroy_asked = true;
	intend(a, RUNNER_EVENT_STOP);
}

void engine_actor_wish(struct engine_actor *a, enum engine_wish wish)
{
	a->restart_asked = wish == ENGINE_WISH_RESTART; /* the last word counts */
	if (wish == ENGINE_WISH_DESTROY && !a->destroy_asked)
		on_intent_destroy(a);
	else if (wish != ENGINE_WISH_DESTROY && !a->sleep_asked)
		on_intent_sleep(a);
}

static void on_stopped(struct engine_actor *a, const struct actor_report *r)
{
	uint32_t random;
	a->how = r->how;
	a->message = mem_strdup(r->message);
	a->state = EA_ENDING;
	if (r->how == STOPPED_ASKED) {
		restart_stopped(&a->restart, now_of(a));
		if (a->message == NULL && !a->stop_commanded && r->reason != NULL)
			a->message = mem_printf("this runner stopped it: %s", r->reason);
		return;
	}
	if (r->how == STOPPED_UNPLACEABLE)
		return;
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint32_t)clock_mono_us();
	restart_failed(&a->restart, now_of(a), random);
	if (a->d->failing == NULL && restart_is_failing(&a->restart))
		a->d->failing = mem_printf("actor %s (%s) has failed %u starts in a row: %s", a->id, a->name,
					   (unsigned)a->restart.failures, r->message == NULL ? "" : r->message);
	mem_free(a->last_failure);
	mem_free(a->failed_name);
	a->last_failure = mem_strdup(r->message);
	a->failed_name = mem_strdup(a->name);
}

void engine_actor_roll(struct engine_actor *a)
{
	if (a->stop_commanded || a->stop_begun || a->sleep_asked || a->destroy_asked || a->rolling)
		return;
	a->rolling = true;
	a->d->n_rolling++;
	actor_table_intend_sleep(a->d->table, &a->live);
}

void engine_actor_report(struct engine_actor *a, const struct actor_ref *ref, const struct actor_report *r)
{
	bool current = a->state == EA_LIVE && ref->generation == a->generation;
	if (r->kind == REPORT_STOPPED) {
		a->in_table = false;
		if (current)
			stop_rolling(a);
		engine_actor_poke(a);
		engine_driver_check_closed(a->d);
	}
	if (!current)
		return;
	switch (r->kind) {
	case REPORT_RUNNING:
		on_running(a);
		engine_tunnel_running(a->d->g->tunnel, a->id);
		return;
	case REPORT_INTENT_SLEEP:
		on_intent_sleep(a);
		return;
	case REPORT_INTENT_DESTROY:
		on_intent_destroy(a);
		return;
	case REPORT_STOPPED:
		on_stopped(a, r);
		return;
	case REPORT_ALARM_DONE:
		engine_alarm_over(a, r->alarm_due_wall_ms, r->alarm_ok, r->message);
		return;
	}
	IMPOSSIBLE("report kind");
}
