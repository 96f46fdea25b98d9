/* Owns places: one actor's seat on one worker, and what its owner is told.
 *
 * WAITING for a seat, SEATED while the worker starts, STARTING during the start
 * call, LOADED, STOPPING during the stop call, ENDING while its own process
 * ends, OVER when only the last event is owed. Events are noted and told by one
 * task of the tick, in an order that makes sense; the last one frees the place.
 *
 * Failures: a start call that is refused, cut or late fails the start (and with
 * a process of its own the process); the end of the process comes at any time
 * and means what the state says. */
#include "worker/worker_private.h"

#include "codec/json_field.h"

#define HOLD_REST 4        /* this part of the time to stop is kept for the stop call and the signals */
#define HOLD_SHORT_MS 1000 /* a request that puts its own actor to sleep or destroys it is still answered */
#define PLACE_BODY_MAX ((size_t)7 * 1024 * 1024) /* the largest input in base64 */

static struct place *place_of(void *arg)
{
	return CAST(struct place, arg, WORKER_PLACE_MAGIC);
}

static bool is_own(const struct place *pl)
{
	return pl->kind->type->isolation == ISOLATION_ACTOR;
}

/* ---- what the owner is told ---- */

static void place_free(struct place *pl)
{
	struct worker_pool *p = pl->pool;
	CHECK(pl->worker == NULL && !list_linked(&pl->node));
	pl->kind->n_places--;
	loop_cancel(&pl->tell);
	timer_disarm(&pl->timer);
	worker_call_done(&pl->life);
	worker_call_done(&pl->alarm);
	mem_free(pl->name);
	mem_free(pl->key);
	mem_free(pl->namespace_name);
	mem_free(pl->input);
	mem_free(pl->alarm_why);
	mem_free(pl->reason);
	buf_done(&pl->fields);
	pl->magic = 0;
	mem_free(pl);
	p->n_places--;
	worker_pool_look(p);
}

static void end_hold(struct place *pl);

static void tell_exchanges(struct place *pl)
{
	for (struct list *node; (node = list_pop(&pl->late)) != NULL;)
		worker_forward_refuse(pl, CONTAINER_OF(node, struct exchange, waiting), 503, "actor", "stopping", NULL);
	for (unsigned use = PLACE_SOCKET; use < PLACE_USES; use++) {
		for (; pl->owe_open[use] > 0; pl->owe_open[use]--)
			pl->events->websocket_open(pl->arg, (enum place_use)use);
	}
	for (unsigned use = PLACE_USES; use-- > 0;) {
		for (; pl->owe_over[use] > 0; pl->owe_over[use]--)
			pl->events->exchange_over(pl->arg, (enum place_use)use);
	}
}

static void tell_alarm(struct place *pl)
{
	MEM_AUTO char *why = TAKE(pl->alarm_why);
	pl->owe_alarm = false;
	pl->events->alarm_done(pl->arg, pl->alarm_ok, why);
}

static void on_tell(void *arg)
{
	struct place *pl = place_of(arg);
	if (pl->owe_placed) {
		pl->owe_placed = false;
		pl->events->placed(pl->arg);
	}
	if (pl->owe_loaded) {
		pl->owe_loaded = false;
		pl->events->loaded(pl->arg);
	}
	tell_exchanges(pl);
	if (pl->holding && pl->n_http == 0 && pl->n_farewells == 0)
		end_hold(pl);
	if (pl->owe_alarm && pl->state != PLACE_OVER)
		tell_alarm(pl);
	if (pl->state != PLACE_OVER)
		return;
	while (!list_empty(&pl->late) || pl->owe_over[PLACE_REQUEST] > 0)
		tell_exchanges(pl); /* what the owner did meanwhile came too late */
	if (pl->owe_unplaceable)
		pl->events->unplaceable(pl->arg, pl->reason);
	else
		pl->events->lost(pl->arg, pl->how, pl->reason);
	place_free(pl);
}

static void tell(struct place *pl)
{
	loop_post(pl->pool->o.loop, &pl->tell);
}

void worker_place_exchange_over(struct place *pl, enum place_use use)
{
	pl->owe_over[use]++;
	if (use == PLACE_REQUEST)
		pl->n_http--;
	tell(pl);
}

void worker_place_socket_open(struct place *pl, enum place_use use)
{
	pl->owe_open[use]++;
	pl->n_http--;
	tell(pl);
}

