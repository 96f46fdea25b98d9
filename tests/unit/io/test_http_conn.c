/* One connection over a real socket: requests and answers in every framing,
 * input in any split, and every way a client can misbehave or leave. */
#include "base/limits.h"
#include "io/http_conn.h"
#include "lib/io_loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define HOST "host: a\r\n"
#define GET_A "GET /a HTTP/1.1\r\n" HOST "\r\n"
#define GET_B "GET /b HTTP/1.1\r\n" HOST "\r\n"
#define OK_A "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/a"
#define OK_B "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n/b"
#define UPGRADE                                                                     \
	"GET /ws HTTP/1.1\r\n" HOST "connection: Upgrade\r\nupgrade: websocket\r\n" \
	"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

/* What the user does when told of a request. */
enum mode {
	HOLD,         /* nothing: the test answers through site.conn */
	REPLY,        /* answers with the target from inside `request` */
	REPLY_AT_FIN, /* answers with the target from inside the last body() */
	PAUSE,        /* pauses, then as HOLD */
	ECHO,         /* upgrades and sends raw bytes back */
	ABORT,        /* aborts from inside `request` */
};

struct site {
	struct loop *loop;
	struct http_server *server;
	struct io_peer peer;
	struct http_conn *conn; /* of the last request; NULL when it is gone */
	enum mode mode;
	struct buf trace; /* "request GET /a;" "body abc;" "fin;" "writable;" "raw abc;" "raw_eof;" "gone;" */
	struct buf answers;
	char target[32];
	size_t body_bytes;
	bool quiet;  /* bodies are counted, not recorded */
	bool inside; /* a call of ours is running: no event may come */
	int closed;
};

static struct site *record(void *arg, const char *what, struct slice detail)
{
	struct site *s = arg;
	if (s->inside)
		fail_msg("%s came from inside a call", what);
	buf_addf(&s->trace, "%s%s%.*s;", what, detail.n > 0 ? " " : "", SLICE_FMT(detail));
	return s;
}

static void answer(struct site *s)
{
	http_conn_reply(s->conn, 200, SLICE_NONE, slice_str(s->target));
}

static void on_request(void *arg, struct http_conn *c, const struct http_head *h)
{
	char line[64];
	struct site *s = arg;
	snprintf(line, sizeof(line), "%.*s %.*s", SLICE_FMT(h->method), SLICE_FMT(h->target));
	record(arg, "request", slice_str(line));
	snprintf(s->target, sizeof(s->target), "%.*s", SLICE_FMT(h->target));
	assert_null(http_conn_user(c));
	http_conn_set_user(c, s);
	s->conn = c;
	if (s->mode == REPLY)
		answer(s);
	else if (s->mode == PAUSE)
		http_conn_pause(c, true);
	else if (s->mode == ECHO)
		http_conn_upgrade(c, SLICE_LIT("sec-websocket-protocol: p\r\n"));
	else if (s->mode == ABORT)
		http_conn_abort(c);
}

static void on_body(void *arg, struct http_conn *c, struct slice b, bool fin)
{
	struct site *s = arg;
	assert_ptr_equal(http_conn_user(c), s);
	s->body_bytes += b.n;
	if (fin)
		assert_int_equal(b.n, 0);
	if (fin || !s->quiet)
		record(arg, fin ? "fin" : "body", b);
	if (fin && s->mode == REPLY_AT_FIN)
		answer(s);
}

static void on_writable(void *arg, struct http_conn *c)
{
	(void)c;
	record(arg, "writable", SLICE_NONE);
}

static void on_raw(void *arg, struct http_conn *c, struct slice b)
{
	record(arg, "raw", b);
	http_conn_raw(c, b);
}

static void on_raw_eof(void *arg, struct http_conn *c)
{
	(void)c;
	record(arg, "raw_eof", SLICE_NONE);
}

static void on_gone(void *arg, struct http_conn *c)
{
	struct site *s = record(arg, "gone", SLICE_NONE);
	assert_ptr_equal(http_conn_user(c), s);
	s->conn = NULL;
}

static const struct http_conn_events events = {on_request, on_body, on_writable, on_raw, on_raw_eof, on_gone};

static void site_dial(struct site *s, enum io_pair kind, struct io_peer *ret)
{
	int fds[2];
	io_pair(kind, fds);
	io_peer_open(ret, fds[1]);
	http_server_give(s->server, fds[0]);
}

static void site_open(struct site *s, enum io_pair kind, enum mode mode)
{
	*s = (struct site){.loop = io_loop_open(), .mode = mode};
	loop_freeze(s->loop, true); /* time-outs come when a test says so, also on a busy machine */
	buf_init(&s->trace, 1024 * 1024);
	buf_init(&s->answers, 1024 * 1024);
	const struct http_server_options o = {
	    .name = "test", .target_max = LIMIT_HTTP_TARGET_BYTES, .conns_max = 16, .events = &events, .arg = s};
	s->server = http_server_new(s->loop, &o);
	site_dial(s, kind, &s->peer);
}

static void on_server_closed(void *arg)
{
	struct site *s = arg;
	s->closed++;
}

static void site_done(struct site *s)
{
	s->inside = true;
	http_server_close(s->server, on_server_closed, s);
	assert_int_equal(s->closed, 0);
	s->inside = false;
	IO_UNTIL(s->loop, s->closed == 1);
	io_loop_done(s->loop);
	io_peer_done(&s->peer);
	buf_done(&s->trace);
	buf_done(&s->answers);
}

