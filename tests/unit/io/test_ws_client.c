/* The client of a WebSocket against a scripted server on real sockets. */
#include "io/ws_client.h"

#include "io/tls.h"
#include "lib/ws_peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#define HOUR 3600

static size_t n_acks; /* TCP was told to acknowledge now */

/* In place of libc's. */
int setsockopt(int fd, int level, int name, const void *value, socklen_t n)
{
	n_acks += level == IPPROTO_TCP && name == TCP_QUICKACK;
	return (int)syscall(SYS_setsockopt, fd, level, name, value, n);
}

struct user {
	struct loop *loop;
	struct ws_client *client;
	struct ws_peer peer;
	struct ws_client_options o;
	struct buf trace; /* "open;" "text hi;" "pong x;" "drained;" "closed;" */
	size_t n_messages, message_bytes;
	bool quiet;
	bool inside; /* a call of ours is running: no event may come */
	bool abort_in_message, send_in_open;
	bool ended, closed;
	enum ws_client_why why;
	unsigned code, status;
	char reason[256], text[2048];
};

static void note(struct user *u, const char *what, struct slice s)
{
	assert_false(u->inside);
	buf_addf(&u->trace, "%s%s%.*s;", what, s.n > 0 ? " " : "", SLICE_FMT(s));
}

static void on_open(void *arg, const struct http_head *answer)
{
	struct user *u = arg;
	assert_int_equal(answer->status, 101);
	note(u, "open", SLICE_NONE);
	if (u->send_in_open)
		assert_int_equal(ws_client_send(u->client, WS_TEXT, SLICE_LIT("first")), 0);
}

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct user *u = arg;
	assert_false(u->inside);
	u->n_messages++;
	u->message_bytes += payload.n;
	if (!u->quiet)
		note(u, binary ? "binary" : "text", payload);
	if (u->abort_in_message)
		ws_client_abort(u->client);
}

static void on_pong(void *arg, struct slice payload)
{
	note(arg, "pong", payload);
}

static void on_drained(void *arg)
{
	note(arg, "drained", SLICE_NONE);
}

static void on_ended(void *arg, const struct ws_client_end *end)
{
	struct user *u = arg;
	assert_false(u->inside || u->ended);
	u->ended = true;
	u->why = end->why;
	u->code = end->code;
	u->status = end->status;
	(void)snprintf(u->reason, sizeof(u->reason), "%.*s", SLICE_FMT(end->reason));
	(void)snprintf(u->text, sizeof(u->text), "%s", end->text);
	assert_int_equal(ws_client_send(u->client, WS_TEXT, SLICE_LIT("x")), WS_CLIENT_ENDING);
}

static void on_closed(void *arg)
{
	struct user *u = arg;
	note(u, "closed", SLICE_NONE);
	u->closed = true;
}

static const struct ws_client_events events = {on_open, on_message, on_pong, on_drained, on_ended, on_closed};

/* A peer that listens; nobody connects yet. */
static void user_init(struct user *u, SSL_CTX *tls)
{
	*u = (struct user){.loop = io_loop_open()};
	buf_init(&u->trace, 1024 * 1024);
	ws_peer_listen(&u->peer, u->loop, tls);
	u->o = (struct ws_client_options){.host = "127.0.0.1",
					  .port = u->peer.port,
					  .target = "/runners/connect?a=b",
					  .subprotocols = "rivet, rivet_token.abc",
					  .message_max = LIMIT_WS_ENGINE_MESSAGE_BYTES,
					  .connect_ms = 5000,
					  .upgrade_ms = 5000};
}

static void user_open(struct user *u)
{
	u->inside = true;
	u->client = ws_client_open(u->loop, &u->o, &events, u);
	u->inside = false;
}

static const char *trace(struct user *u)
{
	return buf_text(&u->trace);
}

static bool traced(struct user *u, const char *text)
{
	return strstr(trace(u), text) != NULL;
}

static bool heard(struct user *u, const char *text)
{
	return strstr(ws_peer_trace(&u->peer), text) != NULL;
}

/* Connected and upgraded. */
static void user_connect(struct user *u)
{
	user_open(u);
	ws_peer_upgrade(&u->peer, "sec-websocket-protocol: rivet\r\n");
	IO_UNTIL(u->loop, traced(u, "open;"));
}

