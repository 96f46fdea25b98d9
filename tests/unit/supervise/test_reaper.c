/* Whose zombie is whose. */
#include "supervise/reaper.h"

#include "lib/sup_run.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct sup_run run;

static int setup(void **state)
{
	sup_setup(state);
	return proc_reaper_start(sup_loop);
}

static bool is_gone(int32_t pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH;
}

static int32_t child_that_exits(int code)
{
	int32_t pid = fork();
	if (pid == 0)
		_exit(code);
	return pid;
}

static void test_strangers_are_reaped(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		int32_t pid = child_that_exits(i);
		IO_UNTIL(sup_loop, is_gone(pid));
	}
}

static void test_orphans_come_here_and_are_reaped(void **state)
{
	(void)state;
	/* The shell ends at once; what it started leaves the group, so as not to be killed with it. */
	struct proc_spec spec = sup_sh(
	    "setsid sh -c 'echo $$; while [ -d /proc/'$$' ]; do sleep 0.02; done; sleep 0.1' & read x; sleep 0.2");
	sup_run(&run, &spec);
	int32_t orphan = (int32_t)strtol(sup_out(&run), NULL, 10);
	assert_true(orphan > 1);
	IO_UNTIL(sup_loop, is_gone(orphan));
	sup_run_done(&run);
}

static void test_a_workers_status_is_not_stolen(void **state)
{
	(void)state;
	enum { N = 30 };
	static struct sup_run runs[N];
	int32_t strangers[N];
	struct proc_spec spec = sup_sh("exit 77");
	for (int i = 0; i < N; i++) { /* zombies of both kinds, in turn, before the loop looks */
		assert_int_equal(sup_spawn(&runs[i], &spec), 0);
		strangers[i] = child_that_exits(1);
	}
	usleep(100000);
	for (int i = 0; i < N; i++) {
		IO_UNTIL(sup_loop, runs[i].exited);
		assert_int_equal(runs[i].how.code, 77);
		sup_run_done(&runs[i]);
	}
	for (int i = 0; i < N; i++)
		IO_UNTIL(sup_loop, is_gone(strangers[i]));
}

static void test_an_owned_child_waits_for_its_owner(void **state)
{
	(void)state;
	struct reaper_child child;
	siginfo_t info;
	reaper_own(&child, child_that_exits(5));
	int32_t stranger = child_that_exits(6); /* may be hidden behind it */
	usleep(50000);
	io_loop_settle(sup_loop);
	assert_false(is_gone(child.pid));
	reaper_reap(&child, &info);
	assert_int_equal(info.si_status, 5);
	IO_UNTIL(sup_loop, is_gone(stranger));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, sup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_strangers_are_reaped),
	    TEST(test_orphans_come_here_and_are_reaped),
	    TEST(test_a_workers_status_is_not_stolen),
	    TEST(test_an_owned_child_waits_for_its_owner),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
