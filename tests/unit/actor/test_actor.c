/* One incarnation: starting, waiting, failing, stopping, handing back. */
#include "lib/actor_world.h"

#include "base/limits.h"
#include "base/log.h"

#include <unistd.h>

static struct actor_type limited(uint32_t requests_max)
{
	struct actor_type t = world_type;
	t.requests_max = requests_max;
	return t;
}

static void assert_refused(const struct client *c, const char *code, const char *message)
{
	assert_int_equal(c->ends, 1);
	assert_int_equal(c->why, EXCHANGE_REFUSED);
	assert_int_equal(c->status, 503);
	assert_string_equal(c->code, code);
	assert_true(c->retry_after_s > 0);
	if (message != NULL)
		assert_non_null(strstr(c->message, message));
}

static void assert_stopped(enum actor_stopped how, const char *reason)
{
	assert_int_equal(world.n_stopped, 1);
	assert_int_equal(world.last.kind, REPORT_STOPPED);
	assert_int_equal(world.last.how, how);
	if (reason == NULL)
		assert_null(world.last.reason);
	else
		assert_string_equal(world.last.reason, reason);
}

static void test_what_came_while_starting_is_forwarded(void **state)
{
	(void)state;
	world_open();
	struct client c[3];
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	struct place *pl = world_place_of("a", 1);
	for (size_t i = 0; i < 3; i++) {
		client_open(&c[i], EXCHANGE_HTTP);
		assert_int_equal(client_offer(&c[i], "a"), DISPATCH_TAKEN);
		if (i == 0)
			world_placed(pl);
		world_turn();
	}
	assert_int_equal(pl->n_calls, 0);
	client_leave(&c[1]);
	world_loaded(pl);
	assert_int_equal(world.n_running, 0);
	world_turn();
	assert_int_equal(world.n_running, 1);
	assert_int_equal(pl->n_calls, 2);
	assert_ptr_equal(world_first_call(pl)->x, c[0].x);
	for (size_t i = 0; i < 2; i++)
		world_answer(world_first_call(pl), EXCHANGE_DONE);
	assert_int_equal(c[0].ends + c[2].ends, 2);
	world_close();
	assert_stopped(STOPPED_ASKED, "drain");
}

static void test_a_running_actor_forwards_at_once(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	struct client c;
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
	assert_int_equal(pl->n_calls, 1);
	client_leave(&c);
	assert_int_equal(pl->n_calls, 0);
	world_close();
}

static void test_outcomes_of_an_offer(void **state)
{
	(void)state;
	world_open();
	struct client c;
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_ABSENT);
	struct place *pl = world_running("a", 1, &world_type);
	assert_int_equal(client_offer(&c, "b"), DISPATCH_ABSENT);
	world_stop("a", 1, "sleep", 0);
	world_turn();
	assert_int_equal(client_offer(&c, "a"), DISPATCH_STOPPING);
	world_lost(pl, PLACE_STOPPED, NULL);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_STOPPING);
	world_turn();
	assert_int_equal(client_offer(&c, "a"), DISPATCH_ABSENT);
	client_leave(&c);
	world_close();
}

static void test_waiting_has_a_bound(void **state)
{
	(void)state;
	static struct client c[LIMIT_ACTOR_WAITING + 1];
	world_open();
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	for (size_t i = 0; i < LIMIT_ACTOR_WAITING; i++) {
		client_open(&c[i], EXCHANGE_HTTP);
		assert_int_equal(client_offer(&c[i], "a"), DISPATCH_TAKEN);
	}
	struct client *over = &c[LIMIT_ACTOR_WAITING];
	client_open(over, EXCHANGE_HTTP);
	assert_int_equal(client_offer(over, "a"), DISPATCH_FULL);
	client_leave(&c[7]);
	assert_int_equal(client_offer(over, "a"), DISPATCH_TAKEN);
	world_unplaceable(world_place_of("a", 1), "4 workers run already");
	world_turn();
	for (size_t i = 0; i < ARRAY_SIZE(c); i++) {
		if (i != 7)
			assert_refused(&c[i], "actor.overloaded", "4 workers run already");
	}
	assert_stopped(STOPPED_UNPLACEABLE, NULL);
	world_close();
}

static void test_a_failed_start_refuses_all_at_once(void **state)
{
	(void)state;
	world_open();
	struct client c[2];
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	for (size_t i = 0; i < 2; i++) {
		client_open(&c[i], EXCHANGE_HTTP);
		assert_int_equal(client_offer(&c[i], "a"), DISPATCH_TAKEN);
	}
	world_placed(world_place_of("a", 1));
	world_lost(world_place_of("a", 1), PLACE_START_FAILED, "the worker ended with code 3: no such module");
	world_turn();
	for (size_t i = 0; i < 2; i++)
		assert_refused(&c[i], "actor.start_failed", "no such module");
	assert_stopped(STOPPED_START_FAILED, NULL);
	assert_non_null(strstr(world.message, "no such module"));
	assert_int_equal(actor_table_count(world_table), 0);
	world_close();
}

