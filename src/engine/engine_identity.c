/* Owns three small files in the data directory: the lock (store/store_lock),
 * `runner-key`, and `evicted`, one line "MILLISECONDS HEX-OF-KEY" for each key
 * taken lately, the newest last.
 *
 * A file is replaced whole: written beside, synced, renamed. Failure paths: a
 * key that cannot be kept is an error at start, since a new one at each start
 * would leave a dead runner behind each time; a memory of evictions that
 * cannot be read is no memory. */
#include "engine/engine_identity.h"

#include "base/buf.h"
#include "base/clock.h"
#include "store/store_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define KEY_FILE "runner-key"
#define EVICTED_FILE "evicted"
#define EVICTED_MS ((int64_t)10 * 60 * 1000)
#define ROWS_MAX 16 /* keys remembered */
#define FILE_MAX ((size_t)256 * 1024)

int engine_identity_lock(const char *data_dir, int *ret_fd, struct err *e)
{
	return store_lock_take(data_dir, ret_fd, e);
}

/* The whole file; -ENOENT when it is not there. */
static int read_file(const char *data_dir, const char *name, struct buf *ret)
{
	MEM_AUTO char *path = mem_printf("%s/%s", data_dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ssize_t n;
	do {
		uint8_t *p = buf_reserve(ret, 4096);
		n = p == NULL ? -1 : read(fd, p, 4096);
		if (n > 0)
			buf_claim(ret, (size_t)n);
	} while (n > 0);
	int result = ret->over ? -EFBIG : n < 0 ? -errno : 0;
	close(fd);
	return result;
}

static int write_whole(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		s = slice_from(s, (size_t)n);
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int sync_directory(const char *data_dir)
{
	int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int result = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return result;
}

static int write_file(const char *data_dir, const char *name, struct slice content)
{
	MEM_AUTO char *path = mem_printf("%s/%s", data_dir, name);
	MEM_AUTO char *beside = mem_printf("%s/%s.new", data_dir, name);
	(void)unlink(beside);
	int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int result = write_whole(fd, content);
	close(fd);
	if (result == 0 && rename(beside, path) < 0)
		result = -errno;
	return result < 0 ? result : sync_directory(data_dir);
}

/* ---- the key ---- */

static int refuse(struct err *e, const char *what, const char *data_dir, int result)
{
	return err_set(e, -result, EXIT_CODE_DATA_DIR, "cannot %s the runner key in the data directory %s: %s", what,
		       data_dir, strerror(-result));
}

int engine_identity_key(const char *data_dir, char **ret, struct err *e)
{
	struct buf b;
	buf_init(&b, FILE_MAX);
	int result = read_file(data_dir, KEY_FILE, &b);
	struct slice text = buf_slice(&b);
	text = slice_head(text, slice_find(text, '\n'));
	if (result == 0 && text.n > 0 && slice_find(text, 0) == text.n) {
		*ret = slice_dup(text);
		buf_done(&b);
		return 0;
	}
	buf_done(&b);
	if (result < 0 && result != -ENOENT)
		return refuse(e, "read", data_dir, result);
	uint64_t random[2];
	CHECK(getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random));
	char *key = mem_printf("%016llx%016llx", (unsigned long long)random[0], (unsigned long long)random[1]);
	MEM_AUTO char *line = mem_printf("%s\n", key);
	result = write_file(data_dir, KEY_FILE, slice_str(line));
	if (result < 0) {
		mem_free(key);
		return refuse(e, "write", data_dir, result);
	}
	*ret = key;
	return 0;
}

/* ---- evictions ---- */

struct row {
	int64_t at_wall_ms;
	struct slice hex;
};

static void put_hex(struct buf *b, const char *key)
{
	for (; *key != '\0'; key++)
		buf_addf(b, "%02x", (unsigned)(uint8_t)*key);
}

/* The last ROWS_MAX rows of the file, the oldest first; returns how many. Lines that are no rows are passed over. */
static size_t read_rows(struct slice text, struct row ret[ROWS_MAX])
{
	size_t n = 0;
	while (text.n > 0) {
		struct slice line = slice_head(text, slice_find(text, '\n'));
		text = slice_from(text, line.n < text.n ? line.n + 1 : line.n);
		size_t space = slice_find(line, ' ');
		if (space == 0 || space == line.n || space > 18)
			continue;
		char number[20];
		(void)snprintf(number, sizeof(number), "%.*s", SLICE_FMT(slice_head(line, space)));
		if (n == ROWS_MAX) {
			memmove(ret, ret + 1, (ROWS_MAX - 1) * sizeof(*ret));
			n--;
		}
		ret[n++] = (struct row){.at_wall_ms = strtoll(number, NULL, 10), .hex = slice_from(line, space + 1)};
	}
	return n;
}

bool engine_identity_evicted(const char *data_dir, const char *key, int64_t now_wall_ms, int64_t *ret_ms)
{
	struct buf b, hex;
	struct row rows[ROWS_MAX];
	buf_init(&b, FILE_MAX);
	buf_init(&hex, FILE_MAX);
	put_hex(&hex, key);
	size_t n = read_file(data_dir, EVICTED_FILE, &b) == 0 ? read_rows(buf_slice(&b), rows) : 0;
	bool found = false;
	for (size_t i = 0; i < n; i++) {
		int64_t age_ms = now_wall_ms - rows[i].at_wall_ms;
		/* A clock that was set back makes it younger, not forgotten. */
		if (!slice_eq(rows[i].hex, buf_slice(&hex)) || age_ms >= EVICTED_MS || age_ms <= -EVICTED_MS)
			continue;
		found = true;
		*ret_ms = age_ms < 0 ? 0 : age_ms;
	}
	buf_done(&hex);
	buf_done(&b);
	return found;
}

/* Rewrites the memory without this key, and with it again at now_wall_ms > 0. */
static int rewrite(const char *data_dir, const char *key, int64_t now_wall_ms)
{
	struct buf b, hex, out;
	struct row rows[ROWS_MAX];
	buf_init(&b, FILE_MAX);
	buf_init(&hex, FILE_MAX);
	buf_init(&out, FILE_MAX);
	put_hex(&hex, key);
	size_t n = read_file(data_dir, EVICTED_FILE, &b) == 0 ? read_rows(buf_slice(&b), rows) : 0;
	for (size_t i = 0; i < n; i++) {
		if (!slice_eq(rows[i].hex, buf_slice(&hex)))
			buf_addf(&out, "%lld %.*s\n", (long long)rows[i].at_wall_ms, SLICE_FMT(rows[i].hex));
	}
	if (now_wall_ms > 0)
		buf_addf(&out, "%lld %.*s\n", (long long)now_wall_ms, SLICE_FMT(buf_slice(&hex)));
	int result = write_file(data_dir, EVICTED_FILE, buf_slice(&out));
	buf_done(&out);
	buf_done(&hex);
	buf_done(&b);
	return result;
}

int engine_identity_note(const char *data_dir, const char *key, int64_t now_wall_ms)
{
	return rewrite(data_dir, key, now_wall_ms);
}

int engine_identity_forget(const char *data_dir, const char *key)
{
	int64_t age_ms;
	return engine_identity_evicted(data_dir, key, clock_wall_ms(), &age_ms) ? rewrite(data_dir, key, 0) : 0;
}