void worker_place_late(struct place *pl, struct exchange *x)
{
	list_push_back(&pl->late, &x->waiting);
	tell(pl);
}

/* ---- the end ---- */

static void leave_seat(struct place *pl)
{
	struct worker *w = TAKE(pl->worker);
	worker_forward_cut(w, pl);
	if (w->runtime != NULL)
		runtime_socket_forget(w->runtime, pl);
	list_remove(&pl->node);
	map_remove(&w->places, &pl->by_id);
	if (!is_own(pl))
		worker_note_former(w, pl->actor_id);
	if (w->state == WORKER_READY)
		worker_slot_free(w);
	worker_seats_changed(w);
}

void worker_place_over(struct place *pl, enum place_lost how, char *reason)
{
	CHECK(pl->state != PLACE_OVER);
	timer_disarm(&pl->timer);
	worker_call_cancel(&pl->life);
	worker_call_cancel(&pl->alarm);
	if (pl->worker != NULL)
		leave_seat(pl);
	else
		list_remove(&pl->node);
	pl->state = PLACE_OVER;
	pl->how = how;
	pl->reason = reason;
	tell(pl);
}

/* Takes the sentence. */
static void over_unstarted(struct place *pl, enum worker_start_failure kind, char *why)
{
	worker_count_start_failed(pl->kind->type, kind);
	worker_place_over(pl, PLACE_START_FAILED, why);
}

void worker_place_exited(struct place *pl)
{
	const struct worker *w = pl->worker;
	if (pl->state >= PLACE_STOPPING || (pl->pool->closing && w->asked))
		worker_place_over(pl, PLACE_STOPPED, NULL);
	else if (pl->state == PLACE_LOADED)
		worker_place_over(pl, PLACE_CRASHED, mem_strdup(w->ended));
	else
		over_unstarted(pl, (enum worker_start_failure)w->failure_kind,
			       mem_strdup(w->failure != NULL ? w->failure : w->ended));
}

/* Takes the sentence. */
static void start_failed(struct place *pl, enum worker_start_failure kind, char *why)
{
	timer_disarm(&pl->timer);
	worker_call_cancel(&pl->life);
	if (is_own(pl) || pl->worker->state == WORKER_STARTING)
		worker_fail(pl->worker, kind, why); /* `lost` comes with its last words */
	else
		over_unstarted(pl, kind, why);
}

/* Its own process gets SIGTERM now and SIGKILL at the deadline; a seat is left. */
static void end_now(struct place *pl)
{
	int64_t left_ms = pl->stop_due_mono_ms - loop_mono_ms(pl->pool->o.loop);
	if (!is_own(pl)) {
		worker_place_over(pl, PLACE_STOPPED, NULL);
		return;
	}
	timer_disarm(&pl->timer);
	pl->state = PLACE_ENDING;
	worker_end(pl->worker, left_ms);
}

/* ---- the start ---- */

static void put_input(const struct place *pl, struct buf *b)
{
	if (!pl->has_input) {
		buf_add(b, SLICE_LIT("null"));
		return;
	}
	buf_add_byte(b, '"');
	base64_put(b, slice_of(pl->input, pl->input_len), false);
	buf_add_byte(b, '"');
}

static void put_start_body(const struct place *pl, struct buf *b)
{
	buf_add(b, SLICE_LIT("{\"actor_id\":"));
	json_put_str(b, slice_str(pl->actor_id));
	buf_add(b, SLICE_LIT(",\"name\":"));
	json_put_str(b, slice_str(pl->name));
	buf_add(b, SLICE_LIT(",\"key\":"));
	if (pl->key == NULL)
		buf_add(b, SLICE_LIT("null"));
	else
		json_put_str(b, slice_str(pl->key));
	buf_addf(b, ",\"generation\":%lld,\"created_at\":%lld,\"namespace\":", (long long)pl->generation,
		 (long long)pl->create_ts);
	json_put_str(b, slice_str(pl->namespace_name));
	buf_add(b, SLICE_LIT(",\"input\":"));
	put_input(pl, b);
	buf_add_byte(b, '}');
}

void worker_place_load(struct place *pl)
{
	struct buf body;
	CHECK(pl->state == PLACE_SEATED);
	pl->state = PLACE_STARTING;
	buf_init(&body, PLACE_BODY_MAX);
	put_start_body(pl, &body);
	CHECK(!body.over);
	worker_call_write(&pl->life, "POST", "/.rivet/start", "start", buf_slice(&pl->fields), buf_slice(&body));
	buf_done(&body);
	mem_free(TAKE(pl->input));
	worker_call_send(&pl->life, pl->worker, -1); /* the place's own time-out covers it */
}

