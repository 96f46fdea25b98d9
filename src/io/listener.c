/* Owns one uv handle on a listening descriptor and, for listener_open_tcp and
 * listener_open_fd alike, the descriptor itself.
 *
 * When connections wait they are accepted directly, a bounded number in a
 * turn. A connection that vanished meanwhile is skipped. Out of descriptors or
 * memory, accepting rests for a while instead of spinning on what cannot be
 * served; the clients wait in the backlog. Options of the connections are set
 * here, once: Linux copies them from the listening socket. */
#include "io/listener.h"

#include "io/loop_private.h"
#include "io/timer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define LISTENER_MAGIC 0x6c73746eu
#define ACCEPTS_PER_TURN 64 /* a flood of connections must not starve those that are served */
#define REST_MS 100         /* out of descriptors */
#define KEEP_ALIVE_S 60     /* a peer that vanished without a word is found within minutes */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;
};

struct listener {
	uint32_t magic;
	int fd;
	bool closing;
	bool paused;
	struct loop *loop;
	uv_poll_t handle;
	struct timer rest;
	const struct listener_events *events;
	void *arg;
};

static void on_poll(uv_poll_t *handle, int status, int events);

static void polling_apply(struct listener *ls)
{
	if (ls->paused || timer_armed(&ls->rest))
		CHECK(uv_poll_stop(&ls->handle) == 0);
	else
		CHECK(uv_poll_start(&ls->handle, UV_READABLE, on_poll) == 0);
}

static void on_rested(void *arg)
{
	polling_apply(CAST(struct listener, arg, LISTENER_MAGIC));
}

/* True: this one connection is lost, the next may be fine (accept(2), "Error handling"). */
static bool is_passing(int e)
{
	return e == EINTR || e == ECONNABORTED || e == EPROTO || e == EPERM || e == ENETDOWN || e == ENOPROTOOPT ||
	       e == EHOSTDOWN || e == ENONET || e == EHOSTUNREACH || e == EOPNOTSUPP || e == ENETUNREACH;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
	struct listener *ls = CAST(struct listener, handle->data, LISTENER_MAGIC);
	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_PER_TURN && !ls->closing && !ls->paused; i++) {
		int fd = accept4(ls->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			ls->events->accepted(ls->arg, fd);
		} else if (errno == EAGAIN) {
			return;
		} else if (!is_passing(errno)) {
			timer_arm(&ls->rest, REST_MS);
			polling_apply(ls);
			return;
		}
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct listener *ls = CAST(struct listener, handle->data, LISTENER_MAGIC);
	const struct listener_events *events = ls->events;
	void *arg = ls->arg;
	loop_handle_closed(ls->loop);
	close(ls->fd);
	ls->magic = 0;
	mem_free(ls);
	events->closed(arg);
}

void listener_close(struct listener *ls)
{
	if (ls->closing)
		return;
	ls->closing = true;
	timer_disarm(&ls->rest);
	uv_close((uv_handle_t *)&ls->handle, on_handle_closed);
}

void listener_pause(struct listener *ls, bool stop)
{
	if (ls->closing || ls->paused == stop)
		return;
	ls->paused = stop;
	polling_apply(ls);
}

int listener_open_fd(struct loop *l, int fd, const struct listener_events *events, void *arg, struct listener **ret)
{
	int listening = 0, domain = 0, on = 1, idle_s = KEEP_ALIVE_S;
	socklen_t len = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return -errno;
	if (listening == 0)
		return -EINVAL;
	if (domain != AF_UNIX) {
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	}
	struct listener *ls = mem_zalloc(sizeof(*ls));
	int r = uv_poll_init(loop_uv(l), &ls->handle, fd); /* makes it non-blocking */
	if (r < 0) {
		mem_free(ls);
		return r;
	}
	ls->magic = LISTENER_MAGIC;
	ls->fd = fd;
	ls->loop = l;
	ls->events = events;
	ls->arg = arg;
	ls->handle.data = ls;
	timer_init(&ls->rest, l, on_rested, ls);
	loop_handle_opened(l);
	polling_apply(ls);
	*ret = ls;
	return 0;
}

