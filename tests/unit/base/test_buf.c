/* Growing bytes: growth, consumption at the front, the cap and its stickiness. */
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_appending(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1000);
	assert_null(b.mem);
	buf_add(&b, SLICE_NONE);
	assert_null(b.mem);
	buf_add(&b, SLICE_LIT("a\0b"));
	buf_add_str(&b, "cd");
	buf_add_byte(&b, 'e');
	buf_add_u64(&b, 0);
	buf_add_u64(&b, UINT64_MAX);
	buf_addf(&b, "%s-%d", "f", -1);
	assert_true(slice_eq(buf_slice(&b), SLICE_LIT("a\0bcde018446744073709551615f--1")));
	assert_int_equal(buf_len(&b), 31);
	assert_false(b.over);
	buf_done(&b);
	assert_int_equal(buf_len(&b), 0);
	buf_add_str(&b, "again");
	assert_string_equal(buf_text(&b), "again");
	buf_done(&b);
}

/* A queue that is written and read for long holds only what is unread. */
static void test_as_a_queue(void **state)
{
	(void)state;
	struct buf b;
	uint8_t in = 0, out = 0;
	buf_init(&b, 300);
	for (int round = 0; round < 10000; round++) {
		for (int i = 0; i < round % 7 + 20; i++) {
			uint8_t *to = buf_reserve(&b, 1);
			assert_non_null(to);
			*to = in++;
			buf_claim(&b, 1);
		}
		while (buf_len(&b) > (size_t)(round % 250)) {
			assert_non_null(b.mem);
			if (b.mem != NULL)
				assert_int_equal(b.mem[b.at], out++);
			buf_drop(&b, 1);
		}
	}
	assert_true(b.room <= 512);
	assert_false(b.over);
	buf_done(&b);
}

static void test_cap(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 4);
	buf_add_str(&b, "abcd");
	assert_false(b.over);
	buf_add_byte(&b, 'e');
	assert_true(b.over);
	assert_string_equal(buf_text(&b), "abcd");
	buf_drop(&b, 2);
	/* Room again, but the loss is remembered until reset. */
	buf_add_str(&b, "ef");
	assert_true(b.over);
	assert_string_equal(buf_text(&b), "cdef");
	assert_null(buf_reserve(&b, 1));
	assert_null(buf_reserve(&b, SIZE_MAX));
	buf_reset(&b);
	assert_false(b.over);
	assert_int_equal(buf_len(&b), 0);
	buf_add_str(&b, "abcde");
	assert_true(b.over);
	assert_int_equal(buf_len(&b), 0);
	buf_done(&b);
}

/* buf_addf needs room for its text alone. */
static void test_addf_at_the_cap(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 4);
	buf_addf(&b, "%d", 1234);
	assert_false(b.over);
	assert_string_equal(buf_text(&b), "1234");
	buf_addf(&b, "%d", 5);
	assert_true(b.over);
	buf_done(&b);
}

static void test_claim_less(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 10000);
	uint8_t *to = buf_reserve(&b, 10000);
	memcpy(to, "xyz", 3);
	buf_claim(&b, 2);
	assert_string_equal(buf_text(&b), "xy");
	buf_done(&b);
}

/* Emptied, a large buf gives its memory back, a small one keeps it. */
static void test_memory_back(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 1 << 20);
	buf_add_str(&b, "small");
	buf_drop(&b, 5);
	assert_non_null(b.mem);
	assert_non_null(buf_reserve(&b, 100000));
	buf_claim(&b, 100000);
	buf_drop(&b, 99999);
	assert_non_null(b.mem);
	buf_drop(&b, 1);
	assert_null(b.mem);
	assert_int_equal(b.room, 0);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_appending),  cmocka_unit_test(test_as_a_queue),
	    cmocka_unit_test(test_cap),        cmocka_unit_test(test_addf_at_the_cap),
	    cmocka_unit_test(test_claim_less), cmocka_unit_test(test_memory_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
