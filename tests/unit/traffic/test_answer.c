/* What a client is told, and what of an answer goes no further. */
#include "traffic/answer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_error_body(void **state)
{
	struct buf out;
	(void)state;
	buf_init(&out, 4096);
	answer_put_error(&out, "actor", "not_found", SLICE_LIT("no \"x\""), NULL);
	assert_string_equal(buf_text(&out),
			    "{\"group\":\"actor\",\"code\":\"not_found\",\"message\":\"no \\\"x\\\"\"}");
	buf_reset(&out);
	answer_put_error(&out, "a", "b", SLICE_LIT("c"), "{\"d\":1}");
	assert_string_equal(buf_text(&out),
			    "{\"group\":\"a\",\"code\":\"b\",\"message\":\"c\",\"metadata\":{\"d\":1}}");
	buf_done(&out);
}

static void test_failures(void **state)
{
	(void)state;
	struct exchange x = {0};
	assert_int_equal(answer_failure(&x, EXCHANGE_TIMEOUT).status, 504);
	assert_int_equal(answer_failure(&x, EXCHANGE_GONE).status, 502);
	char how[] = "it has two lengths";
	x.refusal.message = how;
	assert_string_equal(answer_failure(&x, EXCHANGE_MALFORMED).message, how);
	x.refusal = (struct exchange_refusal){503, "actor", "stopping", NULL, 1};
	struct answer_failure f = answer_failure(&x, EXCHANGE_REFUSED);
	assert_string_equal(f.message, "the actor is stopping");
	assert_int_equal(f.retry_after_s, 1);
	assert_string_equal(answer_sentence("no", "such"), "the request could not be served");
}

static bool ends(enum http_field_id id, bool hop)
{
	struct http_field f = {.id = (uint16_t)id, .hop = hop};
	return answer_ends_here(&f);
}

static void test_fields(void **state)
{
	(void)state;
	assert_true(ends(HTTP_F_OTHER, true));
	assert_false(ends(HTTP_F_OTHER, false));
	assert_true(ends(HTTP_F_X_RIVET_ERROR, false));
	assert_true(ends(HTTP_F_X_RIVET_HIBERNATE, false));
	assert_false(ends(HTTP_F_X_RIVET_OTHER, false));
	assert_false(ends(HTTP_F_CONTENT_LENGTH, false));
}

static void test_streams(void **state)
{
	(void)state;
	struct http_field type = {.name = SLICE_LIT("content-type"), .id = HTTP_F_CONTENT_TYPE};
	struct http_head h = {.n_fields = 1, .fields = &type};
	type.value = SLICE_LIT("Text/Event-Stream; charset=utf-8");
	assert_true(answer_is_stream(&h));
	type.value = SLICE_LIT("text/event");
	assert_false(answer_is_stream(&h));
	assert_string_equal(answer_streaming_unsupported().code, "streaming_unsupported");
	assert_int_equal(answer_too_large().status, 502);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_error_body),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_fields),
	    cmocka_unit_test(test_streams),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
