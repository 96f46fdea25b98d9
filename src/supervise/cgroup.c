/* Owns the daemon's groups and the names of workers' groups that could not be
 * removed yet: killed processes take a moment to leave.
 *
 * Why threaded groups: a process that moves to a group of the ordinary kind
 * stops every fork and exit of the machine meanwhile, and waits tens of
 * milliseconds for that. A child that moves itself to a threaded group below
 * the daemon's waits for nothing (measured: 0.1 ms against 13, at worst 56).
 * CLONE_INTO_CGROUP would not wait either, but RestrictNamespaces= of systemd
 * refuses clone3 altogether. */
#include "supervise/cgroup.h"

#include "base/entropy.h"
#include "base/mem.h"
#include "supervise/cgroup_kill.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define OWN_PREFIX "rivet-runnerd."
#define LIMITED_PREFIX "rivet-limited."
#define OTHERS "rivet-others"
#define ID_DIGITS 16
#define PERIOD_US 100000u
#define MOVES_MAX 100 /* looks at who is in the group; processes may be born meanwhile */
#define TEXT_MAX 65536
#define LEFT_MAX 4096    /* groups to be removed; what is over is left to the next daemon */
#define SWEEP_MAX 8      /* looked at in one go */
#define LEFTOVER_MS 2000 /* for processes of former daemons to die */
#define LEFTOVER_LOOK_MS 5

enum tree { TREE_OWN, TREE_LIMITED, TREES };

static struct {
	char *base;        /* the delegated group; NULL: not open */
	char *path[TREES]; /* whether it is there or not, so that a guardian knows it from the start */
	int lock[TREES];   /* the directory, locked; -1: it is not there */
	unsigned controllers;
	uint64_t n_made;
	char *left[LEFT_MAX];
	size_t n_left, left_at;
} own = {.lock = {-1, -1}};

/* ---- files ---- */

static char *read_text(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	char *text = mem_zalloc(TEXT_MAX);
	size_t n = 0;
	for (ssize_t got = 1; got > 0 && n<TEXT_MAX - 1; n += got> 0 ? (size_t)got : 0)
		got = read(fd, text + n, TEXT_MAX - 1 - n);
	close(fd);
	return text;
}

static int write_text(const char *dir, const char *name, const char *text)
{
	MEM_AUTO char *path = mem_printf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return r;
}

static int must_write(const char *dir, const char *name, const char *text, struct err *e)
{
	int r = write_text(dir, name, text);
	return r == 0 ? 0
		      : err_set(e, -r, EXIT_CODE_CONFIG, "cannot write %s to %s/%s: %s", text, dir, name, strerror(-r));
}

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = text; at != NULL && (at = strstr(at, word)) != NULL; at += n)
		if ((at == text || at[-1] == ' ') && (at[n] == '\0' || at[n] == ' ' || at[n] == '\n'))
			return true;
	return false;
}

/* ---- finding ---- */

/* Field n (from 0) of a line of mountinfo, copied; fields end at blanks. */
static char *field_of(const char *line, unsigned n)
{
	for (; n > 0; n--) {
		line += strcspn(line, " \n");
		line += *line == ' ';
	}
	return mem_strndup(line, strcspn(line, " \n"));
}

char *cgroup_find(const char *self_cgroup, const char *mountinfo)
{
	const char *self = strncmp(self_cgroup, "0::", 3) == 0 ? self_cgroup : strstr(self_cgroup, "\n0::");
	if (self == NULL)
		return NULL;
	self += *self == '\n' ? 4 : 3;
	MEM_AUTO char *group = mem_strndup(self, strcspn(self, "\n"));
	char *found = NULL;
	for (const char *line = mountinfo; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *end = line + strcspn(line, "\n"), *type = strstr(line, " - cgroup2 ");
		if (type == NULL || type > end)
			continue;
		MEM_AUTO char *root = field_of(line, 3), *where = field_of(line, 4);
		size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
		if (strncmp(group, root, n) != 0 || (group[n] != '/' && group[n] != '\0'))
			continue;
		const char *rest = strcmp(group + n, "/") == 0 ? "" : group + n;
		mem_free(found); /* a later mount hides an earlier one */
		found = mem_printf("%s%s", where, rest);
	}
	return found;
}

