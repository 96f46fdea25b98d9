/* Alarms: one per living actor, compare and set, the earliest first. */
#include "store/store_alarm.h"
#include "lib/store_fixture.h"
#include "store/store_actor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int set(struct store_fixture *f, uint64_t actor, int64_t due, int64_t only_if, int attempts)
{
	struct store_alarm a = {
	    .actor_number = actor, .due_wall_ms = due, .only_if_due_wall_ms = only_if, .attempts = attempts};
	a.job.done = store_fixture_on_done;
	store_alarm(f->store, &a);
	return store_fixture_wait(f, &a.job);
}

/* "actor:due:attempts," for each row behind the pair. */
static const char *next(struct store_fixture *f, int64_t after_due, uint64_t after_number, size_t limit, char out[512])
{
	static struct store_alarm_next q;
	size_t at = 0;
	q = (struct store_alarm_next){.after_due_wall_ms = after_due, .after_number = after_number, .limit = limit};
	q.job.done = store_fixture_on_done;
	store_alarm_next(f->store, &q);
	assert_int_equal(store_fixture_wait(f, &q.job), 0);
	out[0] = '\0';
	for (size_t i = 0; i < q.n; i++) {
		assert_int_equal(strlen(q.rows[i].actor_id), 30);
		at += (size_t)snprintf(out + at, 512 - at, "%d:%d:%d,", (int)q.rows[i].actor_number,
				       (int)q.rows[i].due_wall_ms, q.rows[i].attempts);
	}
	return out;
}

static void test_set_move_clear(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	char out[512];
	store_fixture_init(&f);
	uint64_t a = store_fixture_actor(&f, "t", "a");
	assert_int_equal(a, 1);
	assert_int_equal(set(&f, a, 500, 0, 0), 0);
	assert_string_equal(next(&f, 0, 0, 10, out), "1:500:0,");
	assert_int_equal(set(&f, a, 300, 0, 0), 0);
	store_fixture_close(&f);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_string_equal(next(&f, 0, 0, 10, out), "1:300:0,");
	assert_int_equal(set(&f, a, 0, 0, 0), 0);
	assert_int_equal(set(&f, a, 0, 0, 0), 0);
	assert_string_equal(next(&f, 0, 0, 10, out), "");
	assert_int_equal(set(&f, 99, 300, 0, 0), STORE_ALARM_NO_ACTOR);
	store_fixture_done(&f);
}

static void test_compare_and_set(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[512];
	store_fixture_init(&f);
	uint64_t a = store_fixture_actor(&f, "t", "a");
	assert_int_equal(set(&f, a, 500, 0, 0), 0);
	/* A retry of the alarm at 500. */
	assert_int_equal(set(&f, a, 520, 500, 1), 0);
	assert_string_equal(next(&f, 0, 0, 10, out), "1:520:1,");
	/* The worker set it anew while the call ran: neither retry nor clearing hits it. */
	assert_int_equal(set(&f, a, 900, 0, 0), 0);
	assert_int_equal(set(&f, a, 540, 520, 2), STORE_ALARM_CHANGED);
	assert_int_equal(set(&f, a, 0, 520, 0), STORE_ALARM_CHANGED);
	assert_string_equal(next(&f, 0, 0, 10, out), "1:900:0,");
	assert_int_equal(set(&f, a, 0, 900, 0), 0);
	assert_string_equal(next(&f, 0, 0, 10, out), "");
	assert_int_equal(set(&f, a, 0, 900, 0), STORE_ALARM_CHANGED);
	store_fixture_done(&f);
}

static void test_next_pages_through_equal_times(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[512];
	store_fixture_init(&f);
	for (int i = 0; i < 5; i++)
		assert_int_equal(set(&f, store_fixture_actor(&f, "t", NULL), i == 3 ? 50 : 100, 0, 0), 0);
	assert_string_equal(next(&f, 0, 0, 3, out), "4:50:0,1:100:0,2:100:0,");
	assert_string_equal(next(&f, 100, 2, 3, out), "3:100:0,5:100:0,");
	assert_string_equal(next(&f, 100, 5, 3, out), "");
	store_fixture_done(&f);
}

static void test_goes_with_the_actor(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[512];
	store_fixture_init(&f);
	uint64_t a = store_fixture_actor(&f, "t", "a");
	assert_int_equal(set(&f, a, 500, 0, 0), 0);
	struct store_actor_save v = {.actor = {.number = a}, .destroy = true};
	v.job.done = store_fixture_on_done;
	store_actor_save(f.store, &v);
	assert_int_equal(store_fixture_wait(&f, &v.job), 0);
	assert_string_equal(next(&f, 0, 0, 10, out), "");
	assert_int_equal(set(&f, a, 500, 0, 0), STORE_ALARM_NO_ACTOR);
	store_fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_set_move_clear),
	    cmocka_unit_test(test_compare_and_set),
	    cmocka_unit_test(test_next_pages_through_equal_times),
	    cmocka_unit_test(test_goes_with_the_actor),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
