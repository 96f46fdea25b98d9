/* The set of connections: its bound, draining and closing. */
#include "base/limits.h"
#include "io/http_conn.h"
#include "lib/io_loop.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define GET "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
#define CONNS_MAX 3

struct site {
	struct loop *loop;
	struct http_server *server;
	struct http_conn *last;
	int requests, gone, closed;
	bool answers; /* from inside the request */
};

static void on_request(void *arg, struct http_conn *c, const struct http_head *h)
{
	struct site *s = arg;
	(void)h;
	s->requests++;
	s->last = c;
	if (s->answers)
		http_conn_reply(c, 200, SLICE_NONE, SLICE_LIT("ok"));
}

static void on_body(void *arg, struct http_conn *c, struct slice b, bool fin)
{
	(void)arg, (void)c, (void)b, (void)fin;
}

static void on_conn(void *arg, struct http_conn *c)
{
	(void)arg, (void)c;
}

static void on_raw(void *arg, struct http_conn *c, struct slice b)
{
	(void)arg, (void)c, (void)b;
}

static void on_gone(void *arg, struct http_conn *c)
{
	struct site *s = arg;
	(void)c;
	s->gone++;
}

static void on_closed(void *arg)
{
	struct site *s = arg;
	s->closed++;
}

static const struct http_conn_events events = {on_request, on_body, on_conn, on_raw, on_conn, on_gone};

static void site_open(struct site *s)
{
	*s = (struct site){.loop = io_loop_open(), .answers = true};
	const struct http_server_options o = {
	    .name = "test", .target_max = LIMIT_HTTP_TARGET_BYTES, .conns_max = CONNS_MAX, .events = &events, .arg = s};
	s->server = http_server_new(s->loop, &o);
}

static void site_done(struct site *s)
{
	http_server_close(s->server, on_closed, s);
	assert_int_equal(s->closed, 0);
	IO_UNTIL(s->loop, s->closed == 1);
	io_loop_done(s->loop);
}

static void dial(struct site *s, struct io_peer *ret)
{
	int fds[2];
	io_pair(IO_PAIR_TCP, fds);
	io_peer_open(ret, fds[1]);
	http_server_give(s->server, fds[0]);
}

static void test_closing_without_connections(void **state)
{
	(void)state;
	struct site s;
	site_open(&s);
	site_done(&s);
}

static void test_one_over_the_bound_is_told_503(void **state)
{
	(void)state;
	struct site s;
	struct io_peer peers[CONNS_MAX], extra;
	site_open(&s);
	for (int i = 0; i < CONNS_MAX; i++)
		dial(&s, &peers[i]);
	dial(&s, &extra);
	io_peer_send(&extra, GET);
	IO_UNTIL(s.loop, io_peer_over(&extra));
	assert_true(extra.eof);
	assert_true(io_peer_has(&extra, "HTTP/1.1 503 Service Unavailable\r\n"));
	assert_true(io_peer_has(&extra, "connection: close\r\n"));
	assert_true(io_peer_ends(
	    &extra,
	    "{\"group\":\"api\",\"code\":\"overloaded\",\"message\":\"too many connections\",\"metadata\":null}"));
	assert_int_equal(s.requests, 0);
	io_peer_done(&extra);
	IO_UNTIL(s.loop, http_server_count(s.server) == CONNS_MAX);
	for (int i = 0; i < CONNS_MAX; i++) {
		io_peer_send(&peers[i], GET);
		IO_UNTIL(s.loop, io_peer_ends(&peers[i], "ok"));
	}
	io_peer_done(&peers[0]); /* makes room */
	IO_UNTIL(s.loop, http_server_count(s.server) == CONNS_MAX - 1);
	dial(&s, &peers[0]);
	io_peer_send(&peers[0], GET);
	IO_UNTIL(s.loop, io_peer_ends(&peers[0], "ok"));
	for (int i = 0; i < CONNS_MAX; i++)
		io_peer_done(&peers[i]);
	site_done(&s);
}

static void test_a_crowd_of_refused_clients_is_bounded_too(void **state)
{
	(void)state;
	struct site s;
	struct io_peer peers[100];
	size_t dropped = 0;
	site_open(&s);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		dial(&s, &peers[i]);
	assert_in_range(http_server_count(s.server), CONNS_MAX + 1, 99);
	io_loop_settle(s.loop);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		if (io_peer_over(&peers[i]) && buf_len(&peers[i].got) == 0)
			dropped++;
	}
	assert_int_equal(dropped, 100 - http_server_count(s.server));
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		io_peer_done(&peers[i]);
	site_done(&s);
}

