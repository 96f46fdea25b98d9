/* What is written where, in made-up directories, since limits take controllers
 * that a machine may not have; and groups of the kernel's, as far as those
 * without controllers go. */
#include "supervise/cgroup.h"

#include "base/mem.h"
#include "lib/sup_cgroup.h"
#include "lib/sup_run.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];  /* made up */
static char base[256]; /* the kernel's; "": there is none */

static void put(const char *name, const char *text)
{
	MEM_AUTO char *path = mem_printf("%s/%s", root, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void holds(const char *name, const char *want)
{
	char text[256] = "";
	MEM_AUTO char *path = mem_printf("%s/%s", root, name);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) < sizeof(text));
	fclose(file);
	assert_string_equal(text, want);
}

static const char *const made_up[] = {"memory.max", "memory.oom.group", "cpu.max", "memory.events",
				      "cgroup.controllers"};

static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/sup-cgroup-XXXXXX");
	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < ARRAY_SIZE(made_up); i++)
		put(made_up[i], "");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(made_up); i++) {
		MEM_AUTO char *path = mem_printf("%s/%s", root, made_up[i]);
		unlink(path);
	}
	return rmdir(root);
}

static int set_up_base(void **state)
{
	(void)state;
	if (!sup_cgroup_make(base))
		base[0] = '\0';
	return 0;
}

static int tear_down_base(void **state)
{
	(void)state;
	if (base[0] != '\0')
		sup_cgroup_remove(base);
	return 0;
}