static bool has_mark(const char *path, const char *name)
{
	char value[2] = "";
	return getxattr(path, name, value, 1) == 1 && value[0] == '1';
}

/* systemd marks what it delegates, and what it made at all; a user's own manager gives its groups to the user without
 * delegating them. Elsewhere a group is ours when it was given to our user, or when it is the root of a container's own
 * namespace (the machine's root has no cgroup.type). */
bool cgroup_is_delegated(const char *path, bool is_root)
{
	struct stat st;
	if (has_mark(path, "user.delegate") || has_mark(path, "trusted.delegate"))
		return true;
	if (getxattr(path, "user.invocation_id", NULL, 0) > 0)
		return false;
	if (geteuid() != 0 && stat(path, &st) == 0 && st.st_uid == geteuid())
		return true;
	MEM_AUTO char *type = mem_printf("%s/cgroup.type", path);
	return is_root && access(type, F_OK) == 0;
}

/* ---- leftovers ---- */

/* Whether it is a name that a daemon gives: a service may be called rivet-runnerd.service. */
static bool is_given(const char *name, const char *prefix)
{
	size_t n = strlen(prefix);
	return strncmp(name, prefix, n) == 0 && strlen(name + n) == ID_DIGITS &&
	       strspn(name + n, "0123456789abcdef") == ID_DIGITS;
}

/* Every group right below, and then the one itself. */
static bool remove_tree(const char *path)
{
	DIR *d = opendir(path);
	for (struct dirent *de; d != NULL && (de = readdir(d)) != NULL;)
		if (de->d_type == DT_DIR && de->d_name[0] != '.')
			(void)unlinkat(dirfd(d), de->d_name, AT_REMOVEDIR);
	if (d != NULL)
		closedir(d);
	return rmdir(path) == 0 || errno == ENOENT;
}

/* Whoever made it holds its lock while alive. */
static bool remove_leftover(const char *path)
{
	struct timespec look = {.tv_nsec = LEFTOVER_LOOK_MS * 1000000L};
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || flock(dir, LOCK_EX | LOCK_NB) < 0) {
		if (dir >= 0)
			close(dir);
		return true;
	}
	bool gone = false;
	for (int ms = 0; ms < LEFTOVER_MS && !gone; ms += LEFTOVER_LOOK_MS) {
		cgroup_kill_below(dir);
		cgroup_kill(dir);
		gone = remove_tree(path);
		if (!gone)
			nanosleep(&look, NULL);
	}
	close(dir);
	return gone;
}

static unsigned remove_leftovers(const char *base)
{
	unsigned n_stuck = 0;
	DIR *d = opendir(base);
	for (struct dirent *de; d != NULL && (de = readdir(d)) != NULL;) {
		MEM_AUTO char *path = mem_printf("%s/%s", base, de->d_name);
		if (is_given(de->d_name, OWN_PREFIX) || is_given(de->d_name, LIMITED_PREFIX))
			n_stuck += !remove_leftover(path);
	}
	if (d != NULL)
		closedir(d);
	return n_stuck;
}

/* ---- opening ---- */

/* Made, and locked before another daemon that starts can take it for a leftover, or else made again. */
static int make_tree(enum tree t, struct err *e)
{
	const char *path = own.path[t];
	int r = mkdir(path, 0755) < 0 ? -errno : 0;
	own.lock[t] = r < 0 ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && (own.lock[t] < 0 || flock(own.lock[t], LOCK_EX | LOCK_NB) < 0))
		r = -errno;
	if (r == 0)
		return 0;
	return err_set(e, -r, EXIT_CODE_CONFIG, "cannot make the control group %s: %s", path, strerror(-r));
}

