/* Where a program is searched. */
#include "supervise/program_path.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char base[] = "/tmp/sup-path-XXXXXX";
static char got[PROGRAM_PATH_BYTES];
static struct err error;

static void make(const char *name, mode_t mode)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", base, name);
	if (mode == 0) {
		assert_int_equal(mkdir(path, 0755), 0);
		return;
	}
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode);
	assert_true(fd >= 0 && fchmod(fd, mode) == 0 && close(fd) == 0);
}

static int setup(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(base));
	make("a", 0);
	make("b", 0);
	make("a/plain", 0644);
	make("b/plain", 0755);
	make("a/dir", 0);
	make("b/dir", 0755);
	make("a/first", 0755);
	make("b/first", 0755);
	make("b/denied", 0644);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	static const char *const names[] = {"a/plain", "b/plain",  "a/dir", "b/dir", "a/first",
					    "b/first", "b/denied", "a",     "b"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", base, names[i]);
		remove(path);
	}
	return rmdir(base);
}

/* In the directories, with % for the base. */
static int find(const char *name, const char *places)
{
	char path[1024] = "", program[64];
	for (size_t n = 0; *places != '\0'; places++)
		n += (size_t)snprintf(path + n, sizeof(path) - n, "%.*s", *places == '%' ? (int)strlen(base) : 1,
				      *places == '%' ? base : places);
	snprintf(program, sizeof(program), "%s", name);
	char *argv[] = {program, NULL};
	struct proc_spec spec = {.argv = argv, .search_path = path};
	got[0] = '\0';
	error.text[0] = '\0';
	return program_path(&spec, got, &error);
}

static void test_the_first_that_can_be_executed(void **state)
{
	(void)state;
	assert_int_equal(find("first", "%/a:%/b"), 0);
	assert_string_equal(got + strlen(base), "/a/first");
	assert_int_equal(find("first", "%/b:%/a"), 0);
	assert_string_equal(got + strlen(base), "/b/first");
	assert_int_equal(find("plain", "%/a:%/b"), 0);
	assert_string_equal(got + strlen(base), "/b/plain");
	assert_int_equal(find("dir", "/nowhere:%/a:%/b"), 0);
	assert_string_equal(got + strlen(base), "/b/dir");
}

static void test_only_absolute_directories_count(void **state)
{
	(void)state;
	char cwd[1024], want[256];
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(want, sizeof(want), "%s/a", base);
	assert_int_equal(chdir(want), 0);
	assert_int_equal(find("first", ""), -ENOENT);
	assert_int_equal(find("first", ":."), -ENOENT);
	assert_int_equal(find("first", ":.:%/b:"), 0);
	assert_string_equal(got + strlen(base), "/b/first");
	assert_int_equal(chdir(cwd), 0);
}

static void test_what_is_said(void **state)
{
	(void)state;
	char want[256];
	assert_int_equal(find("absent", "/usr/bin:/bin"), -ENOENT);
	assert_string_equal(error.text, "cannot find absent in PATH (/usr/bin:/bin)");
	assert_int_equal(find("denied", "%/a:%/b"), -EACCES);
	snprintf(want, sizeof(want), "cannot execute %s/b/denied: Permission denied", base);
	assert_string_equal(error.text, want);
	assert_int_equal(find("", "/usr/bin"), -ENOENT);
}

static void test_a_path_is_taken_as_it_is(void **state)
{
	(void)state;
	assert_int_equal(find("./x", "/bin"), 0);
	assert_string_equal(got, "./x");
	assert_int_equal(find("/no/where", "/bin"), 0);
	assert_string_equal(got, "/no/where");
}

static void test_long_paths(void **state)
{
	(void)state;
	char longest[PROGRAM_PATH_BYTES + 2];
	char *argv[] = {longest, NULL};
	struct proc_spec spec = {.argv = argv, .search_path = longest};
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[PROGRAM_PATH_BYTES - 1] = '\0';
	assert_int_equal(program_path(&spec, got, &error), 0);
	longest[PROGRAM_PATH_BYTES - 1] = 'x';
	longest[PROGRAM_PATH_BYTES] = '\0';
	assert_int_equal(program_path(&spec, got, &error), -ENAMETOOLONG);
	char name[] = "sh";
	argv[0] = name; /* a directory that leaves no room for the name */
	assert_int_equal(program_path(&spec, got, &error), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_first_that_can_be_executed),
	    cmocka_unit_test(test_only_absolute_directories_count),
	    cmocka_unit_test(test_what_is_said),
	    cmocka_unit_test(test_a_path_is_taken_as_it_is),
	    cmocka_unit_test(test_long_paths),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
