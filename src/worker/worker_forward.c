/* The back end of exchanges: one end of each is a connection to the worker.
 *
 * A request gets a connection or waits for one, its head goes out, the front
 * is joined and pushes the body; the answer streams back. A 101 turns the
 * connection into a WebSocket, whose frames are followed in both directions,
 * so that a close frame of ours never goes into another frame.
 *
 * Ends: the answer is complete (the connection is used again), the worker
 * closes or breaks HTTP, the client leaves (its connection is closed),
 * request_timeout passes, the actor stops, the process dies. Each tells the
 * place exactly once. Nothing is sent twice. */
#include "worker/worker_private.h"

/* ---- leaving ---- */

/* Forgets the exchange and tells the place. The caller leaves or has been left. */
static struct exchange *let_go(struct worker_conn *c)
{
	struct exchange *x = TAKE(c->x);
	struct place *pl = TAKE(c->place);
	timer_disarm(&c->timer);
	loop_cancel(&c->fault);
	pl->n_farewells -= c->ws != NULL && c->ws->farewell;
	worker_place_exchange_over(pl, c->ws == NULL ? PLACE_REQUEST : c->ws->use);
	return x;
}

static void leave(struct worker_conn *c, enum exchange_why why)
{
	exchange_leave(let_go(c), EXCHANGE_BACK, why);
}

static void leave_stopped(struct worker_conn *c)
{
	c->x->stop_reason = c->place->stop_reason;
	leave(c, EXCHANGE_STOPPED);
}

static void leave_malformed(struct worker_conn *c, const char *how)
{
	struct exchange_refusal *r = &c->x->refusal;
	*r = (struct exchange_refusal){502, "guard", "upstream_error",
				       mem_printf("the worker's answer was refused: %s", how), 0};
	leave(c, EXCHANGE_MALFORMED);
}

/* Somebody broke the WebSocket protocol: the client's close frame says who. */
static void leave_broken(struct worker_conn *c, uint8_t outcome, const char *who)
{
	bool big = outcome == WS_TOO_BIG;
	c->x->refusal = (struct exchange_refusal){
	    big ? WS_CLOSE_TOO_BIG : WS_CLOSE_PROTOCOL, "ws", "invalid_packet",
	    mem_printf(big ? "a message of the %s is over 32 MiB" : "the %s broke the WebSocket protocol", who), 0};
	leave(c, EXCHANGE_MALFORMED);
}

/* A close frame for the worker, unless the client's has passed or a frame is half passed. Returns its length. */
static size_t close_towards_worker(struct worker_conn *c, unsigned code, struct slice reason)
{
	struct buf b;
	if (c->ws->farewell || c->ws->from_client.close_seen || !ws_tracker_at_boundary(&c->ws->from_client))
		return 0;
	buf_init(&b, 256);
	ws_put_close(&b, code, reason, true);
	size_t n = buf_len(&b);
	(void)http_client_raw(c->client, buf_slice(&b));
	buf_done(&b);
	return n;
}

/* A WebSocket's end on the worker's side, with whatever is still queued for it. */
static void finish_socket(struct worker_conn *c)
{
	http_client_raw_shutdown(c->client);
	worker_conn_linger(c);
}

/* ---- the exchange's calls ---- */

static void forward_frames(struct worker_conn *c, struct slice s)
{
	size_t good = 0;
	CHECK(!c->ws->farewell); /* it was stopped */
	int r = ws_tracker_feed(&c->ws->from_client, s, &good);
	if (good > 0 && !http_client_raw(c->client, slice_head(s, good)))
		exchange_stop(c->x, EXCHANGE_BACK);
	if (r != 0 || c->ws->from_client.close_seen || c->ws->stopping)
		loop_post(c->worker->pool->o.loop, &c->fault); /* the exchange may not be left from in here */
}

