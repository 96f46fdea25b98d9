/* Owns a worker's directory and the sockets in it.
 *
 * A worker's directory has a random name, is 0700 and its user's; sockets are
 * made in it while it is still ours, then the directory is handed over. What
 * the worker puts there itself is removed with it. On any failure everything
 * made so far is taken back.
 *
 * The runtime directory above is 0711, locked by one daemon, and cleared of
 * what a daemon that was killed left behind. */
#include "worker/worker_private.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LEFTOVERS_MAX 100000 /* entries cleared in one directory */

/* "/", the id, "/runtime"; the NUL of the one is the slash of the other. */
_Static_assert(LIMIT_RUNTIME_DIR_BYTES + WORKER_ID_BYTES + sizeof("/runtime") - 1 == LIMIT_SOCKET_PATH_BYTES,
	       "the longest socket path below the longest runtime directory fits");

static int fail(struct err *e, int code_errno, const char *what, const char *path)
{
	return err_set(e, code_errno, EXIT_CODE_FAILED, "cannot %s %s: %s", what, path, strerror(code_errno));
}

/* ---- the runtime directory ---- */

/* Removes the plain entries of a directory, then itself. Deeper things stay and keep it. */
static void remove_dir_at(int parent_fd, const char *name)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	size_t n = 0;
	for (struct dirent *entry; n < LEFTOVERS_MAX && (entry = readdir(dir)) != NULL; n++) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			(void)unlinkat(fd, entry->d_name, 0);
	}
	closedir(dir);
	(void)unlinkat(parent_fd, name, AT_REMOVEDIR);
}

static void clear_leftovers(const char *path)
{
	DIR *dir = opendir(path);
	if (dir == NULL)
		return;
	size_t n = 0;
	for (struct dirent *entry; n < LEFTOVERS_MAX && (entry = readdir(dir)) != NULL; n++) {
		if (strncmp(entry->d_name, "w-", 2) == 0 && strlen(entry->d_name) == WORKER_ID_BYTES - 1)
			remove_dir_at(dirfd(dir), entry->d_name);
	}
	closedir(dir);
}

/* Nobody but us and root may move what is below. */
static int check_dir(const char *path, struct err *e)
{
	struct stat st;
	if (lstat(path, &st) < 0)
		return fail(e, errno, "look at", path);
	if (S_ISLNK(st.st_mode) && st.st_uid == 0 && stat(path, &st) < 0)
		return fail(e, errno, "look at", path);
	if (!S_ISDIR(st.st_mode))
		return fail(e, ENOTDIR, "use", path);
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(e, EPERM, EXIT_CODE_FAILED,
			       "%s belongs to another user; choose another runtime directory", path);
	if ((st.st_mode & 0022) != 0 && (st.st_mode & S_ISVTX) == 0)
		return err_set(e, EPERM, EXIT_CODE_FAILED,
			       "%s can be changed by other users; choose another runtime directory", path);
	return 0;
}

static int make_dirs(const char *path, struct err *e)
{
	MEM_AUTO char *part = mem_strdup(path);
	for (char *at = part + 1;; at++) {
		if (*at != '/' && *at != '\0')
			continue;
		char c = *at;
		*at = '\0';
		if (mkdir(part, 0711) < 0 && errno != EEXIST)
			return fail(e, errno, "create the runtime directory", part);
		int r = check_dir(part, e);
		if (r < 0)
			return r;
		if (c == '\0')
			return 0;
		*at = c;
	}
}

int worker_socket_dir_open(const char *runtime_dir, int *ret_lock_fd, struct err *e)
{
	if (runtime_dir[0] != '/')
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "the runtime directory %s is no absolute path",
			       runtime_dir);
	if (strlen(runtime_dir) > LIMIT_RUNTIME_DIR_BYTES)
		return err_set(e, ENAMETOOLONG, EXIT_CODE_CONFIG,
			       "the runtime directory %s is too long: paths of sockets in it would exceed %d bytes",
			       runtime_dir, LIMIT_SOCKET_PATH_BYTES);
	int r = make_dirs(runtime_dir, e);
	if (r < 0)
		return r;
	if (chmod(runtime_dir, 0711) < 0)
		return fail(e, errno, "set the mode of", runtime_dir);
	MEM_AUTO char *lock = mem_printf("%s/lock", runtime_dir);
	int fd = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(e, errno, "open", lock);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int why = errno;
		char pid[16] = {0};
		if (read(fd, pid, sizeof(pid) - 1) <= 0)
			pid[0] = '?';
		close(fd);
		return err_set(
		    e, why, EXIT_CODE_DATA_DIR,
		    "the runtime directory %s is in use by another daemon (pid %s); stop it or choose another with "
		    "--runtime-dir",
		    runtime_dir, pid);
	}
	if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d", (int)getpid()) < 0) {
		int why = errno;
		close(fd);
		return fail(e, why, "write", lock);
	}
	clear_leftovers(runtime_dir);
	*ret_lock_fd = fd;
	return 0;
}

