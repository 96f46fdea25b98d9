/* Makes one connection to a worker.
 *
 * A Unix socket is opened as a path first, without following a link, so that
 * what is checked (a socket, of the worker's user or ours) is what is connected
 * to, through its name in /proc. The peer's user is checked after: a program
 * that listens again on the descriptor it was given appears as itself.
 *
 * Connecting to a Unix socket is immediate or EAGAIN, with nothing to wait for.
 * TCP on the loopback is immediate too, but for a full backlog: then the
 * descriptor waits in the worker and is looked at again. */
#include "worker/worker_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool may_be_its(const struct worker *w, uid_t uid)
{
	return uid == geteuid() || (w->type->set_user && uid == w->type->uid);
}

/* The socket's file held open, or -errno. */
static int open_path(const struct worker *w)
{
	struct stat st;
	int fd = open(w->sockets.http, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && may_be_its(w, st.st_uid))
		return fd;
	close(fd);
	return -EPERM;
}

static int check_peer(const struct worker *w, int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	return may_be_its(w, peer.uid) ? 0 : -EPERM;
}

static int connect_unix(const struct worker *w, int *ret_fd)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int path_fd = open_path(w);
	if (path_fd < 0)
		return path_fd;
	snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d", path_fd);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int r = fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : check_peer(w, fd);
	close(path_fd);
	if (r == 0) {
		*ret_fd = fd;
		return 0;
	}
	if (fd >= 0)
		close(fd);
	return r == -EAGAIN ? WORKER_AGAIN : r;
}

/* How the connection under way stands. */
static int look_pending(struct worker *w, int *ret_fd)
{
	struct pollfd at = {.fd = w->pending_fd, .events = POLLOUT};
	int failure = 0;
	socklen_t len = sizeof(failure);
	if (poll(&at, 1, 0) == 0)
		return WORKER_AGAIN;
	if (getsockopt(w->pending_fd, SOL_SOCKET, SO_ERROR, &failure, &len) < 0)
		failure = errno;
	if (failure != 0) {
		worker_connect_abandon(w);
		return -failure;
	}
	*ret_fd = w->pending_fd;
	w->pending_fd = -1;
	return 0;
}

static int connect_tcp(struct worker *w, int *ret_fd)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(w->sockets.port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	if (w->pending_fd >= 0)
		return look_pending(w, ret_fd);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0) {
		*ret_fd = fd;
		return 0;
	}
	if (errno != EINPROGRESS) {
		int r = -errno;
		close(fd);
		return r;
	}
	w->pending_fd = fd;
	return look_pending(w, ret_fd);
}

int worker_connect(struct worker *w, int *ret_fd)
{
	if (w->state >= WORKER_EXITED)
		return -ECONNREFUSED;
	return w->type->serve == SERVE_TCP ? connect_tcp(w, ret_fd) : connect_unix(w, ret_fd);
}

void worker_connect_abandon(struct worker *w)
{
	if (w->pending_fd >= 0)
		close(w->pending_fd);
	w->pending_fd = -1;
}