static void user_abort(struct user *u)
{
	u->inside = true;
	ws_client_abort(u->client);
	if (!u->closed)
		ws_client_abort(u->client);
	u->inside = false;
	IO_UNTIL(u->loop, u->closed);
}

static void user_done(struct user *u)
{
	if (u->client != NULL && !u->closed)
		user_abort(u);
	io_loop_done(u->loop);
	ws_peer_done(&u->peer);
	buf_done(&u->trace);
}

static void wait_end(struct user *u, enum ws_client_why why, const char *text)
{
	IO_UNTIL(u->loop, u->ended);
	if (u->why != why || strstr(u->text, text) == NULL)
		fail_msg("ended %u \"%s\", expected %u \"%s\"", u->why, u->text, why, text);
}

/* ---- open, say, close ---- */

static void test_messages_pass_both_ways(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	u.send_in_open = true;
	user_connect(&u);
	assert_non_null(strstr(buf_text(&u.peer.got), "GET /runners/connect?a=b HTTP/1.1\r\nhost: 127.0.0.1:"));
	assert_non_null(strstr(buf_text(&u.peer.got), "\r\nsec-websocket-protocol: rivet, rivet_token.abc\r\n"));
	ws_peer_say(&u.peer, WS_BINARY, SLICE_LIT("\x01\x02"));
	ws_peer_say(&u.peer, WS_TEXT, SLICE_LIT("hello"));
	IO_UNTIL(u.loop, traced(&u, "open;binary \x01\x02;text hello;"));
	assert_int_equal(ws_client_send(u.client, WS_BINARY, SLICE_LIT("abc")), 0);
	assert_int_equal(ws_client_send(u.client, WS_BINARY, SLICE_NONE), 0);
	assert_int_equal(ws_client_send(u.client, WS_PING, SLICE_LIT("p1")), 0);
	IO_UNTIL(u.loop, heard(&u, "text first;binary abc;binary ;ping p1;"));
	IO_UNTIL(u.loop, traced(&u, "pong p1;"));
	user_done(&u);
}

static void test_pings_are_answered_and_fragments_joined(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	ws_peer_put(&u.peer, SLICE_LIT("\x02\x02"
				       "ab"
				       "\x89\x01"
				       "!"
				       "\x80\x01"
				       "c"));
	IO_UNTIL(u.loop, traced(&u, "binary abc;"));
	IO_UNTIL(u.loop, heard(&u, "pong !;"));
	user_done(&u);
}

static void test_frames_of_one_turn_leave_in_one_write(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	for (int i = 0; i < 100; i++)
		assert_int_equal(ws_client_send(u.client, WS_BINARY, SLICE_LIT("0123456789")), 0);
	uint8_t all[4096];
	assert_int_equal(recv(u.peer.fd, all, sizeof(all), 0), -1); /* not before the tick */
	io_loop_turn(u.loop, 1);
	assert_int_equal(recv(u.peer.fd, all, sizeof(all), MSG_PEEK), 100 * 16);
	user_done(&u);
}

/* From here on nothing is due by itself, and all so far is acknowledged. */
static void user_freeze(struct user *u)
{
	loop_freeze(u->loop, true);
	loop_skew(u->loop, LIMIT_WS_ACK_MS);
	io_loop_turn(u->loop, 0);
	n_acks = 0;
}

static void test_what_came_is_acknowledged_before_the_kernel_would(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	user_freeze(&u);
	ws_peer_say(&u.peer, WS_TEXT, SLICE_LIT("ask"));
	IO_UNTIL(u.loop, traced(&u, "text ask;"));
	assert_int_equal(n_acks, 0); /* an answer may come */
	loop_skew(u.loop, LIMIT_WS_ACK_MS);
	io_loop_turn(u.loop, 0);
	assert_int_equal(n_acks, 1);
	loop_skew(u.loop, LIMIT_WS_ACK_MS);
	io_loop_turn(u.loop, 0);
	assert_int_equal(n_acks, 1);
	user_done(&u);
}

static void test_an_acknowledgement_rides_on_an_answer(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	user_freeze(&u);
	ws_peer_say(&u.peer, WS_TEXT, SLICE_LIT("ask"));
	IO_UNTIL(u.loop, traced(&u, "text ask;"));
	assert_int_equal(ws_client_send(u.client, WS_BINARY, SLICE_LIT("answer")), 0);
	IO_UNTIL(u.loop, heard(&u, "binary answer;"));
	loop_skew(u.loop, LIMIT_WS_ACK_MS);
	io_loop_turn(u.loop, 0);
	assert_int_equal(n_acks, 0);
	user_done(&u);
}

