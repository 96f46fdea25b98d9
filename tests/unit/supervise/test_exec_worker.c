/* What a program finds when it begins: environment, descriptors, signals,
 * limits, directory, user. */
#include "lib/sup_run.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct sup_run run;

static const char *output_of(struct proc_spec spec)
{
	sup_run(&run, &spec);
	if (run.how.code != 0)
		check_failed(__FILE__, __LINE__, sup_err(&run));
	return sup_out(&run);
}

static void says(const char *script, const char *want)
{
	assert_string_equal(output_of(sup_sh(script)), want);
	sup_run_done(&run);
}

static void test_the_environment_is_the_one_given(void **state)
{
	(void)state;
	char a[] = "A=1", path[] = "PATH=/usr/bin:/bin", empty[] = "EMPTY=", listen[] = "LISTEN_PID=1234";
	char *envp[] = {a, path, empty, listen, NULL};
	char env[] = "env";
	char *argv[] = {env, NULL};
	struct proc_spec spec = sup_sh("");
	spec.argv = argv;
	spec.envp = envp;
	assert_int_equal(setenv("RIVET_TOKEN", "secret", 1), 0);
	assert_string_equal(output_of(spec), "A=1\nPATH=/usr/bin:/bin\nEMPTY=\nLISTEN_PID=1234\n");
	sup_run_done(&run);
}

static void test_listen_pid_is_the_workers(void **state)
{
	(void)state;
	char listen[] = "LISTEN_PID=          ";
	char fds[] = "LISTEN_FDS=1";
	char *envp[] = {fds, listen, NULL};
	struct proc_spec spec = sup_sh("echo $$ $LISTEN_PID");
	spec.envp = envp;
	long pid, said;
	assert_int_equal(sscanf(output_of(spec), "%ld %ld", &pid, &said), 2);
	assert_int_equal(said, pid);
	assert_string_equal(listen, "LISTEN_PID=          "); /* the caller's is untouched */
	sup_run_done(&run);
}

static void test_no_descriptor_leaks(void **state)
{
	(void)state;
	int leaks[4];
	for (size_t i = 0; i < 4; i++) /* as a careless library would */
		assert_true((leaks[i] = open("/dev/null", O_RDONLY)) >= 0);
	assert_true(dup2(leaks[0], 700) == 700);
	/* The shell opens the directory itself: it is the one that is gone afterwards. */
	says("for f in /proc/self/fd/*; do [ -e $f ] && echo ${f##*/}; done; :", "0\n1\n2\n");
	for (size_t i = 0; i < 4; i++)
		close(leaks[i]);
	close(700);
}

static void test_descriptor_three_is_handed_over_blocking(void **state)
{
	(void)state;
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	struct proc_spec spec = sup_sh("for f in /proc/self/fd/*; do [ -e $f ] && echo ${f##*/}; done; echo hello >&3");
	spec.fd3 = pair[0];
	assert_string_equal(output_of(spec), "0\n1\n2\n3\n");
	char got[16] = "";
	assert_int_equal(read(pair[1], got, sizeof(got)), 6);
	assert_string_equal(got, "hello\n");
	assert_int_equal(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	close(pair[0]);
	close(pair[1]);
	sup_run_done(&run);
}

static void test_stdin_is_empty(void **state)
{
	(void)state;
	says("cat; readlink /proc/self/fd/0", "/dev/null\n");
}

/* The daemon's own closed: /dev/null and the pipe of stdout are then among what is going to be 0 to 2. */
static void test_descriptors_that_are_in_the_way(void **state)
{
	(void)state;
	int kept[3];
	for (int fd = 0; fd < 3; fd++) {
		kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
		close(fd);
	}
	struct proc_spec spec = sup_sh("cat; echo out; echo err >&2; readlink /proc/self/fd/0");
	sup_run(&run, &spec);
	for (int fd = 0; fd < 3; fd++) {
		dup2(kept[fd], fd);
		close(kept[fd]);
	}
	assert_string_equal(sup_out(&run), "out\n/dev/null\n");
	assert_string_equal(sup_err(&run), "err\n");
	sup_run_done(&run);
}

static void test_signals_are_as_new(void **state)
{
	(void)state;
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	sigset_t all, mask;
	sigfillset(&all);
	assert_int_equal(sigaction(SIGHUP, &ignore, &before), 0);
	assert_int_equal(sigprocmask(SIG_BLOCK, &all, &mask), 0);
	char grep[] = "grep", what[] = "Sig[BI]", status[] = "/proc/self/status";
	char *argv[] = {grep, what, status, NULL};
	struct proc_spec spec = sup_sh("");
	spec.argv = argv;
	assert_int_equal(sup_spawn(&run, &spec), 0);
	sigset_t now;
	assert_int_equal(sigprocmask(SIG_SETMASK, &mask, &now), 0);
	assert_int_equal(sigismember(&now, SIGHUP), 1); /* the daemon's mask is what it was */
	IO_UNTIL(sup_loop, run.exited);
	assert_string_equal(sup_out(&run), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	assert_int_equal(sigaction(SIGHUP, NULL, &ignore), 0);
	assert_true(ignore.sa_handler == SIG_IGN); /* and its dispositions */
	assert_int_equal(sigaction(SIGHUP, &before, NULL), 0);
	sup_run_done(&run);
}

static void test_umask(void **state)
{
	(void)state;
	mode_t before = umask(077);
	says("umask", "0022\n");
	assert_int_equal(umask(before), 077);
}

static void test_the_limit_of_files_is_the_one_at_start(void **state)
{
	(void)state;
	struct rlimit before, lowered, raised;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	lowered = before;
	lowered.rlim_cur = 200;
	raised = before;
	raised.rlim_cur = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &lowered), 0);
	proc_remember_limits();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &raised), 0);
	says("ulimit -Sn", "200\n");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &lowered), 0);
	assert_int_equal(lowered.rlim_cur, before.rlim_max); /* the daemon keeps its own */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void test_limits(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("ulimit -n; ulimit -Hn; ulimit -c; ulimit -v; ulimit -t");
	struct proc_rlimit limits[] = {
	    {RLIMIT_NOFILE, 64}, {RLIMIT_CORE, 0}, {RLIMIT_AS, UINT64_C(1) << 32}, {RLIMIT_CPU, 77}};
	spec.rlimits = limits;
	spec.n_rlimits = 4;
	assert_string_equal(output_of(spec), "64\n64\n0\n4194304\n77\n");
	sup_run_done(&run);
}

