/* The tunnel between an engine and workers that do what the test says. The
 * link, the actor table and the workers are the test's own. */
#include "base/limits.h"
#include "codec/ws_frame.h"
#include "engine/engine_tunnel.h"
#include "lib/io_loop.h"

#include <stdarg.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

/* ---- what surrounds it ---- */

#define BACK_MAGIC 0x6261636bu

/* A worker's end of an exchange. */
struct back {
	uint32_t magic;
	struct exchange *x;
	struct buf got;
	bool fin, over, paused;
	enum exchange_why why;
};

static struct loop *loop;
static struct engine_tunnel *tunnel;
static enum dispatch_outcome outcome;
static struct back backs[8];
static size_t n_offers, n_absent;
static bool taken_over;
static char offered_id[64];
static struct runner_tunnel_up sent[64];
static struct buf frames[64];
static size_t n_sent;
static uint64_t n_gone, n_read; /* of the link's numbering */
static int link_says;

static void on_back_data(void *end, struct exchange *x, struct slice s, bool fin)
{
	struct back *b = CAST(struct back, end, BACK_MAGIC);
	(void)x;
	buf_add(&b->got, s);
	b->fin |= fin;
	if (b->paused)
		exchange_stop(x, EXCHANGE_BACK);
}

static void on_back_go(void *end, struct exchange *x)
{
	(void)end;
	(void)x;
}

static void on_back_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct back *b = CAST(struct back, end, BACK_MAGIC);
	b->over = true;
	b->why = why;
	b->x = NULL;
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
}

static const struct exchange_ops back_ops = {.data = on_back_data, .go = on_back_go, .over = on_back_over};

enum dispatch_outcome dispatch_offer(struct actor_table *t, const char *actor_id, struct exchange *x)
{
	(void)t;
	snprintf(offered_id, sizeof(offered_id), "%s", actor_id);
	if (outcome == DISPATCH_TAKEN) {
		assert_true(n_offers < ARRAY_SIZE(backs));
		backs[n_offers++] = (struct back){.magic = BACK_MAGIC, .x = x};
		buf_init(&backs[n_offers - 1].got, (size_t)1 << 30);
	}
	return outcome;
}

static int on_send(void *arg, struct slice frame)
{
	struct runner_to_server m;
	(void)arg;
	if (link_says != 0)
		return link_says;
	assert_true(n_sent < ARRAY_SIZE(sent));
	buf_init(&frames[n_sent], frame.n);
	buf_add(&frames[n_sent], frame);
	assert_int_equal(runner_to_server_decode(buf_slice(&frames[n_sent]), &m), 0);
	assert_int_equal(m.tag, RUNNER_TO_SERVER_TUNNEL);
	sent[n_sent++] = m.tunnel;
	n_gone++;
	return 0;
}

static void on_absent(void *arg, const char *actor_id)
{
	(void)arg;
	(void)actor_id;
	n_absent++;
}

static bool on_taken_over(void *arg, struct slice actor_id)
{
	(void)arg;
	(void)actor_id;
	return taken_over;
}

/* State requests, answered by the test. */
static struct {
	enum runner_kv_op op;
	engine_kv_done *done;
	void *arg;
} states[16];
static size_t n_states;

static void on_state(void *arg, const struct runner_kv_request *what, engine_kv_done *done, void *done_arg)
{
	(void)arg;
	assert_true(slice_is(what->actor_id, "actor1"));
	assert_true(n_states < ARRAY_SIZE(states));
	states[n_states].op = what->op;
	states[n_states].done = done;
	states[n_states++].arg = done_arg;
}

static void state_done(size_t i, enum engine_kv_outcome how)
{
	states[i].done(states[i].arg, how, NULL);
	states[i].done = NULL;
}

static void on_gone(void *arg, uint64_t *ret_sent, uint64_t *ret_read)
{
	(void)arg;
	*ret_sent = n_gone;
	*ret_read = n_read;
}

static struct log_actor on_who(void *arg, const char *actor_id)
{
	(void)arg;
	return (struct log_actor){.id = actor_id, .name = "counter", .key = "k", .generation = 4};
}

static bool stuck; /* what the link took does not get out */

static bool on_flush(void *arg)
{
	(void)arg;
	return !stuck;
}

static const struct engine_tunnel_ops ops = {.send = on_send,
					     .flush = on_flush,
					     .gone = on_gone,
					     .absent = on_absent,
					     .taken_over = on_taken_over,
					     .who = on_who,
					     .state = on_state};

static void turn(void)
{
	io_loop_settle(loop);
}

static int setup(void **state)
{
	(void)state;
	outcome = DISPATCH_TAKEN;
	link_says = 0;
	n_gone = n_read = 0;
	taken_over = true;
	n_offers = n_sent = n_absent = n_states = 0;
	loop = io_loop_open();
	tunnel = engine_tunnel_new(&(struct engine_tunnel_options){.loop = loop, .ops = &ops, .token = "s3cret"});
	return 0;
}

static int teardown(void **state)
{
	struct engine_tunnel_stats stats;
	(void)state;
	engine_tunnel_reset(tunnel);
	for (size_t i = 0; i < n_states; i++) {
		if (states[i].done != NULL)
			state_done(i, ENGINE_KV_UNKNOWN);
	}
	engine_tunnel_stats(tunnel, &stats);
	assert_int_equal(stats.flows, 0);
	assert_int_equal(stats.bytes, 0);
	engine_tunnel_free(tunnel);
	assert_int_equal(exchange_count(), 0);
	for (size_t i = 0; i < n_sent; i++)
		buf_done(&frames[i]);
	for (size_t i = 0; i < n_offers; i++)
		buf_done(&backs[i].got);
	io_loop_done(loop);
	return 0;
}

/* ---- what the engine says ---- */

static const struct runner_message_id pair = {.gateway = {1, 2, 3, 4}, .request = {0xa, 0xb, 0xc, 0xd}};