static void test_a_pong_is_acknowledged_at_once(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	user_freeze(&u);
	ws_peer_say(&u.peer, WS_PONG, SLICE_LIT("p"));
	IO_UNTIL(u.loop, traced(&u, "pong p;"));
	assert_int_equal(n_acks, 1);
	user_done(&u);
}

static void test_the_peer_s_close_frame_is_told_and_answered(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	ws_peer_say(&u.peer, WS_TEXT, SLICE_LIT("last"));
	ws_peer_close(&u.peer, 1000, "ws.eviction#abc");
	wait_end(&u, WS_CLIENT_CLOSED, "127.0.0.1:");
	assert_true(traced(&u, "text last;"));
	assert_int_equal(u.code, 1000);
	assert_string_equal(u.reason, "ws.eviction#abc");
	user_abort(&u);
	IO_UNTIL(u.loop, heard(&u, "close 1000 ;"));
	user_done(&u);
}

static void test_a_close_frame_is_read_before_the_reset_behind_it(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	ws_peer_close(&u.peer, 1011, "ws.going_away#abc");
	ws_peer_drop(&u.peer, true);
	for (int i = 0; i < 10; i++)
		(void)ws_client_send(u.client, WS_TEXT, SLICE_LIT("into the void"));
	wait_end(&u, WS_CLIENT_CLOSED, "ws.going_away#abc");
	user_done(&u);
}

/* Behind messages that wait to be read, while much of ours waits to be written. */
static void close_behind_data(struct user *u)
{
	static uint8_t many[1024 * 1024];
	u->quiet = u->peer.quiet = true;
	while (ws_client_send(u->client, WS_BINARY, slice_of(many, sizeof(many))) == 0)
		;
	io_loop_settle(u->loop); /* what the kernel takes is on its way, the rest is queued */
	assert_true(ws_client_queued(u->client) > 0);
	ws_peer_say(&u->peer, WS_BINARY, slice_of(many, 24 * 1024));
	ws_peer_close(&u->peer, 1011, "ws.going_away#abc");
	ws_peer_drop(&u->peer, true);
	wait_end(u, WS_CLIENT_CLOSED, "ws.going_away#abc");
	assert_int_equal(u->message_bytes, 24 * 1024);
}

static void test_a_close_frame_behind_data_is_read_before_the_reset(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	close_behind_data(&u);
	user_done(&u);
}

static void test_our_close_waits_for_the_peer_s(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	assert_int_equal(ws_client_send(u.client, WS_TEXT, SLICE_LIT("before")), 0);
	u.inside = true;
	ws_client_close(u.client, 1000, SLICE_LIT("pegboard.runner_shutdown"));
	ws_client_close(u.client, 1000, SLICE_NONE);
	u.inside = false;
	assert_int_equal(ws_client_send(u.client, WS_TEXT, SLICE_LIT("x")), WS_CLIENT_ENDING);
	IO_UNTIL(u.loop, heard(&u, "text before;close 1000 pegboard.runner_shutdown;"));
	assert_false(u.ended);
	ws_peer_close(&u.peer, 1000, "ws.closed");
	wait_end(&u, WS_CLIENT_CLOSED, "ws.closed");
	user_done(&u);
}

static void test_a_peer_that_does_not_answer_our_close(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	ws_client_close(u.client, 1000, SLICE_NONE);
	io_loop_settle(u.loop);
	assert_false(u.ended);
	loop_skew(u.loop, LIMIT_WS_CLOSE_MS);
	wait_end(&u, WS_CLIENT_TIMEOUT, "close frame");
	user_done(&u);
}

static void test_a_lost_connection(void **state)
{
	(void)state;
	for (int reset = 0; reset < 2; reset++) {
		struct user u;
		user_init(&u, NULL);
		user_connect(&u);
		ws_peer_drop(&u.peer, reset == 1);
		wait_end(&u, WS_CLIENT_LOST, reset == 1 ? "connection reset" : "without a close frame");
		user_done(&u);
	}
}

