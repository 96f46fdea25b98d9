/* Real children: how they end, are ended, and what comes of their output. */
#include "base/limits.h"
#include "lib/sup_run.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct sup_run run;

static void finish(void)
{
	sup_run_done(&run);
}

/* ---- ends ---- */

static void test_exit_codes(void **state)
{
	(void)state;
	static const char *const scripts[] = {"exit 0", "exit 3", "exit 255"};
	static const int codes[] = {0, 3, 255};
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		struct proc_spec spec = sup_sh(scripts[i]);
		sup_run(&run, &spec);
		assert_int_equal(run.how.code, codes[i]);
		assert_int_equal(run.how.signal, 0);
		assert_false(run.how.core);
		finish();
	}
	assert_string_equal(run.text, "exit code 255");
}

static void test_signals(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("kill -9 $$");
	sup_run(&run, &spec);
	assert_int_equal(run.how.code, -1);
	assert_int_equal(run.how.signal, SIGKILL);
	assert_string_equal(run.text, "signal 9 (Killed)");
	finish();
}

static void test_exit_texts(void **state)
{
	(void)state;
	char text[80];
	proc_exit_text(&(struct proc_exit){.code = -1, .signal = SIGSEGV, .core = true}, text);
	assert_string_equal(text, "signal 11 (Segmentation fault, core dumped)");
	proc_exit_text(&(struct proc_exit){.code = -1, .signal = SIGSEGV}, text);
	assert_string_equal(text, "signal 11 (Segmentation fault)");
	proc_exit_text(&(struct proc_exit){.code = -1, .signal = 40}, text);
	assert_string_equal(text, "signal 40 (real-time signal)");
}

static void test_core_flag(void **state)
{
	(void)state;
	char dir[] = "/tmp/sup-core-XXXXXX";
	assert_non_null(mkdtemp(dir));
	struct proc_spec spec = sup_sh("ulimit -c unlimited 2>/dev/null; kill -SEGV $$");
	struct proc_rlimit core = {RLIMIT_CORE, 0};
	spec.directory = dir;
	spec.rlimits = &core;
	spec.n_rlimits = 1;
	sup_run(&run, &spec);
	assert_int_equal(run.how.signal, SIGSEGV);
	assert_false(run.how.core); /* the limit is hard as well */
	finish();
	assert_int_equal(rmdir(dir), 0);
}

/* ---- output ---- */

static void test_output_comes_in_lines_before_the_exit(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("echo one; echo; printf 'two\\r\\n'; echo bad >&2; printf unfinished");
	sup_run(&run, &spec);
	assert_string_equal(sup_out(&run), "one\n\ntwo\r\nunfinished\n");
	assert_string_equal(sup_err(&run), "bad\n");
	assert_string_equal(sup_tail(&run), "bad");
	finish();
}

static void test_all_output_of_a_process_that_ended_is_read(void **state)
{
	(void)state;
	/* A full pipe at the moment of the exit. */
	struct proc_spec spec = sup_sh("head -c 60000 /dev/zero | tr '\\0' x; exit 4");
	sup_run(&run, &spec);
	assert_int_equal(run.how.code, 4);
	assert_int_equal(buf_len(&run.out), 60000 + 8); /* eight records, each with a newline here */
	finish();
}

static void test_a_stranger_that_writes_is_given_up(void **state)
{
	(void)state;
	/* The stranger has surely left the group: it says so before the leader exits. */
	struct proc_spec spec = sup_sh("mkfifo $0.$$; setsid sh -c 'echo $$; echo x >'$0.$$'; exec sleep 30' & "
				       "read x < $0.$$; rm $0.$$; exit 6");
	spec.directory = "/tmp";
	int64_t begin = clock_mono_ms();
	sup_run(&run, &spec);
	int64_t took_ms = clock_mono_ms() - begin;
	assert_int_equal(run.how.code, 6);
	int32_t stranger = (int32_t)strtol(sup_out(&run), NULL, 10);
	assert_true(stranger > 1);
	assert_true(sup_alive(stranger));
	assert_int_equal(kill(stranger, SIGKILL), 0);
	assert_true(took_ms >= 200 && took_ms < 2000);
	finish();
}

/* ---- the ladder ---- */

static void wait_for_output(const char *text)
{
	IO_UNTIL(sup_loop, strstr(sup_out(&run), text) != NULL);
}

