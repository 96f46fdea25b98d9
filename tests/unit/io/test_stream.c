/* Streams over real sockets: bytes both ways, back-pressure, and every way a
 * connection ends. Events are recorded in order. */
#include "base/limits.h"
#include "io/stream.h"
#include "lib/io_loop.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct user {
	struct loop *loop;
	struct stream *stream;
	struct io_peer peer;
	struct buf data;
	char trace[64]; /* e eof, d drained, f failed, c closed, k connected */
	size_t traced;
	int why;
	bool inside; /* a call of ours is running: no event may come */
	bool stop_on_data;
};

static void note(struct user *u, char c)
{
	assert_false(u->inside);
	assert_true(u->traced < sizeof(u->trace) - 1);
	u->trace[u->traced++] = c;
	u->trace[u->traced] = '\0';
}

static bool traced(struct user *u, char c)
{
	return strchr(u->trace, c) != NULL;
}

static void on_data(void *arg, struct slice s)
{
	struct user *u = arg;
	assert_false(u->inside);
	assert_true(s.n > 0 && s.n <= LIMIT_STREAM_READ_BYTES);
	buf_add(&u->data, s);
	if (u->stop_on_data)
		stream_read_stop(u->stream);
}

static void on_eof(void *arg)
{
	note(arg, 'e');
}

static void on_drained(void *arg)
{
	note(arg, 'd');
}

static void on_failed(void *arg, int why)
{
	struct user *u = arg;
	u->why = why;
	note(u, 'f');
}

static void on_closed(void *arg)
{
	note(arg, 'c');
}

static void on_connected(void *arg, int why)
{
	struct user *u = arg;
	u->why = why;
	note(u, 'k');
}

static const struct stream_events events = {on_data, on_eof, on_drained, on_failed, on_closed};

static void user_init(struct user *u)
{
	*u = (struct user){.loop = io_loop_open()};
	buf_init(&u->data, (size_t)64 * 1024 * 1024);
}

static void user_open(struct user *u, enum io_pair kind)
{
	int fds[2];
	user_init(u);
	io_pair(kind, fds);
	io_peer_open(&u->peer, fds[1]);
	assert_int_equal(stream_open(u->loop, fds[0], &events, u, &u->stream), 0);
}

/* Closes, checks that closed comes last and once, and that nothing is alive. */
static void user_done(struct user *u)
{
	if (!traced(u, 'c')) {
		u->inside = true;
		stream_close(u->stream);
		stream_close(u->stream);
		u->inside = false;
		IO_UNTIL(u->loop, traced(u, 'c'));
	}
	assert_int_equal(u->trace[u->traced - 1], 'c');
	io_loop_done(u->loop);
	io_peer_done(&u->peer);
	buf_done(&u->data);
}

static int put(struct user *u, const char *text)
{
	u->inside = true;
	int r = stream_write(u->stream, slice_str(text));
	u->inside = false;
	return r;
}

/* Writes pieces until the queue is over the high mark; returns the bytes written. */
static size_t fill(struct user *u)
{
	static char piece[32 * 1024];
	size_t total = 0;
	while (stream_queued(u->stream) <= LIMIT_STREAM_QUEUE_HIGH) {
		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = (char)('a' + (total + i) % 23);
		assert_int_equal(stream_write(u->stream, slice_of(piece, sizeof(piece))), 0);
		total += sizeof(piece);
	}
	return total;
}

static void assert_filled(struct user *u, size_t total)
{
	struct slice s = buf_slice(&u->peer.got);
	assert_int_equal(s.n, total);
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != 'a' + i % 23)
			fail_msg("byte %zu is wrong", i);
	}
}