static void test_abort_from_inside_a_message_ends_the_events(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_connect(&u);
	u.abort_in_message = true;
	struct buf two;
	buf_init(&two, 64);
	ws_put_frame(&two, WS_TEXT, true, false, SLICE_LIT("1"));
	ws_put_frame(&two, WS_TEXT, true, false, SLICE_LIT("2"));
	ws_peer_put(&u.peer, buf_slice(&two));
	buf_done(&two);
	IO_UNTIL(u.loop, u.closed);
	assert_string_equal(trace(&u), "open;text 1;closed;");
	user_done(&u);
}

/* ---- bounds ---- */

static void test_large_messages_come_in(void **state)
{
	(void)state;
	struct user u;
	size_t n = (size_t)34 * 1024 * 1024;
	uint8_t *big = mem_zalloc(n);
	user_init(&u, NULL);
	user_connect(&u);
	u.quiet = true;
	ws_peer_say(&u.peer, WS_BINARY, slice_of(big, n));
	ws_peer_say(&u.peer, WS_BINARY, SLICE_LIT("x"));
	IO_UNTIL(u.loop, u.n_messages == 2);
	assert_int_equal(u.message_bytes, n + 1);
	mem_free(big);
	user_done(&u);
}

static void test_a_message_over_the_bound(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	u.o.message_max = 1000;
	user_connect(&u);
	uint8_t big[1001] = {0};
	ws_peer_say(&u.peer, WS_BINARY, slice_of(big, sizeof(big)));
	wait_end(&u, WS_CLIENT_PROTOCOL, "over our bound");
	IO_UNTIL(u.loop, heard(&u, "close 1009 ;"));
	user_done(&u);
}

static void test_a_peer_that_reads_nothing(void **state)
{
	(void)state;
	struct user u;
	size_t n = (size_t)8 * 1024 * 1024;
	uint8_t *big = mem_zalloc(n);
	user_init(&u, NULL);
	user_connect(&u);
	int sent = 0, r;
	while ((r = ws_client_send(u.client, WS_BINARY, slice_of(big, n))) == 0)
		sent++;
	assert_int_equal(r, WS_CLIENT_FULL);
	assert_in_range(sent, 4, 6);
	io_loop_settle(u.loop);
	assert_true(ws_client_queued(u.client) > LIMIT_STREAM_QUEUE_HIGH);
	assert_false(traced(&u, "drained;"));
	u.peer.quiet = true;
	IO_UNTIL(u.loop, (ws_peer_read(&u.peer), u.peer.n_messages == (size_t)sent));
	IO_UNTIL(u.loop, traced(&u, "drained;"));
	assert_int_equal(ws_client_queued(u.client), 0);
	assert_int_equal(u.peer.message_bytes, (size_t)sent * n);
	mem_free(big);
	user_done(&u);
}

/* ---- hostile or strange peers ---- */

static void refuse(const char *answer, const char *text, unsigned status)
{
	struct user u;
	user_init(&u, NULL);
	user_open(&u);
	ws_peer_accept(&u.peer);
	ws_peer_request(&u.peer);
	ws_peer_put(&u.peer, slice_str(answer));
	wait_end(&u, WS_CLIENT_UPGRADE, text);
	assert_int_equal(u.status, status);
	user_done(&u);
}

static void test_what_answers_is_no_websocket_endpoint(void **state)
{
	(void)state;
	refuse("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", "HTTP 404 Not Found", 404);
	refuse("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "no WebSocket endpoint: HTTP 200 OK", 200);
	refuse("HTTP/1.1 301 Moved Permanently\r\nlocation: https://b/\r\ncontent-length: 0\r\n\r\n",
	       "HTTP 301, which points to https://b/", 301);
	refuse("SSH-2.0-OpenSSH_9.2p1\r\n\r\n", "no valid HTTP", 0);
	refuse("HTTP/1.1 101 Switching Protocols\r\n\r\n", "no valid HTTP", 0);
	refuse("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
	       "does not answer a WebSocket handshake", 0);
	refuse("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
	       "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
	       "wrong Sec-WebSocket-Accept", 0);
}

static void test_an_answer_nobody_asked_for(void **state)
{
	(void)state;
	static const char *const fields[] = {"sec-websocket-extensions: permessage-deflate\r\n",
					     "sec-websocket-protocol: chat\r\n",
					     "sec-websocket-protocol: rivet, x\r\n"};
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		struct user u;
		user_init(&u, NULL);
		user_open(&u);
		ws_peer_upgrade(&u.peer, fields[i]);
		wait_end(&u, WS_CLIENT_UPGRADE, i == 0 ? "an extension" : "a subprotocol");
		user_done(&u);
	}
}