/* name, value, ..., NULL */
static struct runner_list pairs(struct buf *b, va_list ap)
{
	size_t n = 0;
	buf_init(b, 65536);
	for (const char *name; (name = va_arg(ap, const char *)) != NULL; n++)
		assert_int_equal(runner_pair_put(b, slice_str(name), slice_str(va_arg(ap, const char *))), 0);
	return runner_list_of(buf_slice(b), n);
}

static void request(const char *method, const char *path, struct slice body, ...)
{
	struct runner_tunnel_down m = {.id = pair, .kind = RUNNER_DOWN_REQUEST_START};
	struct buf b;
	va_list ap;
	va_start(ap, body);
	m.request.headers = pairs(&b, ap);
	va_end(ap);
	m.request.actor_id = SLICE_LIT("actor1");
	m.request.method = slice_str(method);
	m.request.path = slice_str(path);
	m.request.has_body = body.n > 0;
	m.request.body = body;
	engine_tunnel_message(tunnel, &m);
	buf_done(&b);
}

static void get(void)
{
	request("GET", "/a?b=1", SLICE_NONE, "host", "h", NULL);
}

static void down(enum runner_down_kind kind)
{
	struct runner_tunnel_down m = {.id = pair, .kind = kind};
	engine_tunnel_message(tunnel, &m);
}

static void socket_open(uint16_t index)
{
	struct runner_tunnel_down m = {.id = pair, .kind = RUNNER_DOWN_WS_OPEN};
	struct buf b;
	buf_init(&b, 4096);
	assert_int_equal(
	    runner_pair_put(&b, SLICE_LIT("sec-websocket-protocol"), SLICE_LIT("rivet, rivet_token.s3cret, chat")), 0);
	assert_int_equal(runner_pair_put(&b, SLICE_LIT("x-rivet-ray-id"), SLICE_LIT("ray1")), 0);
	m.id.index = index;
	m.open.actor_id = SLICE_LIT("actor1");
	m.open.path = SLICE_LIT("/ws");
	m.open.headers = runner_list_of(buf_slice(&b), 2);
	engine_tunnel_message(tunnel, &m);
	buf_done(&b);
}

static void message(uint16_t index, const char *text)
{
	struct runner_tunnel_down m = {.id = pair, .kind = RUNNER_DOWN_WS_MESSAGE};
	m.id.index = index;
	m.message.data = slice_str(text);
	engine_tunnel_message(tunnel, &m);
}

static void client_close(unsigned code, const char *reason)
{
	struct runner_tunnel_down m = {.id = pair, .kind = RUNNER_DOWN_WS_CLOSE};
	m.close.has_code = code != 0;
	m.close.code = (uint16_t)code;
	m.close.has_reason = reason != NULL;
	m.close.reason = slice_str(reason);
	engine_tunnel_message(tunnel, &m);
}

/* ---- what the worker says ---- */

static void take(size_t i)
{
	exchange_join(backs[i].x, &back_ops, &backs[i]);
	turn();
}

static void answer_head(size_t i, unsigned status, const struct http_field *fields, uint16_t n)
{
	struct http_head h = {
	    .status = (uint16_t)status, .fields = fields, .n_fields = n, .framing = HTTP_FRAMING_CHUNKED};
	exchange_head(backs[i].x, &h);
}

static void answer(size_t i, unsigned status, struct slice body)
{
	answer_head(i, status, NULL, 0);
	exchange_data(backs[i].x, EXCHANGE_BACK, body, true);
	exchange_leave(TAKE(backs[i].x), EXCHANGE_BACK, EXCHANGE_DONE);
}

static void leave(size_t i, enum exchange_why why)
{
	exchange_leave(TAKE(backs[i].x), EXCHANGE_BACK, why);
}

static void accept_socket(size_t i)
{
	take(i);
	answer_head(i, 101, NULL, 0);
}

static void worker_says(size_t i, enum ws_opcode op, struct slice payload)
{
	struct buf b;
	buf_init(&b, (size_t)1 << 30);
	ws_put_frame(&b, op, true, false, payload);
	exchange_data(backs[i].x, EXCHANGE_BACK, buf_slice(&b), false);
	buf_done(&b);
}

/* ---- what was sent ---- */

static struct slice header(size_t i, const char *name)
{
	struct slice key, value, found = SLICE_NONE;
	for (struct runner_walk w = runner_walk_of(sent[i].response.headers); runner_pair_next(&w, &key, &value);) {
		if (slice_is(key, name))
			found = value;
	}
	return found;
}

static void assert_response(size_t i, unsigned status, const char *body)
{
	assert_true(n_sent > i);
	assert_int_equal(sent[i].kind, RUNNER_UP_RESPONSE_START);
	assert_memory_equal(sent[i].id.gateway, pair.gateway, 4);
	assert_memory_equal(sent[i].id.request, pair.request, 4);
	assert_false(sent[i].response.stream);
	assert_int_equal(sent[i].response.status, status);
	if (body != NULL)
		assert_true(slice_is(sent[i].response.body, body));
}

static void assert_close(size_t i, unsigned code, const char *reason)
{
	assert_true(n_sent > i);
	assert_int_equal(sent[i].kind, RUNNER_UP_WS_CLOSE);
	assert_false(sent[i].close.hibernate);
	assert_int_equal(sent[i].close.has_code, code != 0);
	if (code == 0)
		return;
	assert_int_equal(sent[i].close.code, code);
	assert_true(slice_is(sent[i].close.reason, reason));
}

/* The client's frames as the worker gets them: opcode, payload. */
static struct slice frame_at(size_t i, size_t *at, enum ws_opcode *ret_op)
{
	static uint8_t plain[256];
	struct slice all = slice_from(buf_slice(&backs[i].got), *at);
	assert_true(all.p != NULL && all.n >= 6);
	CHECK(all.p != NULL);
	size_t n = all.p[1] & 0x7f;
	assert_true((all.p[0] & 0x80) != 0 && (all.p[1] & 0x80) != 0 && n < 126 && all.n >= 6 + n);
	*ret_op = (enum ws_opcode)(all.p[0] & 0x0f);
	for (size_t k = 0; k < n; k++)
		plain[k] = all.p[6 + k] ^ all.p[2 + k % 4];
	*at += 6 + n;
	return slice_of(plain, n);
}

