/* One tunnelled WebSocket: the front end of its exchange.
 *
 * Happy path: the engine has the client already; the worker's 101 is what
 * accepts it. Messages of the client become masked frames, frames of the worker
 * are read as messages. A close of either side goes to the other, and the
 * exchange is left when the worker has closed too.
 *
 * Failure paths: the actor is not here: a close before any open, on which the
 * engine asks again where it is. Every other refusal is an open and then a
 * close, because only so does the client see the code (runner protocol v7,
 * section 7.1). A gap in the numbers means lost messages: closed. A worker that
 * reads too slowly fills its own bounded queue: closed. Frames the link does not
 * take stop the reading of this worker's side. */
#include "engine/engine_tunnel_private.h"

#include "base/log.h"
#include "codec/actor_id.h"
#include "codec/route_words.h"
#include "codec/ws_frame.h"

#include <stdio.h>

#define PUSH_BYTES ((size_t)64 * 1024)

enum socket_state {
	SOCKET_OPENING, /* the engine waits for our answer */
	SOCKET_OPEN,
	SOCKET_CLOSING, /* the engine has no more to do with it */
};

struct engine_socket {
	struct engine_flow f;
	uint8_t state; /* enum socket_state */
	bool quits;    /* the exchange is left in the tick */
	uint16_t expected;
	struct ws_reader *reader; /* from the worker's 101 on */
	struct buf to_worker;     /* frames it has not taken; charged */
};

static struct engine_socket *socket_of(struct engine_flow *f)
{
	CHECK(f->magic == ENGINE_FLOW_MAGIC && f->kind == ENGINE_FLOW_SOCKET);
	return CONTAINER_OF(f, struct engine_socket, f);
}

bool engine_socket_after(uint16_t a, uint16_t b)
{
	return a != b && (uint16_t)(a - b) < 32767;
}

/* ---- end ---- */

static void socket_free(struct engine_socket *s)
{
	ws_reader_free(s->reader);
	buf_done(&s->to_worker);
	engine_flow_done(&s->f);
	mem_free(s);
}

static void look(struct engine_socket *s)
{
	if (s->state == SOCKET_CLOSING && s->f.x == NULL && engine_flow_sent(&s->f))
		socket_free(s);
}

void engine_socket_drop(struct engine_flow *f)
{
	engine_flow_leave(f, EXCHANGE_GONE);
	socket_free(socket_of(f));
}

/* ---- towards the engine ---- */

static void send_open(struct engine_socket *s)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_OPEN, .can_hibernate = false};
	(void)engine_flow_send(&s->f, &m);
}

bool engine_socket_sendable(unsigned code)
{
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

struct slice engine_socket_reason(struct slice text)
{
	if (text.n > WS_REASON_MAX) {
		text.n = WS_REASON_MAX;
		while (text.n > 0 && (text.p[text.n] & 0xc0) == 0x80)
			text.n--;
	}
	return ws_utf8_valid(text) ? text : SLICE_NONE;
}

static void send_close(struct engine_socket *s, unsigned code, struct slice reason)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_CLOSE};
	if (code != WS_CLOSE_NONE) {
		m.close.has_code = m.close.has_reason = true;
		m.close.code = (uint16_t)(engine_socket_sendable(code) ? code : WS_CLOSE_ERROR);
		m.close.reason = engine_socket_reason(reason);
	}
	(void)engine_flow_send(&s->f, &m);
}

/* The client's side is over, with the worker's or not. */
static void end_client(struct engine_socket *s)
{
	s->state = SOCKET_CLOSING;
	engine_flow_unlist(&s->f);
}

static void close_client(struct engine_socket *s, unsigned code, struct slice reason)
{
	if (s->state == SOCKET_CLOSING)
		return;
	if (s->state == SOCKET_OPENING)
		send_open(s);
	send_close(s, code, reason);
	end_client(s);
}

static void close_client_failed(struct engine_socket *s, const char *group, const char *code)
{
	char reason[WS_REASON_MAX + 1];
	snprintf(reason, sizeof(reason), "%s.%s#%s", group, code, s->f.ray);
	s->f.t->stats.refused++;
	close_client(s, WS_CLOSE_ERROR, slice_str(reason));
}

