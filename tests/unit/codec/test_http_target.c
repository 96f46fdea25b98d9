/* Escapes both ways, path and query, and every disguise of the reserved path. */
#include "codec/http_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void expect_decoded(struct slice in, bool plus_is_space, const char *want, size_t want_n)
{
	struct buf out;
	buf_init(&out, 100);
	assert_true(http_percent_decode(in, plus_is_space, &out));
	assert_false(out.over);
	assert_int_equal(buf_len(&out), want_n);
	assert_memory_equal(buf_text(&out), want, want_n);
	buf_done(&out);
}

static void test_decode(void **state)
{
	(void)state;
	expect_decoded(SLICE_NONE, false, "", 0);
	expect_decoded(SLICE_LIT("a+b"), false, "a+b", 3);
	expect_decoded(SLICE_LIT("a+b%2B%20"), true, "a b+ ", 5);
	expect_decoded(SLICE_LIT("%00%fF%41"), false,
		       "\0\xff"
		       "A",
		       3);
	expect_decoded(SLICE_LIT("%2541"), false, "%41", 3);
}

static void test_decode_bad(void **state)
{
	(void)state;
	static const char *const bad[] = {"%", "%4", "a%", "%4g", "%g4", "%%41", "% 41", "%-1", "%41%"};
	struct buf out;
	buf_init(&out, 100);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(http_percent_decode(slice_str(bad[i]), false, &out));
		assert_int_equal(buf_len(&out), 0);
	}
	buf_done(&out);
}

/* The cap counts decoded bytes. */
static void test_decode_bound(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 2);
	assert_true(http_percent_decode(SLICE_LIT("%41%42"), false, &out));
	assert_string_equal(buf_text(&out), "AB");
	assert_true(http_percent_decode(SLICE_LIT("C"), false, &out));
	assert_true(out.over);
	assert_int_equal(buf_len(&out), 2);
	buf_done(&out);
}