static void test_a_peer_that_leaves_during_the_handshake(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_open(&u);
	ws_peer_accept(&u.peer);
	ws_peer_request(&u.peer);
	ws_peer_drop(&u.peer, false);
	wait_end(&u, WS_CLIENT_UPGRADE, "the connection was closed; what answers may speak https");
	user_done(&u);
}

static void test_frames_right_behind_the_answer(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_open(&u);
	ws_peer_accept(&u.peer);
	ws_peer_request(&u.peer);
	char accept[29];
	struct slice got = buf_slice(&u.peer.got);
	const uint8_t *key = memmem(got.p, got.n, "sec-websocket-key: ", 19);
	ws_accept(slice_of(key + 19, 24), accept);
	struct buf b;
	buf_init(&b, 4096);
	buf_addf(&b, "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: %s\r\n\r\n",
		 accept);
	ws_put_frame(&b, WS_TEXT, true, false, SLICE_LIT("hi"));
	/* In single bytes, too: nothing depends on where the reads end. */
	for (size_t i = 0; i < buf_len(&b); i++) {
		ws_peer_put(&u.peer, slice_of(buf_slice(&b).p + i, 1));
		io_loop_turn(u.loop, 1);
	}
	buf_done(&b);
	IO_UNTIL(u.loop, traced(&u, "open;text hi;"));
	user_done(&u);
}

