/* One tunnelled HTTP request: the front end of its exchange.
 *
 * Happy path: the head is judged, the exchange offered, the body pushed when a
 * worker takes it, the answer collected, one message sent. The flow ends when
 * that has gone and the exchange is left.
 *
 * Failure paths: the actor is not here, or was stopped before it saw the
 * request: ResponseAbort, on which the engine asks again where the actor is. A
 * failure after that may have been executed and must not be repeated: an error
 * body, never with a status and x-rivet-error the engine repeats for. The
 * answer is too large, a stream, or more than the tunnel may keep: an error
 * body, and the worker sees its client leave. */
#include "engine/engine_tunnel_private.h"

#include "base/log.h"

#include <stdio.h>

#define PUSH_BYTES ((size_t)64 * 1024)
#define PAIRS_MAX ((size_t)96 * 1024) /* a head's fields, joined ones and ours */

struct engine_request {
	struct engine_flow f;
	struct buf body;  /* not yet taken by the worker; charged */
	bool body_whole;  /* nothing more of it comes */
	bool body_pushed; /* the worker has been told of its end */
	uint64_t body_in;
	bool answered;
	/* The answer being collected. */
	bool bodyless, keeps_length;
	uint16_t status;
	struct buf pairs;
	size_t n_pairs;
	struct buf answer; /* charged */
};

static struct engine_request *request_of(struct engine_flow *f)
{
	CHECK(f->magic == ENGINE_FLOW_MAGIC && f->kind == ENGINE_FLOW_REQUEST);
	return CONTAINER_OF(f, struct engine_request, f);
}

/* ---- end ---- */

static void request_free(struct engine_request *r)
{
	buf_done(&r->body);
	buf_done(&r->pairs);
	buf_done(&r->answer);
	engine_flow_done(&r->f);
	mem_free(r);
}

/* Nothing of it is left to do: frees it. */
static void look(struct engine_request *r)
{
	if (r->answered && r->f.x == NULL && engine_flow_sent(&r->f))
		request_free(r);
}

void engine_request_flushed(struct engine_flow *f)
{
	engine_flow_unlist(f);
	look(request_of(f));
}

void engine_request_drop(struct engine_flow *f)
{
	engine_flow_leave(f, EXCHANGE_GONE);
	request_free(request_of(f));
}

/* ---- the answer ---- */

/* What was kept for it goes into the message, which is charged when it has to wait. Until it has gone a re-sent
 * request joins it. */
static void send_answer(struct engine_request *r, struct runner_tunnel_up *m)
{
	CHECK(!r->answered);
	r->answered = true;
	timer_disarm(&r->f.timer);
	if (engine_flow_send(&r->f, m))
		engine_flow_unlist(&r->f);
	engine_flow_refund(&r->f, buf_len(&r->body) + buf_len(&r->answer));
	buf_done(&r->body);
	buf_done(&r->answer);
	buf_done(&r->pairs);
}

static void send_abort(struct engine_request *r)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_RESPONSE_ABORT};
	r->f.t->stats.aborted++;
	send_answer(r, &m);
}

static void put_pair(struct engine_request *r, const char *name, const char *value)
{
	CHECK(runner_pair_put(&r->pairs, slice_str(name), slice_str(value)) == 0);
	r->n_pairs++;
}