static void bytes_go_both_ways(enum io_pair kind)
{
	struct user u;
	user_open(&u, kind);
	io_peer_send(&u.peer, "ping");
	io_loop_settle(u.loop);
	assert_int_equal(buf_len(&u.data), 0); /* reading is stopped at first */
	stream_read_start(u.stream);
	stream_read_start(u.stream);
	IO_UNTIL(u.loop, buf_len(&u.data) == 4);
	assert_int_equal(put(&u, "pong"), 0);
	assert_true(io_peer_ends(&u.peer, "pong")); /* without a turn */
	assert_int_equal(stream_write2(u.stream, SLICE_LIT("a"), SLICE_NONE), 0);
	const struct slice parts[4] = {SLICE_LIT("b"), SLICE_NONE, SLICE_LIT("c"), SLICE_LIT("d")};
	assert_int_equal(stream_writev(u.stream, parts, 4), 0);
	assert_int_equal(stream_write(u.stream, SLICE_NONE), 0);
	assert_string_equal(io_peer_text(&u.peer), "pongabcd");
	user_done(&u);
}

static void test_unix_bytes_go_both_ways(void **state)
{
	(void)state;
	bytes_go_both_ways(IO_PAIR_UNIX);
}

static void test_tcp_bytes_go_both_ways(void **state)
{
	(void)state;
	bytes_go_both_ways(IO_PAIR_TCP);
}

static void test_pieces_leave_in_one_write(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_RECORDS);
	const struct slice parts[3] = {SLICE_LIT("head"), SLICE_LIT("body"), SLICE_LIT("tail")};
	assert_int_equal(stream_writev(u.stream, parts, 3), 0);
	assert_string_equal(io_peer_text(&u.peer), "headbodytail");
	assert_int_equal(u.peer.records, 1);
	user_done(&u);
}

static void test_stopped_reading_holds_the_peer(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	u.stop_on_data = true;
	stream_read_start(u.stream);
	io_peer_send(&u.peer, "one");
	IO_UNTIL(u.loop, buf_len(&u.data) == 3);
	io_peer_send(&u.peer, "two");
	io_loop_settle(u.loop);
	assert_int_equal(buf_len(&u.data), 3);
	stream_read_start(u.stream);
	IO_UNTIL(u.loop, buf_len(&u.data) == 6);
	user_done(&u);
}

static void test_a_slow_reader_raises_and_lowers_the_queue(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	size_t total = fill(&u);
	io_loop_settle(u.loop);
	assert_string_equal(u.trace, "");
	assert_true(stream_queued(u.stream) > LIMIT_STREAM_QUEUE_HIGH);
	IO_UNTIL(u.loop, (io_peer_read(&u.peer), traced(&u, 'd')));
	assert_true(stream_queued(u.stream) < LIMIT_STREAM_QUEUE_LOW);
	IO_UNTIL(u.loop, (io_peer_read(&u.peer), buf_len(&u.peer.got) == total));
	assert_filled(&u, total);
	assert_string_equal(u.trace, "d"); /* once for once above the mark */
	assert_int_equal(stream_queued(u.stream), 0);
	user_done(&u);
}

static void test_a_writer_who_ignores_the_mark_fails_the_stream(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	static char piece[1024 * 1024];
	int r = 0;
	size_t total = 0;
	for (; r == 0; total += sizeof(piece)) {
		u.inside = true;
		r = stream_write(u.stream, slice_of(piece, sizeof(piece)));
		u.inside = false;
	}
	assert_int_equal(r, STREAM_FULL);
	assert_in_range(total, LIMIT_STREAM_QUEUE_MAX, LIMIT_STREAM_QUEUE_MAX + 4 * sizeof(piece));
	assert_int_equal(put(&u, "x"), STREAM_CLOSING);
	IO_UNTIL(u.loop, traced(&u, 'f'));
	assert_int_equal(u.why, -ENOBUFS);
	user_done(&u);
	assert_string_equal(u.trace, "fc");
}

static void test_fin_from_the_peer_is_eof_and_writing_goes_on(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	stream_read_start(u.stream);
	io_peer_send(&u.peer, "last");
	shutdown(u.peer.fd, SHUT_WR);
	IO_UNTIL(u.loop, traced(&u, 'e'));
	assert_int_equal(buf_len(&u.data), 4);
	stream_read_stop(u.stream);
	stream_read_start(u.stream);
	io_loop_settle(u.loop);
	assert_int_equal(put(&u, "answer"), 0);
	IO_UNTIL(u.loop, io_peer_ends(&u.peer, "answer"));
	user_done(&u);
	assert_string_equal(u.trace, "ec");
}

