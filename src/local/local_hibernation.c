/* Owns client WebSockets whose workers agreed that the client outlives them.
 *
 * Happy path: ATTACHED to a worker, messages pass whole in both directions. The
 * actor is stopped or its worker crashes: ASLEEP, the client stays. A message
 * comes: WAKING, an exchange like the first is offered, and with the worker's
 * 101 it is ATTACHED again and gets what waits.
 *
 * A client that leaves while nobody is attached is kept without a connection
 * until the actor runs the next time, and then opened and closed at once.
 *
 * Failure paths: the next worker refuses, or chooses another subprotocol: 1012.
 * The actor cannot be woken: 1011 with group.code#ray. It is destroyed, or the
 * daemon stops: 1001. Whatever happens inside the exchange's ops is finished in
 * the tick. */
#include "local/local_hibernation.h"

#include "base/log.h"
#include "traffic/hibernation.h"

#include <stdio.h>

#define TRIES_MAX 8      /* of waking for one client; a worker that comes and goes is not to be tried for ever */
#define TRY_AGAIN_MS 100 /* a connection that ends may be the first sign of a crash */

enum sleeper_state { SLEEPER_ATTACHED, SLEEPER_ASLEEP, SLEEPER_WAKING };

/* The sleepers of one actor; lives while there are some. */
struct sleepers {
	struct map_node by_actor;
	char actor_id[64];
	struct list all;
};

struct sleeper {
	struct local_request r; /* conn NULL: the client has left, or was closed */
	uint8_t state;          /* enum sleeper_state */
	bool agreed;            /* so did the worker at hand */
	bool client_closed;     /* its close frame has come */
	bool worker_closed;
	bool left;   /* counted in l->n_departed: the worker is to hear of it */
	bool report; /* left, and the actor runs */
	bool tired;  /* left, and waking failed: not before the actor runs */
	bool quits;  /* freed in the tick */
	unsigned tries;
	struct hibernation *h;
	struct exchange *x; /* NULL: ASLEEP */
	struct ws_reader *from_client, *from_worker;
	/* WAKING: no ready actor. ATTACHED and left: the worker does not close. ASLEEP: the next try. */
	struct timer timer;
	struct loop_task work;
	struct list node; /* sleepers.all */
	struct sleepers *of;
};

static struct sleeper *sleeper_of(struct local_request *r)
{
	return CONTAINER_OF(r, struct sleeper, r);
}

/* ---- end ---- */

static void leave_sleepers(struct sleeper *s)
{
	struct sleepers *of = TAKE(s->of);
	list_remove(&s->node);
	if (!list_empty(&of->all))
		return;
	map_remove(&s->r.local->sleepers, &of->by_actor);
	mem_free(of);
}

/* Not from inside the exchange's ops but over(). */
static void sleeper_free(struct sleeper *s)
{
	struct exchange *x = TAKE(s->x);
	timer_disarm(&s->timer);
	loop_cancel(&s->work);
	leave_sleepers(s);
	if (s->left)
		s->r.local->n_departed--;
	ws_reader_free(s->from_client);
	ws_reader_free(s->from_worker);
	hibernation_free(s->h);
	local_request_done(&s->r);
	mem_free(s);
	if (x != NULL)
		exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_GONE);
}

static void later(struct sleeper *s)
{
	loop_post(s->r.local->o.loop, &s->work);
}

static void quit(struct sleeper *s)
{
	s->quits = true;
	later(s);
}

/* ---- towards the client ---- */

static void send_client(struct sleeper *s, enum ws_opcode op, struct slice payload)
{
	struct buf b;
	if (s->r.conn == NULL)
		return;
	buf_init(&b, payload.n + 16);
	ws_put_frame(&b, op, true, false, payload);
	if (!http_conn_raw(s->r.conn, buf_slice(&b)) && s->x != NULL)
		exchange_stop(s->x, EXCHANGE_FRONT);
	buf_done(&b);
}

static void close_client(struct sleeper *s, unsigned code, struct slice reason)
{
	struct http_conn *c = TAKE(s->r.conn);
	struct buf b;
	if (c == NULL)
		return;
	http_conn_set_user(c, NULL);
	buf_init(&b, 256);
	ws_put_close(&b, code, reason, false);
	(void)http_conn_raw(c, buf_slice(&b));
	buf_done(&b);
	http_conn_raw_close(c);
}

static void close_client_failed(struct sleeper *s, const char *group, const char *code)
{
	char reason[WS_REASON_MAX + 1];
	snprintf(reason, sizeof(reason), "%s.%s#%s", group, code, s->r.ray);
	close_client(s, WS_CLOSE_ERROR, slice_str(reason));
}

