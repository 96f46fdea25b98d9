/* What a worker is kept from: by a mount namespace as root, by Landlock as
 * anybody else. */
#include "lib/sup_run.h"

#include "supervise/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define NOBODY 65534

static struct sup_run run;
static char place[64]; /* with the directories locked, open, locked/own */

static void make_place(void)
{
	static const char *const dirs[] = {"locked", "locked/own", "open"};
	char path[128];
	strcpy(place, "/var/tmp/sup-box-XXXXXX");
	assert_non_null(mkdtemp(place));
	assert_int_equal(chmod(place, 0777), 0);
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", place, dirs[i]);
		assert_int_equal(mkdir(path, 0777), 0);
		assert_int_equal(chmod(path, 0777), 0);
	}
	snprintf(path, sizeof(path), "%s/locked/old", place);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	assert_int_equal(write(fd, "kept\n", 5), 5);
	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);
}

static void remove_place(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", place);
	struct proc_spec spec = sup_sh(command);
	sup_run(&run, &spec);
	sup_run_done(&run);
}

/* Each line: what was tried, and whether it went through. */
#define SCRIPT                                                                                           \
	"try() { if (eval \"$2\") 2>&-; then echo $1 yes; else echo $1 no; fi; }; "                      \
	"try new ': >locked/new'; try write 'echo x >>locked/old'; try cut 'truncate -s 0 locked/old'; " \
	"try remove 'rm locked/old'; try move 'mv locked/old open/'; try rename 'mv locked gone'; "      \
	"try make 'mkdir locked/dir'; try own ': >locked/own/new'; try beside ': >open/new'; "           \
	"try null '[ ! -w /dev/null ] || : >/dev/null'; try here 'cd locked && : >here'; cat locked/old"
#define KEPT                                                                                                         \
	"new no\nwrite no\ncut no\nremove no\nmove no\nrename no\nmake no\nown yes\nbeside yes\nnull yes\nhere no\n" \
	"kept\n"

static int run_locked(void)
{
	char path[128], own[128];
	char *paths[] = {path, NULL};
	struct sandbox box = {.umask = SANDBOX_UMASK, .no_new_privs = true, .read_only = paths};
	struct err e;
	snprintf(path, sizeof(path), "%s/locked", place);
	snprintf(own, sizeof(own), "%s/locked/own", place);
	if (sandbox_check_paths(&box, &e) < 0)
		return 1;
	struct proc_spec spec = sup_sh(SCRIPT);
	spec.directory = place;
	spec.sandbox = &box;
	spec.own_dir = own;
	sup_run(&run, &spec);
	int status = strcmp(sup_out(&run), KEPT) == 0 ? 0 : 2;
	if (status != 0)
		fprintf(stderr, "%s%s", sup_out(&run), sup_err(&run));
	sup_run_done(&run);
	return status;
}

static void test_read_only_paths_as_root(void **state)
{
	(void)state;
	if (sandbox_mounts() != 0)
		skip();
	make_place();
	assert_int_equal(run_locked(), 0);
	struct stat st;
	char path[128]; /* nobody else's view has changed */
	snprintf(path, sizeof(path), "%s/locked/new", place);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/locked/own/new", place);
	assert_int_equal(stat(path, &st), 0);
	remove_place();
}