/* Sends as the client and lets everything happen. */
static void say(struct site *s, const char *text)
{
	io_peer_send(&s->peer, text);
	io_loop_settle(s->loop);
}

static const char *trace(struct site *s)
{
	return buf_text(&s->trace);
}

/* What the client has got so far, without the date lines (which must be there). */
static const char *answers(struct site *s)
{
	const char *text = io_peer_text(&s->peer), *line;
	buf_reset(&s->answers);
	while ((line = strstr(text, "date: ")) != NULL) {
		buf_add(&s->answers, slice_of(text, (size_t)(line - text)));
		text = strstr(line, "GMT\r\n");
		assert_non_null(text);
		text += 5;
	}
	buf_add_str(&s->answers, text);
	return buf_text(&s->answers);
}

static void reply(struct site *s)
{
	s->inside = true;
	answer(s);
	s->inside = false;
	io_loop_settle(s->loop);
}

/* ---- requests ---- */

static void test_a_request_without_body_gets_an_empty_fin(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	assert_string_equal(http_conn_peer(s.conn), "unix");
	reply(&s);
	assert_string_equal(answers(&s), OK_A);
	site_done(&s);
}

static void test_answering_inside_the_request_ends_its_events(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "content-length: 3\r\n\r\nabc" GET_B);
	assert_string_equal(trace(&s), "request POST /a;request GET /b;");
	assert_string_equal(answers(&s), OK_A OK_B);
	site_done(&s);
}

static void test_answering_at_fin(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY_AT_FIN);
	say(&s,
	    "POST /a HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx: y\r\n\r\n");
	assert_string_equal(trace(&s), "request POST /a;body abc;body de;fin;");
	assert_string_equal(answers(&s), OK_A);
	site_done(&s);
}

static void test_any_split_of_the_input_is_the_same(void **state)
{
	(void)state;
	static const char input[] =
	    "POST /a HTTP/1.1\r\n" HOST "content-length: 3\r\n\r\nabc" GET_B "POST /a HTTP/1.1\r\n" HOST
	    "transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" GET_B;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY_AT_FIN);
	for (size_t step = 1; step < 8; step++) {
		s.quiet = true;
		s.body_bytes = 0;
		buf_reset(&s.trace);
		io_peer_forget(&s.peer);
		for (size_t at = 0; at < sizeof(input) - 1; at += step) {
			size_t n = sizeof(input) - 1 - at < step ? sizeof(input) - 1 - at : step;
			assert_int_equal(send(s.peer.fd, input + at, n, 0), n);
			io_loop_turn(s.loop, 1);
		}
		io_loop_settle(s.loop);
		assert_string_equal(trace(&s),
				    "request POST /a;fin;request GET /b;fin;request POST /a;fin;request GET /b;fin;");
		assert_int_equal(s.body_bytes, 4);
		assert_string_equal(answers(&s), OK_A OK_B OK_A OK_B);
	}
	site_done(&s);
}

static void test_pipelined_requests_wait_their_turn(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A GET_B GET_A);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	reply(&s); /* the next request is told from the loop, not from inside */
	assert_string_equal(trace(&s), "request GET /a;fin;request GET /b;fin;");
	reply(&s);
	reply(&s);
	assert_string_equal(trace(&s), "request GET /a;fin;request GET /b;fin;request GET /a;fin;");
	assert_string_equal(answers(&s), OK_A OK_B OK_A);
	site_done(&s);
}

static void test_the_stash_is_bounded(void **state)
{
	(void)state;
	struct site s;
	char piece[16384];
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	memset(piece, 'x', sizeof(piece));
	size_t taken = 0;
	for (int idle = 0; idle < 5;) {
		ssize_t n = send(s.peer.fd, piece, sizeof(piece), 0);
		idle = n > 0 ? 0 : idle + 1;
		taken += n > 0 ? (size_t)n : 0;
		io_loop_turn(s.loop, 1);
		assert_true(taken < 8 * 1024 * 1024);
	}
	reply(&s); /* what was stashed is no request */
	IO_UNTIL(s.loop, io_peer_has(&s.peer, "HTTP/1.1 4"));
	assert_string_equal(trace(&s), "request GET /a;fin;");
	site_done(&s);
}

static void test_keep_alive_serves_many(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, REPLY_AT_FIN);
	for (int i = 0; i < 100; i++) {
		io_peer_forget(&s.peer);
		io_peer_send(&s.peer, GET_A);
		IO_UNTIL(s.loop, io_peer_ends(&s.peer, "/a"));
		assert_string_equal(answers(&s), OK_A);
	}
	assert_int_equal(http_server_count(s.server), 1);
	site_done(&s);
}

static void test_pausing_holds_the_body_and_still_sees_the_client_leave(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, PAUSE);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "content-length: 6\r\n\r\nabc");
	assert_string_equal(trace(&s), "request POST /a;");
	http_conn_pause(s.conn, false);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request POST /a;body abc;");
	http_conn_pause(s.conn, true);
	say(&s, "de");
	assert_string_equal(trace(&s), "request POST /a;body abc;");
	struct linger now = {.l_onoff = 1};
	setsockopt(s.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s.peer.fd);
	s.peer.fd = -1;
	IO_UNTIL(s.loop, s.conn == NULL);
	assert_string_equal(trace(&s), "request POST /a;body abc;gone;");
	site_done(&s);
}

