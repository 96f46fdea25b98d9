/* Fields of answers as the keys of a map, and back. */
#include "engine/engine_head.h"

#include <stdarg.h>
#include <stdio.h>

#include <setjmp.h>

#include <cmocka.h>

static void assert_pairs(const struct http_field *fields, size_t n, const char *want, bool want_unfit)
{
	struct http_head h = {.fields = fields, .n_fields = (uint16_t)n};
	struct slice key, value;
	struct buf pairs, got;
	bool unfit;
	buf_init(&pairs, 65536);
	buf_init(&got, 65536);
	size_t count = engine_head_answer(&h, false, &pairs, &unfit);
	struct runner_walk w = runner_walk_of(runner_list_of(buf_slice(&pairs), count));
	while (runner_pair_next(&w, &key, &value))
		buf_addf(&got, "%.*s=%.*s;", SLICE_FMT(key), SLICE_FMT(value));
	assert_string_equal(buf_text(&got), want);
	assert_int_equal(unfit, want_unfit);
	buf_done(&pairs);
	buf_done(&got);
}

#define FIELD(n, v) ((struct http_field){.name = SLICE_LIT(n), .value = SLICE_LIT(v)})

static void test_repeated_names_differ_in_case(void **state)
{
	(void)state;
	const struct http_field cookies[] = {FIELD("Set-Cookie", "1"), FIELD("set-cookie", "2"),
					     FIELD("SET-COOKIE", "3"), FIELD("Other", "x"), FIELD("set-cookie", "4")};
	assert_pairs(cookies, 5, "set-cookie=1;Set-cookie=2;sEt-cookie=3;other=x;SEt-cookie=4;", false);
}

static void test_where_letters_end_values_are_joined(void **state)
{
	(void)state;
	const struct http_field fields[] = {FIELD("x", "1"), FIELD("X", "2"), FIELD("x", "3"), FIELD("7", "a"),
					    FIELD("7", "b")};
	assert_pairs(fields, 5, "x=1;X=2, 3;7=a, b;", false);
}

static void test_what_is_left_out(void **state)
{
	(void)state;
	struct http_field fields[] = {FIELD("a", "\xc3\xa9"), FIELD("a", "\xe9"), FIELD("a", "2"),
				      FIELD("keep-alive", "5"), FIELD("content-length", "7")};
	fields[3].hop = true;
	fields[4].id = HTTP_F_CONTENT_LENGTH;
	assert_pairs(fields, 5, "a=\xc3\xa9;A=2;", true);
}

static void test_a_map_that_is_no_head(void **state)
{
	struct http_head *h = NULL;
	const char *why = NULL;
	struct buf pairs;
	(void)state;
	buf_init(&pairs, 1 << 20);
	size_t n = 0;
	for (; n <= LIMIT_HTTP_FIELDS; n++) {
		char name[16];
		snprintf(name, sizeof(name), "x%zu", n);
		assert_int_equal(runner_pair_put(&pairs, slice_str(name), SLICE_LIT("v")), 0);
	}
	struct engine_head_in in = {
	    .method = SLICE_LIT("GET"), .path = SLICE_LIT("/"), .headers = runner_list_of(buf_slice(&pairs), n)};
	assert_int_equal(engine_head_request(&in, &h, &why), 431);
	assert_non_null(why);
	in.headers.count = 0;
	assert_int_equal(engine_head_request(&in, &h, &why), 0);
	assert_true(slice_is(http_head_get(h, HTTP_F_HOST)->value, "localhost"));
	mem_free(h);
	buf_done(&pairs);
}

static void test_what_of_a_request_is_left_out(void **state)
{
	static const char *const pairs_of[][2] = {
	    {"Authorization", "Bearer  secret"},
	    {"Content_Length", "7"},
	    {"expect", "100-continue"},
	    {"upgrade", "websocket"},
	    {"http2-settings", "AAMA"},
	    {"sec-websocket-key", "k"},
	    {"accept", " */* "},
	};
	struct http_head *h = NULL;
	const char *why = NULL;
	struct buf pairs;
	(void)state;
	buf_init(&pairs, 1 << 16);
	for (size_t i = 0; i < ARRAY_SIZE(pairs_of); i++)
		assert_int_equal(runner_pair_put(&pairs, slice_str(pairs_of[i][0]), slice_str(pairs_of[i][1])), 0);
	struct engine_head_in in = {.method = SLICE_LIT("POST"),
				    .path = SLICE_LIT("/"),
				    .headers = runner_list_of(buf_slice(&pairs), ARRAY_SIZE(pairs_of)),
				    .body_bytes = 3,
				    .token = "secret"};
	assert_int_equal(engine_head_request(&in, &h, &why), 0);
	assert_int_equal(h->n_fields, 3);
	assert_true(slice_is(h->fields[0].name, "accept") && slice_is(h->fields[0].value, "*/*"));
	assert_int_equal(h->fields[1].id, HTTP_F_HOST);
	assert_int_equal(h->framing, HTTP_FRAMING_LENGTH);
	assert_int_equal(h->length, 3);
	mem_free(h);
	in.token = "another";
	in.streamed = true;
	assert_int_equal(engine_head_request(&in, &h, &why), 0);
	assert_int_equal(h->fields[0].id, HTTP_F_AUTHORIZATION);
	assert_int_equal(h->framing, HTTP_FRAMING_CHUNKED);
	mem_free(h);
	in.path = SLICE_LIT("http://a/");
	assert_int_equal(engine_head_request(&in, &h, &why), 400);
	buf_done(&pairs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_repeated_names_differ_in_case),
	    cmocka_unit_test(test_where_letters_end_values_are_joined),
	    cmocka_unit_test(test_what_is_left_out),
	    cmocka_unit_test(test_a_map_that_is_no_head),
	    cmocka_unit_test(test_what_of_a_request_is_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
