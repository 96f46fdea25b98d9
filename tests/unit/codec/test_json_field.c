/* Strict JSON in, plain JSON out, base64 both ways. */
#include "codec/json_field.h"

#include "base/limits.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void expect_refused(struct slice text, const char *sentence)
{
	struct err e = {0};
	assert_null(json_field_parse(text, &e));
	assert_non_null(strstr(e.text, sentence));
	assert_null(json_field_parse(text, NULL));
}

static void test_parse(void **state)
{
	(void)state;
	static const char *const good[] = {"{}", "[]", " 1 ", "\"a\"", "null", "{\"a\":[{\"b\":1}]}", "\"\\u0000\""};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		json_t *value = json_field_parse(slice_str(good[i]), NULL);
		assert_non_null(value);
		json_decref(value);
	}
	/* Only the slice counts, not what lies behind it. */
	json_t *value = json_field_parse(slice_of("12x", 2), NULL);
	assert_int_equal(json_integer_value(value), 12);
	json_decref(value);
	expect_refused(SLICE_NONE, "line 1");
	expect_refused(SLICE_LIT("{} {}"), "line 1, column 4");
	expect_refused(SLICE_LIT("{\n \"a\": 1,\n \"a\": 2}"), "line 3");
	expect_refused(SLICE_LIT("{\"a\":}"), "line 1");
	expect_refused(SLICE_LIT("{'a':1}"), "line 1");
	expect_refused(SLICE_LIT("\"\xff\""), "decode byte 0xff");
	expect_refused(SLICE_LIT("99999999999999999999"), "too big");
	expect_refused(SLICE_LIT("NaN"), "line 1");
}

static void test_parse_bounds(void **state)
{
	(void)state;
	struct buf text;
	buf_init(&text, LIMIT_JSON_BYTES + 1);
	for (int depth = LIMIT_JSON_DEPTH; depth <= LIMIT_JSON_DEPTH + 1; depth++) {
		buf_reset(&text);
		for (int i = 0; i < depth; i++)
			buf_add_byte(&text, '[');
		buf_add_str(&text, "\"]]}\\\"[[\"");
		for (int i = 0; i < depth; i++)
			buf_add_byte(&text, ']');
		json_t *value = json_field_parse(buf_slice(&text), NULL);
		assert_int_equal(value != NULL, depth == LIMIT_JSON_DEPTH);
		json_decref(value);
	}
	expect_refused(buf_slice(&text), "nested");
	/* Brackets inside of strings do not nest. */
	buf_reset(&text);
	buf_add_byte(&text, '"');
	for (int i = 0; i < 1000; i++)
		buf_add_str(&text, "[{\\\"");
	buf_add_byte(&text, '"');
	json_t *value = json_field_parse(buf_slice(&text), NULL);
	assert_int_equal(json_string_length(value), 3000);
	json_decref(value);
	buf_reset(&text);
	uint8_t *spaces = buf_reserve(&text, LIMIT_JSON_BYTES + 1);
	memset(spaces, ' ', LIMIT_JSON_BYTES + 1);
	spaces[0] = '1';
	value = json_field_parse(slice_of(spaces, LIMIT_JSON_BYTES), NULL);
	assert_non_null(value);
	json_decref(value);
	expect_refused(slice_of(spaces, LIMIT_JSON_BYTES + 1), "too long");
	buf_done(&text);
}

static void test_only(void **state)
{
	(void)state;
	static const char *const known[] = {"a", "bc", NULL};
	struct err e = {0};
	json_t *good = json_field_parse(SLICE_LIT("{\"bc\":1,\"a\":2}"), NULL);
	json_t *bad = json_field_parse(SLICE_LIT("{\"a\":1,\"b\":2}"), NULL);
	json_t *list = json_field_parse(SLICE_LIT("[]"), NULL);
	assert_int_equal(json_field_only(good, known, &e), 0);
	assert_int_equal(json_field_only(bad, known, &e), -EINVAL);
	assert_string_equal(e.text, "unknown field \"b\"");
	assert_int_equal(e.exit_code, EXIT_CODE_CONFIG);
	assert_int_equal(json_field_only(list, known, &e), -EINVAL);
	assert_int_equal(json_field_only(NULL, known, &e), -EINVAL);
	json_decref(good);
	json_decref(bad);
	json_decref(list);
}

