/* Control groups in a made-up tree: what is written where. The kernel's part is
 * not played. */
#include "supervise/cgroup.h"

#include "base/mem.h"

#include <errno.h>
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

static char root[64];

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

static void make_dir(const char *name)
{
	MEM_AUTO char *path = mem_printf("%s/%s", root, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static int set_up(void **state)
{
	(void)state;
	strcpy(root, "/tmp/sup-cgroup-XXXXXX");
	assert_non_null(mkdtemp(root));
	put("cgroup.controllers", "cpuset cpu io memory pids\n");
	put("cgroup.procs", "");
	put("cgroup.subtree_control", "");
	make_dir("rivet-runnerd");
	put("rivet-runnerd/cgroup.procs", "");
	make_dir("worker-1");
	put("worker-1/memory.max", "");
	put("worker-1/memory.oom.group", "");
	put("worker-1/cpu.max", "");
	put("worker-1/cgroup.procs", "");
	put("worker-1/cgroup.kill", "");
	put("worker-1/memory.events", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 0\noom_group_kill 0\n");
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = {
	    "worker-1/memory.max",  "worker-1/memory.oom.group", "worker-1/cpu.max",           "worker-1/cgroup.procs",
	    "worker-1/cgroup.kill", "worker-1/memory.events",    "rivet-runnerd/cgroup.procs", "cgroup.controllers",
	    "cgroup.procs",         "cgroup.subtree_control"};
	(void)state;
	cgroup_done();
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		MEM_AUTO char *path = mem_printf("%s/%s", root, files[i]);
		unlink(path);
	}
	MEM_AUTO char *worker = mem_printf("%s/worker-1", root), *leaf = mem_printf("%s/rivet-runnerd", root);
	rmdir(worker);
	rmdir(leaf);
	return rmdir(root);
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
	found("4:memory:/a\n", V2, NULL);
	found("0::/a\n", "1 2 8:1 / / rw - ext4 /dev/sda rw\n", NULL);
	found("", "", NULL);
}

static void test_a_worker_in_its_group(void **state)
{
	struct err e = {0};
	struct cgroup_group g = {0};
	(void)state;
	assert_int_equal(cgroup_need_at(root, CGROUP_MEMORY | CGROUP_CPU, &e), 0);
	holds("cgroup.subtree_control", "+memory +cpu");
	assert_int_equal(cgroup_group_make(&g, 256 << 20, 1500, &e), 0);
	holds("worker-1/memory.max", "268435456");
	holds("worker-1/memory.oom.group", "1");
	holds("worker-1/cpu.max", "150000 100000");
	assert_int_equal(write(g.procs_fd, "0", 1), 1);
	cgroup_group_started(&g);
	holds("worker-1/cgroup.procs", "0");
	assert_false(cgroup_group_oom(&g));
	put("worker-1/memory.events", "oom 1\noom_kill 2\noom_group_kill 1\n");
	assert_true(cgroup_group_oom(&g));
	cgroup_group_kill(&g);
	holds("worker-1/cgroup.kill", "1");
	cgroup_group_remove(&g);
	assert_null(g.path);
	cgroup_group_remove(&g);
}

static void test_what_is_missing_is_named(void **state)
{
	struct err e = {0};
	struct cgroup_group g = {0};
	(void)state;
	put("cgroup.controllers", "cpuset cpu pids memoryless\n");
	assert_int_equal(cgroup_need_at(root, CGROUP_MEMORY, &e), -ENOTSUP);
	assert_int_equal(e.exit_code, EXIT_CODE_CONFIG);
	assert_non_null(strstr(e.text, "the memory controller is not available in the control group /tmp/sup-cgroup-"));
	assert_int_equal(cgroup_group_make(&g, 1 << 20, 0, &e), -ENOTSUP);
	assert_int_equal(cgroup_need_at(root, CGROUP_CPU, &e), 0);
	assert_int_equal(cgroup_need_at(root, CGROUP_MEMORY, &e), -ENOTSUP); /* asked for by a reload */
}

static void test_a_limit_that_is_not_taken(void **state)
{
	struct err e = {0};
	struct cgroup_group g = {0};
	(void)state;
	MEM_AUTO char *path = mem_printf("%s/worker-1/cpu.max", root);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(cgroup_need_at(root, CGROUP_CPU, &e), 0);
	assert_int_equal(cgroup_group_make(&g, 0, 500, &e), -ENOENT);
	assert_non_null(strstr(e.text, "cannot write 50000 100000 to "));
	assert_null(g.path);
}

/* With the kernel's own files, as far as groups without controllers go. */
static void test_the_end_reaches_what_left_the_session(void **state)
{
	struct err e = {0};
	struct cgroup_group g = {0};
	char mounts[65536] = "";
	int pipe_fds[2], status = 0;
	(void)state;
	FILE *file = fopen("/proc/self/mountinfo", "r");
	assert_non_null(file);
	assert_true(fread(mounts, 1, sizeof(mounts) - 1, file) > 0);
	fclose(file);
	MEM_AUTO char *top = cgroup_find("0::/\n", mounts);
	MEM_AUTO char *base = mem_printf("%s/sup-test-%d", top == NULL ? "" : top, (int)getpid());
	if (top == NULL || mkdir(base, 0755) < 0)
		skip();
	assert_int_equal(cgroup_need_at(base, 0, &e), 0);
	assert_int_equal(cgroup_group_make(&g, 0, 0, &e), 0);
	assert_int_equal(pipe(pipe_fds), 0);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		if (write(g.procs_fd, "0", 1) != 1 || write(pipe_fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	char byte;
	assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
	cgroup_group_started(&g);
	cgroup_group_kill(&g);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	cgroup_group_remove(&g);
	MEM_AUTO char *leaf = mem_printf("%s/rivet-runnerd", base);
	assert_int_equal(rmdir(leaf), 0);
	assert_int_equal(rmdir(base), 0); /* the worker's group is gone */
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	cgroup_done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_finding),
	    cmocka_unit_test_setup_teardown(test_a_worker_in_its_group, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_what_is_missing_is_named, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_limit_that_is_not_taken, set_up, tear_down),
	    cmocka_unit_test(test_the_end_reaches_what_left_the_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
