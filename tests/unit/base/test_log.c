/* Records as bytes: one line each whatever is in them, the formats, the levels, and what a full disk costs. */
#include "base/log.h"

#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

static int fds[2];
static char line[70000];

static int setup(void **state)
{
	(void)state;
	return pipe2(fds, O_NONBLOCK);
}

static int teardown(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, STDERR_FILENO);
	close(fds[0]);
	close(fds[1]);
	return 0;
}

/* What was written since; "" for nothing. */
static const char *written(void)
{
	ssize_t n = read(fds[0], line, sizeof(line) - 1);
	line[n > 0 ? n : 0] = '\0';
	return line;
}

/* The line without its time, which must look like one. */
static const char *behind_time(const char *prefix)
{
	int year, month, day, hour, minute, second, ms, used = 0;
	const char *text = written();
	size_t n = strlen(prefix);
	assert_int_equal(strncmp(text, prefix, n), 0);
	assert_int_equal(sscanf(text + n, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute,
				&second, &ms, &used),
			 7);
	assert_int_equal(used, 24);
	assert_true(year >= 2024 && month >= 1 && month <= 12 && hour <= 23 && minute <= 59);
	return text + n + 24;
}

static void test_text(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, fds[1]);
	LOG(WARN, "worker ended", LOG_STR("worker", "w-1"), LOG_NUM("code", -1), LOG_STR("why", "no \"luck\" = x"),
	    LOG_STR("empty", ""), LOG_STR("none", NULL));
	assert_string_equal(behind_time(""), " warn  worker ended worker=w-1 code=-1 why=\"no \\\"luck\\\" = x\" "
					     "empty=\"\"\n");
	LOG_PLAIN(ERROR, "plain");
	assert_string_equal(behind_time(""), " error plain\n");
}

static void test_logfmt(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_LOGFMT, fds[1]);
	LOG(INFO, "ready", LOG_SLICE("at", SLICE_LIT("[::1]:6420")), LOG_NUM("n", INT64_MIN));
	assert_string_equal(behind_time("ts="), " level=info msg=\"ready\" at=[::1]:6420 n=-9223372036854775808\n");
}

static void test_json(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON, fds[1]);
	struct slice nasty = SLICE_LIT("a\"b\\c\nd\te\x01\x7f\0\xc3\xa4\xff\xed\xa0\x80\xf0\x9f\x98\x80");
	LOG(ERROR, "failed", LOG_SLICE("text", nasty), LOG_NUM("n", 5));
	json_error_t why;
	json_t *record = json_loads(written(), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
	assert_non_null(record);
	assert_string_equal(json_string_value(json_object_get(record, "level")), "error");
	assert_string_equal(json_string_value(json_object_get(record, "msg")), "failed");
	assert_int_equal(json_integer_value(json_object_get(record, "n")), 5);
	json_t *text = json_object_get(record, "text");
#define FFFD "\xef\xbf\xbd"
	struct slice want = SLICE_LIT("a\"b\\c\nd\te\x01\x7f\0\xc3\xa4" FFFD FFFD FFFD FFFD "\xf0\x9f\x98\x80");
	assert_true(slice_eq(slice_of(json_string_value(text), json_string_length(text)), want));
	json_decref(record);
}

/* No text of a stranger begins a second line or a terminal sequence, in any format. */
static void test_one_line(void **state)
{
	(void)state;
	static const enum log_format formats[] = {LOG_FORMAT_TEXT, LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON};
	uint8_t all[256];
	for (unsigned i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	for (size_t f = 0; f < ARRAY_SIZE(formats); f++) {
		struct log_field field = LOG_SLICE("text", slice_of(all, sizeof(all)));
		log_setup(LOG_LEVEL_INFO, formats[f], fds[1]);
		log_record(LOG_LEVEL_INFO, slice_of(all, sizeof(all)), &field, 1);
		const char *text = written();
		size_t n = strlen(text);
		assert_true(n > 512);
		assert_int_equal(text[n - 1], '\n');
		for (size_t i = 0; i < n - 1; i++)
			assert_true((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
	}
}

static void test_levels(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_WARN, LOG_FORMAT_TEXT, fds[1]);
	assert_true(log_wants(LOG_LEVEL_ERROR));
	assert_true(log_wants(LOG_LEVEL_WARN));
	assert_false(log_wants(LOG_LEVEL_INFO));
	LOG_PLAIN(INFO, "not wanted");
	log_record(LOG_LEVEL_DEBUG, SLICE_LIT("not wanted"), NULL, 0);
	assert_string_equal(written(), "");
	log_set_level(LOG_LEVEL_TRACE);
	LOG_PLAIN(TRACE, "wanted");
	assert_string_equal(behind_time(""), " trace wanted\n");
}

/* Fields of a record that is not wanted are not even computed. */
static int64_t computed;

static int64_t compute(void)
{
	return ++computed;
}

static void test_fields_are_lazy(void **state)
{
	(void)state;
	log_setup(LOG_LEVEL_WARN, LOG_FORMAT_TEXT, fds[1]);
	LOG(INFO, "x", LOG_NUM("n", compute()));
	assert_int_equal(computed, 0);
	LOG(WARN, "x", LOG_NUM("n", compute()));
	assert_int_equal(computed, 1);
}

/* What cannot be written is counted, and said by nobody else. */
static void test_dropped(void **state)
{
	(void)state;
	uint64_t before = log_dropped();
	int full = open("/dev/full", O_WRONLY);
	assert_true(full >= 0);
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, full);
	LOG_PLAIN(INFO, "lost");
	assert_int_equal(log_dropped() - before, 1);
	close(full);
	/* A record over its bound is dropped whole. */
	log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT, fds[1]);
	char *long_text = mem_alloc(70000);
	memset(long_text, 'x', 70000);
	LOG(INFO, "long", LOG_SLICE("text", slice_of(long_text, 70000)));
	assert_int_equal(log_dropped() - before, 2);
	assert_string_equal(written(), "");
	mem_free(long_text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_text, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_logfmt, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_json, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_one_line, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_fields_are_lazy, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_dropped, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