/* In a process without rights, which has its own idea of what it may do. */
static int as_nobody(int (*fn)(void))
{
	int status = -1;
	pid_t pid = fork();
	if (pid == 0) {
		void *state = NULL;
		if (geteuid() == 0 && (setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
			_exit(90);
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as a process is that began as that user */
		_exit(sup_setup(&state) != 0 ? 91 : fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int no_rights(void)
{
	struct sandbox box = {.private_tmp = true};
	struct err e = {0};
	if (sandbox_mounts() != EPERM || sandbox_check_paths(&box, &e) != -EPERM || e.exit_code != EXIT_CODE_CONFIG ||
	    strncmp(e.text, "private_tmp: ", 13) != 0)
		return 1;
	return sandbox_try_nice(-20) != 0 && sandbox_try_nice(19) == 0 && sandbox_try_oom_score_adj(-1000) != 0 &&
		       sandbox_try_oom_score_adj(1000) == 0
		   ? 0
		   : 2;
}

static int landlock_needs_no_new_privs(void)
{
	char etc[] = "/etc";
	char *paths[] = {etc, NULL};
	struct sandbox box = {.read_only = paths};
	struct err e = {0};
	return sandbox_check_paths(&box, &e) < 0 && strstr(e.text, "no_new_privs") != NULL ? 0 : 1;
}

static bool has_landlock(void)
{
	char etc[] = "/etc";
	char *paths[] = {etc, NULL};
	struct sandbox box = {.read_only = paths};
	int fd;
	if (sandbox_ruleset(&box, NULL, &fd, NULL) < 0)
		return false;
	close(fd);
	return true;
}

/* The daemon's sandbox_mounts() remembers: these come before anything that asks as root. */
static void test_without_rights(void **state)
{
	(void)state;
	assert_int_equal(as_nobody(no_rights), 0);
}

static void test_read_only_paths_without_rights(void **state)
{
	(void)state;
	if (!has_landlock())
		skip();
	assert_int_equal(as_nobody(landlock_needs_no_new_privs), 0);
	make_place();
	assert_int_equal(as_nobody(run_locked), 0);
	remove_place();
}

static int everything_locked(void)
{
	char root[] = "/", own[128];
	char *paths[] = {root, NULL};
	struct sandbox box = {.umask = SANDBOX_UMASK, .no_new_privs = true, .read_only = paths};
	snprintf(own, sizeof(own), "%s/locked/own", place);
	struct proc_spec spec = sup_sh("try() { if (eval \"$2\") 2>&-; then echo $1 yes; else echo $1 no; fi; }; "
				       "try tmp ': >/tmp/sup-x'; try place ': >open/x'; try own ': >locked/own/new'; "
				       "try null '[ ! -w /dev/null ] || : >/dev/null'");
	spec.directory = place;
	spec.sandbox = &box;
	spec.own_dir = own;
	sup_run(&run, &spec);
	int status = strcmp(sup_out(&run), "tmp no\nplace no\nown yes\nnull yes\n") == 0 ? 0 : 2;
	if (status != 0)
		fprintf(stderr, "%s%s", sup_out(&run), sup_err(&run));
	sup_run_done(&run);
	return status;
}

static void test_the_whole_tree_without_rights(void **state)
{
	(void)state;
	if (!has_landlock())
		skip();
	make_place();
	assert_int_equal(as_nobody(everything_locked), 0);
	remove_place();
}

static void test_the_whole_tree_as_root(void **state)
{
	(void)state;
	if (sandbox_mounts() != 0)
		skip();
	make_place();
	assert_int_equal(everything_locked(), 0);
	remove_place();
}

/* The daemon's own directory of sockets may lie in what is hidden. */
static void test_private_tmp(void **state)
{
	(void)state;
	struct sandbox box = {.umask = SANDBOX_UMASK, .private_tmp = true};
	char own[128], script[512], path[160];
	struct stat st;
	if (sandbox_mounts() != 0)
		skip();
	make_place();
	snprintf(own, sizeof(own), "%s/open", place);
	snprintf(script, sizeof(script),
		 "ls -A /tmp; ls -A /var/tmp; ls -A %s; : >/tmp/mine && : >%s/new && stat -c %%a /tmp %s", place, own,
		 place);
	struct proc_spec spec = sup_sh(script);
	spec.sandbox = &box;
	spec.own_dir = own;
	sup_run(&run, &spec);
	char want[128];
	snprintf(want, sizeof(want), "%s\nopen\n1777\n755\n", place + strlen("/var/tmp/"));
	assert_string_equal(sup_out(&run), want);
	assert_string_equal(sup_err(&run), "");
	sup_run_done(&run);
	snprintf(path, sizeof(path), "%s/new", own);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(stat("/tmp/mine", &st), -1);
	remove_place();
}

static void test_priorities_and_rights(void **state)
{
	(void)state;
	struct sandbox box = {.umask = 027,
			      .set_nice = true,
			      .nice = 7,
			      .set_oom_score_adj = true,
			      .oom_score_adj = 333,
			      .no_new_privs = true};
	char mine[16] = "", after[16] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, mine, sizeof(mine) - 1) > 0);
	int nice_before = getpriority(PRIO_PROCESS, 0);
	struct proc_spec spec = sup_sh("umask; nice; cat /proc/self/oom_score_adj; grep NoNewPrivs /proc/self/status");
	spec.sandbox = &box;
	sup_run(&run, &spec);
	assert_string_equal(sup_out(&run), "0027\n7\n333\nNoNewPrivs:\t1\n");
	sup_run_done(&run);
	assert_int_equal(pread(fd, after, sizeof(after) - 1, 0) > 0, 1); /* the daemon's are as they were */
	assert_string_equal(after, mine);
	assert_int_equal(getpriority(PRIO_PROCESS, 0), nice_before);
	close(fd);
	box.no_new_privs = false;
	spec = sup_sh("grep NoNewPrivs /proc/self/status");
	spec.sandbox = &box;
	sup_run(&run, &spec);
	assert_string_equal(sup_out(&run), "NoNewPrivs:\t0\n");
	sup_run_done(&run);
}

static void test_a_path_that_is_gone_is_named(void **state)
{
	(void)state;
	char gone[] = "/nowhere/at/all";
	char *paths[] = {gone, NULL};
	struct sandbox box = {.umask = SANDBOX_UMASK, .read_only = paths};
	if (sandbox_mounts() != 0)
		skip();
	struct proc_spec spec = sup_sh(":");
	spec.sandbox = &box;
	assert_int_equal(sup_spawn(&run, &spec), -ENOENT);
	assert_non_null(strstr(run.error.text, "cannot make /nowhere/at/all read-only for "));
	sup_run_done(&run);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, sup_setup, sup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_rights),    TEST(test_read_only_paths_without_rights),
	    TEST(test_the_whole_tree_without_rights), TEST(test_read_only_paths_as_root),
	    TEST(test_the_whole_tree_as_root),        TEST(test_private_tmp),
	    TEST(test_priorities_and_rights),         TEST(test_a_path_that_is_gone_is_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
