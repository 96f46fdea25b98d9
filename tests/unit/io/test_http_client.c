/* The client side against a scripted worker on a raw socket. */
#include "base/limits.h"
#include "io/http_client.h"
#include "lib/io_loop.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nhost: a\r\n"
#define OK_2 "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"

struct user {
	struct loop *loop;
	struct http_client *client;
	struct io_peer peer;
	struct buf trace; /* "head 200;" "body hi;" "writable;" "over 0 answered reusable;" "raw x;" ... "closed;" */
	size_t body_bytes;
	bool quiet;  /* bodies are counted, not recorded */
	bool inside; /* a call of ours is running: no event may come */
	bool pause_in_head;
	bool close_in_body;
	bool again_in_over; /* sends the next request from inside over() */
	bool closed;
};

static struct user *record(void *arg, const char *what, struct slice detail)
{
	struct user *u = arg;
	if (u->inside)
		fail_msg("%s came from inside a call", what);
	buf_addf(&u->trace, "%s%s%.*s;", what, detail.n > 0 ? " " : "", SLICE_FMT(detail));
	return u;
}

static void get(struct user *u)
{
	http_client_request(u->client, SLICE_LIT(GET), false, false, false, false);
}

static void on_head(void *arg, const struct http_head *h)
{
	struct user *u = arg;
	assert_false(u->inside);
	buf_addf(&u->trace, "head %u;", h->status);
	if (u->pause_in_head)
		http_client_pause(u->client, true);
}

static void on_body(void *arg, struct slice s)
{
	struct user *u = arg;
	u->body_bytes += s.n;
	if (!u->quiet)
		record(arg, "body", s);
	if (u->close_in_body)
		http_client_close(u->client);
}

static void on_writable(void *arg)
{
	record(arg, "writable", SLICE_NONE);
}

static void on_over(void *arg, enum http_client_why why, bool answered, bool reusable)
{
	struct user *u = arg;
	assert_false(u->inside);
	buf_addf(&u->trace, "over %u%s%s;", why, answered ? " answered" : "", reusable ? " reusable" : "");
	if (u->again_in_over && reusable)
		get(u);
}

static void on_raw(void *arg, struct slice s)
{
	record(arg, "raw", s);
}

static void on_raw_eof(void *arg)
{
	record(arg, "raw_eof", SLICE_NONE);
}

static void on_idle_closed(void *arg)
{
	record(arg, "idle_closed", SLICE_NONE);
}

static void on_closed(void *arg)
{
	struct user *u = record(arg, "closed", SLICE_NONE);
	u->closed = true;
}

static const struct http_client_events events = {on_head, on_body,    on_writable,    on_over,
						 on_raw,  on_raw_eof, on_idle_closed, on_closed};

static void user_open(struct user *u, enum io_pair kind)
{
	int fds[2];
	*u = (struct user){.loop = io_loop_open()};
	buf_init(&u->trace, 1024 * 1024);
	io_pair(kind, fds);
	io_peer_open(&u->peer, fds[1]);
	assert_int_equal(http_client_open(u->loop, fds[0], &events, u, &u->client), 0);
}

static const char *trace(struct user *u)
{
	return buf_text(&u->trace);
}

static void user_done(struct user *u)
{
	if (!u->closed) {
		buf_reset(&u->trace);
		u->inside = true;
		http_client_close(u->client);
		http_client_close(u->client);
		u->inside = false;
		IO_UNTIL(u->loop, u->closed);
		assert_string_equal(trace(u), "closed;");
	}
	io_loop_done(u->loop);
	io_peer_done(&u->peer);
	buf_done(&u->trace);
}

/* Says something as the worker and lets everything happen. */
static void say(struct user *u, const char *text)
{
	io_peer_send(&u->peer, text);
	io_loop_settle(u->loop);
}

static void leave(struct user *u)
{
	close(u->peer.fd);
	u->peer.fd = -1;
	io_loop_settle(u->loop);
}

/* Sends GET, has it answered with `answer` and checks what was told. */
static void exchange(struct user *u, const char *answer, const char *want)
{
	buf_reset(&u->trace);
	io_peer_forget(&u->peer);
	u->inside = true;
	get(u);
	u->inside = false;
	assert_string_equal(io_peer_text(&u->peer), GET); /* at once */
	say(u, answer);
	assert_string_equal(trace(u), want);
}

/* ---- answers ---- */