/* ---- HTTP ---- */

static void test_a_request_is_answered_with_one_message(void **state)
{
	(void)state;
	request("POST", "/p?q=1", SLICE_LIT("hello"), "host", "example", "content-length", "77", "connection",
		"close, x-hop", "x-hop", "1", "authorization", "Bearer s3cret", "x-own", "v", NULL);
	assert_string_equal(offered_id, "actor1");
	struct exchange *x = backs[0].x;
	assert_string_equal(x->target, "/p?q=1");
	assert_string_equal(x->method, "POST");
	assert_string_equal(x->request_id, "010203040a0b0c0d");
	assert_int_equal(x->head->framing, HTTP_FRAMING_LENGTH);
	assert_int_equal(x->head->length, 5);
	assert_true(http_head_find(x->head, "x-hop")->hop);
	assert_null(http_head_find(x->head, "authorization"));
	assert_non_null(http_head_find(x->head, "x-own"));
	take(0);
	assert_true(backs[0].fin && slice_is(buf_slice(&backs[0].got), "hello"));
	const struct http_field fields[] = {
	    {.name = SLICE_LIT("Set-Cookie"), .value = SLICE_LIT("a=1")},
	    {.name = SLICE_LIT("set-cookie"), .value = SLICE_LIT("b=2")},
	    {.name = SLICE_LIT("Content-Length"), .value = SLICE_LIT("999"), .id = HTTP_F_CONTENT_LENGTH},
	    {.name = SLICE_LIT("X-Rivet-Error"),
	     .value = SLICE_LIT("guard.service_unavailable"),
	     .id = HTTP_F_X_RIVET_ERROR},
	    {.name = SLICE_LIT("X-Bad"), .value = SLICE_LIT("\xe9")},
	};
	answer_head(0, 201, fields, ARRAY_SIZE(fields));
	exchange_data(backs[0].x, EXCHANGE_BACK, SLICE_LIT("wor"), false);
	assert_int_equal(n_sent, 0);
	exchange_data(backs[0].x, EXCHANGE_BACK, SLICE_LIT("ld"), true);
	leave(0, EXCHANGE_DONE);
	assert_int_equal(n_sent, 1);
	assert_response(0, 201, "world");
	assert_int_equal(sent[0].id.index, 0);
	assert_true(slice_is(header(0, "set-cookie"), "a=1"));
	assert_true(slice_is(header(0, "Set-cookie"), "b=2"));
	assert_true(slice_is(header(0, "content-length"), "5"));
	assert_int_equal(header(0, "x-rivet-error").n + header(0, "x-bad").n, 0);
}

static void test_a_resent_request_joins_the_running_one(void **state)
{
	struct engine_tunnel_stats stats;
	(void)state;
	get();
	take(0);
	get();
	assert_int_equal(n_offers, 1);
	answer(0, 200, SLICE_LIT("x"));
	assert_int_equal(n_sent, 1);
	engine_tunnel_stats(tunnel, &stats);
	assert_int_equal(stats.joined, 1);
	get(); /* the first is over: this one runs, under the same id */
	assert_int_equal(n_offers, 2);
	assert_string_equal(backs[1].x->request_id, "010203040a0b0c0d");
	take(1);
	answer(1, 200, SLICE_LIT("y"));
	assert_response(1, 200, "y");
}

static void test_an_answer_waits_for_the_link_and_is_joined(void **state)
{
	(void)state;
	get();
	take(0);
	link_says = ENGINE_TUNNEL_OFFLINE;
	answer(0, 200, SLICE_LIT("x"));
	get();
	assert_int_equal(n_offers, 1);
	assert_int_equal(n_sent, 0);
	link_says = 0;
	engine_tunnel_online(tunnel, n_gone);
	assert_response(0, 200, "x");
	assert_int_equal(n_sent, 1);
	get();
	assert_int_equal(n_offers, 2);
}

static void test_an_absent_or_stopping_actor_is_an_abort(void **state)
{
	(void)state;
	outcome = DISPATCH_ABSENT;
	get();
	assert_int_equal(sent[0].kind, RUNNER_UP_RESPONSE_ABORT);
	assert_int_equal(n_absent, 1);
	outcome = DISPATCH_STOPPING;
	get();
	assert_int_equal(sent[1].kind, RUNNER_UP_RESPONSE_ABORT);
	assert_int_equal(n_absent, 1);
	outcome = DISPATCH_TAKEN;
	get();
	exchange_refuse(backs[0].x, 503, "actor", "stopping", NULL, 1);
	assert_int_equal(sent[2].kind, RUNNER_UP_RESPONSE_ABORT);
	outcome = DISPATCH_FULL;
	get();
	assert_response(3, 503, NULL);
	assert_true(slice_is(header(3, "x-rivet-error"), "actor.overloaded"));
	assert_true(slice_is(header(3, "retry-after"), "1"));
}

static void test_a_newcomer_leaves_requests_to_its_predecessor(void **state)
{
	(void)state;
	engine_tunnel_newcomer(tunnel);
	get();
	get(); /* sent again while nothing was said */
	turn();
	assert_int_equal(n_offers, 0);
	assert_int_equal(n_sent, 0);
	loop_skew(loop, LIMIT_TUNNEL_NEWCOMER_MS);
	turn();
	assert_int_equal(n_sent, 1);
	assert_int_equal(sent[0].kind, RUNNER_UP_RESPONSE_ABORT);
	assert_memory_equal(sent[0].id.request, pair.request, sizeof(pair.request));
	get();
	assert_int_equal(n_offers, 1); /* it is alone now */
}

/* One close for all that the predecessor may have done with it. */
static void test_a_newcomer_leaves_sockets_to_its_predecessor(void **state)
{
	(void)state;
	engine_tunnel_newcomer(tunnel);
	socket_open(0);
	message(1, "to the one that accepted it");
	turn();
	assert_int_equal(n_offers, 0);
	assert_int_equal(n_sent, 0);
	loop_skew(loop, LIMIT_TUNNEL_NEWCOMER_MS);
	turn();
	assert_int_equal(n_sent, 1);
	assert_int_equal(sent[0].kind, RUNNER_UP_WS_CLOSE);
	assert_memory_equal(sent[0].id.request, pair.request, sizeof(pair.request));
	assert_int_equal(sent[0].close.code, 1012);
	assert_true(sent[0].close.hibernate);
	socket_open(2);
	assert_int_equal(n_offers, 1);
}

