/* A ring of lines against a plain list of what it must still hold. */
#include "base/log_ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_lines_come_in_order_with_their_numbers(void **state)
{
	(void)state;
	struct log_ring *r = log_ring_new(4096);
	struct slice s;
	struct log_ring_cursor c = {0};
	assert_false(log_ring_next(r, &c, &s));
	log_ring_add(r, SLICE_LIT("one\n"));
	log_ring_add(r, SLICE_LIT("two\n"));
	assert_true(log_ring_next(r, &c, &s));
	assert_int_equal(c.number, 2);
	assert_true(slice_is(s, "one\n"));
	assert_true(log_ring_next(r, &c, &s));
	assert_int_equal(c.number, 3);
	assert_true(slice_is(s, "two\n"));
	assert_false(log_ring_next(r, &c, &s));
	log_ring_free(r);
}

static void test_a_line_over_the_cap_is_left_out(void **state)
{
	(void)state;
	char large[300];
	struct log_ring *r = log_ring_new(256);
	struct slice s;
	struct log_ring_cursor c = {0};
	memset(large, 'x', sizeof(large));
	log_ring_add(r, SLICE_LIT("kept"));
	log_ring_add(r, slice_of(large, sizeof(large)));
	assert_true(log_ring_next(r, &c, &s));
	assert_true(slice_is(s, "kept"));
	log_ring_free(r);
}

/* Whatever the sizes, what is there is the newest, gapless and unharmed. */
static void test_random_lines_push_out_the_oldest(void **state)
{
	(void)state;
	enum { CAP = 1024, LINES = 20000 };
	struct log_ring *r = log_ring_new(CAP);
	srand(7);
	for (uint64_t n = 1; n <= LINES; n++) {
		char text[200];
		size_t len = (size_t)snprintf(text, sizeof(text), "%06llu", (unsigned long long)n);
		size_t more = (size_t)rand() % 150;
		memset(text + len, 'a' + (int)(n % 26), more);
		log_ring_add(r, slice_of(text, len + more));
		struct log_ring_cursor c = {0};
		uint64_t expect = 0;
		size_t bytes = 0;
		for (struct slice s; log_ring_next(r, &c, &s);) {
			uint64_t at = c.number - 1;
			assert_true(expect == 0 || at == expect);
			expect = at + 1;
			char digits[7] = {0};
			memcpy(digits, s.p, 6);
			assert_int_equal(strtoull(digits, NULL, 10), at);
			for (size_t i = 6; i < s.n; i++)
				assert_int_equal(s.p[i], 'a' + (int)(at % 26));
			bytes += s.n;
		}
		assert_int_equal(expect, n + 1);
		assert_true(bytes <= CAP);
		assert_true(n < 20 || bytes > CAP / 4);
	}
	log_ring_free(r);
}

/* A reader far behind goes on with the oldest line there is; one that is up to date sees each new one once. */
static void test_a_cursor_outlives_what_it_missed(void **state)
{
	(void)state;
	struct log_ring *r = log_ring_new(512);
	struct log_ring_cursor behind = {0}, ahead = {0};
	struct slice s;
	log_ring_add(r, SLICE_LIT("first"));
	assert_true(log_ring_next(r, &behind, &s));
	for (int i = 0; i < 1000; i++) {
		char text[32];
		int n = snprintf(text, sizeof(text), "line %d", i);
		log_ring_add(r, slice_of(text, (size_t)n));
		while (log_ring_next(r, &ahead, &s))
			;
		assert_true(slice_is(s, text));
	}
	assert_true(log_ring_next(r, &behind, &s));
	assert_true(behind.number > 900 && behind.number < ahead.number);
	log_ring_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines_come_in_order_with_their_numbers),
	    cmocka_unit_test(test_a_line_over_the_cap_is_left_out),
	    cmocka_unit_test(test_random_lines_push_out_the_oldest),
	    cmocka_unit_test(test_a_cursor_outlives_what_it_missed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
