/* Daemons that die, in processes of their own, and what becomes of their
 * workers; guardians that die. */
#include "supervise/guardian.h"

#include "lib/sup_cgroup.h"
#include "lib/sup_run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define UNTIL(cond)                                                                  \
	do {                                                                         \
		int64_t end_ms_ = clock_mono_ms() + 5000;                            \
		while (!(cond)) {                                                    \
			if (clock_mono_ms() > end_ms_)                               \
				check_failed(__FILE__, __LINE__, "in time: " #cond); \
			usleep(5000);                                                \
		}                                                                    \
	} while (0)

/* The living guardian among the children of `parent`, or 0. */
static int32_t guardian_of(int32_t parent)
{
	DIR *d = opendir("/proc");
	int32_t found = 0;
	for (struct dirent *de; found == 0 && (de = readdir(d)) != NULL;) {
		char path[300], stat[512] = "", name[32] = "", state = 0;
		int pid = 0, ppid = 0;
		snprintf(path, sizeof(path), "/proc/%s/stat", de->d_name);
		FILE *f = fopen(path, "re");
		if (f == NULL)
			continue;
		if (fgets(stat, sizeof(stat), f) != NULL &&
		    sscanf(stat, "%d (%31[^)]) %c %d", &pid, name, &state, &ppid) == 4 && ppid == parent &&
		    strcmp(name, "rivet-guardian") == 0 && state != 'Z')
			found = pid;
		fclose(f);
	}
	closedir(d);
	return found;
}

/* ---- a daemon of its own, that can be killed ---- */

struct daemon {
	int32_t pid;
	int from; /* what it says: pids */
	int32_t guardian;
};

static int daemon_says;     /* in the daemon */
static char delegated[256]; /* "": without control groups */

static void say(int32_t pid)
{
	if (write(daemon_says, &pid, sizeof(pid)) != (ssize_t)sizeof(pid))
		_exit(9);
}

static int32_t hear(const struct daemon *d)
{
	int32_t pid = 0;
	assert_int_equal(read(d->from, &pid, sizeof(pid)), (ssize_t)sizeof(pid));
	return pid;
}

static void daemon_start(struct daemon *d, void (*body)(void))
{
	int fds[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	d->pid = fork();
	assert_true(d->pid >= 0);
	if (d->pid == 0) {
		unsigned n_stuck;
		daemon_says = fds[1];
		CHECK(delegated[0] == '\0' || cgroup_open_at(delegated, &n_stuck, NULL) == 0);
		sup_setup(NULL);
		body();
		_exit(9);
	}
	close(fds[1]);
	d->from = fds[0];
	UNTIL((d->guardian = guardian_of(d->pid)) != 0);
}

static void daemon_kill(struct daemon *d)
{
	int status;
	assert_int_equal(kill(d->pid, SIGKILL), 0);
	assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
	assert_true(WIFSIGNALED(status)); /* it lived to be killed */
	close(d->from);
}

static void turn_for_ever(void)
{
	for (;;)
		io_loop_turn(sup_loop, 1000);
}

/* A worker whose grandchild ignores what can be ignored; says both. */
static void body_with_worker(void)
{
	static struct sup_run run;
	struct proc_spec spec =
	    sup_sh("(trap '' TERM INT HUP; echo $(exec sh -c 'echo $PPID'); while :; do sleep 1; done) & wait");
	CHECK(sup_spawn(&run, &spec) == 0);
	IO_UNTIL(sup_loop, buf_len(&run.out) > 0);
	say(proc_pid(run.proc));
	say((int32_t)strtol(sup_out(&run), NULL, 10));
	turn_for_ever();
}

static void test_a_killed_daemon_takes_its_groups_along(void **state)
{
	(void)state;
	struct daemon d;
	daemon_start(&d, body_with_worker);
	int32_t worker = hear(&d), grandchild = hear(&d);
	assert_true(sup_alive(worker) && sup_alive(grandchild));
	assert_int_equal(getpgid(grandchild), worker);
	int64_t begin = clock_mono_ms();
	daemon_kill(&d);
	UNTIL(!sup_alive(worker) && !sup_alive(grandchild));
	assert_true(clock_mono_ms() - begin < 1000);
	UNTIL(!sup_alive(d.guardian)); /* and it ends itself */
}

/* The same in a session of its own. */
static void body_with_a_stranger(void)
{
	static struct sup_run run;
	struct proc_spec spec = sup_sh("setsid sh -c 'echo $$; while :; do sleep 1; done' & wait");
	CHECK(sup_spawn(&run, &spec) == 0);
	IO_UNTIL(sup_loop, buf_len(&run.out) > 0);
	say((int32_t)strtol(sup_out(&run), NULL, 10));
	turn_for_ever();
}

static void test_what_left_the_session_dies_by_its_control_group(void **state)
{
	(void)state;
	if (!sup_cgroup_make(delegated)) {
		delegated[0] = '\0';
		skip();
	}
	for (int again = 0; again < 2; again++) { /* the second time with a guardian that was started again */
		struct daemon d;
		daemon_start(&d, body_with_a_stranger);
		int32_t stranger = hear(&d), first = d.guardian;
		assert_int_equal(getsid(stranger), stranger);
		if (again == 1) {
			assert_int_equal(kill(first, SIGKILL), 0);
			UNTIL((d.guardian = guardian_of(d.pid)) != 0 && d.guardian != first);
		}
		daemon_kill(&d);
		UNTIL(!sup_alive(stranger));
		UNTIL(!sup_alive(d.guardian));
	}
	sup_cgroup_remove(delegated);
	delegated[0] = '\0';
}

static void test_the_leader_needs_no_guardian_to_die(void **state)
{
	(void)state;
	struct daemon d;
	daemon_start(&d, body_with_worker);
	int32_t worker = hear(&d), grandchild = hear(&d);
	assert_int_equal(kill(d.guardian, SIGSTOP), 0);
	daemon_kill(&d);
	UNTIL(!sup_alive(worker));
	assert_true(sup_alive(grandchild));
	assert_int_equal(kill(d.guardian, SIGCONT), 0);
	UNTIL(!sup_alive(grandchild));
}

static void test_what_a_terminal_or_a_manager_sends_does_not_end_it(void **state)
{
	(void)state;
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGALRM};
	struct daemon d;
	daemon_start(&d, body_with_worker);
	int32_t worker = hear(&d), grandchild = hear(&d);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		assert_int_equal(kill(d.guardian, signals[i]), 0);
	usleep(50000);
	assert_int_equal(guardian_of(d.pid), d.guardian);
	assert_int_equal(getsid(d.guardian), d.guardian);
	daemon_kill(&d);
	UNTIL(!sup_alive(worker) && !sup_alive(grandchild));
}

static void test_a_guardian_started_again_knows_the_groups(void **state)
{
	(void)state;
	struct daemon d;
	daemon_start(&d, body_with_worker);
	int32_t worker = hear(&d), grandchild = hear(&d);
	int32_t first = d.guardian;
	assert_int_equal(kill(first, SIGKILL), 0);
	UNTIL((d.guardian = guardian_of(d.pid)) != 0 && d.guardian != first);
	assert_true(sup_alive(worker));
	daemon_kill(&d);
	UNTIL(!sup_alive(worker) && !sup_alive(grandchild));
	UNTIL(!sup_alive(d.guardian));
}

/* Two groups, one of them removed again: the number may be another's by now. */
static void body_with_removed_group(void)
{
	for (int i = 0; i < 2; i++) {
		int32_t pid = fork();
		if (pid == 0) {
			setpgid(0, 0);
			close_range(0, ~0u, 0); /* a fork holds the guardian's pipe, which a worker does not */
			for (;;)
				pause();
		}
		setpgid(pid, pid);
		guardian_add(sup_guardian, pid);
		if (i == 0)
			guardian_remove(sup_guardian, pid);
		say(pid);
	}
	turn_for_ever();
}

static void test_a_removed_group_is_never_killed(void **state)
{
	(void)state;
	for (int again = 0; again < 2; again++) { /* the second time with a guardian that has the notes only */
		struct daemon d;
		daemon_start(&d, body_with_removed_group);
		int32_t removed = hear(&d), kept = hear(&d), first = d.guardian;
		if (again == 1) {
			assert_int_equal(kill(first, SIGKILL), 0);
			UNTIL((d.guardian = guardian_of(d.pid)) != 0 && d.guardian != first);
		}
		daemon_kill(&d);
		UNTIL(!sup_alive(kept));
		UNTIL(!sup_alive(d.guardian)); /* it has killed all it will */
		assert_true(sup_alive(removed));
		assert_int_equal(kill(removed, SIGKILL), 0);
	}
}

static int n_entries(const char *path)
{
	int n = 0;
	DIR *d = opendir(path);
	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

static void test_it_holds_nothing_of_the_daemon(void **state)
{
	(void)state;
	char lock[] = "/tmp/sup-lock-XXXXXX", path[64], target[256];
	int fd = mkstemp(lock); /* no close-on-exec: the worst case */
	assert_int_equal(flock(fd, LOCK_EX), 0);
	struct guardian *g;
	assert_int_equal(guardian_start(&g, NULL), 0);
	int32_t pid = 0;
	UNTIL((pid = guardian_of(getpid())) != 0);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	UNTIL(n_entries(path) == 3); /* ".", ".." and 0 */
	snprintf(path, sizeof(path), "/proc/%d/fd/0", pid);
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	assert_true(n > 5 && strncmp(target, "pipe:", 5) == 0);
	close(fd);
	fd = open(lock, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
	unlink(lock);
	guardian_stop(g);
	assert_false(sup_alive(pid));
}

/* ---- watched by a loop ---- */

static unsigned n_lost;

static void on_lost(void *arg)
{
	assert_ptr_equal(arg, &n_lost);
	n_lost++;
}

static void test_a_lost_guardian_is_told_and_replaced(void **state)
{
	(void)state;
	struct guardian *g;
	struct loop *l = io_loop_open();
	assert_int_equal(guardian_start(&g, NULL), 0);
	assert_int_equal(guardian_watch(g, l, on_lost, &n_lost), 0);
	n_lost = 0;
	for (unsigned i = 1; i <= 2; i++) {
		int32_t pid = 0;
		UNTIL((pid = guardian_of(getpid())) != 0);
		assert_int_equal(kill(pid, SIGKILL), 0);
		IO_UNTIL(l, guardian_fd(g) == -1);
		guardian_add(g, 12345678); /* while there is none */
		assert_int_equal(n_lost, i - 1);
		guardian_remove(g, 12345678);
		io_loop_settle(l);
		if (i == 2)
			assert_int_equal(guardian_of(getpid()), 0); /* not more often than once a second */
		IO_UNTIL(l, guardian_fd(g) >= 0);
		assert_int_equal(n_lost, i);
	}
	guardian_stop(g);
	io_loop_done(l);
}

static void test_one_that_does_not_read_is_replaced(void **state)
{
	(void)state;
	struct guardian *g;
	struct loop *l = io_loop_open();
	assert_int_equal(guardian_start(&g, NULL), 0);
	assert_int_equal(guardian_watch(g, l, on_lost, &n_lost), 0);
	int32_t pid = 0;
	n_lost = 0;
	UNTIL((pid = guardian_of(getpid())) != 0);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	for (int i = 0; i < 20000; i++) { /* more than a pipe holds; never blocks */
		guardian_add(g, 12345678);
		guardian_remove(g, 12345678);
	}
	IO_UNTIL(l, n_lost == 1);
	assert_false(sup_alive(pid));
	IO_UNTIL(l, guardian_fd(g) >= 0);
	guardian_stop(g);
	io_loop_done(l);
}

static void test_stopping_one_that_is_stopped(void **state)
{
	(void)state;
	struct guardian *g;
	int32_t pid = 0;
	assert_int_equal(guardian_start(&g, NULL), 0);
	UNTIL((pid = guardian_of(getpid())) != 0);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	int64_t begin = clock_mono_ms();
	guardian_stop(g);
	assert_true(clock_mono_ms() - begin < 3000);
	assert_false(sup_alive(pid));
}

static void test_stopping_while_there_is_none(void **state)
{
	(void)state;
	struct guardian *g;
	struct loop *l = io_loop_open();
	int32_t pid = 0;
	assert_int_equal(guardian_start(&g, NULL), 0);
	assert_int_equal(guardian_watch(g, l, on_lost, &n_lost), 0);
	n_lost = 0;
	UNTIL((pid = guardian_of(getpid())) != 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	IO_UNTIL(l, n_lost == 1);
	guardian_stop(g); /* its restart is armed or its watch is closing */
	io_loop_done(l);
	assert_int_equal(guardian_of(getpid()), 0);
}

static void test_spawning_with_a_dead_guardian(void **state)
{
	(void)state;
	struct sup_run run;
	int32_t pid = 0;
	sup_setup(NULL);
	UNTIL((pid = guardian_of(getpid())) != 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	UNTIL(!sup_alive(pid)); /* the loop has not turned: nobody knows */
	struct proc_spec spec = sup_sh("exit 3");
	sup_run(&run, &spec);
	assert_int_equal(run.how.code, 3);
	sup_run_done(&run);
	sup_teardown(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_killed_daemon_takes_its_groups_along),
	    cmocka_unit_test(test_what_left_the_session_dies_by_its_control_group),
	    cmocka_unit_test(test_the_leader_needs_no_guardian_to_die),
	    cmocka_unit_test(test_what_a_terminal_or_a_manager_sends_does_not_end_it),
	    cmocka_unit_test(test_a_guardian_started_again_knows_the_groups),
	    cmocka_unit_test(test_a_removed_group_is_never_killed),
	    cmocka_unit_test(test_it_holds_nothing_of_the_daemon),
	    cmocka_unit_test(test_a_lost_guardian_is_told_and_replaced),
	    cmocka_unit_test(test_one_that_does_not_read_is_replaced),
	    cmocka_unit_test(test_stopping_one_that_is_stopped),
	    cmocka_unit_test(test_stopping_while_there_is_none),
	    cmocka_unit_test(test_spawning_with_a_dead_guardian),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
