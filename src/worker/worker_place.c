/* One actor's seat on a worker: waiting, starting, loaded, ending, over.
 *
 * Happy path: seated, start call answered, loaded, stop call answered, process
 * reaped (isolation actor) or seat left (shared), lost(STOPPED).
 * Failures: no seat in time (unplaceable), start call refused or late
 * (START_FAILED), process gone (CRASHED), stop not answered (killed, or cut
 * off when shared). Events never come from inside a call of the owner. */
#include "worker/worker_private.h"

#include "codec/json_field.h"

#include <stdio.h>

#define EXIT_WAIT_MS 300 /* a start call that was cut may turn out to be an exit with a code */
#define TERM_SHARE 5     /* the last fifth of the time to stop is for SIGTERM */

static const char *const stopping_reasons_that_wait[] = {"drain", "restart"};

static int64_t now_ms(const struct place *pl)
{
	return loop_mono_ms(pl->pool->o.loop);
}

static void poke(struct place *pl)
{
	loop_post(pl->pool->o.loop, &pl->work);
}

static bool alone(const struct place *pl)
{
	return pl->type->isolation == ISOLATION_ACTOR;
}

/* ---- over ---- */

static void cancel_calls(struct place *pl)
{
	if (pl->call != NULL)
		worker_call_cancel(TAKE(pl->call));
	if (pl->alarm_call != NULL)
		worker_call_cancel(TAKE(pl->alarm_call));
	timer_disarm(&pl->timer);
}

/* The seat is left; the owner is told in the tick. reason is taken over. */
static void over(struct place *pl, enum place_lost how, char *reason)
{
	if (pl->state == PLACE_OVER) {
		mem_free(reason);
		return;
	}
	cancel_calls(pl);
	worker_forward_end_all(pl, how == PLACE_STOPPED ? EXCHANGE_STOPPED : EXCHANGE_GONE,
			       how == PLACE_STOPPED ? EXCHANGE_STOPPED : EXCHANGE_CRASHED, false);
	if (pl->worker != NULL)
		worker_unseat(TAKE(pl->worker), pl);
	else
		list_remove(&pl->node);
	pl->state = PLACE_OVER;
	pl->how = how;
	pl->reason = reason;
	poke(pl);
}

static void tell_over(struct place *pl)
{
	if (pl->unplaceable)
		pl->events->unplaceable(pl->arg, pl->reason);
	else
		pl->events->lost(pl->arg, pl->how, pl->reason);
	place_free(pl);
}

void place_worker_gone(struct place *pl, const struct worker *w)
{
	enum place_lost how = pl->state == PLACE_ENDING || pl->kill ? PLACE_STOPPED
			      : pl->state == PLACE_STARTING         ? PLACE_START_FAILED
								    : PLACE_CRASHED;
	if (how == PLACE_START_FAILED)
		pl->pool->stats.start_failures_total++;
	over(pl, how, how == PLACE_STOPPED ? NULL : mem_strdup(w->failure));
}

/* ---- starting ---- */

/* The start failed while the process may still run. reason is taken over. */
static void start_failed(struct place *pl, char *reason)
{
	struct worker *w = pl->worker;
	MEM_AUTO char *tail = worker_tail_text(w);
	char *whole = mem_printf("%s%s", reason, tail);
	mem_free(reason);
	if (alone(pl) || !w->answered) {
		worker_end(w, 0, whole); /* place_worker_gone follows */
		return;
	}
	pl->pool->stats.start_failures_total++;
	over(pl, PLACE_START_FAILED, whole);
}