static void test_a_paused_request_without_body_gets_its_fin_later(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, PAUSE);
	say(&s, GET_A);
	assert_string_equal(trace(&s), "request GET /a;");
	s.inside = true;
	http_conn_pause(s.conn, false);
	s.inside = false;
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	reply(&s);
	assert_string_equal(answers(&s), OK_A);
	site_done(&s);
}

static void test_a_paused_request_may_be_answered(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, PAUSE);
	say(&s, GET_A GET_B);
	reply(&s);
	assert_string_equal(trace(&s), "request GET /a;request GET /b;");
	reply(&s);
	assert_string_equal(answers(&s), OK_A OK_B);
	site_done(&s);
}

static void test_a_large_body_passes_piece_by_piece(void **state)
{
	(void)state;
	enum { BYTES = 8 * 1024 * 1024 };
	struct site s;
	char piece[65536];
	site_open(&s, IO_PAIR_UNIX, REPLY_AT_FIN);
	s.quiet = true;
	memset(piece, 'x', sizeof(piece));
	say(&s, "POST /a HTTP/1.1\r\n" HOST "content-length: 8388608\r\n\r\n");
	for (size_t sent = 0; sent < BYTES;) {
		ssize_t n = send(s.peer.fd, piece, sizeof(piece), 0);
		sent += n > 0 ? (size_t)n : 0;
		io_loop_turn(s.loop, 0);
	}
	IO_UNTIL(s.loop, io_peer_ends(&s.peer, "/a"));
	assert_int_equal(s.body_bytes, BYTES);
	assert_string_equal(answers(&s), OK_A);
	site_done(&s);
}

/* ---- 100-continue ---- */

#define EXPECTING "POST /a HTTP/1.1\r\n" HOST "content-length: 3\r\nexpect: 100-continue\r\n\r\n"
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

static void test_continue_is_sent_when_the_body_is_wanted(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY_AT_FIN);
	say(&s, EXPECTING);
	assert_string_equal(answers(&s), CONTINUE);
	say(&s, "abc");
	assert_string_equal(answers(&s), CONTINUE OK_A);
	site_done(&s);
}

static void test_continue_waits_for_the_end_of_the_pause(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, PAUSE);
	say(&s, EXPECTING);
	assert_string_equal(answers(&s), "");
	http_conn_pause(s.conn, false);
	io_loop_settle(s.loop);
	assert_string_equal(answers(&s), CONTINUE);
	site_done(&s);
}

static void test_an_answer_instead_of_continue_ends_the_connection(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, EXPECTING);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a");
	assert_true(io_peer_over(&s.peer));
	site_done(&s);
}

static void test_old_clients_get_no_continue(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, "POST /a HTTP/1.0\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n");
	assert_string_equal(answers(&s), "");
	site_done(&s);
}

/* ---- answers ---- */

static void test_a_reply_leaves_in_one_write(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_RECORDS, REPLY_AT_FIN);
	say(&s, GET_A);
	assert_string_equal(answers(&s), OK_A);
	assert_int_equal(s.peer.records, 1);
	site_done(&s);
}

static void test_head_and_data_leave_in_one_write(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_RECORDS, HOLD);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_LENGTH, 4);
	assert_true(http_conn_data(s.conn, SLICE_LIT("ab")));
	assert_true(http_conn_data(s.conn, SLICE_LIT("cd")));
	http_conn_end(s.conn);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nabcd");
	assert_int_equal(s.peer.records, 1);

	io_peer_forget(&s.peer);
	say(&s, GET_A);
	http_conn_head(s.conn, 404, SLICE_LIT("x: y\r\n"), HTTP_FRAMING_CHUNKED, 0);
	assert_true(http_conn_data(s.conn, SLICE_LIT("one")));
	assert_true(http_conn_data(s.conn, SLICE_NONE));
	assert_true(http_conn_data(s.conn, SLICE_LIT("more")));
	http_conn_end(s.conn);
	assert_string_equal(answers(&s), "HTTP/1.1 404 Not Found\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
					 "3\r\none\r\n4\r\nmore\r\n0\r\n\r\n");
	assert_int_equal(s.peer.records, 1);
	site_done(&s);
}

static void test_a_head_alone_leaves_in_the_tick(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_RECORDS, HOLD);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	assert_string_equal(answers(&s), "");
	loop_turn(s.loop);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
	http_conn_data(s.conn, SLICE_LIT("event"));
	loop_turn(s.loop);
	assert_true(io_peer_ends(&s.peer, "5\r\nevent\r\n"));
	assert_int_equal(s.peer.records, 2);
	http_conn_end(s.conn);
	assert_true(io_peer_ends(&s.peer, "0\r\n\r\n"));
	site_done(&s);
}

static void test_a_large_chunk_leaves_whole(void **state)
{
	(void)state;
	struct site s;
	static char big[100000];
	memset(big, 'x', sizeof(big));
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	http_conn_data(s.conn, slice_of(big, sizeof(big)));
	http_conn_end(s.conn);
	IO_UNTIL(s.loop, io_peer_ends(&s.peer, "x\r\n0\r\n\r\n"));
	assert_true(io_peer_has(&s.peer, "\r\n\r\n186a0\r\nxxx"));
	assert_int_equal(buf_len(&s.peer.got) -
			     (size_t)(strstr(io_peer_text(&s.peer), "186a0") - io_peer_text(&s.peer)),
			 5 + 2 + sizeof(big) + 2 + 5);
	site_done(&s);
}