static void pause_client(struct sleeper *s)
{
	if (s->r.conn != NULL)
		http_conn_pause(s->r.conn, hibernation_waiting_bytes(s->h) >= LIMIT_HIBERNATION_WAITING_BYTES);
}

/* ---- a client that left ---- */

/* Nobody is attached; its close is behind its messages. */
static void client_left(struct sleeper *s)
{
	struct local *l = s->r.local;
	if (l->draining || l->closed != NULL || l->n_departed == LIMIT_HIBERNATION_DEPARTED) {
		sleeper_free(s);
		return;
	}
	s->left = true;
	l->n_departed++;
	later(s);
}

/* The connection is no more. */
static void client_gone(struct sleeper *s)
{
	if (s->state == SLEEPER_ATTACHED || s->left) {
		sleeper_free(s);
		return;
	}
	if (!s->client_closed) /* lost: the engine's words for that */
		hibernation_add_close(s->h, WS_CLOSE_ERROR, SLICE_LIT("ws.downstream_closed"));
	client_left(s);
}

/* ---- waking ---- */

static const struct exchange_ops exchange_ops;

/* What the client sent can go nowhere. */
static void waking_failed(struct sleeper *s, const char *group, const char *code)
{
	s->state = SLEEPER_ASLEEP;
	close_client_failed(s, group, code);
	s->tired = true;
	if (!s->left)
		quit(s);
}

static void wake(struct sleeper *s)
{
	struct local *l = s->r.local;
	s->report = false;
	if (++s->tries > TRIES_MAX) {
		waking_failed(s, "guard", "actor_wake_retries_exceeded");
		return;
	}
	if (hibernation_exchange(s->h, &exchange_ops, s, loop_mono_us(l->o.loop), &s->x) != 0) {
		waking_failed(s, "guard", "service_unavailable");
		return;
	}
	s->state = SLEEPER_WAKING;
	timer_arm(&s->timer, local_driver_ready_ms(l->driver, s->of->actor_id));
	local_driver_offer_id(l->driver, s->of->actor_id, s->x);
}

static void on_work(void *arg)
{
	struct sleeper *s = arg;
	if (s->quits) {
		sleeper_free(s);
		return;
	}
	if (s->state == SLEEPER_ATTACHED) {
		hibernation_push(s->h, s->x);
		if (s->left && !hibernation_waiting(s->h))
			timer_arm(&s->timer, LIMIT_WS_CLOSE_MS);
	} else if (s->state == SLEEPER_ASLEEP && !timer_armed(&s->timer) &&
		   (s->report || (hibernation_wants_worker(s->h) && !s->tired))) {
		wake(s);
	}
	pause_client(s);
}

static void on_timeout(void *arg)
{
	struct sleeper *s = arg;
	switch ((enum sleeper_state)s->state) {
	case SLEEPER_ATTACHED:
		sleeper_free(s);
		break;
	case SLEEPER_ASLEEP:
		on_work(s);
		break;
	case SLEEPER_WAKING:
		if (exchange_joined(s->x))
			break;
		exchange_leave(TAKE(s->x), EXCHANGE_FRONT, EXCHANGE_TIMEOUT);
		waking_failed(s, "guard", "actor_ready_timeout");
		break;
	}
}

/* ---- messages of the client ---- */

static void on_client_message(void *arg, bool binary, struct slice payload)
{
	struct sleeper *s = arg;
	hibernation_add(s->h, binary ? WS_BINARY : WS_TEXT, payload);
}

static void on_client_ping(void *arg, struct slice payload)
{
	struct sleeper *s = arg;
	if (s->state == SLEEPER_ATTACHED)
		hibernation_add(s->h, WS_PING, payload);
	else
		send_client(s, WS_PONG, payload);
}

static void on_client_pong(void *arg, struct slice payload)
{
	struct sleeper *s = arg;
	if (s->state == SLEEPER_ATTACHED)
		hibernation_add(s->h, WS_PONG, payload);
}

static void on_client_close(void *arg, unsigned code, struct slice reason)
{
	struct sleeper *s = arg;
	s->client_closed = true;
	hibernation_add_close(s->h, code, reason);
	if (s->state != SLEEPER_ATTACHED)
		close_client(s, code, reason);
}

static const struct ws_reader_events client_events = {
    .message = on_client_message, .ping = on_client_ping, .pong = on_client_pong, .close = on_client_close};

static void client_broke(struct sleeper *s, int outcome)
{
	unsigned code = outcome == WS_TOO_BIG    ? WS_CLOSE_TOO_BIG
			: outcome == WS_BAD_TEXT ? WS_CLOSE_BAD_DATA
						 : WS_CLOSE_PROTOCOL;
	close_client(s, code, SLICE_LIT("the client broke the WebSocket protocol"));
	s->client_closed = true;
	hibernation_add_close(s->h, code, SLICE_NONE);
	client_gone(s);
}