/* ---- addresses ---- */

static bool parse_port(const char *text, uint16_t *ret)
{
	unsigned v = 0;
	size_t n = strlen(text);
	if (n == 0 || n > 5)
		return false;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (unsigned)(*text - '0');
	}
	if (v > UINT16_MAX)
		return false;
	*ret = (uint16_t)v;
	return true;
}

/* The length of the address, or 0 when it is none. */
static socklen_t parse_address(const char *text, union address *ret)
{
	char host[64];
	uint16_t port = 0;
	const char *colon = strrchr(text, ':');
	if (colon == NULL || (size_t)(colon - text) >= sizeof(host) || !parse_port(colon + 1, &port))
		return 0;
	size_t n = (size_t)(colon - text);
	memcpy(host, text, n);
	host[n] = '\0';
	memset(ret, 0, sizeof(*ret));
	if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		return inet_pton(AF_INET6, host + 1, &ret->v6.sin6_addr) == 1 ? sizeof(ret->v6) : 0;
	}
	ret->v4.sin_family = AF_INET;
	ret->v4.sin_port = htons(port);
	const char *v4 = strcasecmp(host, "localhost") == 0 ? "127.0.0.1" : host;
	return inet_pton(AF_INET, v4, &ret->v4.sin_addr) == 1 ? sizeof(ret->v4) : 0;
}

static int fail_open(struct err *e, const char *address, int code_errno)
{
	const char *what = strerror(code_errno);
	if (code_errno == EADDRINUSE)
		what = "the port is in use; stop the program that listens there or choose another port";
	else if (code_errno == EACCES)
		what = "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE, choose a higher one";
	else if (code_errno == EADDRNOTAVAIL)
		what = "this machine has no such address";
	return err_set(e, code_errno, EXIT_CODE_FAILED, "cannot listen on %s: %s", address, what);
}

int listener_open_tcp(struct loop *l, const char *address, const struct listener_events *events, void *arg,
		      struct listener **ret, struct err *e)
{
	union address to;
	socklen_t len = parse_address(address, &to);
	if (len == 0)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "cannot listen on %s: want ADDR:PORT, [V6ADDR]:PORT or localhost:PORT", address);
	int fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0)
		return fail_open(e, address, errno);
	int r = 0;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, &to.any, len) < 0 || listen(fd, SOMAXCONN) < 0)
		r = -errno;
	else
		r = listener_open_fd(l, fd, events, arg, ret);
	if (r < 0) {
		close(fd);
		return fail_open(e, address, -r);
	}
	return 0;
}

int listener_fd(const struct listener *ls)
{
	return ls->fd;
}

void listener_address(const struct listener *ls, char ret[80])
{
	listener_fd_address(ls->fd, ret);
}

void listener_fd_address(int fd, char ret[80])
{
	union address at;
	char host[64] = "";
	socklen_t len = sizeof(at);
	if (getsockname(fd, &at.any, &len) < 0) {
		snprintf(ret, 80, "unknown");
		return;
	}
	if (at.any.sa_family == AF_INET) {
		(void)inet_ntop(AF_INET, &at.v4.sin_addr, host, sizeof(host));
		snprintf(ret, 80, "%s:%u", host, (unsigned)ntohs(at.v4.sin_port));
	} else if (at.any.sa_family == AF_INET6) {
		(void)inet_ntop(AF_INET6, &at.v6.sin6_addr, host, sizeof(host));
		snprintf(ret, 80, "[%s]:%u", host, (unsigned)ntohs(at.v6.sin6_port));
	} else {
		snprintf(ret, 80, "unix:%.70s", len > sizeof(sa_family_t) ? at.un.sun_path : "");
	}
}