static void test_head_and_empty_answers_have_no_body(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, "HEAD /a HTTP/1.1\r\n" HOST "\r\n");
	reply(&s);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");

	io_peer_forget(&s.peer);
	say(&s, "HEAD /a HTTP/1.1\r\n" HOST "\r\n");
	http_conn_head(s.conn, 200, SLICE_LIT("content-length: 9\r\n"), HTTP_FRAMING_NONE, 0);
	http_conn_data(s.conn, SLICE_LIT("ignored"));
	http_conn_end(s.conn);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n");

	io_peer_forget(&s.peer);
	say(&s, GET_A);
	http_conn_reply(s.conn, 204, SLICE_LIT("x: y\r\n"), SLICE_NONE);
	assert_string_equal(answers(&s), "HTTP/1.1 204 No Content\r\nx: y\r\n\r\n");

	io_peer_forget(&s.peer);
	say(&s, GET_A);
	http_conn_head(s.conn, 304, SLICE_LIT("etag: \"1\"\r\n"), HTTP_FRAMING_NONE, 0);
	http_conn_end(s.conn);
	assert_string_equal(answers(&s), "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n");

	io_peer_forget(&s.peer);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_LENGTH, 0);
	http_conn_end(s.conn);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
	site_done(&s);
}

static void test_old_clients(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
	reply(&s);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n/a");

	io_peer_forget(&s.peer);
	say(&s, "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	http_conn_data(s.conn, SLICE_LIT("until the end"));
	assert_false(io_peer_over(&s.peer));
	http_conn_end(s.conn);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_true(s.peer.eof);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end");
	site_done(&s);

	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "GET /a HTTP/1.0\r\n\r\n");
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a");
	assert_true(io_peer_over(&s.peer));
	site_done(&s);
}

static void test_close_is_honoured_and_what_follows_ignored(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, REPLY);
	say(&s, "GET /a HTTP/1.1\r\n" HOST "connection: close\r\n\r\n" GET_B);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_true(s.peer.eof);
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a");
	say(&s, GET_B);
	assert_string_equal(trace(&s), "request GET /a;");
	close(s.peer.fd);
	s.peer.fd = -1;
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	site_done(&s);
}

static void test_a_slow_reader_gets_no_more_than_the_mark(void **state)
{
	(void)state;
	struct site s;
	static char piece[32768];
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_LENGTH, 64 * sizeof(piece));
	size_t n = 0;
	while (n < 64 && http_conn_data(s.conn, slice_of(piece, sizeof(piece))))
		n++;
	n++;
	assert_true(n < 64);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	IO_UNTIL(s.loop, (io_peer_read(&s.peer), strstr(trace(&s), "writable;") != NULL));
	for (; n < 64; n++)
		http_conn_data(s.conn, slice_of(piece, sizeof(piece)));
	http_conn_end(s.conn);
	IO_UNTIL(s.loop, (io_peer_read(&s.peer), buf_len(&s.peer.got) > 64 * sizeof(piece)));
	assert_string_equal(trace(&s), "request GET /a;fin;writable;"); /* none after the end */
	site_done(&s);
}

static void test_ignoring_the_mark_cuts_the_answer(void **state)
{
	(void)state;
	struct site s;
	static char piece[1024 * 1024];
	site_open(&s, IO_PAIR_TCP, HOLD);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	s.inside = true;
	for (size_t i = 0; i < 2 + LIMIT_STREAM_QUEUE_MAX / sizeof(piece) + 16; i++)
		http_conn_data(s.conn, slice_of(piece, sizeof(piece)));
	s.inside = false;
	IO_UNTIL(s.loop, s.conn == NULL);
	assert_string_equal(trace(&s), "request GET /a;fin;gone;");
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_int_equal(s.peer.error, ECONNRESET);
	site_done(&s);
}

/* ---- bodies nobody reads ---- */

static void test_a_small_unread_body_is_drained(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "content-length: 6\r\n\r\nabc");
	assert_string_equal(answers(&s), OK_A);
	say(&s, "def" GET_B);
	assert_string_equal(answers(&s), OK_A OK_B);
	assert_string_equal(trace(&s), "request POST /a;request GET /b;");
	site_done(&s);
}

static void test_a_known_large_unread_body_ends_the_connection(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, REPLY);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "content-length: 1000000\r\n\r\nabc");
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n/a");
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_true(s.peer.eof); /* not a reset, though there is more to read */
	say(&s, "more that is dropped");
	assert_int_equal(http_server_count(s.server), 1);
	loop_skew(s.loop, LIMIT_HTTP_LINGER_MS + 1);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	site_done(&s);
}

static void test_an_unread_body_is_dropped_only_up_to_a_bound(void **state)
{
	(void)state;
	struct site s;
	static char piece[65536];
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\nfffff\r\n");
	for (int i = 0; i < 5; i++) {
		assert_false(io_peer_over(&s.peer));
		assert_int_equal(send(s.peer.fd, piece, sizeof(piece), 0), sizeof(piece));
		io_loop_settle(s.loop);
	}
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_string_equal(answers(&s), OK_A);
	site_done(&s);
}

static void test_an_unread_body_is_waited_for_in_bounded_time(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "content-length: 6\r\n\r\nabc");
	loop_skew(s.loop, LIMIT_HTTP_LINGER_MS + 1);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	loop_skew(s.loop, LIMIT_HTTP_LINGER_MS + 1);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	site_done(&s);
}

/* ---- time ---- */

