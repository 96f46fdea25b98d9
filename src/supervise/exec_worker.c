/* Owns the stack the child runs on; nothing else lives longer than a call.
 *
 * clone(CLONE_VM | CLONE_VFORK): the child borrows the daemon's memory while the
 * calling thread waits, so the time does not grow with the daemon as fork's
 * does. The price is what may be done in there: no allocation, no lock, no libc
 * beyond syscall(2) (its setuid, for one, would change the daemon's threads
 * too), no signal handler. All signals are blocked around it, libc's own too,
 * and the child takes the daemon's handlers off before it unblocks.
 *
 * The outcome is written into struct exec_worker, whose memory is shared.
 *
 * setuid in the child marks the shared memory as not dumpable, which is right
 * while a process of the worker's user holds it (nobody may attach), and taken
 * back once the child has memory of its own.
 *
 * The sanitizers do not see the functions of the child: they do not know its
 * stack. */
#include "supervise/exec_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)64 * 1024)
#define GUARD_BYTES ((size_t)64 * 1024) /* a multiple of every page size */
#define N_SIGNALS 64
#define SIGSET_BYTES ((size_t)(N_SIGNALS / 8)) /* the kernel's */
#define MOUNT_TMPFS "mode=1777,size=10%"       /* of the machine's memory; it takes what is used */
#define FD_FIRST_FREE 4                        /* 0 to 3 are the worker's */

#define IN_CHILD __attribute__((no_sanitize("address", "undefined", "thread"), noinline))

static char *stack_top(void)
{
	static char *top;
	if (top != NULL)
		return top;
	char *low = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (low == MAP_FAILED || mprotect(low, GUARD_BYTES, PROT_NONE) < 0)
		return NULL;
	return top = low + GUARD_BYTES + STACK_BYTES;
}

/* ---- the child ---- */

/* Stops here, with errno as the reason. */
#define TRY(w, the_step, call)                        \
	do {                                          \
		if ((call) < 0) {                     \
			(w)->step = (the_step);       \
			(w)->why = errno;             \
			syscall(SYS_exit_group, 127); \
		}                                     \
	} while (0)

IN_CHILD static void reset_signals(void)
{
	/* struct sigaction as the kernel has it: all zeros is SIG_DFL on every architecture. */
	static const unsigned long dfl[8];
	for (long signo = 1; signo <= N_SIGNALS; signo++)
		syscall(SYS_rt_sigaction, signo, dfl, NULL, SIGSET_BYTES); /* KILL and STOP refuse */
	/* Telling a dead guardian left this one pending. */
	uint64_t pipe_only = (uint64_t)1 << (SIGPIPE - 1);
	static const int64_t at_once[2];
	syscall(SYS_rt_sigtimedwait, &pipe_only, NULL, at_once, SIGSET_BYTES);
}

IN_CHILD static void lead_group(struct exec_worker *w)
{
	struct {
		int32_t group, there;
	} message = {(int32_t)syscall(SYS_getpid), 1};
	TRY(w, EXEC_STEP_GROUP, syscall(SYS_setpgid, 0, 0));
	/* If this fails the parent still tells it, once the program runs. */
	if (w->guardian_fd >= 0)
		syscall(SYS_write, w->guardian_fd, &message, sizeof(message));
}

IN_CHILD static void arrange_fds(struct exec_worker *w)
{
	int from[4] = {w->fds[0], w->fds[1], w->fds[2], w->spec->fd3};
	unsigned n = w->spec->fd3 < 0 ? 3 : 4;
	for (unsigned i = 0; i < n; i++) /* out of the way of what is going to be 0 to 3 */
		if (from[i] < FD_FIRST_FREE)
			TRY(w, EXEC_STEP_FDS, from[i] = (int)syscall(SYS_fcntl, from[i], F_DUPFD, FD_FIRST_FREE));
	for (unsigned i = 0; i < n; i++)
		TRY(w, EXEC_STEP_FDS, syscall(SYS_dup3, from[i], i, 0));
	TRY(w, EXEC_STEP_FDS, syscall(SYS_close_range, n, ~0u, 0u));
	if (n == 4) {
		long flags;
		TRY(w, EXEC_STEP_FDS, flags = syscall(SYS_fcntl, 3, F_GETFL));
		TRY(w, EXEC_STEP_FDS, syscall(SYS_fcntl, 3, F_SETFL, flags & ~(long)O_NONBLOCK));
	}
}

