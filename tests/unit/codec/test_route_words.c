/* Routing words among subprotocols. */
#include "codec/route_words.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct buf kept;

static struct route_words take(const char *first, const char *second)
{
	struct http_field fields[] = {
	    {.id = HTTP_F_SEC_WEBSOCKET_PROTOCOL, .value = slice_str(first)},
	    {.id = HTTP_F_OTHER, .value = SLICE_LIT("rivet_target.no")},
	    {.id = HTTP_F_SEC_WEBSOCKET_PROTOCOL, .value = slice_str(second)},
	};
	struct http_head h = {.fields = fields, .n_fields = second == NULL ? 2 : 3};
	struct route_words w;
	buf_reset(&kept);
	route_words_take(&h, &w, &kept);
	return w;
}

static void test_words(void **state)
{
	(void)state;
	buf_init(&kept, 1024);
	struct route_words w = take("rivet, rivet_target.actor ,chat", "rivet_token.s3,rivet_skip_ready_wait, v2");
	assert_true(slice_is(w.target, "actor"));
	assert_true(slice_is(w.token, "s3"));
	assert_int_equal(w.actor.n, 0);
	assert_true(w.skip_ready_wait && w.offered_rivet);
	assert_string_equal(buf_text(&kept), "rivet, chat, v2");
	w = take("rivet_actor.a,rivet_actor.b", NULL);
	assert_true(slice_is(w.actor, "a"));
	assert_false(w.offered_rivet || w.skip_ready_wait);
	assert_int_equal(buf_len(&kept), 0);
	buf_done(&kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_words)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
