/* The API's objects, member for member. */
#include "local/local_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct store_actor actor(void)
{
	static char id[] = "tlf0xcg1buacno4zofgpr7isbeal00", namespace_name[] = "default", name[] = "counter",
		    pool[] = "rw";
	return (struct store_actor){.id = id,
				    .namespace_name = namespace_name,
				    .name = name,
				    .runner_name_selector = pool,
				    .create_ts = 1795454080407};
}

static void expect_actor(const struct store_actor *a, const char *want)
{
	struct buf out;
	buf_init(&out, 4096);
	local_json_actor(&out, a, "ddut");
	assert_string_equal(buf_text(&out), want);
	buf_done(&out);
}

static void test_actor(void **state)
{
	struct store_actor a = actor();
	(void)state;
	expect_actor(&a, "{\"actor_id\":\"tlf0xcg1buacno4zofgpr7isbeal00\",\"name\":\"counter\",\"key\":null,"
			 "\"namespace_id\":\"ddut\",\"datacenter\":\"default\",\"runner_name_selector\":\"rw\","
			 "\"crash_policy\":\"sleep\",\"create_ts\":1795454080407,\"start_ts\":null,"
			 "\"pending_allocation_ts\":null,\"connectable_ts\":null,\"sleep_ts\":null,"
			 "\"reschedule_ts\":null,\"destroy_ts\":null}");
	a.key = (char[]){"a\\/\"b"};
	a.crash_policy = CRASH_DESTROY;
	a.start_ts = 1;
	a.pending_allocation_ts = 2;
	a.connectable_ts = 3;
	a.sleep_ts = 4;
	a.reschedule_ts = 5;
	a.destroy_ts = 6;
	a.error_json = (char[]){"{\"crashed\":{\"message\":null}}"};
	expect_actor(&a, "{\"actor_id\":\"tlf0xcg1buacno4zofgpr7isbeal00\",\"name\":\"counter\","
			 "\"key\":\"a\\\\/\\\"b\",\"namespace_id\":\"ddut\",\"datacenter\":\"default\","
			 "\"runner_name_selector\":\"rw\",\"crash_policy\":\"destroy\",\"create_ts\":1795454080407,"
			 "\"start_ts\":1,\"pending_allocation_ts\":2,\"connectable_ts\":3,\"sleep_ts\":4,"
			 "\"reschedule_ts\":5,\"destroy_ts\":6,\"error\":{\"crashed\":{\"message\":null}}}");
}

static void test_namespace(void **state)
{
	const struct store_namespace ns = {.id = (char[]){"ddut"},
					   .name = (char[]){"research"},
					   .display_name = (char[]){"Re\tsearch"},
					   .create_ts = 7};
	struct buf out;
	(void)state;
	buf_init(&out, 4096);
	local_json_namespace(&out, &ns);
	assert_string_equal(buf_text(&out), "{\"namespace_id\":\"ddut\",\"name\":\"research\","
					    "\"display_name\":\"Re\\tsearch\",\"create_ts\":7}");
	buf_done(&out);
}

/* Whatever a stranger sends fits: the worst byte needs six. */
static void test_strings(void **state)
{
	uint8_t worst[1000];
	(void)state;
	MEM_AUTO char *one = local_json_strings("reason", SLICE_LIT("r"), NULL, SLICE_NONE);
	assert_string_equal(one, "{\"reason\":\"r\"}");
	MEM_AUTO char *two = local_json_strings("a", SLICE_LIT("1"), "b", SLICE_LIT("2"));
	assert_string_equal(two, "{\"a\":\"1\",\"b\":\"2\"}");
	memset(worst, 1, sizeof(worst));
	MEM_AUTO char *all = local_json_strings("a", slice_of(worst, 1000), "b", slice_of(worst, 1000));
	assert_int_equal(strlen(all), 2 * 6000 + strlen("{\"a\":\"\",\"b\":\"\"}"));
}

/* The preview ends at a character. */
static void test_key_too_large(void **state)
{
	char key[200];
	(void)state;
	memset(key, 'x', sizeof(key));
	memcpy(key + 63, "\xc3\xbc", 2);
	MEM_AUTO char *got = local_json_key_too_large(slice_of(key, sizeof(key)));
	MEM_AUTO char *want = mem_printf("{\"max_size\":1024,\"key_preview\":\"%.63s\"}", key);
	assert_string_equal(got, want);
}

static void test_crash_policy(void **state)
{
	enum crash_policy p = CRASH_SLEEP;
	(void)state;
	for (int i = CRASH_SLEEP; i <= CRASH_DESTROY; i++) {
		const char *text = local_json_crash_policy((enum crash_policy)i);
		assert_true(local_json_crash_policy_parse(slice_str(text), &p));
		assert_int_equal(p, i);
	}
	assert_false(local_json_crash_policy_parse(SLICE_LIT("Sleep"), &p));
	assert_false(local_json_crash_policy_parse(SLICE_NONE, &p));
	assert_int_equal(p, CRASH_DESTROY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_actor),         cmocka_unit_test(test_namespace),    cmocka_unit_test(test_strings),
	    cmocka_unit_test(test_key_too_large), cmocka_unit_test(test_crash_policy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
