/* HTTP front end: a client's request becomes an exchange, the worker's answer
 * becomes the client's.
 *
 * Happy path: offer, wait until a worker joins, stream the body to it, write a
 * fresh head, stream the answer, end. Failures before the head are an error
 * body; after it the connection is cut so that the answer cannot be taken for
 * complete. The client leaving ends the exchange. */
#include "local/local_front.h"

#include "base/log.h"

#include <stdio.h>

static struct local_front *front_of(struct local_request *r)
{
	return CONTAINER_OF(r, struct local_front, r);
}

/* The answer is complete: the connection may carry the next request. */
static void detach(struct local_front *f)
{
	f->ended = true;
	if (f->r.conn != NULL)
		http_conn_set_user(f->r.conn, NULL);
	f->r.conn = NULL;
}

static void fail(struct local_front *f, unsigned status, const char *group, const char *code, const char *message,
		 uint32_t retry_after_s, const char *metadata)
{
	if (f->r.conn == NULL || f->ended)
		return;
	f->r.local->counters.refused++;
	local_reply_error(&f->r, status, group, code, slice_str(message), metadata, true, retry_after_s);
	detach(f);
}

/* ---- towards the worker ---- */

static void on_body(struct local_request *r, struct slice s, bool fin)
{
	struct local_front *f = front_of(r);
	if (f->x == NULL || f->ended || f->x->no_body)
		return;
	f->body_in += s.n;
	if (r->local->o.engine_limits && f->body_in > LIMIT_ENGINE_BODY_BYTES) {
		fail(f, 413, "guard", "invalid_request_body",
		     "the body is larger than 20 MiB, an engine's limit (engine_limits)", 0, NULL);
		loop_post(r->local->o.loop, &f->quit);
		return;
	}
	exchange_data(f->x, EXCHANGE_FRONT, s, fin);
	if (f->r.conn != NULL && exchange_stopped(f->x, EXCHANGE_BACK))
		http_conn_pause(f->r.conn, true);
}

static void on_writable(struct local_request *r)
{
	struct local_front *f = front_of(r);
	if (f->x != NULL)
		exchange_go(f->x, EXCHANGE_FRONT);
}

static void on_raw(struct local_request *r, struct slice s)
{
	(void)r;
	(void)s;
}

static void on_gone(struct local_request *r)
{
	local_front_free(front_of(r), EXCHANGE_GONE);
}

static const struct local_request_ops request_ops = {
    .body = on_body, .writable = on_writable, .raw = on_raw, .raw_eof = on_gone, .gone = on_gone};

/* ---- towards the client ---- */

static const char too_large[] = "it is larger than 20 MiB";

static void note_engine_would_refuse(struct local_front *f, const char *what)
{
	struct local *l = f->r.local;
	const struct store_actor *rec = local_driver_record(l->driver, f->x->actor_id);
	const struct actor_type *type;
	for (size_t i = 0; rec != NULL && (type = actor_types_at(l->o.types, i)) != NULL; i++) {
		if (strcmp(type->name, rec->name) != 0 || l->warned[i])
			continue;
		l->warned[i] = true;
		LOG(WARN, "an answer was passed on that a Rivet Engine would refuse", LOG_STR("actor_name", rec->name),
		    LOG_STR("why", what));
	}
}

/* True when the answer was refused. */
static bool refuse_like_engine(struct local_front *f, const struct http_head *h)
{
	bool stream = answer_is_stream(h);
	bool large = h->framing == HTTP_FRAMING_LENGTH && h->length > LIMIT_ENGINE_BODY_BYTES;
	if (!stream && !large)
		return false;
	if (!f->r.local->o.engine_limits) {
		note_engine_would_refuse(f, stream ? "it is an event stream" : too_large);
		return false;
	}
	struct answer_failure failure = stream ? answer_streaming_unsupported() : answer_too_large();
	fail(f, failure.status, failure.group, failure.code, failure.message, 0, NULL);
	loop_post(f->r.local->o.loop, &f->quit);
	return true;
}

