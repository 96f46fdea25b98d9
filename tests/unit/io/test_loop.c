/* The turn: tasks, tick, wake-ups from other threads, signals, watched
 * descriptors, and that the loop notices what was left open. */
#include "io/loop.h"
#include "io/timer.h"
#include "lib/io_loop.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *the_loop;
static char trace[64];
static size_t traced;

static void note(char c)
{
	if (traced < sizeof(trace) - 1)
		trace[traced++] = c;
	trace[traced] = '\0';
}

static int setup(void **state)
{
	(void)state;
	the_loop = io_loop_open();
	traced = 0;
	trace[0] = '\0';
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	loop_on_tick(the_loop, NULL, NULL);
	io_loop_done(the_loop);
	return 0;
}

struct step {
	struct loop_task task;
	char name;
	struct step *posts; /* NULL: none */
	bool stops;
};

static void on_step(void *arg)
{
	struct step *s = arg;
	note(s->name);
	if (s->posts != NULL)
		loop_post(the_loop, &s->posts->task);
	if (s->stops)
		loop_stop(the_loop);
}

static void step_init(struct step *s, char name)
{
	*s = (struct step){.name = name};
	loop_task_init(&s->task, on_step, s);
}

static void on_tick(void *arg)
{
	(void)arg;
	note('.');
}

static void test_tasks_run_in_order_then_the_tick(void **state)
{
	(void)state;
	struct step a, b;
	step_init(&a, 'a');
	step_init(&b, 'b');
	loop_on_tick(the_loop, on_tick, NULL);
	loop_post(the_loop, &a.task);
	loop_post(the_loop, &b.task);
	loop_post(the_loop, &a.task);
	assert_true(loop_task_posted(&a.task));
	loop_turn(the_loop);
	assert_string_equal(trace, "ab.");
	assert_false(loop_task_posted(&a.task));
}

static void test_a_task_posted_by_a_task_runs_in_the_next_turn_without_waiting(void **state)
{
	(void)state;
	struct step a, b;
	step_init(&a, 'a');
	step_init(&b, 'b');
	a.posts = &b;
	loop_on_tick(the_loop, on_tick, NULL);
	loop_post(the_loop, &a.task);
	loop_turn(the_loop);
	assert_string_equal(trace, "a.");
	loop_turn(the_loop); /* nothing else would end a wait */
	assert_string_equal(trace, "a.b.");
}

static void test_a_cancelled_task_does_not_run_even_from_the_same_batch(void **state)
{
	(void)state;
	struct step a, b;
	step_init(&a, 'a');
	step_init(&b, 'b');
	loop_post(the_loop, &a.task);
	loop_post(the_loop, &b.task);
	loop_cancel(&a.task);
	loop_cancel(&a.task);
	loop_turn(the_loop);
	assert_string_equal(trace, "b");
}

static void test_run_ends_after_stop(void **state)
{
	(void)state;
	struct step a;
	step_init(&a, 'a');
	a.stops = true;
	loop_post(the_loop, &a.task);
	loop_run(the_loop);
	assert_string_equal(trace, "a");
	loop_post(the_loop, &a.task);
	loop_run(the_loop);
	assert_string_equal(trace, "aa");
}

static void test_run_finishes_posted_tasks_before_it_ends(void **state)
{
	(void)state;
	struct step a, b;
	step_init(&a, 'a');
	step_init(&b, 'b');
	a.stops = true;
	a.posts = &b;
	loop_post(the_loop, &a.task);
	loop_run(the_loop);
	assert_string_equal(trace, "ab");
}

static void on_wake(void *arg)
{
	(void)arg;
	note('w');
}

static void *waker(void *arg)
{
	loop_wake(arg);
	return NULL;
}

static void test_another_thread_wakes_the_loop(void **state)
{
	(void)state;
	pthread_t t;
	loop_on_wake(the_loop, on_wake, NULL);
	assert_int_equal(pthread_create(&t, NULL, waker, the_loop), 0);
	while (traced == 0)
		loop_turn(the_loop);
	assert_string_equal(trace, "w");
	pthread_join(t, NULL);
}

static void on_signal(void *arg, int signo)
{
	(void)arg;
	note(signo == SIGUSR1 ? '1' : '2');
}

static void test_signals_arrive_on_the_loop(void **state)
{
	(void)state;
	assert_int_equal(loop_on_signal(the_loop, SIGUSR1, on_signal, NULL), 0);
	assert_int_equal(loop_on_signal(the_loop, SIGUSR2, on_signal, NULL), 0);
	assert_true(loop_on_signal(the_loop, SIGKILL, on_signal, NULL) < 0);
	kill(getpid(), SIGUSR2);
	IO_UNTIL(the_loop, traced == 1);
	kill(getpid(), SIGUSR1);
	IO_UNTIL(the_loop, traced == 2);
	assert_string_equal(trace, "21");
	loop_signals_close(the_loop);
}

static void test_writing_to_a_closed_pipe_is_no_signal(void **state)
{
	(void)state;
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	assert_int_equal(write(fds[1], "x", 1), -1);
	close(fds[1]);
}

struct watched {
	struct fd_watch *watch;
	int fd;
	bool close_at_once;
	int readable, closed;
};

static void on_watch_closed(void *arg)
{
	struct watched *w = arg;
	w->closed++;
}

static void on_readable(void *arg)
{
	struct watched *w = arg;
	char c;
	w->readable++;
	if (w->close_at_once)
		fd_watch_close(w->watch, on_watch_closed, w);
	else
		assert_int_equal(read(w->fd, &c, 1), 1);
}