/* The pool may know that nothing can be spawned before it told of a seat. */
static void test_a_start_that_fails_before_it_is_placed(void **state)
{
	(void)state;
	world_open();
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	world_lost(world_place_of("a", 1), PLACE_START_FAILED, "no such file");
	world_turn();
	assert_stopped(STOPPED_START_FAILED, NULL);
	world_close();
}

static void test_a_crash_while_loading(void **state)
{
	(void)state;
	world_open();
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	struct client c;
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
	world_placed(world_place_of("a", 1));
	world_turn();
	world_lost(world_place_of("a", 1), PLACE_CRASHED, "signal 11");
	world_turn();
	assert_refused(&c, "actor.start_failed", "signal 11");
	assert_stopped(STOPPED_CRASHED, NULL);
	world_close();
}

static void test_a_start_that_never_ends_is_killed(void **state)
{
	(void)state;
	world_open();
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	struct place *pl = world_place_of("a", 1);
	struct client c;
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
	world_pass(100000); /* waiting for a seat is the pool's to bound */
	assert_int_equal(c.ends, 0);
	world_placed(pl);
	world_turn();
	world_pass(25000); /* the pool's own limit comes first */
	assert_false(pl->killed);
	world_pass(5000);
	assert_true(pl->killed);
	assert_refused(&c, "actor.start_failed", "not ready in time");
	assert_int_equal(world.n_stopped, 0);
	world_lost(pl, PLACE_START_FAILED, "killed");
	world_turn();
	assert_stopped(STOPPED_START_FAILED, NULL);
	world_close();
}

static void test_stop_while_waiting_for_a_seat(void **state)
{
	(void)state;
	world_open();
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	struct place *pl = world_place_of("a", 1);
	world_stop("a", 1, "destroy", 0);
	world_turn();
	assert_stopped(STOPPED_ASKED, "destroy");
	assert_true(pl->killed);
	/* The id is free while the old seat is still there. */
	assert_int_equal(world_start_with("a", 2, &world_type, 0), 0);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_int_equal(world.n_stopped, 1);
	assert_int_equal(actor_table_count(world_table), 1);
	world_close();
}

static void test_stop_while_loading_hands_back(void **state)
{
	(void)state;
	world_open();
	world.keep_leftover = true;
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	struct place *pl = world_place_of("a", 1);
	struct client c;
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
	world_placed(pl);
	world_turn();
	world_stop("a", 1, "sleep", 4000);
	world_turn();
	assert_true(pl->stopped);
	assert_string_equal(pl->stop_reason, "sleep");
	assert_int_equal(pl->stop_ms, 4000);
	assert_int_equal(c.ends, 0);
	world_loaded(pl); /* too late to matter */
	world_turn();
	assert_int_equal(world.n_running, 0);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_stopped(STOPPED_ASKED, "sleep");
	assert_int_equal(world.n_leftover, 1);
	assert_int_equal(c.ends, 0);
	client_leave(&c);
	assert_true(list_empty(&world.kept));
	world_close();
}

static void test_what_the_driver_leaves_is_refused(void **state)
{
	(void)state;
	struct actor_type one = limited(1);
	world_open();
	struct place *pl = world_running("a", 1, &one);
	struct client c[3];
	for (size_t i = 0; i < 3; i++) {
		client_open(&c[i], EXCHANGE_HTTP);
		assert_int_equal(client_offer(&c[i], "a"), DISPATCH_TAKEN);
	}
	world_stop("a", 1, "drain", 0);
	world_turn();
	assert_int_equal(pl->stop_ms, one.stop_grace_ms);
	world_answer(world_first_call(pl), EXCHANGE_DONE); /* what runs is served, what waits is not begun */
	world_turn();
	assert_int_equal(c[0].why, EXCHANGE_DONE);
	assert_int_equal(pl->n_calls, 0);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_int_equal(world.n_leftover, 2);
	assert_refused(&c[1], "actor.stopping", NULL);
	assert_refused(&c[2], "actor.stopping", NULL);
	world_close();
}

static void test_requests_max_holds_back(void **state)
{
	(void)state;
	struct actor_type two = limited(2);
	world_open();
	struct place *pl = world_running("a", 1, &two);
	struct client c[5];
	for (size_t i = 0; i < 5; i++) {
		client_open(&c[i], i == 0 ? EXCHANGE_WEBSOCKET : EXCHANGE_HTTP);
		assert_int_equal(client_offer(&c[i], "a"), DISPATCH_TAKEN);
	}
	assert_int_equal(pl->n_calls, 2);
	/* An open WebSocket is no request any more. */
	struct world_call *ws = world_first_call(pl);
	world_join(ws);
	world_ws_open(ws);
	world_turn();
	assert_int_equal(pl->n_calls, 3);
	client_leave(&c[4]); /* the last one waiting */
	world_answer(CONTAINER_OF(pl->calls.prev, struct world_call, node), EXCHANGE_DONE);
	assert_int_equal(pl->n_calls, 2); /* never from inside the event */
	world_turn();
	assert_int_equal(pl->n_calls, 3);
	assert_int_equal(c[2].ends, 1); /* in the order they came */
	assert_int_equal(c[3].ends, 0);
	while (!list_empty(&pl->calls))
		world_answer(world_first_call(pl), EXCHANGE_DONE);
	world_close();
}

