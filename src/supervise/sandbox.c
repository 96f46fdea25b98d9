/* Owns nothing but a note whether mount namespaces can be made.
 *
 * Questions about rights are not answered from capabilities: filters of system
 * calls, limits and security modules have a say too. A child that shares the
 * memory (vfork) tries, and its exit code is the answer. */
#include "supervise/sandbox.h"

#include "base/buf.h"
#include "base/limits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABI_NEEDED 3 /* Linux 6.2; before it nothing holds truncate(2) back */
#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#define FILE_WRITES (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define WRITES                                                                                                         \
	(FILE_WRITES | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
	 LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |                    \
	 LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM |                  \
	 LANDLOCK_ACCESS_FS_REFER)

bool sandbox_has_paths(const struct sandbox *s)
{
	return s->private_tmp || s->read_only != NULL;
}

/* ---- trying ---- */

enum trial { TRIAL_NICE, TRIAL_OOM_SCORE_ADJ, TRIAL_MOUNTS };

/* In the child, on the parent's memory: system calls alone. */
static long try_it(enum trial trial, int value, const char *text, size_t n)
{
	long fd;
	switch (trial) {
	case TRIAL_NICE:
		return syscall(SYS_setpriority, PRIO_PROCESS, 0, value);
	case TRIAL_OOM_SCORE_ADJ:
		fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
		return fd < 0 ? fd : syscall(SYS_write, fd, text, n);
	case TRIAL_MOUNTS:
		if (syscall(SYS_unshare, CLONE_NEWNS) < 0)
			return -1;
		return syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
	}
	return -1;
}

static int tried(enum trial trial, int value)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", value), status = 0;
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before); /* no handler runs on the shared memory */
	pid_t pid = vfork();
	if (pid == 0)
		_exit(try_it(trial, value, text, (size_t)n) < 0 ? errno & 0xff : 0);
	int why = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (pid < 0)
		return why;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

int sandbox_try_nice(int nice)
{
	return tried(TRIAL_NICE, nice);
}

int sandbox_try_oom_score_adj(int value)
{
	return tried(TRIAL_OOM_SCORE_ADJ, value);
}

int sandbox_mounts(void)
{
	static int answer = -1;
	if (answer < 0)
		answer = tried(TRIAL_MOUNTS, 0);
	return answer;
}

int sandbox_check_paths(const struct sandbox *s, struct err *e)
{
	int why = sandbox_has_paths(s) ? sandbox_mounts() : 0, fd;
	if (why == 0)
		return 0;
	if (s->private_tmp)
		return err_set(
		    e, why, EXIT_CODE_CONFIG,
		    "private_tmp: needs a mount namespace, which this daemon may not make (%s); it takes root "
		    "or CAP_SYS_ADMIN, as the drop-in privileged.conf of the service gives",
		    strerror(why));
	struct err inner = {0};
	int r = sandbox_ruleset(s, NULL, &fd, &inner);
	if (r < 0)
		return err_set(e, -r, EXIT_CODE_CONFIG,
			       "read_only_paths: this daemon may not make a mount namespace (%s), and %s",
			       strerror(why), inner.text);
	close(fd);
	if (!s->no_new_privs)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "read_only_paths: this daemon may not make a mount namespace (%s), and Landlock, which "
			       "takes its place, needs \"no_new_privs\": true",
			       strerror(why));
	return 0;
}

/* ---- the ruleset ---- */

struct rules {
	const struct sandbox *s;
	int fd;
	size_t n;
};

/* True when `inner` is `outer` or below it. */
static bool is_within(const char *inner, const char *outer)
{
	size_t n = strlen(outer);
	if (n == 1) /* "/" */
		return true;
	return strncmp(inner, outer, n) == 0 && (inner[n] == '\0' || inner[n] == '/');
}

static bool is_read_only(const struct sandbox *s, const char *path)
{
	for (char **ro = s->read_only; *ro != NULL; ro++)
		if (is_within(path, *ro))
			return true;
	return false;
}