static void test_a_newcomer_gives_back_nothing_that_came_again(void **state)
{
	(void)state;
	engine_tunnel_newcomer(tunnel);
	socket_open(0);
	taken_over = false; /* it runs here now, and the predecessor has rejected the open */
	socket_open(1);
	assert_int_equal(n_offers, 1);
	loop_skew(loop, LIMIT_TUNNEL_NEWCOMER_MS);
	turn();
	assert_int_equal(n_sent, 0);
}

static void test_a_newcomer_serves_what_it_has_started(void **state)
{
	(void)state;
	engine_tunnel_newcomer(tunnel);
	taken_over = false;
	get();
	assert_int_equal(n_offers, 1);
	taken_over = true;
	get(); /* the same again: it is answered here */
	assert_int_equal(n_offers, 1);
}

static void test_a_newcomer_is_reset(void **state)
{
	(void)state;
	engine_tunnel_newcomer(tunnel);
	get();
	engine_tunnel_reset(tunnel);
	loop_skew(loop, LIMIT_TUNNEL_NEWCOMER_MS);
	turn();
	assert_int_equal(n_sent, 0);
}

static void test_failures_carry_group_and_code(void **state)
{
	(void)state;
	get();
	exchange_refuse(backs[0].x, 503, "actor", "start_failed", mem_strdup("it said \"no\""), 1);
	assert_response(0, 503, "{\"group\":\"actor\",\"code\":\"start_failed\",\"message\":\"it said \\\"no\\\"\"}");
	assert_true(slice_is(header(0, "x-rivet-error"), "actor.start_failed"));
	get();
	take(1);
	leave(1, EXCHANGE_GONE);
	assert_response(1, 502, NULL);
	assert_true(slice_is(header(1, "x-rivet-error"), "guard.upstream_error"));
	/* The engine would repeat what may have been executed. */
	get();
	take(2);
	leave(2, EXCHANGE_TIMEOUT);
	assert_response(2, 504, NULL);
	assert_int_equal(header(2, "x-rivet-error").n, 0);
	request("HEAD", "/", SLICE_NONE, NULL);
	take(3);
	leave(3, EXCHANGE_CRASHED);
	assert_response(3, 502, "");
	assert_int_equal(header(3, "content-length").n, 0);
}

static void test_what_an_engine_cannot_take(void **state)
{
	(void)state;
	const struct http_field type[] = {
	    {.name = SLICE_LIT("content-type"), .value = SLICE_LIT("text/event-stream"), .id = HTTP_F_CONTENT_TYPE}};
	uint8_t *block = mem_zalloc(1024 * 1024);
	get();
	take(0);
	answer_head(0, 200, type, 1);
	assert_response(0, 502, NULL);
	assert_true(slice_is(header(0, "x-rivet-error"), "runner.streaming_unsupported"));
	turn();
	assert_true(backs[0].over);
	get();
	take(1);
	answer_head(1, 200, NULL, 0);
	for (int i = 0; i < 20; i++)
		exchange_data(backs[1].x, EXCHANGE_BACK, slice_of(block, 1024 * 1024), false);
	assert_int_equal(n_sent, 1);
	exchange_data(backs[1].x, EXCHANGE_BACK, SLICE_LIT("x"), false);
	assert_response(1, 502, NULL);
	assert_true(slice_is(header(1, "x-rivet-error"), "runner.response_too_large"));
	exchange_data(backs[1].x, EXCHANGE_BACK, SLICE_LIT("more"), true);
	turn();
	assert_true(backs[1].over);
	assert_int_equal(n_sent, 2);
	get();
	take(2);
	answer_head(2, 200, NULL, 0);
	for (int i = 0; i < 20; i++)
		exchange_data(backs[2].x, EXCHANGE_BACK, slice_of(block, 1024 * 1024), i == 19);
	assert_response(2, 200, NULL);
	assert_int_equal(sent[2].response.body.n, 20 * 1024 * 1024);
	leave(2, EXCHANGE_DONE);
	mem_free(block);
}

static void test_answers_without_a_body(void **state)
{
	(void)state;
	const struct http_field length[] = {
	    {.name = SLICE_LIT("Content-Length"), .value = SLICE_LIT("42"), .id = HTTP_F_CONTENT_LENGTH}};
	request("HEAD", "/", SLICE_NONE, NULL);
	take(0);
	answer_head(0, 200, length, 1);
	exchange_data(backs[0].x, EXCHANGE_BACK, SLICE_NONE, true);
	leave(0, EXCHANGE_DONE);
	assert_true(slice_is(header(0, "content-length"), "42"));
	assert_false(sent[0].response.has_body);
	get();
	take(1);
	answer(1, 204, SLICE_NONE);
	assert_int_equal(header(1, "content-length").n, 0);
	get();
	take(2);
	answer(2, 200, SLICE_NONE);
	assert_true(slice_is(header(2, "content-length"), "0"));
}

static void test_a_body_in_chunks_and_an_abort(void **state)
{
	(void)state;
	struct runner_tunnel_down m = {.id = pair, .kind = RUNNER_DOWN_REQUEST_START};
	m.request.actor_id = SLICE_LIT("actor1");
	m.request.method = SLICE_LIT("PUT");
	m.request.path = SLICE_LIT("/");
	m.request.stream = true;
	engine_tunnel_message(tunnel, &m);
	backs[0].paused = true;
	assert_int_equal(backs[0].x->head->framing, HTTP_FRAMING_CHUNKED);
	m = (struct runner_tunnel_down){.id = pair, .kind = RUNNER_DOWN_REQUEST_CHUNK};
	m.chunk.body = SLICE_LIT("one ");
	engine_tunnel_message(tunnel, &m);
	take(0);
	assert_true(slice_is(buf_slice(&backs[0].got), "one "));
	m.chunk.body = SLICE_LIT("two");
	m.chunk.finish = true;
	engine_tunnel_message(tunnel, &m);
	assert_false(backs[0].fin);
	exchange_go(backs[0].x, EXCHANGE_BACK);
	turn();
	assert_true(backs[0].fin && slice_is(buf_slice(&backs[0].got), "one two"));
	down(RUNNER_DOWN_REQUEST_ABORT);
	assert_true(backs[0].over);
	assert_int_equal(n_sent, 0);
	down(RUNNER_DOWN_REQUEST_ABORT);
	down(RUNNER_DOWN_REQUEST_CHUNK);
}