static void test_a_kept_connection_carries_many_requests(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	exchange(&u, OK_2, "head 200;body hi;over 0 answered reusable;");
	exchange(&u, "HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		 "head 404;body x;over 0 answered reusable;");
	exchange(&u, "HTTP/1.1 204 No Content\r\n\r\n", "head 204;over 0 answered reusable;");
	exchange(&u, "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" OK_2, "head 200;body hi;over 0 answered reusable;");
	user_done(&u);
}

static void test_an_answer_in_single_bytes(void **state)
{
	(void)state;
	static const char answer[] = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	get(&u);
	for (size_t i = 0; i < sizeof(answer) - 1; i++) {
		assert_int_equal(send(u.peer.fd, answer + i, 1, 0), 1);
		io_loop_turn(u.loop, 1);
	}
	assert_string_equal(trace(&u), "head 200;body a;body b;over 0 answered reusable;");
	user_done(&u);
}

static void test_the_next_request_may_be_sent_from_inside_over(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	u.again_in_over = true;
	get(&u);
	say(&u, OK_2);
	assert_string_equal(io_peer_text(&u.peer), GET GET);
	u.again_in_over = false;
	say(&u, OK_2);
	assert_string_equal(trace(&u), "head 200;body hi;over 0 answered reusable;"
				       "head 200;body hi;over 0 answered reusable;");
	user_done(&u);
}

static void test_the_answer_to_head_has_no_body(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	http_client_request(u.client, SLICE_LIT("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n"), true, false, false, false);
	say(&u, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n");
	assert_string_equal(trace(&u), "head 200;over 0 answered reusable;");
	user_done(&u);
}

static void test_answers_that_end_the_connection(void **state)
{
	(void)state;
	static const char *const last[] = {
	    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
	    "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
	    OK_2 "HTTP/1.1 200 OK\r\n", /* speaks without being asked */
	};
	for (size_t i = 0; i < ARRAY_SIZE(last); i++) {
		struct user u;
		user_open(&u, IO_PAIR_UNIX);
		exchange(&u, last[i], "head 200;body hi;over 0 answered;");
		user_done(&u);
	}
}

static void test_an_answer_framed_by_the_end(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	exchange(&u, "HTTP/1.1 200 OK\r\n\r\nhello", "head 200;body hello;");
	say(&u, " you");
	leave(&u);
	assert_string_equal(trace(&u), "head 200;body hello;body  you;over 0 answered;");
	user_done(&u);
}

static void test_a_reset_does_not_complete_an_answer(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	exchange(&u, "HTTP/1.1 200 OK\r\n\r\nhello", "head 200;body hello;");
	struct linger now = {.l_onoff = 1};
	setsockopt(u.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	leave(&u);
	assert_string_equal(trace(&u), "head 200;body hello;over 1 answered;");
	user_done(&u);
}

static void test_cut_answers(void **state)
{
	(void)state;
	static const struct {
		const char *sent, *want;
	} cut[] = {
	    {"", "over 1;"},
	    {"HTT", "over 1 answered;"},
	    {"HTTP/1.1 103 Early Hints\r\n\r\n", "over 1 answered;"},
	    {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", "head 200;body hi;over 1 answered;"},
	    {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n", "head 200;body hi;over 1 answered;"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cut); i++) {
		struct user u;
		user_open(&u, IO_PAIR_UNIX);
		get(&u);
		say(&u, cut[i].sent);
		io_peer_read(&u.peer);
		leave(&u);
		assert_string_equal(trace(&u), cut[i].want);
		user_done(&u);
	}
}

static void test_malformed_answers(void **state)
{
	(void)state;
	static const char *const bad[] = {
	    "SSH-2.0-x\r\n",
	    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
	    "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
	    "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
	    "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct user u;
		user_open(&u, IO_PAIR_UNIX);
		assert_string_equal(http_client_error(u.client), "");
		exchange(&u, bad[i], "over 2 answered;");
		assert_true(strlen(http_client_error(u.client)) > 0);
		say(&u, OK_2); /* it is dead */
		assert_string_equal(trace(&u), "over 2 answered;");
		user_done(&u);
	}
}

/* ---- idle ---- */

static void test_idle_connections_are_watched(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	exchange(&u, OK_2, "head 200;body hi;over 0 answered reusable;");
	buf_reset(&u.trace);
	leave(&u);
	assert_string_equal(trace(&u), "idle_closed;");
	user_done(&u);

	user_open(&u, IO_PAIR_TCP);
	struct linger now = {.l_onoff = 1};
	setsockopt(u.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	leave(&u);
	assert_string_equal(trace(&u), "idle_closed;");
	user_done(&u);
}

static void test_words_between_requests_end_the_connection(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	say(&u, "HTTP/1.1 408 Request Timeout\r\n\r\n");
	say(&u, "more");
	assert_string_equal(trace(&u), "idle_closed;");
	user_done(&u);
}

static void test_idle_time_begins_with_the_end_of_the_answer(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	loop_skew(u.loop, 5000);
	int64_t before_ms = loop_mono_ms(u.loop);
	assert_true(http_client_idle_since_ms(u.client) <= before_ms - 5000);
	exchange(&u, OK_2, "head 200;body hi;over 0 answered reusable;");
	assert_in_range(http_client_idle_since_ms(u.client), before_ms, before_ms + 1000);
	user_done(&u);
}

static void test_a_pooled_connection_changes_hands(void **state)
{
	(void)state;
	struct user u, other = {0};
	user_open(&u, IO_PAIR_UNIX);
	buf_init(&other.trace, 1024);
	other.client = u.client;
	http_client_set_arg(u.client, &other);
	exchange(&u, OK_2, "");
	assert_string_equal(trace(&other), "head 200;body hi;over 0 answered reusable;");
	http_client_set_arg(u.client, &u);
	buf_done(&other.trace);
	user_done(&u);
}

/* ---- request bodies ---- */

static void test_a_request_with_a_small_body_leaves_in_one_write(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_RECORDS);
	http_client_request(u.client, SLICE_LIT(POST "content-length: 4\r\n\r\n"), false, false, true, false);
	assert_true(http_client_body(u.client, SLICE_LIT("ab"), false));
	assert_true(http_client_body(u.client, SLICE_LIT("cd"), false));
	assert_true(http_client_body(u.client, SLICE_NONE, true));
	assert_string_equal(io_peer_text(&u.peer), POST "content-length: 4\r\n\r\nabcd");
	assert_int_equal(u.peer.records, 1);
	say(&u, OK_2);

	io_peer_forget(&u.peer);
	http_client_request(u.client, SLICE_LIT(POST "transfer-encoding: chunked\r\n\r\n"), false, false, true, true);
	assert_true(http_client_body(u.client, SLICE_LIT("abc"), false));
	assert_true(http_client_body(u.client, SLICE_LIT("de"), true));
	assert_string_equal(io_peer_text(&u.peer),
			    POST "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
	assert_int_equal(u.peer.records, 1);
	say(&u, OK_2);
	assert_string_equal(trace(&u), "head 200;body hi;over 0 answered reusable;"
				       "head 200;body hi;over 0 answered reusable;");
	user_done(&u);
}

static void test_a_head_does_not_wait_for_a_slow_body(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	http_client_request(u.client, SLICE_LIT(POST "content-length: 4\r\n\r\n"), false, false, true, false);
	assert_string_equal(io_peer_text(&u.peer), "");
	loop_turn(u.loop);
	assert_string_equal(io_peer_text(&u.peer), POST "content-length: 4\r\n\r\n");
	http_client_body(u.client, SLICE_LIT("abcd"), true);
	assert_true(io_peer_ends(&u.peer, "abcd"));
	user_done(&u);
}

static void test_a_slow_worker_holds_the_body(void **state)
{
	(void)state;
	struct user u;
	static char piece[65536];
	user_open(&u, IO_PAIR_UNIX);
	http_client_request(u.client, SLICE_LIT(POST "transfer-encoding: chunked\r\n\r\n"), false, false, true, true);
	u.inside = true;
	int n = 0;
	while (http_client_body(u.client, slice_of(piece, sizeof(piece)), false))
		n++;
	u.inside = false;
	assert_in_range(n, 3, 100);
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "");
	IO_UNTIL(u.loop, (io_peer_read(&u.peer), buf_len(&u.trace) > 0));
	assert_string_equal(trace(&u), "writable;");
	http_client_body(u.client, SLICE_NONE, true);
	IO_UNTIL(u.loop, io_peer_ends(&u.peer, "\r\n0\r\n\r\n"));
	say(&u, OK_2);
	assert_string_equal(trace(&u), "writable;head 200;body hi;over 0 answered reusable;");
	user_done(&u);
}

static void test_an_answer_before_the_body_was_sent_ends_the_connection(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	http_client_request(u.client, SLICE_LIT(POST "content-length: 4\r\n\r\n"), false, false, true, false);
	http_client_body(u.client, SLICE_LIT("ab"), false);
	say(&u, OK_2);
	assert_string_equal(trace(&u), "head 200;body hi;over 0 answered;");
	assert_true(http_client_body(u.client, SLICE_LIT("cd"), true)); /* harmless */
	assert_false(io_peer_ends(&u.peer, "cd"));
	user_done(&u);
}

static void test_a_refusal_is_read_though_the_worker_left(void **state)
{
	(void)state;
	struct user u;
	static char piece[65536];
	user_open(&u, IO_PAIR_UNIX);
	http_client_request(u.client, SLICE_LIT(POST "transfer-encoding: chunked\r\n\r\n"), false, false, true, true);
	io_peer_send(&u.peer, "HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno");
	close(u.peer.fd);
	u.peer.fd = -1;
	u.inside = true;
	for (int i = 0; i < 10; i++)
		http_client_body(u.client, slice_of(piece, sizeof(piece)), false);
	u.inside = false;
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "head 413;body no;over 0 answered;");
	user_done(&u);
}

static void test_a_worker_that_is_gone_before_the_request(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	close(u.peer.fd);
	u.peer.fd = -1;
	u.inside = true;
	get(&u);
	u.inside = false;
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "over 1;");
	user_done(&u);
}

/* ---- pausing ---- */

static void test_a_paused_answer_waits_and_its_end_too(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	u.pause_in_head = true;
	get(&u);
	io_peer_read(&u.peer);
	say(&u, OK_2);
	leave(&u);
	assert_string_equal(trace(&u), "head 200;");
	u.inside = true;
	http_client_pause(u.client, false);
	u.inside = false;
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "head 200;body hi;over 0 answered;");
	user_done(&u);
}

static void test_a_paused_answer_of_a_kept_connection(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	u.pause_in_head = true;
	exchange(&u, OK_2, "head 200;");
	http_client_pause(u.client, false);
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "head 200;body hi;over 0 answered reusable;");
	u.pause_in_head = false;
	exchange(&u, OK_2, "head 200;body hi;over 0 answered reusable;");
	user_done(&u);
}

static void test_a_paused_answer_without_body_is_over_later(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	u.pause_in_head = true;
	exchange(&u, "HTTP/1.1 204 No Content\r\n\r\n", "head 204;");
	http_client_pause(u.client, false);
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "head 204;over 0 answered reusable;");
	user_done(&u);
}