static void test_hostile_frames(void **state)
{
	(void)state;
	const struct {
		struct slice bytes;
		const char *answer;
	} cases[] = {
	    {SLICE_LIT("\x82\x81????x"), "close 1002 ;"},                            /* masked */
	    {SLICE_LIT("\xc2\x01x"), "close 1002 ;"},                                /* a reserved bit */
	    {SLICE_LIT("\x83\x01x"), "close 1002 ;"},                                /* an unknown opcode */
	    {SLICE_LIT("\x80\x01x"), "close 1002 ;"},                                /* continues nothing */
	    {SLICE_LIT("\x09\x00"), "close 1002 ;"},                                 /* a fragmented ping */
	    {SLICE_LIT("\x89\x7e\x00\x80"), "close 1002 ;"},                         /* a long ping */
	    {SLICE_LIT("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), "close 1002 ;"}, /* 2^64 - 1 bytes */
	    {SLICE_LIT("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), "close 1009 ;"}, /* 2^63 - 1 */
	    {SLICE_LIT("\x81\x02\xc3\x28"), "close 1007 ;"},                         /* text that is none */
	    {SLICE_LIT("\x88\x01x"), "close 1002 ;"},                                /* half a close code */
	    {SLICE_LIT("\x88\x02\x03\xed"), "close 1002 ;"},                         /* 1005 on the wire */
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct user u;
		user_init(&u, NULL);
		user_connect(&u);
		ws_peer_put(&u.peer, cases[i].bytes);
		wait_end(&u, WS_CLIENT_PROTOCOL, "broke the WebSocket protocol");
		user_abort(&u);
		IO_UNTIL(u.loop, heard(&u, cases[i].answer));
		user_done(&u);
	}
}

/* ---- finding the peer ---- */

static void test_nobody_listens(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	close(u.peer.listen_fd);
	u.peer.listen_fd = -1;
	user_open(&u);
	wait_end(&u, WS_CLIENT_CONNECT, ": connection refused");
	user_done(&u);
}

static void test_a_host_name_is_looked_up(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	u.o.host = "localhost"; /* perhaps ::1 first, where nobody listens */
	user_connect(&u);
	assert_non_null(strstr(buf_text(&u.peer.got), "\r\nhost: localhost:"));
	user_done(&u);
}

static void test_a_host_name_without_address(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	u.o.host = "no such host!";
	user_open(&u);
	wait_end(&u, WS_CLIENT_RESOLVE, "no such host!:");
	user_done(&u);
}

static void test_abort_while_looking_up(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	u.o.host = "localhost";
	user_open(&u);
	user_abort(&u);
	assert_string_equal(trace(&u), "closed;");
	user_done(&u);
}

static void test_abort_while_connecting(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_open(&u);
	user_abort(&u);
	assert_string_equal(trace(&u), "closed;");
	user_done(&u);
}

static void test_a_silent_server(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	user_open(&u);
	ws_peer_accept(&u.peer);
	ws_peer_request(&u.peer);
	loop_skew(u.loop, 4000);
	io_loop_settle(u.loop);
	assert_false(u.ended);
	loop_skew(u.loop, 1000);
	wait_end(&u, WS_CLIENT_TIMEOUT, "did not answer the WebSocket handshake in time");
	user_done(&u);
}

/* A listener whose queue is full: the kernel leaves further connections unanswered. */
static void test_an_address_that_does_not_answer(void **state)
{
	(void)state;
	struct user u;
	user_init(&u, NULL);
	assert_int_equal(listen(u.peer.listen_fd, 0), 0);
	int fillers[4];
	struct sockaddr_storage at;
	socklen_t len = sizeof(at);
	assert_int_equal(getsockname(u.peer.listen_fd, (struct sockaddr *)&at, &len), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&at, len);
	}
	user_open(&u);
	io_loop_settle(u.loop);
	assert_false(u.ended);
	loop_skew(u.loop, 5000);
	wait_end(&u, WS_CLIENT_TIMEOUT, "does not accept connections in time");
	for (size_t i = 0; i < ARRAY_SIZE(fillers); i++)
		close(fillers[i]);
	user_done(&u);
}

/* ---- TLS ---- */

static struct tls_ca ca, other_ca;

static int tls_setup(void **state)
{
	(void)state;
	tls_ca_init(&ca, "Test authority");
	tls_ca_init(&other_ca, "Other authority");
	return 0;
}

static int tls_teardown(void **state)
{
	(void)state;
	tls_ca_done(&ca);
	tls_ca_done(&other_ca);
	return 0;
}

/* TLS is spoken by a peer with this certificate; trusted is what the client is told to trust. */
struct secure {
	struct user u;
	SSL_CTX *server;
	struct tls_context *client;
};

static void secure_init(struct secure *s, const char *names, long from_s, long to_s, const struct tls_ca *trusted)
{
	struct err e = {0};
	s->server = names == NULL ? NULL : tls_ca_server(&ca, names, from_s, to_s);
	assert_int_equal(tls_context_new(trusted->file, &e, &s->client), 0);
	user_init(&s->u, s->server);
	s->u.o.tls = s->client;
}

static void secure_done(struct secure *s)
{
	user_done(&s->u);
	tls_context_free(s->client);
	SSL_CTX_free(s->server);
}

static void test_tls_messages_pass_both_ways(void **state)
{
	(void)state;
	static const char *const hosts[] = {"127.0.0.1", "localhost"};
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct secure s;
		size_t n = (size_t)3 * 1024 * 1024;
		uint8_t *big = mem_zalloc(n);
		secure_init(&s, "DNS:localhost,IP:127.0.0.1", -HOUR, HOUR, &ca);
		s.u.o.host = hosts[i];
		user_connect(&s.u);
		const char *sni = SSL_get_servername(s.u.peer.ssl, TLSEXT_NAMETYPE_host_name);
		if (i == 0)
			assert_null(sni); /* RFC 6066 3: never an address */
		else
			assert_string_equal(sni, "localhost");
		assert_int_equal(ws_client_send(s.u.client, WS_TEXT, SLICE_LIT("hi")), 0);
		IO_UNTIL(s.u.loop, heard(&s.u, "text hi;"));
		s.u.quiet = s.u.peer.quiet = true;
		assert_int_equal(ws_client_send(s.u.client, WS_BINARY, slice_of(big, n)), 0);
		IO_UNTIL(s.u.loop, (ws_peer_read(&s.u.peer), s.u.peer.message_bytes == n + 2));
		ws_peer_say(&s.u.peer, WS_BINARY, slice_of(big, n));
		IO_UNTIL(s.u.loop, s.u.message_bytes == n);
		ws_peer_close(&s.u.peer, 1011, "ws.going_away");
		wait_end(&s.u, WS_CLIENT_CLOSED, "ws.going_away");
		mem_free(big);
		secure_done(&s);
	}
}

static void test_tls_a_close_frame_is_read_before_the_reset(void **state)
{
	(void)state;
	struct secure s;
	secure_init(&s, "IP:127.0.0.1", -HOUR, HOUR, &ca);
	user_connect(&s.u);
	close_behind_data(&s.u);
	secure_done(&s);
}

static void refuse_certificate(const char *names, long from_s, long to_s, const struct tls_ca *trusted,
			       const char *text)
{
	struct secure s;
	secure_init(&s, names, from_s, to_s, trusted);
	user_open(&s.u);
	ws_peer_accept(&s.u.peer);
	IO_UNTIL(s.u.loop, (ws_peer_read(&s.u.peer), s.u.ended));
	wait_end(&s.u, WS_CLIENT_CERTIFICATE, text);
	assert_null(strstr(buf_text(&s.u.peer.got), "GET")); /* nothing was told to it */
	secure_done(&s);
}

static void test_a_certificate_that_is_not_good(void **state)
{
	(void)state;
	refuse_certificate("DNS:other.example,DNS:*.test", -HOUR, HOUR, &ca,
			   "its certificate is for other.example, *.test, not for 127.0.0.1");
	refuse_certificate("IP:127.0.0.2,IP:::1", -HOUR, HOUR, &ca,
			   "its certificate is for 127.0.0.2, ::1, not for 127.0.0.1");
	refuse_certificate("DNS:127.0.0.1", -HOUR, HOUR, &ca, "not for 127.0.0.1"); /* an address is no DNS name */
	refuse_certificate("IP:127.0.0.1", -HOUR, HOUR, &other_ca,
			   "its certificate (CN=an engine, issued by CN=Test authority) is of no authority that is "
			   "trusted here");
	refuse_certificate("IP:127.0.0.1", -2 * HOUR, -HOUR, &ca, "(CN=an engine) has expired on ");
	refuse_certificate("IP:127.0.0.1", HOUR, 2 * HOUR, &ca, "(CN=an engine) is not valid before ");
}

static void test_tls_is_not_spoken(void **state)
{
	(void)state;
	static const char *const answers[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", ""};
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct secure s;
		secure_init(&s, NULL, 0, 0, &ca);
		user_open(&s.u);
		ws_peer_accept(&s.u.peer);
		ws_peer_put(&s.u.peer, slice_str(answers[i]));
		if (i == 1)
			ws_peer_drop(&s.u.peer, false);
		wait_end(&s.u, WS_CLIENT_TLS, i == 0 ? "does not speak TLS" : "the TLS handshake was cut");
		secure_done(&s);
	}
}

static void test_plain_to_a_tls_server(void **state)
{
	(void)state;
	struct secure s;
	secure_init(&s, "IP:127.0.0.1", -HOUR, HOUR, &ca);
	s.u.o.tls = NULL;
	user_open(&s.u);
	ws_peer_accept(&s.u.peer);
	IO_UNTIL(s.u.loop, (ws_peer_read(&s.u.peer), s.u.peer.over));
	ws_peer_drop(&s.u.peer, false);
	IO_UNTIL(s.u.loop, s.u.ended);
	assert_int_equal(s.u.why, WS_CLIENT_UPGRADE);
	secure_done(&s);
}

static void test_an_old_tls_version(void **state)
{
	(void)state;
	struct secure s;
	secure_init(&s, "IP:127.0.0.1", -HOUR, HOUR, &ca);
	SSL_CTX_set_security_level(s.server, 0);
	assert_int_equal(SSL_CTX_set_min_proto_version(s.server, TLS1_VERSION), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(s.server, TLS1_1_VERSION), 1);
	user_open(&s.u);
	ws_peer_accept(&s.u.peer);
	IO_UNTIL(s.u.loop, (ws_peer_read(&s.u.peer), s.u.ended));
	wait_end(&s.u, WS_CLIENT_TLS, "the TLS handshake failed: ");
	secure_done(&s);
}

static void test_tls_1_2(void **state)
{
	(void)state;
	struct secure s;
	secure_init(&s, "IP:127.0.0.1", -HOUR, HOUR, &ca);
	assert_int_equal(SSL_CTX_set_max_proto_version(s.server, TLS1_2_VERSION), 1);
	user_connect(&s.u);
	secure_done(&s);
}

static void test_a_silent_tls_server(void **state)
{
	(void)state;
	struct secure s;
	secure_init(&s, NULL, 0, 0, &ca);
	user_open(&s.u);
	ws_peer_accept(&s.u.peer);
	io_loop_settle(s.u.loop);
	loop_skew(s.u.loop, 5000);
	wait_end(&s.u, WS_CLIENT_TIMEOUT, "did not finish the TLS handshake in time");
	secure_done(&s);
}

static void test_garbage_inside_tls(void **state)
{
	(void)state;
	struct secure s;
	secure_init(&s, "IP:127.0.0.1", -HOUR, HOUR, &ca);
	user_connect(&s.u);
	assert_int_equal(send(s.u.peer.fd, "\x17\x03\x03\x00\x20 garbage garbage garbage garbage", 37, 0), 37);
	wait_end(&s.u, WS_CLIENT_LOST, "the TLS session broke");
	secure_done(&s);
}

static void test_authorities_that_cannot_be_loaded(void **state)
{
	(void)state;
	struct tls_context *c;
	struct err e = {0};
	assert_true(tls_context_new("/nowhere/ca.pem", &e, &c) < 0);
	assert_string_equal(
	    e.text, "cannot read the file of certificate authorities /nowhere/ca.pem: No such file or directory");
	assert_int_equal(e.exit_code, EXIT_CODE_CONFIG);
	e = (struct err){0};
	assert_true(tls_context_new("/etc/passwd", &e, &c) < 0);
	assert_string_equal(e.text, "the file of certificate authorities /etc/passwd holds no certificate in PEM form");
	e = (struct err){0};
	assert_int_equal(tls_context_new("", &e, &c), 0);
	tls_context_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_messages_pass_both_ways),
	    cmocka_unit_test(test_pings_are_answered_and_fragments_joined),
	    cmocka_unit_test(test_frames_of_one_turn_leave_in_one_write),
	    cmocka_unit_test(test_what_came_is_acknowledged_before_the_kernel_would),
	    cmocka_unit_test(test_an_acknowledgement_rides_on_an_answer),
	    cmocka_unit_test(test_a_pong_is_acknowledged_at_once),
	    cmocka_unit_test(test_the_peer_s_close_frame_is_told_and_answered),
	    cmocka_unit_test(test_a_close_frame_is_read_before_the_reset_behind_it),
	    cmocka_unit_test(test_a_close_frame_behind_data_is_read_before_the_reset),
	    cmocka_unit_test(test_tls_a_close_frame_is_read_before_the_reset),
	    cmocka_unit_test(test_our_close_waits_for_the_peer_s),
	    cmocka_unit_test(test_a_peer_that_does_not_answer_our_close),
	    cmocka_unit_test(test_a_lost_connection),
	    cmocka_unit_test(test_abort_from_inside_a_message_ends_the_events),
	    cmocka_unit_test(test_large_messages_come_in),
	    cmocka_unit_test(test_a_message_over_the_bound),
	    cmocka_unit_test(test_a_peer_that_reads_nothing),
	    cmocka_unit_test(test_what_answers_is_no_websocket_endpoint),
	    cmocka_unit_test(test_an_answer_nobody_asked_for),
	    cmocka_unit_test(test_a_peer_that_leaves_during_the_handshake),
	    cmocka_unit_test(test_frames_right_behind_the_answer),
	    cmocka_unit_test(test_hostile_frames),
	    cmocka_unit_test(test_nobody_listens),
	    cmocka_unit_test(test_a_host_name_is_looked_up),
	    cmocka_unit_test(test_a_host_name_without_address),
	    cmocka_unit_test(test_abort_while_looking_up),
	    cmocka_unit_test(test_abort_while_connecting),
	    cmocka_unit_test(test_a_silent_server),
	    cmocka_unit_test(test_an_address_that_does_not_answer),
	    cmocka_unit_test(test_tls_messages_pass_both_ways),
	    cmocka_unit_test(test_a_certificate_that_is_not_good),
	    cmocka_unit_test(test_tls_is_not_spoken),
	    cmocka_unit_test(test_plain_to_a_tls_server),
	    cmocka_unit_test(test_an_old_tls_version),
	    cmocka_unit_test(test_tls_1_2),
	    cmocka_unit_test(test_a_silent_tls_server),
	    cmocka_unit_test(test_garbage_inside_tls),
	    cmocka_unit_test(test_authorities_that_cannot_be_loaded),
	};
	return cmocka_run_group_tests(tests, tls_setup, tls_teardown);
}