static void on_data(void *end, struct exchange *x, struct slice s, bool fin)
{
	struct worker_conn *c = CAST(struct worker_conn, end, WORKER_CONN_MAGIC);
	if (c->state == CONN_WS) {
		forward_frames(c, s);
		return;
	}
	if (!c->has_body)
		return;
	c->has_body = !fin;
	if (!http_client_body(c->client, s, fin))
		exchange_stop(x, EXCHANGE_BACK);
}

static void on_go(void *end, struct exchange *x)
{
	struct worker_conn *c = CAST(struct worker_conn, end, WORKER_CONN_MAGIC);
	(void)x;
	http_client_pause(c->client, false);
}

static void on_front_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct worker_conn *c = CAST(struct worker_conn, end, WORKER_CONN_MAGIC);
	bool open = c->state == CONN_WS;
	/* The client is lost: the engine's words for that. */
	if (open && why == EXCHANGE_GONE)
		(void)close_towards_worker(c, WS_CLOSE_ERROR, SLICE_LIT("ws.downstream_closed"));
	(void)let_go(c);
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
	if (open)
		finish_socket(c);
	else
		worker_conn_close(c);
}

static size_t on_unwritten(void *end, const struct exchange *x)
{
	const struct worker_conn *c = CAST(struct worker_conn, end, WORKER_CONN_MAGIC);
	size_t queued = http_client_queued(c->client), own = c->ws == NULL ? 0 : c->ws->farewell_bytes;
	(void)x;
	return queued > own ? queued - own : 0;
}

static bool on_sure(void *end, const struct exchange *x)
{
	const struct worker_conn *c = CAST(struct worker_conn, end, WORKER_CONN_MAGIC);
	(void)x;
	return http_client_sure(c->client);
}

_Static_assert(EXCHANGE_SURE_BYTES <= STREAM_SURE_BYTES, "a promise of the stream's");

static const struct exchange_ops back_ops = {
    .data = on_data, .go = on_go, .over = on_front_over, .unwritten = on_unwritten, .sure = on_sure};

/* ---- beginning ---- */

static void take_conn(struct worker_conn *c, struct place *pl, struct exchange *x)
{
	struct worker_pool *p = pl->pool;
	bool has_body, chunked, upgrade = x->kind == EXCHANGE_WEBSOCKET;
	buf_reset(&p->scratch);
	worker_head_put(&p->scratch, x, buf_slice(&pl->fields), &has_body, &chunked, c->accept);
	if (p->scratch.over) {
		worker_conn_release(c, true);
		exchange_refuse(x, 431, "guard", "request_too_large",
				mem_strdup("the request's head is too large for the worker"), 0);
		worker_place_exchange_over(pl, PLACE_REQUEST);
		return;
	}
	c->state = CONN_HTTP;
	c->place = pl;
	c->x = x;
	c->has_body = has_body;
	c->answered = false;
	x->generation = pl->generation;
	timer_arm(&c->timer, c->worker->type->request_timeout_ms);
	http_client_request(c->client, buf_slice(&p->scratch), slice_is(x->head->method, "HEAD"), upgrade, has_body,
			    chunked);
	exchange_join(x, &back_ops, c);
}

static void on_dropped(void *holder, struct exchange *x)
{
	struct place *pl = CAST(struct place, holder, WORKER_PLACE_MAGIC);
	list_remove(&x->waiting);
	pl->worker->n_waiting--;
	worker_place_exchange_over(pl, PLACE_REQUEST);
}

static void on_late_dropped(void *holder, struct exchange *x)
{
	list_remove(&x->waiting);
	worker_place_exchange_over(CAST(struct place, holder, WORKER_PLACE_MAGIC), PLACE_REQUEST);
}

void worker_forward_refuse(struct place *pl, struct exchange *x, unsigned status, const char *group, const char *code,
			   const char *why)
{
	exchange_refuse(x, status, group, code, why == NULL ? NULL : mem_strdup(why), status == 503 ? 1 : 0);
	worker_place_exchange_over(pl, PLACE_REQUEST);
}