/* Not here: the engine looks where it is, and opens it there. */
static void reject(struct engine_socket *s)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_CLOSE};
	s->f.t->stats.aborted++;
	(void)engine_flow_send(&s->f, &m);
	end_client(s);
}

void engine_socket_flushed(struct engine_flow *f)
{
	if (f->x != NULL)
		exchange_go(f->x, EXCHANGE_FRONT);
	look(socket_of(f));
}

/* ---- towards the worker ---- */

static void push(struct engine_socket *s)
{
	struct exchange *x = s->f.x;
	while (x != NULL && buf_len(&s->to_worker) > 0 && exchange_joined(x) && !exchange_stopped(x, EXCHANGE_BACK)) {
		struct slice all = buf_slice(&s->to_worker);
		size_t n = all.n < PUSH_BYTES ? all.n : PUSH_BYTES;
		exchange_data(x, EXCHANGE_FRONT, slice_head(all, n), false);
		buf_drop(&s->to_worker, n);
		engine_flow_refund(&s->f, n);
	}
	if (buf_len(&s->to_worker) == 0)
		buf_done(&s->to_worker); /* many sockets are idle most of the time */
}

/* From inside the exchange's ops nothing is pushed and nobody leaves: the tick does. */
static void later(struct engine_socket *s)
{
	loop_post(s->f.t->o.loop, &s->f.work);
}

/* A frame of at most a few bytes more than `room`. False: no room for it. */
static bool take_room(struct engine_socket *s, size_t room)
{
	return buf_len(&s->to_worker) + room <= LIMIT_TUNNEL_SOCKET_BYTES && engine_flow_charge(&s->f, room);
}

/* What has been added over `before` differs from what was charged. */
static void settle(struct engine_socket *s, size_t before, size_t charged)
{
	size_t added = buf_len(&s->to_worker) - before;
	CHECK(added <= charged);
	engine_flow_refund(&s->f, charged - added);
}

#define FRAME_EXTRA 14 /* the longest frame head */

static bool queue_frame(struct engine_socket *s, enum ws_opcode op, struct slice payload)
{
	size_t before = buf_len(&s->to_worker), room = payload.n + FRAME_EXTRA;
	if (!take_room(s, room))
		return false;
	ws_put_frame(&s->to_worker, op, true, true, payload);
	settle(s, before, room);
	return true;
}

/* The worker's side ends too, at the latest after LIMIT_WS_CLOSE_MS. */
static void close_worker(struct engine_socket *s, unsigned code, struct slice reason)
{
	size_t before = buf_len(&s->to_worker), room = FRAME_EXTRA + 2 + WS_REASON_MAX;
	if (s->f.x == NULL)
		return;
	if (take_room(s, room)) {
		ws_put_close(&s->to_worker, code, reason, true);
		settle(s, before, room);
	}
	timer_arm(&s->f.timer, LIMIT_WS_CLOSE_MS);
}

static void close_both(struct engine_socket *s, unsigned code, const char *group, const char *what)
{
	char reason[WS_REASON_MAX + 1];
	snprintf(reason, sizeof(reason), "%s.%s#%s", group, what, s->f.ray);
	close_client(s, code, slice_str(reason));
	close_worker(s, code, slice_str(reason));
}

/* ---- messages of the worker ---- */

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct engine_socket *s = arg;
	struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_MESSAGE};
	if (s->state != SOCKET_OPEN)
		return;
	m.message.data = payload;
	m.message.binary = binary;
	(void)engine_flow_send(&s->f, &m);
}

static void on_ping(void *arg, struct slice payload)
{
	struct engine_socket *s = arg;
	if (queue_frame(s, WS_PONG, payload))
		later(s);
}

static void on_pong(void *arg, struct slice payload)
{
	(void)arg;
	(void)payload;
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	struct engine_socket *s = arg;
	if (s->state == SOCKET_CLOSING)
		return;
	close_client(s, code, reason);
	close_worker(s, code, SLICE_NONE);
	later(s);
}

