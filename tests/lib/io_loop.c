/* Owns nothing beyond a call. The waits are turns of the loop with a short
 * timer, so that a condition outside of the loop is looked at too. */
#include "lib/io_loop.h"

#include "io/timer.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUARD_MS 3000
#define GOT_MAX ((size_t)256 * 1024 * 1024)

struct loop *io_loop_open(void)
{
	struct loop *l;
	CHECK(loop_open(&l) == 0);
	return l;
}

static void on_guard(void *arg)
{
	loop_stop(arg);
}

static void on_wait_over(void *arg)
{
	(void)arg;
}

void io_loop_done(struct loop *l)
{
	struct buf report;
	struct timer guard;
	loop_freeze(l, false);
	timer_init(&guard, l, on_guard, l);
	timer_arm(&guard, GUARD_MS);
	loop_stop(l);
	loop_run(l);
	timer_disarm(&guard);
	buf_init(&report, 4096);
	if (loop_close(l, &report) != 0)
		check_failed(__FILE__, __LINE__, buf_text(&report));
	buf_done(&report);
}

void io_loop_turn(struct loop *l, int wait_ms)
{
	struct timer wait;
	timer_init(&wait, l, on_wait_over, NULL);
	timer_arm(&wait, wait_ms);
	loop_turn(l);
	timer_disarm(&wait);
}

void io_loop_settle(struct loop *l)
{
	for (int i = 0; i < 20; i++)
		io_loop_turn(l, 1);
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int ls = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(ls >= 0 && bind(ls, (struct sockaddr *)&at, len) == 0 && listen(ls, 1) == 0);
	CHECK(getsockname(ls, (struct sockaddr *)&at, &len) == 0);
	fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(fds[1] >= 0 && connect(fds[1], (struct sockaddr *)&at, len) == 0);
	fds[0] = accept4(ls, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	CHECK(fds[0] >= 0);
	CHECK(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	close(ls);
}

void io_pair(enum io_pair kind, int fds[2])
{
	int type = kind == IO_PAIR_RECORDS ? SOCK_SEQPACKET : SOCK_STREAM;
	if (kind == IO_PAIR_TCP)
		tcp_pair(fds);
	else
		CHECK(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
}

void io_peer_open(struct io_peer *p, int fd)
{
	*p = (struct io_peer){.fd = fd};
	buf_init(&p->got, GOT_MAX);
}

void io_peer_done(struct io_peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	buf_done(&p->got);
}

void io_peer_send(struct io_peer *p, const char *text)
{
	CHECK(send(p->fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

void io_peer_read(struct io_peer *p)
{
	while (!p->eof && p->error == 0) {
		ssize_t n = read(p->fd, buf_reserve(&p->got, 65536), 65536);
		if (n > 0) {
			buf_claim(&p->got, (size_t)n);
			p->records++;
		} else if (n == 0) {
			p->eof = true;
		} else if (errno == EAGAIN) {
			return;
		} else {
			p->error = errno;
		}
	}
}

bool io_peer_has(struct io_peer *p, const char *text)
{
	io_peer_read(p);
	struct slice s = buf_slice(&p->got);
	return s.n > 0 && memmem(s.p, s.n, text, strlen(text)) != NULL;
}

bool io_peer_ends(struct io_peer *p, const char *text)
{
	io_peer_read(p);
	struct slice s = buf_slice(&p->got);
	size_t n = strlen(text);
	return s.n >= n && memcmp(s.p + s.n - n, text, n) == 0;
}

bool io_peer_over(struct io_peer *p)
{
	io_peer_read(p);
	return p->eof || p->error != 0;
}

const char *io_peer_text(struct io_peer *p)
{
	io_peer_read(p);
	return buf_text(&p->got);
}

void io_peer_forget(struct io_peer *p)
{
	buf_reset(&p->got);
	p->records = 0;
}