static void on_start_answer(void *arg, unsigned status, const char *why)
{
	struct place *pl = CAST(struct place, arg, PLACE_MAGIC);
	pl->call = NULL;
	if (pl->state != PLACE_STARTING)
		return;
	if (status == 0) {
		mem_free(pl->reason);
		pl->reason = mem_printf("worker %s did not answer the start call: %s", pl->worker->id, why);
		timer_arm(&pl->timer, EXIT_WAIT_MS);
		return;
	}
	if ((status < 200 || status > 299) && status != 404 && status != 405 && status != 501) {
		start_failed(pl, mem_printf("worker %s refused the start call with status %u", pl->worker->id, status));
		return;
	}
	timer_disarm(&pl->timer);
	pl->state = PLACE_LOADED;
	worker_proved(pl->worker);
	pl->events->loaded(pl->arg);
}

static void put_member(struct buf *b, const char *name, const char *value)
{
	buf_addf(b, "\"%s\":", name);
	if (value == NULL)
		buf_add_str(b, "null");
	else
		json_put_str(b, slice_str(value));
}

void place_worker_ready(struct place *pl)
{
	if (pl->state != PLACE_STARTING || pl->call != NULL)
		return;
	struct buf b;
	buf_init(&b, (size_t)LIMIT_ACTOR_INPUT_BYTES * 2);
	buf_add_byte(&b, '{');
	put_member(&b, "actor_id", pl->actor_id);
	buf_add_byte(&b, ',');
	put_member(&b, "name", pl->name);
	buf_add_byte(&b, ',');
	put_member(&b, "key", pl->key);
	buf_addf(&b, ",\"generation\":%lld,\"created_at\":%lld,", (long long)pl->generation, (long long)pl->create_ts);
	put_member(&b, "namespace", pl->namespace_name);
	buf_add_str(&b, ",\"input\":");
	if (pl->has_input) {
		buf_add_byte(&b, '"');
		base64_put(&b, slice_of(pl->input, pl->input_len), false);
		buf_add_byte(&b, '"');
	} else {
		buf_add_str(&b, "null");
	}
	buf_add_byte(&b, '}');
	pl->call = worker_call(pl->worker, pl, WORKER_CALL_START, buf_slice(&b), pl->type->start_timeout_ms + 1000,
			       on_start_answer, pl);
	buf_done(&b);
}

void place_seated(struct place *pl, struct worker *w)
{
	list_remove(&pl->node);
	pl->worker = w;
	pl->state = PLACE_STARTING;
	worker_seat(w, pl);
	timer_arm(&pl->timer, pl->type->start_timeout_ms);
	pl->events->placed(pl->arg);
	if (w->state == WORKER_READY)
		place_worker_ready(pl);
}

static void on_start_timer(struct place *pl)
{
	if (pl->reason != NULL) {
		start_failed(pl, TAKE(pl->reason));
		return;
	}
	char *why = pl->call != NULL
			? mem_printf("worker %s did not answer the start call within %lld ms (start_timeout)",
				     pl->worker->id, (long long)pl->type->start_timeout_ms)
			: mem_printf("worker %s was not ready within %lld ms (start_timeout)", pl->worker->id,
				     (long long)pl->type->start_timeout_ms);
	start_failed(pl, why);
}

/* ---- stopping ---- */

static int64_t stop_left_ms(const struct place *pl)
{
	int64_t left = pl->stop_until_ms - now_ms(pl);
	return left < 0 ? 0 : left;
}

/* The stop call was answered or given up: the process ends, or the seat is left. */
static void stop_process(struct place *pl)
{
	pl->stop_answered = true;
	if (alone(pl))
		worker_end(pl->worker, stop_left_ms(pl), NULL);
	else
		over(pl, PLACE_STOPPED, NULL);
}

static void on_stop_answer(void *arg, unsigned status, const char *why)
{
	struct place *pl = CAST(struct place, arg, PLACE_MAGIC);
	(void)status;
	(void)why;
	pl->call = NULL;
	stop_process(pl);
}

