/* An actor's alarm: kept under its key, set at the engine, rung by its own timer. */
#include "lib/engine_world.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct place *actor;

static int set_up(void **state)
{
	(void)state;
	engine_world_open(&world_type, 3);
	online(false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_world_close();
	return 0;
}

static size_t requests(void)
{
	return lnk->n_kv;
}

/* Of the record that was written last. */
static struct slice written(void)
{
	struct slice value = SLICE_NONE;
	for (size_t i = lnk->n_kv; i > 0; i--) {
		if (lnk->kv[i - 1].q.op != RUNNER_KV_PUT)
			continue;
		struct runner_walk w = runner_walk_of(lnk->kv[i - 1].q.values);
		assert_true(runner_bytes_next(&w, &value));
		return value;
	}
	fail_msg("nothing was written");
	return value;
}

/* Answers the last request, which reads both keys: the first has the record, the second what became of one that was
 * given up. */
static void read_back_as(size_t which, struct slice record)
{
	struct buf keys, values, metadata;
	size_t n = record.n > 0;
	buf_init(&keys, 1024);
	buf_init(&values, 1024);
	buf_init(&metadata, 1024);
	if (n > 0) {
		struct runner_walk w = runner_walk_of(lnk->kv[lnk->n_kv - 1].q.keys);
		struct slice key = SLICE_NONE;
		for (size_t i = 0; i <= which; i++)
			assert_true(runner_bytes_next(&w, &key) && key.p[0] == 0); /* reserved */
		assert_int_equal(runner_bytes_put(&keys, key), 0);
		assert_int_equal(runner_bytes_put(&values, record), 0);
		assert_int_equal(runner_kv_metadata_put(&metadata, &(struct runner_kv_metadata){.update_ms = 1}), 0);
	}
	assert_int_equal(lnk->kv[lnk->n_kv - 1].q.op, RUNNER_KV_GET);
	say(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_KV_RESPONSE,
				       .kv = {.request_id = lnk->kv[lnk->n_kv - 1].q.request_id,
					      .answer = RUNNER_KV_ANSWER_GET,
					      .keys = runner_list_of(buf_slice(&keys), n),
					      .values = runner_list_of(buf_slice(&values), n),
					      .metadata = runner_list_of(buf_slice(&metadata), n)}});
	buf_done(&keys);
	buf_done(&values);
	buf_done(&metadata);
}

static void read_back(struct slice record)
{
	read_back_as(0, record);
}

static void run_unread(uint32_t generation)
{
	add_start(A, generation, 0);
	command();
	actor = world_place_of(A, generation);
	world_placed(actor);
	world_loaded(actor);
	turn();
}

static void run(uint32_t generation, struct slice record)
{
	run_unread(generation);
	read_back(record);
}

static char shown[512];

static void on_seen(void *arg, const struct engine_view *v)
{
	(void)arg;
	(void)snprintf(shown, sizeof(shown), "%.*s", SLICE_FMT(v->alarm_failed_json));
}

/* What an operator sees of a failed alarm; "": nothing. */
static const char *failure(void)
{
	shown[0] = '\0';
	engine_each(engine, NULL, A, on_seen, NULL);
	return shown;
}

static void sleep_now(uint32_t generation)
{
	world_runtime(actor, (struct runtime_call){.kind = RUNTIME_SLEEP});
	turn();
	add_stop(A, generation, 1);
	command();
	world_lost(actor, PLACE_STOPPED, NULL);
	turn();
}

static const struct runner_event *alarm_set(void)
{
	for (size_t i = lnk->n_events; i > 0; i--) {
		if (lnk->events[i - 1].ev.kind == RUNNER_EVENT_ALARM)
			return &lnk->events[i - 1].ev;
	}
	IMPOSSIBLE("no alarm was set");
}

static void set(int64_t at_wall_ms)
{
	world_runtime(actor, (struct runtime_call){.kind = RUNTIME_ALARM_SET, .at_wall_ms = at_wall_ms});
	turn();
	answer_kv(requests() - 1, at_wall_ms > 0 ? RUNNER_KV_ANSWER_PUT : RUNNER_KV_ANSWER_DELETE, NULL, "");
}