/* A daemon with its groups below `base`, in a process of its own: what it does, 0 if all was well. */
static void in_a_daemon(void (*body)(void))
{
	int status;
	if (base[0] == '\0')
		skip();
	pid_t pid = fork();
	if (pid == 0) {
		struct err e = {0};
		unsigned n_stuck = 9;
		if (cgroup_open_at(base, &n_stuck, &e) != 0)
			check_failed(__FILE__, __LINE__, e.text);
		CHECK(n_stuck == 0);
		body();
		cgroup_close();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A process of its own session in a group, living until it is killed. */
static pid_t stranger_in(const char *group, const char *file)
{
	int fds[2];
	char byte;
	CHECK(pipe(fds) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		if (sup_cgroup_put(group, file, "0") != 0 || write(fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	CHECK(read(fds[0], &byte, 1) == 1);
	close(fds[0]);
	return pid;
}

static void found(const char *self, const char *mounts, const char *want)
{
	MEM_AUTO char *path = cgroup_find(self, mounts);
	if (want == NULL)
		assert_null(path);
	else
		assert_string_equal(path, want);
}

#define V2 "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"

static void test_finding(void **state)
{
	(void)state;
	found("0::/system.slice/rivet-runnerd.service\n", "1 2 8:1 / / rw - ext4 /dev/sda rw\n" V2,
	      "/sys/fs/cgroup/system.slice/rivet-runnerd.service");
	found("0::/\n", V2, "/sys/fs/cgroup");
	found("4:memory:/a\n0::/b\n", "40 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
	      "/sys/fs/cgroup/unified/b");
	/* A mount of a part: only what is below it can be seen. */
	found("0::/pods/one/x\n", "30 24 0:26 /pods/one /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup/x");
	found("0::/pods/one\n", "30 24 0:26 /pods/one /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "/sys/fs/cgroup");
	found("0::/pods/oneself\n", "30 24 0:26 /pods/one /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", NULL);
	/* What is mounted later hides what is below. */
	found("0::/a\n", "40 24 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n" V2, "/sys/fs/cgroup/a");
	found("4:memory:/a\n", V2, NULL);
	found("0::/a\n", "1 2 8:1 / / rw - ext4 /dev/sda rw\n", NULL);
	found("", "", NULL);
}

/* ---- limits ---- */

static void test_limits(void **state)
{
	struct err e = {0};
	(void)state;
	assert_int_equal(cgroup_limit_at(root, 256 << 20, 1500, &e), 0);
	holds("memory.max", "268435456");
	holds("memory.oom.group", "1");
	holds("cpu.max", "150000 100000");
}

static void test_a_limit_that_is_not_taken(void **state)
{
	struct err e = {0};
	(void)state;
	MEM_AUTO char *path = mem_printf("%s/cpu.max", root);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(cgroup_limit_at(root, 0, 500, &e), -ENOENT);
	assert_non_null(strstr(e.text, "cannot write 50000 100000 to "));
}

static void test_who_was_out_of_memory(void **state)
{
	(void)state;
	struct cgroup_group g = {.path = root, .join_fd = -1, .limited = true};
	put("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\noom_group_kill 0\n");
	assert_int_equal(cgroup_group_oom(&g), CGROUP_OOM_NONE);
	put("memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 2\noom_group_kill 1\n");
	assert_int_equal(cgroup_group_oom(&g), CGROUP_OOM_LIMIT);
	put("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 2\noom_group_kill 1\n");
	assert_int_equal(cgroup_group_oom(&g), CGROUP_OOM_OUTSIDE);
	g.limited = false;
	assert_int_equal(cgroup_group_oom(&g), CGROUP_OOM_NONE);
}

static void test_what_is_missing_is_named(void **state)
{
	struct err e = {0};
	struct cgroup_group g = {0};
	(void)state;
	put("cgroup.controllers", "cpuset pids memoryless\n");
	assert_int_equal(cgroup_need_at(root, CGROUP_MEMORY, &e), -ENOTSUP);
	assert_int_equal(e.exit_code, EXIT_CODE_CONFIG);
	assert_non_null(strstr(e.text, "the memory controller is not available in the control group /tmp/sup-cgroup-"));
	assert_int_equal(cgroup_need_at(root, CGROUP_CPU, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "the cpu controller"));
	assert_false(cgroup_is_open());
	assert_int_equal(cgroup_group_make(&g, 1 << 20, 0, &e), -ENOTSUP);
	assert_int_equal(cgroup_group_make(&g, 0, 0, &e), -ENOTSUP);
	cgroup_group_kill(&g);
	cgroup_group_remove(&g);
	cgroup_kill_all();
}

/* ---- the kernel's groups ---- */

static void test_delegation(void **state)
{
	(void)state;
	int status;
	if (base[0] == '\0')
		skip();
	assert_false(cgroup_is_delegated(base, false));
	assert_true(cgroup_is_delegated(base, true));
	pid_t pid = fork();
	if (pid == 0) { /* as a user */
		CHECK(setxattr(base, "user.other", "1", 1, 0) == 0 && chown(base, 65534, 65534) == 0);
		CHECK(seteuid(65534) == 0 && cgroup_is_delegated(base, false));
		CHECK(setxattr(base, "user.invocation_id", "8", 1, 0) == 0 && !cgroup_is_delegated(base, false));
		CHECK(setxattr(base, "user.delegate", "0", 1, 0) == 0 && !cgroup_is_delegated(base, false));
		CHECK(setxattr(base, "user.delegate", "1", 1, 0) == 0 && cgroup_is_delegated(base, false));
		CHECK(removexattr(base, "user.delegate") == 0 && !cgroup_is_delegated(base, false));
		CHECK(seteuid(0) == 0 && setxattr(base, "trusted.delegate", "1", 1, 0) == 0);
		CHECK(cgroup_is_delegated(base, false));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void body_with_groups(void)
{
	struct err e = {0};
	struct cgroup_group a = {0}, b = {0};
	char own_path[256], text[64] = "";
	CHECK(cgroup_is_open() && sup_cgroup_has(base, "rivet-runnerd.", own_path));
	CHECK(!sup_cgroup_has(base, "rivet-limited.", NULL)); /* nobody asked for limits */
	CHECK(cgroup_group_make(&a, 0, 0, &e) == 0 && cgroup_group_make(&b, 0, 0, &e) == 0);
	MEM_AUTO char *type = mem_printf("%s/cgroup.type", a.path);
	int fd = open(type, O_RDONLY | O_CLOEXEC);
	CHECK(read(fd, text, sizeof(text) - 1) > 0 && strcmp(text, "threaded\n") == 0);
	close(fd);
	cgroup_group_started(&a);
	cgroup_group_started(&b);
	pid_t pid = stranger_in(a.path, "cgroup.threads");
	cgroup_group_remove(&a); /* not yet: it is not empty */
	CHECK(a.path == NULL);
	cgroup_group_remove(&a);
	cgroup_group_remove(&b);
	CHECK(sup_cgroup_has(own_path, "worker-", NULL));
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, NULL, 0) == pid);
	CHECK(cgroup_group_make(&b, 0, 0, &e) == 0);
	cgroup_group_remove(&b);
	CHECK(!sup_cgroup_has(own_path, "worker-", NULL));
	CHECK(cgroup_group_make(&b, 1 << 20, 0, &e) == -ENOTSUP && b.path == NULL);
}

static void test_groups_come_and_go(void **state)
{
	(void)state;
	in_a_daemon(body_with_groups);
}

static void body_with_a_stranger(void)
{
	static struct sup_run run;
	struct proc_spec spec = sup_sh("setsid sh -c 'trap \"\" TERM INT HUP; echo $$; sleep 1000' & wait");
	sup_setup(NULL);
	CHECK(sup_spawn(&run, &spec) == 0);
	IO_UNTIL(sup_loop, run.n_lines == 1 || run.exited);
	int32_t stranger = (int32_t)strtol(sup_out(&run), NULL, 10);
	CHECK(stranger > 1 && getsid(stranger) == stranger);
	kill(proc_pid(run.proc), SIGTERM);
	IO_UNTIL(sup_loop, run.exited);
	CHECK(run.how.signal == SIGTERM && run.how.oom == CGROUP_OOM_NONE);
	for (int tries = 0; tries < 10000 && sup_alive(stranger); tries++)
		usleep(1000);
	CHECK(!sup_alive(stranger));
	sup_run_done(&run);
	sup_teardown(NULL);
}

static void test_the_end_reaches_what_left_the_session(void **state)
{
	(void)state;
	in_a_daemon(body_with_a_stranger);
}

/* ---- leftovers ---- */

static void body_of_nothing(void)
{
}

static void test_leftovers(void **state)
{
	(void)state;
	if (base[0] == '\0')
		skip();
	static const char *const names[] = {"rivet-runnerd.00000000deadbeef", "rivet-runnerd.0123456789abcdef",
					    "rivet-limited.00000000deadbeef", "rivet-runnerd.00000000000a11fe",
					    "rivet-runnerd.service"};
	char paths[5][300], worker[310];
	for (size_t i = 0; i < 5; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", base, names[i]);
		assert_int_equal(mkdir(paths[i], 0755), 0);
	}
	snprintf(worker, sizeof(worker), "%s/worker-1", paths[0]);
	assert_int_equal(mkdir(worker, 0755), 0);
	assert_int_equal(sup_cgroup_put(worker, "cgroup.type", "threaded"), 0);
	pid_t guardian = stranger_in(paths[0], "cgroup.procs"), limited, alive;
	limited = stranger_in(paths[2], "cgroup.procs");
	alive = stranger_in(paths[3], "cgroup.procs");
	int lock = open(paths[3], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(lock, LOCK_EX), 0);
	in_a_daemon(body_of_nothing);
	int status;
	pid_t both[2] = {guardian, limited};
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(waitpid(both[i], &status, 0), both[i]);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(access(paths[i], F_OK), -1);
	assert_int_equal(rmdir(paths[4]), 0);                  /* somebody else's */
	assert_int_equal(waitpid(alive, &status, WNOHANG), 0); /* another daemon's */
	kill(alive, SIGKILL);
	assert_int_equal(waitpid(alive, &status, 0), alive);
	close(lock);
}

/* A name that a group has is no group of ours: its counters may tell of others. */
static void body_with_a_name_taken(void)
{
	struct err e = {0};
	struct cgroup_group g = {0};
	char own_path[256], next[300];
	CHECK(sup_cgroup_has(base, "rivet-runnerd.", own_path));
	snprintf(next, sizeof(next), "%s/worker-2", own_path); /* one was made for a try */
	CHECK(mkdir(next, 0755) == 0);
	CHECK(cgroup_group_make(&g, 0, 0, &e) == -EEXIST && g.path == NULL);
	CHECK(strstr(e.text, "cannot make a control group below ") != NULL);
	CHECK(cgroup_group_make(&g, 0, 0, &e) == 0);
	cgroup_group_remove(&g);
	CHECK(rmdir(next) == 0);
}

static void test_a_name_that_is_taken(void **state)
{
	(void)state;
	in_a_daemon(body_with_a_name_taken);
}

#define REAL(test) cmocka_unit_test_setup_teardown(test, set_up_base, tear_down_base)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_finding),
	    cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_limit_that_is_not_taken, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_who_was_out_of_memory, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_what_is_missing_is_named, set_up, tear_down),
	    REAL(test_delegation),
	    REAL(test_groups_come_and_go),
	    REAL(test_the_end_reaches_what_left_the_session),
	    REAL(test_leftovers),
	    REAL(test_a_name_that_is_taken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
