/* Heads and chunks to the byte, the date, the bound, and the promise that no value of ours ends a line early. */
#include "codec/http_head.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static struct buf b;

static int setup(void **state)
{
	(void)state;
	buf_init(&b, 1000);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&b);
	return 0;
}

static void test_request(void **state)
{
	(void)state;
	http_put_request_line(&b, SLICE_LIT("GET"), SLICE_LIT("/a?b"));
	http_put_field(&b, SLICE_LIT("host"), SLICE_LIT("x"));
	http_put_field(&b, SLICE_LIT("empty"), SLICE_NONE);
	http_put_field_str(&b, "tabbed", "a\tb\xff");
	http_put_field_u64(&b, "zero", 0);
	http_put_field_u64(&b, "most", UINT64_MAX);
	http_put_end(&b);
	assert_string_equal(buf_text(&b), "GET /a?b HTTP/1.1\r\nhost: x\r\nempty: \r\ntabbed: a\tb\xff\r\nzero: 0\r\n"
					  "most: 18446744073709551615\r\n\r\n");
}

static void test_status(void **state)
{
	(void)state;
	http_put_status_line(&b, 200);
	http_put_status_line(&b, 503);
	http_put_status_line(&b, 599);
	assert_string_equal(buf_text(&b),
			    "HTTP/1.1 200 OK\r\nHTTP/1.1 503 Service Unavailable\r\nHTTP/1.1 599 Unknown\r\n");
	for (unsigned status = 0; status < 1000; status++) {
		assert_non_null(http_reason(status));
		assert_true(strlen(http_reason(status)) > 0);
	}
	assert_string_equal(http_reason(507), "Insufficient Storage");
}

static void test_date(void **state)
{
	(void)state;
	static const struct {
		int64_t wall_ms;
		const char *want;
	} dates[] = {
	    {784111777000, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
	    {784111777999, "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"},
	    {784111778000, "date: Sun, 06 Nov 1994 08:49:38 GMT\r\n"},
	    {0, "date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"},
	    {1709164800000, "date: Thu, 29 Feb 2024 00:00:00 GMT\r\n"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(dates); i++) {
		buf_reset(&b);
		http_put_date(&b, dates[i].wall_ms);
		assert_string_equal(buf_text(&b), dates[i].want);
	}
}

static void test_chunks(void **state)
{
	(void)state;
	char text[300];
	memset(text, 'x', sizeof(text));
	http_put_chunk(&b, SLICE_LIT("a"));
	http_put_chunk(&b, slice_of(text, 300));
	http_put_last_chunk(&b);
	assert_int_equal(buf_len(&b), 6 + 7 + 300 + 5);
	assert_memory_equal(b.mem, "1\r\na\r\n12c\r\nxxx", 14);
	assert_memory_equal(b.mem + 311, "\r\n0\r\n\r\n", 7);
}

/* Lines are written whole or not at all. */
static void test_bound(void **state)
{
	(void)state;
	buf_done(&b);
	buf_init(&b, 24);
	http_put_request_line(&b, SLICE_LIT("GET"), SLICE_LIT("/"));
	http_put_field_str(&b, "a", "bcd");
	assert_false(b.over);
	assert_int_equal(buf_len(&b), 24);
	http_put_end(&b);
	assert_true(b.over);
	buf_reset(&b);
	http_put_request_line(&b, SLICE_LIT("GET"), SLICE_LIT("/0123456789"));
	assert_true(b.over);
	http_put_field_str(&b, "name", "a long value, too long");
	http_put_status_line(&b, 503);
	http_put_chunk(&b, SLICE_LIT("0123456789012345678901234"));
	assert_int_equal(buf_len(&b), 0);
}

/* Runs fn in a child; true when it was ended by a CHECK. */
static bool aborts(void (*fn)(void))
{
	pid_t pid = fork();
	if (pid == 0) {
		(void)!freopen("/dev/null", "w", stderr);
		fn();
		_exit(0);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void put_cr(void)
{
	http_put_field(&b, SLICE_LIT("a"), SLICE_LIT("\r"));
}

static void put_lf(void)
{
	http_put_field(&b, SLICE_LIT("a"), SLICE_LIT("some\twhere in the middle\n of it"));
}

static void put_nul(void)
{
	http_put_field(&b, SLICE_LIT("a\0"), SLICE_LIT("b"));
}

static void put_target(void)
{
	http_put_request_line(&b, SLICE_LIT("GET"), SLICE_LIT("/ HTTP/1.1\r\nX: y"));
}

static void put_method(void)
{
	http_put_request_line(&b, SLICE_LIT("GET\n"), SLICE_LIT("/"));
}

static void put_status(void)
{
	http_put_status_line(&b, 99);
}

static void put_good(void)
{
	http_put_field(&b, SLICE_LIT("a"), SLICE_LIT("\t\x01\x7f\xff"));
}

static void test_splitting(void **state)
{
	(void)state;
	assert_true(aborts(put_cr));
	assert_true(aborts(put_lf));
	assert_true(aborts(put_nul));
	assert_true(aborts(put_target));
	assert_true(aborts(put_method));
	assert_true(aborts(put_status));
	assert_false(aborts(put_good));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_request, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_status, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_date, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_chunks, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_bound, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_splitting, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