static void test_a_crash_refuses_what_was_held_back(void **state)
{
	(void)state;
	struct actor_type one = limited(1);
	world_open();
	struct place *pl = world_running("a", 1, &one);
	struct client c[2];
	for (size_t i = 0; i < 2; i++) {
		client_open(&c[i], EXCHANGE_HTTP);
		assert_int_equal(client_offer(&c[i], "a"), DISPATCH_TAKEN);
	}
	world_lost(pl, PLACE_CRASHED, "exit code 1");
	world_turn();
	assert_int_equal(c[0].why, EXCHANGE_CRASHED);
	assert_refused(&c[1], "guard.actor_stopped_while_waiting", "exit code 1");
	assert_stopped(STOPPED_CRASHED, NULL);
	world_close();
}

static void test_a_silent_stop_ends_in_a_kill(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_stop("a", 1, "sleep", 3000);
	world_turn();
	world_pass(3000);
	assert_false(pl->killed);
	world_pass(2000);
	assert_true(pl->killed);
	assert_int_equal(world.n_stopped, 0);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_stopped(STOPPED_ASKED, "sleep");
	world_close();
}

/* The seat is gone, the deadline was queued before that was told. */
static void test_deadline_and_end_in_one_turn(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_stop("a", 1, "sleep", 3000);
	world_turn();
	world_mono_ms += 6000;
	loop_skew(world_loop, 0);
	struct loop_task task;
	loop_task_init(&task, world_nothing, NULL);
	loop_post(world_loop, &task);
	loop_turn(world_loop); /* the timer fires; the table does not run */
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_stopped(STOPPED_ASKED, "sleep");
	world_close();
}

static void test_a_later_stop_shortens_and_outranks(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_stop("a", 1, "destroy", 0);
	world_turn();
	world_pass(1000);
	world_stop("a", 1, "drain", 20000); /* neither shorter nor heavier */
	world_turn();
	assert_string_equal(pl->stop_reason, "destroy");
	assert_int_equal(pl->stop_ms, world_type.stop_grace_ms);
	world_stop("a", 1, "evicted", 1500);
	world_turn();
	assert_string_equal(pl->stop_reason, "evicted");
	assert_int_equal(pl->stop_ms, 1500);
	world_pass(3500);
	assert_true(pl->killed);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_stopped(STOPPED_ASKED, "evicted");
	world_close();
}

static void test_a_stop_before_the_first_is_handled(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_stop("a", 1, "sleep", 0);
	world_stop("a", 1, "destroy", 700);
	world_stop("a", 2, "lost", 1); /* another generation: not meant */
	world_turn();
	assert_string_equal(pl->stop_reason, "destroy");
	assert_int_equal(pl->stop_ms, 700);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_stopped(STOPPED_ASKED, "destroy");
	world_close();
}

static void test_a_worker_that_breaks_the_rules_is_killed(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_loaded(pl);
	world_turn();
	assert_true(pl->killed);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_stopped(STOPPED_CRASHED, NULL);
	world_close();
}

static void test_a_crash_while_stopping_was_asked_for(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_stop("a", 1, "restart", 0);
	world_turn();
	world_lost(pl, PLACE_CRASHED, "exit code 1");
	world_turn();
	assert_stopped(STOPPED_ASKED, "restart");
	world_close();
}

int main(void)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_came_while_starting_is_forwarded),
	    cmocka_unit_test(test_a_running_actor_forwards_at_once),
	    cmocka_unit_test(test_outcomes_of_an_offer),
	    cmocka_unit_test(test_waiting_has_a_bound),
	    cmocka_unit_test(test_a_failed_start_refuses_all_at_once),
	    cmocka_unit_test(test_a_start_that_fails_before_it_is_placed),
	    cmocka_unit_test(test_a_crash_while_loading),
	    cmocka_unit_test(test_a_start_that_never_ends_is_killed),
	    cmocka_unit_test(test_stop_while_waiting_for_a_seat),
	    cmocka_unit_test(test_stop_while_loading_hands_back),
	    cmocka_unit_test(test_what_the_driver_leaves_is_refused),
	    cmocka_unit_test(test_requests_max_holds_back),
	    cmocka_unit_test(test_a_crash_refuses_what_was_held_back),
	    cmocka_unit_test(test_a_silent_stop_ends_in_a_kill),
	    cmocka_unit_test(test_deadline_and_end_in_one_turn),
	    cmocka_unit_test(test_a_later_stop_shortens_and_outranks),
	    cmocka_unit_test(test_a_stop_before_the_first_is_handled),
	    cmocka_unit_test(test_a_worker_that_breaks_the_rules_is_killed),
	    cmocka_unit_test(test_a_crash_while_stopping_was_asked_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
