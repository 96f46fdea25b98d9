/* One tunnelled WebSocket whose client outlives its workers (runner protocol
 * v7, sections 7.4 to 7.6).
 *
 * Happy path: the worker agrees; what another runner would need is written
 * under a reserved key of the actor, then the engine is told. Messages are
 * handed on in the order of their numbers, each when its acknowledgement has
 * left this process and the worker's socket is sure to take it: so no other
 * worker is given it again, however this process ends. The actor sleeps: what
 * was not acknowledged is forgotten here, because the engine keeps it and sends
 * it again when the actor runs. A message comes, the upgrade is opened again as it was.
 *
 * A client that left is told to the worker as an upgrade that is closed at
 * once; what it had sent before is kept here, the engine has forgotten it.
 *
 * Failure paths: a gap in the numbers, and each break of the link, make the
 * engine send again what it has no acknowledgement of; when that does not help
 * the client is closed. The worker refuses it: 1012. The actor cannot take it:
 * 1011 with group.code#ray. The engine would cut the client after 128 MiB in
 * its life: it is closed with 1012 before, to come back with a new one. */
#include "engine/engine_sleeper_private.h"

#include "base/log.h"

#include <stdio.h>

#define ACK_MS 100  /* for an acknowledgement that is said again; the engine waits up to 30 s */
#define LOOK_MS 5   /* whether a slow worker, or the link, takes more; doubled while they do not, up to ACK_MS */
#define HOLD_MS 200 /* what is said while the engine attaches a client again is lost */
#define ASK_MS 2000 /* for the answer to that */
#define TRY_AGAIN_MS 100
#define TRIES_MAX 8
#define GAPS_MAX 3
#define BUDGET_BYTES ((uint64_t)100 * 1024 * 1024)

static const struct exchange_ops exchange_ops;

struct engine_sleeper *engine_sleeper_of(struct engine_flow *f)
{
	CHECK(f->magic == ENGINE_FLOW_MAGIC && f->kind == ENGINE_FLOW_SLEEPER);
	return CONTAINER_OF(f, struct engine_sleeper, f);
}

static void later(struct engine_sleeper *s)
{
	loop_post(s->f.t->o.loop, &s->f.work);
}

static void quit(struct engine_sleeper *s)
{
	s->quits = true;
	later(s);
}

/* What is kept of its messages is charged to the actor, also beyond the bound: it was asked before they came. */
static void recharge(struct engine_sleeper *s)
{
	size_t kept = hibernation_kept_bytes(s->h);
	if (kept < s->charged) {
		engine_flow_refund(&s->f, s->charged - kept);
		s->charged = kept;
	} else if (kept > s->charged && engine_flow_charge(&s->f, kept - s->charged)) {
		s->charged = kept;
	}
}

/* ---- end ---- */

/* Not from inside the exchange's ops but over(). */
static void sleeper_free(struct engine_sleeper *s)
{
	struct exchange *x = TAKE(s->f.x);
	timer_disarm(&s->ack_timer);
	timer_disarm(&s->hold);
	timer_disarm(&s->look);
	list_remove(&s->node);
	ws_reader_free(s->from_worker);
	hibernation_free(s->h);
	engine_flow_done(&s->f);
	mem_free(s);
	if (x != NULL)
		exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_GONE);
}

void engine_sleeper_drop(struct engine_flow *f)
{
	sleeper_free(engine_sleeper_of(f));
}

/* Frees it once all that it said has gone. */
static void free_when_sent(struct engine_sleeper *s)
{
	if (engine_flow_sent(&s->f))
		sleeper_free(s);
	else
		s->quits = true; /* engine_sleeper_flushed */
}

/* ---- towards the engine ---- */

static void send_ack(struct engine_sleeper *s)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_ACK};
	timer_disarm(&s->ack_timer);
	if (s->client_closed || s->any_index)
		return;
	m.ack_index = (uint16_t)(s->first + hibernation_promised(s->h) - 1);
	(void)engine_flow_send(&s->f, &m);
}

static void ack_later(struct engine_sleeper *s)
{
	if (!timer_armed(&s->ack_timer))
		timer_arm(&s->ack_timer, ACK_MS);
}