static void test_a_slow_head_is_told_and_closed(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "GET /a HT");
	loop_skew(s.loop, LIMIT_HTTP_HEAD_MS - 1000);
	say(&s, "TP/1.1\r\n");
	assert_string_equal(answers(&s), "");
	loop_skew(s.loop, 1001); /* a byte now and then does not move the limit */
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_non_null(strstr(answers(&s), "HTTP/1.1 408 "));
	assert_non_null(strstr(answers(&s), "connection: close\r\n"));
	assert_string_equal(trace(&s), "");
	site_done(&s);
}

static void test_a_connection_that_says_nothing_is_closed_in_silence(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	io_loop_settle(s.loop);
	loop_skew(s.loop, LIMIT_HTTP_HEAD_MS + 1);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_string_equal(answers(&s), "");
	site_done(&s);
}

static void test_an_idle_connection_is_kept_for_a_while(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, GET_A);
	loop_skew(s.loop, LIMIT_HTTP_IDLE_MS - 1000);
	io_loop_settle(s.loop);
	assert_false(io_peer_over(&s.peer));
	say(&s, GET_B);
	loop_skew(s.loop, LIMIT_HTTP_IDLE_MS - 1000);
	io_loop_settle(s.loop);
	assert_false(io_peer_over(&s.peer));
	loop_skew(s.loop, 1001);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_string_equal(answers(&s), OK_A OK_B);
	site_done(&s);
}

static void test_a_head_after_idling_has_its_own_limit(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, GET_A);
	say(&s, "GET");
	loop_skew(s.loop, LIMIT_HTTP_HEAD_MS + 1);
	IO_UNTIL(s.loop, io_peer_has(&s.peer, "HTTP/1.1 408 "));
	site_done(&s);
}

static void test_a_request_in_hand_has_no_limit(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	loop_skew(s.loop, 3600 * 1000);
	io_loop_settle(s.loop);
	reply(&s);
	assert_string_equal(answers(&s), OK_A);
	site_done(&s);
}

/* ---- malformed input ---- */

static void test_malformed_heads_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *input;
		const char *status;
	} bad[] = {
	    {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
	    {"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "HTTP/1.1 400 "},
	    {"\x16\x03\x01\x02", "HTTP/1.1 400 "},
	    {"GET / HTTP/9.9\r\n" HOST "\r\n", "HTTP/1.1 505 "},
	    {"CONNECT a:1 HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 405 "},
	    {"POST / HTTP/1.1\r\n" HOST "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", "HTTP/1.1 400 "},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct site s;
		site_open(&s, IO_PAIR_TCP, REPLY);
		say(&s, bad[i].input);
		IO_UNTIL(s.loop, io_peer_over(&s.peer));
		assert_true(s.peer.eof);
		const char *text = answers(&s);
		assert_int_equal(strncmp(text, bad[i].status, 13), 0);
		assert_non_null(strstr(text, "content-type: application/json\r\n"));
		assert_non_null(strstr(text, "connection: close\r\n"));
		assert_non_null(strstr(text, "\r\n\r\n{\"group\":\"api\",\"code\":\"bad_request\",\"message\":\""));
		const char *body = strstr(text, "\r\n\r\n") + 4;
		assert_int_equal(strtoul(strstr(text, "content-length: ") + 16, NULL, 10), strlen(body));
		assert_string_equal(trace(&s), "");
		site_done(&s);
	}
}

static void test_a_malformed_body_before_the_answer(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n3\r\nabcX");
	assert_string_equal(trace(&s), "request POST /a;body abc;gone;");
	assert_int_equal(strncmp(answers(&s), "HTTP/1.1 400 ", 13), 0);
	assert_true(io_peer_over(&s.peer));
	site_done(&s);
}

static void test_a_malformed_body_in_the_answer_cuts_it(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n");
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	say(&s, "zz\r\n");
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_int_equal(s.peer.error, ECONNRESET);
	assert_string_equal(trace(&s), "request POST /a;gone;");
	site_done(&s);
}

static void test_a_malformed_unwanted_body_ends_behind_the_answer(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n3\r\nabcX");
	assert_string_equal(answers(&s), OK_A);
	assert_true(io_peer_over(&s.peer));
	site_done(&s);
}

static void test_a_malformed_pipelined_request_comes_after_the_answer(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A "NONSENSE\r\n\r\n");
	assert_string_equal(answers(&s), "");
	reply(&s);
	assert_int_equal(strncmp(answers(&s), OK_A "HTTP/1.1 400 ", strlen(OK_A) + 13), 0);
	site_done(&s);
}

/* ---- clients that leave ---- */

static void test_fin_gives_the_answer_a_moment(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	io_peer_send(&s.peer, GET_A GET_B);
	shutdown(s.peer.fd, SHUT_WR);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	reply(&s);
	assert_string_equal(trace(&s), "request GET /a;fin;request GET /b;fin;");
	reply(&s);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_true(s.peer.eof);
	assert_string_equal(answers(&s), OK_A OK_B);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	assert_null(strstr(trace(&s), "gone"));
	site_done(&s);
}

static void test_fin_and_no_answer_in_time_is_gone(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	io_peer_send(&s.peer, GET_A GET_B);
	shutdown(s.peer.fd, SHUT_WR);
	io_loop_settle(s.loop);
	loop_skew(s.loop, LIMIT_HTTP_HALF_CLOSE_MS - 1);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	reply(&s); /* the next one has a moment of its own */
	loop_skew(s.loop, LIMIT_HTTP_HALF_CLOSE_MS - 1);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /a;fin;request GET /b;fin;");
	loop_skew(s.loop, 1);
	IO_UNTIL(s.loop, s.conn == NULL);
	assert_string_equal(trace(&s), "request GET /a;fin;request GET /b;fin;gone;");
	site_done(&s);
}

