/* What is held, what is written at once, and in how many writes: over a socket
 * that keeps the boundaries of writes. */
#include "base/limits.h"
#include "io/cork.h"
#include "lib/io_loop.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct user {
	struct loop *loop;
	struct stream *stream;
	struct io_peer peer;
	struct cork cork;
	int failed, closed;
};

static void on_data(void *arg, struct slice s)
{
	(void)arg, (void)s;
}

static void on_event(void *arg)
{
	(void)arg;
}

static void on_failed(void *arg, int why)
{
	struct user *u = arg;
	(void)why;
	u->failed++;
}

static void on_closed(void *arg)
{
	struct user *u = arg;
	u->closed++;
}

static const struct stream_events events = {on_data, on_event, on_event, on_failed, on_closed};

static void user_open(struct user *u, enum io_pair kind)
{
	int fds[2];
	*u = (struct user){.loop = io_loop_open()};
	io_pair(kind, fds);
	io_peer_open(&u->peer, fds[1]);
	assert_int_equal(stream_open(u->loop, fds[0], &events, u, &u->stream), 0);
	cork_init(&u->cork, u->loop, u->stream);
}

static void user_done(struct user *u)
{
	cork_done(&u->cork);
	stream_close(u->stream);
	IO_UNTIL(u->loop, u->closed == 1);
	io_loop_done(u->loop);
	io_peer_done(&u->peer);
}

static void test_small_pieces_leave_together_in_the_tick(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_RECORDS);
	buf_add_str(cork_buf(&u.cork), "head ");
	cork_post(&u.cork);
	cork_write(&u.cork, SLICE_LIT("one "), false);
	cork_write(&u.cork, SLICE_LIT("two"), false);
	assert_string_equal(io_peer_text(&u.peer), "");
	loop_turn(u.loop);
	assert_string_equal(io_peer_text(&u.peer), "head one two");
	assert_int_equal(u.peer.records, 1);
	io_loop_turn(u.loop, 1);
	assert_int_equal(u.peer.records, 1);
	user_done(&u);
}

static void test_the_last_piece_flushes(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_RECORDS);
	buf_add_str(cork_buf(&u.cork), "head ");
	cork_post(&u.cork);
	cork_write(&u.cork, SLICE_LIT("all"), true);
	assert_string_equal(io_peer_text(&u.peer), "head all");
	cork_write(&u.cork, SLICE_NONE, true);
	cork_flush(&u.cork);
	assert_false(loop_task_posted(&u.cork.flush)); /* nothing left to do in the tick */
	buf_add_str(cork_buf(&u.cork), "alone");
	cork_write(&u.cork, SLICE_NONE, true);
	io_peer_read(&u.peer);
	assert_int_equal(u.peer.records, 2);
	user_done(&u);
}

static void test_a_large_piece_takes_the_held_ones_along(void **state)
{
	(void)state;
	struct user u;
	static char big[20000];
	memset(big, 'x', sizeof(big));
	user_open(&u, IO_PAIR_RECORDS);
	u.cork.chunked = true;
	buf_add_str(cork_buf(&u.cork), "head ");
	cork_write(&u.cork, SLICE_LIT("ab"), false);
	cork_write(&u.cork, slice_of(big, sizeof(big)), false);
	io_peer_read(&u.peer);
	assert_int_equal(u.peer.records, 1);
	assert_int_equal(buf_len(&u.peer.got), strlen("head 2\r\nab\r\n4e20\r\n") + sizeof(big) + 2);
	assert_true(io_peer_has(&u.peer, "head 2\r\nab\r\n4e20\r\nxxx"));
	assert_true(io_peer_ends(&u.peer, "xxx\r\n"));
	user_done(&u);
}

static void test_many_small_pieces_do_not_pile_up(void **state)
{
	(void)state;
	struct user u;
	char piece[1000] = {0};
	user_open(&u, IO_PAIR_UNIX);
	for (int i = 0; i < 50; i++) {
		cork_write(&u.cork, slice_of(piece, sizeof(piece)), false);
		assert_true(buf_len(cork_buf(&u.cork)) <= 16 * 1024);
	}
	cork_flush(&u.cork);
	io_peer_read(&u.peer);
	assert_int_equal(buf_len(&u.peer.got), 50 * sizeof(piece));
	assert_true(u.cork.held.room <= 4 * 1024); /* memory is not kept */
	user_done(&u);
}

static void test_dropping_what_is_held(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	cork_write(&u.cork, SLICE_LIT("never"), false);
	cork_done(&u.cork);
	io_loop_settle(u.loop);
	assert_string_equal(io_peer_text(&u.peer), "");
	user_done(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_small_pieces_leave_together_in_the_tick),
	    cmocka_unit_test(test_the_last_piece_flushes),
	    cmocka_unit_test(test_a_large_piece_takes_the_held_ones_along),
	    cmocka_unit_test(test_many_small_pieces_do_not_pile_up),
	    cmocka_unit_test(test_dropping_what_is_held),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