static void test_getters(void **state)
{
	(void)state;
	json_t *o = json_field_parse(SLICE_LIT("{\"s\":\"x\\u0000y\",\"i\":-9223372036854775808,\"r\":1.0,\"t\":true,"
					       "\"f\":false,\"n\":null,\"o\":{},\"l\":[]}"),
				     NULL);
	struct err e = {0};
	struct slice s = SLICE_LIT("kept");
	int64_t i = 7;
	bool b = true;
	assert_int_equal(json_field_str(o, "s", true, &s, &e), 0);
	assert_true(slice_eq(s, SLICE_LIT("x\0y")));
	assert_int_equal(json_field_i64(o, "i", true, &i, &e), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(json_field_bool(o, "f", true, &b, &e), 0);
	assert_false(b);
	assert_int_equal(json_field_bool(o, "t", true, &b, &e), 0);
	assert_true(b);
	/* Absent and null. */
	s = SLICE_LIT("kept");
	i = 7;
	static const char *const absent[] = {"nothing", "n"};
	for (size_t j = 0; j < 2; j++) {
		assert_int_equal(json_field_str(o, absent[j], false, &s, &e), 0);
		assert_int_equal(json_field_i64(o, absent[j], false, &i, &e), 0);
		assert_int_equal(json_field_bool(o, absent[j], false, &b, &e), 0);
		assert_true(slice_is(s, "kept") && i == 7 && b);
		assert_int_equal(json_field_str(o, absent[j], true, &s, &e), -EINVAL);
		assert_int_equal(json_field_i64(o, absent[j], true, &i, &e), -EINVAL);
		assert_int_equal(json_field_bool(o, absent[j], true, &b, &e), -EINVAL);
	}
	assert_string_equal(e.text, "field \"n\" is missing");
	/* Other types. */
	static const char *const others[] = {"s", "i", "r", "t", "o", "l"};
	for (size_t j = 0; j < ARRAY_SIZE(others); j++) {
		if (j != 0)
			assert_int_equal(json_field_str(o, others[j], false, &s, &e), -EINVAL);
		if (j != 1)
			assert_int_equal(json_field_i64(o, others[j], false, &i, &e), -EINVAL);
		if (j != 3)
			assert_int_equal(json_field_bool(o, others[j], false, &b, &e), -EINVAL);
	}
	assert_true(slice_is(s, "kept") && i == 7 && b);
	json_field_i64(o, "r", false, &i, &e);
	assert_string_equal(e.text, "field \"r\" must be an integer, not a number with a fraction or exponent");
	json_field_str(o, "l", false, &s, &e);
	assert_string_equal(e.text, "field \"l\" must be a string, not an array");
	assert_int_equal(json_field_str(NULL, "s", false, &s, &e), -EINVAL);
	assert_int_equal(json_field_str(json_object_get(o, "l"), "s", false, &s, &e), -EINVAL);
	json_decref(o);
}

static void expect_put(struct slice s, const char *want)
{
	struct buf out;
	buf_init(&out, 1000);
	json_put_str(&out, s);
	assert_string_equal(buf_text(&out), want);
	json_t *back = json_field_parse(buf_slice(&out), NULL);
	assert_true(json_is_string(back));
	json_decref(back);
	buf_done(&out);
}

static void test_put_str(void **state)
{
	(void)state;
	expect_put(SLICE_NONE, "\"\"");
	expect_put(SLICE_LIT("a/b"), "\"a/b\"");
	expect_put(SLICE_LIT("\"\\\n\r\t\b\x01\x1f\x7f"), "\"\\\"\\\\\\n\\r\\t\\u0008\\u0001\\u001f\x7f\"");
	expect_put(SLICE_LIT("a\0b"), "\"a\\u0000b\"");
	expect_put(SLICE_LIT("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
#define FFFD "\xef\xbf\xbd"
	expect_put(SLICE_LIT("\xff"), "\"" FFFD "\"");
	expect_put(SLICE_LIT("a\xc3"), "\"a" FFFD "\"");
	expect_put(SLICE_LIT("\xc3(b"), "\"" FFFD "(b\"");
	expect_put(SLICE_LIT("\xc0\x80"), "\"" FFFD FFFD "\"");
	expect_put(SLICE_LIT("\xed\xa0\x80"), "\"" FFFD FFFD FFFD "\"");
	expect_put(SLICE_LIT("\xf4\x90\x80\x80"), "\"" FFFD FFFD FFFD FFFD "\"");
}

static void test_put(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 100);
	json_t *value = json_field_parse(SLICE_LIT(" { \"b\" : [ 1 , 2.5, null ] , \"a\" : \"\\u0000/\" } "), NULL);
	json_put(&out, value);
	assert_string_equal(buf_text(&out), "{\"b\":[1,2.5,null],\"a\":\"\\u0000/\"}");
	json_decref(value);
	value = json_integer(3);
	json_put(&out, value);
	assert_int_equal(out.mem[buf_len(&out) - 1], '3');
	json_decref(value);
	buf_done(&out);
	/* Over the bound. */
	buf_init(&out, 3);
	value = json_string("long");
	json_put(&out, value);
	assert_true(out.over);
	json_decref(value);
	buf_done(&out);
}

static void test_base64(void **state)
{
	(void)state;
	static const struct {
		const char *bytes, *text, *url;
	} vectors[] = {
	    {"", "", ""},
	    {"f", "Zg==", "Zg"},
	    {"fo", "Zm8=", "Zm8"},
	    {"foo", "Zm9v", "Zm9v"},
	    {"foob", "Zm9vYg==", "Zm9vYg"},
	    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
	    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
	    {"\xfb\xff\xbf", "+/+/", "-_-_"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct buf out;
		/* Caps that just suffice. */
		buf_init(&out, strlen(vectors[i].text) + (vectors[i].text[0] == '\0'));
		base64_put(&out, slice_str(vectors[i].bytes), false);
		assert_false(out.over);
		assert_string_equal(buf_text(&out), vectors[i].text);
		buf_done(&out);
		buf_init(&out, strlen(vectors[i].url) + (vectors[i].url[0] == '\0'));
		base64_put(&out, slice_str(vectors[i].bytes), true);
		assert_false(out.over);
		assert_string_equal(buf_text(&out), vectors[i].url);
		buf_done(&out);
		buf_init(&out, strlen(vectors[i].bytes) + (vectors[i].bytes[0] == '\0'));
		assert_true(base64_get(&out, slice_str(vectors[i].text), false));
		assert_string_equal(buf_text(&out), vectors[i].bytes);
		buf_reset(&out);
		assert_true(base64_get(&out, slice_str(vectors[i].url), true));
		assert_false(out.over);
		assert_string_equal(buf_text(&out), vectors[i].bytes);
		buf_done(&out);
	}
}

static void test_base64_malformed(void **state)
{
	(void)state;
	static const char *const bad[] = {"Z",     "Zg=",    "=",    "==",       "====",     "Zg===",
					  "Zm9v=", "Zm9v==", "Z===", "Zg==Zg==", "Z g=",     "Zg==\n",
					  "Zh==",  "Zm9=",   "Zg=a", "Zm9v!A==", "Zm9vZm9v="};
	struct buf out;
	buf_init(&out, 100);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(base64_get(&out, slice_str(bad[i]), false));
		assert_false(base64_get(&out, slice_str(bad[i]), true));
		assert_int_equal(buf_len(&out), 0);
	}
	/* Each alphabet is the other's stranger; padding is wanted in one and refused in the other. */
	assert_false(base64_get(&out, SLICE_LIT("-_-_"), false));
	assert_false(base64_get(&out, SLICE_LIT("+/+/"), true));
	assert_false(base64_get(&out, SLICE_LIT("Zg"), false));
	assert_false(base64_get(&out, SLICE_LIT("Zg=="), true));
	assert_false(base64_get(&out, SLICE_LIT("Zm8="), true));
	assert_int_equal(buf_len(&out), 0);
	buf_done(&out);
}

static void test_base64_bound(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 3);
	base64_put(&out, SLICE_LIT("f"), false);
	assert_true(out.over);
	buf_reset(&out);
	base64_put(&out, SLICE_LIT("foo!"), true);
	assert_true(out.over);
	buf_reset(&out);
	assert_true(base64_get(&out, SLICE_LIT("Zm9vYg=="), false));
	assert_true(out.over);
	assert_int_equal(buf_len(&out), 0);
	buf_done(&out);
}

static void test_numbers_in_as_few_digits_as_it_takes(void **state)
{
	static const char *const texts[] = {
	    "0.2", "[0.1,1.0,2]", "0.30000000000000004", "{\"a\":{\"b\":-1.5e300}}", "5e-324", "9007199254740993"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct buf out;
		buf_init(&out, 1000);
		json_t *value = json_field_parse(slice_str(texts[i]), NULL), *back;
		json_put(&out, value);
		back = json_field_parse(buf_slice(&out), NULL);
		assert_true(json_equal(back, value));
		if (strchr(texts[i], 'e') == NULL) /* exponents may be written in more ways than one */
			assert_string_equal(buf_text(&out), texts[i]);
		json_decref(value);
		json_decref(back);
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_parse),        cmocka_unit_test(test_parse_bounds),
	    cmocka_unit_test(test_only),         cmocka_unit_test(test_getters),
	    cmocka_unit_test(test_put_str),      cmocka_unit_test(test_put),
	    cmocka_unit_test(test_base64),       cmocka_unit_test(test_base64_malformed),
	    cmocka_unit_test(test_base64_bound), cmocka_unit_test(test_numbers_in_as_few_digits_as_it_takes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