/* ---- one worker's sockets ---- */

/* A bound socket with this mode, owned by the type's user. */
static int bind_at(const char *path, int kind, mode_t mode, const struct actor_type *type, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	memcpy(to.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, kind | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(e, errno, "make a socket for", path);
	int r = 0;
	/* The mode of an unbound socket is what bind gives its file. */
	if (fchmod(fd, mode) < 0 || bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		r = fail(e, errno, "bind", path);
	else if (type->set_user && lchown(path, type->uid, type->gid) < 0)
		r = fail(e, errno, "change the owner of", path);
	if (r == 0)
		return fd;
	close(fd);
	return r;
}

static int listen_at(const char *path, int flags, const struct actor_type *type, int *ret, struct err *e)
{
	int fd = bind_at(path, SOCK_STREAM | flags, 0600, type, e);
	if (fd < 0)
		return fd;
	if (listen(fd, LIMIT_WORKER_BACKLOG) < 0) {
		int r = fail(e, errno, "listen on", path);
		close(fd);
		return r;
	}
	*ret = fd;
	return 0;
}

/* A port that was free a moment ago; no more can be promised. */
static int free_port(uint16_t *ret, struct err *e)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(e, errno, "make a socket for", "127.0.0.1");
	int r = 0;
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		r = fail(e, errno, "find a free port on", "127.0.0.1");
	close(fd);
	if (r == 0)
		*ret = ntohs(at.sin_port);
	return r;
}

static int make_sockets(struct worker_socket *s, const struct actor_type *type, struct err *e)
{
	static const int on = 1;
	int r = 0;
	if (type->serve == SERVE_FD)
		r = listen_at(s->http, 0, type, &s->http_fd, e);
	else if (type->serve == SERVE_TCP)
		r = free_port(&s->port, e);
	if (r == 0)
		r = listen_at(s->runtime, SOCK_NONBLOCK, type, &s->runtime_fd, e);
	if (r < 0 || type->ready != READY_NOTIFY)
		return r;
	r = bind_at(s->notify, SOCK_DGRAM | SOCK_NONBLOCK, 0600, type, e);
	if (r < 0)
		return r;
	s->notify_fd = r;
	if (setsockopt(s->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return fail(e, errno, "ask for credentials on", s->notify);
	return 0;
}

int worker_socket_make(struct worker_socket *s, const char *runtime_dir, const struct actor_type *type, struct err *e)
{
	uint8_t random[8];
	*s = (struct worker_socket){.http_fd = -1, .runtime_fd = -1, .notify_fd = -1};
	CHECK(getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random));
	int n = snprintf(s->id, sizeof(s->id), "w-");
	for (size_t i = 0; i < sizeof(random); i++)
		n += snprintf(s->id + n, sizeof(s->id) - (size_t)n, "%02x", random[i]);

	/* worker_socket_dir_open has seen to it that these fit. */
	CHECK(snprintf(s->dir, sizeof(s->dir), "%s/%s", runtime_dir, s->id) < (int)sizeof(s->dir));
	CHECK(snprintf(s->runtime, sizeof(s->runtime), "%s/runtime", s->dir) < (int)sizeof(s->runtime));
	if (type->serve != SERVE_TCP)
		CHECK(snprintf(s->http, sizeof(s->http), "%s/http", s->dir) < (int)sizeof(s->http));
	if (type->ready == READY_NOTIFY)
		CHECK(snprintf(s->notify, sizeof(s->notify), "%s/notify", s->dir) < (int)sizeof(s->notify));

	if (mkdir(s->dir, 0700) < 0) {
		int r = fail(e, errno, "create", s->dir);
		s->dir[0] = '\0';
		return r;
	}
	int r = chmod(s->dir, 0700) < 0 ? fail(e, errno, "set the mode of", s->dir) : make_sockets(s, type, e);
	if (r == 0 && type->set_user && lchown(s->dir, type->uid, type->gid) < 0)
		r = fail(e, errno, "change the owner of", s->dir);
	if (r < 0)
		worker_socket_remove(s);
	return r;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void worker_socket_remove(struct worker_socket *s)
{
	close_one(&s->http_fd);
	close_one(&s->runtime_fd);
	close_one(&s->notify_fd);
	if (s->dir[0] != '\0')
		remove_dir_at(AT_FDCWD, s->dir);
	s->dir[0] = '\0';
}
