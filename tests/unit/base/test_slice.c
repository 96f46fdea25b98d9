/* Borrowed bytes: comparing, cutting, copying, with NULs and with nothing. */
#include "base/slice.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void test_making(void **state)
{
	(void)state;
	assert_int_equal(SLICE_LIT("a\0b").n, 3);
	assert_int_equal(SLICE_LIT("").n, 0);
	assert_int_equal(slice_str("abc").n, 3);
	assert_int_equal(slice_str(NULL).n, 0);
	assert_null(slice_str(NULL).p);
	char text[8];
	snprintf(text, sizeof(text), "%.*s", SLICE_FMT(slice_of("abcdef", 3)));
	assert_string_equal(text, "abc");
	snprintf(text, sizeof(text), "%.*s", SLICE_FMT(SLICE_NONE));
	assert_string_equal(text, "");
}

static void test_comparing(void **state)
{
	(void)state;
	assert_true(slice_eq(SLICE_NONE, SLICE_LIT("")));
	assert_true(slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0b")));
	assert_false(slice_eq(SLICE_LIT("a\0b"), SLICE_LIT("a\0c")));
	assert_false(slice_eq(SLICE_LIT("a"), SLICE_LIT("ab")));
	assert_true(slice_is(SLICE_LIT("ab"), "ab"));
	assert_false(slice_is(SLICE_LIT("ab\0"), "ab"));
	assert_true(slice_is(SLICE_NONE, ""));
	assert_true(slice_is_nocase(SLICE_LIT("aB-9"), "Ab-9"));
	assert_false(slice_is_nocase(SLICE_LIT("aB"), "aBc"));
	assert_false(slice_is_nocase(SLICE_LIT("a@"), "a`"));
	assert_true(slice_is_nocase(SLICE_NONE, ""));
	assert_true(slice_starts(SLICE_LIT("abc"), "ab"));
	assert_true(slice_starts(SLICE_LIT("abc"), "abc"));
	assert_true(slice_starts(SLICE_NONE, ""));
	assert_false(slice_starts(SLICE_LIT("ab"), "abc"));
	assert_false(slice_starts(SLICE_LIT("abc"), "b"));
}

static void test_cutting(void **state)
{
	(void)state;
	struct slice s = SLICE_LIT("abcb");
	assert_true(slice_is(slice_from(s, 0), "abcb"));
	assert_true(slice_is(slice_from(s, 4), ""));
	assert_true(slice_is(slice_from(s, 3), "b"));
	assert_true(slice_is(slice_head(s, 0), ""));
	assert_true(slice_is(slice_head(s, 4), "abcb"));
	assert_int_equal(slice_find(s, 'b'), 1);
	assert_int_equal(slice_find(s, 'x'), 4);
	assert_int_equal(slice_find(SLICE_NONE, 'x'), 0);
	assert_int_equal(slice_find(SLICE_LIT("a\0"), '\0'), 1);
	assert_int_equal(slice_from(SLICE_NONE, 0).n, 0);
}

/* Cutting past the end is our own mistake, and ends the program. */
static void test_cutting_past_the_end(void **state)
{
	(void)state;
	for (int which = 0; which < 2; which++) {
		pid_t pid = fork();
		if (pid == 0) {
			volatile size_t n = 4;
			(void)!freopen("/dev/null", "w", stderr);
			struct slice s = which == 0 ? slice_from(SLICE_LIT("abc"), n) : slice_head(SLICE_LIT("abc"), n);
			_exit((int)s.n);
		}
		int status = 0;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

static void test_copying(void **state)
{
	(void)state;
	char *text = slice_dup(SLICE_LIT("ab\0c"));
	assert_memory_equal(text, "ab\0c", 5);
	mem_free(text);
	text = slice_dup(SLICE_NONE);
	assert_string_equal(text, "");
	mem_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_making),  cmocka_unit_test(test_comparing),
	    cmocka_unit_test(test_cutting), cmocka_unit_test(test_cutting_past_the_end),
	    cmocka_unit_test(test_copying),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
