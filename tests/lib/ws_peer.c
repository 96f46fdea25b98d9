#include "lib/ws_peer.h"

#include "codec/http_head.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

void ws_peer_listen(struct ws_peer *p, struct loop *l, SSL_CTX *tls)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	*p = (struct ws_peer){.loop = l, .fd = -1, .tls = tls};
	buf_init(&p->got, 1024 * 1024);
	buf_init(&p->trace, 1024 * 1024);
	p->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	CHECK(p->listen_fd >= 0 && bind(p->listen_fd, (struct sockaddr *)&at, len) == 0);
	CHECK(listen(p->listen_fd, 8) == 0 && getsockname(p->listen_fd, (struct sockaddr *)&at, &len) == 0);
	p->port = ntohs(at.sin_port);
}

void ws_peer_drop(struct ws_peer *p, bool reset)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	SSL_free(p->ssl);
	p->ssl = NULL;
	if (p->fd >= 0) {
		if (reset)
			(void)setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(p->fd);
	}
	p->fd = -1;
	ws_reader_free(p->reader);
	p->reader = NULL;
	buf_reset(&p->got);
	p->over = p->broken = p->closing = false;
}

void ws_peer_done(struct ws_peer *p)
{
	ws_peer_drop(p, false);
	if (p->listen_fd >= 0)
		close(p->listen_fd);
	buf_done(&p->got);
	buf_done(&p->trace);
}

static bool try_accept(struct ws_peer *p)
{
	int on = 1;
	p->fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (p->fd >= 0) /* what was sent is on its way when the connection is dropped */
		CHECK(setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
	return p->fd >= 0;
}

void ws_peer_accept(struct ws_peer *p)
{
	CHECK(p->fd < 0);
	IO_UNTIL(p->loop, try_accept(p));
	if (p->tls == NULL)
		return;
	p->ssl = SSL_new(p->tls);
	CHECK(p->ssl != NULL && SSL_set_fd(p->ssl, p->fd) == 1);
	SSL_set_accept_state(p->ssl);
}

/* ---- frames ---- */

static void note(struct ws_peer *p, const char *what, struct slice s)
{
	buf_addf(&p->trace, "%s %.*s;", what, SLICE_FMT(s));
}

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct ws_peer *p = arg;
	p->n_messages++;
	p->message_bytes += payload.n;
	if (p->message != NULL)
		p->message(p, payload);
	else if (!p->quiet)
		note(p, binary ? "binary" : "text", payload);
}

static void on_ping(void *arg, struct slice payload)
{
	struct ws_peer *p = arg;
	if (!p->quiet)
		note(p, "ping", payload);
	if (!p->pongless)
		ws_peer_say(p, WS_PONG, payload);
}

static void on_pong(void *arg, struct slice payload)
{
	note(arg, "pong", payload);
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	struct ws_peer *p = arg;
	p->closing = true;
	buf_addf(&p->trace, "close %u %.*s;", code, SLICE_FMT(reason));
}

static const struct ws_reader_events reader_events = {on_message, on_ping, on_pong, on_close};

/* ---- bytes ---- */

/* > 0, 0 for the end, -1 for nothing there now. */
static ssize_t receive(struct ws_peer *p, uint8_t *to, size_t room)
{
	if (p->ssl == NULL) {
		ssize_t n = read(p->fd, to, room);
		return n >= 0 ? n : errno == EAGAIN ? -1 : 0;
	}
	int n = SSL_read(p->ssl, to, (int)room);
	if (n > 0)
		return n;
	return SSL_get_error(p->ssl, n) == SSL_ERROR_WANT_READ ? -1 : 0;
}

void ws_peer_read(struct ws_peer *p)
{
	static uint8_t in[65536];
	while (p->fd >= 0 && !p->over) {
		ssize_t n = receive(p, in, sizeof(in));
		if (n < 0)
			return;
		p->over = n == 0;
		if (p->reader == NULL)
			buf_add(&p->got, slice_of(in, (size_t)n));
		else if (ws_reader_feed(p->reader, slice_of(in, (size_t)n)) != 0)
			p->broken = true;
	}
}

static bool has_request(struct ws_peer *p)
{
	ws_peer_read(p);
	struct slice s = buf_slice(&p->got);
	return s.n >= 4 && memcmp(s.p + s.n - 4, "\r\n\r\n", 4) == 0;
}

void ws_peer_request(struct ws_peer *p)
{
	IO_UNTIL(p->loop, has_request(p));
}

/* The loop turns while the kernel takes nothing: the other side is in this process. */
void ws_peer_put(struct ws_peer *p, struct slice bytes)
{
	int64_t end_ms = clock_mono_ms() + 20000;
	for (size_t at = 0; at < bytes.n && !p->over && p->fd >= 0;) {
		struct slice rest = slice_from(bytes, at);
		if (p->ssl != NULL && rest.n > 16384)
			rest = slice_head(rest, 16384);
		ssize_t n =
		    p->ssl == NULL ? send(p->fd, rest.p, rest.n, MSG_NOSIGNAL) : SSL_write(p->ssl, rest.p, (int)rest.n);
		CHECK(clock_mono_ms() < end_ms);
		if (n > 0)
			at += (size_t)n;
		else if (p->ssl == NULL && errno != EAGAIN)
			return;
		else
			io_loop_turn(p->loop, 1);
	}
}

void ws_peer_answer(struct ws_peer *p, const char *fields)
{
	char accept[29];
	const char *name = "sec-websocket-key: ";
	struct slice s = buf_slice(&p->got);
	const uint8_t *key = memmem(s.p, s.n, name, strlen(name));
	CHECK(key != NULL);
	ws_accept(slice_of(key + strlen(name), 24), accept);
	struct buf b;
	buf_init(&b, 4096);
	buf_addf(&b, "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n");
	buf_addf(&b, "sec-websocket-accept: %s\r\n%s\r\n", accept, fields);
	p->reader = ws_reader_new(true, LIMIT_WS_ENGINE_MESSAGE_BYTES, &reader_events, p);
	ws_peer_put(p, buf_slice(&b));
	buf_done(&b);
}

void ws_peer_upgrade(struct ws_peer *p, const char *fields)
{
	ws_peer_accept(p);
	IO_UNTIL(p->loop, has_request(p) || p->over);
	while (p->over) {
		ws_peer_drop(p, false);
		ws_peer_accept(p);
		IO_UNTIL(p->loop, has_request(p) || p->over);
	}
	ws_peer_answer(p, fields);
}

void ws_peer_say(struct ws_peer *p, enum ws_opcode op, struct slice payload)
{
	struct buf b;
	buf_init(&b, payload.n + 64);
	ws_put_frame(&b, op, true, false, payload);
	ws_peer_put(p, buf_slice(&b));
	buf_done(&b);
}

void ws_peer_close(struct ws_peer *p, unsigned code, const char *reason)
{
	struct buf b;
	buf_init(&b, 256);
	ws_put_close(&b, code, slice_str(reason), false);
	ws_peer_put(p, buf_slice(&b));
	buf_done(&b);
}

const char *ws_peer_trace(struct ws_peer *p)
{
	ws_peer_read(p);
	return buf_text(&p->trace);
}
