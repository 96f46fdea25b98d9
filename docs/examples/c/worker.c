/*
 * A minimal worker in C: one thread, epoll, keep-alive, pipelining, nothing allocated per request.
 *
 *     cc -std=c11 -O2 -o worker worker.c
 *     rivet-runnerd --foreground --actor c -- ./worker
 *
 * Every request is answered with the same 128 bytes, once its body has been read and dropped.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTEN_FD 3 /* the first descriptor of the LISTEN_FDS protocol */
#define HEAD_MAX (64 * 1024)
#define EVENTS_MAX 64

#define HEAD_200 "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n"
#define LINE_32 "Hello from a durable actor in C\n"

static const char ok_head[] = HEAD_200;
static const char ok[] = HEAD_200 LINE_32 LINE_32 LINE_32 LINE_32;
static const char not_found[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
static const char length_required[] = "HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

struct connection {
	int fd;
	bool last; /* the connection ends after this answer */
	bool answering;
	size_t start, end;       /* the unread bytes in buffer */
	unsigned long body_left; /* of this request, still to be dropped */
	const char *answer;      /* what is left of it to be sent */
	size_t answer_left;
	char buffer[HEAD_MAX];
};

static int epoll_fd;

static void watch(struct connection *c, int how, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = c};

	if (epoll_ctl(epoll_fd, how, c ? c->fd : LISTEN_FD, &event) < 0) {
		perror("epoll_ctl");
		exit(1);
	}
}

static void set_answer(struct connection *c, const char *text, size_t size)
{
	c->answering = true;
	c->answer = text;
	c->answer_left = size - 1;
}

/* The value of a header line, or NULL if the line has another name. */
static const char *value_of(const char *line, const char *name)
{
	size_t size = strlen(name);

	if (strncasecmp(line, name, size) != 0 || line[size] != ':')
		return NULL;
	line += size + 1;
	return line + strspn(line, " \t");
}

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : NULL;
}

/* Takes one head, which ends in an empty line, out of the buffer. */
static void take_head(struct connection *c, char *head, char *end)
{
	const char *value, *path;

	end[2] = '\0'; /* every line, the last one too, now ends in CR LF */
	path = strchr(head, ' ');
	c->start = (size_t)(end + 4 - c->buffer);
	if (path && strncmp(path, " /.rivet/", 9) == 0)
		set_answer(c, not_found, sizeof not_found); /* this worker needs no life cycle call */
	else if (strncmp(head, "HEAD ", 5) == 0)
		set_answer(c, ok_head, sizeof ok_head);
	else
		set_answer(c, ok, sizeof ok);

	for (const char *line = next_line(head); line; line = next_line(line)) {
		if ((value = value_of(line, "Content-Length"))) {
			c->body_left = strtoul(value, NULL, 10);
		} else if ((value = value_of(line, "Connection"))) {
			c->last = c->last || strncasecmp(value, "close", 5) == 0;
		} else if (value_of(line, "Transfer-Encoding")) {
			set_answer(c, length_required, sizeof length_required);
			c->last = true;
		}
	}
}

/* Goes through what was read. True: wait for more; false: the connection is over. */
static bool advance(struct connection *c)
{
	for (;;) {
		size_t unread = c->end - c->start;
		size_t drop = unread < c->body_left ? unread : (size_t)c->body_left;
		char *head, *end;

		c->start += drop;
		c->body_left -= drop;
		if (c->body_left)
			return true;
		if (c->answering) {
			ssize_t n = send(c->fd, c->answer, c->answer_left, MSG_NOSIGNAL);

			if (n < 0)
				return errno == EAGAIN;
			c->answer += n;
			c->answer_left -= (size_t)n;
			if (c->answer_left)
				continue;
			c->answering = false;
			if (c->last)
				return false;
		}
		head = c->buffer + c->start;
		end = memmem(head, c->end - c->start, "\r\n\r\n", 4);
		if (!end)
			return c->end - c->start < HEAD_MAX;
		take_head(c, head, end);
	}
}

static bool receive(struct connection *c)
{
	ssize_t n;

	memmove(c->buffer, c->buffer + c->start, c->end - c->start);
	c->end -= c->start;
	c->start = 0;
	n = recv(c->fd, c->buffer + c->end, HEAD_MAX - c->end, 0);
	if (n < 0)
		return errno == EAGAIN;
	c->end += (size_t)n;
	return n > 0;
}

static void on_connection(struct connection *c, uint32_t events)
{
	bool blocked = events & EPOLLOUT;
	bool open = (blocked || receive(c)) && advance(c);

	if (!open) {
		close(c->fd);
		free(c);
		return;
	}
	if (blocked != (c->answering && !c->body_left))
		watch(c, EPOLL_CTL_MOD, blocked ? EPOLLIN : EPOLLOUT);
}

static void on_listener(void)
{
	int fd = accept4(LISTEN_FD, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct connection *c;

	if (fd < 0)
		return;
	c = calloc(1, sizeof *c);
	if (!c) {
		close(fd);
		return;
	}
	c->fd = fd;
	watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

int main(void)
{
	const char *pid = getenv("LISTEN_PID");

	if (!pid || strtol(pid, NULL, 10) != getpid()) {
		fprintf(stderr, "this program is started by rivet-runnerd, which hands it its socket\n");
		return 1;
	}
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch(NULL, EPOLL_CTL_ADD, EPOLLIN);
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_connection(events[i].data.ptr, events[i].events);
			else
				on_listener();
		}
	}
}