static void test_fewer_files_than_are_handed_over(void **state)
{
	(void)state;
	struct proc_rlimit limit = {RLIMIT_NOFILE, 3};
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char echo[] = "echo", word[] = "ran";
	char *argv[] = {echo, word, NULL};
	struct proc_spec spec = sup_sh("");
	spec.argv = argv;
	spec.fd3 = fd;
	spec.rlimits = &limit;
	spec.n_rlimits = 1;
	/* The loader cannot open its libraries; what matters is that the program began. */
	sup_run(&run, &spec);
	assert_int_equal(run.how.signal, 0);
	assert_non_null(strstr(sup_err(&run), "echo"));
	close(fd);
	sup_run_done(&run);
}

static void test_directory(void **state)
{
	(void)state;
	char dir[] = "/tmp/sup-dir-XXXXXX", script[64], program[] = "./worker";
	char *argv[] = {program, NULL};
	assert_non_null(mkdtemp(dir));
	snprintf(script, sizeof(script), "%s/worker", dir);
	int fd = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_int_equal(write(fd, "#!/bin/pwd\n", 11), 11);
	close(fd);
	struct proc_spec spec = sup_sh("");
	spec.argv = argv;
	spec.directory = dir;
	/* pwd complains of its argument on stderr, and runs. */
	sup_run(&run, &spec);
	assert_int_equal(strncmp(sup_out(&run), dir, strlen(dir)), 0);
	sup_run_done(&run);
	assert_int_equal(unlink(script), 0);
	assert_int_equal(rmdir(dir), 0);
}

/* ---- the user, when root ---- */

static bool nobody(struct proc_spec *spec)
{
	static const uint32_t groups[] = {65534, 1234};
	const struct passwd *pw = getpwnam("nobody");
	if (geteuid() != 0 || pw == NULL)
		return false;
	spec->set_user = true;
	spec->uid = pw->pw_uid;
	spec->gid = pw->pw_gid;
	spec->groups = groups;
	spec->n_groups = 2;
	return true;
}

static void test_user(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb))' /proc/self/status; "
				       "echo opened >/dev/stdout");
	if (!nobody(&spec))
		skip();
	int dumpable = prctl(PR_GET_DUMPABLE);
	assert_string_equal(output_of(spec), "Uid:\t65534\t65534\t65534\t65534\n"
					     "Gid:\t65534\t65534\t65534\t65534\n"
					     "Groups:\t1234 65534 \n"
					     "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
					     "CapEff:\t0000000000000000\nCapAmb:\t0000000000000000\n"
					     "opened\n");
	sup_run_done(&run);
	assert_int_equal(geteuid(), 0);
	assert_int_equal(dumpable, 1);
	assert_int_equal(prctl(PR_GET_DUMPABLE), 1);
}

static void test_the_directory_is_entered_as_the_user(void **state)
{
	(void)state;
	char dir[] = "/tmp/sup-root-XXXXXX", want[128];
	struct proc_spec spec = sup_sh("");
	if (!nobody(&spec))
		skip();
	assert_non_null(mkdtemp(dir)); /* 0700, root's */
	spec.directory = dir;
	snprintf(want, sizeof(want), "cannot enter directory %s: Permission denied", dir);
	assert_int_equal(sup_spawn(&run, &spec), -EACCES);
	assert_string_equal(run.error.text, want);
	sup_run_done(&run);
	assert_int_equal(rmdir(dir), 0);
}

static void test_a_user_one_may_not_become(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("");
	if (!nobody(&spec))
		skip();
	spec.uid = 1;
	pid_t pid = fork(); /* to be somebody without rights */
	if (pid == 0) {
		int status = setresuid(65534, 65534, 65534);
		if (status == 0 && sup_spawn(&run, &spec) != -EPERM)
			status = 1;
		if (strcmp(run.error.text, "cannot set the groups of user 1 for /usr/bin/sh: Operation not permitted; "
					   "only root may start workers as another user") != 0)
			status = 2;
		_exit(status);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, sup_setup, sup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_the_environment_is_the_one_given),
	    TEST(test_listen_pid_is_the_workers),
	    TEST(test_no_descriptor_leaks),
	    TEST(test_descriptor_three_is_handed_over_blocking),
	    TEST(test_stdin_is_empty),
	    TEST(test_descriptors_that_are_in_the_way),
	    TEST(test_signals_are_as_new),
	    TEST(test_umask),
	    TEST(test_the_limit_of_files_is_the_one_at_start),
	    TEST(test_limits),
	    TEST(test_fewer_files_than_are_handed_over),
	    TEST(test_directory),
	    TEST(test_user),
	    TEST(test_the_directory_is_entered_as_the_user),
	    TEST(test_a_user_one_may_not_become),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
