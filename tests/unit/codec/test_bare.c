/* BARE primitives: both ends of every range, every failure, nothing read beyond the end. */
#include "codec/bare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void test_numbers(void **state)
{
	(void)state;
	const uint64_t uints[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX};
	struct buf out;
	buf_init(&out, 1000);
	struct bare_writer w = bare_start(&out);
	bare_put_u8(&w, 200);
	bare_put_u16(&w, 0x1234);
	bare_put_u32(&w, UINT32_MAX);
	bare_put_u64(&w, UINT64_MAX);
	bare_put_i64(&w, INT64_MIN);
	bare_put_bool(&w, true);
	for (size_t i = 0; i < ARRAY_SIZE(uints); i++)
		bare_put_uint(&w, uints[i]);
	assert_int_equal(bare_end(&w), 0);
	assert_memory_equal(out.mem, "\xc8\x34\x12\xff\xff\xff\xff", 7);

	struct bare_reader r = bare_reader_of(buf_slice(&out));
	assert_int_equal(bare_u8(&r), 200);
	assert_int_equal(bare_u16(&r), 0x1234);
	assert_int_equal(bare_u32(&r), UINT32_MAX);
	assert_true(bare_u64(&r) == UINT64_MAX);
	assert_true(bare_i64(&r) == INT64_MIN);
	assert_true(bare_bool(&r));
	for (size_t i = 0; i < ARRAY_SIZE(uints); i++)
		assert_true(bare_uint(&r) == uints[i]);
	assert_int_equal(bare_left(&r), 0);
	assert_int_equal(r.outcome, 0);
	buf_done(&out);
}

static void test_varint_forms(void **state)
{
	(void)state;
	const struct {
		struct slice bytes;
		uint64_t value;
		int outcome;
	} cases[] = {
	    {SLICE_LIT("\x80\x00"), 0, 0}, /* longer than needed */
	    {SLICE_LIT("\xac\x02"), 300, 0},
	    {SLICE_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), UINT64_MAX, 0},
	    {SLICE_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), 0, BARE_BAD},
	    {SLICE_LIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), 0, BARE_BAD},
	    {SLICE_LIT("\x80"), 0, BARE_SHORT},
	    {SLICE_LIT(""), 0, BARE_SHORT},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bare_reader r = bare_reader_of(cases[i].bytes);
		assert_true(bare_uint(&r) == cases[i].value);
		assert_int_equal(r.outcome, cases[i].outcome);
		assert_int_equal(bare_left(&r), 0);
	}
}

static void test_bytes_and_text(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 1000);
	struct bare_writer w = bare_start(&out);
	bare_put_data(&w, SLICE_LIT("\xff\0"));
	bare_put_str(&w, SLICE_LIT("na\xc3\xafve \xf0\x9f\x8e\xad text with sixteen ASCII letters"));
	bare_put_str(&w, SLICE_NONE);
	bare_put_raw(&w, SLICE_LIT("abcd"));
	assert_int_equal(bare_end(&w), 0);
	struct bare_reader r = bare_reader_of(buf_slice(&out));
	assert_true(slice_eq(bare_data(&r), SLICE_LIT("\xff\0")));
	assert_true(slice_starts(bare_str(&r), "na\xc3\xafve"));
	assert_int_equal(bare_str(&r).n, 0);
	assert_memory_equal(bare_fixed(&r, 4), "abcd", 4);
	assert_int_equal(r.outcome, 0);
	assert_null(bare_fixed(&r, 1));
	assert_int_equal(r.outcome, BARE_SHORT);
	buf_done(&out);
}

/* The first failure stays; after it there is nothing to read. */
static void test_failed_reader(void **state)
{
	(void)state;
	struct bare_reader r = bare_reader_of(SLICE_LIT("\x02\x01\x01\x01"));
	assert_false(bare_bool(&r));
	assert_int_equal(r.outcome, BARE_BAD);
	assert_int_equal(bare_u16(&r), 0);
	assert_int_equal(bare_data(&r).n, 0);
	assert_int_equal(r.outcome, BARE_BAD);

	r = bare_reader_of(SLICE_LIT("\x07"));
	assert_int_equal(bare_tag(&r, 7), 0);
	assert_int_equal(r.outcome, BARE_BAD_TAG);

	/* One byte more than there is. */
	r = bare_reader_of(SLICE_LIT("\x03xy"));
	assert_null(bare_data(&r).p);
	assert_int_equal(r.outcome, BARE_SHORT);

	/* Counts are held against what can follow. */
	r = bare_reader_of(SLICE_LIT("\x02xxxxxxxxxxxxxxx"));
	assert_int_equal(bare_count(&r, 8), 0);
	assert_int_equal(r.outcome, BARE_SHORT);
	r = bare_reader_of(SLICE_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"));
	assert_int_equal(bare_count(&r, 1), 0);
	assert_int_equal(r.outcome, BARE_SHORT);

	/* A lone continuation byte, half of a surrogate pair, an overlong form, a cut character. */
	const struct slice bad[] = {SLICE_LIT("\x0a"
					      "12345678\x80."),
				    SLICE_LIT("\x03\xed\xa0\x80"), SLICE_LIT("\x02\xc0\xaf"),
				    SLICE_LIT("\x03\xf0\x9f\x8e")};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		r = bare_reader_of(bad[i]);
		assert_int_equal(bare_str(&r).n, 0);
		assert_int_equal(r.outcome, BARE_BAD_TEXT);
	}
}

/* What fails leaves the buf as it was, a failure before it included. */
static void test_failed_writer(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 8);
	buf_add_str(&out, "ab");
	struct bare_writer w = bare_start(&out);
	bare_put_data(&w, SLICE_LIT("123456"));
	bare_put_u8(&w, 0);
	assert_int_equal(bare_end(&w), BARE_FULL);
	assert_true(slice_is(buf_slice(&out), "ab"));
	assert_false(out.over);

	w = bare_start(&out);
	bare_put_str(&w, SLICE_LIT("\xff"));
	bare_put_u8(&w, 0);
	assert_int_equal(bare_end(&w), BARE_BAD_TEXT);
	assert_true(slice_is(buf_slice(&out), "ab"));

	buf_add_str(&out, "too much for it");
	w = bare_start(&out);
	bare_put_u8(&w, 'c');
	assert_int_equal(bare_end(&w), 0);
	assert_true(slice_is(buf_slice(&out), "abc"));
	assert_true(out.over);
	buf_done(&out);
}

static void test_every_outcome_has_words(void **state)
{
	(void)state;
	for (int i = BARE_SHORT; i <= BARE_FULL; i++) {
		for (int j = BARE_SHORT; j < i; j++)
			assert_string_not_equal(bare_why(i), bare_why(j));
	}
	assert_string_equal(bare_why(BARE_FULL + 1), "an unknown failure");
	assert_string_equal(bare_why(-1), "an unknown failure");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_numbers),        cmocka_unit_test(test_varint_forms),
	    cmocka_unit_test(test_bytes_and_text), cmocka_unit_test(test_failed_reader),
	    cmocka_unit_test(test_failed_writer),  cmocka_unit_test(test_every_outcome_has_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