/* Called from inside front ends: whatever comes of it comes from the tick. */
void worker_place_forward(struct place *pl, struct exchange *x)
{
	struct worker *w = pl->worker;
	x->holder = pl;
	pl->n_http++;
	if (pl->state != PLACE_LOADED || w->state >= WORKER_EXITED) {
		x->dropped = on_late_dropped; /* the place's last event is on its way */
		worker_place_late(pl, x);
		return;
	}
	x->dropped = on_dropped;
	list_push_back(&w->waiting, &x->waiting);
	w->n_waiting++;
	worker_conns_post(w);
}

void worker_forward_begin(struct worker_conn *c, struct exchange *x)
{
	struct slice path, query;
	bool has_query;
	struct place *pl = CAST(struct place, x->holder, WORKER_PLACE_MAGIC);
	http_target_split(slice_str(x->target), &path, &query, &has_query);
	if (!http_path_is_reserved(path)) {
		take_conn(c, pl, x);
		return;
	}
	worker_conn_release(c, true);
	worker_forward_refuse(pl, x, 404, "guard", "not_found", "paths under /.rivet/ are the daemon's own");
}

/* ---- WebSockets of an actor that stops ---- */

static bool between_frames(const struct worker_ws *ws)
{
	return ws_tracker_at_boundary(&ws->from_client) && ws_tracker_at_boundary(&ws->from_worker);
}

static void stop_socket(struct worker_conn *c)
{
	(void)close_towards_worker(c, WS_CLOSE_GOING_AWAY, SLICE_LIT("actor.stopped"));
	leave_stopped(c);
	worker_conn_linger(c);
}

/* Its client stays and is told nothing. What the worker was sent it may read still, and answer, before its stop call;
 * what comes now is for the next one. */
static void begin_farewell(struct worker_conn *c)
{
	exchange_stop(c->x, EXCHANGE_BACK);
	c->ws->farewell_bytes = close_towards_worker(c, WS_CLOSE_GOING_AWAY, SLICE_LIT("actor.stopped"));
	c->ws->farewell = true;
	c->place->n_farewells++;
	http_client_pause(c->client, false);
	timer_arm(&c->timer, WORKER_GOODBYE_MS);
}

/* Nothing more of it is written to this worker. */
static void end_farewell(struct worker_conn *c)
{
	bool whole = http_client_queued(c->client) == 0;
	leave_stopped(c);
	if (whole)
		finish_socket(c);
	else
		worker_conn_close(c);
}

static void stop_one(struct worker_conn *c, bool now)
{
	bool sleeps = c->ws->use == PLACE_SOCKET_SLEEPS;
	if (sleeps && now) {
		end_farewell(c);
	} else if (c->ws->stopping) {
		return;
	} else if (sleeps) {
		c->ws->stopping = true;
		begin_farewell(c);
	} else {
		c->ws->stopping = true;
		if (between_frames(c->ws)) {
			stop_socket(c);
			return;
		}
		http_client_pause(c->client, false); /* the rest of a frame is worth a moment of the bound */
		timer_arm(&c->timer, WORKER_BOUNDARY_MS);
	}
}

static bool after_stop_call(const struct worker_conn *c)
{
	return c->place->state != PLACE_LOADED;
}

/* Accepted by a worker whose actor has been told to stop. A client that stays may have much to say in this very turn,
 * and this worker no time to read it. */
static void stop_new_socket(struct worker_conn *c)
{
	if (c->ws->use == PLACE_SOCKET_SLEEPS)
		stop_one(c, false);
	loop_post(c->worker->pool->o.loop, &c->fault); /* the front is still busy with the answer's head */
}

/* ---- the answer ---- */

/* NULL, or what is wrong with the 101. */
static const char *upgrade_fault(const struct worker_conn *c, const struct http_head *h)
{
	const struct http_field *accept = http_head_get(h, HTTP_F_SEC_WEBSOCKET_ACCEPT);
	if (accept == NULL || !slice_is(accept->value, c->accept))
		return "it has no right Sec-WebSocket-Accept";
	if (http_head_get(h, HTTP_F_SEC_WEBSOCKET_EXTENSIONS) != NULL)
		return "it chose a WebSocket extension nobody offered";
	return NULL;
}