/* As a worker's group will be made. */
static int try_threaded(struct err *e)
{
	struct cgroup_group g = {0};
	int r = cgroup_group_make(&g, 0, 0, e);
	cgroup_group_remove(&g);
	return r;
}

int cgroup_open_at(const char *path, unsigned *ret_stuck, struct err *e)
{
	uint64_t id;
	CHECK(own.base == NULL);
	entropy_take(&id, sizeof(id));
	unsigned n_stuck = remove_leftovers(path);
	own.base = mem_strdup(path);
	own.path[TREE_OWN] = mem_printf("%s/" OWN_PREFIX "%016llx", path, (unsigned long long)id);
	own.path[TREE_LIMITED] = mem_printf("%s/" LIMITED_PREFIX "%016llx", path, (unsigned long long)id);
	int r = make_tree(TREE_OWN, e);
	if (r == 0)
		r = must_write(own.path[TREE_OWN], "cgroup.procs", "0", e);
	if (r == 0)
		r = try_threaded(e);
	if (r < 0) {
		(void)write_text(path, "cgroup.procs", "0");
		cgroup_close();
		return r;
	}
	*ret_stuck = n_stuck;
	return 0;
}

bool cgroup_is_open(void)
{
	return own.base != NULL;
}

/* The group that may be delegated: above one that a daemon made, if this process was put there. */
static int find_base(char **ret, bool *ret_is_root, struct err *e)
{
	MEM_AUTO char *self = read_text("/proc/self/cgroup"), *mounts = read_text("/proc/self/mountinfo");
	char *path = self == NULL || mounts == NULL ? NULL : cgroup_find(self, mounts);
	MEM_AUTO char *top = mounts == NULL ? NULL : cgroup_find("0::/\n", mounts);
	if (path == NULL)
		return err_set(e, ENOENT, EXIT_CODE_CONFIG, "this machine has no cgroup v2 mounted");
	char *last = strrchr(path, '/');
	if (last != NULL && (is_given(last + 1, OWN_PREFIX) || strcmp(last + 1, OTHERS) == 0))
		*last = '\0';
	*ret_is_root = top != NULL && strcmp(path, top) == 0;
	*ret = path;
	return 0;
}

static int not_delegated(const char *path, struct err *e)
{
	return err_set(e, EPERM, EXIT_CODE_CONFIG,
		       "the control group %s is not delegated to the daemon; the service needs Delegate=yes", path);
}

int cgroup_open(unsigned *ret_stuck, struct err *e)
{
	MEM_AUTO char *path = NULL;
	bool is_root = false;
	int r = find_base(&path, &is_root, e);
	if (r == 0 && !cgroup_is_delegated(path, is_root))
		r = not_delegated(path, e);
	return r < 0 ? r : cgroup_open_at(path, ret_stuck, e);
}

void cgroup_close(void)
{
	for (size_t i = 0; i < own.n_left; i++) {
		(void)rmdir(own.left[i]);
		mem_free(own.left[i]);
	}
	for (unsigned t = 0; t < TREES; t++) {
		if (own.lock[t] >= 0) {
			(void)rmdir(
			    own.path[t]); /* the own one holds this process: it goes with the service or the next */
			close(own.lock[t]);
		}
		mem_free(own.path[t]);
	}
	mem_free(own.base);
	memset(&own, 0, sizeof(own));
	own.lock[TREE_OWN] = own.lock[TREE_LIMITED] = -1;
}

/* ---- controllers ---- */

static int check_controllers(const char *path, unsigned controllers, struct err *e)
{
	MEM_AUTO char *file = mem_printf("%s/cgroup.controllers", path);
	MEM_AUTO char *there = read_text(file);
	for (unsigned bit = CGROUP_MEMORY; bit <= CGROUP_CPU; bit <<= 1) {
		const char *name = bit == CGROUP_MEMORY ? "memory" : "cpu";
		if ((controllers & bit) != 0 && !has_word(there, name))
			return err_set(e, ENOTSUP, EXIT_CODE_CONFIG,
				       "the %s controller is not available in the control group %s; the machine has to "
				       "give it to cgroup v2, and the service needs Delegate=yes",
				       name, path);
	}
	return 0;
}

