/* Timers: when they fire, in which order, and that the heap keeps its promise
 * under any mix of arming, moving and disarming. */
#include "io/timer.h"
#include "lib/io_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct shot {
	struct timer timer;
	int fired;
	int *sequence;
	int place;
	int64_t again_ms; /* -1: does not arm itself again */
};

static void on_shot(void *arg)
{
	struct shot *s = arg;
	s->fired++;
	s->place = (*s->sequence)++;
	if (s->again_ms >= 0)
		timer_arm(&s->timer, s->again_ms);
}

static void shot_init(struct shot *s, struct loop *l, int *sequence)
{
	*s = (struct shot){.sequence = sequence, .again_ms = -1};
	timer_init(&s->timer, l, on_shot, s);
}

static void test_fires_once_when_due(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	int sequence = 0;
	struct shot s;
	shot_init(&s, l, &sequence);
	timer_arm(&s.timer, 20);
	int64_t armed_ms = clock_mono_ms();
	assert_true(timer_armed(&s.timer));
	IO_UNTIL(l, s.fired > 0);
	assert_in_range(clock_mono_ms() - armed_ms, 19, 2000);
	assert_false(timer_armed(&s.timer));
	io_loop_settle(l);
	assert_int_equal(s.fired, 1);
	io_loop_done(l);
}

static void test_earlier_fires_first(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	int sequence = 0;
	struct shot s[3];
	for (int i = 0; i < 3; i++)
		shot_init(&s[i], l, &sequence);
	timer_arm(&s[0].timer, 300);
	timer_arm(&s[1].timer, 100);
	timer_arm(&s[2].timer, 200);
	loop_skew(l, 250);
	IO_UNTIL(l, sequence == 2);
	assert_int_equal(s[1].place, 0);
	assert_int_equal(s[2].place, 1);
	assert_int_equal(s[0].fired, 0);
	loop_skew(l, 250);
	IO_UNTIL(l, s[0].fired == 1);
	io_loop_done(l);
}

static void test_arming_again_moves(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	int sequence = 0;
	struct shot s;
	shot_init(&s, l, &sequence);
	timer_arm(&s.timer, 1000);
	timer_arm(&s.timer, 100000);
	loop_skew(l, 50000);
	io_loop_settle(l);
	assert_int_equal(s.fired, 0);
	timer_arm(&s.timer, 0);
	IO_UNTIL(l, s.fired == 1);
	io_loop_done(l);
}

static void test_disarmed_stays_silent(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	int sequence = 0;
	struct shot s;
	shot_init(&s, l, &sequence);
	timer_disarm(&s.timer);
	timer_arm(&s.timer, 10);
	timer_disarm(&s.timer);
	timer_disarm(&s.timer);
	loop_skew(l, 1000);
	io_loop_settle(l);
	assert_int_equal(s.fired, 0);
	io_loop_done(l);
}

static void test_rearming_at_once_does_not_hold_the_turn(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	int sequence = 0;
	struct shot s;
	shot_init(&s, l, &sequence);
	s.again_ms = 0;
	timer_arm(&s.timer, 0);
	loop_turn(l);
	assert_int_equal(s.fired, 1);
	loop_turn(l);
	assert_int_equal(s.fired, 2);
	timer_disarm(&s.timer);
	io_loop_done(l);
}

static void test_a_far_time_does_not_overflow(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	int sequence = 0;
	struct shot s;
	shot_init(&s, l, &sequence);
	timer_arm(&s.timer, INT64_MAX);
	io_loop_settle(l);
	assert_int_equal(s.fired, 0);
	assert_true(timer_armed(&s.timer));
	timer_disarm(&s.timer);
	io_loop_done(l);
}

/* Against a model that knows only each timer's own time. */
static void test_random_mix_fires_in_order(void **state)
{
	(void)state;
	enum { TIMERS = 300, ROUNDS = 40 };
	static struct shot s[TIMERS];
	struct loop *l = io_loop_open();
	int sequence = 0;
	srandom(20);
	for (int i = 0; i < TIMERS; i++)
		shot_init(&s[i], l, &sequence);
	for (int round = 0; round < ROUNDS; round++) {
		for (int op = 0; op < 200; op++) {
			struct timer *t = &s[random() % TIMERS].timer;
			if (random() % 3 == 0)
				timer_disarm(t);
			else
				timer_arm(t, 1000000 + random() % 1000000);
		}
		int64_t step_ms = random() % 400000;
		int64_t due[TIMERS];
		bool armed[TIMERS];
		for (int i = 0; i < TIMERS; i++) {
			due[i] = s[i].timer.due_mono_ms;
			armed[i] = timer_armed(&s[i].timer);
			s[i].place = -1;
		}
		sequence = 0;
		loop_skew(l, step_ms);
		int64_t before_ms = loop_mono_ms(l);
		io_loop_turn(l, 0);
		int64_t after_ms = loop_mono_ms(l);
		int64_t latest[TIMERS] = {0};
		for (int i = 0; i < TIMERS; i++) {
			if (armed[i] && due[i] <= before_ms)
				assert_true(s[i].place >= 0);
			if (!armed[i] || due[i] > after_ms)
				assert_int_equal(s[i].place, -1);
			if (s[i].place >= 0)
				latest[s[i].place] = due[i];
		}
		for (int i = 1; i < sequence; i++)
			assert_true(latest[i - 1] <= latest[i]);
	}
	for (int i = 0; i < TIMERS; i++)
		timer_disarm(&s[i].timer);
	io_loop_done(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fires_once_when_due),
	    cmocka_unit_test(test_earlier_fires_first),
	    cmocka_unit_test(test_arming_again_moves),
	    cmocka_unit_test(test_disarmed_stays_silent),
	    cmocka_unit_test(test_rearming_at_once_does_not_hold_the_turn),
	    cmocka_unit_test(test_a_far_time_does_not_overflow),
	    cmocka_unit_test(test_random_mix_fires_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