static void on_ack_timer(void *arg)
{
	struct engine_sleeper *s = arg;
	send_ack(s);
}

/* The client's side is over: nothing is remembered of it. */
static void end_client(struct engine_sleeper *s)
{
	s->client_closed = true;
	engine_flow_unlist(&s->f);
	engine_sleeper_erase(s);
}

static void close_client(struct engine_sleeper *s, unsigned code, struct slice reason)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_CLOSE};
	if (s->client_closed)
		return;
	if (code != WS_CLOSE_NONE) {
		m.close.has_code = m.close.has_reason = true;
		m.close.code = (uint16_t)(engine_socket_sendable(code) ? code : WS_CLOSE_ERROR);
		m.close.reason = engine_socket_reason(reason);
	}
	(void)engine_flow_send(&s->f, &m);
	end_client(s);
}

static void close_client_failed(struct engine_sleeper *s, unsigned code, const char *group, const char *what)
{
	char reason[WS_REASON_MAX + 1];
	snprintf(reason, sizeof(reason), "%s.%s#%s", group, what, s->f.ray);
	s->f.t->stats.refused++;
	close_client(s, code, slice_str(reason));
}

/* The worker, if there is one, hears of it too. */
static void close_both(struct engine_sleeper *s, unsigned code, const char *group, const char *what)
{
	close_client_failed(s, code, group, what);
	if (s->state != SLEEPER_ATTACHED) {
		quit(s);
		return;
	}
	hibernation_forget_waiting(s->h);
	hibernation_add_close(s->h, code, SLICE_NONE);
	later(s);
}

void engine_sleeper_ask(struct engine_sleeper *s)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_CLOSE};
	if (s->client_closed)
		return;
	s->dropped = false;
	m.close.hibernate = true;
	(void)engine_flow_send(&s->f, &m);
	s->asked_mono_ms = loop_mono_ms(s->f.t->o.loop);
	timer_arm(&s->hold, HOLD_MS);
	if (s->f.x != NULL && exchange_joined(s->f.x))
		exchange_stop(s->f.x, EXCHANGE_FRONT);
}

static void on_hold(void *arg)
{
	struct engine_sleeper *s = arg;
	if (s->f.x != NULL && s->state == SLEEPER_ATTACHED && engine_flow_sent(&s->f))
		exchange_go(s->f.x, EXCHANGE_FRONT);
	else if (s->state == SLEEPER_ASLEEP && s->dropped)
		engine_sleeper_ask(s);
}

void engine_sleeper_flushed(struct engine_flow *f)
{
	struct engine_sleeper *s = engine_sleeper_of(f);
	if (s->quits || s->state == SLEEPER_ATTACHED)
		later(s);
	if (!s->quits && f->x != NULL && s->state == SLEEPER_ATTACHED && !timer_armed(&s->hold))
		exchange_go(f->x, EXCHANGE_FRONT);
}

void engine_sleeper_unsure(struct engine_flow *f, uint64_t unsure_from)
{
	struct engine_sleeper *s = engine_sleeper_of(f);
	if (f->said_at <= unsure_from || s->client_closed)
		return;
	f->t->stats.messages_lost++;
	LOG(WARN, "messages to a client may have been lost with the connection to the engine; its WebSocket was closed",
	    ENGINE_WHO_LOG(f->t, f->actor->id), LOG_STR("ray_id", f->ray));
	engine_flow_discard(f);
	close_both(s, WS_CLOSE_RESTART, "runner", "message_lost");
}

void engine_sleeper_online(struct engine_flow *f)
{
	struct engine_sleeper *s = engine_sleeper_of(f);
	if (s->state == SLEEPER_ATTACHED || s->state == SLEEPER_WAKING)
		engine_sleeper_ask(s);
}

/* ---- asleep and awake ---- */

/* What was not acknowledged the engine sends again, unless its client is gone. */
static void fall_asleep(struct engine_sleeper *s)
{
	s->state = SLEEPER_ASLEEP;
	if (!s->client_closed) {
		s->dropped |= hibernation_wants_worker(s->h);
		hibernation_forget_waiting(s->h);
		s->expected = (uint16_t)(s->first + hibernation_promised(s->h));
	}
	recharge(s);
}