static void test_shutdown_sends_fin_behind_the_queue(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	size_t total = fill(&u);
	stream_shutdown(u.stream);
	stream_shutdown(u.stream);
	assert_int_equal(put(&u, "late"), STREAM_CLOSING);
	IO_UNTIL(u.loop, io_peer_over(&u.peer));
	assert_true(u.peer.eof);
	assert_filled(&u, total);
	stream_read_start(u.stream);
	io_peer_send(&u.peer, "still");
	IO_UNTIL(u.loop, buf_len(&u.data) == 5);
	user_done(&u);
}

static void test_shutdown_of_an_empty_queue_is_at_once(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	stream_shutdown(u.stream);
	IO_UNTIL(u.loop, io_peer_over(&u.peer));
	assert_true(u.peer.eof);
	user_done(&u);
}

static void test_a_reset_fails_the_stream(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	stream_read_start(u.stream);
	struct linger now = {.l_onoff = 1};
	setsockopt(u.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(u.peer.fd);
	u.peer.fd = -1;
	IO_UNTIL(u.loop, traced(&u, 'f'));
	assert_int_equal(u.why, -ECONNRESET);
	assert_int_equal(put(&u, "x"), STREAM_CLOSING);
	user_done(&u);
	assert_string_equal(u.trace, "fc");
}

static void test_a_failed_write_is_told_later_not_inside(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	close(u.peer.fd);
	u.peer.fd = -1;
	assert_int_equal(put(&u, "x"), STREAM_CLOSING);
	assert_string_equal(u.trace, "");
	IO_UNTIL(u.loop, traced(&u, 'f'));
	assert_int_equal(u.why, -EPIPE);
	user_done(&u);
	assert_string_equal(u.trace, "fc");
}

static void test_what_the_peer_sent_before_it_left_is_read_first(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	io_peer_send(&u.peer, "refused, because");
	close(u.peer.fd);
	u.peer.fd = -1;
	stream_read_start(u.stream);
	assert_int_equal(put(&u, "x"), STREAM_CLOSING);
	assert_int_equal(put(&u, "y"), STREAM_CLOSING);
	IO_UNTIL(u.loop, traced(&u, 'f'));
	assert_int_equal(buf_len(&u.data), 16);
	assert_int_equal(u.why, -EPIPE);
	user_done(&u);
	assert_string_equal(u.trace, "fc");
}

static void test_a_deaf_stream_fails_when_reading_stops(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	stream_read_start(u.stream);
	shutdown(u.peer.fd, SHUT_RD); /* takes nothing, says nothing */
	assert_int_equal(put(&u, "x"), STREAM_CLOSING);
	io_loop_settle(u.loop);
	assert_string_equal(u.trace, "");
	stream_read_stop(u.stream);
	assert_string_equal(u.trace, "");
	IO_UNTIL(u.loop, traced(&u, 'f'));
	user_done(&u);
}

static void test_a_queued_write_that_fails_is_told(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	fill(&u);
	close(u.peer.fd);
	u.peer.fd = -1;
	IO_UNTIL(u.loop, traced(&u, 'f'));
	assert_true(u.why == -EPIPE || u.why == -ECONNRESET);
	user_done(&u);
	assert_string_equal(u.trace, "fc");
}

static void test_close_drops_the_queue(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	size_t total = fill(&u);
	stream_close(u.stream);
	assert_int_equal(put(&u, "x"), STREAM_CLOSING);
	stream_shutdown(u.stream);
	stream_read_start(u.stream);
	IO_UNTIL(u.loop, io_peer_over(&u.peer));
	assert_true(buf_len(&u.peer.got) < total);
	user_done(&u);
	assert_string_equal(u.trace, "c");
}

static void test_close_flushed_sends_all(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	size_t total = fill(&u);
	stream_close_flushed(u.stream, 10000);
	assert_int_equal(put(&u, "x"), STREAM_CLOSING);
	IO_UNTIL(u.loop, io_peer_over(&u.peer));
	assert_true(u.peer.eof);
	assert_filled(&u, total);
	user_done(&u);
	assert_string_equal(u.trace, "c");
}

static void test_close_flushed_gives_up_in_time(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	fill(&u);
	stream_close_flushed(u.stream, 10000);
	io_loop_settle(u.loop);
	assert_string_equal(u.trace, "");
	loop_skew(u.loop, 10001);
	IO_UNTIL(u.loop, traced(&u, 'c'));
	user_done(&u);
}

static void test_close_flushed_ends_when_the_peer_leaves(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	fill(&u);
	stream_close_flushed(u.stream, 100000);
	close(u.peer.fd);
	u.peer.fd = -1;
	IO_UNTIL(u.loop, traced(&u, 'c'));
	user_done(&u);
	assert_string_equal(u.trace, "c");
}

static void test_close_overrides_flushing(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	fill(&u);
	stream_close_flushed(u.stream, 100000);
	user_done(&u);
	assert_string_equal(u.trace, "c");
}

static void test_abort_is_a_reset_for_the_peer(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	assert_int_equal(put(&u, "half an ans"), 0);
	stream_abort(u.stream);
	IO_UNTIL(u.loop, io_peer_over(&u.peer));
	assert_int_equal(u.peer.error, ECONNRESET);
	user_done(&u);
}

static void test_connect_writes_what_was_queued(void **state)
{
	(void)state;
	struct user u;
	user_init(&u);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int ls = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(ls, (struct sockaddr *)&at, len), 0);
	assert_int_equal(listen(ls, 8), 0);
	assert_int_equal(getsockname(ls, (struct sockaddr *)&at, &len), 0);
	u.inside = true;
	assert_int_equal(
	    stream_connect_tcp(u.loop, "127.0.0.1", ntohs(at.sin_port), on_connected, &events, &u, &u.stream), 0);
	stream_read_start(u.stream);
	u.inside = false;
	assert_int_equal(put(&u, "early"), 0);
	IO_UNTIL(u.loop, traced(&u, 'k'));
	assert_int_equal(u.why, 0);
	int fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	close(ls);
	io_peer_open(&u.peer, fd);
	IO_UNTIL(u.loop, io_peer_ends(&u.peer, "early"));
	io_peer_send(&u.peer, "hi");
	IO_UNTIL(u.loop, buf_len(&u.data) == 2);
	user_done(&u);
	assert_string_equal(u.trace, "kc");
}