static void test_stop_asks_first(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.02; done");
	assert_int_equal(sup_spawn(&run, &spec), 0);
	wait_for_output("up");
	proc_stop(run.proc, 10000);
	IO_UNTIL(sup_loop, run.exited);
	assert_int_equal(run.how.code, 7);
	assert_non_null(strstr(sup_out(&run), "bye"));
	finish();
}

static void test_stop_kills_at_the_deadline(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("trap '' TERM; echo up; while :; do sleep 0.02; done");
	assert_int_equal(sup_spawn(&run, &spec), 0);
	wait_for_output("up");
	int64_t begin = clock_mono_ms();
	proc_stop(run.proc, 300);
	IO_UNTIL(sup_loop, run.exited);
	assert_int_equal(run.how.signal, SIGKILL);
	int64_t took_ms = clock_mono_ms() - begin;
	assert_true(took_ms >= 300 && took_ms < 1500);
	finish();
}

static void test_stopping_again_only_shortens(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("trap 'echo asked' TERM; echo up; while :; do sleep 0.02; done");
	assert_int_equal(sup_spawn(&run, &spec), 0);
	wait_for_output("up");
	int64_t begin = clock_mono_ms();
	proc_stop(run.proc, 60000);
	wait_for_output("asked");
	proc_stop(run.proc, 400);
	proc_stop(run.proc, 50000);
	IO_UNTIL(sup_loop, run.exited);
	int64_t took_ms = clock_mono_ms() - begin;
	assert_true(took_ms >= 400 && took_ms < 2000);
	assert_string_equal(sup_out(&run), "up\nasked\n"); /* SIGTERM once */
	finish();
}

static void test_stop_at_once(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("trap 'echo asked' TERM; echo up; sleep 30");
	assert_int_equal(sup_spawn(&run, &spec), 0);
	wait_for_output("up");
	proc_stop(run.proc, 0);
	proc_stop(run.proc, 0);
	IO_UNTIL(sup_loop, run.exited);
	assert_int_equal(run.how.signal, SIGKILL);
	assert_string_equal(sup_out(&run), "up\n");
	finish();
}

static void test_a_stopped_process_is_continued_to_obey(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("trap 'exit 8' TERM; echo up; kill -STOP $$; sleep 30");
	assert_int_equal(sup_spawn(&run, &spec), 0);
	wait_for_output("up");
	io_loop_settle(sup_loop);
	proc_stop(run.proc, 4000);
	IO_UNTIL(sup_loop, run.exited);
	assert_int_equal(run.how.code, 8);
	finish();
}

/* ---- the group ---- */

static void test_the_whole_group_ends_with_its_leader(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("trap 'exit 9' USR1; "
				       "sh -c 'trap \"\" TERM; sleep 40 & echo $!; kill -USR1 $PPID; wait' & wait");
	assert_int_equal(sup_spawn(&run, &spec), 0);
	int32_t group = proc_pid(run.proc);
	IO_UNTIL(sup_loop, run.exited);
	assert_int_equal(run.how.code, 9);
	int32_t grandchild = (int32_t)strtol(sup_out(&run), NULL, 10);
	assert_true(grandchild > 1);
	IO_UNTIL(sup_loop, !sup_alive(grandchild));
	IO_UNTIL(sup_loop, kill(-group, 0) < 0 && errno == ESRCH);
	finish();
}

static void test_the_worker_leads_a_group_of_its_own(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("echo up; sleep 30");
	assert_int_equal(sup_spawn(&run, &spec), 0);
	wait_for_output("up");
	assert_int_equal(getpgid(proc_pid(run.proc)), proc_pid(run.proc));
	assert_int_equal(getsid(proc_pid(run.proc)), getsid(0));
	finish();
}

static void test_many_at_once(void **state)
{
	(void)state;
	enum { N = 40 };
	static struct sup_run runs[N];
	for (int i = 0; i < N; i++) {
		char script[64];
		snprintf(script, sizeof(script), "echo %d; exit %d", i, i);
		struct proc_spec spec = sup_sh(script);
		assert_int_equal(sup_spawn(&runs[i], &spec), 0);
	}
	for (int i = 0; i < N; i++) {
		IO_UNTIL(sup_loop, runs[i].exited);
		assert_int_equal(runs[i].how.code, i);
		assert_int_equal(strtol(sup_out(&runs[i]), NULL, 10), i);
		sup_run_done(&runs[i]);
	}
}

