/* Owns the path of the daemon's group and the names of groups that could not
 * be removed yet: killed processes take a moment to leave. */
#include "supervise/cgroup.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LEAF "rivet-runnerd"
#define PERIOD_US 100000u
#define MOVES_MAX 100 /* looks at who is in the group; processes may be born meanwhile */
#define TEXT_MAX 65536
#define LEFT_MAX 256

static struct {
	char *path; /* NULL: not opened */
	unsigned controllers;
	uint64_t n_made;
	char *left[LEFT_MAX];
	size_t n_left;
} own;

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
	for (const char *line = mountinfo; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *end = line + strcspn(line, "\n"), *type = strstr(line, " - cgroup2 ");
		if (type == NULL || type > end)
			continue;
		MEM_AUTO char *root = field_of(line, 3), *where = field_of(line, 4);
		size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
		if (strncmp(group, root, n) != 0 || (group[n] != '/' && group[n] != '\0'))
			continue;
		const char *rest = strcmp(group + n, "/") == 0 ? "" : group + n;
		return mem_printf("%s%s", where, rest);
	}
	return NULL;
}

/* systemd marks what it delegates; without it a group is ours when it was given to our user, or when it is the root of
 * a container's own namespace (the machine's root has no cgroup.type). */
static bool is_delegated(const char *path, bool is_root)
{
	char value[2] = "";
	struct stat st;
	MEM_AUTO char *type = mem_printf("%s/cgroup.type", path);
	if ((getxattr(path, "user.delegate", value, 1) == 1 || getxattr(path, "trusted.delegate", value, 1) == 1) &&
	    value[0] == '1')
		return true;
	if (geteuid() != 0 && stat(path, &st) == 0 && st.st_uid == geteuid())
		return true;
	return is_root && access(type, F_OK) == 0;
}

/* ---- opening ---- */

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
	int r = check_controllers(path, controllers, e);
	if (r < 0 || (own.path != NULL && (controllers & ~own.controllers) == 0))
		return r;
	MEM_AUTO char *leaf = mem_printf("%s/" LEAF, path);
	if (mkdir(leaf, 0755) < 0 && errno != EEXIST)
		return err_set(e, errno, EXIT_CODE_CONFIG, "cannot make the control group %s: %s", leaf,
			       strerror(errno));
	if ((r = move_down(path, leaf, e)) < 0)
		return r;
	MEM_AUTO char *words = mem_printf("%s%s%s", (controllers & CGROUP_MEMORY) != 0 ? "+memory" : "",
					  controllers == (CGROUP_MEMORY | CGROUP_CPU) ? " " : "",
					  (controllers & CGROUP_CPU) != 0 ? "+cpu" : "");
	if (controllers != 0 && (r = must_write(path, "cgroup.subtree_control", words, e)) < 0)
		return r;
	own.controllers |= controllers;
	if (own.path == NULL)
		own.path = mem_strdup(path);
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
	if (own.path != NULL)
		return cgroup_need_at(own.path, controllers, e);
	MEM_AUTO char *self = read_text("/proc/self/cgroup"), *mounts = read_text("/proc/self/mountinfo");
	MEM_AUTO char *path = self == NULL || mounts == NULL ? NULL : cgroup_find(self, mounts);
	if (path == NULL)
		return err_set(e, ENOENT, EXIT_CODE_CONFIG, "this machine has no cgroup v2 mounted");
	bool is_root = strstr(self, "0::/\n") != NULL;
	size_t n = strlen(path), leaf = strlen("/" LEAF);
	if (n > leaf && strcmp(path + n - leaf, "/" LEAF) == 0) /* replaced by itself */
		path[n - leaf] = '\0';
	int r = check_controllers(path, controllers, e);
	if (r == 0 && !is_delegated(path, is_root))
		r = err_set(e, EPERM, EXIT_CODE_CONFIG,
			    "the control group %s is not delegated to the daemon; the service needs Delegate=yes",
			    path);
	return r < 0 ? r : cgroup_need_at(path, controllers, e);
}

void cgroup_done(void)
{
	for (size_t i = 0; i < own.n_left; i++)
		mem_free(own.left[i]);
	mem_free(own.path);
	memset(&own, 0, sizeof(own));
}

/* ---- groups ---- */

static void sweep(void)
{
	size_t kept = 0;
	for (size_t i = 0; i < own.n_left; i++) {
		if (rmdir(own.left[i]) < 0 && errno == EBUSY)
			own.left[kept++] = own.left[i];
		else
			mem_free(own.left[i]);
	}
	own.n_left = kept;
}

static int set_limits(const struct cgroup_group *g, uint64_t memory_max, uint32_t cpu_milli, struct err *e)
{
	char text[48];
	int r = 0;
	if (memory_max > 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)memory_max);
		r = must_write(g->path, "memory.max", text, e);
		if (r == 0) /* half a worker is no worker */
			r = must_write(g->path, "memory.oom.group", "1", e);
	}
	if (r == 0 && cpu_milli > 0) {
		snprintf(text, sizeof(text), "%llu %u", (unsigned long long)cpu_milli * PERIOD_US / 1000, PERIOD_US);
		r = must_write(g->path, "cpu.max", text, e);
	}
	return r;
}

int cgroup_group_make(struct cgroup_group *g, uint64_t memory_max, uint32_t cpu_milli, struct err *e)
{
	if (own.path == NULL)
		return err_set(e, ENOTSUP, EXIT_CODE_FAILED, "limits.memory and limits.cpu have no control group here");
	sweep();
	*g = (struct cgroup_group){.path = mem_printf("%s/worker-%llu", own.path, (unsigned long long)++own.n_made),
				   .procs_fd = -1};
	int r = 0;
	if (mkdir(g->path, 0755) < 0 && errno != EEXIST) /* one of a former daemon is as good */
		r = err_set(e, errno, EXIT_CODE_FAILED, "cannot make the control group %s: %s", g->path,
			    strerror(errno));
	if (r == 0)
		r = set_limits(g, memory_max, cpu_milli, e);
	if (r == 0) {
		MEM_AUTO char *procs = mem_printf("%s/cgroup.procs", g->path);
		g->procs_fd = open(procs, O_WRONLY | O_CLOEXEC);
		if (g->procs_fd < 0)
			r = err_set(e, errno, EXIT_CODE_FAILED, "cannot open %s: %s", procs, strerror(errno));
	}
	if (r < 0)
		cgroup_group_remove(g);
	return r;
}

void cgroup_group_started(struct cgroup_group *g)
{
	if (g->path != NULL && g->procs_fd >= 0)
		close(g->procs_fd);
	g->procs_fd = -1;
}

void cgroup_group_kill(const struct cgroup_group *g)
{
	if (g->path != NULL)
		(void)write_text(g->path, "cgroup.kill", "1"); /* Linux 5.14; the process group is killed anyway */
}

bool cgroup_group_oom(const struct cgroup_group *g)
{
	if (g->path == NULL)
		return false;
	MEM_AUTO char *file = mem_printf("%s/memory.events", g->path);
	MEM_AUTO char *text = read_text(file);
	const char *at = text == NULL ? NULL : strstr(text, "oom_kill ");
	return at != NULL && strtoull(at + strlen("oom_kill "), NULL, 10) > 0;
}

void cgroup_group_remove(struct cgroup_group *g)
{
	cgroup_group_started(g);
	if (g->path == NULL)
		return;
	if (rmdir(g->path) < 0 && errno == EBUSY && own.n_left < LEFT_MAX)
		own.left[own.n_left++] = TAKE(g->path);
	mem_free(g->path);
	g->path = NULL;
}