static void waking_failed(struct engine_sleeper *s, const char *group, const char *what)
{
	close_client_failed(s, WS_CLOSE_ERROR, group, what);
	quit(s);
}

static void wake(struct engine_sleeper *s)
{
	struct engine_tunnel *t = s->f.t;
	if (++s->tries > TRIES_MAX) {
		waking_failed(s, "guard", "actor_wake_retries_exceeded");
		return;
	}
	if (hibernation_exchange(s->h, &exchange_ops, s, loop_mono_us(t->o.loop), &s->f.x) != 0) {
		waking_failed(s, "guard", "service_unavailable");
		return;
	}
	switch (dispatch_offer(t->o.table, s->f.actor->id, s->f.x)) {
	case DISPATCH_TAKEN:
		t->stats.reopened++;
		s->state = SLEEPER_WAKING;
		timer_arm(&s->f.timer, LIMIT_TUNNEL_READY_MS);
		return;
	case DISPATCH_ABSENT:
	case DISPATCH_STOPPING:
		break; /* the engine starts it, and sends again */
	case DISPATCH_FULL:
		timer_arm(&s->f.timer, TRY_AGAIN_MS);
		break;
	}
	exchange_leave(TAKE(s->f.x), EXCHANGE_FRONT, EXCHANGE_DONE);
	if (!timer_armed(&s->f.timer))
		fall_asleep(s);
}

static void on_promise(void *arg, uint64_t n)
{
	(void)n;
	send_ack(arg);
}

static bool is_promised(void *arg)
{
	struct engine_sleeper *s = arg;
	const struct engine_tunnel *t = s->f.t;
	return s->client_closed || (engine_flow_sent(&s->f) && t->o.ops->flush(t->o.arg));
}

/* Unless somebody tells: the worker by go(), the link by flushed(). */
static void look_later(struct engine_sleeper *s, bool progress)
{
	s->look_ms = progress || s->look_ms == 0 ? LOOK_MS : s->look_ms * 2 < ACK_MS ? s->look_ms * 2 : ACK_MS;
	if (hibernation_kept_bytes(s->h) > 0 && !exchange_stopped(s->f.x, EXCHANGE_BACK) && engine_flow_sent(&s->f))
		timer_arm(&s->look, s->look_ms);
}

/* Once in a turn of the loop. */
static void push(struct engine_sleeper *s)
{
	const struct hibernation_promise promise = {.say = on_promise, .said = is_promised, .arg = s};
	size_t before = hibernation_kept_bytes(s->h);
	hibernation_push_promised(s->h, s->f.x, &promise);
	recharge(s);
	look_later(s, hibernation_kept_bytes(s->h) < before);
	if (s->client_closed && !hibernation_waiting(s->h))
		timer_arm(&s->f.timer, LIMIT_WS_CLOSE_MS);
}

static void on_work(void *arg)
{
	struct engine_sleeper *s = arg;
	if (s->quits && s->f.x != NULL)
		engine_flow_leave(&s->f, EXCHANGE_GONE);
	if (s->quits)
		free_when_sent(s);
	else if (s->state == SLEEPER_ATTACHED)
		push(s);
	else if (s->state == SLEEPER_ASLEEP && hibernation_waiting(s->h) && !timer_armed(&s->f.timer))
		wake(s);
}

static void on_look(void *arg)
{
	struct engine_sleeper *s = arg;
	if (s->state == SLEEPER_ATTACHED)
		on_work(s);
}

static void on_timeout(void *arg)
{
	struct engine_sleeper *s = arg;
	switch ((enum engine_sleeper_state)s->state) {
	case SLEEPER_OPENING:
	case SLEEPER_ATTACHED: /* the worker does not close */
		quit(s);
		break;
	case SLEEPER_ASLEEP:
		on_work(s);
		break;
	case SLEEPER_WAKING:
		if (exchange_joined(s->f.x))
			break;
		exchange_leave(TAKE(s->f.x), EXCHANGE_FRONT, EXCHANGE_TIMEOUT);
		s->state = SLEEPER_ASLEEP;
		waking_failed(s, "guard", "actor_ready_timeout");
		break;
	}
}