static bool accepts(unsigned status)
{
	return (status >= 200 && status <= 299) || status == 404 || status == 405 || status == 501;
}

static void on_start_answer(struct place *pl, enum worker_call_outcome outcome, unsigned status)
{
	struct worker *w = pl->worker;
	if (w->failure != NULL)
		return;
	if (outcome == CALL_CUT || outcome == CALL_UNREACHABLE) {
		pl->farewell = true;
		timer_arm(&pl->timer, WORKER_FAREWELL_MS);
		return;
	}
	if (outcome == CALL_MALFORMED) {
		start_failed(pl, START_PROTOCOL, mem_strdup("the worker's answer to the start call is not valid HTTP"));
		return;
	}
	worker_is_ready(w);
	if (!accepts(status)) {
		char *why = mem_printf("the worker refused the start call with status %u", status);
		start_failed(pl, START_REFUSED, why);
		return;
	}
	timer_disarm(&pl->timer);
	pl->state = PLACE_LOADED;
	pl->owe_loaded = true;
	tell(pl);
	worker_slot_free(w);
}

/* While it waits no time of its start passes: that begins with the process. */
static int64_t seat_wait_ms(const struct place *pl)
{
	int64_t start_ms = pl->kind->type->start_timeout_ms, min_ms = pl->pool->o.wait_min_ms;
	return start_ms > min_ms ? start_ms : min_ms;
}

static char *late_sentence(const struct place *pl)
{
	long long ms = (long long)pl->kind->type->start_timeout_ms;
	if (pl->state == PLACE_STARTING)
		return mem_printf("the worker did not answer the start call within %lld ms of its start", ms);
	switch (pl->kind->type->ready) {
	case READY_NOTIFY:
		return mem_printf("the worker did not send READY=1 within %lld ms", ms);
	case READY_PATH:
		return mem_printf("the worker did not answer %s with 2xx within %lld ms", pl->kind->type->ready_path,
				  ms);
	case READY_ACCEPT:
		return mem_printf("the worker did not accept a connection within %lld ms", ms);
	}
	IMPOSSIBLE("ready");
}

static void on_timer(void *arg)
{
	struct place *pl = place_of(arg);
	switch ((enum place_state)pl->state) {
	case PLACE_WAITING:
		pl->owe_unplaceable = true;
		worker_count_start_failed(pl->kind->type, START_NO_ROOM);
		worker_place_over(pl, PLACE_STOPPED,
				  mem_printf("no worker was free for the actor within %lld ms (workers_max is %u)",
					     (long long)seat_wait_ms(pl), (unsigned)pl->kind->type->workers_max));
		break;
	case PLACE_SEATED:
	case PLACE_STARTING:
		start_failed(pl, pl->farewell ? START_PROTOCOL : START_NOT_READY,
			     pl->farewell ? mem_strdup("the worker closed the connection without answering the "
						       "start call")
					  : late_sentence(pl));
		break;
	case PLACE_STOPPING:
		worker_call_cancel(&pl->life);
		end_now(pl);
		break;
	case PLACE_LOADED:
		end_hold(pl);
		break;
	case PLACE_ENDING:
	case PLACE_OVER:
		break;
	}
}

static void on_life(struct worker_call *c, enum worker_call_outcome outcome)
{
	struct place *pl = place_of(c->arg);
	if (pl->state == PLACE_STARTING)
		on_start_answer(pl, outcome, c->status);
	else if (pl->state == PLACE_STOPPING)
		end_now(pl); /* whatever it said, or did not */
}

/* ---- the alarm ---- */

static void on_alarm(struct worker_call *c, enum worker_call_outcome outcome)
{
	struct place *pl = place_of(c->arg);
	static const char *const failures[] = {
	    [CALL_CUT] = "the worker closed the connection during the alarm call",
	    [CALL_MALFORMED] = "the worker's answer to the alarm call is not valid HTTP",
	    [CALL_UNREACHABLE] = "the worker does not accept connections",
	    [CALL_TIMEOUT] = "the worker did not answer the alarm call within 60 s",
	};
	mem_free(TAKE(pl->alarm_why));
	pl->owe_alarm = true;
	pl->alarm_ok = outcome == CALL_ANSWERED && c->status >= 200 && c->status <= 299;
	if (outcome != CALL_ANSWERED)
		pl->alarm_why = mem_strdup(failures[outcome]);
	else if (!pl->alarm_ok)
		pl->alarm_why = mem_printf("the worker answered the alarm call with status %u", c->status);
	tell(pl);
}

