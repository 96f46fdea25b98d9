/* Random users and random peers against http_conn and http_client: whatever
 * either does, in whatever order, every request ends exactly once, no event
 * comes outside of its request, and nothing is left alive. Each round has a
 * seed of its own, printed when a check fails. */
#include "base/limits.h"
#include "io/http_client.h"
#include "io/http_conn.h"
#include "lib/io_loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ROUNDS 300
#define STEPS 400

static unsigned seed;

static unsigned dice(unsigned sides)
{
	return (unsigned)rand_r(&seed) % sides;
}

static char bytes[100000];

static struct slice some_bytes(void)
{
	return slice_of(bytes, 1 + dice(dice(8) == 0 ? sizeof(bytes) : 40));
}

/* ---- the test's end: a peer that sends pieces of a script, reads now and then, and leaves somehow ---- */

static void peer_step(struct io_peer *p, const char *const *script, size_t n_script)
{
	struct linger now = {.l_onoff = 1};
	if (p->fd < 0)
		return;
	switch (dice(24)) {
	case 0:
		if (dice(8) == 0)
			shutdown(p->fd, SHUT_WR);
		break;
	case 1:
		if (dice(10) > 0)
			break;
		if (dice(2) == 0)
			setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(p->fd);
		p->fd = -1;
		break;
	case 2:
		if (dice(10) == 0)
			(void)send(p->fd, bytes, dice(sizeof(bytes)), MSG_NOSIGNAL);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		io_peer_read(p);
		io_peer_forget(p);
		break;
	default: {
		const char *text = script[dice((unsigned)n_script)];
		size_t from = dice(40) == 0 ? dice((unsigned)strlen(text)) : 0;
		(void)send(p->fd, text + from, strlen(text) - from, MSG_NOSIGNAL);
		break;
	}
	}
}

/* ---- http_conn ---- */

#define HOST "host: a\r\n"

#define UPGRADE                                                                     \
	"GET /ws HTTP/1.1\r\n" HOST "connection: Upgrade\r\nupgrade: websocket\r\n" \
	"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static const char *const requests[] = {
    "GET /a HTTP/1.1\r\n" HOST "\r\n",
    "GET /a HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n",
    "HEAD /a HTTP/1.1\r\n" HOST "\r\n",
    "GET /a HTTP/1.0\r\n\r\n",
    "GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "content-length: 3\r\n\r\nabc",
    "POST /a HTTP/1.1\r\n" HOST "content-length: 3\r\nexpect: 100-continue\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "content-length: 300000\r\n\r\n",
    "POST /a HTTP/1.1\r\n" HOST "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "0\r\n\r\n",
    "186a0\r\n",
    "\r\n",
    UPGRADE,
};

enum phase { PHASE_NONE, PHASE_ASKED, PHASE_ANSWERING, PHASE_RAW };

struct seat {
	struct http_conn *conn;
	enum phase phase;
	bool fin, eof, upgrade, paused;
	bool counted; /* the answer has a length */
	uint64_t left;
};

struct server {
	struct seat seats[4];
	size_t begun, ended;
	bool inside;
	bool closed;
};

static struct seat *seat_of(void *arg, struct http_conn *c)
{
	struct server *s = arg;
	struct seat *seat = http_conn_user(c);
	CHECK(!s->inside && seat >= s->seats && seat < s->seats + 4);
	CHECK(seat->conn == c && seat->phase != PHASE_NONE);
	return seat;
}

static void end(struct server *s, struct seat *seat)
{
	*seat = (struct seat){.phase = PHASE_NONE};
	s->ended++;
}

static void user_step(struct server *s, struct seat *seat)
{
	struct slice b = some_bytes();
	unsigned what = dice(10);
	if (what == 0) {
		seat->paused = !seat->paused;
		http_conn_pause(seat->conn, seat->paused);
	} else if (what == 1 && dice(5) == 0) {
		http_conn_abort(seat->conn);
		end(s, seat);
	} else if (seat->phase == PHASE_ASKED && what == 2) {
		http_conn_reply(seat->conn, dice(4) == 0 ? 500 : 200, SLICE_LIT("x: y\r\n"), b);
		end(s, seat);
	} else if (seat->phase == PHASE_ASKED && what == 3 && seat->upgrade) {
		http_conn_upgrade(seat->conn, SLICE_NONE);
		seat->phase = PHASE_RAW;
	} else if (seat->phase == PHASE_ASKED && what < 6) {
		seat->counted = dice(2) == 0;
		seat->left = seat->counted ? b.n : 0;
		http_conn_head(seat->conn, 200, SLICE_NONE, seat->counted ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_CHUNKED,
			       seat->left);
		seat->phase = PHASE_ANSWERING;
	} else if (seat->phase == PHASE_ANSWERING && what < 7) {
		if (seat->counted && b.n > seat->left)
			b.n = seat->left;
		seat->left -= seat->counted ? b.n : 0;
		http_conn_data(seat->conn, b);
	} else if (seat->phase == PHASE_ANSWERING) {
		if (seat->left > 0)
			http_conn_data(seat->conn, slice_of(bytes, seat->left));
		http_conn_end(seat->conn);
		end(s, seat);
	} else if (seat->phase == PHASE_RAW && what < 8) {
		http_conn_raw(seat->conn, b);
	} else if (seat->phase == PHASE_RAW && dice(4) == 0) {
		http_conn_raw_close(seat->conn);
		end(s, seat);
	}
}

