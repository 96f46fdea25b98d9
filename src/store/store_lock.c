/* Owns: the data directory and its lock, a file that holds the pid of the
 * daemon that uses the directory.
 *
 * The lock goes with the descriptor, so a daemon that was killed leaves none.
 * A child it was just forking may hold a copy for a moment longer: a lock whose
 * owner is dead is tried again for a second.
 *
 * Failure: the directory cannot be made or written, another daemon has it. */
#include "store/store_lock.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PID_TEXT 24
#define DEAD_OWNER_TRIES 20
#define DEAD_OWNER_WAIT_NS (50 * 1000 * 1000)

static int refuse(struct err *e, const char *what, const char *path)
{
	int code = errno;
	return err_set(e, code, EXIT_CODE_DATA_DIR, "cannot %s the data directory %s: %s", what, path, strerror(code));
}

/* mkdir -p, the last one private. */
static int make_directory(const char *data_dir, struct err *e)
{
	MEM_AUTO char *path = mem_strdup(data_dir);
	for (char *at = path + 1; path[0] != '\0' && (at = strchr(at, '/')) != NULL; at++) {
		*at = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST && errno != EROFS && errno != EACCES)
			return refuse(e, "create", data_dir);
		*at = '/';
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return refuse(e, "create", data_dir);
	return 0;
}

/* 0 when nothing sensible is written there. */
static pid_t owner_of(int fd)
{
	char text[PID_TEXT] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long pid = n <= 0 ? 0 : strtol(text, NULL, 10);
	return pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
}

static int lock(int fd, const char *data_dir, struct err *e)
{
	for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK)
			return refuse(e, "lock", data_dir);
		pid_t owner = owner_of(fd);
		bool dead = owner == 0 || (kill(owner, 0) < 0 && errno == ESRCH);
		if (!dead || tries == DEAD_OWNER_TRIES)
			return err_set(e, EBUSY, EXIT_CODE_DATA_DIR,
				       "the data directory %s is locked by another daemon, process %ld", data_dir,
				       (long)owner);
		nanosleep(&(struct timespec){.tv_nsec = DEAD_OWNER_WAIT_NS}, NULL);
	}
	char text[PID_TEXT];
	int n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return refuse(e, "write", data_dir);
	return 0;
}

int store_lock_take(const char *data_dir, int *ret, struct err *e)
{
	int result = make_directory(data_dir, e);
	if (result < 0)
		return result;
	MEM_AUTO char *path = mem_printf("%s/lock", data_dir);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return refuse(e, "write", data_dir);
	result = lock(fd, data_dir, e);
	if (result < 0) {
		close(fd);
		return result;
	}
	*ret = fd;
	return 0;
}