static void test_fin_and_an_answer_that_goes_on(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	io_peer_send(&s.peer, GET_A);
	shutdown(s.peer.fd, SHUT_WR);
	io_loop_settle(s.loop);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	for (int i = 0; i < 5; i++) {
		(void)http_conn_data(s.conn, SLICE_LIT("piece"));
		loop_skew(s.loop, LIMIT_HTTP_HALF_CLOSE_MS + 1);
		io_loop_settle(s.loop);
		assert_string_equal(trace(&s), "request GET /a;fin;");
	}
	loop_skew(s.loop, LIMIT_HTTP_HALF_CLOSE_MS + 1);
	IO_UNTIL(s.loop, s.conn == NULL);
	assert_string_equal(trace(&s), "request GET /a;fin;gone;");
	site_done(&s);
}

static void test_fin_inside_the_body_is_gone_at_once(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	io_peer_send(&s.peer, "POST /a HTTP/1.1\r\n" HOST "content-length: 6\r\n\r\nabc");
	shutdown(s.peer.fd, SHUT_WR);
	IO_UNTIL(s.loop, strstr(trace(&s), "gone;") != NULL);
	assert_string_equal(trace(&s), "request POST /a;body abc;gone;");
	site_done(&s);
}

static void test_fin_while_paused_delivers_the_rest(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, PAUSE);
	io_peer_send(&s.peer, "POST /a HTTP/1.1\r\n" HOST "content-length: 6\r\n\r\nabcdef");
	shutdown(s.peer.fd, SHUT_WR);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request POST /a;");
	http_conn_pause(s.conn, false);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request POST /a;body abcdef;fin;");
	reply(&s);
	assert_string_equal(answers(&s), OK_A);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	site_done(&s);
}

static void test_fin_between_requests_closes(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, GET_A);
	shutdown(s.peer.fd, SHUT_WR);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	assert_true(io_peer_over(&s.peer));
	site_done(&s);
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "GET /unfinished");
	shutdown(s.peer.fd, SHUT_WR);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	assert_string_equal(answers(&s), "");
	site_done(&s);
}

static void test_a_reset_is_gone_at_once(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	say(&s, GET_A);
	struct linger now = {.l_onoff = 1};
	setsockopt(s.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s.peer.fd);
	s.peer.fd = -1;
	IO_UNTIL(s.loop, s.conn == NULL);
	assert_string_equal(trace(&s), "request GET /a;fin;gone;");
	assert_int_equal(http_server_count(s.server), 0);
	site_done(&s);
}

static void test_speaking_to_a_client_that_has_left_is_harmless(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	close(s.peer.fd);
	s.peer.fd = -1;
	s.inside = true;
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	for (int i = 0; i < 10; i++)
		http_conn_data(s.conn, slice_of("0123456789abcdef", 16));
	s.inside = false;
	IO_UNTIL(s.loop, s.conn == NULL);
	assert_string_equal(trace(&s), "request GET /a;fin;gone;");
	site_done(&s);
}

static void test_gone_is_not_told_once_the_answer_is_complete(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	close(s.peer.fd);
	s.peer.fd = -1;
	answer(&s);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	site_done(&s);
}

static void test_answering_between_the_cut_and_gone(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	http_server_close(s.server, on_server_closed, &s);
	http_conn_reply(s.conn, 200, SLICE_NONE, SLICE_LIT("late"));
	IO_UNTIL(s.loop, s.closed == 1);
	assert_string_equal(trace(&s), "request GET /a;fin;");
	io_loop_done(s.loop);
	assert_string_equal(answers(&s), "");
	io_peer_done(&s.peer);
	buf_done(&s.trace);
	buf_done(&s.answers);
}

/* ---- cutting ---- */

static void test_abort_is_a_reset_and_not_gone(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	http_conn_data(s.conn, SLICE_LIT("half"));
	io_loop_settle(s.loop);
	s.inside = true;
	http_conn_abort(s.conn);
	s.inside = false;
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_int_equal(s.peer.error, ECONNRESET);
	assert_null(strstr(io_peer_text(&s.peer), "\r\n0\r\n"));
	assert_string_equal(trace(&s), "request GET /a;fin;");
	site_done(&s);
}

static void test_abort_comes_behind_what_was_said(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, GET_A);
	http_conn_head(s.conn, 200, SLICE_NONE, HTTP_FRAMING_LENGTH, 100);
	http_conn_data(s.conn, SLICE_LIT("half"));
	http_conn_abort(s.conn); /* in the same turn */
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_non_null(strstr(io_peer_text(&s.peer), "\r\n\r\nhalf"));
	site_done(&s);
}

static void test_abort_from_inside_the_request(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, ABORT);
	say(&s, "POST /a HTTP/1.1\r\n" HOST "content-length: 3\r\n\r\nabc" GET_B);
	assert_string_equal(trace(&s), "request POST /a;");
	assert_true(io_peer_over(&s.peer));
	assert_string_equal(answers(&s), "");
	site_done(&s);
}

static void test_lingering_ends_when_the_client_closes(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, "GET /a HTTP/1.1\r\n" HOST "connection: close\r\n\r\n");
	assert_int_equal(http_server_count(s.server), 1);
	shutdown(s.peer.fd, SHUT_WR);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	site_done(&s);
}

