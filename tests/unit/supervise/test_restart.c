/* The waiting times after failures, and what forgets them. */
#include "supervise/restart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW 1000000

static void test_first_retry_is_immediate(void **state)
{
	(void)state;
	struct restart r = {0};
	assert_int_equal(restart_wait_ms(&r, NOW), 0);
	restart_failed(&r, NOW, UINT32_MAX);
	assert_int_equal(restart_wait_ms(&r, NOW), 0);
}

static void test_waits_double_to_thirty_seconds(void **state)
{
	(void)state;
	static const int64_t want[] = {0, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000};
	struct restart r = {0};
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		restart_failed(&r, NOW, 0);
		assert_int_equal(restart_wait_ms(&r, NOW), want[i]);
	}
	for (int i = 0; i < 300; i++) /* past what a byte counts */
		restart_failed(&r, NOW, 0);
	assert_int_equal(restart_wait_ms(&r, NOW), 30000);
	assert_int_equal(r.failures, 255);
}

static void test_jitter_is_added_up_to_a_quarter(void **state)
{
	(void)state;
	int64_t least = INT64_MAX, most = 0;
	for (uint32_t random = 0; random < 5000; random++) {
		struct restart r = {.failures = 1};
		restart_failed(&r, NOW, random * 2654435761u);
		int64_t wait_ms = restart_wait_ms(&r, NOW);
		least = wait_ms < least ? wait_ms : least;
		most = wait_ms > most ? wait_ms : most;
	}
	assert_true(least >= 1000 && least < 1010);
	assert_true(most <= 1250 && most > 1240);
}

static void test_waiting_passes_with_time(void **state)
{
	(void)state;
	struct restart r = {.failures = 2};
	restart_failed(&r, NOW, 0);
	assert_int_equal(restart_wait_ms(&r, NOW + 1999), 1);
	assert_int_equal(restart_wait_ms(&r, NOW + 2000), 0);
	assert_int_equal(restart_wait_ms(&r, NOW + 9000), 0);
}

static void test_a_minute_of_health_forgets(void **state)
{
	(void)state;
	struct restart r = {.failures = 9};
	restart_up(&r, NOW);
	restart_failed(&r, NOW + 60000, 0);
	assert_int_equal(r.failures, 1);
	assert_int_equal(restart_wait_ms(&r, NOW + 60000), 0);
}

static void test_less_than_a_minute_does_not(void **state)
{
	(void)state;
	struct restart r = {.failures = 2};
	restart_up(&r, NOW);
	restart_failed(&r, NOW + 59999, 0);
	assert_int_equal(r.failures, 3);
	assert_int_equal(restart_wait_ms(&r, NOW + 59999), 2000);
	restart_failed(&r, NOW + 200000, 0); /* a failed start: it was not up in between */
	assert_int_equal(r.failures, 4);
}

static void test_an_asked_for_end_keeps_the_tally(void **state)
{
	(void)state;
	struct restart r = {.failures = 4};
	restart_up(&r, NOW);
	restart_stopped(&r, NOW + 59999);
	assert_int_equal(r.failures, 4);
	assert_int_equal(restart_wait_ms(&r, NOW + 59999), 0);
	restart_up(&r, NOW);
	restart_stopped(&r, NOW + 60000);
	assert_int_equal(r.failures, 0);
	restart_failed(&r, NOW + 300000, 0);
	assert_int_equal(r.failures, 1);
}

static void test_five_in_a_row_are_failing(void **state)
{
	(void)state;
	struct restart r = {0};
	for (int i = 0; i < 4; i++)
		restart_failed(&r, NOW, 0);
	assert_false(restart_is_failing(&r));
	restart_failed(&r, NOW, 0);
	assert_true(restart_is_failing(&r));
	restart_up(&r, NOW);
	assert_false(restart_is_failing(&r));
	restart_failed(&r, NOW + 1, 0);
	assert_true(restart_is_failing(&r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_first_retry_is_immediate),
	    cmocka_unit_test(test_waits_double_to_thirty_seconds),
	    cmocka_unit_test(test_jitter_is_added_up_to_a_quarter),
	    cmocka_unit_test(test_waiting_passes_with_time),
	    cmocka_unit_test(test_a_minute_of_health_forgets),
	    cmocka_unit_test(test_less_than_a_minute_does_not),
	    cmocka_unit_test(test_an_asked_for_end_keeps_the_tally),
	    cmocka_unit_test(test_five_in_a_row_are_failing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
