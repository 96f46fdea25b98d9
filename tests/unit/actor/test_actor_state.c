/* What a worker's runtime calls do, by the state its actor is in. */
#include "lib/actor_world.h"

#include "base/log.h"

#include <unistd.h>

static const enum runtime_kind durable[] = {
    RUNTIME_INPUT,   RUNTIME_KV_GET,          RUNTIME_KV_PUT,       RUNTIME_KV_DELETE,
    RUNTIME_KV_LIST, RUNTIME_KV_DELETE_RANGE, RUNTIME_KV_BATCH_GET, RUNTIME_ALARM_SET,
};

static struct place *loading(void)
{
	assert_int_equal(world_start_with("a", 1, &world_type, clock_wall_ms() + 777), 0);
	struct place *pl = world_place_of("a", 1);
	world_placed(pl);
	world_turn();
	return pl;
}

/* The driver gets it; its answer goes through. */
static void assert_durable_works(struct place *pl)
{
	for (size_t i = 0; i < ARRAY_SIZE(durable); i++) {
		world_runtime(pl, (struct runtime_call){.kind = durable[i]});
		assert_non_null(world.state);
		assert_int_equal(world.state->kind, durable[i]);
		assert_ptr_equal(world.state_data, &world);
		runtime_call_done(TAKE(world.state), RUNTIME_OK);
	}
}

static void assert_all_answered(struct place *pl, const enum runtime_kind *kinds, size_t n, enum runtime_outcome want)
{
	for (size_t i = 0; i < n; i++) {
		size_t before = world_n_answered;
		world_runtime(pl, (struct runtime_call){.kind = kinds[i], .ttl_ms = 1000, .lease = "x"});
		assert_int_equal(world_n_answered, before); /* never from inside */
		assert_null(world.state);
		world_turn();
		assert_int_equal(world_n_answered, before + 1);
		assert_int_equal(world_outcome, want);
	}
}

static const enum runtime_kind wishes[] = {RUNTIME_SLEEP, RUNTIME_DESTROY, RUNTIME_KEEP_AWAKE};

static void test_from_loading_on(void **state)
{
	(void)state;
	world_open();
	struct place *pl = loading();
	assert_durable_works(pl);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_INFO});
	world_turn();
	assert_int_equal(world_outcome, RUNTIME_OK);
	assert_int_equal(world_answered.alarm_at_wall_ms, clock_wall_ms() + 777);
	world_loaded(pl);
	world_turn();
	assert_durable_works(pl);
	world_set_alarm("a", 1, 123456789012345, 0);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_ALARM_GET});
	world_turn();
	assert_int_equal(world_answered.alarm_at_wall_ms, 123456789012345);
	world_close();
}

static void test_stopping(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_stop("a", 1, "sleep", 0);
	world_turn();
	assert_durable_works(pl);
	assert_all_answered(pl, wishes, ARRAY_SIZE(wishes), RUNTIME_STOPPING);
	assert_all_answered(pl, (const enum runtime_kind[]){RUNTIME_LEASE_END}, 1, RUNTIME_ABSENT);
	assert_all_answered(pl, (const enum runtime_kind[]){RUNTIME_INFO}, 1, RUNTIME_OK);
	assert_int_equal(world.n_sleep + world.n_destroy, 0);
	world_close();
}

static void test_evicted_and_lost_have_no_state(void **state)
{
	(void)state;
	static const char *const reasons[] = {"evicted", "lost"};
	for (size_t i = 0; i < 2; i++) {
		world_open();
		struct place *pl = world_running("a", 1, &world_type);
		world_stop("a", 1, reasons[i], 1500);
		world_turn();
		assert_all_answered(pl, durable, ARRAY_SIZE(durable), RUNTIME_STOPPING);
		world_close();
	}
}

static void test_killing_and_stopped_are_stale(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	world_stop("a", 1, "sleep", 1);
	world_turn();
	world_pass(2001);
	assert_true(pl->killed);
	assert_all_answered(pl, durable, ARRAY_SIZE(durable), RUNTIME_STALE);
	assert_all_answered(pl, wishes, ARRAY_SIZE(wishes), RUNTIME_STALE);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	/* Stopped before its worker was known to come; it came all the same. */
	assert_int_equal(world_start_with("a", 2, &world_type, 0), 0);
	pl = world_place_of("a", 2);
	world_stop("a", 2, "sleep", 0);
	world_turn();
	world_placed(pl);
	assert_all_answered(pl, durable, ARRAY_SIZE(durable), RUNTIME_STALE);
	world_close();
}

static void test_each_intent_passes_once(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	for (int i = 0; i < 3; i++) {
		assert_all_answered(pl, wishes, 1, RUNTIME_OK);
		assert_int_equal(world.n_sleep, 1);
		assert_int_equal(world.n_destroy, 0);
	}
	for (int i = 0; i < 3; i++) {
		assert_all_answered(pl, &wishes[1], 1, RUNTIME_OK);
		assert_int_equal(world.n_destroy, 1);
	}
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static void test_intents_before_it_runs_are_remembered(void **state)
{
	(void)state;
	world_open();
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	struct place *pl = world_place_of("a", 1);
	assert_all_answered(pl, wishes, 1, RUNTIME_OK); /* even before `placed` */
	world_placed(pl);
	world_turn();
	assert_all_answered(pl, &wishes[1], 1, RUNTIME_OK);
	assert_int_equal(world.n_reports, 0);
	world_loaded(pl);
	world_turn();
	assert_int_equal(world.n_running, 1);
	assert_int_equal(world.n_sleep, 1);
	assert_int_equal(world.n_destroy, 1);
	world_close();
}

int main(void)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_from_loading_on),
	    cmocka_unit_test(test_stopping),
	    cmocka_unit_test(test_evicted_and_lost_have_no_state),
	    cmocka_unit_test(test_killing_and_stopped_are_stale),
	    cmocka_unit_test(test_each_intent_passes_once),
	    cmocka_unit_test(test_intents_before_it_runs_are_remembered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