static void test_lingering_waits_for_a_slow_reader_who_reads(void **state)
{
	(void)state;
	enum { BYTES = 4 * 1024 * 1024 };
	struct site s;
	static char body[BYTES];
	char piece[65536];
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, "GET /a HTTP/1.1\r\n" HOST "connection: close\r\n\r\n");
	http_conn_reply(s.conn, 200, SLICE_NONE, slice_of(body, BYTES));
	for (int i = 0; i < 4; i++) {
		while (read(s.peer.fd, piece, sizeof(piece)) > 0)
			;
		io_loop_settle(s.loop);
		loop_skew(s.loop, LIMIT_HTTP_IDLE_MS + 1);
		io_loop_settle(s.loop);
		assert_int_equal(http_server_count(s.server), 1);
	}
	loop_skew(s.loop, LIMIT_HTTP_IDLE_MS + 1); /* and now reads nothing */
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	site_done(&s);
}

/* ---- upgrades ---- */

static void test_upgrade_turns_to_raw_bytes(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, ECHO);
	say(&s, UPGRADE "early");
	assert_string_equal(trace(&s), "request GET /ws;raw early;");
	assert_string_equal(
	    io_peer_text(&s.peer),
	    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
	    "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: p\r\n\r\nearly");
	say(&s, "GET / HTTP/1.1\r\n\r\n");
	assert_true(io_peer_ends(&s.peer, "earlyGET / HTTP/1.1\r\n\r\n"));
	http_conn_raw_close(s.conn);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_true(s.peer.eof);
	say(&s, "ignored");
	close(s.peer.fd);
	s.peer.fd = -1;
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	assert_null(strstr(trace(&s), "ignored"));
	assert_null(strstr(trace(&s), "gone"));
	site_done(&s);
}

static void test_a_late_upgrade_keeps_what_came_meanwhile(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, UPGRADE "one");
	say(&s, "two");
	assert_string_equal(trace(&s), "request GET /ws;fin;");
	s.inside = true;
	http_conn_upgrade(s.conn, SLICE_NONE);
	s.inside = false;
	http_conn_pause(s.conn, true);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /ws;fin;");
	http_conn_pause(s.conn, false);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /ws;fin;raw onetwo;");
	site_done(&s);
}

static void test_fin_after_an_upgrade_is_raw_eof(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, HOLD);
	say(&s, UPGRADE "x");
	shutdown(s.peer.fd, SHUT_WR);
	io_loop_settle(s.loop);
	http_conn_upgrade(s.conn, SLICE_NONE);
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /ws;fin;raw x;raw_eof;");
	loop_skew(s.loop, LIMIT_HTTP_HALF_CLOSE_MS + 1);
	io_loop_settle(s.loop);
	assert_true(http_conn_raw(s.conn, SLICE_LIT("bye")));
	http_conn_raw_close(s.conn);
	IO_UNTIL(s.loop, io_peer_over(&s.peer));
	assert_true(io_peer_ends(&s.peer, "xbye"));
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	assert_null(strstr(trace(&s), "gone"));
	site_done(&s);
}

/* The answer was faster than the turn that would have let the parser see the end of the request. */
static void test_fin_after_an_upgrade_in_the_turn_that_ends_a_pause(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, PAUSE);
	say(&s, UPGRADE "x");
	s.inside = true;
	http_conn_pause(s.conn, false);
	http_conn_upgrade(s.conn, SLICE_NONE);
	s.inside = false;
	say(&s, "y");
	assert_string_equal(trace(&s), "request GET /ws;raw xy;");
	shutdown(s.peer.fd, SHUT_WR);
	IO_UNTIL(s.loop, strstr(trace(&s), "raw_eof;") != NULL);
	site_done(&s);
}

static void test_raw_eof_comes_behind_what_was_stashed(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, HOLD);
	say(&s, UPGRADE);
	http_conn_upgrade(s.conn, SLICE_NONE);
	http_conn_pause(s.conn, true);
	say(&s, "x");
	shutdown(s.peer.fd, SHUT_WR);
	http_conn_pause(s.conn, false); /* seen in the same turn as the FIN */
	io_loop_settle(s.loop);
	assert_string_equal(trace(&s), "request GET /ws;fin;raw x;raw_eof;");
	site_done(&s);
}

static void test_a_reset_after_an_upgrade_is_gone(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_TCP, ECHO);
	say(&s, UPGRADE);
	struct linger now = {.l_onoff = 1};
	setsockopt(s.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(s.peer.fd);
	s.peer.fd = -1;
	IO_UNTIL(s.loop, s.conn == NULL);
	assert_string_equal(trace(&s), "request GET /ws;gone;");
	site_done(&s);
}

static void test_raw_close_waits_for_fin_in_bounded_time(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, ECHO);
	say(&s, UPGRADE);
	http_conn_raw_close(s.conn);
	io_loop_settle(s.loop);
	assert_int_equal(http_server_count(s.server), 1);
	loop_skew(s.loop, LIMIT_WS_CLOSE_MS + 1);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	site_done(&s);
}

static void test_raw_bytes_obey_the_marks(void **state)
{
	(void)state;
	struct site s;
	static char piece[65536];
	site_open(&s, IO_PAIR_UNIX, ECHO);
	say(&s, UPGRADE);
	while (http_conn_raw(s.conn, slice_of(piece, sizeof(piece))))
		;
	IO_UNTIL(s.loop, (io_peer_read(&s.peer), strstr(trace(&s), "writable;") != NULL));
	site_done(&s);
}