/* ---- spawns that fail ---- */

static int n_open_fds(void)
{
	int n = 0;
	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void fails(const struct proc_spec *spec, int why, const char *sentence)
{
	int before = n_open_fds();
	assert_int_equal(sup_spawn(&run, spec), -why);
	assert_string_equal(run.error.text, sentence);
	assert_int_equal(run.error.exit_code, EXIT_CODE_FAILED);
	assert_null(run.proc);
	assert_int_equal(n_open_fds(), before);
	io_loop_settle(sup_loop); /* no event comes */
	assert_false(run.exited);
	finish();
}

static void fails_file(char *file, mode_t mode, const char *content, int why, const char *sentence)
{
	char *argv[] = {file, NULL};
	struct proc_spec spec = sup_sh("");
	int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
	spec.argv = argv;
	fails(&spec, why, sentence);
	assert_int_equal(unlink(file), 0);
}

static void test_programs_that_cannot_be_executed(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("");
	char missing[] = "no-such-program", path[] = "/nowhere/worker", relative[] = "./worker";
	char *argv[] = {missing, NULL};
	spec.argv = argv;
	fails(&spec, ENOENT, "cannot find no-such-program in PATH (/usr/bin:/bin)");
	argv[0] = path;
	fails(&spec, ENOENT, "cannot execute /nowhere/worker: No such file or directory");
	argv[0] = relative;
	spec.directory = "/tmp";
	fails(&spec, ENOENT,
	      "cannot execute ./worker: No such file or directory; the path is taken from the worker's directory");

	char file[] = "/tmp/sup-test-program";
	unlink(file);
	fails_file(file, 0644, "#!/bin/sh\n", EACCES, "cannot execute /tmp/sup-test-program: Permission denied");
	fails_file(file, 0755, "#!/no/such/interpreter\n", ENOENT,
		   "cannot execute /tmp/sup-test-program: No such file or directory; the file is there, so what is "
		   "missing is the interpreter its first line names, or its loader");
	fails_file(file, 0755, "echo hello\n", ENOEXEC,
		   "cannot execute /tmp/sup-test-program: Exec format error; a script needs a first line such as "
		   "#!/bin/sh");
}

static void test_directories_that_cannot_be_entered(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("");
	spec.directory = "/nowhere";
	fails(&spec, ENOENT, "cannot enter directory /nowhere: No such file or directory");
	spec.directory = "/dev/null";
	fails(&spec, ENOTDIR, "cannot enter directory /dev/null: Not a directory");
}

static void test_limits_that_cannot_be_set(void **state)
{
	(void)state;
	struct proc_spec spec = sup_sh("");
	struct proc_rlimit limit = {RLIMIT_NOFILE, UINT64_C(1) << 40}; /* over what the kernel allows anyone */
	spec.rlimits = &limit;
	spec.n_rlimits = 1;
	fails(&spec, EPERM, "cannot set the limit open_files of /usr/bin/sh: Operation not permitted");
}

static void test_out_of_descriptors(void **state)
{
	(void)state;
	struct rlimit before, none;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	struct proc_spec spec = sup_sh("");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int r = sup_spawn(&run, &spec);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(r, -EMFILE);
	assert_string_equal(run.error.text, "cannot open /dev/null for sh: Too many open files");
	finish();
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, sup_setup, sup_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_exit_codes),
	    TEST(test_signals),
	    TEST(test_exit_texts),
	    TEST(test_core_flag),
	    TEST(test_output_comes_in_lines_before_the_exit),
	    TEST(test_all_output_of_a_process_that_ended_is_read),
	    TEST(test_a_stranger_that_writes_is_given_up),
	    TEST(test_stop_asks_first),
	    TEST(test_stop_kills_at_the_deadline),
	    TEST(test_stopping_again_only_shortens),
	    TEST(test_stop_at_once),
	    TEST(test_a_stopped_process_is_continued_to_obey),
	    TEST(test_the_whole_group_ends_with_its_leader),
	    TEST(test_the_worker_leads_a_group_of_its_own),
	    TEST(test_many_at_once),
	    TEST(test_programs_that_cannot_be_executed),
	    TEST(test_directories_that_cannot_be_entered),
	    TEST(test_limits_that_cannot_be_set),
	    TEST(test_out_of_descriptors),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
