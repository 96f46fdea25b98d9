/* Owns one uv handle, its descriptor and the bytes on their way out.
 *
 * Writing: the kernel first, straight from the caller's memory; what it does
 * not take is copied to `waiting`. One uv write at a time is in flight, from
 * `flying`, which stays put meanwhile; at its end the two change places. So a
 * byte is copied at most once and nothing is allocated while the peer keeps up.
 *
 * Failures: an error of a write makes the stream deaf: no more bytes go out,
 * what the peer sent before it left is still read, then `failed`. Without
 * reading, for an error of a read, and when the queue's bound is hit, `failed`
 * is posted at once. The adopter then closes. Closing drops the queue; flushing closes when the queue
 * is empty, has failed or the time is over. */
#include "io/stream.h"

#include "base/limits.h"
#include "io/loop_private.h"
#include "io/timer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#define STREAM_MAGIC 0x7374726du

enum stream_state {
	STREAM_CONNECTING,
	STREAM_OPEN,
	STREAM_DEAF,   /* the peer takes nothing more; reading to the end of what it sent */
	STREAM_FAILED, /* `failed` is posted or told; waits for stream_close */
	STREAM_FLUSHING,
	STREAM_ENDING, /* uv_close was called */
};

enum shut { SHUT_NOT, SHUT_ASKED, SHUT_SENT };

struct stream {
	uint32_t magic;
	uint8_t state;     /* enum stream_state */
	uint8_t shut;      /* enum shut */
	uint8_t n_handles; /* open uv handles: 0 or 1 */
	bool reading;      /* the adopter wants data */
	bool at_eof;       /* the peer's FIN has come */
	bool over_high;    /* drained() is owed */
	int fd;
	int why; /* of the failure */
	struct loop *loop;
	union {
		uv_handle_t base;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	} handle;
	uv_write_t write_req;
	uv_connect_t connect_req;
	struct buf flying;  /* owned by write_req until its callback */
	struct buf waiting; /* behind it */
	struct loop_task report;
	struct timer flush;
	void (*connected)(void *arg, int why); /* NULL once told */
	const struct stream_events *events;    /* NULL: nobody is to be told */
	void *arg;
};

/* ---- failing and closing ---- */

static void on_report(void *arg)
{
	struct stream *s = CAST(struct stream, arg, STREAM_MAGIC);
	void (*connected)(void *arg, int why) = TAKE(s->connected);
	if (connected != NULL)
		connected(s->arg, s->why);
	else
		s->events->failed(s->arg, s->why);
}

static void fail(struct stream *s, int why)
{
	s->state = STREAM_FAILED;
	s->why = why;
	uv_read_stop(&s->handle.stream);
	buf_done(&s->waiting);
	loop_post(s->loop, &s->report);
}

static void writing_failed(struct stream *s, int why)
{
	buf_done(&s->waiting);
	if (s->state == STREAM_FLUSHING) {
		stream_close(s);
	} else if (s->state == STREAM_OPEN && s->reading && !s->at_eof) {
		s->state = STREAM_DEAF;
		s->why = why;
	} else {
		fail(s, why);
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct stream *s = CAST(struct stream, handle->data, STREAM_MAGIC);
	const struct stream_events *events = s->events;
	void *arg = s->arg;
	loop_handle_closed(s->loop);
	s->n_handles--;
	CHECK(s->n_handles == 0);
	buf_done(&s->flying);
	buf_done(&s->waiting);
	s->magic = 0;
	mem_free(s);
	if (events != NULL)
		events->closed(arg);
}

void stream_close(struct stream *s)
{
	if (s->state == STREAM_ENDING)
		return;
	s->state = STREAM_ENDING;
	loop_cancel(&s->report);
	timer_disarm(&s->flush);
	uv_close(&s->handle.base, on_handle_closed);
}

static void on_flush_timeout(void *arg)
{
	stream_close(CAST(struct stream, arg, STREAM_MAGIC));
}

void stream_close_flushed(struct stream *s, int64_t flush_ms)
{
	if (s->state != STREAM_OPEN || stream_queued(s) == 0) {
		if (s->state != STREAM_FLUSHING)
			stream_close(s);
		return;
	}
	s->state = STREAM_FLUSHING;
	uv_read_stop(&s->handle.stream);
	timer_arm(&s->flush, flush_ms);
}

void stream_abort(struct stream *s)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};
	if (s->state != STREAM_ENDING)
		(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* Unix sockets have no reset */
	stream_close(s);
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct stream *s = CAST(struct stream, handle->data, STREAM_MAGIC);
	(void)suggested;
	*buf = uv_buf_init((char *)loop_read_buffer(s->loop), LIMIT_STREAM_READ_BYTES);
}

static void on_read(uv_stream_t *handle, ssize_t n, const uv_buf_t *buf)
{
	struct stream *s = CAST(struct stream, handle->data, STREAM_MAGIC);
	if (n == 0)
		return; /* nothing there after all */
	if (n > 0) {
		s->events->data(s->arg, slice_of(buf->base, (size_t)n));
		return;
	}
	if (s->state == STREAM_DEAF) {
		fail(s, s->why);
	} else if (n == UV_EOF) {
		s->at_eof = true;
		s->events->eof(s->arg);
	} else {
		fail(s, (int)n);
	}
}