IN_CHILD static void set_rlimits(struct exec_worker *w)
{
	const struct proc_spec *s = w->spec;
	w->rlimit_at = s->n_rlimits;
	if (w->n_files != NULL)
		TRY(w, EXEC_STEP_RLIMIT, syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, w->n_files, NULL));
	for (w->rlimit_at = 0; w->rlimit_at < s->n_rlimits; w->rlimit_at++) {
		uint64_t both[2] = {s->rlimits[w->rlimit_at].value, s->rlimits[w->rlimit_at].value};
		TRY(w, EXEC_STEP_RLIMIT, syscall(SYS_prlimit64, 0, s->rlimits[w->rlimit_at].resource, both, NULL));
	}
}

/* Before the user is taken on: raising a priority or protecting from the kernel's killer takes rights. The kernel
 * leaves the daemon's score alone although it shares the memory, because the child is in vfork. */
IN_CHILD static void set_priorities(struct exec_worker *w)
{
	const struct sandbox *b = w->spec->sandbox;
	size_t n = 0;
	while (w->oom_score_adj[n] != '\0')
		n++;
	if (n > 0) {
		long fd;
		TRY(w, EXEC_STEP_OOM_SCORE,
		    fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC));
		TRY(w, EXEC_STEP_OOM_SCORE, syscall(SYS_write, fd, w->oom_score_adj, n));
	}
	if (b != NULL && b->set_nice)
		TRY(w, EXEC_STEP_NICE, syscall(SYS_setpriority, PRIO_PROCESS, 0, b->nice));
}

/* A tree of its own below the path, so that it can be read-only here and nowhere else; / is one already. */
IN_CHILD static void make_read_only(struct exec_worker *w)
{
	static const struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
	char **paths = w->spec->sandbox->read_only;
	for (w->read_only_at = 0; paths != NULL && paths[w->read_only_at] != NULL; w->read_only_at++) {
		const char *path = paths[w->read_only_at];
		if (path[1] != '\0')
			TRY(w, EXEC_STEP_READ_ONLY, syscall(SYS_mount, path, path, NULL, MS_BIND | MS_REC, NULL));
		TRY(w, EXEC_STEP_READ_ONLY,
		    syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &read_only, sizeof(read_only)));
	}
}

/* Puts the tree where it was, above what hides it now. */
IN_CHILD static void put_own_dir(struct exec_worker *w, long tree)
{
	for (char *at = w->own_dir + 1; *at != '\0'; at++) {
		if (*at != '/')
			continue;
		*at = '\0';
		syscall(SYS_mkdirat, AT_FDCWD, w->own_dir, 0755); /* mostly there */
		*at = '/';
	}
	syscall(SYS_mkdirat, AT_FDCWD, w->own_dir, 0755);
	TRY(w, EXEC_STEP_OWN_DIR, syscall(SYS_move_mount, tree, "", AT_FDCWD, w->own_dir, MOVE_MOUNT_F_EMPTY_PATH));
}