void engine_sleeper_running(struct engine_tunnel_actor *a)
{
	LIST_FOR (&a->sleepers, node) {
		struct engine_sleeper *s = CONTAINER_OF(node, struct engine_sleeper, node);
		s->tries = 0;
		if (s->state != SLEEPER_ASLEEP)
			continue;
		if (hibernation_waiting(s->h))
			later(s);
		else if (s->dropped)
			timer_arm(&s->hold, HOLD_MS); /* the engine attaches it by then */
	}
}

/* ---- messages of the worker ---- */

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct engine_sleeper *s = arg;
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_MESSAGE};
	if (s->client_closed)
		return;
	m.message.data = payload;
	m.message.binary = binary;
	(void)engine_flow_send(&s->f, &m);
}

static void on_ping(void *arg, struct slice payload)
{
	struct engine_sleeper *s = arg;
	hibernation_add(s->h, WS_PONG, payload);
	later(s);
}

static void on_pong(void *arg, struct slice payload)
{
	(void)arg;
	(void)payload;
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	struct engine_sleeper *s = arg;
	if (!s->client_closed)
		hibernation_add_close(s->h, code, SLICE_NONE);
	close_client(s, code, reason);
	s->worker_closed = true;
	later(s);
}

static const struct ws_reader_events reader_events = {
    .message = on_message, .ping = on_ping, .pong = on_pong, .close = on_close};

/* ---- the exchange's calls ---- */

static void attach(struct engine_sleeper *s)
{
	ws_reader_free(s->from_worker);
	s->from_worker = ws_reader_new(false, LIMIT_ENGINE_BODY_BYTES, &reader_events, s);
	s->state = SLEEPER_ATTACHED;
	s->agreed = s->f.x->hibernates;
	s->tries = 0;
}

static void on_head(void *end, struct exchange *x, const struct http_head *h)
{
	struct engine_sleeper *s = end;
	(void)x;
	timer_disarm(&s->f.timer);
	if (s->state != SLEEPER_WAKING || s->quits)
		return;
	if (hibernation_agrees(s->h, h)) {
		attach(s);
		later(s);
		return;
	}
	LOG(WARN, "a hibernating WebSocket was closed: the worker refused it, or chose another subprotocol",
	    ENGINE_WHO_LOG(s->f.t, s->f.actor->id), LOG_NUM("status", h->status));
	close_client(s, WS_CLOSE_RESTART, SLICE_LIT("the worker did not take the connection over"));
	quit(s);
}

static void on_data(void *end, struct exchange *x, struct slice bytes, bool fin)
{
	struct engine_sleeper *s = end;
	(void)fin;
	if (s->from_worker == NULL || s->quits)
		return;
	int r = ws_reader_feed(s->from_worker, bytes);
	if (r != 0) {
		close_client_failed(s, r == WS_TOO_BIG ? WS_CLOSE_TOO_BIG : WS_CLOSE_PROTOCOL, "runner",
				    r == WS_TOO_BIG ? "message_too_large" : "invalid_websocket_frame");
		quit(s);
	}
	if (!engine_flow_sent(&s->f) || timer_armed(&s->hold))
		exchange_stop(x, EXCHANGE_FRONT);
}

static void on_go(void *end, struct exchange *x)
{
	(void)x;
	later(end);
}

static void end_attached(struct engine_sleeper *s, const struct exchange *x, enum exchange_why why)
{
	bool destroyed = x->stop_reason != NULL && strcmp(x->stop_reason, "destroy") == 0;
	if (why == EXCHANGE_STOPPED && (destroyed || !s->agreed))
		close_client(s, WS_CLOSE_GOING_AWAY, SLICE_LIT("actor.stopped"));
	else if (why == EXCHANGE_CRASHED && !s->agreed)
		close_client(s, WS_CLOSE_RESTART, SLICE_LIT("actor.crashed"));
	else if (why == EXCHANGE_MALFORMED)
		close_client(s, x->refusal.status, slice_str(x->refusal.message));
	else if (why != EXCHANGE_STOPPED && why != EXCHANGE_CRASHED)
		close_client_failed(s, WS_CLOSE_ERROR, "guard", "upstream_error");
	if (s->client_closed) {
		quit(s);
		return;
	}
	fall_asleep(s);
}