/* Everything that runs in the group goes into the leaf. */
static int move_down(const char *path, const char *leaf, struct err *e)
{
	MEM_AUTO char *procs = mem_printf("%s/cgroup.procs", path);
	for (int i = 0; i < MOVES_MAX; i++) {
		MEM_AUTO char *pids = read_text(procs);
		if (pids == NULL || pids[0] == '\0')
			return 0;
		for (char *at = pids, *next; *at != '\0'; at = next) {
			next = at + strcspn(at, "\n");
			next += *next == '\n' ? (*next = '\0', 1) : 0;
			int r = write_text(leaf, "cgroup.procs", at);
			if (r < 0 && r != -ESRCH)
				return err_set(e, -r, EXIT_CODE_CONFIG, "cannot move process %s to %s: %s", at, leaf,
					       strerror(-r));
		}
	}
	return err_set(e, EBUSY, EXIT_CODE_CONFIG, "processes keep appearing in the control group %s", path);
}

int cgroup_need_at(const char *path, unsigned controllers, struct err *e)
{
	unsigned stuck;
	int r = check_controllers(path, controllers, e);
	if (r == 0 && own.base == NULL)
		r = cgroup_open_at(path, &stuck, e);
	if (r < 0 || (controllers & ~own.controllers) == 0)
		return r;
	MEM_AUTO char *others = mem_printf("%s/" OTHERS, path);
	if (mkdir(others, 0755) < 0 && errno != EEXIST)
		return err_set(e, errno, EXIT_CODE_CONFIG, "cannot make the control group %s: %s", others,
			       strerror(errno));
	if ((r = move_down(path, others, e)) < 0 ||
	    (own.lock[TREE_LIMITED] < 0 && (r = make_tree(TREE_LIMITED, e)) < 0))
		return r;
	(void)rmdir(others); /* mostly there was nobody */
	MEM_AUTO char *words = mem_printf("%s%s%s", (controllers & CGROUP_MEMORY) != 0 ? "+memory" : "",
					  controllers == (CGROUP_MEMORY | CGROUP_CPU) ? " " : "",
					  (controllers & CGROUP_CPU) != 0 ? "+cpu" : "");
	if ((r = must_write(path, "cgroup.subtree_control", words, e)) < 0 ||
	    (r = must_write(own.path[TREE_LIMITED], "cgroup.subtree_control", words, e)) < 0)
		return r;
	own.controllers |= controllers;
	return 0;
}

int cgroup_possible(unsigned controllers, struct err *e)
{
	MEM_AUTO char *mounts = read_text("/proc/self/mountinfo");
	MEM_AUTO char *top = mounts == NULL ? NULL : cgroup_find("0::/\n", mounts);
	return top == NULL ? 0 : check_controllers(top, controllers, e);
}

int cgroup_need(unsigned controllers, struct err *e)
{
	if (own.base != NULL)
		return cgroup_need_at(own.base, controllers, e);
	MEM_AUTO char *path = NULL;
	bool is_root = false;
	int r = find_base(&path, &is_root, e);
	if (r == 0)
		r = check_controllers(path, controllers, e);
	if (r == 0 && !cgroup_is_delegated(path, is_root))
		r = not_delegated(path, e);
	return r < 0 ? r : cgroup_need_at(path, controllers, e);
}

/* ---- groups ---- */

static void sweep(void)
{
	for (unsigned i = 0; i < SWEEP_MAX && own.n_left > 0; i++) {
		size_t at = own.left_at % own.n_left;
		if (rmdir(own.left[at]) < 0 && errno == EBUSY) {
			own.left_at = at + 1;
			continue;
		}
		mem_free(own.left[at]);
		own.left[at] = own.left[--own.n_left];
	}
}

