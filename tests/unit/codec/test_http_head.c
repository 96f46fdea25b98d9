/* What a head says once it has passed: fields, their ids, hop-by-hop marks, and the ways to look into it. */
#include "codec/http_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Heads live only inside the event: the check runs there. */
struct check {
	void (*fn)(const struct http_head *h);
	int calls;
};

static void on_head(void *arg, const struct http_head *h)
{
	struct check *c = arg;
	c->calls++;
	c->fn(h);
}

static void on_body(void *arg, struct slice s)
{
	(void)arg;
	(void)s;
}

static void with_head(enum http_kind kind, const char *text, void (*fn)(const struct http_head *h))
{
	static const struct http_parser_events events = {.head = on_head, .body = on_body};
	struct check c = {.fn = fn};
	struct http_parser *p = http_parser_new(kind, 1000, &events, &c);
	size_t used;
	int outcome = http_parser_feed(p, slice_str(text), &used);
	assert_int_not_equal(outcome, HTTP_BAD);
	assert_int_equal(c.calls, 1);
	http_parser_free(p);
}

static void assert_slice(struct slice got, const char *want)
{
	assert_int_equal(got.n, strlen(want));
	assert_true(slice_is(got, want));
}

static void check_fields(const struct http_head *h)
{
	assert_slice(h->method, "POST");
	assert_slice(h->target, "/a?b");
	assert_int_equal(h->minor, 1);
	assert_int_equal(h->status, 0);
	assert_int_equal(h->n_fields, 7);
	assert_slice(h->fields[0].name, "hOsT");
	assert_slice(h->fields[0].value, "a");
	assert_int_equal(h->fields[0].id, HTTP_F_HOST);
	assert_slice(h->fields[1].name, "X-Empty");
	assert_slice(h->fields[1].value, "");
	assert_int_equal(h->fields[1].id, HTTP_F_OTHER);
	assert_slice(h->fields[2].value, "");
	assert_slice(h->fields[3].name, "Set-Cookie");
	assert_slice(h->fields[3].value, "a=1;\t b");
	assert_slice(h->fields[4].value, "a=2");
	assert_slice(h->fields[5].name, "x_rivet_Token");
	assert_int_equal(h->fields[5].id, HTTP_F_X_RIVET_TOKEN);
	assert_int_equal(h->fields[6].id, HTTP_F_CONTENT_LENGTH);
	assert_int_equal(h->length, 5);
	/* get, find */
	assert_ptr_equal(http_head_get(h, HTTP_F_HOST), &h->fields[0]);
	assert_ptr_equal(http_head_find(h, "set-cookie"), &h->fields[3]);
	assert_ptr_equal(http_head_find(h, "x_rivet_token"), &h->fields[5]);
	assert_null(http_head_find(h, "x-rivet-token"));
	assert_null(http_head_find(h, "set-cooki"));
	assert_null(http_head_get(h, HTTP_F_ORIGIN));
}

static void test_fields(void **state)
{
	(void)state;
	with_head(HTTP_REQUEST,
		  "POST /a?b HTTP/1.1\r\nhOsT: a\r\nX-Empty:\r\nX-Blank: \t \r\nSet-Cookie:a=1;\t b \t\r\n"
		  "Set-Cookie: a=2\r\nx_rivet_Token: t\r\nContent-Length: 5\r\n\r\n",
		  check_fields);
}

static void check_hops(const struct http_head *h)
{
	static const char *const hops[] = {"connection", "keep-alive", "proxy-connection", "te",
					   "trailer",    "upgrade",    "X-Mine",           "proxy-authorization"};
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_SIZE(hops); i++)
		assert_true(http_head_find(h, hops[i])->hop);
	for (size_t i = 0; i < h->n_fields; i++)
		n += h->fields[i].hop;
	/* Both lines of X-Mine and of Connection; not Host, though it is named. */
	assert_int_equal(n, ARRAY_SIZE(hops) + 2);
	assert_false(http_head_get(h, HTTP_F_HOST)->hop);
	assert_false(http_head_find(h, "x-mine-too")->hop);
	assert_false(h->upgrade);
	assert_false(h->keep_alive);
}

static void test_hop_by_hop(void **state)
{
	(void)state;
	with_head(HTTP_REQUEST,
		  "GET / HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\nConnection: , x-mine ,Host\r\nKeep-Alive: 1\r\n"
		  "Proxy-Connection: x\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: h2c\r\nX-MINE: 2\r\n"
		  "Proxy-Authorization: x\r\nX-Mine-Too: 3\r\nConnection: close\r\n\r\n",
		  check_hops);
}

static void check_tokens(const struct http_head *h)
{
	assert_true(http_head_has_token(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL, "rivet"));
	assert_true(http_head_has_token(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL, "RIVET_target.actor"));
	assert_true(http_head_has_token(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL, "last"));
	assert_false(http_head_has_token(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL, "rive"));
	assert_false(http_head_has_token(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL, "rivet_target"));
	assert_false(http_head_has_token(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL, ""));
	assert_false(http_head_has_token(h, HTTP_F_CONNECTION, "rivet"));
}

static void test_tokens(void **state)
{
	(void)state;
	with_head(HTTP_REQUEST,
		  "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: , rivet\t,rivet_target.actor ,\r\n"
		  "Sec-WebSocket-Protocol:last\r\n\r\n",
		  check_tokens);
}

