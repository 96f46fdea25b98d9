/* Buckets and their bounds, slots of actor types, the text and its escapes. */
#include "base/metric.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct buf text;
static struct metric_out out;

static int begin(void **state)
{
	(void)state;
	buf_init(&text, (size_t)1024 * 1024);
	metric_out_init(&out, &text);
	return 0;
}

static int end(void **state)
{
	(void)state;
	buf_done(&text);
	return 0;
}

static void has(const char *line)
{
	if (strstr(buf_text(&text), line) == NULL)
		fail_msg("not there: %s\nin:\n%s", line, buf_text(&text));
}

static void test_observe(void **state)
{
	(void)state;
	struct metric_histogram h = {0};
	const int64_t times_us[] = {INT64_MIN, -1, 0, 100, 101, 999999, 1000000, 60000000, 60000001};
	for (size_t i = 0; i < ARRAY_SIZE(times_us); i++)
		metric_observe(&h, times_us[i]);
	assert_int_equal(metric_observed(&h), ARRAY_SIZE(times_us));
	metric_put_histogram(&out, METRIC_STORE_COMMIT_SECONDS, NULL, NULL, &h);
	has("# TYPE rivet_runnerd_store_commit_duration_seconds histogram\n");
	has("_bucket{le=\"0.0001\"} 4\n"); /* a bound belongs to its bucket; a clock set back is no time at all */
	has("_bucket{le=\"0.00025\"} 5\n");
	has("_bucket{le=\"0.5\"} 5\n");
	has("_bucket{le=\"1\"} 7\n");
	has("_bucket{le=\"60\"} 8\n");
	has("_bucket{le=\"+Inf\"} 9\n");
	has("_seconds_count 9\n");
	has("_seconds_sum 122.000201\n");
}

static void test_histogram_of_nothing(void **state)
{
	(void)state;
	const struct metric_histogram h = {0};
	metric_put_histogram(&out, METRIC_WAKE_SECONDS, "a", NULL, &h);
	has("_bucket{actor_type=\"a\",le=\"+Inf\"} 0\n");
	has("_seconds_sum{actor_type=\"a\"} 0.000000\n");
	has("_seconds_count{actor_type=\"a\"} 0\n");
}

static void test_header_once(void **state)
{
	(void)state;
	metric_put(&out, METRIC_REQUESTS, "a", "2xx", 1);
	metric_put(&out, METRIC_REQUESTS, "a", "5xx", UINT64_MAX);
	const char *first = strstr(buf_text(&text), "# TYPE ");
	assert_non_null(first);
	assert_null(strstr(first + 1, "# TYPE "));
	has("rivet_runnerd_requests_total{actor_type=\"a\",outcome=\"2xx\"} 1\n");
	has("rivet_runnerd_requests_total{actor_type=\"a\",outcome=\"5xx\"} 18446744073709551615\n");
}

static void test_label_is_escaped(void **state)
{
	(void)state;
	metric_put(&out, METRIC_WAKES, "a\"b\\c\nd", NULL, 0);
	has("{actor_type=\"a\\\"b\\\\c\\nd\"} 0\n");
}

/* Every row can be shown as it is, and says what it counts. */
static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		const struct metric_row *row = &metric_rows[i];
		size_t n = strlen(row->name);
		bool total = n > 6 && strcmp(row->name + n - 6, "_total") == 0;
		bool seconds = n > 8 && strcmp(row->name + n - 8, "_seconds") == 0;
		assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz_"), n);
		assert_int_equal(total, row->kind == METRIC_COUNTER);
		assert_true(seconds || row->kind != METRIC_HISTOGRAM);
		assert_true(row->labels[0] != NULL || row->labels[1] == NULL);
		assert_null(strpbrk(row->help, "\\\n|"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(row->name, metric_rows[j].name);
	}
}

/* The bound is the same for whoever comes later; a name keeps its slot. */
static void test_types(void **state)
{
	(void)state;
	char name[32];
	assert_int_equal(metric_type_count(), 1);
	assert_int_equal(metric_type_slot("other"), 0);
	assert_string_equal(metric_type_name(0), "other");
	for (unsigned i = 1; i < LIMIT_METRIC_TYPES; i++) {
		snprintf(name, sizeof(name), "type-%u", i);
		assert_int_equal(metric_type_slot(name), i);
	}
	assert_int_equal(metric_type_slot("one more"), 0);
	assert_int_equal(metric_type_slot("type-7"), 7);
	assert_string_equal(metric_type_name(7), "type-7");
	assert_int_equal(metric_type_count(), LIMIT_METRIC_TYPES);
}

static void test_by_type(void **state)
{
	(void)state;
	struct {
		uint64_t before, n;
	} counts[LIMIT_METRIC_TYPES] = {0};
	counts[0].n = 5;
	counts[LIMIT_METRIC_TYPES - 1].n = 6;
	metric_put_types(&out, METRIC_WAKES, &counts->n, sizeof(*counts));
	has("{actor_type=\"other\"} 5\n");
	has("{actor_type=\"type-63\"} 6\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_observe, begin, end),
	    cmocka_unit_test_setup_teardown(test_histogram_of_nothing, begin, end),
	    cmocka_unit_test_setup_teardown(test_header_once, begin, end),
	    cmocka_unit_test_setup_teardown(test_label_is_escaped, begin, end),
	    cmocka_unit_test_setup_teardown(test_rows, begin, end),
	    cmocka_unit_test_setup_teardown(test_types, begin, end),
	    cmocka_unit_test_setup_teardown(test_by_type, begin, end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
