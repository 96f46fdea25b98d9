/* Owns the guardian process, the writing end of its pipe and the daemon's notes
 * of the groups that exist.
 *
 * The guardian is a fork of the daemon in a session of its own, with one
 * descriptor: the reading end. It is told each group by 8 bytes (group, then 1)
 * from the child itself before the program runs, and (group, 0) before the
 * group's leader is reaped, so its set never holds a number that could belong
 * to someone else. When the pipe ends, all writers are gone: the daemon, and
 * any child that had not come to execve and might have told one more group.
 * Then it kills every group in its set, and what is in the control groups of
 * workers, and ends. Between the daemon's death
 * and that kill there are microseconds in which a group that died by itself
 * could be reaped and its number be used again; a pid wraps far later.
 *
 * Failure paths: a guardian that died is forked anew, with the notes in its
 * memory, at most once a second. One that does not read (stopped, pipe full)
 * would hold groups that are gone; it is killed, and with that forked anew. */
#include "supervise/guardian.h"

#include "io/timer.h"
#include "supervise/cgroup.h"
#include "supervise/reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GUARDIAN_MAGIC 0x67756172u
#define GROUPS_MAX 65536 /* more than LIMIT_ACTORS, hence than workers */
#define RESTART_MS 1000
#define KILL_AGAIN_MS 50
#define STOP_MS 1000 /* for a guardian without groups to end by itself */

struct message {
	int32_t group;
	int32_t there; /* 1 or 0 */
};
_Static_assert(sizeof(struct message) == 8, "written at once, read in whole");

struct groups {
	int32_t *at;
	size_t n, room;
};

struct guardian {
	uint32_t magic;
	int fd;    /* writing end; -1 while there is no guardian */
	int pidfd; /* -1 likewise */
	struct reaper_child child;
	struct groups groups;
	struct loop *loop; /* NULL: not watched */
	struct fd_watch *watch;
	struct timer restart;
	int64_t started_mono_ms;
	bool stopping;
	void (*lost)(void *arg);
	void *lost_arg;
};

static size_t groups_find(const struct groups *s, int32_t group)
{
	size_t i = 0;
	while (i < s->n && s->at[i] != group)
		i++;
	return i;
}

/* ---- in the guardian: no heap, no stdio; the daemon may have had threads ---- */

/* Room for all there can be, from the start. */
static void own_groups(struct groups *mine, const struct groups *notes)
{
	size_t bytes = GROUPS_MAX * sizeof(int32_t);
	mine->at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mine->at == MAP_FAILED)
		_exit(1);
	mine->room = GROUPS_MAX;
	mine->n = notes->n;
	if (notes->n > 0)
		memcpy(mine->at, notes->at, notes->n * sizeof(int32_t));
}

static void obey(struct groups *s, struct message m)
{
	if (m.group <= 1) /* kill() reads these as "all" and "mine" */
		return;
	size_t i = groups_find(s, m.group);
	if (m.there != 0 && i == s->n && s->n < s->room)
		s->at[s->n++] = m.group;
	else if (m.there == 0 && i < s->n)
		s->at[i] = s->at[--s->n];
}

static void listen_to_the_end(struct groups *s)
{
	struct message m[512];
	for (;;) {
		ssize_t n = read(STDIN_FILENO, m, sizeof(m));
		if (n == 0 || (n < 0 && errno != EINTR))
			return;
		for (size_t i = 0; n > 0 && i < (size_t)n / sizeof(m[0]); i++)
			obey(s, m[i]);
	}
}

static void kill_all(const struct groups *s)
{
	for (size_t i = 0; i < s->n; i++)
		kill(-s->at[i], SIGKILL);
	cgroup_kill_all(); /* what left its process group */
}

_Noreturn static void guard(int fd, const struct groups *notes)
{
	struct groups mine;
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t none;
	setsid();
	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, &ignore, NULL); /* KILL, STOP and libc's own refuse */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "rivet-guardian", 0, 0, 0);
	if (dup2(fd, STDIN_FILENO) < 0 || syscall(SYS_close_range, 1u, ~0u, 0u) < 0 || chdir("/") < 0)
		_exit(1);
	own_groups(&mine, notes);
	listen_to_the_end(&mine);
	if (mine.n > 0) {
		struct timespec again = {.tv_nsec = KILL_AGAIN_MS * 1000000L};
		kill_all(&mine);
		nanosleep(&again, NULL);
		kill_all(&mine);
	}
	_exit(0);
}

/* ---- in the daemon ---- */

static int fork_guardian(struct guardian *g, struct err *e)
{
	int fds[2];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot make the guardian's pipe: %s", strerror(errno));
	pid_t pid = fork();
	if (pid == 0)
		guard(fds[0], &g->groups);
	int why = errno;
	close(fds[0]);
	if (pid < 0) {
		close(fds[1]);
		return err_set(e, why, EXIT_CODE_FAILED, "cannot start the guardian process: %s", strerror(why));
	}
	reaper_own(&g->child, pid);
	g->fd = fds[1];
	fcntl(g->fd, F_SETFL, O_NONBLOCK);
	g->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (g->pidfd >= 0)
		return 0;
	why = errno;
	siginfo_t info;
	kill(pid, SIGKILL);
	reaper_reap(&g->child, &info);
	close(g->fd);
	g->fd = -1;
	return err_set(e, why, EXIT_CODE_FAILED, "cannot watch the guardian process: %s (Linux 5.9 or later is needed)",
		       strerror(why));
}

