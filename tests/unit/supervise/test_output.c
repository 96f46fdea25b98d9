/* Bytes in any split to lines, the rate limit, the tail. */
#include "supervise/output.h"

#include "lib/io_loop.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *the_loop;
static struct output output;
static int ends[2]; /* the worker's */
static struct buf lines, records;
static uint64_t n_lines, n_dropped, n_dropped_calls;
static bool over;

static void on_line(void *arg, int fd, struct slice line)
{
	assert_ptr_equal(arg, &output);
	assert_true(line.n <= LIMIT_OUTPUT_LINE_BYTES);
	assert_false(over);
	buf_addf(&records, "%d:%zu ", fd, line.n);
	buf_add(&lines, line);
	buf_add_byte(&lines, '|');
	n_lines++;
}

static void on_dropped(void *arg, uint64_t n)
{
	(void)arg;
	assert_false(over);
	n_dropped += n;
	n_dropped_calls++;
}

static void on_over(void *arg)
{
	(void)arg;
	assert_false(over);
	over = true;
}

static const struct output_events events = {.line = on_line, .dropped = on_dropped, .over = on_over};

static int setup(void **state)
{
	(void)state;
	int out[2], err[2];
	the_loop = io_loop_open();
	loop_freeze(the_loop, true); /* a second of the line limit is over when a test says so */
	buf_init(&lines, 64 * 1024 * 1024);
	buf_init(&records, 64 * 1024 * 1024);
	n_lines = n_dropped = n_dropped_calls = 0;
	over = false;
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK) + pipe2(err, O_CLOEXEC | O_NONBLOCK), 0);
	ends[0] = out[1];
	ends[1] = err[1];
	assert_int_equal(output_open(&output, the_loop, (int[2]){out[0], err[0]}, &events, &output), 0);
	return 0;
}

static void close_end(int i)
{
	if (ends[i] >= 0)
		close(ends[i]);
	ends[i] = -1;
}

static int teardown(void **state)
{
	(void)state;
	close_end(0);
	close_end(1);
	IO_UNTIL(the_loop, over);
	buf_done(&lines);
	buf_done(&records);
	io_loop_done(the_loop);
	return 0;
}

static void put_bytes(int fd, const void *bytes, size_t n)
{
	assert_int_equal(write(ends[fd - 1], bytes, n), (ssize_t)n);
	io_loop_settle(the_loop);
}

static void put(int fd, const char *text)
{
	put_bytes(fd, text, strlen(text));
}

static void test_lines_of_both(void **state)
{
	(void)state;
	put(1, "one\ntwo\n");
	put(2, "three\n");
	assert_string_equal(buf_text(&lines), "one|two|three|");
	assert_string_equal(buf_text(&records), "1:3 1:3 2:5 ");
}

static void test_a_line_in_pieces_is_one(void **state)
{
	(void)state;
	put(1, "he");
	put(2, "other\n");
	put(1, "l");
	assert_string_equal(buf_text(&lines), "other|");
	put(1, "lo\nnext");
	assert_string_equal(buf_text(&lines), "other|hello|");
	put(1, "\n\n");
	assert_string_equal(buf_text(&lines), "other|hello|next||");
}

static void test_an_unfinished_line_is_told_at_the_end(void **state)
{
	(void)state;
	put(1, "no newline");
	assert_int_equal(n_lines, 0);
	close_end(0);
	io_loop_settle(the_loop);
	assert_string_equal(buf_text(&lines), "no newline|");
	assert_false(over);
	close_end(1);
	IO_UNTIL(the_loop, over);
	assert_int_equal(n_lines, 1);
}

static void test_giving_up_tells_what_there_is(void **state)
{
	(void)state;
	put(1, "half");
	assert_true(output_give_up(&output));
	assert_true(output_give_up(&output));
	assert_false(over); /* later, never inside */
	IO_UNTIL(the_loop, over);
	assert_string_equal(buf_text(&lines), "half|");
	assert_false(output_give_up(&output));
}

static void test_any_byte_passes(void **state)
{
	(void)state;
	put_bytes(1, "\0\x1b[31m\xff\r\n", 9);
	assert_int_equal(n_lines, 1);
	assert_memory_equal(buf_slice(&lines).p, "\0\x1b[31m\xff\r|", 9);
}

/* A line of n bytes, in one write or byte by byte around the cut. */
static void long_line(size_t n, size_t piece, const char *want)
{
	uint8_t *line = mem_alloc(n + 1);
	memset(line, 'x', n);
	line[n] = '\n';
	buf_reset(&records);
	for (size_t at = 0; at < n + 1; at += piece)
		put_bytes(1, line + at, n + 1 - at < piece ? n + 1 - at : piece);
	assert_string_equal(buf_text(&records), want);
	mem_free(line);
}