static void pause_if_full(struct worker_conn *c)
{
	if (exchange_stopped(c->x, EXCHANGE_FRONT))
		http_client_pause(c->client, true);
}

static void open_socket(struct worker_conn *c, const struct http_head *h)
{
	const struct http_field *sleeps = http_head_get(h, HTTP_F_X_RIVET_HIBERNATE);
	c->x->hibernates = sleeps != NULL && slice_is_nocase(sleeps->value, "true");
	c->state = CONN_WS;
	c->ws = mem_zalloc(sizeof(*c->ws));
	c->worker->n_sockets++;
	worker_conns_post(c->worker);
	c->ws->use = c->x->hibernates ? PLACE_SOCKET_SLEEPS : PLACE_SOCKET;
	ws_tracker_init(&c->ws->from_client, true);
	ws_tracker_init(&c->ws->from_worker, false);
	worker_place_socket_open(c->place, c->ws->use);
}

void worker_forward_head(struct worker_conn *c, const struct http_head *h)
{
	const char *fault = h->upgrade ? upgrade_fault(c, h) : NULL;
	if (fault != NULL) {
		leave_malformed(c, fault);
		worker_conn_close(c);
		return;
	}
	timer_disarm(&c->timer);
	c->answered = true;
	if (h->upgrade)
		open_socket(c, h);
	exchange_head(c->x, h);
	pause_if_full(c);
	if (c->state == CONN_WS && worker_place_stops(c->place))
		stop_new_socket(c);
}

void worker_forward_body(struct worker_conn *c, struct slice s)
{
	exchange_data(c->x, EXCHANGE_BACK, s, false);
	pause_if_full(c);
}

void worker_forward_over(struct worker_conn *c, enum http_client_why why, bool reusable)
{
	if (why == HTTP_CLIENT_DONE) {
		exchange_data(c->x, EXCHANGE_BACK, SLICE_NONE, true);
		leave(c, EXCHANGE_DONE);
	} else if (why == HTTP_CLIENT_MALFORMED) {
		leave_malformed(c, http_client_error(c->client));
	} else {
		leave(c, EXCHANGE_GONE);
	}
	worker_conn_release(c, reusable);
}

/* ---- WebSockets ---- */

/* How many bytes at the front of s belong to the frame at hand. */
static size_t rest_of_frame(const struct ws_tracker *t, struct slice s)
{
	size_t n = t->left > 0 ? (t->left < s.n ? (size_t)t->left : s.n) : 1;
	return n < s.n ? n : s.n;
}

void worker_forward_raw(struct worker_conn *c, struct slice s)
{
	struct ws_tracker *t = &c->ws->from_worker;
	int r = 0;
	for (size_t at = 0, good = 0; at < s.n && r == 0 && !t->close_seen; at += good) {
		struct slice part = slice_from(s, at);
		if (c->ws->stopping) {
			if (ws_tracker_at_boundary(t) && !c->ws->farewell)
				break;
			part = slice_head(part, rest_of_frame(t, part));
		}
		r = ws_tracker_feed(t, part, &good);
		if (good > 0 && !(c->ws->farewell && t->close_seen)) /* the answer to ours is not for the client */
			exchange_data(c->x, EXCHANGE_BACK, slice_head(part, good), false);
		if (good < part.n)
			break;
	}
	if (r != 0) {
		leave_broken(c, (uint8_t)r, "worker");
		worker_conn_close(c);
	} else if (t->close_seen && c->ws->from_client.close_seen) {
		leave(c, EXCHANGE_DONE);
		finish_socket(c);
	} else if (c->ws->farewell) {
		if (t->close_seen)
			end_farewell(c);
		else
			pause_if_full(c);
	} else if (c->ws->stopping && between_frames(c->ws)) {
		stop_socket(c);
	} else {
		pause_if_full(c);
	}
}