static void test_hostile_heads_are_answered_here(void **state)
{
	(void)state;
	request("GET", "no-slash", SLICE_NONE, NULL);
	request("GET", "/a b", SLICE_NONE, NULL);
	request("GET", "/", SLICE_NONE, "x\r\ny", "1", NULL);
	request("GET", "/", SLICE_NONE, "x", "1\r\nevil: 2", NULL);
	request("GET", "/", SLICE_NONE, "x:y", "1", NULL);
	request("GET", "/", SLICE_NONE, " x", "1", NULL);
	request("G T", "/", SLICE_NONE, NULL);
	request("GET", "/", SLICE_NONE, "host", "a", "Host", "b", NULL);
	assert_int_equal(n_offers, 0);
	assert_int_equal(n_sent, 8);
	for (size_t i = 0; i < n_sent; i++)
		assert_response(i, 400, NULL);
	char *lengthy = mem_zalloc(9000);
	memset(lengthy, 'a', 8999);
	lengthy[0] = '/';
	request("GET", lengthy, SLICE_NONE, NULL);
	assert_response(8, 414, NULL);
	mem_free(lengthy);
}

static void test_no_ready_actor_in_time(void **state)
{
	(void)state;
	get();
	loop_skew(loop, LIMIT_TUNNEL_READY_MS);
	turn();
	assert_response(0, 503, NULL);
	assert_int_equal(header(0, "x-rivet-error").n, 0);
}

static void test_kept_bytes_are_bounded(void **state)
{
	(void)state;
	uint8_t *block = mem_zalloc(20 * 1024 * 1024);
	struct runner_tunnel_down m = {.id = pair, .kind = RUNNER_DOWN_REQUEST_START};
	m.request.actor_id = SLICE_LIT("actor1");
	m.request.method = SLICE_LIT("PUT");
	m.request.path = SLICE_LIT("/");
	m.request.has_body = true;
	m.request.body = slice_of(block, 20 * 1024 * 1024);
	for (uint8_t i = 0; i < 4; i++) {
		m.id.request[0] = i;
		engine_tunnel_message(tunnel, &m);
	}
	assert_int_equal(n_sent, 0);
	m.id.request[0] = 9;
	engine_tunnel_message(tunnel, &m);
	assert_int_equal(n_offers, 4);
	assert_int_equal(sent[0].kind, RUNNER_UP_RESPONSE_ABORT);
	m.id.request[0] = 10;
	m.request.actor_id = SLICE_LIT("actor2");
	engine_tunnel_message(tunnel, &m);
	assert_int_equal(n_offers, 5);
	mem_free(block);
}

static void test_a_reset_says_nothing(void **state)
{
	(void)state;
	get();
	take(0);
	link_says = ENGINE_TUNNEL_OFFLINE;
	engine_tunnel_reset(tunnel);
	assert_true(backs[0].over);
	assert_int_equal(backs[0].why, EXCHANGE_GONE);
	assert_int_equal(n_sent, 0);
}

/* ---- WebSockets ---- */

static void test_a_socket_is_accepted_by_the_workers_101(void **state)
{
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	socket_open(7);
	assert_string_equal(backs[0].x->subprotocols, "rivet, chat");
	assert_int_equal(n_sent, 0);
	accept_socket(0);
	assert_int_equal(sent[0].kind, RUNNER_UP_WS_OPEN);
	assert_false(sent[0].can_hibernate);
	message(8, "hello");
	message(8, "again");
	message(9, "");
	assert_true(slice_is(frame_at(0, &at, &op), "hello"));
	assert_int_equal(op, WS_TEXT);
	assert_int_equal(frame_at(0, &at, &op).n, 0);
	assert_int_equal(at, buf_len(&backs[0].got));
	worker_says(0, WS_BINARY, SLICE_LIT("\xff\x00"));
	worker_says(0, WS_TEXT, SLICE_LIT("ok"));
	assert_int_equal(sent[1].kind, RUNNER_UP_WS_MESSAGE);
	assert_true(sent[1].message.binary && sent[1].message.data.n == 2);
	assert_int_equal(sent[1].id.index, 1);
	assert_true(slice_is(sent[2].message.data, "ok") && !sent[2].message.binary);
	worker_says(0, WS_PING, SLICE_LIT("p"));
	turn();
	assert_true(slice_is(frame_at(0, &at, &op), "p"));
	assert_int_equal(op, WS_PONG);
	worker_says(0, WS_CLOSE,
		    SLICE_LIT("\x0f\xa0"
			      "bye"));
	assert_close(3, 4000, "bye");
	client_close(1000, NULL); /* the engine's echo */
	turn();
	assert_int_equal(frame_at(0, &at, &op).n, 2);
	assert_int_equal(op, WS_CLOSE);
	leave(0, EXCHANGE_DONE);
	assert_int_equal(n_sent, 4);
}

static void test_the_client_closes(void **state)
{
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	socket_open(0);
	accept_socket(0);
	client_close(4001, "gone home");
	assert_true(slice_is(slice_from(frame_at(0, &at, &op), 2), "gone home"));
	assert_int_equal(op, WS_CLOSE);
	socket_open(0); /* the pair may be used anew */
	assert_int_equal(n_offers, 2);
	loop_skew(loop, LIMIT_WS_CLOSE_MS);
	turn();
	assert_true(backs[0].over);
	assert_int_equal(n_sent, 1);
	client_close(1001, NULL); /* before our answer */
	assert_int_equal(n_sent, 1);
}