static void conn_request(void *arg, struct http_conn *c, const struct http_head *h)
{
	struct server *s = arg;
	struct seat *seat = s->seats;
	CHECK(!s->inside);
	while (seat->phase != PHASE_NONE)
		seat++;
	CHECK(seat < s->seats + 4);
	*seat = (struct seat){.conn = c, .phase = PHASE_ASKED, .upgrade = h->upgrade};
	http_conn_set_user(c, seat);
	s->begun++;
	if (dice(3) == 0)
		user_step(s, seat);
}

static void conn_body(void *arg, struct http_conn *c, struct slice b, bool fin)
{
	struct seat *seat = seat_of(arg, c);
	CHECK(seat->phase != PHASE_RAW && !seat->fin && (b.n > 0) == !fin);
	CHECK(!seat->paused);
	seat->fin = fin;
	if (dice(3) == 0)
		user_step(arg, seat);
}

static void conn_writable(void *arg, struct http_conn *c)
{
	user_step(arg, seat_of(arg, c));
}

static void conn_raw(void *arg, struct http_conn *c, struct slice b)
{
	struct seat *seat = seat_of(arg, c);
	CHECK(seat->phase == PHASE_RAW && !seat->paused && !seat->eof && b.n > 0);
	if (dice(3) == 0)
		user_step(arg, seat);
}

static void conn_raw_eof(void *arg, struct http_conn *c)
{
	struct seat *seat = seat_of(arg, c);
	CHECK(seat->phase == PHASE_RAW && !seat->eof);
	seat->eof = true;
}

static void conn_gone(void *arg, struct http_conn *c)
{
	end(arg, seat_of(arg, c));
}

static const struct http_conn_events conn_events = {conn_request, conn_body,    conn_writable,
						    conn_raw,     conn_raw_eof, conn_gone};

static void server_closed(void *arg)
{
	((struct server *)arg)->closed = true;
}

static void test_any_client_and_any_user(void **state)
{
	(void)state;
	size_t begun = 0, ended = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct server s = {.begun = 0};
		struct io_peer peers[4];
		seed = round;
		struct loop *l = io_loop_open();
		const struct http_server_options o = {.name = "test",
						      .target_max = LIMIT_HTTP_TARGET_BYTES,
						      .conns_max = 4,
						      .events = &conn_events,
						      .arg = &s};
		struct http_server *server = http_server_new(l, &o);
		for (int i = 0; i < 4; i++) {
			int fds[2];
			io_pair(dice(2) == 0 ? IO_PAIR_TCP : IO_PAIR_UNIX, fds);
			io_peer_open(&peers[i], fds[1]);
			http_server_give(server, fds[0]);
		}
		for (int step = 0; step < STEPS; step++) {
			peer_step(&peers[dice(4)], requests, ARRAY_SIZE(requests));
			struct seat *seat = &s.seats[dice(4)];
			s.inside = true;
			if (seat->phase != PHASE_NONE)
				user_step(&s, seat);
			if (dice(400) == 0)
				http_server_drain(server);
			s.inside = false;
			if (dice(40) == 0)
				loop_skew(l, dice(20000));
			io_loop_turn(l, 0);
		}
		http_server_close(server, server_closed, &s);
		IO_UNTIL(l, s.closed);
		io_loop_done(l);
		for (int i = 0; i < 4; i++)
			io_peer_done(&peers[i]);
		begun += s.begun;
		ended += s.ended;
		if (s.begun != s.ended)
			fail_msg("seed %u: %zu requests, %zu ends", round, s.begun, s.ended);
	}
	assert_true(begun > ROUNDS && ended == begun);
}

/* ---- http_client ---- */

#define SWITCH                                                                              \
	"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n" \
	"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static const char *const answers[] = {
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n186a0\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end",
    "HTTP/1.1 100 Continue\r\n\r\n",
    SWITCH,
    "\r\n",
};

enum talk { TALK_IDLE, TALK_SENDING, TALK_WAITING, TALK_RAW, TALK_DEAD, TALK_CLOSED };

struct caller {
	struct http_client *client;
	enum talk talk;
	bool headed, paused, eof, upgrade, closing, inside, closed;
	size_t begun, ended;
};

static struct caller *caller(void *arg)
{
	struct caller *c = arg;
	CHECK(!c->inside && !c->closing && !c->closed);
	return c;
}

static bool in_flight(const struct caller *c)
{
	return c->talk == TALK_SENDING || c->talk == TALK_WAITING;
}