static void reading_apply(struct stream *s)
{
	if (s->at_eof || (s->state != STREAM_OPEN && s->state != STREAM_DEAF))
		return;
	if (s->reading)
		CHECK(uv_read_start(&s->handle.stream, on_alloc, on_read) == 0);
	else
		uv_read_stop(&s->handle.stream);
}

void stream_read_start(struct stream *s)
{
	if (s->reading)
		return;
	s->reading = true;
	reading_apply(s);
}

void stream_read_stop(struct stream *s)
{
	if (!s->reading)
		return;
	s->reading = false;
	reading_apply(s);
	if (s->state == STREAM_DEAF)
		fail(s, s->why);
}

/* ---- writing ---- */

static void on_written(uv_write_t *req, int status);

static void launch(struct stream *s)
{
	struct buf empty = s->flying;
	s->flying = s->waiting;
	s->waiting = empty;
	uv_buf_t b = uv_buf_init((char *)s->flying.mem + s->flying.at, (unsigned)buf_len(&s->flying));
	int r = uv_write(&s->write_req, &s->handle.stream, &b, 1, on_written);
	if (r < 0) {
		buf_done(&s->flying);
		writing_failed(s, r);
	}
}

static void send_fin(struct stream *s)
{
	s->shut = SHUT_SENT;
	(void)shutdown(s->fd, SHUT_WR); /* fails only when the peer is gone already */
}

static void on_written(uv_write_t *req, int status)
{
	struct stream *s = CAST(struct stream, req->data, STREAM_MAGIC);
	if (s->state == STREAM_ENDING)
		return;
	buf_drop(&s->flying, buf_len(&s->flying));
	if (s->state == STREAM_FAILED)
		return;
	if (status < 0) {
		writing_failed(s, status);
		return;
	}
	if (buf_len(&s->waiting) > 0) {
		launch(s);
	} else if (s->state == STREAM_FLUSHING) {
		stream_close(s);
		return;
	} else if (s->shut == SHUT_ASKED) {
		send_fin(s);
	}
	if (s->state == STREAM_OPEN && s->over_high && stream_queued(s) < LIMIT_STREAM_QUEUE_LOW) {
		s->over_high = false;
		s->events->drained(s->arg);
	}
}

/* Bytes the kernel took, or -errno. A socket's own calls are shorter ways than write(2) and writev(2). */
static ssize_t write_now(struct stream *s, const struct slice *parts, size_t n)
{
	struct iovec bufs[STREAM_PARTS_MAX];
	struct msghdr message = {.msg_iov = bufs};
	ssize_t r;
	for (size_t i = 0; i < n; i++) {
		if (parts[i].n > 0)
			bufs[message.msg_iovlen++] = (struct iovec){(void *)(uintptr_t)parts[i].p, parts[i].n};
	}
	do
		r = message.msg_iovlen == 1
			? send(s->fd, bufs[0].iov_base, bufs[0].iov_len, MSG_DONTWAIT | MSG_NOSIGNAL)
			: sendmsg(s->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return r;
	return errno == EAGAIN || errno == ENOBUFS ? 0 : -errno;
}

int stream_writev(struct stream *s, const struct slice *parts, size_t n)
{
	CHECK(n <= STREAM_PARTS_MAX);
	size_t total = 0, queued = stream_queued(s);
	for (size_t i = 0; i < n; i++)
		total += parts[i].n;
	if (s->state > STREAM_OPEN || s->shut != SHUT_NOT)
		return STREAM_CLOSING;
	if (total == 0)
		return 0;
	if (total > LIMIT_STREAM_QUEUE_MAX - queued) {
		fail(s, -ENOBUFS);
		return STREAM_FULL;
	}

	ssize_t done = 0;
	if (queued == 0 && buf_len(&s->flying) == 0 && s->state == STREAM_OPEN) {
		done = write_now(s, parts, n);
		if (done < 0) {
			writing_failed(s, (int)done);
			return STREAM_CLOSING;
		}
		if ((size_t)done == total)
			return 0;
	}
	size_t skip = (size_t)done;
	for (size_t i = 0; i < n; i++) {
		size_t from = skip < parts[i].n ? skip : parts[i].n;
		buf_add(&s->waiting, slice_from(parts[i], from));
		skip -= from;
	}
	CHECK(!s->waiting.over);
	if (buf_len(&s->flying) == 0 && s->state == STREAM_OPEN)
		launch(s);
	if (stream_queued(s) > LIMIT_STREAM_QUEUE_HIGH)
		s->over_high = true;
	return 0;
}

int stream_write(struct stream *s, struct slice bytes)
{
	return stream_writev(s, &bytes, 1);
}

int stream_write2(struct stream *s, struct slice a, struct slice b)
{
	const struct slice parts[2] = {a, b};
	return stream_writev(s, parts, 2);
}

size_t stream_queued(const struct stream *s)
{
	return uv_stream_get_write_queue_size(&s->handle.stream) + buf_len(&s->waiting);
}

void stream_ack(struct stream *s)
{
	int on = 1;
	if (s->state != STREAM_ENDING && s->handle.base.type == UV_TCP)
		(void)setsockopt(s->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on)); /* a peer that left needs none */
}

