/* The window by marks: what is on the way is bounded, and it always opens again. */
#include "engine/engine_window.h"

#include "base/limits.h"
#include "codec/runner_msg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Marks that were sent, as their bytes, oldest first. */
struct peer {
	struct engine_window w;
	uint8_t marks[64][ENGINE_WINDOW_MARK_BYTES];
	size_t n, answered;
	int64_t now;
};

static void mark_if_due(struct peer *p)
{
	if (engine_window_mark(&p->w, false, p->marks[p->n])) {
		p->n++;
		engine_window_marked(&p->w, p->now);
	}
}

static void send(struct peer *p, unsigned cost, size_t bytes)
{
	engine_window_sent(&p->w, cost, bytes);
	mark_if_due(p);
}

static void answer(struct peer *p)
{
	assert_true(p->answered < p->n);
	engine_window_answered(&p->w, slice_of(p->marks[p->answered++], ENGINE_WINDOW_MARK_BYTES));
	mark_if_due(p);
}

static void test_shut_by_count_and_open_again(void **state)
{
	(void)state;
	struct peer p = {0};
	size_t sent = 0;
	for (; engine_window_open(&p.w, 0); sent++)
		send(&p, 1, 100);
	assert_int_equal(sent, LIMIT_LINK_WINDOW);
	assert_int_equal(p.n, LIMIT_LINK_WINDOW / LIMIT_LINK_MARK);
	answer(&p);
	assert_true(engine_window_open(&p.w, 0));
	assert_int_equal(p.w.sent - p.w.read, LIMIT_LINK_WINDOW - LIMIT_LINK_MARK);
}

static void test_few_frames_need_no_mark(void **state)
{
	(void)state;
	struct peer p = {0};
	for (int i = 0; i < LIMIT_LINK_MARK - 1; i++)
		send(&p, 1, 100);
	assert_int_equal(p.n, 0);
	send(&p, 1, LIMIT_LINK_MARK_BYTES);
	assert_int_equal(p.n, 1);
	send(&p, 1, LIMIT_LINK_MARK_BYTES);
	assert_int_equal(p.n, 2);
}

static void test_shut_by_time(void **state)
{
	(void)state;
	struct peer p = {.now = 5000};
	for (int i = 0; i < LIMIT_LINK_MARK; i++)
		send(&p, 1, 100);
	assert_true(engine_window_open(&p.w, 5000 + LIMIT_LINK_WINDOW_MS - 1));
	assert_false(engine_window_open(&p.w, 5000 + LIMIT_LINK_WINDOW_MS));
	answer(&p);
	assert_true(engine_window_open(&p.w, 5000 + LIMIT_LINK_WINDOW_MS));
}

static void test_it_opens_again_when_the_ring_was_full(void **state)
{
	(void)state;
	struct peer p = {0};
	for (int i = 0; i < ENGINE_WINDOW_MARKS; i++)
		send(&p, 1, LIMIT_LINK_MARK_BYTES);
	assert_int_equal(p.n, ENGINE_WINDOW_MARKS);
	while (engine_window_open(&p.w, 0))
		send(&p, 1, 10);
	assert_int_equal(p.n, ENGINE_WINDOW_MARKS);
	while (p.answered < p.n)
		answer(&p);
	assert_true(engine_window_open(&p.w, 0));
	assert_int_equal(p.w.sent, p.w.read);
}

static void test_strange_answers(void **state)
{
	(void)state;
	struct peer p = {0};
	for (int i = 0; i < 3 * LIMIT_LINK_MARK; i++)
		send(&p, 1, 10);
	engine_window_answered(&p.w, SLICE_NONE);
	engine_window_answered(&p.w, SLICE_LIT("x"));
	engine_window_answered(&p.w, SLICE_LIT("12345678"));
	assert_int_equal(p.w.read, 0);
	p.answered = 2; /* the last alone */
	answer(&p);
	assert_int_equal(p.w.read, 3 * LIMIT_LINK_MARK);
	p.answered = 0; /* an old one, again */
	answer(&p);
	assert_int_equal(p.w.read, 3 * LIMIT_LINK_MARK);
}

static void test_quiet_and_a_new_connection(void **state)
{
	(void)state;
	struct peer p = {0};
	uint8_t mark[ENGINE_WINDOW_MARK_BYTES];
	assert_false(engine_window_mark(&p.w, true, mark));
	send(&p, 1, 10);
	assert_false(engine_window_mark(&p.w, false, mark));
	assert_true(engine_window_mark(&p.w, true, mark));
	engine_window_marked(&p.w, 0);
	assert_false(engine_window_mark(&p.w, true, mark));
	while (engine_window_open(&p.w, 0))
		send(&p, 1, 10);
	engine_window_restart(&p.w);
	assert_true(engine_window_open(&p.w, LIMIT_LINK_WINDOW_MS));
	assert_int_equal(p.w.sent, LIMIT_LINK_WINDOW);
	engine_window_answered(&p.w, slice_of(mark, sizeof(mark))); /* of the old one */
	assert_int_equal(p.w.read, LIMIT_LINK_WINDOW);
}

static unsigned cost_of_list(bool has_limit, uint64_t limit)
{
	struct buf b;
	struct runner_to_server m = {
	    .tag = RUNNER_TO_SERVER_KV_REQUEST,
	    .kv = {.actor_id = SLICE_LIT("a"), .op = RUNNER_KV_LIST, .has_limit = has_limit, .limit = limit}};
	buf_init(&b, 1000);
	assert_int_equal(runner_to_server_put(&b, &m), 0);
	unsigned cost = engine_window_cost(buf_slice(&b));
	buf_done(&b);
	return cost;
}

static void test_costs(void **state)
{
	(void)state;
	assert_int_equal(engine_window_cost(SLICE_NONE), 1);
	assert_int_equal(engine_window_cost(SLICE_LIT("\x03")), 1);
	assert_int_equal(engine_window_cost(SLICE_LIT("\x05garbage")), 1);
	assert_int_equal(cost_of_list(true, 256), 261);
	assert_int_equal(cost_of_list(true, UINT64_MAX), 1005);
	assert_int_equal(cost_of_list(false, 0), 1005);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_shut_by_count_and_open_again),
	    cmocka_unit_test(test_few_frames_need_no_mark),
	    cmocka_unit_test(test_shut_by_time),
	    cmocka_unit_test(test_it_opens_again_when_the_ring_was_full),
	    cmocka_unit_test(test_strange_answers),
	    cmocka_unit_test(test_quiet_and_a_new_connection),
	    cmocka_unit_test(test_costs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
