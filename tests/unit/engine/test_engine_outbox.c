#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/engine_outbox.h"

#define NOW 1700000000000
#define ID "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OTHER "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static struct engine_outbox *box;
static struct runner_event got[64];
static size_t n_got;
static bool last;
static struct buf frame;

static int set_up(void **state)
{
	(void)state;
	box = engine_outbox_new(8);
	buf_init(&frame, 1 << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_outbox_free(box);
	buf_done(&frame);
	return 0;
}

static void put(const char *id, uint32_t generation, enum runner_event_kind kind)
{
	const struct runner_event ev = {.checkpoint = {.actor_id = slice_str(id), .generation = generation},
					.kind = kind,
					.has_message = kind == RUNNER_EVENT_STOPPED,
					.message = SLICE_LIT("why"),
					.has_alarm = kind == RUNNER_EVENT_ALARM,
					.alarm_wall_ms = 77};
	assert_int_equal(engine_outbox_put(box, &ev, NOW), 0);
}

static size_t take(size_t n_max, int64_t now_mono_ms)
{
	buf_reset(&frame);
	size_t n = engine_outbox_take(box, &frame, n_max, now_mono_ms, &last);
	struct runner_walk w = runner_walk_of(runner_list_of(buf_slice(&frame), n));
	n_got = 0;
	while (runner_event_next(&w, &got[n_got]))
		n_got++;
	assert_int_equal(n_got, n);
	return n;
}

static void ack(const char *id, uint32_t generation, int64_t index)
{
	engine_outbox_acked(
	    box, &(struct runner_checkpoint){.actor_id = slice_str(id), .generation = generation, .index = index});
}

static void test_numbers(void **state)
{
	(void)state;
	put(ID, 3, RUNNER_EVENT_RUNNING);
	put(ID, 3, RUNNER_EVENT_ALARM);
	put(OTHER, 3, RUNNER_EVENT_RUNNING);
	put(ID, 3, RUNNER_EVENT_STOPPED);
	assert_int_equal(take(64, 5), 4);
	assert_true(last);
	assert_true(got[0].checkpoint.index == (int64_t)NOW * 256);
	assert_true(got[1].checkpoint.index == (int64_t)NOW * 256 + 256);
	assert_true(got[2].checkpoint.index == (int64_t)NOW * 256);
	assert_true(got[3].checkpoint.index == (int64_t)NOW * 256 + 512);
	assert_true(slice_is(got[0].checkpoint.actor_id, ID));
	assert_true(got[1].has_alarm && got[1].alarm_wall_ms == 77);
	assert_true(slice_is(got[3].message, "why"));
	assert_int_equal(take(64, 5), 0);
	assert_false(last);
}

static void test_budget(void **state)
{
	(void)state;
	put(ID, 1, RUNNER_EVENT_RUNNING);
	put(ID, 1, RUNNER_EVENT_SLEEP);
	put(ID, 1, RUNNER_EVENT_STOPPED);
	assert_int_equal(take(2, 5), 2);
	assert_false(last);
	assert_int_equal(engine_outbox_waiting(box), 1);
	assert_int_equal(take(2, 5), 1);
	assert_true(last);
}

static void test_acks_go_by_generation(void **state)
{
	(void)state;
	put(ID, 1, RUNNER_EVENT_RUNNING);
	put(ID, 2, RUNNER_EVENT_RUNNING);
	assert_int_equal(take(64, 5), 2);
	ack(ID, 1, INT64_MAX);
	assert_int_equal(engine_outbox_count(box), 1);
	assert_true(engine_outbox_has(box, SLICE_LIT(ID), 2, RUNNER_EVENT_RUNNING));
	assert_false(engine_outbox_has(box, SLICE_LIT(ID), 1, RUNNER_EVENT_RUNNING));
	ack(ID, 2, (int64_t)NOW * 256 - 1);
	assert_int_equal(engine_outbox_count(box), 1);
	ack(ID, 2, (int64_t)NOW * 256);
	assert_int_equal(engine_outbox_count(box), 0);
	ack("", 2, 1);
	ack("nobody", 2, 1);
}

static void test_replay_keeps_order(void **state)
{
	(void)state;
	put(ID, 1, RUNNER_EVENT_RUNNING);
	put(OTHER, 1, RUNNER_EVENT_RUNNING);
	assert_int_equal(take(64, 5), 2);
	put(ID, 1, RUNNER_EVENT_STOPPED);
	engine_outbox_replay(box);
	assert_int_equal(engine_outbox_waiting(box), 3);
	assert_int_equal(take(64, 9), 3);
	assert_true(slice_is(got[0].checkpoint.actor_id, ID) && got[0].kind == RUNNER_EVENT_RUNNING);
	assert_true(slice_is(got[1].checkpoint.actor_id, OTHER));
	assert_int_equal(got[2].kind, RUNNER_EVENT_STOPPED);
	assert_true(got[0].checkpoint.index == (int64_t)NOW * 256); /* the same number */
}

static void test_newer_takes_the_place(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		put(ID, 1, RUNNER_EVENT_ALARM);
	assert_int_equal(engine_outbox_count(box), 1);
	assert_int_equal(take(64, 5), 1);
	assert_true(got[0].checkpoint.index == (int64_t)NOW * 256 + 99 * 256);
	put(ID, 1, RUNNER_EVENT_ALARM); /* also of one that was sent */
	assert_int_equal(engine_outbox_count(box), 1);
}

static void test_nothing_behind_stopped(void **state)
{
	(void)state;
	put(ID, 1, RUNNER_EVENT_STOPPED);
	put(ID, 1, RUNNER_EVENT_ALARM);
	assert_int_equal(take(64, 5), 1);
	ack(ID, 1, INT64_MAX);
	assert_int_equal(engine_outbox_count(box), 0);
}

static void test_age(void **state)
{
	(void)state;
	put(ID, 1, RUNNER_EVENT_RUNNING);
	assert_int_equal(take(64, 100), 1);
	put(OTHER, 1, RUNNER_EVENT_RUNNING);
	assert_int_equal(take(64, 200), 1);
	assert_int_equal(engine_outbox_age(box, 150, 2), 0);
	assert_int_equal(take(64, 300), 1);
	assert_true(slice_is(got[0].checkpoint.actor_id, ID));
	assert_int_equal(engine_outbox_age(box, 300, 2), 1); /* ID had its two */
	assert_int_equal(take(64, 400), 1);
	assert_true(slice_is(got[0].checkpoint.actor_id, OTHER));
}

static void test_bound(void **state)
{
	(void)state;
	char id[8] = "";
	struct runner_event ev = {.kind = RUNNER_EVENT_RUNNING};
	for (char c = '0'; c < '8'; c++) {
		memcpy(id, (const char[]){'a', c, 0}, 3);
		ev.checkpoint.actor_id = slice_str(id);
		assert_int_equal(engine_outbox_put(box, &ev, NOW), 0);
	}
	memcpy(id, "zz", 3);
	ev.checkpoint.actor_id = slice_str(id);
	assert_int_equal(engine_outbox_put(box, &ev, NOW), ENGINE_OUTBOX_FULL);
	engine_outbox_forget(box, SLICE_LIT("a3"), 0);
	assert_int_equal(engine_outbox_put(box, &ev, NOW), 0);
	engine_outbox_clear(box);
	assert_int_equal(engine_outbox_count(box), 0);
	assert_int_equal(take(64, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_numbers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_budget, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_acks_go_by_generation, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_replay_keeps_order, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_newer_takes_the_place, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_nothing_behind_stopped, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_age, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_bound, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