/* One of them has closed. */
static void end_closed(struct engine_sleeper *s)
{
	if (s->worker_closed || !hibernation_waiting(s->h))
		quit(s);
	else
		fall_asleep(s);
}

static void end_waking(struct engine_sleeper *s, const struct exchange *x, enum exchange_why why)
{
	struct answer_failure failure = answer_failure(x, why);
	bool ended = why == EXCHANGE_CRASHED || why == EXCHANGE_STOPPED ||
		     (why == EXCHANGE_REFUSED && strcmp(failure.code, "stopping") == 0);
	s->state = SLEEPER_ASLEEP;
	if (ended)
		fall_asleep(s);
	else if (why == EXCHANGE_GONE)
		timer_arm(&s->f.timer, TRY_AGAIN_MS); /* perhaps the first sign of a crash */
	else
		waking_failed(s, failure.group, failure.code);
}

static void on_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct engine_sleeper *s = end;
	timer_disarm(&s->f.timer);
	hibernation_left(s->h, x);
	s->f.x = NULL;
	if (s->quits)
		later(s);
	else if (s->state == SLEEPER_WAKING)
		end_waking(s, x, why);
	else if (s->client_closed || s->worker_closed)
		end_closed(s);
	else
		end_attached(s, x, why);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
}

static const struct exchange_ops exchange_ops = {.head = on_head, .data = on_data, .go = on_go, .over = on_over};

/* ---- messages of the engine ---- */

void engine_sleeper_again(struct engine_flow *f, uint16_t index)
{
	struct engine_sleeper *s = engine_sleeper_of(f);
	s->expected = (uint16_t)(index + 1);
	s->first = (uint16_t)(s->expected - hibernation_promised(s->h));
	if (s->state == SLEEPER_OPENING)
		return;
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_OPEN, .can_hibernate = s->agreed};
	f->next_index = 0;
	(void)engine_flow_send(f, &m);
}

static void on_gap(struct engine_sleeper *s, uint16_t index)
{
	int64_t now_mono_ms = loop_mono_ms(s->f.t->o.loop);
	if (s->asked_mono_ms != 0 && now_mono_ms - s->asked_mono_ms < ASK_MS)
		return; /* it comes again */
	s->f.t->stats.messages_lost += (uint16_t)(index - s->expected);
	if (++s->gaps > GAPS_MAX) {
		LOG(WARN, "messages of a client were lost on the way from the engine; its WebSocket was closed",
		    ENGINE_WHO_LOG(s->f.t, s->f.actor->id), LOG_STR("ray_id", s->f.ray));
		close_both(s, WS_CLOSE_POLICY, "ws", "message_index_skip");
		return;
	}
	engine_sleeper_ask(s);
}

void engine_sleeper_message(struct engine_flow *f, uint16_t index, bool binary, struct slice data)
{
	struct engine_sleeper *s = engine_sleeper_of(f);
	if (s->client_closed || s->quits)
		return;
	s->suspect = false;
	if (s->any_index) {
		s->any_index = false;
		s->expected = index;
		s->first = (uint16_t)(index - hibernation_promised(s->h));
	}
	if (index != s->expected) {
		if (engine_socket_after(index, s->expected))
			on_gap(s, index);
		else
			ack_later(s); /* the engine did not hear it */
		return;
	}
	s->gaps = 0;
	s->asked_mono_ms = 0;
	s->dropped = false;
	s->bytes_in += data.n;
	if (s->bytes_in > BUDGET_BYTES) {
		close_both(s, WS_CLOSE_RESTART, "runner", "websocket_budget");
		return;
	}
	if (hibernation_waiting_bytes(s->h) + data.n > LIMIT_TUNNEL_SOCKET_BYTES || !engine_flow_charge(f, data.n)) {
		close_both(s, WS_CLOSE_ERROR, "runner", "websocket_backlog");
		return;
	}
	s->charged += data.n;
	s->expected++;
	hibernation_add(s->h, binary ? WS_BINARY : WS_TEXT, data);
	later(s);
}

