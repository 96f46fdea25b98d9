/* How long until the first answer, in microseconds.
 *
 *   first_answer spawn PROGRAM    starts PROGRAM as a worker with its socket bound and listening as
 *                                 descriptor 3, asks it for /, and ends it
 *   first_answer get PORT PATH    asks 127.0.0.1:PORT for PATH, on a connection that has carried a request before
 *
 * spawn counts from before the process is there, get from before the request is
 * written; both to the last byte of a 200 whose body is 128 bytes long.
 * Everything else is an error. */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LISTEN_FD 3
#define BODY_BYTES 128
#define BACKLOG 1024
#define DEADLINE_S 60

static char pid_entry[32]; /* LISTEN_PID=..., written by the child into the parent's memory */

static void die(const char *what)
{
	fprintf(stderr, "first_answer: %s: %s\n", what, errno != 0 ? strerror(errno) : "unexpected");
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Waits for a whole 200 with a body of so many bytes; its head alone, when that is 0 and the body comes with it. */
static void ask(int fd, const char *path, size_t body_bytes)
{
	char text[4096];
	size_t got = 0;
	int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path);
	if (write(fd, text, (size_t)n) != n)
		die("request");
	for (;;) {
		ssize_t more = read(fd, text + got, sizeof(text) - 1 - got);
		if (more <= 0)
			die("answer");
		got += (size_t)more;
		text[got] = '\0';
		const char *end = strstr(text, "\r\n\r\n");
		if (strncmp(text, "HTTP/1.1 200 ", got < 13 ? got : 13) != 0) {
			fprintf(stderr, "first_answer: %s\n", text);
			exit(1);
		}
		if (end != NULL && text + got >= end + 4 + body_bytes)
			return;
	}
}

/* vfork, as the daemon does it: the pid is not known before, and the program wants it in its environment. */
static pid_t spawn(const char *program, int listen_fd)
{
	char *const argv[] = {(char *)(uintptr_t)program, NULL};
	char *const envp[] = {(char *)(uintptr_t) "LISTEN_FDS=1", (char *)(uintptr_t) "PATH=/usr/bin:/bin", pid_entry,
			      NULL};
	pid_t pid = vfork();
	if (pid == 0) {
		snprintf(pid_entry, sizeof(pid_entry), "LISTEN_PID=%d", (int)getpid());
		if (listen_fd != LISTEN_FD)
			dup2(listen_fd, LISTEN_FD);
		execve(program, argv, envp);
		_exit(127);
	}
	return pid;
}

static int64_t measure_spawn(const char *program)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(address.sun_family); /* the kernel picks a name that is in no file system */
	int listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (listen_fd < 0 || bind(listen_fd, (struct sockaddr *)&address, size) < 0 || listen(listen_fd, BACKLOG) < 0)
		die("bind");
	size = sizeof(address);
	if (getsockname(listen_fd, (struct sockaddr *)&address, &size) < 0)
		die("getsockname");
	int64_t start_ns = now_ns();
	pid_t pid = spawn(program, listen_fd);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (pid < 0 || connect(fd, (struct sockaddr *)&address, size) < 0)
		die(program);
	/* From now on only the program holds the listening socket: if it has ended, so has the connection. */
	close(listen_fd);
	ask(fd, "/", BODY_BYTES);
	int64_t took_ns = now_ns() - start_ns;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return took_ns;
}

static int64_t measure_get(const char *port, const char *path)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	ask(fd, "/health", 0); /* one write, so one read */
	int64_t start_ns = now_ns();
	ask(fd, path, BODY_BYTES);
	return now_ns() - start_ns;
}

int main(int argc, char **argv)
{
	int64_t took_ns = 0;
	alarm(DEADLINE_S);
	if (argc == 3 && strcmp(argv[1], "spawn") == 0) {
		took_ns = measure_spawn(argv[2]);
	} else if (argc == 4 && strcmp(argv[1], "get") == 0) {
		took_ns = measure_get(argv[2], argv[3]);
	} else {
		fprintf(stderr, "usage: first_answer spawn PROGRAM | get PORT PATH\n");
		return 64;
	}
	printf("%.1f\n", (double)took_ns / 1000);
	return 0;
}