static void test_a_refused_upgrade_is_an_ordinary_answer_and_the_last(void **state)
{
	(void)state;
	struct site s;
	site_open(&s, IO_PAIR_UNIX, REPLY);
	say(&s, UPGRADE "frames");
	assert_string_equal(answers(&s), "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n/ws");
	assert_true(io_peer_over(&s.peer));
	assert_string_equal(trace(&s), "request GET /ws;");
	site_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_request_without_body_gets_an_empty_fin),
	    cmocka_unit_test(test_answering_inside_the_request_ends_its_events),
	    cmocka_unit_test(test_answering_at_fin),
	    cmocka_unit_test(test_any_split_of_the_input_is_the_same),
	    cmocka_unit_test(test_pipelined_requests_wait_their_turn),
	    cmocka_unit_test(test_the_stash_is_bounded),
	    cmocka_unit_test(test_keep_alive_serves_many),
	    cmocka_unit_test(test_pausing_holds_the_body_and_still_sees_the_client_leave),
	    cmocka_unit_test(test_a_paused_request_without_body_gets_its_fin_later),
	    cmocka_unit_test(test_a_paused_request_may_be_answered),
	    cmocka_unit_test(test_a_large_body_passes_piece_by_piece),
	    cmocka_unit_test(test_continue_is_sent_when_the_body_is_wanted),
	    cmocka_unit_test(test_continue_waits_for_the_end_of_the_pause),
	    cmocka_unit_test(test_an_answer_instead_of_continue_ends_the_connection),
	    cmocka_unit_test(test_old_clients_get_no_continue),
	    cmocka_unit_test(test_a_reply_leaves_in_one_write),
	    cmocka_unit_test(test_head_and_data_leave_in_one_write),
	    cmocka_unit_test(test_a_head_alone_leaves_in_the_tick),
	    cmocka_unit_test(test_a_large_chunk_leaves_whole),
	    cmocka_unit_test(test_head_and_empty_answers_have_no_body),
	    cmocka_unit_test(test_old_clients),
	    cmocka_unit_test(test_close_is_honoured_and_what_follows_ignored),
	    cmocka_unit_test(test_a_slow_reader_gets_no_more_than_the_mark),
	    cmocka_unit_test(test_ignoring_the_mark_cuts_the_answer),
	    cmocka_unit_test(test_a_small_unread_body_is_drained),
	    cmocka_unit_test(test_a_known_large_unread_body_ends_the_connection),
	    cmocka_unit_test(test_an_unread_body_is_dropped_only_up_to_a_bound),
	    cmocka_unit_test(test_an_unread_body_is_waited_for_in_bounded_time),
	    cmocka_unit_test(test_a_slow_head_is_told_and_closed),
	    cmocka_unit_test(test_a_connection_that_says_nothing_is_closed_in_silence),
	    cmocka_unit_test(test_an_idle_connection_is_kept_for_a_while),
	    cmocka_unit_test(test_a_head_after_idling_has_its_own_limit),
	    cmocka_unit_test(test_a_request_in_hand_has_no_limit),
	    cmocka_unit_test(test_malformed_heads_are_refused),
	    cmocka_unit_test(test_a_malformed_body_before_the_answer),
	    cmocka_unit_test(test_a_malformed_body_in_the_answer_cuts_it),
	    cmocka_unit_test(test_a_malformed_unwanted_body_ends_behind_the_answer),
	    cmocka_unit_test(test_a_malformed_pipelined_request_comes_after_the_answer),
	    cmocka_unit_test(test_fin_gives_the_answer_a_moment),
	    cmocka_unit_test(test_fin_and_no_answer_in_time_is_gone),
	    cmocka_unit_test(test_fin_and_an_answer_that_goes_on),
	    cmocka_unit_test(test_fin_inside_the_body_is_gone_at_once),
	    cmocka_unit_test(test_fin_while_paused_delivers_the_rest),
	    cmocka_unit_test(test_fin_between_requests_closes),
	    cmocka_unit_test(test_a_reset_is_gone_at_once),
	    cmocka_unit_test(test_speaking_to_a_client_that_has_left_is_harmless),
	    cmocka_unit_test(test_gone_is_not_told_once_the_answer_is_complete),
	    cmocka_unit_test(test_answering_between_the_cut_and_gone),
	    cmocka_unit_test(test_abort_is_a_reset_and_not_gone),
	    cmocka_unit_test(test_abort_comes_behind_what_was_said),
	    cmocka_unit_test(test_abort_from_inside_the_request),
	    cmocka_unit_test(test_lingering_ends_when_the_client_closes),
	    cmocka_unit_test(test_lingering_waits_for_a_slow_reader_who_reads),
	    cmocka_unit_test(test_upgrade_turns_to_raw_bytes),
	    cmocka_unit_test(test_a_late_upgrade_keeps_what_came_meanwhile),
	    cmocka_unit_test(test_fin_after_an_upgrade_is_raw_eof),
	    cmocka_unit_test(test_fin_after_an_upgrade_in_the_turn_that_ends_a_pause),
	    cmocka_unit_test(test_raw_eof_comes_behind_what_was_stashed),
	    cmocka_unit_test(test_a_reset_after_an_upgrade_is_gone),
	    cmocka_unit_test(test_raw_close_waits_for_fin_in_bounded_time),
	    cmocka_unit_test(test_raw_bytes_obey_the_marks),
	    cmocka_unit_test(test_a_refused_upgrade_is_an_ordinary_answer_and_the_last),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