void worker_forward_raw_eof(struct worker_conn *c)
{
	struct worker *w = c->worker;
	struct worker_ws *ws = c->ws;
	if (ws->from_worker.close_seen || ws->from_client.close_seen) {
		leave(c, EXCHANGE_DONE);
		finish_socket(c);
	} else if (ws->stopping || w->asked) {
		leave_stopped(c);
		worker_conn_close(c);
	} else if (w->state >= WORKER_EXITED) {
		leave(c, EXCHANGE_CRASHED);
		worker_conn_close(c);
	} else {
		ws->worker_ended = true;
		exchange_stop(c->x, EXCHANGE_BACK); /* what still comes is for the next worker, if there is one */
		timer_arm(&c->timer, WORKER_FAREWELL_MS);
	}
	if (w->state == WORKER_EXITED)
		worker_look(w);
}

/* From the tick: what could not be done inside on_data. */
void worker_forward_fault(struct worker_conn *c)
{
	struct worker_ws *ws = c->ws;
	if (c->x == NULL || ws == NULL)
		return;
	if (ws->from_client.broken != 0) {
		leave_broken(c, ws->from_client.broken, "client");
		finish_socket(c);
	} else if (ws->from_client.close_seen && ws->from_worker.close_seen) {
		leave(c, EXCHANGE_DONE);
		finish_socket(c);
	} else if (worker_place_stops(c->place) && (!ws->stopping || (ws->farewell && after_stop_call(c)))) {
		stop_one(c, after_stop_call(c));
	} else if (ws->stopping && !ws->farewell && between_frames(ws)) {
		stop_socket(c);
	}
}

/* ---- ends that come from elsewhere ---- */

void worker_forward_timeout(struct worker_conn *c)
{
	if (c->x == NULL)
		return;
	if (c->ws == NULL) {
		leave(c, EXCHANGE_TIMEOUT);
		worker_conn_close(c);
	} else if (c->ws->farewell) {
		end_farewell(c);
	} else if (c->ws->stopping) {
		stop_socket(c);
	} else {
		leave(c, EXCHANGE_GONE);
		worker_conn_close(c);
	}
}

static struct worker_conn *conn_at(struct list *node)
{
	return CONTAINER_OF(node, struct worker_conn, node);
}

void worker_forward_stop_sockets(struct worker *w, struct place *pl, bool now)
{
	LIST_FOR (&w->busy, node) {
		struct worker_conn *c = conn_at(node);
		if (c->state == CONN_WS && c->place == pl)
			stop_one(c, now);
	}
}

void worker_forward_cut(struct worker *w, struct place *pl)
{
	LIST_FOR (&w->waiting, node) {
		struct exchange *x = CONTAINER_OF(node, struct exchange, waiting);
		struct place *of = CAST(struct place, x->holder, WORKER_PLACE_MAGIC);
		if (pl != NULL && of != pl)
			continue;
		list_remove(node);
		w->n_waiting--;
		worker_forward_refuse(of, x, 503, "actor", "stopping", NULL);
	}
	bool crashed = w->state >= WORKER_EXITED && !w->asked;
	LIST_FOR (&w->busy, node) {
		struct worker_conn *c = conn_at(node);
		if (c->x == NULL || (pl != NULL && c->place != pl))
			continue;
		if (!crashed && c->ws != NULL)
			leave_stopped(c);
		else
			leave(c, crashed ? EXCHANGE_CRASHED : EXCHANGE_GONE);
		worker_conn_close(c);
	}
}

void worker_forward_exited(struct worker *w)
{
	LIST_FOR (&w->busy, node) {
		struct worker_conn *c = conn_at(node);
		if (c->state == CONN_WS && c->x != NULL && c->ws->worker_ended) {
			if (w->asked)
				leave_stopped(c);
			else
				leave(c, EXCHANGE_CRASHED);
			worker_conn_close(c);
		}
	}
}