static void test_pausing_holds_the_worker(void **state)
{
	(void)state;
	enum { BYTES = 4 * 1024 * 1024 };
	struct user u;
	static char piece[65536];
	size_t sent = 0;
	user_open(&u, IO_PAIR_UNIX);
	u.pause_in_head = u.quiet = true;
	exchange(&u, "HTTP/1.1 200 OK\r\ncontent-length: 4194304\r\n\r\n", "head 200;");
	for (int idle = 0; idle < 5;) {
		ssize_t n = send(u.peer.fd, piece, sizeof(piece), 0);
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? (size_t)n : 0;
		io_loop_turn(u.loop, 1);
	}
	assert_true(sent < BYTES / 2);
	http_client_pause(u.client, false);
	while (sent < BYTES) {
		size_t want = BYTES - sent < sizeof(piece) ? BYTES - sent : sizeof(piece);
		ssize_t n = send(u.peer.fd, piece, want, 0);
		sent += n > 0 ? (size_t)n : 0;
		io_loop_turn(u.loop, 0);
	}
	io_loop_settle(u.loop);
	assert_int_equal(u.body_bytes, BYTES);
	assert_string_equal(trace(&u), "head 200;over 0 answered reusable;");
	user_done(&u);
}

/* ---- closing ---- */

static void test_closing_from_inside_an_event_is_the_last(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	u.close_in_body = true;
	exchange(&u, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n",
		 "head 200;body a;closed;");
	assert_true(io_peer_over(&u.peer));
	user_done(&u);
}