static void put_number(struct engine_request *r, const char *name, uint64_t value)
{
	char text[21] = "";
	size_t at = sizeof(text) - 1;
	do {
		text[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	put_pair(r, name, text + at);
}

static void send_response(struct engine_request *r, unsigned status, struct slice body)
{
	struct runner_tunnel_up m = {.kind = RUNNER_UP_RESPONSE_START};
	if (!r->bodyless)
		put_number(r, "content-length", body.n);
	m.response.status = (uint16_t)status;
	m.response.headers = runner_list_of(buf_slice(&r->pairs), r->n_pairs);
	m.response.has_body = body.n > 0 && !r->bodyless;
	m.response.body = body;
	send_answer(r, &m);
}

/* The engine repeats a request for a 503 or 504 with a code of its own. What may have been executed must not look so.
 */
static bool repeats(const struct answer_failure *why)
{
	return (why->status == 503 || why->status == 504) && strcmp(why->group, "guard") == 0;
}

static void send_failure(struct engine_request *r, struct answer_failure why)
{
	struct buf body;
	char error[96];
	r->f.t->stats.refused++;
	r->bodyless = slice_is(r->f.x->head->method, "HEAD");
	buf_reset(&r->pairs);
	r->n_pairs = 0;
	put_pair(r, "content-type", "application/json");
	snprintf(error, sizeof(error), "%s.%s", why.group, why.code);
	if (!repeats(&why))
		put_pair(r, "x-rivet-error", error);
	if (why.retry_after_s > 0)
		put_number(r, "retry-after", why.retry_after_s);
	buf_init(&body, LIMIT_API_BODY_BYTES);
	answer_put_error(&body, why.group, why.code, slice_str(why.message), NULL);
	send_response(r, why.status, buf_slice(&body));
	buf_done(&body);
}

/* From inside the exchange's ops: it is left from the tick. */
static void fail(struct engine_request *r, struct answer_failure why)
{
	send_failure(r, why);
	loop_post(r->f.t->o.loop, &r->f.work);
}

static struct answer_failure overloaded(void)
{
	return (struct answer_failure){502, "runner", "overloaded",
				       "the answer was thrown away: too many large answers were under way at once", 1};
}

/* ---- the exchange's calls ---- */

static void note_unfit(struct engine_tunnel *t, const struct exchange *x)
{
	if (t->warned_value)
		return;
	t->warned_value = true;
	LOG(WARN, "a header field that is not UTF-8 was left out of an answer: an engine takes no other",
	    ENGINE_WHO_LOG(t, x->actor_id), LOG_STR("target", x->target));
}

static void on_head(void *end, struct exchange *x, const struct http_head *h)
{
	struct engine_request *r = end;
	bool unfit;
	if (r->answered)
		return;
	bool head_request = slice_is(x->head->method, "HEAD");
	r->bodyless = head_request || h->status == 204 || h->status == 304;
	r->keeps_length = head_request || h->status == 304;
	if (answer_is_stream(h)) {
		fail(r, answer_streaming_unsupported());
		return;
	}
	if (!r->bodyless && h->framing == HTTP_FRAMING_LENGTH && h->length > LIMIT_ENGINE_BODY_BYTES) {
		fail(r, answer_too_large());
		return;
	}
	r->status = h->status;
	r->n_pairs = engine_head_answer(h, r->keeps_length, &r->pairs, &unfit);
	if (unfit)
		note_unfit(r->f.t, x);
}

static void on_data(void *end, struct exchange *x, struct slice s, bool fin)
{
	struct engine_request *r = end;
	(void)x;
	if (r->answered)
		return;
	if (s.n > 0 && !r->bodyless) {
		if (buf_len(&r->answer) + s.n > LIMIT_ENGINE_BODY_BYTES) {
			fail(r, answer_too_large());
			return;
		}
		if (!engine_flow_charge(&r->f, s.n)) {
			fail(r, overloaded());
			return;
		}
		buf_add(&r->answer, s);
	}
	if (fin)
		send_response(r, r->status, buf_slice(&r->answer));
}

static void on_go(void *end, struct exchange *x)
{
	struct engine_request *r = end;
	(void)x;
	timer_disarm(&r->f.timer);
	if (!r->answered && !r->body_pushed)
		loop_post(r->f.t->o.loop, &r->f.work);
}

/* Not executed, and its actor is on its way elsewhere. */
static bool was_stopped_before(const struct exchange *x, enum exchange_why why)
{
	return why == EXCHANGE_REFUSED && strcmp(x->refusal.group, "actor") == 0 &&
	       strcmp(x->refusal.code, "stopping") == 0;
}

static void on_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct engine_request *r = end;
	if (!r->answered && was_stopped_before(x, why))
		send_abort(r);
	else if (!r->answered)
		send_failure(r, answer_failure(x, why));
	engine_flow_leave(&r->f, EXCHANGE_DONE);
	look(r);
}

static const struct exchange_ops exchange_ops = {.head = on_head, .data = on_data, .go = on_go, .over = on_over};

/* ---- towards the worker ---- */

static void push(struct engine_request *r)
{
	struct exchange *x = r->f.x;
	while (!r->body_pushed && exchange_joined(x) && !exchange_stopped(x, EXCHANGE_BACK)) {
		struct slice all = buf_slice(&r->body);
		struct slice part = slice_head(all, all.n < PUSH_BYTES ? all.n : PUSH_BYTES);
		bool fin = r->body_whole && part.n == all.n;
		if (part.n == 0 && !fin)
			return;
		r->body_pushed = fin;
		exchange_data(x, EXCHANGE_FRONT, part, fin);
		if (r->answered)
			return; /* what was kept has gone */
		buf_drop(&r->body, part.n);
		engine_flow_refund(&r->f, part.n);
	}
}

static void on_work(void *arg)
{
	struct engine_request *r = request_of(arg);
	if (!r->answered)
		push(r);
	if (!r->answered)
		return;
	engine_flow_leave(&r->f, EXCHANGE_GONE);
	look(r);
}

static void on_ready_timeout(void *arg)
{
	struct engine_request *r = request_of(arg);
	if (exchange_joined(r->f.x))
		return;
	send_failure(r, (struct answer_failure){503, "guard", "actor_ready_timeout",
						answer_sentence("guard", "actor_ready_timeout"), 1});
	engine_flow_leave(&r->f, EXCHANGE_TIMEOUT);
	look(r);
}

/* ---- beginning ---- */

/* False: a bound is reached, and it was answered. */
static bool take_body(struct engine_request *r, struct slice body)
{
	r->body_in += body.n;
	if (r->body_in > LIMIT_ENGINE_BODY_BYTES) {
		send_failure(r, (struct answer_failure){413, "guard", "invalid_request_body",
							answer_sentence("guard", "invalid_request_body"), 0});
		return false;
	}
	if (!engine_flow_charge(&r->f, body.n))
		return false;
	buf_add(&r->body, body);
	return true;
}

static void offer(struct engine_request *r)
{
	struct engine_tunnel *t = r->f.t;
	switch (dispatch_offer(t->o.table, r->f.actor->id, r->f.x)) {
	case DISPATCH_TAKEN:
		timer_arm(&r->f.timer, LIMIT_TUNNEL_READY_MS);
		return;
	case DISPATCH_ABSENT:
		t->o.ops->absent(t->o.arg, r->f.actor->id);
		send_abort(r);
		break;
	case DISPATCH_STOPPING:
		send_abort(r);
		break;
	case DISPATCH_FULL:
		send_failure(
		    r, (struct answer_failure){503, "actor", "overloaded", "too many requests wait for this actor", 1});
		break;
	}
	engine_flow_leave(&r->f, EXCHANGE_DONE);
	look(r);
}

static struct engine_request *request_new(struct engine_tunnel *t, const struct runner_tunnel_down *m,
					  struct http_head *h)
{
	struct engine_request *r = mem_zalloc(sizeof(*r));
	if (engine_flow_open(&r->f, t, &m->id, m->request.actor_id, EXCHANGE_HTTP, h, &exchange_ops) != 0) {
		mem_free(r);
		return NULL;
	}
	timer_init(&r->f.timer, t->o.loop, on_ready_timeout, r);
	loop_task_init(&r->f.work, on_work, r);
	buf_init(&r->body, LIMIT_ENGINE_BODY_BYTES);
	buf_init(&r->answer, LIMIT_ENGINE_BODY_BYTES);
	buf_init(&r->pairs, PAIRS_MAX);
	r->body_whole = !m->request.stream;
	r->body_pushed = r->f.x->no_body;
	return r;
}

/* An answer to a head that became no exchange. */
static void refuse_head(struct engine_tunnel *t, const struct runner_tunnel_down *m, unsigned status, const char *why)
{
	struct buf body, pairs;
	struct runner_tunnel_up up = {.id = m->id, .kind = RUNNER_UP_RESPONSE_START};
	buf_init(&body, 1024);
	buf_init(&pairs, 256);
	t->stats.refused++;
	answer_put_error(&body, "guard", "invalid_request", slice_str(why), NULL);
	up.response.status = (uint16_t)status;
	CHECK(runner_pair_put(&pairs, SLICE_LIT("content-type"), SLICE_LIT("application/json")) == 0);
	CHECK(runner_pair_put(&pairs, SLICE_LIT("x-rivet-error"), SLICE_LIT("guard.invalid_request")) == 0);
	up.response.headers = runner_list_of(buf_slice(&pairs), 2);
	up.response.has_body = !slice_is(m->request.method, "HEAD");
	up.response.body = buf_slice(&body);
	engine_tunnel_reply(t, &up);
	buf_done(&body);
	buf_done(&pairs);
}

void engine_request_start(struct engine_tunnel *t, const struct runner_tunnel_down *m)
{
	struct engine_head_in in = {.method = m->request.method,
				    .path = m->request.path,
				    .headers = m->request.headers,
				    .streamed = m->request.stream,
				    .body_bytes = m->request.has_body ? m->request.body.n : 0,
				    .token = t->o.token};
	struct runner_tunnel_up abort = {.id = m->id, .kind = RUNNER_UP_RESPONSE_ABORT};
	struct http_head *h;
	const char *why;
	unsigned status = engine_head_request(&in, &h, &why);
	t->stats.requests++;
	if (status != 0) {
		refuse_head(t, m, status, why);
		return;
	}
	struct engine_request *r =
	    m->request.actor_id.n < sizeof(((struct exchange *)0)->actor_id) ? request_new(t, m, h) : NULL;
	if (r == NULL) {
		mem_free(h);
		t->stats.aborted++;
		engine_tunnel_reply(t, &abort); /* nothing was executed: it comes again */
		return;
	}
	if (in.body_bytes == 0 || take_body(r, m->request.body)) {
		offer(r);
		return;
	}
	if (!r->answered)
		send_abort(r);
	engine_flow_leave(&r->f, EXCHANGE_DONE);
	look(r);
}

void engine_request_chunk(struct engine_flow *f, struct slice body, bool finish)
{
	struct engine_request *r = request_of(f);
	if (r->answered || r->body_whole)
		return;
	if (!take_body(r, body)) {
		if (!r->answered)
			send_failure(r, overloaded());
		engine_flow_leave(f, EXCHANGE_GONE);
		look(r);
		return;
	}
	r->body_whole = finish;
	push(r);
}