static void caller_step(struct caller *c)
{
	struct slice b = some_bytes();
	unsigned what = dice(10);
	bool chunked = dice(2) == 0;
	if (c->closing) {
		return;
	} else if (what == 0 && dice(20) == 0) {
		http_client_close(c->client);
		c->closing = true;
	} else if (c->talk == TALK_IDLE && what < 5) {
		c->upgrade = dice(4) == 0;
		bool has_body = !c->upgrade && chunked;
		http_client_request(c->client, SLICE_LIT("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), false, c->upgrade,
				    has_body, chunked);
		c->talk = has_body ? TALK_SENDING : TALK_WAITING;
		c->headed = c->paused = false;
		c->begun++;
	} else if (c->talk == TALK_SENDING && what < 6) {
		bool fin = dice(3) == 0;
		http_client_body(c->client, b, fin);
		c->talk = fin ? TALK_WAITING : TALK_SENDING;
	} else if (what == 7 && (in_flight(c) || c->talk == TALK_RAW)) {
		c->paused = !c->paused;
		http_client_pause(c->client, c->paused);
	} else if (c->talk == TALK_RAW && what < 5) {
		http_client_raw(c->client, b);
	} else if (c->talk == TALK_RAW && what == 5) {
		http_client_raw_shutdown(c->client);
	}
}

static void client_head(void *arg, const struct http_head *h)
{
	struct caller *c = caller(arg);
	CHECK(in_flight(c) && !c->headed && (!h->upgrade || c->upgrade));
	c->headed = true;
	if (h->upgrade) {
		c->talk = TALK_RAW;
		c->ended++;
	}
	if (dice(4) == 0)
		caller_step(c);
}

static void client_body(void *arg, struct slice s)
{
	struct caller *c = caller(arg);
	CHECK(in_flight(c) && c->headed && !c->paused && s.n > 0);
	if (dice(4) == 0)
		caller_step(c);
}

static void client_writable(void *arg)
{
	caller_step(caller(arg));
}

static void client_over(void *arg, enum http_client_why why, bool answered, bool reusable)
{
	struct caller *c = caller(arg);
	CHECK(in_flight(c) && (!reusable || (why == HTTP_CLIENT_DONE && c->talk == TALK_WAITING)));
	CHECK(answered || why == HTTP_CLIENT_CUT);
	CHECK(c->headed || why != HTTP_CLIENT_DONE);
	c->talk = reusable ? TALK_IDLE : TALK_DEAD;
	c->ended++;
	if (dice(2) == 0)
		caller_step(c);
}

static void client_raw(void *arg, struct slice s)
{
	struct caller *c = caller(arg);
	CHECK(c->talk == TALK_RAW && !c->paused && !c->eof && s.n > 0);
	if (dice(4) == 0)
		caller_step(c);
}

static void client_raw_eof(void *arg)
{
	struct caller *c = caller(arg);
	CHECK(c->talk == TALK_RAW && !c->eof);
	c->eof = true;
}

static void client_idle_closed(void *arg)
{
	struct caller *c = caller(arg);
	CHECK(c->talk == TALK_IDLE);
	c->talk = TALK_DEAD;
}

static void client_closed(void *arg)
{
	struct caller *c = arg;
	CHECK(!c->inside && c->closing && !c->closed);
	c->closed = true;
}

static const struct http_client_events client_events = {client_head, client_body,    client_writable,    client_over,
							client_raw,  client_raw_eof, client_idle_closed, client_closed};

static void test_any_worker_and_any_owner(void **state)
{
	(void)state;
	size_t begun = 0, reused = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct caller c = {.talk = TALK_IDLE};
		struct io_peer peer;
		int fds[2];
		seed = round;
		struct loop *l = io_loop_open();
		io_pair(dice(2) == 0 ? IO_PAIR_TCP : IO_PAIR_UNIX, fds);
		io_peer_open(&peer, fds[1]);
		assert_int_equal(http_client_open(l, fds[0], &client_events, &c, &c.client), 0);
		for (int step = 0; step < STEPS && !c.closing && c.talk != TALK_DEAD; step++) {
			if (c.begun > 0 && c.talk != TALK_IDLE && dice(3) == 0)
				peer_step(&peer, answers, ARRAY_SIZE(answers));
			c.inside = true;
			caller_step(&c);
			c.inside = false;
			io_loop_turn(l, 0);
		}
		bool cut_short = in_flight(&c);
		if (!c.closing)
			http_client_close(c.client);
		c.closing = true;
		IO_UNTIL(l, c.closed);
		io_loop_done(l);
		io_peer_done(&peer);
		begun += c.begun;
		reused += c.begun > 1;
		if (c.begun != c.ended + (cut_short ? 1 : 0))
			fail_msg("seed %u: %zu requests, %zu ends", round, c.begun, c.ended);
	}
	assert_true(begun > ROUNDS && reused > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_any_client_and_any_user),
	    cmocka_unit_test(test_any_worker_and_any_owner),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
