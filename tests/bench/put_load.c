/* A worker that loads the runtime API it is given. Asked with
 *
 *   GET /?connections=N&seconds=S
 *
 * it keeps one put of 128 bytes under way on each of N connections to
 * RIVET_RUNTIME_SOCKET for S seconds, and answers what it saw as JSON:
 *
 *   {"puts": n, "seconds": s, "p50_us": n, "p99_us": n}
 *
 * Anything unexpected from the daemon, and any answer but 204, is fatal: a
 * figure is only worth something if every put was acknowledged. One client at
 * a time, one request for each connection: what asks is a script. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_FD 3
#define VALUE_BYTES 128
#define KEYS 10000 /* as many as redis-benchmark is told to use */
#define CONNECTIONS_MAX 256
#define SECONDS_MAX 120
#define SAMPLES_MAX 20000000
#define HEAD_MAX 4096

struct connection {
	int fd;
	size_t got;
	int64_t sent_ns;
	char answer[HEAD_MAX];
};

static struct connection connections[CONNECTIONS_MAX];
static uint32_t *samples_us;
static size_t n_samples;
static uint32_t key_state = 1;
static int64_t until_ns;
static int busy;

static void die(const char *what)
{
	fprintf(stderr, "put_load: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected");
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void put(struct connection *c)
{
	char request[512];
	key_state = key_state * 1664525u + 1013904223u; /* the same keys in every run */
	int n = snprintf(request, sizeof(request),
			 "PUT /v1/actors/self/kv/key-%06u HTTP/1.1\r\nHost: runtime\r\nContent-Length: %d\r\n\r\n",
			 (key_state >> 8) % KEYS, VALUE_BYTES);
	memset(request + n, 'v', VALUE_BYTES);
	n += VALUE_BYTES;
	c->sent_ns = now_ns();
	c->got = 0;
	if (write(c->fd, request, (size_t)n) != n)
		die("write to the runtime socket");
}

/* True once the whole answer is there. A 204 has no body. */
static bool answered(struct connection *c)
{
	ssize_t n = read(c->fd, c->answer + c->got, sizeof(c->answer) - 1 - c->got);
	if (n <= 0)
		die("read from the runtime socket");
	c->got += (size_t)n;
	c->answer[c->got] = '\0';
	const char *end = strstr(c->answer, "\r\n\r\n");
	if (end == NULL && c->got < sizeof(c->answer) - 1)
		return false;
	if (end == NULL || strncmp(c->answer, "HTTP/1.1 204 ", 13) != 0 || end + 4 != c->answer + c->got) {
		fprintf(stderr, "put_load: answered: %s\n", c->answer);
		exit(1);
	}
	return true;
}

static void on_readable(struct connection *c)
{
	if (!answered(c))
		return;
	int64_t at_ns = now_ns();
	if (n_samples < SAMPLES_MAX)
		samples_us[n_samples++] = (uint32_t)((at_ns - c->sent_ns) / 1000);
	if (at_ns < until_ns)
		put(c);
	else
		busy--;
}

static int connect_runtime(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("RIVET_RUNTIME_SOCKET");
	if (path == NULL || strlen(path) >= sizeof(address.sun_path))
		die("RIVET_RUNTIME_SOCKET");
	memcpy(address.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(path);
	return fd;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static int load(int n, int seconds, char *report, size_t size)
{
	int poll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[CONNECTIONS_MAX];
	n_samples = 0;
	for (int i = 0; i < n; i++) {
		struct connection *c = &connections[i];
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
		c->fd = connect_runtime();
		if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0)
			die("epoll_ctl");
	}
	int64_t start_ns = now_ns();
	until_ns = start_ns + (int64_t)seconds * 1000000000;
	for (busy = 0; busy < n; busy++)
		put(&connections[busy]);
	while (busy > 0) {
		int ready = epoll_wait(poll_fd, events, n, -1);
		for (int i = 0; i < ready; i++)
			on_readable(events[i].data.ptr);
	}
	double took_s = (double)(now_ns() - start_ns) / 1e9;
	for (int i = 0; i < n; i++)
		close(connections[i].fd);
	close(poll_fd);
	qsort(samples_us, n_samples, sizeof(*samples_us), compare);
	return snprintf(report, size, "{\"puts\": %zu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u}", n_samples,
			took_s, samples_us[n_samples / 2], samples_us[n_samples / 100 * 99]);
}

/* A number of the query, 1 to max; 0 when it is not there. */
static int parameter(const char *head, const char *name, int max)
{
	const char *at = strstr(head, name);
	long value = at != NULL ? strtol(at + strlen(name), NULL, 10) : 0;
	return value >= 1 && value <= max ? (int)value : 0;
}

static void serve(int fd)
{
	char head[HEAD_MAX], report[256], answer[512];
	size_t got = 0;
	head[0] = '\0';
	while (strstr(head, "\r\n\r\n") == NULL) {
		ssize_t n = read(fd, head + got, sizeof(head) - 1 - got);
		if (n <= 0)
			return;
		got += (size_t)n;
		head[got] = '\0';
	}
	int status = 404, n = 0;
	int wanted = parameter(head, "connections=", CONNECTIONS_MAX),
	    seconds = parameter(head, "seconds=", SECONDS_MAX);
	if (strncmp(head, "GET /?", 6) == 0 && wanted != 0 && seconds != 0) {
		status = 200;
		n = load(wanted, seconds, report, sizeof(report));
	}
	n = snprintf(
	    answer, sizeof(answer),
	    "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%.*s",
	    status, status == 200 ? "OK" : "Not Found", n, n, report);
	if (write(fd, answer, (size_t)n) != n)
		perror("put_load: answer");
	/* What is left unread, such as the body of a life cycle call, would turn this end into a reset. */
	shutdown(fd, SHUT_WR);
	while (read(fd, head, sizeof(head)) > 0)
		;
}

int main(void)
{
	samples_us = malloc(SAMPLES_MAX * sizeof(*samples_us)); /* untouched pages cost nothing */
	if (samples_us == NULL)
		die("memory");
	for (;;) {
		int fd = accept(LISTEN_FD, NULL, NULL);
		if (fd < 0)
			die("accept");
		serve(fd);
		close(fd);
	}
}
