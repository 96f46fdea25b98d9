/* Owns the connections to one worker and what waits for one.
 *
 * The connection used last is used next, so that few stay warm; one idle for
 * longer than LIMIT_WORKER_IDLE_MS is closed, not used. Calls of our own come
 * before traffic and may exceed the bound, and open WebSockets do not count: they
 * stay for hours, and what waited for them would. What finds no connection waits;
 * it is served when one is free, and by timer when the worker's backlog is full.
 *
 * A connection belongs to its user (a call or an exchange) while busy; its end
 * is the user's event. Only when `closed` came does its memory go. */
#include "worker/worker_private.h"

#include <unistd.h>

#define RETRY_FIRST_MS 2
#define RETRY_MAX_MS 50

static struct worker_conn *conn_of(void *arg)
{
	return CAST(struct worker_conn, arg, WORKER_CONN_MAGIC);
}

static struct worker_conn *conn_at(struct list *node)
{
	return CONTAINER_OF(node, struct worker_conn, node);
}

/* ---- ends ---- */

void worker_conn_close(struct worker_conn *c)
{
	if (c->state == CONN_CLOSING)
		return;
	c->state = CONN_CLOSING;
	c->call = NULL;
	timer_disarm(&c->timer);
	loop_cancel(&c->fault);
	http_client_close(c->client);
}

void worker_conn_linger(struct worker_conn *c)
{
	if (c->state == CONN_CLOSING)
		return;
	c->state = CONN_LINGER;
	loop_cancel(&c->fault);
	http_client_pause(c->client, false);
	timer_arm(&c->timer, LIMIT_WS_CLOSE_MS);
}

static void on_sweep(void *arg)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	int64_t now = loop_mono_ms(w->pool->o.loop);
	while (!list_empty(&w->idle)) {
		struct worker_conn *c = conn_at(w->idle.prev);
		int64_t left = http_client_idle_since_ms(c->client) + LIMIT_WORKER_IDLE_MS - now;
		if (left >= 0) {
			timer_arm(&w->sweep, left + 1);
			return;
		}
		list_remove(&c->node);
		list_push_back(&w->busy, &c->node);
		worker_conn_close(c);
	}
}

void worker_conn_release(struct worker_conn *c, bool reusable)
{
	struct worker *w = c->worker;
	timer_disarm(&c->timer);
	c->call = NULL;
	if (!reusable || w->state >= WORKER_EXITED) {
		worker_conn_close(c);
	} else {
		c->state = CONN_IDLE;
		list_remove(&c->node);
		list_push_front(&w->idle, &c->node);
		if (!timer_armed(&w->sweep))
			timer_arm(&w->sweep, LIMIT_WORKER_IDLE_MS + 1);
	}
	if (!list_empty(&w->waiting) || !list_empty(&w->calls_waiting))
		worker_conns_post(w);
	if (w->state == WORKER_EXITED)
		worker_look(w);
}

/* ---- the connection's events ---- */

static void on_head(void *arg, const struct http_head *h)
{
	struct worker_conn *c = conn_of(arg);
	if (c->state == CONN_CALL)
		c->call->status = h->status;
	else if (c->state == CONN_HTTP)
		worker_forward_head(c, h);
}

static void on_body(void *arg, struct slice s)
{
	struct worker_conn *c = conn_of(arg);
	if (c->state == CONN_HTTP)
		worker_forward_body(c, s);
}

static void on_writable(void *arg)
{
	struct worker_conn *c = conn_of(arg);
	bool ending = c->ws != NULL && (c->ws->farewell || c->ws->worker_ended);
	if (c->x != NULL && !ending)
		exchange_go(c->x, EXCHANGE_BACK);
}

static void call_over(struct worker_conn *c, enum http_client_why why, bool reusable)
{
	struct worker_call *call = TAKE(c->call);
	enum worker_call_outcome outcome = why == HTTP_CLIENT_MALFORMED ? CALL_MALFORMED
					   : call->status != 0          ? CALL_ANSWERED
									: CALL_CUT;
	worker_conn_release(c, reusable);
	worker_call_over(call, outcome);
}

static void on_over(void *arg, enum http_client_why why, bool answered, bool reusable)
{
	struct worker_conn *c = conn_of(arg);
	(void)answered;
	if (c->state == CONN_CALL)
		call_over(c, why, reusable);
	else if (c->state == CONN_HTTP)
		worker_forward_over(c, why, reusable);
	else
		worker_conn_close(c);
}

static void on_raw(void *arg, struct slice s)
{
	struct worker_conn *c = conn_of(arg);
	if (c->state == CONN_WS)
		worker_forward_raw(c, s);
}

static void on_raw_eof(void *arg)
{
	struct worker_conn *c = conn_of(arg);
	if (c->state == CONN_WS)
		worker_forward_raw_eof(c);
	else
		worker_conn_close(c);
}

static void on_idle_closed(void *arg)
{
	struct worker_conn *c = conn_of(arg);
	list_remove(&c->node);
	list_push_back(&c->worker->busy, &c->node);
	worker_conn_close(c);
}

static void on_closed(void *arg)
{
	struct worker_conn *c = conn_of(arg);
	struct worker *w = c->worker;
	CHECK(c->x == NULL && c->call == NULL);
	list_remove(&c->node);
	if (c->ws != NULL)
		w->n_sockets--;
	mem_free(c->ws);
	c->magic = 0;
	mem_free(c);
	w->n_conns--;
	if (!list_empty(&w->waiting))
		worker_conns_post(w);
	worker_look(w);
}