IN_CHILD static void arrange_mounts(struct exec_worker *w)
{
	const struct sandbox *b = w->spec->sandbox;
	long tree = -1;
	TRY(w, EXEC_STEP_NAMESPACE, syscall(SYS_unshare, CLONE_NEWNS));
	/* What the machine mounts later still appears; nothing of ours goes back to it. */
	TRY(w, EXEC_STEP_NAMESPACE, syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	if (w->own_dir != NULL)
		TRY(w, EXEC_STEP_OWN_DIR,
		    tree = syscall(SYS_open_tree, AT_FDCWD, w->own_dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
	make_read_only(w);
	if (b->private_tmp)
		TRY(w, EXEC_STEP_TMP, syscall(SYS_mount, "tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, MOUNT_TMPFS));
	if (b->private_tmp && w->var_tmp)
		TRY(w, EXEC_STEP_TMP,
		    syscall(SYS_mount, "tmpfs", "/var/tmp", "tmpfs", MS_NOSUID | MS_NODEV, MOUNT_TMPFS));
	if (tree >= 0)
		put_own_dir(w, tree);
	/* The daemon's directory anew, since the handle inherited leads below what is mounted now. */
	if (w->here == NULL || syscall(SYS_chdir, w->here) < 0)
		TRY(w, EXEC_STEP_NAMESPACE, syscall(SYS_chdir, "/"));
}

IN_CHILD static void enter_sandbox(struct exec_worker *w)
{
	const struct sandbox *b = w->spec->sandbox;
	if (w->cgroup_fd >= 0) /* "0" is the writer */
		TRY(w, EXEC_STEP_CGROUP, syscall(SYS_write, w->cgroup_fd, "0", 1));
	set_priorities(w);
	syscall(SYS_umask, SANDBOX_UMASK);
	if (w->mounts)
		arrange_mounts(w);
	if (b == NULL)
		return;
	syscall(SYS_umask, b->umask);
	if (b->no_new_privs)
		TRY(w, EXEC_STEP_NO_NEW_PRIVS, syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (w->ruleset_fd >= 0)
		TRY(w, EXEC_STEP_LANDLOCK, syscall(SYS_landlock_restrict_self, w->ruleset_fd, 0));
}

/* Kernels of 32 bits have two of each; the numbers without 32 are the ones for 16-bit ids there. */
#ifdef SYS_setresuid32
#define SYS_SETRESUID SYS_setresuid32
#define SYS_SETRESGID SYS_setresgid32
#define SYS_SETGROUPS SYS_setgroups32
#else
#define SYS_SETRESUID SYS_setresuid
#define SYS_SETRESGID SYS_setresgid
#define SYS_SETGROUPS SYS_setgroups
#endif

IN_CHILD static void become_user(struct exec_worker *w)
{
	const struct proc_spec *s = w->spec;
	if (s->set_user) {
		TRY(w, EXEC_STEP_GROUPS, syscall(SYS_SETGROUPS, s->n_groups, s->groups));
		TRY(w, EXEC_STEP_GID, syscall(SYS_SETRESGID, s->gid, s->gid, s->gid));
		TRY(w, EXEC_STEP_UID, syscall(SYS_SETRESUID, s->uid, s->uid, s->uid));
	}
	/* Ambient capabilities would pass through execve; root's come with the user and stay. */
	syscall(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_geteuid) != 0) {
		struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
		TRY(w, EXEC_STEP_CAPS, syscall(SYS_capset, &head, none));
	}
}

/* The parent's thread is in vfork, but it can have been killed. */
IN_CHILD static void die_with_parent(struct exec_worker *w)
{
	TRY(w, EXEC_STEP_PARENT_DEATH, syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	if (syscall(SYS_getppid) != w->parent)
		syscall(SYS_exit_group, 127);
}

IN_CHILD static void write_listen_pid(struct exec_worker *w)
{
	char digits[12];
	unsigned n = 0;
	char *to = w->listen_pid + sizeof("LISTEN_PID=") - 1;
	for (unsigned long pid = (unsigned long)syscall(SYS_getpid); pid > 0 && n < sizeof(digits); pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (n > 0)
		*to++ = digits[--n];
	*to = '\0';
}

IN_CHILD static int run_child(void *arg)
{
	struct exec_worker *w = arg;
	const struct proc_spec *s = w->spec;
	uint64_t no_signals = 0;
	lead_group(w);
	reset_signals();
	enter_sandbox(w);
	arrange_fds(w);
	set_rlimits(w);
	become_user(w);
	if (s->directory != NULL) /* as the user: what is not the user's to enter is said here, not by the program */
		TRY(w, EXEC_STEP_DIRECTORY, syscall(SYS_chdir, s->directory));
	die_with_parent(w); /* after setuid and capset, which take it back */
	if (w->listen_pid != NULL)
		write_listen_pid(w);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, SIGSET_BYTES);
	TRY(w, EXEC_STEP_EXEC, syscall(SYS_execve, w->path, s->argv, w->envp));
	return 127; /* execve does not return */
}

/* ---- the parent ---- */

pid_t exec_worker(struct exec_worker *w, int *ret_pidfd)
{
	uint64_t all = ~(uint64_t)0, before = 0;
	char *stack = stack_top();
	int pidfd = -1;
	w->step = EXEC_STEP_NONE;
	w->parent = (int32_t)getpid();
	int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
	pid_t pid = -1;
	if (stack != NULL) {
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGSET_BYTES);
		pid = clone(run_child, stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, w, &pidfd);
		int why = errno;
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGSET_BYTES);
		errno = why;
	}
	if (pid < 0) {
		w->step = EXEC_STEP_CLONE;
		w->why = errno;
		return -1;
	}
	if (w->spec->set_user && dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	*ret_pidfd = pidfd;
	return pid;
}