static void on_raw(struct local_request *r, struct slice bytes)
{
	struct sleeper *s = sleeper_of(r);
	int outcome = ws_reader_feed(s->from_client, bytes);
	if (outcome != 0)
		client_broke(s, outcome);
	else if (s->client_closed && s->r.conn == NULL)
		client_left(s);
	else
		on_work(s);
}

static void on_body(struct local_request *r, struct slice bytes, bool fin)
{
	(void)r;
	(void)bytes;
	(void)fin;
}

static void on_writable(struct local_request *r)
{
	struct sleeper *s = sleeper_of(r);
	if (s->x != NULL)
		exchange_go(s->x, EXCHANGE_FRONT);
}

static void on_gone(struct local_request *r)
{
	client_gone(sleeper_of(r));
}

static void on_raw_eof(struct local_request *r)
{
	struct http_conn *c = TAKE(r->conn);
	http_conn_set_user(c, NULL);
	http_conn_raw_close(c);
	client_gone(sleeper_of(r));
}

static const struct local_request_ops request_ops = {
    .body = on_body, .writable = on_writable, .raw = on_raw, .raw_eof = on_raw_eof, .gone = on_gone};

/* ---- messages of the worker ---- */

static void on_worker_message(void *arg, bool binary, struct slice payload)
{
	send_client(arg, binary ? WS_BINARY : WS_TEXT, payload);
}

static void on_worker_ping(void *arg, struct slice payload)
{
	send_client(arg, WS_PING, payload);
}

static void on_worker_pong(void *arg, struct slice payload)
{
	send_client(arg, WS_PONG, payload);
}

/* Its own close, or its answer to the client's. */
static void on_worker_close(void *arg, unsigned code, struct slice reason)
{
	struct sleeper *s = arg;
	close_client(s, code, reason);
	if (!s->client_closed && !s->left)
		hibernation_add_close(s->h, code, SLICE_NONE);
	s->worker_closed = true;
	later(s);
}

static const struct ws_reader_events worker_events = {
    .message = on_worker_message, .ping = on_worker_ping, .pong = on_worker_pong, .close = on_worker_close};

static void attach(struct sleeper *s)
{
	ws_reader_free(s->from_worker);
	s->from_worker = ws_reader_new(false, LIMIT_WS_MESSAGE_BYTES, &worker_events, s);
	s->state = SLEEPER_ATTACHED;
	s->agreed = s->x->hibernates;
	s->tries = 0;
}

/* ---- the exchange's calls ---- */

static void on_head(void *end, struct exchange *x, const struct http_head *h)
{
	struct sleeper *s = end;
	(void)x;
	timer_disarm(&s->timer);
	if (s->state != SLEEPER_WAKING || s->quits)
		return;
	if (hibernation_agrees(s->h, h)) {
		attach(s);
		later(s);
		return;
	}
	LOG(WARN, "a hibernating WebSocket was closed: the worker refused it, or chose another subprotocol",
	    LOG_ACTOR(local_driver_who(s->r.local->driver, s->of->actor_id)), LOG_NUM("status", h->status));
	close_client(s, WS_CLOSE_RESTART, SLICE_LIT("the worker did not take the connection over"));
	quit(s);
}

static void on_data(void *end, struct exchange *x, struct slice bytes, bool fin)
{
	struct sleeper *s = end;
	(void)x;
	(void)fin;
	if (s->state != SLEEPER_ATTACHED || s->quits || ws_reader_feed(s->from_worker, bytes) == 0)
		return;
	close_client(s, WS_CLOSE_PROTOCOL, SLICE_LIT("the worker broke the WebSocket protocol"));
	quit(s);
}

static void on_go(void *end, struct exchange *x)
{
	struct sleeper *s = end;
	(void)x;
	later(s);
}

/* The worker is no more, and it had not closed: who stays, and who does not. */
static void end_attached(struct sleeper *s, const struct exchange *x, enum exchange_why why)
{
	bool for_good =
	    s->r.local->draining || !s->agreed || (x->stop_reason != NULL && strcmp(x->stop_reason, "destroy") == 0);
	if (s->left && !hibernation_waiting(s->h)) {
		sleeper_free(s);
	} else if (why == EXCHANGE_STOPPED && for_good) {
		close_client(s, WS_CLOSE_GOING_AWAY, SLICE_LIT("actor.stopped"));
		sleeper_free(s);
	} else if (why == EXCHANGE_CRASHED && !s->agreed) {
		close_client(s, WS_CLOSE_RESTART, SLICE_LIT("actor.crashed"));
		sleeper_free(s);
	} else if (why == EXCHANGE_STOPPED || why == EXCHANGE_CRASHED) {
		s->state = SLEEPER_ASLEEP;
		later(s);
	} else if (why == EXCHANGE_MALFORMED) {
		close_client(s, x->refusal.status, slice_str(x->refusal.message));
		sleeper_free(s);
	} else {
		close_client_failed(s, "guard", "upstream_error");
		sleeper_free(s);
	}
}

