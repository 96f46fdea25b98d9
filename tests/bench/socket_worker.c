/* A worker that opens every WebSocket it is asked for and lets it be. */
#include "codec/ws_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_FD 3
#define HEAD_MAX 8192
#define EVENTS_MAX 64

static int epoll_fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

static void say(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		die("send");
}

/* A head comes in one piece: nobody but the daemon sends any. */
static void on_connection(int fd)
{
	char head[HEAD_MAX], accept[29], answer[256];
	ssize_t n = recv(fd, head, sizeof(head) - 1, 0);
	if (n <= 0) {
		close(fd);
		return;
	}
	head[n] = '\0';
	const char *key = strcasestr(head, "\r\nsec-websocket-key:");
	if (key == NULL) {
		say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
		return;
	}
	key = strchr(key, ':') + 1;
	key += strspn(key, " ");
	ws_accept(slice_of(key, strcspn(key, " \r")), accept);
	snprintf(answer, sizeof(answer),
		 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		 "Sec-WebSocket-Accept: %s\r\n\r\n",
		 accept);
	say(fd, answer);
}

int main(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		die("getrlimit");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		die("setrlimit");
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch(LISTEN_FD);
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd != LISTEN_FD)
				on_connection(fd);
			else if ((fd = accept4(LISTEN_FD, NULL, NULL, SOCK_CLOEXEC)) >= 0)
				watch(fd);
		}
	}
}