static void test_closing_a_busy_connection(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	http_client_request(u.client, SLICE_LIT(POST "content-length: 4\r\n\r\n"), false, false, true, false);
	user_done(&u);
}

static void test_open_refuses_what_is_no_socket(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	struct http_client *c = NULL;
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(http_client_open(l, fd, &events, NULL, &c) < 0);
	assert_null(c);
	assert_int_equal(close(fd), 0);
	io_loop_done(l);
}

/* ---- upgrades ---- */

#define SWITCH                                                       \
	"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n" \
	"connection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static void upgrade(struct user *u)
{
	http_client_request(u->client, SLICE_LIT("GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n"), false,
			    true, false, false);
	io_peer_read(&u->peer);
	io_peer_forget(&u->peer);
}

static void test_an_upgrade_turns_to_raw_bytes(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	upgrade(&u);
	say(&u, SWITCH "early");
	assert_string_equal(trace(&u), "head 101;raw early;");
	assert_true(http_client_raw(u.client, SLICE_LIT("hello")));
	IO_UNTIL(u.loop, io_peer_ends(&u.peer, "hello"));
	say(&u, OK_2); /* only bytes */
	assert_string_equal(trace(&u), "head 101;raw early;raw " OK_2 ";");
	http_client_raw_shutdown(u.client);
	IO_UNTIL(u.loop, io_peer_over(&u.peer));
	assert_true(u.peer.eof);
	say(&u, "bye");
	leave(&u);
	assert_string_equal(trace(&u), "head 101;raw early;raw " OK_2 ";raw bye;raw_eof;");
	user_done(&u);
}