static const struct ws_reader_events reader_events = {
    .message = on_message, .ping = on_ping, .pong = on_pong, .close = on_close};

static void on_broken(struct engine_socket *s, int outcome)
{
	unsigned code = outcome == WS_TOO_BIG    ? WS_CLOSE_TOO_BIG
			: outcome == WS_BAD_TEXT ? WS_CLOSE_BAD_DATA
						 : WS_CLOSE_PROTOCOL;
	const char *what = outcome == WS_TOO_BIG ? "message_too_large" : "invalid_websocket_frame";
	if (s->state == SOCKET_CLOSING)
		return;
	LOG(WARN, "a worker's WebSocket was closed", ENGINE_WHO_LOG(s->f.t, s->f.actor->id),
	    LOG_STR("why", outcome == WS_TOO_BIG ? "a message is larger than 20 MiB, an engine's limit"
						 : "what it sent is no WebSocket frame, or text that is not UTF-8"));
	close_both(s, code, "runner", what);
	s->quits = true;
	later(s);
}

/* ---- the exchange's calls ---- */

static void on_head(void *end, struct exchange *x, const struct http_head *h)
{
	struct engine_socket *s = end;
	char reason[64];
	timer_disarm(&s->f.timer);
	if (s->state != SOCKET_OPENING)
		return;
	if (h->status == 101 && x->hibernates) {
		engine_sleeper_take(&s->f, h, s->expected);
		buf_done(&s->to_worker);
		mem_free(s);
		return;
	}
	if (h->status == 101) {
		s->reader = ws_reader_new(false, LIMIT_ENGINE_BODY_BYTES, &reader_events, s);
		s->state = SOCKET_OPEN;
		send_open(s);
		return;
	}
	snprintf(reason, sizeof(reason), "the worker refused the upgrade with status %u", (unsigned)h->status);
	s->f.t->stats.refused++;
	close_client(s, WS_CLOSE_POLICY, slice_str(reason));
	s->quits = true;
	later(s);
}

static void on_data(void *end, struct exchange *x, struct slice bytes, bool fin)
{
	struct engine_socket *s = end;
	(void)fin;
	if (s->reader == NULL || s->quits)
		return;
	int r = ws_reader_feed(s->reader, bytes);
	if (r != 0)
		on_broken(s, r);
	if (!engine_flow_sent(&s->f))
		exchange_stop(x, EXCHANGE_FRONT);
}

static void on_go(void *end, struct exchange *x)
{
	struct engine_socket *s = end;
	(void)x;
	if (s->state == SOCKET_OPENING)
		timer_disarm(&s->f.timer);
	if (buf_len(&s->to_worker) > 0)
		later(s);
}

static bool was_stopped_before(const struct exchange *x, enum exchange_why why)
{
	return why == EXCHANGE_REFUSED && strcmp(x->refusal.group, "actor") == 0 &&
	       strcmp(x->refusal.code, "stopping") == 0;
}

static void end_opening(struct engine_socket *s, const struct exchange *x, enum exchange_why why)
{
	struct answer_failure failure = answer_failure(x, why);
	if (was_stopped_before(x, why) || why == EXCHANGE_STOPPED)
		reject(s);
	else
		close_client_failed(s, failure.group, failure.code);
}

static void end_open(struct engine_socket *s, const struct exchange *x, enum exchange_why why)
{
	struct answer_failure failure = answer_failure(x, why);
	if (why == EXCHANGE_STOPPED)
		close_client(s, WS_CLOSE_GOING_AWAY, SLICE_LIT("actor.stopped"));
	else if (why == EXCHANGE_CRASHED)
		close_client(s, WS_CLOSE_RESTART, SLICE_LIT("actor.crashed"));
	else if (why == EXCHANGE_MALFORMED)
		close_client(s, x->refusal.status, slice_str(x->refusal.message));
	else
		close_client_failed(s, failure.group, failure.code);
}

static void on_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct engine_socket *s = end;
	if (s->state == SOCKET_OPENING)
		end_opening(s, x, why);
	else if (s->state == SOCKET_OPEN)
		end_open(s, x, why);
	engine_flow_leave(&s->f, EXCHANGE_DONE);
	look(s);
}