static void test_refusals(void **state)
{
	(void)state;
	outcome = DISPATCH_ABSENT;
	socket_open(0);
	assert_close(0, 0, NULL);
	assert_int_equal(n_absent, 1);
	outcome = DISPATCH_TAKEN;
	socket_open(0);
	exchange_refuse(backs[0].x, 503, "actor", "stopping", NULL, 0);
	assert_close(1, 0, NULL);
	socket_open(0);
	take(1);
	answer_head(1, 403, NULL, 0);
	assert_int_equal(sent[2].kind, RUNNER_UP_WS_OPEN);
	assert_close(3, 1008, "the worker refused the upgrade with status 403");
	turn();
	assert_true(backs[1].over);
	socket_open(0);
	exchange_refuse(backs[2].x, 503, "actor", "start_failed", NULL, 1);
	assert_int_equal(sent[4].kind, RUNNER_UP_WS_OPEN);
	assert_close(5, 1011, "actor.start_failed#ray1");
}

static void test_the_worker_ends(void **state)
{
	static const struct {
		enum exchange_why why;
		unsigned code;
		const char *reason;
	} ends[] = {
	    {EXCHANGE_STOPPED, 1001, "actor.stopped"},
	    {EXCHANGE_CRASHED, 1012, "actor.crashed"},
	    {EXCHANGE_GONE, 1011, "guard.upstream_error#ray1"},
	    {EXCHANGE_MALFORMED, 1009, "a message of the worker is over 32 MiB"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		socket_open(0);
		accept_socket(i);
		if (ends[i].why == EXCHANGE_MALFORMED)
			backs[i].x->refusal = (struct exchange_refusal){ends[i].code, "ws", "invalid_packet",
									mem_strdup(ends[i].reason), 0};
		leave(i, ends[i].why);
		assert_close(2 * i + 1, ends[i].code, ends[i].reason);
	}
}

static void test_a_gap_closes(void **state)
{
	struct engine_tunnel_stats stats;
	(void)state;
	socket_open(65534);
	accept_socket(0);
	message(65535, "a");
	message(0, "b");
	message(3, "c");
	assert_close(1, 1011, "runner.message_lost#ray1");
	engine_tunnel_stats(tunnel, &stats);
	assert_int_equal(stats.messages_lost, 2);
	message(4, "d");
	assert_int_equal(n_sent, 2);
}

static void test_a_repeated_open_is_answered_again(void **state)
{
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	socket_open(0);
	socket_open(1);
	assert_int_equal(n_offers, 1);
	accept_socket(0);
	message(2, "a");
	assert_true(slice_is(frame_at(0, &at, &op), "a"));
	socket_open(0);
	assert_int_equal(sent[1].kind, RUNNER_UP_WS_OPEN);
	assert_int_equal(sent[1].id.index, 0);
	message(1, "b");
	assert_true(slice_is(frame_at(0, &at, &op), "b"));
}

/* What was said before the engine asked again has gone nowhere: the client must not miss it. */
static void test_a_repeated_open_behind_messages_starts_anew(void **state)
{
	(void)state;
	socket_open(0);
	accept_socket(0);
	worker_says(0, WS_TEXT, SLICE_LIT("greeting"));
	socket_open(1);
	assert_true(backs[0].over);
	assert_int_equal(n_offers, 2);
	accept_socket(1);
	assert_int_equal(sent[2].kind, RUNNER_UP_WS_OPEN);
	worker_says(1, WS_TEXT, SLICE_LIT("greeting"));
	assert_true(slice_is(sent[3].message.data, "greeting"));
}

static void test_a_slow_link_stops_the_worker(void **state)
{
	(void)state;
	socket_open(0);
	accept_socket(0);
	link_says = ENGINE_TUNNEL_FULL;
	worker_says(0, WS_TEXT, SLICE_LIT("1"));
	assert_true(exchange_stopped(backs[0].x, EXCHANGE_FRONT));
	worker_says(0, WS_TEXT, SLICE_LIT("2"));
	link_says = 0;
	engine_tunnel_room(tunnel);
	assert_false(exchange_stopped(backs[0].x, EXCHANGE_FRONT));
	assert_int_equal(n_sent, 3);
	assert_true(slice_is(sent[1].message.data, "1") && slice_is(sent[2].message.data, "2"));
}

static void test_a_slow_worker_is_closed(void **state)
{
	char *block = mem_alloc(16 * 1024 * 1024 + 1);
	(void)state;
	memset(block, 'x', 16 * 1024 * 1024);
	block[16 * 1024 * 1024] = '\0';
	socket_open(0);
	accept_socket(0);
	exchange_stop(backs[0].x, EXCHANGE_BACK);
	message(1, block);
	message(2, block);
	assert_int_equal(n_sent, 1);
	message(3, block);
	assert_close(1, 1011, "runner.websocket_backlog#ray1");
	turn();
	assert_true(backs[0].over);
	mem_free(block);
}

static void test_frames_of_no_sort(void **state)
{
	(void)state;
	socket_open(0);
	accept_socket(0);
	worker_says(0, WS_TEXT, SLICE_LIT("\xff"));
	assert_close(1, 1007, "runner.invalid_websocket_frame#ray1");
	turn();
	assert_true(backs[0].over);
	socket_open(0);
	accept_socket(1);
	exchange_data(backs[1].x, EXCHANGE_BACK, SLICE_LIT("\xff\xff"), false);
	assert_close(3, 1002, "runner.invalid_websocket_frame#ray1");
}

/* ---- WebSockets whose clients stay ---- */

static void accept_sleeper(size_t i)
{
	take(i);
	backs[i].x->hibernates = true;
	answer_head(i, 101, NULL, 0);
}

static void open_sleeper(void)
{
	socket_open(0);
	accept_sleeper(0);
	assert_int_equal(n_sent, 0);
	assert_int_equal(states[0].op, RUNNER_KV_PUT);
	state_done(0, ENGINE_KV_OK);
	assert_int_equal(sent[0].kind, RUNNER_UP_WS_OPEN);
	assert_true(sent[0].can_hibernate);
}

static void stop_actor(size_t i, const char *reason)
{
	backs[i].x->stop_reason = reason;
	leave(i, EXCHANGE_STOPPED);
	turn();
}

static void test_what_is_handed_over_is_acknowledged(void **state)
{
	(void)state;
	open_sleeper();
	message(1, "a");
	message(2, "b");
	turn();
	assert_int_equal(n_sent, 2);
	assert_int_equal(sent[1].kind, RUNNER_UP_WS_ACK);
	assert_int_equal(sent[1].ack_index, 2);
	message(2, "b"); /* the engine did not hear it */
	loop_skew(loop, 1000);
	turn();
	assert_int_equal(sent[2].ack_index, 2);
}

static void test_nothing_is_handed_over_before_its_acknowledgement_has_left(void **state)
{
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	open_sleeper();
	stuck = true;
	message(1, "a");
	turn();
	assert_int_equal(sent[n_sent - 1].kind, RUNNER_UP_WS_ACK);
	assert_int_equal(buf_len(&backs[0].got), 0);
	link_says = ENGINE_TUNNEL_OFFLINE;
	message(2, "b");
	stuck = false;
	loop_skew(loop, 1000);
	turn();
	assert_true(slice_is(frame_at(0, &at, &op), "a"));
	assert_int_equal(buf_len(&backs[0].got), at); /* b is not acknowledged */
	link_says = 0;
	engine_tunnel_online(tunnel, n_gone);
	loop_skew(loop, 1000);
	turn();
	assert_true(slice_is(frame_at(0, &at, &op), "b"));
}

static void test_a_sleeper_is_opened_again_by_a_message(void **state)
{
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	open_sleeper();
	char id[40];
	memcpy(id, backs[0].x->connection_id, sizeof(id));
	message(1, "a");
	turn();
	exchange_stop(backs[0].x, EXCHANGE_BACK);
	message(2, "kept by the engine");
	turn();
	stop_actor(0, "sleep");
	assert_int_equal(sent[n_sent - 1].kind, RUNNER_UP_WS_ACK);
	assert_int_equal(sent[n_sent - 1].ack_index, 1);
	assert_int_equal(n_offers, 1);
	message(2, "b"); /* sent again */
	turn();
	assert_int_equal(n_offers, 2);
	assert_string_equal(backs[1].x->connection_id, id);
	assert_true(backs[1].x->reopens);
	accept_sleeper(1);
	turn();
	assert_true(slice_is(frame_at(1, &at, &op), "b"));
	assert_int_equal(sent[n_sent - 1].ack_index, 2);
	worker_says(1, WS_TEXT, SLICE_LIT("hello"));
	assert_int_equal(sent[n_sent - 1].kind, RUNNER_UP_WS_MESSAGE);
}

static void test_a_sleeper_is_refused_by_the_next_worker(void **state)
{
	(void)state;
	open_sleeper();
	stop_actor(0, "sleep");
	message(1, "a");
	turn();
	take(1);
	answer_head(1, 404, NULL, 0);
	turn();
	assert_close(n_sent - 1, 1012, "the worker did not take the connection over");
	assert_int_equal(states[n_states - 1].op, RUNNER_KV_DELETE);
	assert_true(backs[1].over);
}

static void test_a_sleeper_ends_with_its_actor(void **state)
{
	(void)state;
	open_sleeper();
	stop_actor(0, "destroy");
	assert_close(1, 1001, "actor.stopped");
}

static void test_a_gap_of_a_sleeper_is_asked_for(void **state)
{
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	open_sleeper();
	message(3, "c");
	assert_int_equal(sent[1].kind, RUNNER_UP_WS_CLOSE);
	assert_true(sent[1].close.hibernate);
	message(4, "d");
	assert_int_equal(n_sent, 2);
	message(1, "a");
	turn();
	assert_true(slice_is(frame_at(0, &at, &op), "a"));
}

static void test_a_gap_that_stays_closes(void **state)
{
	(void)state;
	open_sleeper();
	for (int i = 0; i < 4; i++) {
		message(3, "c");
		loop_skew(loop, 2000);
		turn();
	}
	assert_close(n_sent - 1, 1008, "ws.message_index_skip#ray1");
}

static void test_a_client_that_left_is_reported_when_the_actor_runs(void **state)
{
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	open_sleeper();
	stop_actor(0, "sleep");
	outcome = DISPATCH_ABSENT;
	client_close(4001, "bye");
	turn();
	outcome = DISPATCH_TAKEN;
	assert_int_equal(n_offers, 1);
	engine_tunnel_running(tunnel, "actor1");
	turn();
	assert_int_equal(n_offers, 2);
	accept_sleeper(1);
	turn();
	assert_true(slice_is(slice_from(frame_at(1, &at, &op), 2), "bye"));
	assert_int_equal(op, WS_CLOSE);
	leave(1, EXCHANGE_DONE);
	turn();
}

static void test_what_cannot_be_remembered_does_not_hibernate(void **state)
{
	(void)state;
	socket_open(0);
	accept_sleeper(0);
	state_done(0, ENGINE_KV_UNKNOWN);
	assert_false(sent[0].can_hibernate);
	stop_actor(0, "sleep");
	assert_close(1, 1001, "actor.stopped");
}

static void test_a_sleeper_asks_after_a_reconnect(void **state)
{
	(void)state;
	open_sleeper();
	link_says = ENGINE_TUNNEL_OFFLINE;
	worker_says(0, WS_TEXT, SLICE_LIT("late"));
	link_says = 0;
	engine_tunnel_online(tunnel, n_gone);
	assert_true(slice_is(sent[1].message.data, "late"));
	assert_true(sent[2].kind == RUNNER_UP_WS_CLOSE && sent[2].close.hibernate);
	assert_true(exchange_stopped(backs[0].x, EXCHANGE_FRONT));
	loop_skew(loop, 1000);
	turn();
	assert_false(exchange_stopped(backs[0].x, EXCHANGE_FRONT));
}

static void test_messages_a_break_may_have_lost(void **state)
{
	struct engine_tunnel_stats stats;
	size_t at = 0;
	enum ws_opcode op;
	(void)state;
	socket_open(0);
	accept_socket(0);
	worker_says(0, WS_TEXT, SLICE_LIT("a"));
	n_read = n_gone;
	engine_tunnel_online(tunnel, n_read); /* all was read */
	assert_int_equal(n_sent, 2);
	worker_says(0, WS_TEXT, SLICE_LIT("b"));
	link_says = ENGINE_TUNNEL_OFFLINE;
	worker_says(0, WS_TEXT, SLICE_LIT("c"));
	link_says = 0;
	engine_tunnel_online(tunnel, n_read); /* b was not */
	assert_int_equal(n_sent, 4);
	assert_close(3, 1011, "runner.message_lost#ray1");
	engine_tunnel_stats(tunnel, &stats);
	assert_int_equal(stats.messages_lost, 1);
	turn();
	assert_int_equal(frame_at(0, &at, &op).p[0], 1011 >> 8);
	assert_int_equal(op, WS_CLOSE);
	leave(0, EXCHANGE_DONE);
}

static void test_a_close_a_break_may_have_lost(void **state)
{
	(void)state;
	socket_open(0);
	accept_socket(0);
	worker_says(0, WS_TEXT, SLICE_LIT("a"));
	n_read = n_gone;
	worker_says(0, WS_CLOSE,
		    SLICE_LIT("\x0f\xa0"
			      "bye"));
	assert_close(2, 4000, "bye");
	turn();
	leave(0, EXCHANGE_DONE);
	engine_tunnel_online(tunnel, n_read);
	assert_close(3, 4000, "bye");
	engine_tunnel_online(tunnel, n_gone); /* and that was read */
	assert_int_equal(n_sent, 4);
}

static void test_a_close_behind_lost_messages(void **state)
{
	(void)state;
	socket_open(0);
	accept_socket(0);
	n_read = n_gone;
	worker_says(0, WS_TEXT, SLICE_LIT("a"));
	worker_says(0, WS_CLOSE, SLICE_LIT("\x03\xe8"));
	turn();
	leave(0, EXCHANGE_DONE);
	engine_tunnel_online(tunnel, n_read);
	assert_close(3, 1011, "runner.message_lost");
	/* The same while the close still waits for the link. */
	socket_open(0);
	accept_socket(1);
	n_read = n_gone;
	worker_says(1, WS_TEXT, SLICE_LIT("a"));
	link_says = ENGINE_TUNNEL_OFFLINE;
	worker_says(1, WS_CLOSE, SLICE_LIT("\x03\xe8"));
	turn();
	leave(1, EXCHANGE_DONE);
	link_says = 0;
	engine_tunnel_online(tunnel, n_read);
	assert_int_equal(n_sent, 7);
	assert_close(6, 1011, "runner.message_lost#ray1");
}

static void test_a_rejection_a_break_may_have_lost(void **state)
{
	(void)state;
	outcome = DISPATCH_ABSENT;
	socket_open(0);
	assert_close(0, 0, NULL);
	engine_tunnel_online(tunnel, n_read);
	assert_close(1, 0, NULL);
	engine_tunnel_reset(tunnel);
	engine_tunnel_online(tunnel, n_read); /* as another runner */
	assert_int_equal(n_sent, 2);
}

static void test_a_sleeper_a_break_may_have_cut(void **state)
{
	(void)state;
	open_sleeper();
	n_read = n_gone;
	worker_says(0, WS_TEXT, SLICE_LIT("a"));
	engine_tunnel_online(tunnel, n_read);
	assert_close(2, 1012, "runner.message_lost#ray1");
	assert_int_equal(n_sent, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	    TEST(test_a_request_is_answered_with_one_message),
	    TEST(test_a_resent_request_joins_the_running_one),
	    TEST(test_an_answer_waits_for_the_link_and_is_joined),
	    TEST(test_an_absent_or_stopping_actor_is_an_abort),
	    TEST(test_a_newcomer_leaves_requests_to_its_predecessor),
	    TEST(test_a_newcomer_leaves_sockets_to_its_predecessor),
	    TEST(test_a_newcomer_gives_back_nothing_that_came_again),
	    TEST(test_a_newcomer_serves_what_it_has_started),
	    TEST(test_a_newcomer_is_reset),
	    TEST(test_failures_carry_group_and_code),
	    TEST(test_what_an_engine_cannot_take),
	    TEST(test_answers_without_a_body),
	    TEST(test_a_body_in_chunks_and_an_abort),
	    TEST(test_hostile_heads_are_answered_here),
	    TEST(test_no_ready_actor_in_time),
	    TEST(test_kept_bytes_are_bounded),
	    TEST(test_a_reset_says_nothing),
	    TEST(test_a_socket_is_accepted_by_the_workers_101),
	    TEST(test_the_client_closes),
	    TEST(test_refusals),
	    TEST(test_the_worker_ends),
	    TEST(test_a_gap_closes),
	    TEST(test_messages_a_break_may_have_lost),
	    TEST(test_a_close_a_break_may_have_lost),
	    TEST(test_a_close_behind_lost_messages),
	    TEST(test_a_rejection_a_break_may_have_lost),
	    TEST(test_a_sleeper_a_break_may_have_cut),
	    TEST(test_a_repeated_open_is_answered_again),
	    TEST(test_a_repeated_open_behind_messages_starts_anew),
	    TEST(test_a_slow_link_stops_the_worker),
	    TEST(test_a_slow_worker_is_closed),
	    TEST(test_frames_of_no_sort),
	    TEST(test_what_is_handed_over_is_acknowledged),
	    TEST(test_nothing_is_handed_over_before_its_acknowledgement_has_left),
	    TEST(test_a_sleeper_is_opened_again_by_a_message),
	    TEST(test_a_sleeper_is_refused_by_the_next_worker),
	    TEST(test_a_sleeper_ends_with_its_actor),
	    TEST(test_a_gap_of_a_sleeper_is_asked_for),
	    TEST(test_a_gap_that_stays_closes),
	    TEST(test_a_client_that_left_is_reported_when_the_actor_runs),
	    TEST(test_what_cannot_be_remembered_does_not_hibernate),
	    TEST(test_a_sleeper_asks_after_a_reconnect),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