bool stream_sure(const struct stream *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};
	return s->state == STREAM_OPEN && s->shut == SHUT_NOT && stream_queued(s) == 0 && buf_len(&s->flying) == 0 &&
	       poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

void stream_shutdown(struct stream *s)
{
	if (s->state > STREAM_OPEN || s->shut != SHUT_NOT)
		return;
	s->shut = SHUT_ASKED;
	if (s->state == STREAM_OPEN && buf_len(&s->flying) == 0)
		send_fin(s);
}

/* ---- opening ---- */

static struct stream *stream_new(struct loop *l, const struct stream_events *events, void *arg)
{
	struct stream *s = mem_zalloc(sizeof(*s));
	s->magic = STREAM_MAGIC;
	s->fd = -1;
	s->loop = l;
	s->events = events;
	s->arg = arg;
	s->write_req.data = s;
	s->connect_req.data = s;
	buf_init(&s->flying, LIMIT_STREAM_QUEUE_MAX);
	buf_init(&s->waiting, LIMIT_STREAM_QUEUE_MAX);
	loop_task_init(&s->report, on_report, s);
	timer_init(&s->flush, l, on_flush_timeout, s);
	return s;
}

static void count_handle(struct stream *s)
{
	s->handle.base.data = s;
	s->n_handles++;
	loop_handle_opened(s->loop);
}

int stream_open(struct loop *l, int fd, const struct stream_events *events, void *arg, struct stream **ret)
{
	int domain = 0;
	socklen_t len = sizeof(domain);
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return -errno;
	bool is_unix = domain == AF_UNIX;
	struct stream *s = stream_new(l, events, arg);
	int r = is_unix ? uv_pipe_init(loop_uv(l), &s->handle.pipe, 0) : uv_tcp_init(loop_uv(l), &s->handle.tcp);
	CHECK(r == 0); /* neither makes a socket yet */
	count_handle(s);
	r = is_unix ? uv_pipe_open(&s->handle.pipe, fd) : uv_tcp_open(&s->handle.tcp, fd);
	if (r < 0) {
		s->events = NULL;
		stream_close(s);
		return r;
	}
	s->fd = fd;
	s->state = STREAM_OPEN;
	if (!is_unix)
		(void)uv_tcp_nodelay(&s->handle.tcp, 1); /* fails when the peer left: reading will tell */
	*ret = s;
	return 0;
}

static void on_connected(uv_connect_t *req, int status)
{
	struct stream *s = CAST(struct stream, req->data, STREAM_MAGIC);
	if (s->state != STREAM_CONNECTING)
		return;
	if (status < 0) {
		fail(s, status);
		return;
	}
	CHECK(uv_fileno(&s->handle.base, &s->fd) == 0);
	s->state = STREAM_OPEN;
	(void)uv_tcp_nodelay(&s->handle.tcp, 1);
	reading_apply(s);
	if (buf_len(&s->waiting) > 0)
		launch(s);
	else if (s->shut == SHUT_ASKED)
		send_fin(s);
	void (*connected)(void *arg, int why) = TAKE(s->connected);
	connected(s->arg, 0);
}

int stream_connect_tcp(struct loop *l, const char *address, uint16_t port, void (*connected)(void *arg, int why),
		       const struct stream_events *events, void *arg, struct stream **ret)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to;
	if (uv_ip4_addr(address, port, &to.v4) < 0 && uv_ip6_addr(address, port, &to.v6) < 0)
		return -EINVAL;
	struct stream *s = stream_new(l, events, arg);
	CHECK(uv_tcp_init(loop_uv(l), &s->handle.tcp) == 0);
	count_handle(s);
	s->state = STREAM_CONNECTING;
	s->connected = connected;
	int r = uv_tcp_connect(&s->connect_req, &s->handle.tcp, &to.any, on_connected);
	if (r < 0)
		fail(s, r);
	*ret = s;
	return 0;
}

void stream_peer(const struct stream *s, char ret[64])
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un un;
	} peer;
	socklen_t len = sizeof(peer);
	snprintf(ret, 64, "unknown");
	if (s->state == STREAM_ENDING || getpeername(s->fd, &peer.any, &len) < 0)
		return;
	if (peer.any.sa_family == AF_UNIX)
		snprintf(ret, 64, "unix");
	else if (peer.any.sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &peer.v4.sin_addr, ret, 64);
	else if (peer.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer.v6.sin6_addr))
		(void)inet_ntop(AF_INET, &peer.v6.sin6_addr.s6_addr[12], ret, 64);
	else if (peer.any.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &peer.v6.sin6_addr, ret, 64);
}