int guardian_start(struct guardian **ret, struct err *e)
{
	struct guardian *g = mem_zalloc(sizeof(*g));
	*g = (struct guardian){.magic = GUARDIAN_MAGIC, .fd = -1, .pidfd = -1};
	int r = fork_guardian(g, e);
	if (r < 0) {
		mem_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

static void start_again(struct guardian *g);

static void on_restart(void *arg)
{
	start_again(CAST(struct guardian, arg, GUARDIAN_MAGIC));
}

static void on_watch_closed(void *arg)
{
	struct guardian *g = CAST(struct guardian, arg, GUARDIAN_MAGIC);
	close(g->pidfd);
	g->pidfd = -1;
	g->watch = NULL;
	if (g->stopping) {
		g->magic = 0;
		mem_free(g->groups.at);
		mem_free(g);
		return;
	}
	int64_t wait_ms = g->started_mono_ms + RESTART_MS - loop_mono_ms(g->loop);
	if (wait_ms <= 0)
		start_again(g);
	else
		timer_arm(&g->restart, wait_ms);
}

static void on_guardian_ended(void *arg)
{
	struct guardian *g = CAST(struct guardian, arg, GUARDIAN_MAGIC);
	siginfo_t info;
	reaper_reap(&g->child, &info);
	close(g->fd);
	g->fd = -1;
	fd_watch_close(g->watch, on_watch_closed, g);
}

static int watch(struct guardian *g)
{
	g->started_mono_ms = loop_mono_ms(g->loop);
	return fd_watch_open(g->loop, g->pidfd, on_guardian_ended, g, &g->watch);
}

/* Not watched, it is as good as none: it would not be missed. */
static void give_up_unwatched(struct guardian *g)
{
	siginfo_t info;
	syscall(SYS_pidfd_send_signal, g->pidfd, SIGKILL, NULL, 0u);
	reaper_reap(&g->child, &info);
	close(g->fd);
	close(g->pidfd);
	g->fd = g->pidfd = -1;
}

static void start_again(struct guardian *g)
{
	int r = fork_guardian(g, NULL);
	if (r == 0) {
		r = watch(g);
		if (r < 0)
			give_up_unwatched(g);
	}
	if (r < 0)
		timer_arm(&g->restart, RESTART_MS);
	else if (g->lost != NULL)
		g->lost(g->lost_arg); /* not before there is another: who is told may rely on it */
}

int guardian_watch(struct guardian *g, struct loop *l, void (*lost)(void *arg), void *arg)
{
	CHECK(g->magic == GUARDIAN_MAGIC && g->loop == NULL);
	g->loop = l;
	g->lost = lost;
	g->lost_arg = arg;
	timer_init(&g->restart, l, on_restart, g);
	int r = watch(g);
	if (r < 0)
		g->loop = NULL;
	return r;
}

int guardian_fd(const struct guardian *g)
{
	CHECK(g->magic == GUARDIAN_MAGIC);
	return g->fd;
}

static void tell(struct guardian *g, int32_t group, int32_t there)
{
	struct message m = {.group = group, .there = there};
	if (g->fd < 0 || write(g->fd, &m, sizeof(m)) == (ssize_t)sizeof(m) || errno == EPIPE)
		return;
	syscall(SYS_pidfd_send_signal, g->pidfd, SIGKILL, NULL, 0u);
}

void guardian_add(struct guardian *g, int32_t group)
{
	struct groups *s = &g->groups;
	CHECK(g->magic == GUARDIAN_MAGIC && group > 1 && s->n < GROUPS_MAX);
	if (s->n == s->room) {
		s->room = s->room == 0 ? 64 : s->room * 2;
		s->at = mem_realloc(s->at, s->room * sizeof(s->at[0]));
	}
	CHECK(groups_find(s, group) == s->n);
	s->at[s->n++] = group;
	tell(g, group, 1); /* again: a guardian started since the child told it has not heard */
}

void guardian_remove(struct guardian *g, int32_t group)
{
	struct groups *s = &g->groups;
	CHECK(g->magic == GUARDIAN_MAGIC && group > 1);
	size_t i = groups_find(s, group);
	if (i < s->n)
		s->at[i] = s->at[--s->n];
	tell(g, group, 0); /* also of a child that never came to its program: it had told itself */
}

void guardian_stop(struct guardian *g)
{
	CHECK(g->magic == GUARDIAN_MAGIC && !g->stopping && g->groups.n == 0);
	g->stopping = true;
	if (g->loop != NULL)
		timer_disarm(&g->restart);
	if (g->fd >= 0) {
		siginfo_t info;
		close(g->fd);
		g->fd = -1;
		struct pollfd end = {.fd = g->pidfd, .events = POLLIN};
		if (poll(&end, 1, STOP_MS) <= 0)
			syscall(SYS_pidfd_send_signal, g->pidfd, SIGKILL, NULL, 0u);
		reaper_reap(&g->child, &info);
	}
	if (g->watch != NULL) {
		fd_watch_close(g->watch, on_watch_closed, g);
		return;
	}
	if (g->pidfd >= 0)
		close(g->pidfd);
	g->magic = 0;
	mem_free(g->groups.at);
	mem_free(g);
}
