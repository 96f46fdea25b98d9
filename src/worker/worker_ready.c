/* Finds out when a worker that was started is ready.
 *
 * serve: fd with ready: accept has nothing to find out: the answer to the start
 * call is the sign. Else the first connection is, or READY=1 from the worker's
 * process group on the notify socket, or a 2xx to the health path. Connections
 * and health checks are tried again and again at growing intervals; the seats'
 * own time-outs end that. */
#include "worker/worker_private.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define POLL_FIRST_MS 5
#define POLL_CONNECT_MAX_MS 50
#define POLL_HEALTH_MAX_MS 200

static struct worker *worker_of(void *arg)
{
	return CAST(struct worker, arg, WORKER_MAGIC);
}

static void poll_later(struct worker *w)
{
	int64_t max_ms = w->type->ready == READY_PATH ? POLL_HEALTH_MAX_MS : POLL_CONNECT_MAX_MS;
	timer_arm(&w->poll, w->poll_ms);
	w->poll_ms = w->poll_ms * 2 > max_ms ? max_ms : w->poll_ms * 2;
}

/* ---- the first connection ---- */

static void try_connect(struct worker *w)
{
	struct worker_conn *c;
	int r = worker_conns_take(w, false, &c);
	if (r == 0) {
		worker_conn_release(c, true);
		worker_is_ready(w);
	} else if (r == -EPERM) {
		worker_fail(w, START_PROTOCOL, mem_printf("the socket %s is not the worker's own", w->sockets.http));
	} else {
		poll_later(w);
	}
}

/* ---- the health path ---- */

static void ask_health(struct worker *w)
{
	worker_call_write(&w->health, "GET", w->type->ready_path, NULL, SLICE_NONE, SLICE_NONE);
	worker_call_send(&w->health, w, -1);
}

static void on_health(struct worker_call *c, enum worker_call_outcome outcome)
{
	struct worker *w = worker_of(c->arg);
	if (w->state != WORKER_STARTING)
		return;
	if (outcome == CALL_ANSWERED && c->status >= 200 && c->status <= 299)
		worker_is_ready(w);
	else if (outcome == CALL_UNREACHABLE && c->failure == -EPERM)
		worker_fail(w, START_PROTOCOL, mem_printf("the socket %s is not the worker's own", w->sockets.http));
	else
		poll_later(w);
}

static void on_poll(void *arg)
{
	struct worker *w = worker_of(arg);
	if (w->state != WORKER_STARTING)
		return;
	if (w->type->ready == READY_PATH)
		ask_health(w);
	else
		try_connect(w);
}

/* ---- READY=1 ---- */

static bool is_of_group(const struct worker *w, int32_t pid)
{
	return pid == w->pid || (pid > 0 && getpgid(pid) == w->pid);
}

static bool says_ready(struct slice text)
{
	while (text.n > 0) {
		size_t end = slice_find(text, '\n');
		if (slice_is(slice_head(text, end), "READY=1"))
			return true;
		text = slice_from(text, end < text.n ? end + 1 : end);
	}
	return false;
}

/* One datagram; false when there is none. *ret_ready when it is the word from the right one. */
static bool read_notice(struct worker *w, bool *ret_ready)
{
	char text[4096];
	/* Room for the credentials alone: descriptors that come along are dropped by the kernel. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = {.iov_base = text, .iov_len = sizeof(text)};
	struct msghdr m = {
	    .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(w->sockets.notify_fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return false;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct ucred from;
	if (c == NULL || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS ||
	    c->cmsg_len != CMSG_LEN(sizeof(from)))
		return true;
	memcpy(&from, CMSG_DATA(c), sizeof(from));
	*ret_ready = is_of_group(w, from.pid) && says_ready(slice_of(text, (size_t)n));
	return true;
}

static void on_notice(void *arg)
{
	struct worker *w = worker_of(arg);
	bool ready = false;
	for (int i = 0; i < 16 && !ready && read_notice(w, &ready); i++)
		;
	if (ready && w->state == WORKER_STARTING)
		worker_is_ready(w);
}

static void on_notify_closed(void *arg)
{
	struct worker *w = worker_of(arg);
	w->notify = NULL;
	worker_look(w);
}

/* ---- both ends ---- */

void worker_ready_init(struct worker *w)
{
	timer_init(&w->poll, w->pool->o.loop, on_poll, w);
	worker_call_init(&w->health, w->pool->o.loop, on_health, w);
	w->poll_ms = POLL_FIRST_MS;
}

void worker_ready_begin(struct worker *w)
{
	if (w->type->ready == READY_NOTIFY) {
		int r = fd_watch_open(w->pool->o.loop, w->sockets.notify_fd, on_notice, w, &w->notify);
		if (r < 0)
			worker_fail(w, START_SPAWN, mem_printf("cannot watch %s: %s", w->sockets.notify, strerror(-r)));
	} else if (w->type->ready == READY_PATH || w->type->serve != SERVE_FD) {
		poll_later(w);
	}
}

void worker_ready_end(struct worker *w)
{
	timer_disarm(&w->poll);
	worker_call_cancel(&w->health);
	if (w->notify != NULL)
		fd_watch_close(w->notify, on_notify_closed, w);
}