static const struct http_client_events client_events = {
    .head = on_head,
    .body = on_body,
    .writable = on_writable,
    .over = on_over,
    .raw = on_raw,
    .raw_eof = on_raw_eof,
    .idle_closed = on_idle_closed,
    .closed = on_closed,
};

static void on_timer(void *arg)
{
	struct worker_conn *c = conn_of(arg);
	if (c->state == CONN_LINGER)
		worker_conn_close(c);
	else
		worker_forward_timeout(c);
}

static void on_fault(void *arg)
{
	worker_forward_fault(conn_of(arg));
}

/* ---- taking one ---- */

static int open_conn(struct worker *w, struct worker_conn **ret)
{
	int fd = -1;
	int r = worker_connect(w, &fd);
	if (r != 0)
		return r;
	struct worker_conn *c = mem_zalloc(sizeof(*c));
	r = http_client_open(w->pool->o.loop, fd, &client_events, c, &c->client);
	if (r < 0) {
		close(fd);
		mem_free(c);
		return r;
	}
	c->magic = WORKER_CONN_MAGIC;
	c->worker = w;
	list_init(&c->node);
	list_push_back(&w->busy, &c->node);
	timer_init(&c->timer, w->pool->o.loop, on_timer, c);
	loop_task_init(&c->fault, on_fault, c);
	w->n_conns++;
	*ret = c;
	return 0;
}

int worker_conns_take(struct worker *w, bool beyond_limit, struct worker_conn **ret)
{
	if (!list_empty(&w->idle)) {
		struct worker_conn *c = conn_at(w->idle.next);
		int64_t idle_ms = loop_mono_ms(w->pool->o.loop) - http_client_idle_since_ms(c->client);
		if (idle_ms < LIMIT_WORKER_IDLE_MS) {
			list_remove(&c->node);
			list_push_back(&w->busy, &c->node);
			*ret = c;
			return 0;
		}
		worker_conns_close_idle(w);
	}
	if (w->n_conns - w->n_sockets >= LIMIT_WORKER_CONNS && !beyond_limit)
		return WORKER_AGAIN;
	int r = open_conn(w, ret);
	if (r == WORKER_AGAIN) {
		if (!timer_armed(&w->retry))
			timer_arm(&w->retry, w->retry_ms);
		w->retry_ms = w->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : w->retry_ms * 2;
	} else {
		w->retry_ms = RETRY_FIRST_MS;
	}
	return r;
}

/* False when nothing more can be served for now. */
static bool pump_call(struct worker *w)
{
	struct worker_conn *conn = NULL;
	struct worker_call *call = CONTAINER_OF(w->calls_waiting.next, struct worker_call, node);
	int r = worker_conns_take(w, true, &conn);
	if (r == WORKER_AGAIN)
		return false;
	if (r < 0)
		worker_call_unreachable(call, r);
	else
		worker_call_begin(call, conn);
	return true;
}

static bool pump_exchange(struct worker *w)
{
	struct worker_conn *conn = NULL; /* stays so when the worker cannot be reached */
	int r = worker_conns_take(w, false, &conn);
	if (r == WORKER_AGAIN)
		return false;
	struct exchange *x = CONTAINER_OF(w->waiting.next, struct exchange, waiting);
	list_remove(&x->waiting);
	w->n_waiting--;
	if (r == 0)
		worker_forward_begin(conn, x);
	else
		worker_forward_refuse(CAST(struct place, x->holder, WORKER_PLACE_MAGIC), x, 502, "guard",
				      "upstream_error", "the worker does not accept connections");
	return true;
}

/* What came last has to go. */
static void shed(struct worker *w)
{
	while (w->n_waiting > LIMIT_WORKER_QUEUE) {
		struct exchange *x = CONTAINER_OF(w->waiting.prev, struct exchange, waiting);
		list_remove(&x->waiting);
		w->n_waiting--;
		worker_forward_refuse(CAST(struct place, x->holder, WORKER_PLACE_MAGIC), x, 503, "actor", "overloaded",
				      "too many requests wait for a connection to the worker");
	}
}

static void on_pump(void *arg)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	bool more = true;
	while (more && !list_empty(&w->calls_waiting))
		more = pump_call(w);
	while (more && !list_empty(&w->waiting))
		more = pump_exchange(w);
	shed(w);
}

void worker_conns_post(struct worker *w)
{
	loop_post(w->pool->o.loop, &w->pump);
}

/* ---- all of them ---- */

void worker_conns_init(struct worker *w)
{
	struct loop *l = w->pool->o.loop;
	list_init(&w->idle);
	list_init(&w->busy);
	list_init(&w->calls_waiting);
	list_init(&w->waiting);
	timer_init(&w->sweep, l, on_sweep, w);
	timer_init(&w->retry, l, on_pump, w);
	loop_task_init(&w->pump, on_pump, w);
	w->retry_ms = RETRY_FIRST_MS;
	w->pending_fd = -1;
}

void worker_conns_close_idle(struct worker *w)
{
	for (struct list *node; (node = list_pop(&w->idle)) != NULL;) {
		list_push_back(&w->busy, node);
		worker_conn_close(conn_at(node));
	}
	timer_disarm(&w->sweep);
}

void worker_conns_close(struct worker *w)
{
	CHECK(list_empty(&w->waiting) && list_empty(&w->calls_waiting));
	worker_conns_close_idle(w);
	LIST_FOR (&w->busy, node) {
		CHECK(conn_at(node)->x == NULL && conn_at(node)->call == NULL);
		worker_conn_close(conn_at(node));
	}
	timer_disarm(&w->retry);
	loop_cancel(&w->pump);
	worker_connect_abandon(w);
}
