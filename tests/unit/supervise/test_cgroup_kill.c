/* Killing groups of the kernel's, and one in a made-up directory where the
 * kernel's part is not played. */
#include "supervise/cgroup_kill.h"

#include "base/mem.h"
#include "lib/sup_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char base[256];

static int set_up(void **state)
{
	(void)state;
	if (!sup_cgroup_make(base))
		base[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (base[0] != '\0')
		sup_cgroup_remove(base);
	return 0;
}

static void *sleep_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* A process in the group that has a session of its own and a second thread; returns when it is in. */
static pid_t stranger_in(const char *group, const char *file)
{
	int fds[2];
	char byte;
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		pthread_t second;
		setsid();
		if (sup_cgroup_put(group, file, "0") != 0 || pthread_create(&second, NULL, sleep_for_ever, NULL) != 0 ||
		    write(fds[1], "x", 1) != 1)
			_exit(1);
		sleep_for_ever(NULL);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	return pid;
}

static void killed(pid_t pid)
{
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_groups_of_both_kinds(void **state)
{
	(void)state;
	if (base[0] == '\0')
		skip();
	MEM_AUTO char *own = mem_printf("%s/rivet-a", base), *threaded = mem_printf("%s/worker", own);
	MEM_AUTO char *top = mem_printf("%s/rivet-b", base), *plain = mem_printf("%s/worker", top);
	assert_int_equal(mkdir(own, 0755) | mkdir(threaded, 0755) | mkdir(top, 0755) | mkdir(plain, 0755), 0);
	assert_int_equal(sup_cgroup_put(threaded, "cgroup.type", "threaded"), 0);
	pid_t daemon = stranger_in(own, "cgroup.procs");
	pid_t others[2] = {stranger_in(plain, "cgroup.procs"), stranger_in(own, "cgroup.procs")};
	char text[16];
	snprintf(text, sizeof(text), "%d", (int)others[1]); /* all its threads */
	assert_int_equal(sup_cgroup_put(threaded, "cgroup.threads", text), 0);
	for (int i = 0; i < 2; i++) {
		int dir = open(i == 0 ? top : own, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cgroup_kill_below(dir);
		killed(others[i]);
		close(dir);
	}
	assert_int_equal(waitpid(daemon, NULL, WNOHANG), 0);
	kill(daemon, SIGKILL);
	killed(daemon);
}

/* Nobody forks out of reach. */
static void test_a_threaded_group_that_forks_all_the_time(void **state)
{
	(void)state;
	if (base[0] == '\0')
		skip();
	MEM_AUTO char *own = mem_printf("%s/rivet-a", base), *threaded = mem_printf("%s/worker", own);
	int fds[2];
	char byte;
	assert_int_equal(mkdir(own, 0755) | mkdir(threaded, 0755), 0);
	assert_int_equal(sup_cgroup_put(threaded, "cgroup.type", "threaded"), 0);
	assert_int_equal(pipe(fds), 0);
	pid_t pid = fork();
	if (pid == 0) { /* chains in which each is the child of the one before, which ends */
		if (sup_cgroup_put(own, "cgroup.procs", "0") != 0 ||
		    sup_cgroup_put(threaded, "cgroup.threads", "0") != 0)
			_exit(1);
		for (unsigned chain = 0; chain < 5; chain++)
			(void)!fork(); /* 32 */
		for (unsigned n = 0;; n++) {
			if (fork() != 0)
				_exit(0);
			setsid();
			if (n == 3 && write(fds[1], "x", 1) != 1)
				_exit(1);
		}
	}
	close(fds[1]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	int dir = open(threaded, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cgroup_kill(dir);
	while (read(fds[0], &byte, 1) > 0)
		; /* until the last of them is gone */
	close(fds[0]);
	close(dir);
}

static void put(const char *dir, const char *name, const char *text)
{
	MEM_AUTO char *path = mem_printf("%s/%s", dir, name);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

/* A kernel without cgroup.kill; and numbers that kill() would take for "all" and "mine". */
static void test_by_the_list(void **state)
{
	(void)state;
	char made[] = "/tmp/sup-kill-XXXXXX", freeze[4] = "";
	assert_non_null(mkdtemp(made));
	pid_t pid = fork();
	if (pid == 0)
		sleep_for_ever(NULL);
	MEM_AUTO char *ids = mem_printf("0\n1\n%d\n%d\n99999999999999999999\n", (int)getpid(), (int)pid);
	put(made, "cgroup.threads", ids);
	put(made, "cgroup.freeze", "0");
	int dir = open(made, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cgroup_kill(dir);
	killed(pid);
	int fd = openat(dir, "cgroup.freeze", O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, freeze, sizeof(freeze)), 1);
	assert_string_equal(freeze, "0");
	close(fd);
	unlinkat(dir, "cgroup.threads", 0);
	unlinkat(dir, "cgroup.freeze", 0);
	cgroup_kill(dir); /* nothing there */
	close(dir);
	assert_int_equal(rmdir(made), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_groups_of_both_kinds, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_threaded_group_that_forks_all_the_time, set_up, tear_down),
	    cmocka_unit_test(test_by_the_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
