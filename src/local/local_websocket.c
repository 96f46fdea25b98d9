/* WebSocket front end: the upgrade goes to the worker as one, its 101 comes
 * back, then frames pass unchanged in both directions.
 *
 * The worker's bytes are followed frame by frame, so that a close frame of
 * ours goes in between frames and never into one. Routing and start failures
 * are a 101 followed by a close, because a browser shows a refused handshake
 * to nobody; a worker's own refusal is passed on as it is. */
#include "local/local_hibernation.h"

#include <stdio.h>

static struct local_front *front_of(struct local_request *r)
{
	return CONTAINER_OF(r, struct local_front, r);
}

static void detach(struct local_front *f)
{
	f->ended = true;
	if (f->r.conn != NULL)
		http_conn_set_user(f->r.conn, NULL);
	f->r.conn = NULL;
}

/* A close frame of ours, then the end. */
static void close_with(struct http_conn *c, unsigned code, const char *reason)
{
	struct buf b;
	buf_init(&b, 256);
	ws_put_close(&b, code, slice_str(reason), false);
	(void)http_conn_raw(c, buf_slice(&b));
	buf_done(&b);
	http_conn_raw_close(c);
}

/* r has been taken off the connection. */
static void upgrade_and_close(struct http_conn *c, const struct local_request *r, bool offered_rivet, const char *group,
			      const char *code)
{
	char reason[WS_REASON_MAX + 1];
	struct buf *fields = &r->local->scratch;
	snprintf(reason, sizeof(reason), "%s.%s#%s", group, code, r->ray);
	buf_reset(fields);
	local_request_fields(r, fields);
	if (offered_rivet)
		http_put_field_str(fields, "sec-websocket-protocol", "rivet");
	http_conn_upgrade(c, buf_slice(fields));
	close_with(c, WS_CLOSE_ERROR, reason);
}

void local_websocket_refuse(struct local *l, struct http_conn *c, const struct http_head *h, const char *group,
			    const char *code)
{
	struct local_request r;
	l->counters.refused++;
	local_request_init(&r, NULL, l, c, h);
	http_conn_set_user(c, NULL);
	upgrade_and_close(c, &r, http_head_has_token(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL, "rivet"), group, code);
	r.conn = NULL;
	local_request_done(&r);
}

static bool offered_rivet(const struct local_front *f)
{
	return http_head_has_token(f->x->head, HTTP_F_SEC_WEBSOCKET_PROTOCOL, "rivet");
}

/* ---- towards the worker ---- */

static void on_body(struct local_request *r, struct slice s, bool fin)
{
	(void)r;
	(void)s;
	(void)fin;
}

static void on_raw(struct local_request *r, struct slice s)
{
	struct local_front *f = front_of(r);
	if (f->x == NULL || f->ended)
		return;
	exchange_data(f->x, EXCHANGE_FRONT, s, false);
	if (f->r.conn != NULL && exchange_stopped(f->x, EXCHANGE_BACK))
		http_conn_pause(f->r.conn, true);
}

static void on_writable(struct local_request *r)
{
	struct local_front *f = front_of(r);
	if (f->x != NULL)
		exchange_go(f->x, EXCHANGE_FRONT);
}

static void on_raw_eof(struct local_request *r)
{
	struct local_front *f = front_of(r);
	struct http_conn *c = f->r.conn;
	detach(f);
	if (c != NULL)
		http_conn_raw_close(c);
	local_front_free(f, EXCHANGE_GONE);
}

static void on_gone(struct local_request *r)
{
	local_front_free(front_of(r), EXCHANGE_GONE);
}

static const struct local_request_ops request_ops = {
    .body = on_body, .writable = on_writable, .raw = on_raw, .raw_eof = on_raw_eof, .gone = on_gone};

/* ---- towards the client ---- */

static void accept_upgrade(struct local_front *f, const struct http_head *h)
{
	struct slice fields = local_front_fields(f, h, false);
	if (http_head_get(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL) == NULL && offered_rivet(f)) {
		http_put_field_str(&f->r.local->scratch, "sec-websocket-protocol", "rivet");
		fields = buf_slice(&f->r.local->scratch);
	}
	f->tracker = mem_zalloc(sizeof(*f->tracker));
	ws_tracker_init(f->tracker, false);
	http_conn_upgrade(f->r.conn, fields);
	if (f->x->hibernates)
		local_hibernation_take(f, h);
}

