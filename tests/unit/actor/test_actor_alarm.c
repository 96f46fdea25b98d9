/* The alarm of a running actor: when it rings, once, and who is told. */
#include "lib/actor_world.h"

#include "base/log.h"

#include <unistd.h>

static struct place *running_with_alarm(int64_t due_wall_ms)
{
	assert_int_equal(world_start_with("a", 1, &world_type, due_wall_ms), 0);
	struct place *pl = world_place_of("a", 1);
	world_placed(pl);
	world_loaded(pl);
	world_turn();
	return pl;
}

static void assert_reported(size_t n, bool ok, int64_t due_wall_ms)
{
	assert_int_equal(world.n_alarms, n);
	assert_int_equal(world.last.kind, REPORT_ALARM_DONE);
	assert_int_equal(world.last.alarm_ok, ok);
	assert_int_equal(world.last.alarm_due_wall_ms, due_wall_ms);
}

static void test_rings_when_due(void **state)
{
	(void)state;
	world_open();
	int64_t due_wall_ms = clock_wall_ms() + 5000;
	struct place *pl = running_with_alarm(due_wall_ms);
	world_pass(4999);
	assert_false(pl->alarm_calling);
	world_pass(1);
	assert_true(pl->alarm_calling);
	assert_int_equal(pl->alarm_due_wall_ms, due_wall_ms);
	assert_int_equal(pl->alarm_attempt, 1);
	world_alarm_done(pl, true);
	assert_reported(1, true, due_wall_ms);
	world_pass(100000); /* not again before the driver says so */
	assert_int_equal(world_n_alarms, 1);
	world_set_alarm("a", 1, 0, 0);
	world_pass(100000);
	assert_int_equal(world_n_alarms, 1);
	world_close();
}

static void test_an_overdue_one_rings_after_loading(void **state)
{
	(void)state;
	world_open();
	struct place *pl = running_with_alarm(clock_wall_ms() - 86400000);
	assert_true(pl->alarm_calling);
	world_alarm_done(pl, true);
	world_close();
}

static void test_a_failed_one_rings_again_when_told(void **state)
{
	(void)state;
	world_open();
	int64_t due_wall_ms = clock_wall_ms();
	struct place *pl = running_with_alarm(due_wall_ms);
	world_alarm_done(pl, false);
	assert_reported(1, false, due_wall_ms);
	assert_non_null(strstr(world.message, "500"));
	world_set_alarm("a", 1, clock_wall_ms() + 2000, 1);
	world_pass(1999);
	assert_int_equal(world_n_alarms, 1);
	world_pass(1);
	assert_int_equal(world_n_alarms, 2);
	assert_int_equal(pl->alarm_attempt, 2);
	world_close();
}

static void test_set_anew_during_the_call(void **state)
{
	(void)state;
	world_open();
	int64_t due_wall_ms = clock_wall_ms();
	struct place *pl = running_with_alarm(due_wall_ms);
	int64_t again_wall_ms = clock_wall_ms() + 100;
	world_set_alarm("a", 1, again_wall_ms, 0);
	world_pass(1000);
	assert_int_equal(world_n_alarms, 1); /* one at a time */
	world_alarm_done(pl, true);
	assert_reported(1, true, due_wall_ms);
	world_turn();
	assert_int_equal(world_n_alarms, 2);
	assert_int_equal(pl->alarm_due_wall_ms, again_wall_ms);
	world_close();
}

static void test_the_wall_clock_jumps(void **state)
{
	(void)state;
	world_open();
	struct place *pl = running_with_alarm(clock_wall_ms() + 3600000);
	world_wall_offset_ms += 3600000;
	world_pass(60000);
	assert_true(pl->alarm_calling);
	world_alarm_done(pl, true);
	world_set_alarm("a", 1, clock_wall_ms() + 5000, 0);
	world_turn();
	world_wall_offset_ms -= 100000; /* and back: not before its time */
	world_pass(5000);
	assert_false(pl->alarm_calling);
	world_pass(60000);
	world_pass(40000);
	assert_true(pl->alarm_calling);
	world_close();
}

static void test_the_far_future(void **state)
{
	(void)state;
	world_open();
	struct place *pl = running_with_alarm(INT64_MAX);
	world_pass(INT64_C(1000) * 60 * 60 * 24 * 365);
	assert_false(pl->alarm_calling);
	world_close();
}

static void test_a_call_keeps_awake(void **state)
{
	(void)state;
	struct actor_type t = world_type;
	t.sleep_after_ms = 1000;
	world_open();
	assert_int_equal(world_start_with("a", 1, &t, clock_wall_ms()), 0);
	struct place *pl = world_place_of("a", 1);
	world_placed(pl);
	world_loaded(pl);
	world_turn();
	world_pass(30000);
	assert_int_equal(world.n_sleep, 0);
	world_alarm_done(pl, true);
	world_turn();
	world_pass(1000);
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static size_t stopped_when_alarm_came;

static void note_order(const struct actor_ref *a, const struct actor_report *r)
{
	(void)a;
	if (r->kind == REPORT_ALARM_DONE)
		stopped_when_alarm_came = world.n_stopped;
}

static void test_a_crash_fails_the_call(void **state)
{
	(void)state;
	world_open();
	world.also = note_order;
	stopped_when_alarm_came = 99;
	struct place *pl = running_with_alarm(clock_wall_ms());
	world_lost(pl, PLACE_CRASHED, "signal 9");
	world_turn();
	assert_int_equal(world.n_alarms, 1);
	assert_int_equal(world.n_stopped, 1);
	assert_int_equal(stopped_when_alarm_came, 0);
	world_close();
}

static void test_an_answer_while_stopping_counts(void **state)
{
	(void)state;
	world_open();
	int64_t due_wall_ms = clock_wall_ms();
	struct place *pl = running_with_alarm(due_wall_ms);
	world_stop("a", 1, "sleep", 0);
	world_turn();
	world_alarm_done(pl, true);
	assert_reported(1, true, due_wall_ms);
	world_set_alarm("a", 1, clock_wall_ms(), 0); /* its next incarnation's */
	world_pass(100);
	assert_int_equal(world_n_alarms, 1);
	world_close();
}

int main(void)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rings_when_due),
	    cmocka_unit_test(test_an_overdue_one_rings_after_loading),
	    cmocka_unit_test(test_a_failed_one_rings_again_when_told),
	    cmocka_unit_test(test_set_anew_during_the_call),
	    cmocka_unit_test(test_the_wall_clock_jumps),
	    cmocka_unit_test(test_the_far_future),
	    cmocka_unit_test(test_a_call_keeps_awake),
	    cmocka_unit_test(test_a_crash_fails_the_call),
	    cmocka_unit_test(test_an_answer_while_stopping_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