static const struct exchange_ops exchange_ops = {.head = on_head, .data = on_data, .go = on_go, .over = on_over};

static void on_work(void *arg)
{
	struct engine_socket *s = socket_of(arg);
	push(s);
	if (s->quits)
		engine_flow_leave(&s->f, EXCHANGE_GONE);
	look(s);
}

/* Opening: no ready actor. Closing: the worker does not close. */
static void on_timeout(void *arg)
{
	struct engine_socket *s = socket_of(arg);
	if (s->state == SOCKET_OPENING && exchange_joined(s->f.x))
		return;
	if (s->state == SOCKET_OPENING)
		close_client_failed(s, "guard", "actor_ready_timeout");
	engine_flow_leave(&s->f, EXCHANGE_GONE);
	look(s);
}

/* ---- messages of the engine ---- */

bool engine_socket_again(struct engine_flow *f, uint16_t index)
{
	struct engine_socket *s = socket_of(f);
	if (f->said_at > 0 || !engine_flow_sent(f))
		return false;
	s->expected = (uint16_t)(index + 1);
	if (s->state != SOCKET_OPEN)
		return true;
	f->next_index = 0;
	send_open(s);
	return true;
}

static void on_gap(struct engine_socket *s, uint16_t index)
{
	s->f.t->stats.messages_lost += (uint16_t)(index - s->expected);
	LOG(WARN, "messages of a client were lost on the way from the engine; its WebSocket was closed",
	    ENGINE_WHO_LOG(s->f.t, s->f.actor->id), LOG_NUM("lost", (uint16_t)(index - s->expected)),
	    LOG_STR("ray_id", s->f.ray));
	close_both(s, WS_CLOSE_ERROR, "runner", "message_lost");
}

static void on_backlog(struct engine_socket *s)
{
	LOG(WARN, "a worker does not read its WebSocket; it was closed", ENGINE_WHO_LOG(s->f.t, s->f.actor->id),
	    LOG_NUM("waiting_bytes", buf_len(&s->to_worker)), LOG_STR("ray_id", s->f.ray));
	close_both(s, WS_CLOSE_ERROR, "runner", "websocket_backlog");
	s->quits = true;
	later(s);
}

void engine_socket_message(struct engine_flow *f, uint16_t index, bool binary, struct slice data)
{
	struct engine_socket *s = socket_of(f);
	if (s->state != SOCKET_OPEN || (index != s->expected && !engine_socket_after(index, s->expected)))
		return; /* before our answer, or one that was here before */
	if (index != s->expected) {
		on_gap(s, index);
		push(s);
		return;
	}
	s->expected++;
	if (queue_frame(s, binary ? WS_BINARY : WS_TEXT, data))
		push(s);
	else
		on_backlog(s);
}

void engine_socket_closed(struct engine_flow *f, unsigned code, struct slice reason)
{
	struct engine_socket *s = socket_of(f);
	if (s->state == SOCKET_OPENING) {
		engine_socket_drop(f);
		return;
	}
	end_client(s);
	if (code != WS_CLOSE_NONE && !engine_socket_sendable(code))
		code = WS_CLOSE_ERROR;
	close_worker(s, code, code == WS_CLOSE_NONE ? SLICE_NONE : engine_socket_reason(reason));
	push(s);
	look(s);
}

void engine_socket_online(struct engine_flow *f, uint64_t unsure_from)
{
	struct engine_socket *s = socket_of(f);
	bool closing = s->state == SOCKET_CLOSING && !engine_flow_sent(f);
	char reason[WS_REASON_MAX + 1];
	if (f->said_at <= unsure_from || !(s->state == SOCKET_OPEN || closing))
		return;
	f->t->stats.messages_lost++;
	LOG(WARN, "messages to a client may have been lost with the connection to the engine; its WebSocket was closed",
	    ENGINE_WHO_LOG(f->t, f->actor->id), LOG_STR("ray_id", f->ray));
	engine_flow_discard(f);
	if (s->state == SOCKET_OPEN) {
		close_both(s, WS_CLOSE_ERROR, "runner", "message_lost");
	} else {
		snprintf(reason, sizeof(reason), "runner.message_lost#%s", f->ray);
		send_close(s, WS_CLOSE_ERROR, slice_str(reason));
	}
	later(s);
}