static void test_encode(void **state)
{
	(void)state;
	struct buf out, back;
	uint8_t all[256];
	buf_init(&out, 1000);
	buf_init(&back, 1000);
	http_percent_encode(SLICE_LIT("aZ09-._~"), &out);
	http_percent_encode(SLICE_LIT("/ %\x80\xff\n"), &out);
	assert_string_equal(buf_text(&out), "aZ09-._~%2F%20%25%80%FF%0A");
	buf_reset(&out);
	for (unsigned i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	http_percent_encode(slice_of(all, sizeof(all)), &out);
	assert_int_equal(buf_len(&out), 66 + 3 * 190);
	assert_true(http_percent_decode(buf_slice(&out), true, &back));
	assert_true(slice_eq(buf_slice(&back), slice_of(all, sizeof(all))));
	buf_done(&out);
	buf_init(&out, 2);
	http_percent_encode(SLICE_LIT("/"), &out);
	assert_true(out.over);
	buf_done(&out);
	buf_done(&back);
}

static void test_split(void **state)
{
	(void)state;
	static const struct {
		const char *target, *path, *query;
		bool has_query;
	} cases[] = {
	    {"/a", "/a", "", false},     {"/a?", "/a", "", true}, {"/a?b=c", "/a", "b=c", true},
	    {"/?a?b", "/", "a?b", true}, {"*", "*", "", false},   {"", "", "", false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice path, query;
		bool has_query;
		http_target_split(slice_str(cases[i].target), &path, &query, &has_query);
		assert_true(slice_is(path, cases[i].path));
		assert_true(slice_is(query, cases[i].query));
		assert_int_equal(has_query, cases[i].has_query);
	}
}

static void test_query(void **state)
{
	(void)state;
	struct slice query = SLICE_LIT("a=1&&b&=c&d==e&&f="), name, value, whole;
	static const char *const want[][3] = {
	    {"a", "1", "a=1"}, {"b", "", "b"}, {"", "c", "=c"}, {"d", "=e", "d==e"}, {"f", "", "f="}};
	size_t at = 0;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(http_query_next(query, &at, &name, &value, &whole));
		assert_true(slice_is(name, want[i][0]));
		assert_true(slice_is(value, want[i][1]));
		assert_true(slice_is(whole, want[i][2]));
	}
	assert_false(http_query_next(query, &at, &name, &value, &whole));
	at = 0;
	assert_false(http_query_next(SLICE_NONE, &at, &name, &value, &whole));
	assert_false(http_query_next(SLICE_LIT("&&"), &at, &name, &value, &whole));
}

static const char *const reserved[] = {
    "/.rivet",
    "/.rivet/",
    "/.rivet/start",
    "/.RIVET/stop",
    "/.Rivet%2fstart",
    "/%2erivet",
    "/%2Eri%76et/x",
    "/%252erivet",
    "/%25252525252erivet",
    "/%%32erivet",
    "/%2%65rivet",
    "/%2%35%32%65rivet",
    "//.rivet",
    "/./.rivet",
    "/%2e/.rivet",
    "/a/../.rivet",
    "/a/b/../../.rivet/x",
    "/../../.rivet",
    "/a/%2e%2e/.rivet",
    "/a/.%2e/.rivet",
    "/a%2f..%2f.rivet",
    "/a/%252e%252e%252f.rivet",
    "\\.rivet",
    "/\\.rivet\\start",
    "/%5c.rivet",
    "/a\\..\\.rivet",
    ".rivet",
    "/.rivet/a/..",
};
static const char *const open_paths[] = {
    "",          "/",          "/a",
    "/.rive",    "/.rivets",   "/.rivet.",
    "/rivet",    "/a/.rivet",  "/a/.rivet/start",
    "/..rivet",  "/.rivet/..", "/.rivet/../a",
    "/%2erive",  "/%2",        "/%zzrivet/.",
    "/.riv%65%", "/..",        "/.",
    "/%",
};

static void expect_reserved(struct slice path, bool want)
{
	if (http_path_is_reserved(path) != want)
		fail_msg("%.*s", SLICE_FMT(path));
}

static void test_reserved(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		expect_reserved(slice_str(reserved[i]), true);
	for (size_t i = 0; i < ARRAY_SIZE(open_paths); i++)
		expect_reserved(slice_str(open_paths[i]), false);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 16;
}

/* Escapes one byte of the path after another, those of escapes too. */
static void disguise(const char *path, uint32_t *seed, bool want)
{
	uint8_t text[200];
	size_t n = strlen(path);
	memcpy(text, path, n);
	for (int round = 0; round < 40 && n > 0; round++) {
		size_t at = next_random(seed) % n;
		char escape[4];
		snprintf(escape, sizeof(escape), next_random(seed) & 1 ? "%%%02x" : "%%%02X", text[at]);
		memmove(text + at + 3, text + at + 1, n - at - 1);
		memcpy(text + at, escape, 3);
		n += 2;
		expect_reserved(slice_of(text, n), want);
	}
}

/* However it is escaped, a path stays what it is. */
static void test_disguises(void **state)
{
	(void)state;
	uint32_t seed = 1;
	for (int times = 0; times < 200; times++) {
		for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
			disguise(reserved[i], &seed, true);
		for (size_t i = 0; i < ARRAY_SIZE(open_paths); i++)
			disguise(open_paths[i], &seed, false);
	}
}

/* Nested as deep as a target goes: linear, not quadratic. */
static void test_reserved_deep(void **state)
{
	(void)state;
	struct buf path;
	buf_init(&path, 100000);
	buf_add_str(&path, "/%");
	for (int i = 0; i < 40000; i++)
		buf_add_str(&path, "25");
	buf_add_str(&path, "2erivet");
	assert_true(http_path_is_reserved(buf_slice(&path)));
	buf_done(&path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_decode),   cmocka_unit_test(test_decode_bad), cmocka_unit_test(test_decode_bound),
	    cmocka_unit_test(test_encode),   cmocka_unit_test(test_split),      cmocka_unit_test(test_query),
	    cmocka_unit_test(test_reserved), cmocka_unit_test(test_disguises),  cmocka_unit_test(test_reserved_deep),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