static void test_a_watched_descriptor_tells_each_time(void **state)
{
	(void)state;
	int fds[2];
	struct watched w = {0};
	io_pair(IO_PAIR_UNIX, fds);
	w.fd = fds[0];
	assert_int_equal(fd_watch_open(the_loop, fds[0], on_readable, &w, &w.watch), 0);
	assert_int_equal(write(fds[1], "ab", 2), 2);
	IO_UNTIL(the_loop, w.readable == 2);
	w.close_at_once = true;
	assert_int_equal(write(fds[1], "c", 1), 1);
	IO_UNTIL(the_loop, w.closed == 1);
	io_loop_settle(the_loop);
	assert_int_equal(w.readable, 3);
	close(fds[0]);
	close(fds[1]);
}

static void test_watch_close_is_never_inside_and_idempotent(void **state)
{
	(void)state;
	int fds[2];
	struct watched w = {0};
	io_pair(IO_PAIR_UNIX, fds);
	assert_int_equal(fd_watch_open(the_loop, fds[0], on_readable, &w, &w.watch), 0);
	fd_watch_close(w.watch, on_watch_closed, &w);
	fd_watch_close(w.watch, NULL, NULL);
	assert_int_equal(w.closed, 0);
	IO_UNTIL(the_loop, w.closed == 1);
	close(fds[0]);
	close(fds[1]);
}

static void test_a_closed_descriptor_cannot_be_watched(void **state)
{
	(void)state;
	struct fd_watch *w = NULL;
	assert_int_equal(fd_watch_open(the_loop, 1000000, on_readable, NULL, &w), -EBADF);
	assert_null(w);
}

static void test_the_clock_moves_and_skews(void **state)
{
	(void)state;
	int64_t t = loop_mono_ms(the_loop);
	assert_in_range(t, clock_mono_ms() - 1000, clock_mono_ms());
	loop_skew(the_loop, 60000);
	assert_in_range(loop_mono_ms(the_loop), t + 60000, t + 61000);
}

static void test_a_frozen_clock_moves_by_skew_only(void **state)
{
	(void)state;
	loop_freeze(the_loop, true);
	int64_t t = loop_mono_ms(the_loop), real_mono_ms = clock_mono_ms();
	while (clock_mono_ms() == real_mono_ms)
		;
	io_loop_turn(the_loop, 1);
	assert_int_equal(loop_mono_ms(the_loop), t);
	loop_skew(the_loop, 5);
	assert_int_equal(loop_mono_ms(the_loop), t + 5);
	loop_freeze(the_loop, false);
	io_loop_turn(the_loop, 1);
	assert_true(loop_mono_ms(the_loop) > t + 5);
}

static void on_never(void *arg)
{
	(void)arg;
}

static void test_close_names_what_is_alive(void **state)
{
	(void)state;
	struct loop *l;
	struct buf report;
	struct watched w = {0};
	struct timer t;
	int fds[2];
	io_pair(IO_PAIR_UNIX, fds);
	assert_int_equal(loop_open(&l), 0);
	buf_init(&report, 1024);
	assert_int_equal(fd_watch_open(l, fds[0], on_readable, &w, &w.watch), 0);
	timer_init(&t, l, on_never, NULL);
	timer_arm(&t, 1000000);
	assert_int_equal(loop_close(l, &report), 2);
	assert_non_null(strstr(buf_text(&report), "poll (fd "));
	assert_non_null(strstr(buf_text(&report), "1 armed timers"));
	timer_disarm(&t);
	fd_watch_close(w.watch, on_watch_closed, &w);
	loop_stop(l);
	loop_run(l);
	buf_reset(&report);
	assert_int_equal(loop_close(l, &report), 0);
	assert_int_equal(buf_len(&report), 0);
	buf_done(&report);
	close(fds[0]);
	close(fds[1]);
}

static void test_a_second_stop_ends_the_run_with_handles_alive(void **state)
{
	(void)state;
	struct watched w = {0};
	int fds[2];
	io_pair(IO_PAIR_UNIX, fds);
	assert_int_equal(fd_watch_open(the_loop, fds[0], on_readable, &w, &w.watch), 0);
	loop_stop(the_loop);
	loop_stop(the_loop);
	loop_run(the_loop);
	assert_int_equal(w.closed, 0);
	fd_watch_close(w.watch, on_watch_closed, &w);
	loop_stop(the_loop);
	loop_run(the_loop);
	assert_int_equal(w.closed, 1);
	close(fds[0]);
	close(fds[1]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_tasks_run_in_order_then_the_tick),
	    TEST(test_a_task_posted_by_a_task_runs_in_the_next_turn_without_waiting),
	    TEST(test_a_cancelled_task_does_not_run_even_from_the_same_batch),
	    TEST(test_run_ends_after_stop),
	    TEST(test_run_finishes_posted_tasks_before_it_ends),
	    TEST(test_another_thread_wakes_the_loop),
	    TEST(test_signals_arrive_on_the_loop),
	    TEST(test_writing_to_a_closed_pipe_is_no_signal),
	    TEST(test_a_watched_descriptor_tells_each_time),
	    TEST(test_watch_close_is_never_inside_and_idempotent),
	    TEST(test_a_closed_descriptor_cannot_be_watched),
	    TEST(test_the_clock_moves_and_skews),
	    TEST(test_a_frozen_clock_moves_by_skew_only),
	    cmocka_unit_test(test_close_names_what_is_alive),
	    TEST(test_a_second_stop_ends_the_run_with_handles_alive),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