static void on_head(void *end, struct exchange *x, const struct http_head *h)
{
	struct local_front *f = end;
	(void)x;
	timer_disarm(&f->ready);
	if (f->r.conn == NULL || refuse_like_engine(f, h))
		return;
	bool bodyless = f->head_request || h->status == 204 || h->status == 304;
	struct slice fields = local_front_fields(f, h, bodyless && h->status != 204);
	enum http_framing framing = bodyless ? HTTP_FRAMING_NONE : (enum http_framing)h->framing;
	uint64_t length = h->length;
	if (framing == HTTP_FRAMING_EOF)
		framing = HTTP_FRAMING_CHUNKED;
	if (framing == HTTP_FRAMING_NONE && !bodyless) {
		framing = HTTP_FRAMING_LENGTH;
		length = 0;
	}
	f->head_sent = true;
	http_conn_head(f->r.conn, h->status, fields, framing, length);
}

static void on_data(void *end, struct exchange *x, struct slice s, bool fin)
{
	struct local_front *f = end;
	if (f->r.conn == NULL || !f->head_sent || f->ended)
		return;
	f->body_out += s.n;
	if (f->body_out > LIMIT_ENGINE_BODY_BYTES && f->body_out - s.n <= LIMIT_ENGINE_BODY_BYTES)
		note_engine_would_refuse(f, too_large);
	if (f->r.local->o.engine_limits && f->body_out > LIMIT_ENGINE_BODY_BYTES) {
		http_conn_abort(f->r.conn);
		detach(f);
		loop_post(f->r.local->o.loop, &f->quit);
		return;
	}
	if (s.n > 0 && !f->head_request && !http_conn_data(f->r.conn, s))
		exchange_stop(x, EXCHANGE_FRONT);
	if (!fin)
		return;
	http_conn_end(f->r.conn);
	detach(f);
}

static void on_go(void *end, struct exchange *x)
{
	struct local_front *f = end;
	(void)x;
	timer_disarm(&f->ready);
	if (f->r.conn != NULL && !f->ended)
		http_conn_pause(f->r.conn, false);
}

static void on_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct local_front *f = end;
	if (!f->ended && f->r.conn != NULL) {
		struct answer_failure failure = answer_failure(x, why);
		if (f->head_sent) {
			http_conn_abort(f->r.conn);
			detach(f);
		} else {
			fail(f, failure.status, failure.group, failure.code, failure.message, failure.retry_after_s,
			     NULL);
		}
	}
	local_front_free(f, EXCHANGE_DONE);
}

static const struct exchange_ops exchange_ops = {.head = on_head, .data = on_data, .go = on_go, .over = on_over};

static void on_ready_timeout(void *arg)
{
	struct local_front *f = arg;
	char metadata[96];
	int64_t waited_ms = loop_mono_ms(f->r.local->o.loop) - f->x->begun_mono_us / 1000;
	int64_t limit_ms = local_driver_ready_ms(f->r.local->driver, f->x->actor_id);
	if (exchange_joined(f->x))
		return;
	if (waited_ms < limit_ms) {
		timer_arm(&f->ready, limit_ms - waited_ms);
		return;
	}
	struct answer_failure why = local_front_not_ready(f);
	snprintf(metadata, sizeof(metadata), "{\"actor_id\":\"%s\"}", f->x->actor_id);
	fail(f, why.status, why.group, why.code, why.message, why.retry_after_s, metadata);
	local_front_free(f, EXCHANGE_TIMEOUT);
}

void local_gateway_request(struct local *l, struct http_conn *c, const struct http_head *h,
			   const struct local_route *route)
{
	struct local_front *f =
	    local_front_open(l, c, h, route, EXCHANGE_HTTP, &request_ops, &exchange_ops, on_ready_timeout);
	if (f == NULL) {
		http_conn_reply(c, 503, SLICE_LIT("retry-after: 1\r\nx-rivet-error: guard.service_unavailable\r\n"),
				SLICE_NONE);
		return;
	}
	if (!f->x->no_body)
		http_conn_pause(c, true);
	local_front_offer(f, route);
}