static void call_stop(struct place *pl)
{
	char body[256];
	int64_t left = stop_left_ms(pl);
	pl->stop_called = true;
	timer_disarm(&pl->timer);
	if (left <= 0) {
		stop_process(pl);
		return;
	}
	snprintf(body, sizeof(body), "{\"actor_id\":\"%s\",\"reason\":\"%s\",\"deadline_ms\":%lld}", pl->actor_id,
		 pl->stop_reason, (long long)left);
	int64_t patience = alone(pl) ? left - left / TERM_SHARE : left;
	pl->call = worker_call(pl->worker, pl, WORKER_CALL_STOP, slice_str(body), patience < 1 ? 1 : patience,
			       on_stop_answer, pl);
}

static bool waits_for_requests(const struct place *pl)
{
	for (size_t i = 0; i < ARRAY_SIZE(stopping_reasons_that_wait); i++) {
		if (strcmp(pl->stop_reason, stopping_reasons_that_wait[i]) == 0)
			return worker_forward_requests(pl) > 0;
	}
	return false;
}

static void begin_stop(struct place *pl)
{
	bool was_loaded = pl->state == PLACE_LOADED;
	pl->stop_begun = true;
	pl->state = PLACE_ENDING;
	cancel_calls(pl);
	worker_forward_end_all(pl, EXCHANGE_STOPPED, EXCHANGE_STOPPED, true);
	if (!was_loaded)
		stop_process(pl);
	else if (waits_for_requests(pl))
		timer_arm(&pl->timer, stop_left_ms(pl) - stop_left_ms(pl) / 4);
	else
		call_stop(pl);
}

void place_forward_over(struct place *pl)
{
	if (pl->state == PLACE_ENDING && pl->stop_begun && !pl->stop_called && !pl->stop_answered &&
	    !waits_for_requests(pl))
		poke(pl);
}

static void on_timer(void *arg)
{
	struct place *pl = CAST(struct place, arg, PLACE_MAGIC);
	if (pl->state == PLACE_WAITING) {
		pl->unplaceable = true;
		over(pl, PLACE_STOPPED,
		     mem_printf("no worker was free for an actor of type \"%s\" within %lld ms; its workers_max is %u",
				pl->type->name, (long long)pl->type->start_timeout_ms, pl->type->workers_max));
	} else if (pl->state == PLACE_STARTING) {
		on_start_timer(pl);
	} else if (pl->state == PLACE_ENDING && !pl->stop_called) {
		call_stop(pl);
	}
}

static void kill_now(struct place *pl)
{
	if (pl->worker == NULL) {
		over(pl, PLACE_STOPPED, NULL);
	} else if (alone(pl)) {
		cancel_calls(pl);
		pl->state = PLACE_ENDING;
		pl->stop_called = pl->stop_answered = true;
		worker_end(pl->worker, 0, NULL);
	} else {
		over(pl, PLACE_STOPPED, NULL);
	}
}

static void on_work(void *arg)
{
	struct place *pl = CAST(struct place, arg, PLACE_MAGIC);
	if (pl->state == PLACE_OVER) {
		tell_over(pl);
	} else if (pl->kill) {
		kill_now(pl);
	} else if (pl->stop_reason == NULL) {
		return;
	} else if (pl->worker == NULL) {
		over(pl, PLACE_STOPPED, NULL);
	} else if (!pl->stop_begun) {
		begin_stop(pl);
	} else if (!pl->stop_called && !pl->stop_answered && !waits_for_requests(pl)) {
		call_stop(pl);
	} else if (pl->stop_answered && alone(pl)) {
		worker_end(pl->worker, stop_left_ms(pl), NULL);
	}
}

void worker_place_stop(struct place *pl, const char *reason, int64_t deadline_ms)
{
	int64_t until = now_ms(pl) + (deadline_ms < 0 ? 0 : deadline_ms);
	if (pl->stop_reason == NULL || until < pl->stop_until_ms)
		pl->stop_until_ms = until;
	if (pl->stop_reason == NULL)
		pl->stop_reason = reason;
	poke(pl);
}

