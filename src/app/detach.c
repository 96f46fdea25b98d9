/* One pipe: an empty message is readiness, anything else is an exit code and a
 * sentence, end of file without a message is a crash. */
#include "app/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct message {
	int exit_code;
	char text[1536];
};

_Static_assert(sizeof(struct message) <= 4096, "one atomic write");

_Noreturn static void wait_for(int fd, pid_t child)
{
	struct message m = {0};
	ssize_t n;
	do {
		n = read(fd, &m, sizeof(m));
	} while (n < 0 && errno == EINTR);
	if (n == (ssize_t)sizeof(m) && m.exit_code == 0)
		_exit(0);
	if (n == (ssize_t)sizeof(m)) {
		m.text[sizeof(m.text) - 1] = '\0';
		fprintf(stderr, "rivet-runnerd: %s\n", m.text);
		_exit(m.exit_code);
	}
	int status = 0;
	(void)waitpid(child, &status, 0);
	fprintf(stderr, "rivet-runnerd: the daemon ended before it was ready; see its log\n");
	_exit(EXIT_CODE_FAILED);
}

int detach(int *ret_ready_fd, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot detach: pipe: %s", strerror(errno));
	pid_t child = fork();
	if (child < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot detach: fork: %s", strerror(errno));
	if (child > 0) {
		close(fds[1]);
		wait_for(fds[0], child);
	}
	close(fds[0]);
	(void)setsid();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || chdir("/") < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot detach: %s", strerror(errno));
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	(void)dup2(null, STDERR_FILENO);
	if (null > STDERR_FILENO)
		close(null);
	*ret_ready_fd = fds[1];
	return 0;
}

static void send_message(int fd, const struct message *m)
{
	if (fd < 0)
		return;
	/* the parent may have been killed; then nobody waits */
	ssize_t n = write(fd, m, sizeof(*m));
	(void)n;
	close(fd);
}

void detach_ready(int ready_fd)
{
	struct message m = {0};
	send_message(ready_fd, &m);
}

void detach_failed(int ready_fd, const struct err *e)
{
	struct message m = {.exit_code = e->exit_code == 0 ? EXIT_CODE_FAILED : e->exit_code};
	snprintf(m.text, sizeof(m.text), "%s", e->text);
	send_message(ready_fd, &m);
}

void detach_fill_stdio(void)
{
	int fd;
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}