static void on_head(void *end, struct exchange *x, const struct http_head *h)
{
	struct local_front *f = end;
	(void)x;
	timer_disarm(&f->ready);
	if (f->r.conn == NULL)
		return;
	f->head_sent = true;
	if (h->status == 101) {
		accept_upgrade(f, h);
		return;
	}
	bool bodyless = h->status == 204 || h->status == 304;
	enum http_framing framing = bodyless                          ? HTTP_FRAMING_NONE
				    : h->framing == HTTP_FRAMING_EOF  ? HTTP_FRAMING_CHUNKED
				    : h->framing == HTTP_FRAMING_NONE ? HTTP_FRAMING_LENGTH
								      : (enum http_framing)h->framing;
	http_conn_head(f->r.conn, h->status, local_front_fields(f, h, false), framing,
		       h->framing == HTTP_FRAMING_LENGTH ? h->length : 0);
}

static void on_refusal_body(struct local_front *f, struct slice s, bool fin)
{
	if (s.n > 0 && !http_conn_data(f->r.conn, s))
		exchange_stop(f->x, EXCHANGE_FRONT);
	if (!fin)
		return;
	http_conn_end(f->r.conn);
	detach(f);
}

static void on_data(void *end, struct exchange *x, struct slice s, bool fin)
{
	struct local_front *f = end;
	size_t good = 0;
	if (f->r.conn == NULL || !f->head_sent || f->ended)
		return;
	if (f->tracker == NULL) {
		on_refusal_body(f, s, fin);
		return;
	}
	(void)ws_tracker_feed(f->tracker, s, &good);
	if (good > 0 && !http_conn_raw(f->r.conn, slice_head(s, good)))
		exchange_stop(x, EXCHANGE_FRONT);
}

static void on_go(void *end, struct exchange *x)
{
	struct local_front *f = end;
	(void)x;
	timer_disarm(&f->ready);
	if (f->r.conn != NULL && !f->ended)
		http_conn_pause(f->r.conn, false);
}

/* The worker's end has left an open WebSocket. */
static void end_open(struct local_front *f, const struct exchange *x, enum exchange_why why)
{
	struct http_conn *c = f->r.conn;
	bool may_close = ws_tracker_at_boundary(f->tracker) && !f->tracker->close_seen;
	detach(f);
	if (may_close && why == EXCHANGE_STOPPED)
		close_with(c, WS_CLOSE_GOING_AWAY, "actor.stopped");
	else if (may_close && why == EXCHANGE_CRASHED)
		close_with(c, WS_CLOSE_RESTART, "actor.crashed");
	else if (may_close && why == EXCHANGE_MALFORMED)
		close_with(c, x->refusal.status, x->refusal.message);
	else
		http_conn_raw_close(c);
}

static void on_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct local_front *f = end;
	struct http_conn *c = f->r.conn;
	if (f->ended || c == NULL) {
		local_front_free(f, EXCHANGE_DONE);
		return;
	}
	if (f->tracker != NULL) {
		end_open(f, x, why);
	} else if (f->head_sent) {
		http_conn_abort(c);
		detach(f);
	} else {
		struct answer_failure failure = answer_failure(x, why);
		bool rivet = offered_rivet(f);
		f->r.local->counters.refused++;
		detach(f);
		upgrade_and_close(c, &f->r, rivet, failure.group, failure.code);
	}
	local_front_free(f, EXCHANGE_DONE);
}

static const struct exchange_ops exchange_ops = {.head = on_head, .data = on_data, .go = on_go, .over = on_over};

static void on_ready_timeout(void *arg)
{
	struct local_front *f = arg;
	struct http_conn *c = f->r.conn;
	int64_t waited_ms = loop_mono_ms(f->r.local->o.loop) - f->x->begun_mono_us / 1000;
	int64_t limit_ms = local_driver_ready_ms(f->r.local->driver, f->x->actor_id);
	if (exchange_joined(f->x))
		return;
	if (waited_ms < limit_ms) {
		timer_arm(&f->ready, limit_ms - waited_ms);
		return;
	}
	struct answer_failure why = local_front_not_ready(f);
	bool rivet = offered_rivet(f);
	detach(f);
	if (c != NULL)
		upgrade_and_close(c, &f->r, rivet, why.group, why.code);
	local_front_free(f, EXCHANGE_TIMEOUT);
}

void local_websocket_request(struct local *l, struct http_conn *c, const struct http_head *h,
			     const struct local_route *route)
{
	struct local_front *f =
	    local_front_open(l, c, h, route, EXCHANGE_WEBSOCKET, &request_ops, &exchange_ops, on_ready_timeout);
	if (f == NULL) {
		local_websocket_refuse(l, c, h, "guard", "service_unavailable");
		return;
	}
	http_conn_pause(c, true);
	local_front_offer(f, route);
}
