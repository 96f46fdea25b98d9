/* Tables, lists and log lines out of JSON, hostile text included. */
#include "ctl/ctl_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static const struct ctl_column columns[] = {
    {"NAME", "name", CTL_TEXT}, {"N", "n", CTL_NUMBER},     {"AGE", "age", CTL_AGE},
    {"SIZE", "size", CTL_SIZE}, {"TIME", "time", CTL_TIME}, {NULL, NULL, CTL_TEXT},
};

static const char *table_of(const char *json)
{
	static struct buf b;
	json_t *rows = json_loads(json, 0, NULL);
	assert_non_null(rows);
	buf_done(&b);
	buf_init(&b, 65536);
	ctl_table(&b, rows, columns);
	json_decref(rows);
	return buf_text(&b);
}

static void test_columns_are_aligned(void **state)
{
	(void)state;
	assert_string_equal(
	    table_of("[{\"name\":\"short\",\"n\":7,\"age\":61000,\"size\":1023,\"time\":0},"
		     "{\"name\":\"a longer one\",\"n\":12345,\"age\":-5,\"size\":1536,\"time\":1795764800123}]"),
	    "NAME              N  AGE   SIZE  TIME\n"
	    "short             7  1min  1023  1970-01-01 00:00:00\n"
	    "a longer one  12345  0ms   1.5K  2026-11-27 07:33:20\n");
}

static void test_absent_null_and_wide_text(void **state)
{
	(void)state;
	assert_string_equal(table_of("[{\"name\":\"\xc3\xa4\xc3\xb6\"},{\"name\":null,\"n\":null}]"),
			    "NAME  N  AGE  SIZE  TIME\n"
			    "\xc3\xa4\xc3\xb6    -  -    -     -\n"
			    "-     -  -    -     -\n");
	assert_string_equal(table_of("[]"), "NAME  N  AGE  SIZE  TIME\n");
}

static void test_no_control_character_gets_through(void **state)
{
	(void)state;
	const char *text = table_of("[{\"name\":\"a\\u001b[2Jb\\n\\u007f\"}]");
	assert_null(strchr(text, 0x1b));
	assert_null(strchr(text, 0x7f));
	assert_non_null(strstr(text, "a?[2Jb??"));
}

static void test_ages(void **state)
{
	(void)state;
	static const struct {
		long long ms;
		const char *text;
	} cases[] = {{0, "0ms"}, {999, "999ms"}, {1000, "1s"}, {3599999, "59min"}, {3600000, "1h"}, {172800000, "2d"}};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char json[64];
		snprintf(json, sizeof(json), "[{\"age\":%lld}]", cases[i].ms);
		assert_non_null(strstr(table_of(json), cases[i].text));
	}
}

static void test_lists_nest(void **state)
{
	(void)state;
	struct buf b;
	json_t *object =
	    json_loads("{\"mode\":\"local\",\"up_ms\":2000,\"engine\":{\"key\":\"k\",\"memory_bytes\":2048},"
		       "\"last\":null}",
		       0, NULL);
	buf_init(&b, 65536);
	ctl_list(&b, object);
	assert_string_equal(buf_text(&b), "mode: local\nup_ms: 2s\nengine:\n  key: k\n  memory_bytes: 2.0K\nlast: -\n");
	json_decref(object);
	buf_done(&b);
}

static void test_log_lines(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 65536);
	ctl_log_line(&b,
		     SLICE_LIT("{\"ts\":\"T\",\"level\":\"warn\",\"msg\":\"it\\u001b broke\",\"n\":3,\"s\":\"x\"}"));
	ctl_log_line(&b, SLICE_LIT("no \x1b record"));
	assert_string_equal(buf_text(&b), "T warn  it? broke n=3 s=x\nno ? record\n");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_columns_are_aligned),
	    cmocka_unit_test(test_absent_null_and_wide_text),
	    cmocka_unit_test(test_no_control_character_gets_through),
	    cmocka_unit_test(test_ages),
	    cmocka_unit_test(test_lists_nest),
	    cmocka_unit_test(test_log_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