static void test_written_then_set(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	int64_t due = clock_wall_ms() + 5000;
	size_t before = lnk->n_events;
	world_runtime(actor, (struct runtime_call){.kind = RUNTIME_ALARM_SET, .at_wall_ms = due});
	turn();
	assert_int_equal(lnk->n_events, before); /* not before it is kept */
	assert_int_equal(world_n_answered, 0);
	answer_kv(requests() - 1, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_true(alarm_set()->has_alarm && alarm_set()->alarm_wall_ms == due);
	assert_int_equal(world_n_answered, 1);
	world_runtime(actor, (struct runtime_call){.kind = RUNTIME_ALARM_GET});
	turn();
	assert_true(world_answered.alarm_at_wall_ms == due);
	pass(5000);
	assert_true(actor->alarm_calling && actor->alarm_due_wall_ms == due);
	world_alarm_done(actor, true);
	turn();
	assert_int_equal(lnk->kv[requests() - 1].q.op, RUNNER_KV_DELETE);
	answer_kv(requests() - 1, RUNNER_KV_ANSWER_DELETE, NULL, "");
	assert_false(alarm_set()->has_alarm);
}

static void test_read_at_start(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	int64_t due = clock_wall_ms() + 5000;
	set(due);
	struct slice record = written();
	sleep_now(1);
	lnk->n_events = 0;
	pass(4995); /* the engine wakes a little early */
	run(2, record);
	assert_true(alarm_set()->has_alarm && alarm_set()->alarm_wall_ms == due);
	assert_false(actor->alarm_calling);
	pass(5);
	assert_true(actor->alarm_calling && actor->alarm_due_wall_ms == due);
	assert_int_equal(actor->alarm_attempt, 1);
	world_alarm_done(actor, true);
	turn();
}

static void test_attempts(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	int64_t due = clock_wall_ms() + 1000, wait_ms = 2000;
	set(due);
	pass(1000);
	for (int attempt = 1; attempt < 6; attempt++, wait_ms *= 2) {
		assert_true(actor->alarm_calling);
		assert_int_equal(actor->alarm_attempt, attempt);
		assert_true(actor->alarm_due_wall_ms == due);
		int64_t now = clock_wall_ms();
		world_alarm_done(actor, false);
		turn();
		answer_kv(requests() - 1, RUNNER_KV_ANSWER_PUT, NULL, "");
		assert_true(alarm_set()->alarm_wall_ms == now + wait_ms); /* wakes it, should it sleep by then */
		pass(wait_ms);
	}
	assert_int_equal(actor->alarm_attempt, 6);
	assert_string_equal(failure(), "");
	world_alarm_done(actor, false);
	turn();
	assert_int_equal(lnk->kv[requests() - 2].q.op, RUNNER_KV_PUT);
	assert_true(slice_starts(written(), "{\"due_at\":"));
	assert_true(slice_is(written(), failure()));
	answer_kv(requests() - 2, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(lnk->kv[requests() - 1].q.op, RUNNER_KV_DELETE);
	answer_kv(requests() - 1, RUNNER_KV_ANSWER_DELETE, NULL, "");
	assert_false(alarm_set()->has_alarm);
	pass(3600000);
	assert_false(actor->alarm_calling);
}

/* By whichever runner: it goes with the actor's state. */
static void test_a_failed_alarm_is_read_with_the_record(void **state)
{
	(void)state;
	run_unread(1);
	read_back_as(1, SLICE_LIT("{\"due_at\":5,\"failed_at\":6,\"reason\":\"r\"}"));
	assert_false(alarm_set()->has_alarm);
	assert_string_equal(failure(), "{\"due_at\":5,\"failed_at\":6,\"reason\":\"r\"}");
	sleep_now(1);
	assert_string_equal(failure(), "{\"due_at\":5,\"failed_at\":6,\"reason\":\"r\"}");
	run_unread(2);
	read_back_as(1, SLICE_LIT("{\"due_at\":")); /* cut: would spoil what an operator is told */
	assert_true(slice_starts(slice_str(failure()), "{\"due_at\":5,"));
}

static void test_attempts_survive_sleep(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	set(clock_wall_ms() + 1000);
	pass(1000);
	world_alarm_done(actor, false);
	turn();
	answer_kv(requests() - 1, RUNNER_KV_ANSWER_PUT, NULL, "");
	struct slice record = written();
	sleep_now(1);
	run(2, record); /* woken by a request, before its time */
	assert_false(actor->alarm_calling);
	pass(2000);
	assert_true(actor->alarm_calling);
	assert_int_equal(actor->alarm_attempt, 2);
	world_alarm_done(actor, true);
	turn();
}

static void test_crash_is_an_attempt(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	set(clock_wall_ms() + 1000);
	pass(1000);
	assert_true(actor->alarm_calling);
	lnk->n_events = 0;
	world_lost(actor, PLACE_CRASHED, "died");
	turn();
	assert_int_equal(lnk->n_events, 0); /* the attempt is written first */
	answer_kv(requests() - 1, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_true(alarm_set()->alarm_wall_ms > clock_wall_ms());
	assert_int_equal(lnk->events[lnk->n_events - 1].ev.kind, RUNNER_EVENT_STOPPED);
}

static void test_failed_start_is_an_attempt(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	set(clock_wall_ms() + 1000);
	struct slice record = written();
	sleep_now(1);
	pass(1000);
	add_start(A, 2, 0);
	command();
	struct place *pl = world_place_of(A, 2);
	world_placed(pl);
	world_lost(pl, PLACE_START_FAILED, "no such program");
	turn();
	read_back(record);
	assert_int_equal(lnk->kv[requests() - 1].q.op, RUNNER_KV_PUT);
	answer_kv(requests() - 1, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(lnk->events[lnk->n_events - 1].ev.kind, RUNNER_EVENT_STOPPED);
	assert_true(alarm_set()->alarm_wall_ms > clock_wall_ms());
}

static void test_set_anew_while_it_rings(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	set(clock_wall_ms() + 1000);
	pass(1000);
	int64_t due = clock_wall_ms() + 7000;
	world_runtime(actor, (struct runtime_call){.kind = RUNTIME_ALARM_SET, .at_wall_ms = due});
	turn();
	size_t set_at = requests() - 1;
	world_alarm_done(actor, true); /* before the answer to its own call */
	turn();
	answer_kv(set_at, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(requests() - 1, set_at); /* the new one was not deleted */
	pass(7000);
	assert_true(actor->alarm_calling && actor->alarm_due_wall_ms == due);
	world_alarm_done(actor, true);
	turn();
}

static void test_unreadable(void **state)
{
	(void)state;
	add_start(A, 1, 0);
	command();
	actor = world_place_of(A, 1);
	world_placed(actor);
	world_loaded(actor);
	turn();
	pass(LIMIT_ENGINE_KV_MS);
	for (size_t i = 0; i < lnk->n_events; i++)
		assert_int_not_equal(lnk->events[i].ev.kind, RUNNER_EVENT_ALARM); /* what is there stays */
	size_t before = requests();
	pass(5000);
	assert_int_equal(requests(), before + 1);
	read_back(SLICE_LIT("rubbish"));
	assert_false(alarm_set()->has_alarm);
}

static void test_set_without_an_answer(void **state)
{
	(void)state;
	run(1, SLICE_NONE);
	world_runtime(actor, (struct runtime_call){.kind = RUNTIME_ALARM_SET, .at_wall_ms = clock_wall_ms() + 99000});
	turn();
	struct slice record = written();
	pass(LIMIT_ENGINE_KV_MS);
	assert_int_equal(world_outcome, RUNTIME_UNAVAILABLE);
	assert_true(world_answered.indeterminate);
	pass(1);
	read_back(record); /* it was done after all */
	assert_true(alarm_set()->has_alarm);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_written_then_set),
	    TEST(test_read_at_start),
	    TEST(test_attempts),
	    TEST(test_a_failed_alarm_is_read_with_the_record),
	    TEST(test_attempts_survive_sleep),
	    TEST(test_crash_is_an_attempt),
	    TEST(test_failed_start_is_an_attempt),
	    TEST(test_set_anew_while_it_rings),
	    TEST(test_unreadable),
	    TEST(test_set_without_an_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