static void test_long_lines_are_cut(void **state)
{
	(void)state;
	static const size_t pieces[] = {LIMIT_OUTPUT_LINE_BYTES * 4, LIMIT_OUTPUT_LINE_BYTES, 4096, 1000};
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		long_line(LIMIT_OUTPUT_LINE_BYTES - 1, pieces[i], "1:8191 ");
		long_line(LIMIT_OUTPUT_LINE_BYTES, pieces[i], "1:8192 ");
		long_line(LIMIT_OUTPUT_LINE_BYTES + 1, pieces[i], "1:8192 1:1 ");
		long_line((size_t)2 * LIMIT_OUTPUT_LINE_BYTES, pieces[i], "1:8192 1:8192 ");
		long_line((size_t)2 * LIMIT_OUTPUT_LINE_BYTES + 5, pieces[i], "1:8192 1:8192 1:5 ");
	}
}

static void put_many(int fd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(write(ends[fd - 1], "y\n", 2), 2);
		if (i % 1000 == 999)
			io_loop_settle(the_loop);
	}
	io_loop_settle(the_loop);
}

static void test_a_flood_is_dropped_and_counted(void **state)
{
	(void)state;
	put_many(1, LIMIT_OUTPUT_LINES_PER_S);
	assert_int_equal(n_lines, LIMIT_OUTPUT_LINES_PER_S);
	put_many(2, 3000); /* one limit for both */
	assert_int_equal(n_lines, LIMIT_OUTPUT_LINES_PER_S);
	assert_int_equal(n_dropped_calls, 0);
	loop_skew(the_loop, 1000); /* told without another line coming */
	io_loop_settle(the_loop);
	assert_int_equal(n_dropped, 3000);
	assert_int_equal(n_dropped_calls, 1);
	put(1, "again\n");
	assert_int_equal(n_lines, LIMIT_OUTPUT_LINES_PER_S + 1);
}

static void test_what_was_dropped_is_told_before_the_end(void **state)
{
	(void)state;
	put_many(1, LIMIT_OUTPUT_LINES_PER_S + 7);
	close_end(0);
	close_end(1);
	IO_UNTIL(the_loop, over);
	assert_int_equal(n_dropped, 7);
}

static void tail_is(const char *want)
{
	struct slice tail = output_tail(&output);
	if (!slice_is(tail, want))
		fail_msg("tail is \"%.*s\", not \"%s\"", SLICE_FMT(tail), want);
}

static void test_the_tail_is_of_stderr(void **state)
{
	(void)state;
	tail_is("");
	put(1, "out\n");
	tail_is("");
	put(2, "a\n\nb\n");
	tail_is("a\n\nb");
	put(2, "c");
	tail_is("a\n\nb");
	close_end(1);
	io_loop_settle(the_loop);
	tail_is("a\n\nb\nc");
}

static void test_the_tail_has_so_many_lines(void **state)
{
	(void)state;
	char text[16];
	for (int i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "%d\n", i);
		put(2, text);
	}
	tail_is("30\n31\n32\n33\n34\n35\n36\n37\n38\n39\n40\n41\n42\n43\n44\n45\n46\n47\n48\n49");
}

static void test_the_tail_has_so_many_bytes(void **state)
{
	(void)state;
	char line[1501];
	for (int i = 0; i < 3; i++) {
		memset(line, 'a' + i, sizeof(line) - 1);
		line[sizeof(line) - 1] = '\n';
		put_bytes(2, line, sizeof(line));
	}
	struct slice tail = output_tail(&output);
	assert_int_equal(tail.n, 3001);
	assert_int_equal(tail.p[0], 'b');
	assert_int_equal(tail.p[3000], 'c');

	uint8_t big[LIMIT_OUTPUT_TAIL_BYTES + 10];
	memset(big, 'z', sizeof(big));
	big[9] = 'A';
	big[sizeof(big) - 1] = '\n';
	put_bytes(2, big, sizeof(big));
	tail = output_tail(&output);
	assert_int_equal(tail.n, LIMIT_OUTPUT_TAIL_BYTES);
	assert_int_equal(tail.p[0], 'A'); /* its end, not its beginning */
	put(2, "small\n");
	tail_is("small");
}

static void test_the_tail_has_what_the_limit_dropped(void **state)
{
	(void)state;
	put_many(1, LIMIT_OUTPUT_LINES_PER_S + 1);
	put(2, "why it died\n");
	assert_int_equal(n_lines, LIMIT_OUTPUT_LINES_PER_S);
	tail_is("why it died");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_lines_of_both),
	    TEST(test_a_line_in_pieces_is_one),
	    TEST(test_an_unfinished_line_is_told_at_the_end),
	    TEST(test_giving_up_tells_what_there_is),
	    TEST(test_any_byte_passes),
	    TEST(test_long_lines_are_cut),
	    TEST(test_a_flood_is_dropped_and_counted),
	    TEST(test_what_was_dropped_is_told_before_the_end),
	    TEST(test_the_tail_is_of_stderr),
	    TEST(test_the_tail_has_so_many_lines),
	    TEST(test_the_tail_has_so_many_bytes),
	    TEST(test_the_tail_has_what_the_limit_dropped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