static void test_draining_closes_the_idle_and_lets_the_busy_finish(void **state)
{
	(void)state;
	struct site s;
	struct io_peer fresh, idle, busy;
	site_open(&s);
	dial(&s, &fresh);
	dial(&s, &idle);
	io_peer_send(&idle, GET);
	IO_UNTIL(s.loop, io_peer_ends(&idle, "ok"));
	s.answers = false;
	dial(&s, &busy);
	io_peer_send(&busy, GET);
	IO_UNTIL(s.loop, s.requests == 2);

	http_server_drain(s.server);
	IO_UNTIL(s.loop, io_peer_over(&fresh) && io_peer_over(&idle));
	assert_true(fresh.eof && idle.eof);
	assert_false(io_peer_over(&busy));
	http_conn_reply(s.last, 200, SLICE_NONE, SLICE_LIT("done"));
	IO_UNTIL(s.loop, io_peer_over(&busy));
	assert_true(busy.eof);
	assert_true(io_peer_has(&busy, "connection: close\r\n"));
	assert_true(io_peer_ends(&busy, "done"));
	io_peer_done(&fresh);
	io_peer_done(&idle);
	io_peer_done(&busy);
	IO_UNTIL(s.loop, http_server_count(s.server) == 0);
	assert_int_equal(s.gone, 0);
	site_done(&s);
}

static void test_draining_ends_an_answer_whose_head_had_left(void **state)
{
	(void)state;
	struct site s;
	struct io_peer peer;
	site_open(&s);
	s.answers = false;
	dial(&s, &peer);
	io_peer_send(&peer, GET);
	IO_UNTIL(s.loop, s.requests == 1);
	http_conn_head(s.last, 200, SLICE_NONE, HTTP_FRAMING_CHUNKED, 0);
	io_loop_settle(s.loop);
	http_server_drain(s.server);
	http_conn_end(s.last);
	IO_UNTIL(s.loop, io_peer_over(&peer));
	assert_true(peer.eof);
	assert_true(io_peer_ends(&peer, "0\r\n\r\n"));
	io_peer_done(&peer);
	site_done(&s);
}

static void test_a_head_half_sent_at_draining_is_served(void **state)
{
	(void)state;
	struct site s;
	struct io_peer peer;
	site_open(&s);
	dial(&s, &peer);
	io_peer_send(&peer, "GET / HTTP/1.1\r\n");
	io_loop_settle(s.loop);
	http_server_drain(s.server);
	io_peer_send(&peer, "host: a\r\n\r\n");
	IO_UNTIL(s.loop, io_peer_over(&peer));
	assert_true(io_peer_has(&peer, "connection: close\r\n"));
	assert_true(io_peer_ends(&peer, "ok"));
	io_peer_done(&peer);
	site_done(&s);
}

static void test_closing_tells_every_user(void **state)
{
	(void)state;
	struct site s;
	struct io_peer busy, idle;
	site_open(&s);
	dial(&s, &idle);
	s.answers = false;
	dial(&s, &busy);
	io_peer_send(&busy, GET);
	IO_UNTIL(s.loop, s.requests == 1);
	http_server_close(s.server, on_closed, &s);
	assert_int_equal(s.gone, 0);
	IO_UNTIL(s.loop, s.closed == 1);
	assert_int_equal(s.gone, 1);
	IO_UNTIL(s.loop, io_peer_over(&busy) && io_peer_over(&idle));
	assert_int_equal(buf_len(&busy.got), 0);
	io_peer_done(&idle);
	io_peer_done(&busy);
	io_loop_done(s.loop);
}

static void test_a_descriptor_that_cannot_be_served_is_closed(void **state)
{
	(void)state;
	struct site s;
	int fds[2];
	site_open(&s);
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	http_server_give(s.server, fd);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_int_equal(http_server_count(s.server), 0);
	http_server_close(s.server, on_closed, &s);
	io_pair(IO_PAIR_UNIX, fds);
	http_server_give(s.server, fds[0]); /* accepted in the same turn */
	assert_int_equal(fcntl(fds[0], F_GETFD), -1);
	close(fds[1]);
	IO_UNTIL(s.loop, s.closed == 1);
	io_loop_done(s.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_closing_without_connections),
	    cmocka_unit_test(test_one_over_the_bound_is_told_503),
	    cmocka_unit_test(test_a_crowd_of_refused_clients_is_bounded_too),
	    cmocka_unit_test(test_draining_closes_the_idle_and_lets_the_busy_finish),
	    cmocka_unit_test(test_draining_ends_an_answer_whose_head_had_left),
	    cmocka_unit_test(test_a_head_half_sent_at_draining_is_served),
	    cmocka_unit_test(test_closing_tells_every_user),
	    cmocka_unit_test(test_a_descriptor_that_cannot_be_served_is_closed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
