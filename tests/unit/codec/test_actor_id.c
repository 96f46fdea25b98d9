/* Ids against the engine's vectors and every way to be malformed; keys against its rules. */
#include "codec/actor_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char zeros[] = "tlf0xcg1buacno4zofgpr7isbeal00";
static const char ones[] = "5jt21rdxb03thvkfbgaxtejo3edl00";

static void test_vectors(void **state)
{
	(void)state;
	uint8_t random[16];
	memset(random, 0, sizeof(random));
	assert_string_equal(actor_id_from(random, 1).text, zeros);
	memset(random, 0xff, sizeof(random));
	assert_string_equal(actor_id_from(random, 1).text, ones);
}

static void test_new(void **state)
{
	(void)state;
	struct actor_id a = actor_id_new(), b = actor_id_new(), c;
	assert_string_not_equal(a.text, b.text);
	assert_int_equal(actor_id_parse(slice_str(a.text), &c), 0);
	assert_string_equal(a.text, c.text);
	assert_int_equal(strlen(a.text), ACTOR_ID_TEXT);
	/* Label 1, UUIDv4: the two fixed bits at the top of byte 8 do not reach the last digits, the label does. */
	assert_string_equal(a.text + 27, "l00");
	assert_true(a.text[26] >= 'a' && a.text[26] <= 'd');
}

static void test_upper_case(void **state)
{
	(void)state;
	struct actor_id id;
	assert_int_equal(actor_id_parse(SLICE_LIT("TLF0XCG1BUACNO4ZOFGPR7ISBEAL00"), &id), 0);
	assert_string_equal(id.text, zeros);
}

static void test_other_datacenter(void **state)
{
	(void)state;
	uint8_t random[16] = {1, 2, 3};
	const uint16_t labels[] = {0, 2, 255, 256, 257, 65535};
	for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
		struct actor_id other = actor_id_from(random, labels[i]), id;
		assert_int_equal(actor_id_parse(slice_str(other.text), &id), ACTOR_ID_OTHER_DATACENTER);
		assert_string_equal(id.text, other.text);
	}
}

static void expect_malformed(struct slice text)
{
	struct actor_id id = {.text = "untouched"};
	assert_int_equal(actor_id_parse(text, &id), ACTOR_ID_MALFORMED);
	assert_string_equal(id.text, "untouched");
}

static void test_malformed(void **state)
{
	(void)state;
	char text[32] = "tlf0xcg1buacno4zofgpr7isbeal00";
	expect_malformed(SLICE_NONE);
	expect_malformed(slice_of(text, 29));
	expect_malformed(SLICE_LIT("tlf0xcg1buacno4zofgpr7isbeal000"));
	for (size_t at = 0; at < ACTOR_ID_TEXT; at++) {
		const char strangers[] = {'-', '/', ':', '@', '[', '`', '{', ' ', '\0', '\x80'};
		for (size_t i = 0; i < sizeof(strangers); i++) {
			char kept = text[at];
			text[at] = strangers[i];
			expect_malformed(slice_of(text, ACTOR_ID_TEXT));
			text[at] = kept;
		}
	}
}

/* Only ids whose least significant byte is 1 are of a version we know. */
static void test_version(void **state)
{
	(void)state;
	char text[32] = "tlf0xcg1buacno4zofgpr7isbeal00";
	text[0]++;
	expect_malformed(slice_of(text, ACTOR_ID_TEXT));
	expect_malformed(SLICE_LIT("000000000000000000000000000000"));
	expect_malformed(SLICE_LIT("nonsensenonsensenonsensenonsen"));
}

/* 30 digits hold 155 bits, an id has 152. */
static void test_overflow(void **state)
{
	(void)state;
	struct actor_id id;
	uint8_t random[16];
	memset(random, 0xff, sizeof(random));
	struct actor_id most = actor_id_from(random, 0xffff);
	assert_int_equal(actor_id_parse(slice_str(most.text), &id), ACTOR_ID_OTHER_DATACENTER);
	expect_malformed(SLICE_LIT("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"));
	/* "tlf0...l00" with 2^152 more: its low byte is still 1. */
	expect_malformed(SLICE_LIT("xge3o7sdtcetmyfsa1cqsg1i6a8z74"));
}

static void expect_key(const struct slice *parts, size_t n, const char *want)
{
	struct buf out;
	buf_init(&out, 1000);
	actor_key_join(parts, n, &out);
	assert_string_equal(buf_text(&out), want);
	buf_done(&out);
}

static void test_keys(void **state)
{
	(void)state;
	const struct slice plain[] = {SLICE_LIT("a/b"), SLICE_LIT("c")};
	const struct slice empty_inside[] = {SLICE_LIT("a"), SLICE_NONE, SLICE_LIT("c\\d")};
	const struct slice empty[] = {SLICE_NONE};
	const struct slice zero[] = {SLICE_LIT("0"), SLICE_LIT("\\0"), SLICE_LIT("/")};
	expect_key(NULL, 0, "/");
	expect_key(empty, 1, "\\0");
	expect_key(plain, 2, "a\\/b/c");
	expect_key(empty_inside, 3, "a/\\0/c\\\\d");
	expect_key(zero, 3, "0/\\\\0/\\/");
}

static void test_key_over(void **state)
{
	(void)state;
	const struct slice parts[] = {SLICE_LIT("////")};
	struct buf out;
	buf_init(&out, 7);
	actor_key_join(parts, 1, &out);
	assert_true(out.over);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),    cmocka_unit_test(test_new),
	    cmocka_unit_test(test_upper_case), cmocka_unit_test(test_other_datacenter),
	    cmocka_unit_test(test_malformed),  cmocka_unit_test(test_version),
	    cmocka_unit_test(test_overflow),   cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_key_over),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
