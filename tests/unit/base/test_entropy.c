/* Bytes from the pool: never the same twice, across its refills and between threads. */
#include "base/entropy.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define DRAWS 2000

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

static void expect_distinct(uint8_t (*drawn)[16], size_t n)
{
	qsort(drawn, n, sizeof(*drawn), compare);
	for (size_t i = 1; i < n; i++)
		assert_memory_not_equal(drawn[i - 1], drawn[i], 16);
}

static void *draw(void *arg)
{
	uint8_t(*to)[16] = arg;
	for (size_t i = 0; i < DRAWS; i++)
		entropy_take(to[i], 16);
	return NULL;
}

static void test_no_draw_repeats(void **state)
{
	static uint8_t drawn[DRAWS][16];
	(void)state;
	draw(drawn);
	expect_distinct(drawn, DRAWS);
}

static void test_threads_do_not_share(void **state)
{
	static uint8_t drawn[2 * DRAWS][16];
	pthread_t other;
	(void)state;
	assert_int_equal(pthread_create(&other, NULL, draw, drawn), 0);
	draw(drawn + DRAWS);
	pthread_join(other, NULL);
	expect_distinct(drawn, (size_t)2 * DRAWS);
}

/* Sizes that do not divide the pool, up to all of it: each draw is filled whole. */
static void test_any_size(void **state)
{
	uint8_t bytes[ENTROPY_AT_ONCE], seen[ENTROPY_AT_ONCE];
	(void)state;
	for (size_t n = 0; n <= ENTROPY_AT_ONCE; n += 15) {
		memset(seen, 0, sizeof(seen));
		for (unsigned turn = 0; turn < 64; turn++) {
			memset(bytes, 0, sizeof(bytes));
			entropy_take(bytes, n);
			for (size_t i = 0; i < sizeof(bytes); i++)
				seen[i] |= bytes[i];
		}
		for (size_t i = 0; i < sizeof(bytes); i++)
			assert_int_equal(seen[i] != 0, i < n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_no_draw_repeats),
	    cmocka_unit_test(test_threads_do_not_share),
	    cmocka_unit_test(test_any_size),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