void engine_sleeper_closed(struct engine_flow *f, unsigned code, struct slice reason)
{
	struct engine_sleeper *s = engine_sleeper_of(f);
	if (s->state == SLEEPER_OPENING) {
		quit(s);
		return;
	}
	end_client(s);
	if (code != WS_CLOSE_NONE && !engine_socket_sendable(code))
		code = WS_CLOSE_ERROR;
	hibernation_add_close(s->h, code, code == WS_CLOSE_NONE ? SLICE_NONE : engine_socket_reason(reason));
	on_work(s);
}

void engine_sleeper_lost(struct engine_sleeper *s)
{
	if (!s->client_closed && s->state == SLEEPER_ASLEEP)
		engine_sleeper_closed(&s->f, WS_CLOSE_ERROR, SLICE_LIT("ws.downstream_closed"));
}

/* ---- beginning ---- */

static uint64_t n_sleepers;

static void sleeper_init(struct engine_sleeper *s, const struct exchange *x, const struct http_head *answer)
{
	struct loop *loop = s->f.t->o.loop;
	s->number = ++n_sleepers;
	s->h = hibernation_new(x, answer);
	timer_init(&s->f.timer, loop, on_timeout, s);
	timer_init(&s->ack_timer, loop, on_ack_timer, s);
	timer_init(&s->hold, loop, on_hold, s);
	timer_init(&s->look, loop, on_look, s);
	loop_task_init(&s->f.work, on_work, s);
	list_init(&s->node);
	list_push_back(&s->f.actor->sleepers, &s->node);
}

void engine_sleeper_take(struct engine_flow *from, const struct http_head *answer, uint16_t expected)
{
	struct engine_sleeper *s = mem_zalloc(sizeof(*s));
	s->f.kind = ENGINE_FLOW_SLEEPER;
	engine_flow_move(&s->f, from);
	sleeper_init(s, s->f.x, answer);
	s->expected = s->first = expected;
	attach(s);
	s->state = SLEEPER_OPENING;
	exchange_give_front(s->f.x, &exchange_ops, s);
	exchange_stop(s->f.x, EXCHANGE_FRONT);
	engine_sleeper_record(s, s->f.x, answer);
}

void engine_sleeper_recorded(struct engine_sleeper *s, bool ok)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_OPEN, .can_hibernate = ok};
	if (s->state != SLEEPER_OPENING || s->quits)
		return;
	if (!ok)
		LOG(WARN, "a WebSocket cannot hibernate: what is to be remembered of it could not be written",
		    ENGINE_WHO_LOG(s->f.t, s->f.actor->id));
	s->agreed = ok;
	s->state = SLEEPER_ATTACHED;
	if (engine_flow_send(&s->f, &m) && s->f.x != NULL)
		exchange_go(s->f.x, EXCHANGE_FRONT);
}

struct engine_sleeper *engine_sleeper_restore(struct engine_tunnel *t, const struct runner_socket_id *id,
					      const char *actor_id, struct http_head *h, const char *connection_id,
					      struct slice subprotocols, struct slice chosen)
{
	struct engine_sleeper *s = mem_zalloc(sizeof(*s));
	struct runner_message_id mid = {0};
	struct http_field field = {.id = HTTP_F_SEC_WEBSOCKET_PROTOCOL, .value = chosen};
	struct http_head answer = {.status = 101, .fields = &field, .n_fields = chosen.n > 0};
	s->f.kind = ENGINE_FLOW_SLEEPER;
	memcpy(mid.gateway, id->gateway, sizeof(mid.gateway));
	memcpy(mid.request, id->request, sizeof(mid.request));
	if (engine_flow_open(&s->f, t, &mid, slice_str(actor_id), EXCHANGE_WEBSOCKET, h, &exchange_ops) != 0) {
		mem_free(h);
		mem_free(s);
		return NULL;
	}
	struct exchange *x = TAKE(s->f.x);
	snprintf(x->connection_id, sizeof(x->connection_id), "%s", connection_id);
	x->subprotocols = subprotocols.n == 0 ? NULL : slice_dup(subprotocols);
	sleeper_init(s, x, &answer);
	x->begun_mono_us = 0;
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	s->state = SLEEPER_ASLEEP;
	s->agreed = s->any_index = true;
	return s;
}