void worker_place_alarm(struct place *pl, int64_t due_wall_ms, int32_t attempt)
{
	struct buf body;
	if (pl->state != PLACE_LOADED)
		return; /* lost is on its way */
	CHECK(!worker_call_running(&pl->alarm) && !pl->owe_alarm);
	buf_init(&body, 512);
	buf_add(&body, SLICE_LIT("{\"actor_id\":"));
	json_put_str(&body, slice_str(pl->actor_id));
	buf_addf(&body, ",\"due_at\":%lld,\"attempt\":%d}", (long long)due_wall_ms, (int)attempt);
	worker_call_write(&pl->alarm, "POST", "/.rivet/alarm", "alarm", buf_slice(&pl->fields), buf_slice(&body));
	buf_done(&body);
	worker_call_send(&pl->alarm, pl->worker, LIMIT_ALARM_CALL_MS);
}

/* ---- the stop ---- */

/* However much time a drain has, from the stop call to SIGKILL it is stop_grace. */
static int64_t stop_within(struct place *pl, int64_t left_ms)
{
	int64_t grace_ms = pl->kind->type->stop_grace_ms > 0 ? pl->kind->type->stop_grace_ms : 1;
	if (left_ms <= grace_ms)
		return left_ms;
	pl->stop_due_mono_ms = loop_mono_ms(pl->pool->o.loop) + grace_ms;
	return grace_ms;
}

static void call_stop(struct place *pl, int64_t time_ms)
{
	int64_t left_ms = stop_within(pl, time_ms);
	struct buf body;
	buf_init(&body, 512);
	buf_add(&body, SLICE_LIT("{\"actor_id\":"));
	json_put_str(&body, slice_str(pl->actor_id));
	buf_add(&body, SLICE_LIT(",\"reason\":"));
	json_put_str(&body, slice_str(pl->stop_reason));
	buf_addf(&body, ",\"deadline_ms\":%lld}", (long long)left_ms);
	worker_call_write(&pl->life, "POST", "/.rivet/stop", "stop", buf_slice(&pl->fields), buf_slice(&body));
	buf_done(&body);
	pl->state = PLACE_STOPPING;
	worker_forward_stop_sockets(pl->worker, pl, true);
	worker_call_send(&pl->life, pl->worker, -1);
	timer_arm(&pl->timer, left_ms);
}

/* How long requests in flight may go on, and WebSockets whose clients stay may be read, before the stop call. */
static int64_t hold_ms(const struct place *pl, int64_t left_ms)
{
	int64_t rest_ms = left_ms / HOLD_REST;
	if (pl->n_http > 0 && (strcmp(pl->stop_reason, "drain") == 0 || strcmp(pl->stop_reason, "restart") == 0))
		return left_ms - rest_ms;
	if (pl->n_http > 0 || pl->n_farewells > 0)
		return rest_ms < HOLD_SHORT_MS ? rest_ms : HOLD_SHORT_MS;
	return 0;
}

static void hold(struct place *pl, int64_t left_ms)
{
	bool urgent = strcmp(pl->stop_reason, "evicted") == 0 || strcmp(pl->stop_reason, "lost") == 0;
	worker_forward_stop_sockets(pl->worker, pl, urgent);
	int64_t ms = urgent ? 0 : hold_ms(pl, left_ms);
	if (ms <= 0) {
		call_stop(pl, left_ms);
		return;
	}
	pl->holding = true;
	timer_arm(&pl->timer, ms);
}

static void end_hold(struct place *pl)
{
	int64_t left_ms = pl->stop_due_mono_ms - loop_mono_ms(pl->pool->o.loop);
	if (!pl->holding || pl->state != PLACE_LOADED)
		return;
	pl->holding = false;
	call_stop(pl, left_ms < 0 ? 0 : left_ms);
}

bool worker_place_stops(const struct place *pl)
{
	return pl->holding || pl->state > PLACE_LOADED;
}

