/* Owns nothing.
 *
 * A file that cannot be opened or read is a group that has gone, and nothing to
 * do. Each loop is bounded; who is not reached by then is unfrozen and lives. */
#include "supervise/cgroup_kill.h"

#include "base/check.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK_BYTES 4096
#define CHUNKS_MAX 256 /* of a list of ids: a hundred thousand of them */
#define ROUNDS_MAX 4   /* a fork under way when the group froze shows in the second */
#define ENTRIES_MAX 65536

/* As the kernel hands it out; libc's is that of readdir, which allocates. */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

static bool write_to(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool written = write(fd, text, 1) == 1;
	close(fd);
	return written;
}

/* Threads, since a threaded group lists no processes; a signal to one of them is for its whole process. */
static unsigned kill_listed(int dir)
{
	char text[CHUNK_BYTES];
	unsigned n_killed = 0;
	long id = 0, self = getpid();
	int fd = openat(dir, "cgroup.threads", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	for (unsigned chunk = 0; chunk < CHUNKS_MAX && n > 0; chunk++) {
		for (ssize_t i = 0; i < n; i++) {
			if (text[i] >= '0' && text[i] <= '9') {
				id = id > INT32_MAX / 10 ? 0 : id * 10 + (text[i] - '0');
				continue;
			}
			/* 0 is a process of another namespace, and to kill() "my group". */
			if (id > 1 && id != self && kill((pid_t)id, SIGKILL) == 0)
				n_killed++;
			id = 0;
		}
		n = read(fd, text, sizeof(text));
	}
	if (fd >= 0)
		close(fd);
	return n_killed;
}

void cgroup_kill(int dir)
{
	if (write_to(dir, "cgroup.kill", "1") || kill_listed(dir) == 0)
		return;
	write_to(dir, "cgroup.freeze", "1");
	for (unsigned round = 0; round < ROUNDS_MAX && kill_listed(dir) > 0; round++)
		;
	write_to(dir, "cgroup.freeze", "0");
}

void cgroup_kill_below(int dir)
{
	_Alignas(struct entry) char entries[CHUNK_BYTES];
	long n;
	(void)lseek(dir, 0, SEEK_SET);
	for (unsigned seen = 0; seen < ENTRIES_MAX; seen++) {
		n = syscall(SYS_getdents64, dir, entries, sizeof(entries));
		if (n <= 0)
			return;
		for (long at = 0; at < n;) {
			const struct entry *e = (const void *)(entries + at);
			at += e->bytes;
			if (e->type != DT_DIR || e->name[0] == '.')
				continue;
			int child = openat(dir, e->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (child < 0)
				continue;
			cgroup_kill(child);
			close(child);
		}
	}
}