/* ---- beginning ---- */

static void offer(struct engine_socket *s)
{
	struct engine_tunnel *t = s->f.t;
	switch (dispatch_offer(t->o.table, s->f.actor->id, s->f.x)) {
	case DISPATCH_TAKEN:
		timer_arm(&s->f.timer, LIMIT_TUNNEL_READY_MS);
		return;
	case DISPATCH_ABSENT:
		t->o.ops->absent(t->o.arg, s->f.actor->id);
		reject(s);
		break;
	case DISPATCH_STOPPING:
		reject(s);
		break;
	case DISPATCH_FULL:
		close_client_failed(s, "actor", "overloaded");
		break;
	}
	engine_flow_leave(&s->f, EXCHANGE_DONE);
	look(s);
}

static void put_subprotocols(struct engine_socket *s, const struct http_head *h)
{
	struct buf kept;
	struct route_words words;
	buf_init(&kept, 2 * LIMIT_HTTP_HEAD_BYTES);
	route_words_take(h, &words, &kept);
	if (buf_len(&kept) > 0)
		s->f.x->subprotocols = slice_dup(buf_slice(&kept));
	buf_done(&kept);
}

/* NULL: there is no room for another. Takes h. */
static struct engine_socket *socket_new(struct engine_tunnel *t, const struct runner_tunnel_down *m,
					struct http_head *h)
{
	struct engine_socket *s = mem_zalloc(sizeof(*s));
	s->f.kind = ENGINE_FLOW_SOCKET;
	if (m->open.actor_id.n >= sizeof(s->f.actor->id) ||
	    engine_flow_open(&s->f, t, &m->id, m->open.actor_id, EXCHANGE_WEBSOCKET, h, &exchange_ops) != 0) {
		mem_free(h);
		mem_free(s);
		return NULL;
	}
	timer_init(&s->f.timer, t->o.loop, on_timeout, s);
	loop_task_init(&s->f.work, on_work, s);
	buf_init(&s->to_worker, 2 * LIMIT_TUNNEL_SOCKET_BYTES);
	s->expected = (uint16_t)(m->id.index + 1);
	snprintf(s->f.x->connection_id, sizeof(s->f.x->connection_id), "%s", actor_id_new().text);
	put_subprotocols(s, h);
	return s;
}

/* A head that became no exchange: accepted, then closed. */
static void refuse_head(struct engine_tunnel *t, const struct runner_message_id *id, unsigned status)
{
	char reason[64];
	struct runner_tunnel_up open = {.id = *id, .kind = RUNNER_UP_WS_OPEN};
	struct runner_tunnel_up close = {.id = *id, .kind = RUNNER_UP_WS_CLOSE};
	snprintf(reason, sizeof(reason), "guard.invalid_request: status %u", status);
	close.close.has_code = close.close.has_reason = true;
	close.close.code = WS_CLOSE_POLICY;
	close.close.reason = slice_str(reason);
	t->stats.refused++;
	engine_tunnel_reply(t, &open);
	engine_tunnel_reply(t, &close);
}

void engine_socket_start(struct engine_tunnel *t, const struct runner_tunnel_down *m)
{
	struct engine_head_in in = {
	    .method = SLICE_LIT("GET"), .path = m->open.path, .headers = m->open.headers, .token = t->o.token};
	struct runner_tunnel_up rejected = {.id = m->id, .kind = RUNNER_UP_WS_CLOSE};
	struct http_head *h;
	const char *why;
	unsigned status = engine_head_request(&in, &h, &why);
	t->stats.websockets++;
	if (status != 0) {
		refuse_head(t, &m->id, status);
		return;
	}
	struct engine_socket *s = socket_new(t, m, h);
	if (s != NULL) {
		offer(s);
		return;
	}
	t->stats.aborted++;
	engine_tunnel_reply(t, &rejected);
}
