/* What each end of a connection means. */
#include "engine/engine_reason.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct engine_reason *close_of(unsigned code, const char *reason, bool welcomed)
{
	const struct ws_client_end end = {
	    .why = WS_CLIENT_CLOSED, .code = code, .reason = slice_str(reason), .text = "x"};
	return engine_reason_of(&end, welcomed);
}

static void test_close_reasons(void **state)
{
	(void)state;
	static const struct {
		const char *reason;
		enum engine_verdict before, after; /* the engine's welcome */
	} cases[] = {
	    {"ws.eviction#1w8k6y2wt1gzfkxeq3sok5esnlal00", ENGINE_EVICTED, ENGINE_EVICTED},
	    {"ws.eviction", ENGINE_EVICTED, ENGINE_EVICTED},
	    {"ws.evictions#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"ws.going_away#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"ws.closed#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"core.internal_error#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"ws.invalid_packet#a", ENGINE_UNSUPPORTED, ENGINE_RETRY},
	    {"ws.invalid_initial_packet#a", ENGINE_RETRY_SLOW, ENGINE_RETRY_SLOW},
	    {"ws.timed_out_waiting_for_init#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"ws.invalid_url#a", ENGINE_RETRY_SLOW, ENGINE_RETRY_SLOW},
	    {"namespace.not_found#a", ENGINE_RETRY_SLOW, ENGINE_RETRY_SLOW},
	    {"guard.missing_header#a", ENGINE_RETRY_SLOW, ENGINE_RETRY_SLOW},
	    {"api.forbidden#a", ENGINE_RETRY_SLOW, ENGINE_RETRY_SLOW},
	    {"guard.must_use_regional_host#a", ENGINE_RETRY_SLOW, ENGINE_RETRY_SLOW},
	    {"guard.websocket_not_supported#a", ENGINE_RETRY_SLOW, ENGINE_RETRY_SLOW},
	    {"guard.rate_limit#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"guard.route_dispatch_timeout#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"something.new#a", ENGINE_RETRY, ENGINE_RETRY},
	    {"", ENGINE_RETRY, ENGINE_RETRY},
	    {"#", ENGINE_RETRY, ENGINE_RETRY},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* The code means nothing. */
		for (unsigned code = 1000; code <= 1011; code += 11) {
			assert_int_equal(close_of(code, cases[i].reason, false)->verdict, cases[i].before);
			assert_int_equal(close_of(code, cases[i].reason, true)->verdict, cases[i].after);
		}
	}
}

static void test_connections_that_never_opened(void **state)
{
	(void)state;
	for (int why = WS_CLIENT_RESOLVE; why <= WS_CLIENT_LOST; why++) {
		const struct ws_client_end end = {.why = (enum ws_client_why)why, .text = "x"};
		assert_int_equal(engine_reason_of(&end, false)->verdict, ENGINE_RETRY);
	}
	struct ws_client_end end = {.why = WS_CLIENT_UPGRADE, .status = 403, .text = "x"};
	assert_int_equal(engine_reason_of(&end, false)->verdict, ENGINE_RETRY_SLOW);
	end.status = 404;
	assert_int_equal(engine_reason_of(&end, false)->verdict, ENGINE_RETRY);
	assert_non_null(engine_reason_of(&end, false)->advice);
}

static void test_the_part_that_is_the_same_each_time(void **state)
{
	(void)state;
	assert_true(slice_is(engine_reason_code(SLICE_LIT("a.b#ray")), "a.b"));
	assert_true(slice_is(engine_reason_code(SLICE_LIT("a.b")), "a.b"));
	assert_true(slice_is(engine_reason_code(SLICE_LIT("a#b#c")), "a"));
	assert_int_equal(engine_reason_code(SLICE_NONE).n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_close_reasons),
	    cmocka_unit_test(test_connections_that_never_opened),
	    cmocka_unit_test(test_the_part_that_is_the_same_each_time),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