static void test_raw_bytes_wait_for_a_pause_and_eof_for_them(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	u.pause_in_head = true;
	upgrade(&u);
	say(&u, SWITCH "one");
	say(&u, "two");
	assert_true(http_client_raw(u.client, SLICE_LIT("out")));
	assert_true(io_peer_ends(&u.peer, "out"));
	leave(&u);
	assert_string_equal(trace(&u), "head 101;");
	http_client_pause(u.client, false);
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "head 101;raw onetwo;raw_eof;");
	user_done(&u);
}

static void test_a_reset_after_an_upgrade_is_raw_eof(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_TCP);
	upgrade(&u);
	say(&u, SWITCH);
	struct linger now = {.l_onoff = 1};
	setsockopt(u.peer.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	leave(&u);
	assert_true(http_client_raw(u.client, SLICE_LIT("late")));
	io_loop_settle(u.loop);
	assert_string_equal(trace(&u), "head 101;raw_eof;");
	user_done(&u);
}

static void test_raw_bytes_obey_the_marks(void **state)
{
	(void)state;
	struct user u;
	static char piece[65536];
	user_open(&u, IO_PAIR_UNIX);
	upgrade(&u);
	say(&u, SWITCH);
	while (http_client_raw(u.client, slice_of(piece, sizeof(piece))))
		;
	IO_UNTIL(u.loop, (io_peer_read(&u.peer), strstr(trace(&u), "writable;") != NULL));
	user_done(&u);
}

static void test_a_refused_upgrade_is_an_ordinary_answer(void **state)
{
	(void)state;
	struct user u;
	user_open(&u, IO_PAIR_UNIX);
	upgrade(&u);
	say(&u, "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
	assert_string_equal(trace(&u), "head 403;body no;over 0 answered reusable;");
	user_done(&u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_kept_connection_carries_many_requests),
	    cmocka_unit_test(test_an_answer_in_single_bytes),
	    cmocka_unit_test(test_the_next_request_may_be_sent_from_inside_over),
	    cmocka_unit_test(test_the_answer_to_head_has_no_body),
	    cmocka_unit_test(test_answers_that_end_the_connection),
	    cmocka_unit_test(test_an_answer_framed_by_the_end),
	    cmocka_unit_test(test_a_reset_does_not_complete_an_answer),
	    cmocka_unit_test(test_cut_answers),
	    cmocka_unit_test(test_malformed_answers),
	    cmocka_unit_test(test_idle_connections_are_watched),
	    cmocka_unit_test(test_words_between_requests_end_the_connection),
	    cmocka_unit_test(test_idle_time_begins_with_the_end_of_the_answer),
	    cmocka_unit_test(test_a_pooled_connection_changes_hands),
	    cmocka_unit_test(test_a_request_with_a_small_body_leaves_in_one_write),
	    cmocka_unit_test(test_a_head_does_not_wait_for_a_slow_body),
	    cmocka_unit_test(test_a_slow_worker_holds_the_body),
	    cmocka_unit_test(test_an_answer_before_the_body_was_sent_ends_the_connection),
	    cmocka_unit_test(test_a_refusal_is_read_though_the_worker_left),
	    cmocka_unit_test(test_a_worker_that_is_gone_before_the_request),
	    cmocka_unit_test(test_a_paused_answer_waits_and_its_end_too),
	    cmocka_unit_test(test_a_paused_answer_of_a_kept_connection),
	    cmocka_unit_test(test_a_paused_answer_without_body_is_over_later),
	    cmocka_unit_test(test_pausing_holds_the_worker),
	    cmocka_unit_test(test_closing_from_inside_an_event_is_the_last),
	    cmocka_unit_test(test_closing_a_busy_connection),
	    cmocka_unit_test(test_open_refuses_what_is_no_socket),
	    cmocka_unit_test(test_an_upgrade_turns_to_raw_bytes),
	    cmocka_unit_test(test_raw_bytes_wait_for_a_pause_and_eof_for_them),
	    cmocka_unit_test(test_a_reset_after_an_upgrade_is_raw_eof),
	    cmocka_unit_test(test_raw_bytes_obey_the_marks),
	    cmocka_unit_test(test_a_refused_upgrade_is_an_ordinary_answer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