int cgroup_limit_at(const char *path, uint64_t memory_max, uint32_t cpu_milli, struct err *e)
{
	char text[48];
	int r = 0;
	if (memory_max > 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)memory_max);
		r = must_write(path, "memory.max", text, e);
		if (r == 0) /* half a worker is no worker */
			r = must_write(path, "memory.oom.group", "1", e);
	}
	if (r == 0 && cpu_milli > 0) {
		snprintf(text, sizeof(text), "%llu %u", (unsigned long long)cpu_milli * PERIOD_US / 1000, PERIOD_US);
		r = must_write(path, "cpu.max", text, e);
	}
	return r;
}

int cgroup_group_make(struct cgroup_group *g, uint64_t memory_max, uint32_t cpu_milli, struct err *e)
{
	bool limited = memory_max > 0 || cpu_milli > 0;
	enum tree t = limited ? TREE_LIMITED : TREE_OWN;
	if (own.lock[t] < 0)
		return err_set(e, ENOTSUP, EXIT_CODE_FAILED, "there are no control groups%s here",
			       limited ? " with limits.memory and limits.cpu" : "");
	sweep();
	*g = (struct cgroup_group){.path = mem_printf("%s/worker-%llu", own.path[t], (unsigned long long)++own.n_made),
				   .join_fd = -1,
				   .limited = limited};
	if (mkdir(g->path, 0755) < 0) {
		int why = errno;
		mem_free(TAKE(g->path));
		return err_set(e, why, EXIT_CODE_FAILED, "cannot make a control group below %s: %s", own.path[t],
			       strerror(why));
	}
	int r = limited ? cgroup_limit_at(g->path, memory_max, cpu_milli, e)
			: must_write(g->path, "cgroup.type", "threaded", e);
	if (r == 0) {
		MEM_AUTO char *file = mem_printf("%s/%s", g->path, limited ? "cgroup.procs" : "cgroup.threads");
		g->join_fd = open(file, O_WRONLY | O_CLOEXEC);
		if (g->join_fd < 0)
			r = err_set(e, errno, EXIT_CODE_FAILED, "cannot open %s: %s", file, strerror(errno));
	}
	if (r < 0)
		cgroup_group_remove(g);
	return r;
}

void cgroup_group_started(struct cgroup_group *g)
{
	if (g->path != NULL && g->join_fd >= 0)
		close(g->join_fd);
	g->join_fd = -1;
}

void cgroup_group_kill(const struct cgroup_group *g)
{
	int dir = g->path == NULL ? -1 : open(g->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return;
	cgroup_kill(dir);
	close(dir);
}

void cgroup_kill_all(void)
{
	for (unsigned t = 0; t < TREES; t++) {
		int dir = own.path[t] == NULL ? -1 : open(own.path[t], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		cgroup_kill_below(dir);
		close(dir);
	}
}

/* The number behind a name at the start of a line. */
static uint64_t count_of(const char *text, const char *name)
{
	size_t n = strlen(name);
	for (const char *line = text; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n')
		if (strncmp(line, name, n) == 0 && line[n] == ' ')
			return strtoull(line + n, NULL, 10);
	return 0;
}

enum cgroup_oom cgroup_group_oom(const struct cgroup_group *g)
{
	if (g->path == NULL || !g->limited)
		return CGROUP_OOM_NONE;
	MEM_AUTO char *file = mem_printf("%s/memory.events", g->path);
	MEM_AUTO char *text = read_text(file);
	if (text == NULL || count_of(text, "oom_kill") == 0)
		return CGROUP_OOM_NONE;
	return count_of(text, "oom") > 0 ? CGROUP_OOM_LIMIT : CGROUP_OOM_OUTSIDE;
}

void cgroup_group_remove(struct cgroup_group *g)
{
	cgroup_group_started(g);
	if (g->path == NULL)
		return;
	sweep();
	if (rmdir(g->path) < 0 && errno == EBUSY && own.n_left < LEFT_MAX)
		own.left[own.n_left++] = TAKE(g->path);
	mem_free(g->path);
	g->path = NULL;
}