void worker_place_stop(struct place *pl, const char *reason, int64_t deadline_ms)
{
	int64_t left_ms = deadline_ms < 0 ? 0 : deadline_ms;
	int64_t due = loop_mono_ms(pl->pool->o.loop) + left_ms;
	bool shorter = pl->stop_reason == NULL || due < pl->stop_due_mono_ms;
	if (shorter)
		pl->stop_due_mono_ms = due;
	switch ((enum place_state)pl->state) {
	case PLACE_WAITING:
		worker_place_over(pl, PLACE_STOPPED, NULL);
		break;
	case PLACE_SEATED:
		end_now(pl);
		break;
	case PLACE_STARTING:
	case PLACE_LOADED:
		/* A process of its own that has not answered its start has nothing to save. */
		if (pl->holding && !shorter)
			break;
		pl->stop_reason = reason;
		if (pl->state == PLACE_STARTING)
			worker_call_cancel(&pl->life);
		if (pl->state == PLACE_STARTING && is_own(pl))
			end_now(pl);
		else if (pl->state == PLACE_STARTING)
			call_stop(pl, left_ms);
		else
			hold(pl, left_ms);
		break;
	case PLACE_STOPPING:
		if (shorter)
			timer_arm(&pl->timer, left_ms);
		break;
	case PLACE_ENDING:
		if (shorter)
			worker_end(pl->worker, left_ms);
		break;
	case PLACE_OVER:
		break;
	}
}

void worker_place_kill(struct place *pl)
{
	if (pl->state == PLACE_OVER)
		return;
	worker_call_cancel(&pl->life);
	worker_call_cancel(&pl->alarm);
	pl->stop_due_mono_ms = 0;
	if (pl->state == PLACE_WAITING)
		worker_place_over(pl, PLACE_STOPPED, NULL);
	else
		end_now(pl);
}

/* ---- the beginning ---- */

struct place *worker_place_new(struct worker_pool *p, struct worker_kind *kind, const struct place_actor *actor,
			       const struct place_events *events, void *arg)
{
	struct place *pl = mem_zalloc(sizeof(*pl));
	pl->magic = WORKER_PLACE_MAGIC;
	pl->pool = p;
	pl->kind = kind;
	pl->events = events;
	pl->arg = arg;
	CHECK(strlen(actor->actor_id) < sizeof(pl->actor_id));
	memcpy(pl->actor_id, actor->actor_id, strlen(actor->actor_id) + 1);
	pl->name = mem_strdup(actor->name);
	pl->key = mem_strdup(actor->key);
	pl->namespace_name = mem_strdup(actor->namespace_name);
	pl->generation = actor->generation;
	pl->create_ts = actor->create_ts;
	pl->has_input = actor->has_input;
	if (actor->has_input) {
		pl->input = (uint8_t *)slice_dup(actor->input);
		pl->input_len = actor->input.n;
	}
	buf_init(&pl->fields, 16 * 1024);
	worker_head_put_actor(&pl->fields, actor);
	CHECK(!pl->fields.over);
	list_init(&pl->node);
	list_init(&pl->late);
	timer_init(&pl->timer, p->o.loop, on_timer, pl);
	loop_task_init(&pl->tell, on_tell, pl);
	worker_call_init(&pl->life, p->o.loop, on_life, pl);
	worker_call_init(&pl->alarm, p->o.loop, on_alarm, pl);
	p->n_places++;
	kind->n_places++;
	list_push_back(&kind->waiting, &pl->node);
	timer_arm(&pl->timer, seat_wait_ms(pl));
	return pl;
}

void worker_place_seat(struct place *pl, struct worker *w)
{
	CHECK(pl->state == PLACE_WAITING);
	list_remove(&pl->node);
	pl->worker = w;
	pl->state = PLACE_SEATED;
	list_push_back(&w->seats, &pl->node);
	CHECK(map_put(&w->places, &pl->by_id, slice_str(pl->actor_id)) == 0);
	timer_arm(&pl->timer, pl->kind->type->start_timeout_ms);
	pl->owe_placed = true;
	tell(pl);
	worker_seats_changed(w);
	if (worker_takes_calls(w))
		worker_place_load(pl);
}

const char *worker_place_worker_id(const struct place *pl)
{
	return pl->worker == NULL ? "" : pl->worker->sockets.id;
}

int32_t worker_place_pid(const struct place *pl)
{
	return pl->worker == NULL ? 0 : pl->worker->pid;
}