static void check_answer(const struct http_head *h)
{
	assert_int_equal(h->status, 404);
	assert_slice(h->reason, "Not Found Here");
	assert_int_equal(h->method.n, 0);
	assert_int_equal(h->target.n, 0);
	assert_int_equal(http_head_get(h, HTTP_F_X_RIVET_ERROR)->value.n, 1);
	assert_int_equal(h->framing, HTTP_FRAMING_LENGTH);
}

static void test_answer(void **state)
{
	(void)state;
	with_head(HTTP_RESPONSE, "HTTP/1.1 404 Not Found Here\r\nx-rivet-error: y\r\nContent-Length: 0\r\n\r\n",
		  check_answer);
}

static struct http_head *copied;

static void check_copy(const struct http_head *h)
{
	copied = http_head_copy(h);
}

static void test_copy(void **state)
{
	(void)state;
	char text[] = "GET /x HTTP/1.1\r\nHost: a\r\nConnection: x-1\r\nX-1: y\r\nX-2:\r\n\r\n";
	with_head(HTTP_REQUEST, text, check_copy);
	memset(text, '?', sizeof(text) - 1);
	assert_slice(copied->method, "GET");
	assert_slice(copied->target, "/x");
	assert_int_equal(copied->reason.n, 0);
	assert_int_equal(copied->n_fields, 4);
	assert_true(copied->keep_alive);
	assert_slice(copied->fields[2].name, "X-1");
	assert_slice(copied->fields[2].value, "y");
	assert_true(copied->fields[2].hop);
	assert_slice(copied->fields[3].name, "X-2");
	assert_slice(copied->fields[3].value, "");
	assert_int_equal(copied->fields[0].id, HTTP_F_HOST);
	mem_free(copied);
	with_head(HTTP_RESPONSE, "HTTP/1.1 200 Fine\r\n\r\n", check_copy);
	assert_int_equal(copied->n_fields, 0);
	assert_slice(copied->reason, "Fine");
	mem_free(copied);
}

/* That they are the parser's guards is shown by tests/fuzz/fuzz_http_parts.c; here, that each is there. */
static void test_a_request_in_parts(void **state)
{
	static const struct {
		const char *method, *target, *name, *value;
		unsigned status;
	} rows[] = {
	    {"GET", "/a?b", "x", "a\tb\xe9", 0},
	    {"M-SEARCH", "/", "x", "", 0},
	    {"", "/", "x", "v", 400},
	    {"GET", "", "x", "v", 400},
	    {"G ET", "/", "x", "v", 400},
	    {"BREW", "/", "x", "v", 501},
	    {"CONNECT", "/", "x", "v", 405},
	    {"GET", "/a b", "x", "v", 400},
	    {"GET", "/a#b", "x", "v", 400},
	    {"GET", "http://other/", "x", "v", 400},
	    {"GET", "/0123456789012345678901234567890123456789", "x", "v", 414},
	    {"GET", "/", "", "v", 400},
	    {"GET", "/", "x:y", "v", 400},
	    {"GET", "/", "x\r\ny", "v", 400},
	    {"GET", "/", "x\xe9", "v", 400},
	    {"GET", "/", "x", "a\nb", 400},
	    {"GET", "/", "x", "a\x7f", 400},
	    {"GET", "/", "Host", "a", 400},
	    {"GET", "/", "content_length", "1", 400},
	    {"GET", "/", "transfer-encoding", "gzip", 501},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct http_field fields[] = {
		    http_field_of(SLICE_LIT("Host"), SLICE_LIT("here")),
		    http_field_of(slice_str(rows[i].name), slice_str(rows[i].value)),
		};
		const struct http_parts parts = {slice_str(rows[i].method), slice_str(rows[i].target), fields, 2};
		struct http_head h;
		const char *why = NULL;
		assert_int_equal(http_parts_judge(&parts, 40, &h, &why), rows[i].status);
		assert_int_equal(why == NULL, rows[i].status == 0);
		if (rows[i].status == 0) {
			assert_slice(h.method, rows[i].method);
			assert_slice(h.fields[1].value, rows[i].value);
			assert_int_equal(h.minor, 1);
			assert_true(h.keep_alive);
		}
	}
}

static void test_bounds_of_parts(void **state)
{
	static char big[LIMIT_HTTP_HEAD_BYTES - 9]; /* with the rest as much as there may be */
	struct http_field fields[LIMIT_HTTP_FIELDS + 1];
	struct http_head h;
	const char *why;
	(void)state;
	memset(big, 'v', sizeof(big));
	fields[0] = http_field_of(SLICE_LIT("host"), SLICE_NONE);
	fields[1] = http_field_of(SLICE_LIT("x"), slice_of(big, sizeof(big)));
	struct http_parts parts = {SLICE_LIT("GET"), SLICE_LIT("/"), fields, 2};
	assert_int_equal(http_parts_judge(&parts, 40, &h, &why), 0);
	fields[1].name = SLICE_LIT("xx");
	assert_int_equal(http_parts_judge(&parts, 40, &h, &why), 431);
	for (size_t i = 1; i <= LIMIT_HTTP_FIELDS; i++)
		fields[i] = http_field_of(SLICE_LIT("x"), SLICE_NONE);
	parts.n_fields = LIMIT_HTTP_FIELDS;
	assert_int_equal(http_parts_judge(&parts, 40, &h, &why), 0);
	parts.n_fields++;
	assert_int_equal(http_parts_judge(&parts, 40, &h, &why), 431);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_hop_by_hop),
	    cmocka_unit_test(test_tokens),
	    cmocka_unit_test(test_answer),
	    cmocka_unit_test(test_copy),
	    cmocka_unit_test(test_a_request_in_parts),
	    cmocka_unit_test(test_bounds_of_parts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