static bool leads_to_read_only(const struct sandbox *s, const char *path)
{
	for (char **ro = s->read_only; *ro != NULL; ro++)
		if (is_within(*ro, path))
			return true;
	return false;
}

/* What has gone meanwhile is no failure; a link allows nothing, its target is allowed where it lies. */
static int allow(struct rules *rules, int dir, const char *name, const char *shown, struct err *e)
{
	struct stat st;
	int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT
			   ? 0
			   : err_set(e, errno, EXIT_CODE_FAILED, "cannot look at %s: %s", shown, strerror(errno));
	int r = 0;
	if (fstat(fd, &st) == 0 && !S_ISLNK(st.st_mode)) {
		struct landlock_path_beneath_attr rule = {.allowed_access = S_ISDIR(st.st_mode) ? WRITES : FILE_WRITES,
							  .parent_fd = fd};
		if (++rules->n > LIMIT_SANDBOX_RULES)
			r = err_set(
			    e, E2BIG, EXIT_CODE_FAILED,
			    "more than %d entries lie beside the read-only paths; Landlock needs a rule for each",
			    LIMIT_SANDBOX_RULES);
		else if (syscall(SYS_landlock_add_rule, rules->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
			r = err_set(e, errno, EXIT_CODE_FAILED, "Landlock does not take a rule for %s: %s", shown,
				    strerror(errno));
	}
	close(fd);
	return r;
}

static int allow_entries(struct rules *rules, const char *path, struct err *e)
{
	DIR *dir = opendir(path);
	int r = 0;
	if (dir == NULL)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot list %s: %s", path, strerror(errno));
	for (struct dirent *entry; r == 0 && (entry = readdir(dir)) != NULL;) {
		MEM_AUTO char *inner = mem_printf("%s/%s", path[1] == '\0' ? "" : path, entry->d_name);
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    !is_read_only(rules->s, inner) && !leads_to_read_only(rules->s, inner))
			r = allow(rules, dirfd(dir), entry->d_name, inner, e);
	}
	closedir(dir);
	return r;
}

/* The directories above read_only[at], each with what lies in it; those above an earlier path have had theirs. */
static int allow_beside(struct rules *rules, size_t at, struct err *e)
{
	const char *path = rules->s->read_only[at];
	int r = 0;
	for (size_t n = 1; r == 0 && path[n] != '\0'; n++) {
		if (n > 1 && path[n] != '/')
			continue;
		MEM_AUTO char *above = mem_strndup(path, n);
		bool had = is_read_only(rules->s, above);
		for (size_t i = 0; i < at; i++)
			had = had || is_within(rules->s->read_only[i], above);
		if (!had)
			r = allow_entries(rules, above, e);
	}
	return r;
}

/* What a mount that is read-only leaves writable too. */
static int allow_devices(struct rules *rules, struct err *e)
{
	static const char *const devices[] = {"/dev/null", "/dev/zero",    "/dev/full",  "/dev/tty",
					      "/dev/ptmx", "/dev/urandom", "/dev/random"};
	int r = 0;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(devices); i++)
		r = allow(rules, AT_FDCWD, devices[i], devices[i], e);
	return r;
}

int sandbox_ruleset(const struct sandbox *s, const char *own_dir, int *ret_fd, struct err *e)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = WRITES};
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "this kernel has no Landlock (%s)", strerror(errno));
	if (abi < ABI_NEEDED)
		return err_set(
		    e, ENOSYS, EXIT_CODE_FAILED,
		    "this kernel's Landlock is of version %ld, which does not keep files from being truncated "
		    "(3, Linux 6.2, does)",
		    abi);
	struct rules rules = {.s = s, .fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0)};
	if (rules.fd < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot make a Landlock ruleset: %s", strerror(errno));
	int r = allow_devices(&rules, e);
	for (size_t i = 0; r == 0 && s->read_only[i] != NULL; i++)
		r = allow_beside(&rules, i, e);
	if (r == 0 && own_dir != NULL)
		r = allow(&rules, AT_FDCWD, own_dir, own_dir, e);
	if (r < 0) {
		close(rules.fd);
		return r;
	}
	*ret_fd = rules.fd;
	return 0;
}