void worker_place_kill(struct place *pl)
{
	pl->kill = true;
	poke(pl);
}

/* ---- alarm ---- */

static void on_alarm_answer(void *arg, unsigned status, const char *why)
{
	struct place *pl = CAST(struct place, arg, PLACE_MAGIC);
	char text[128];
	pl->alarm_call = NULL;
	if (status == 0)
		snprintf(text, sizeof(text), "the worker did not answer the alarm call: %.80s", why);
	else
		snprintf(text, sizeof(text), "the worker answered the alarm call with status %u", status);
	pl->events->alarm_done(pl->arg, status >= 200 && status < 300, text);
}

void worker_place_alarm(struct place *pl, int64_t due_wall_ms, int32_t attempt)
{
	char body[192];
	CHECK(pl->worker != NULL && pl->alarm_call == NULL);
	snprintf(body, sizeof(body), "{\"actor_id\":\"%s\",\"due_at\":%lld,\"attempt\":%d}", pl->actor_id,
		 (long long)due_wall_ms, attempt);
	pl->alarm_call =
	    worker_call(pl->worker, pl, WORKER_CALL_ALARM, slice_str(body), LIMIT_ALARM_CALL_MS, on_alarm_answer, pl);
}

/* ---- making and freeing ---- */

const char *worker_place_worker_id(const struct place *pl)
{
	return pl->worker == NULL ? "" : pl->worker->id;
}

int32_t worker_place_pid(const struct place *pl)
{
	return pl->worker == NULL || pl->worker->proc == NULL ? 0 : proc_pid(pl->worker->proc);
}

static char *encoded(const char *text)
{
	struct buf b;
	if (text == NULL)
		return NULL;
	buf_init(&b, strlen(text) * 3 + 1);
	http_percent_encode(slice_str(text), &b);
	char *s = slice_dup(buf_slice(&b));
	buf_done(&b);
	return s;
}

struct place *worker_pool_place(struct worker_pool *p, const struct actor_type *type, const struct place_actor *actor,
				const struct place_events *events, void *arg)
{
	struct place *pl = mem_zalloc(sizeof(*pl));
	pl->magic = PLACE_MAGIC;
	pl->pool = p;
	pl->type = type;
	pl->actor_id = mem_strdup(actor->actor_id);
	pl->name = mem_strdup(actor->name);
	pl->name_encoded = encoded(actor->name);
	pl->key = mem_strdup(actor->key);
	pl->key_encoded = encoded(actor->key);
	pl->namespace_name = mem_strdup(actor->namespace_name);
	pl->generation = actor->generation;
	pl->create_ts = actor->create_ts;
	pl->has_input = actor->has_input;
	pl->input = mem_alloc(actor->input.n + 1);
	pl->input_len = actor->input.n;
	if (actor->input.n > 0)
		memcpy(pl->input, actor->input.p, actor->input.n);
	pl->events = events;
	pl->arg = arg;
	list_init(&pl->node);
	list_init(&pl->forwards);
	loop_task_init(&pl->work, on_work, pl);
	timer_init(&pl->timer, p->o.loop, on_timer, pl);
	timer_arm(&pl->timer, type->start_timeout_ms);
	list_push_back(&p->waiting, &pl->node);
	p->stats.waiting++;
	worker_pool_look(p);
	return pl;
}

void place_free(struct place *pl)
{
	CHECK(list_empty(&pl->forwards) && pl->call == NULL && pl->alarm_call == NULL);
	timer_disarm(&pl->timer);
	loop_cancel(&pl->work);
	mem_free(pl->actor_id);
	mem_free(pl->name);
	mem_free(pl->name_encoded);
	mem_free(pl->key);
	mem_free(pl->key_encoded);
	mem_free(pl->namespace_name);
	mem_free(pl->input);
	mem_free(pl->reason);
	pl->magic = 0;
	mem_free(pl);
}