static void test_connect_to_nobody_tells_why(void **state)
{
	(void)state;
	struct user u;
	user_init(&u);
	io_peer_open(&u.peer, -1);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int taken = socket(AF_INET, SOCK_STREAM, 0); /* bound, not listening */
	assert_int_equal(bind(taken, (struct sockaddr *)&at, len), 0);
	assert_int_equal(getsockname(taken, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(
	    stream_connect_tcp(u.loop, "127.0.0.1", ntohs(at.sin_port), on_connected, &events, &u, &u.stream), 0);
	IO_UNTIL(u.loop, traced(&u, 'k'));
	assert_int_equal(u.why, -ECONNREFUSED);
	close(taken);
	user_done(&u);
	assert_string_equal(u.trace, "kc");
}

static void test_connect_can_be_closed_before_it_is_done(void **state)
{
	(void)state;
	struct user u;
	user_init(&u);
	io_peer_open(&u.peer, -1);
	assert_int_equal(stream_connect_tcp(u.loop, "127.0.0.1", 9, on_connected, &events, &u, &u.stream), 0);
	user_done(&u);
	assert_string_equal(u.trace, "c");
}

static void test_connect_refuses_what_is_no_address(void **state)
{
	(void)state;
	struct user u;
	user_init(&u);
	assert_int_equal(stream_connect_tcp(u.loop, "localhost", 9, on_connected, &events, &u, &u.stream), -EINVAL);
	io_loop_done(u.loop);
	buf_done(&u.data);
}

static void test_open_refuses_what_is_no_socket(void **state)
{
	(void)state;
	struct user u;
	user_init(&u);
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(stream_open(u.loop, fd, &events, &u, &u.stream), -ENOTSOCK);
	assert_int_equal(close(fd), 0); /* still ours */
	assert_int_equal(stream_open(u.loop, -1, &events, &u, &u.stream), -EBADF);
	io_loop_done(u.loop);
	buf_done(&u.data);
}

static void test_open_of_a_descriptor_in_use_leaves_it(void **state)
{
	(void)state;
	struct user u;
	struct stream *second = NULL;
	int fds[2];
	user_init(&u);
	io_pair(IO_PAIR_UNIX, fds);
	io_peer_open(&u.peer, fds[1]);
	assert_int_equal(stream_open(u.loop, fds[0], &events, &u, &u.stream), 0);
	stream_read_start(u.stream);
	io_loop_turn(u.loop, 1);
	assert_int_equal(stream_open(u.loop, fds[0], &events, &u, &second), -EEXIST);
	io_loop_settle(u.loop);
	assert_string_equal(u.trace, ""); /* no closed of what never was */
	assert_int_equal(put(&u, "x"), 0);
	user_done(&u);
}

static void test_peer_is_text(void **state)
{
	(void)state;
	struct user u;
	char text[64];
	user_open(&u, IO_PAIR_TCP);
	stream_peer(u.stream, text);
	assert_string_equal(text, "127.0.0.1");
	stream_close(u.stream);
	stream_peer(u.stream, text);
	assert_string_equal(text, "unknown");
	user_done(&u);
	user_open(&u, IO_PAIR_UNIX);
	stream_peer(u.stream, text);
	assert_string_equal(text, "unix");
	user_done(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_unix_bytes_go_both_ways),
	    cmocka_unit_test(test_tcp_bytes_go_both_ways),
	    cmocka_unit_test(test_pieces_leave_in_one_write),
	    cmocka_unit_test(test_stopped_reading_holds_the_peer),
	    cmocka_unit_test(test_a_slow_reader_raises_and_lowers_the_queue),
	    cmocka_unit_test(test_a_writer_who_ignores_the_mark_fails_the_stream),
	    cmocka_unit_test(test_fin_from_the_peer_is_eof_and_writing_goes_on),
	    cmocka_unit_test(test_shutdown_sends_fin_behind_the_queue),
	    cmocka_unit_test(test_shutdown_of_an_empty_queue_is_at_once),
	    cmocka_unit_test(test_a_reset_fails_the_stream),
	    cmocka_unit_test(test_a_failed_write_is_told_later_not_inside),
	    cmocka_unit_test(test_what_the_peer_sent_before_it_left_is_read_first),
	    cmocka_unit_test(test_a_deaf_stream_fails_when_reading_stops),
	    cmocka_unit_test(test_a_queued_write_that_fails_is_told),
	    cmocka_unit_test(test_close_drops_the_queue),
	    cmocka_unit_test(test_close_flushed_sends_all),
	    cmocka_unit_test(test_close_flushed_gives_up_in_time),
	    cmocka_unit_test(test_close_flushed_ends_when_the_peer_leaves),
	    cmocka_unit_test(test_close_overrides_flushing),
	    cmocka_unit_test(test_abort_is_a_reset_for_the_peer),
	    cmocka_unit_test(test_connect_writes_what_was_queued),
	    cmocka_unit_test(test_connect_to_nobody_tells_why),
	    cmocka_unit_test(test_connect_can_be_closed_before_it_is_done),
	    cmocka_unit_test(test_connect_refuses_what_is_no_address),
	    cmocka_unit_test(test_open_refuses_what_is_no_socket),
	    cmocka_unit_test(test_open_of_a_descriptor_in_use_leaves_it),
	    cmocka_unit_test(test_peer_is_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