/* One of them has closed, and nothing more is to be said. */
static void end_closed(struct sleeper *s)
{
	close_client(s, WS_CLOSE_NONE, SLICE_NONE);
	if (s->worker_closed) {
		sleeper_free(s);
	} else if (!s->left && hibernation_waiting(s->h)) {
		s->state = SLEEPER_ASLEEP;
		client_left(s);
	} else if (hibernation_waiting(s->h)) {
		s->state = SLEEPER_ASLEEP;
	} else {
		sleeper_free(s);
	}
}

static void end_waking(struct sleeper *s, const struct exchange *x, enum exchange_why why)
{
	struct answer_failure failure = answer_failure(x, why);
	bool again = why == EXCHANGE_CRASHED || why == EXCHANGE_STOPPED ||
		     (why == EXCHANGE_REFUSED && strcmp(failure.code, "stopping") == 0);
	s->state = SLEEPER_ASLEEP;
	if (why == EXCHANGE_GONE)
		timer_arm(&s->timer, TRY_AGAIN_MS);
	else if (again)
		later(s);
	else
		waking_failed(s, failure.group, failure.code);
}

static void on_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct sleeper *s = end;
	timer_disarm(&s->timer);
	hibernation_left(s->h, x);
	s->x = NULL;
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

/* ---- beginning ---- */

static void join_sleepers(struct sleeper *s, const char *actor_id)
{
	struct map *m = &s->r.local->sleepers;
	struct map_node *node = map_get(m, slice_str(actor_id));
	if (node == NULL) {
		struct sleepers *fresh = mem_zalloc(sizeof(*fresh));
		snprintf(fresh->actor_id, sizeof(fresh->actor_id), "%s", actor_id);
		list_init(&fresh->all);
		CHECK(map_put(m, &fresh->by_actor, slice_str(fresh->actor_id)) == 0); /* as many as clients */
		node = &fresh->by_actor;
	}
	s->of = CONTAINER_OF(node, struct sleepers, by_actor);
	list_push_back(&s->of->all, &s->node);
}

void local_hibernation_take(struct local_front *f, const struct http_head *answer)
{
	struct sleeper *s = mem_zalloc(sizeof(*s));
	local_request_move(&s->r, &f->r, &request_ops);
	s->x = TAKE(f->x);
	s->h = hibernation_new(s->x, answer);
	s->from_client = ws_reader_new(true, LIMIT_WS_MESSAGE_BYTES, &client_events, s);
	timer_init(&s->timer, s->r.local->o.loop, on_timeout, s);
	loop_task_init(&s->work, on_work, s);
	list_init(&s->node);
	join_sleepers(s, s->x->actor_id);
	attach(s);
	exchange_give_front(s->x, &exchange_ops, s);
	local_front_free(f, EXCHANGE_DONE);
}

/* ---- what the driver tells ---- */

static struct sleepers *find(const struct local *l, const char *actor_id)
{
	struct map_node *node = map_get(&l->sleepers, slice_str(actor_id));
	return node == NULL ? NULL : CONTAINER_OF(node, struct sleepers, by_actor);
}

void local_hibernation_running(struct local *l, const char *actor_id)
{
	struct sleepers *of = find(l, actor_id);
	if (of == NULL)
		return;
	LIST_FOR (&of->all, node) {
		struct sleeper *s = CONTAINER_OF(node, struct sleeper, node);
		if (!s->left || s->state != SLEEPER_ASLEEP)
			continue;
		s->report = true;
		s->tired = false;
		s->tries = 0;
		later(s);
	}
}

static void close_all(struct sleepers *of)
{
	LIST_FOR (&of->all, node) {
		struct sleeper *s = CONTAINER_OF(node, struct sleeper, node);
		if (s->state == SLEEPER_ATTACHED)
			continue; /* it is told by its exchange */
		close_client(s, WS_CLOSE_GOING_AWAY, SLICE_LIT("actor.stopped"));
		quit(s);
	}
}

void local_hibernation_destroyed(struct local *l, const char *actor_id)
{
	struct sleepers *of = find(l, actor_id);
	if (of != NULL)
		close_all(of);
}

static void close_each(struct map_node *node, void *arg)
{
	(void)arg;
	close_all(CONTAINER_OF(node, struct sleepers, by_actor));
}

void local_hibernation_drain(struct local *l)
{
	map_each(&l->sleepers, close_each, NULL);
}
