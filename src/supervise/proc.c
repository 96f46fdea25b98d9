/* Owns one child process from clone to the last byte of its output: its pidfd,
 * its pipes, the ladder of signals that ends it.
 *
 * Spawn: find the program, make the pipes, run the child up to its program
 * (exec_worker.c), watch. The pidfd becomes readable when the process has
 * exited: while it is a zombie its number, which is also its group's, belongs
 * to nobody else, so now the group is killed, with it what is in the control
 * group, the guardian told and the zombie reaped, in this order. Then the pipes are read to their end. A process that
 * left the group can hold them open: 200 ms, and they are given up. Everything
 * closed: exited(), and the memory goes.
 *
 * Failure paths: a child that failed before its program is reaped at once and
 * its step told; one that cannot be watched is killed and reaped likewise. No
 * event comes of either. */
#include "supervise/proc.h"

#include "base/log.h"
#include "supervise/exec_worker.h"
#include "supervise/output.h"
#include "supervise/program_path.h"
#include "supervise/reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PROC_MAGIC 0x70726f63u
#define GIVE_UP_MS 200

enum proc_state {
	PROC_RUNS,
	PROC_ASKED,   /* SIGTERM sent, SIGKILL armed */
	PROC_KILLED,  /* SIGKILL sent */
	PROC_REAPED,  /* the output may still be read */
	PROC_ABANDON, /* never was the caller's; the memory goes when all is closed */
};

struct proc {
	uint32_t magic;
	enum proc_state state;
	struct loop *loop;
	struct guardian *guardian;
	const struct proc_events *events;
	void *arg;
	struct reaper_child child;
	int pidfd;
	struct fd_watch *watch; /* NULL: pidfd is closed */
	bool output_over;
	struct output output;
	struct timer timer; /* the ladder, then giving up the output */
	int64_t kill_mono_ms;
	struct proc_exit how;
	struct cgroup_group group;
};

static uint64_t first_n_files[2];

void proc_remember_limits(void)
{
	struct rlimit now;
	CHECK(getrlimit(RLIMIT_NOFILE, &now) == 0);
	first_n_files[0] = now.rlim_cur;
	first_n_files[1] = now.rlim_max;
}

/* ---- the end ---- */

static void free_proc(struct proc *p)
{
	timer_disarm(&p->timer);
	cgroup_group_remove(&p->group);
	p->magic = 0;
	mem_free(p);
}

static void finish(struct proc *p)
{
	if (p->watch != NULL || !p->output_over)
		return;
	timer_disarm(&p->timer);
	if (p->state == PROC_REAPED)
		p->events->exited(p->arg, &p->how);
	free_proc(p);
}

static void on_output_line(void *arg, int fd, struct slice line)
{
	struct proc *p = CAST(struct proc, arg, PROC_MAGIC);
	if (p->state != PROC_ABANDON && p->events->output != NULL)
		p->events->output(p->arg, fd, line);
}

static void on_output_dropped(void *arg, uint64_t lines)
{
	struct proc *p = CAST(struct proc, arg, PROC_MAGIC);
	if (p->state != PROC_ABANDON && p->events->output_dropped != NULL)
		p->events->output_dropped(p->arg, lines);
}

static void on_output_over(void *arg)
{
	struct proc *p = CAST(struct proc, arg, PROC_MAGIC);
	p->output_over = true;
	finish(p);
}

static const struct output_events output_events = {
    .line = on_output_line,
    .dropped = on_output_dropped,
    .over = on_output_over,
};

static void on_give_up(void *arg)
{
	struct proc *p = CAST(struct proc, arg, PROC_MAGIC);
	output_give_up(&p->output); /* over() follows, or has been */
}

static void on_pidfd_closed(void *arg)
{
	struct proc *p = CAST(struct proc, arg, PROC_MAGIC);
	close(p->pidfd);
	p->watch = NULL;
	finish(p);
}

/* The group, and the leader by itself if it has moved to another group. */
static void send_signal(const struct proc *p, int signo)
{
	kill(-p->child.pid, signo);
	if (getpgid(p->child.pid) != p->child.pid)
		syscall(SYS_pidfd_send_signal, p->pidfd, signo, NULL, 0u);
}

/* The leader is a zombie or about to be one. */
static void reap(struct proc *p)
{
	siginfo_t info;
	kill(-p->child.pid, SIGKILL);
	cgroup_group_kill(&p->group);
	guardian_remove(p->guardian, p->child.pid);
	reaper_reap(&p->child, &info);
	p->how.code = info.si_code == CLD_EXITED ? info.si_status : -1;
	p->how.signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	p->how.core = info.si_code == CLD_DUMPED;
	p->how.oom = cgroup_group_oom(&p->group);
}

static void on_exit_seen(void *arg)
{
	struct proc *p = CAST(struct proc, arg, PROC_MAGIC);
	reap(p);
	p->state = PROC_REAPED;
	fd_watch_close(p->watch, on_pidfd_closed, p);
	timer_disarm(&p->timer);
	timer_init(&p->timer, p->loop, on_give_up, p);
	timer_arm(&p->timer, GIVE_UP_MS);
}

/* ---- the ladder ---- */

static void kill_now(struct proc *p)
{
	timer_disarm(&p->timer);
	p->state = PROC_KILLED;
	send_signal(p, SIGKILL);
}

static void on_grace_over(void *arg)
{
	kill_now(CAST(struct proc, arg, PROC_MAGIC));
}

void proc_stop(struct proc *p, int64_t grace_ms)
{
	CHECK(p->magic == PROC_MAGIC && grace_ms >= 0);
	if (p->state != PROC_RUNS && p->state != PROC_ASKED)
		return;
	if (grace_ms == 0) {
		kill_now(p);
		return;
	}
	int64_t kill_mono_ms = loop_mono_ms(p->loop) + grace_ms;
	if (p->state == PROC_ASKED && kill_mono_ms >= p->kill_mono_ms)
		return;
	p->kill_mono_ms = kill_mono_ms;
	timer_arm(&p->timer, grace_ms);
	if (p->state == PROC_ASKED)
		return;
	p->state = PROC_ASKED;
	send_signal(p, SIGTERM);
	send_signal(p, SIGCONT); /* one that is stopped could not obey */
}

/* ---- the beginning ---- */

static const char *rlimit_name(const struct proc_spec *spec, size_t at)
{
	static const struct {
		int resource;
		const char *name;
	} names[] = {
	    {RLIMIT_NOFILE, "open_files"}, {RLIMIT_NPROC, "processes"}, {RLIMIT_AS, "address_space"},
	    {RLIMIT_CORE, "core"},         {RLIMIT_CPU, "cpu_time"},
	};
	int resource = at < spec->n_rlimits ? spec->rlimits[at].resource : RLIMIT_NOFILE;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].resource == resource)
			return names[i].name;
	return "resource";
}

/* What errno alone would leave the reader to guess. */
static const char *exec_hint(const struct exec_worker *w)
{
	struct stat st;
	if (w->why == ENOENT && w->path[0] == '/' && stat(w->path, &st) == 0)
		return "; the file is there, so what is missing is the interpreter its first line names, or its loader";
	if (w->why == ENOENT && w->path[0] != '/')
		return "; the path is taken from the worker's directory";
	if (w->why == ENOEXEC)
		return "; a script needs a first line such as #!/bin/sh";
	if (w->why == EAGAIN)
		return "; its user's limit of processes is reached";
	return "";
}

static int explain_sandbox(const struct exec_worker *w, struct err *e)
{
	const struct sandbox *b = w->spec->sandbox;
	const char *why = strerror(w->why);
	switch ((int)w->step) {
	case EXEC_STEP_CGROUP:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot put %s into its control group: %s", w->path, why);
	case EXEC_STEP_OOM_SCORE:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot set oom_score_adj %s of %s: %s", w->oom_score_adj,
			       w->path, why);
	case EXEC_STEP_NICE:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot set nice %d of %s: %s", b->nice, w->path, why);
	case EXEC_STEP_NAMESPACE:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot make a mount namespace for %s: %s", w->path, why);
	case EXEC_STEP_READ_ONLY:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot make %s read-only for %s: %s",
			       b->read_only[w->read_only_at], w->path, why);
	case EXEC_STEP_TMP:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot mount a private /tmp for %s: %s", w->path, why);
	case EXEC_STEP_OWN_DIR:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot keep %s writable for %s: %s", w->own_dir, w->path,
			       why);
	case EXEC_STEP_NO_NEW_PRIVS:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot set no_new_privs for %s: %s", w->path, why);
	default:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot restrict %s by Landlock: %s", w->path, why);
	}
}

static int explain(const struct exec_worker *w, struct err *e)
{
	const struct proc_spec *s = w->spec;
	const char *why = strerror(w->why);
	const char *as_root = w->why == EPERM ? "; only root may start workers as another user" : "";
	switch (w->step) {
	case EXEC_STEP_CGROUP:
	case EXEC_STEP_OOM_SCORE:
	case EXEC_STEP_NICE:
	case EXEC_STEP_NAMESPACE:
	case EXEC_STEP_READ_ONLY:
	case EXEC_STEP_TMP:
	case EXEC_STEP_OWN_DIR:
	case EXEC_STEP_NO_NEW_PRIVS:
	case EXEC_STEP_LANDLOCK:
		return explain_sandbox(w, e);
	case EXEC_STEP_CLONE:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot start a process for %s: %s%s", w->path, why,
			       w->why == EAGAIN ? "; the limit of processes is reached" : "");
	case EXEC_STEP_GROUP:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot make a process group for %s: %s", w->path, why);
	case EXEC_STEP_FDS:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot hand descriptors to %s: %s", w->path, why);
	case EXEC_STEP_RLIMIT:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot set the limit %s of %s: %s",
			       rlimit_name(s, w->rlimit_at), w->path, why);
	case EXEC_STEP_GROUPS:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot set the groups of user %u for %s: %s%s", s->uid,
			       w->path, why, as_root);
	case EXEC_STEP_GID:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot take group %u for %s: %s%s", s->gid, w->path, why,
			       as_root);
	case EXEC_STEP_UID:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot become user %u for %s: %s%s", s->uid, w->path, why,
			       as_root);
	case EXEC_STEP_CAPS:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot drop capabilities for %s: %s", w->path, why);
	case EXEC_STEP_DIRECTORY:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot enter directory %s: %s", s->directory, why);
	case EXEC_STEP_PARENT_DEATH:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot tie %s to the daemon's life: %s", w->path, why);
	case EXEC_STEP_EXEC:
		return err_set(e, w->why, EXIT_CODE_FAILED, "cannot execute %s: %s%s", w->path, why, exec_hint(w));
	case EXEC_STEP_NONE:
		break;
	}
	IMPOSSIBLE("a failure without a step");
}

/* A copy of envp in which LISTEN_PID=<spaces>, if there, is replaced by listen_pid. */
static char **own_environment(char *const *envp, char *listen_pid, bool *ret_has)
{
	size_t n = 0;
	while (envp[n] != NULL)
		n++;
	char **copy = mem_alloc((n + 1) * sizeof(copy[0]));
	memcpy(copy, envp, (n + 1) * sizeof(copy[0]));
	*ret_has = false;
	for (size_t i = 0; i < n; i++) {
		if (strncmp(copy[i], "LISTEN_PID=", 11) == 0 && copy[i][11 + strspn(copy[i] + 11, " ")] == '\0') {
			copy[i] = listen_pid;
			*ret_has = true;
		}
	}
	return copy;
}

struct pipes {
	int null;
	int out[2], err[2];
};

static void close_pipes(struct pipes *p, bool ours_too)
{
	int fds[5] = {p->null, p->out[1], p->err[1], p->out[0], p->err[0]};
	for (size_t i = 0; i < (ours_too ? 5 : 3); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int open_pipes(const struct proc_spec *spec, struct pipes *ret, struct err *e)
{
	*ret = (struct pipes){-1, {-1, -1}, {-1, -1}};
	ret->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (ret->null < 0 || pipe2(ret->out, O_CLOEXEC) < 0 || pipe2(ret->err, O_CLOEXEC) < 0) {
		int why = errno;
		close_pipes(ret, true);
		return err_set(e, why, EXIT_CODE_FAILED, "cannot open %s for %s: %s",
			       ret->null < 0 ? "/dev/null" : "pipes", spec->argv[0], strerror(why));
	}
	fcntl(ret->out[0], F_SETFL, O_NONBLOCK);
	fcntl(ret->err[0], F_SETFL, O_NONBLOCK);
	if (spec->set_user) { /* so that it may open /dev/stdout and /dev/stderr; a convenience that may fail */
		(void)!fchown(ret->out[1], spec->uid, spec->gid);
		(void)!fchown(ret->err[1], spec->uid, spec->gid);
	}
	return 0;
}

/* What of the sandbox is done in the child, and how. *own_dir (mem_) and w->ruleset_fd are the caller's. */
static int prepare_sandbox(const struct proc_spec *spec, struct exec_worker *w, char **ret_own_dir, struct err *e)
{
	const struct sandbox *b = spec->sandbox;
	struct stat st;
	if (b == NULL)
		return 0;
	if (b->set_oom_score_adj)
		snprintf(w->oom_score_adj, sizeof(w->oom_score_adj), "%d", b->oom_score_adj);
	if (!sandbox_has_paths(b))
		return 0;
	w->mounts = sandbox_mounts() == 0;
	if (!w->mounts)
		return sandbox_ruleset(b, spec->own_dir, &w->ruleset_fd, e);
	w->var_tmp = lstat("/var/tmp", &st) == 0 && S_ISDIR(st.st_mode);
	w->own_dir = *ret_own_dir = mem_strdup(spec->own_dir);
	return 0;
}

/* Without limits a worker is better without a group than not at all. */
static int prepare_group(const struct sandbox *b, struct cgroup_group *group, struct err *e)
{
	static bool told;
	struct err why = {0};
	if (b != NULL && (b->memory_max > 0 || b->cpu_milli > 0))
		return cgroup_group_make(group, b->memory_max, b->cpu_milli, e);
	if (!cgroup_is_open())
		return 0;
	int r = cgroup_group_make(group, 0, 0, &why);
	if (r < 0 && !told)
		LOG(WARN,
		    "a worker runs without a control group of its own; what leaves its session will outlive it until "
		    "the service ends",
		    LOG_STR("reason", why.text));
	told = r < 0;
	return 0;
}

/* The process up to its program. */
static int run(const struct proc_spec *spec, struct guardian *g, const char *path, const struct pipes *pipes,
	       struct cgroup_group *group, struct reaper_child *child, int *ret_pidfd, struct err *e)
{
	char listen_pid[32] = "LISTEN_PID=";
	bool has_listen_pid;
	char here[PATH_MAX];
	MEM_AUTO char *own_dir = NULL;
	MEM_AUTO char **envp = own_environment(spec->envp, listen_pid, &has_listen_pid);
	struct exec_worker w = {
	    .spec = spec,
	    .path = path,
	    .envp = envp,
	    .listen_pid = has_listen_pid ? listen_pid : NULL,
	    .fds = {pipes->null, pipes->out[1], pipes->err[1]},
	    .guardian_fd = guardian_fd(g),
	    .n_files = first_n_files[1] == 0 ? NULL : first_n_files,
	    .ruleset_fd = -1,
	    .cgroup_fd = -1,
	};
	int r = prepare_group(spec->sandbox, group, e);
	if (r == 0)
		r = prepare_sandbox(spec, &w, &own_dir, e);
	if (r < 0)
		return r;
	if (group->path != NULL)
		w.cgroup_fd = group->join_fd;
	if (w.mounts)
		w.here = getcwd(here, sizeof(here));
	pid_t pid = exec_worker(&w, ret_pidfd);
	cgroup_group_started(group);
	if (w.ruleset_fd >= 0)
		close(w.ruleset_fd);
	if (pid < 0)
		return explain(&w, e);
	reaper_own(child, pid);
	if (w.step == EXEC_STEP_NONE) {
		guardian_add(g, pid);
		return 0;
	}
	siginfo_t info;
	guardian_remove(g, pid); /* it has told itself */
	reaper_reap(child, &info);
	close(*ret_pidfd);
	return explain(&w, e);
}

/* Not to be watched, not to be kept. */
static int abandon(struct proc *p, int why, const char *path, struct err *e)
{
	send_signal(p, SIGKILL);
	reap(p);
	p->state = PROC_ABANDON;
	close(p->pidfd);
	if (!output_give_up(&p->output))
		free_proc(p);
	return err_set(e, why, EXIT_CODE_FAILED, "cannot watch %s: %s", path, strerror(why));
}

int proc_spawn(struct loop *l, struct guardian *g, const struct proc_spec *spec, const struct proc_events *events,
	       void *arg, struct proc **ret, struct err *e)
{
	char path[PROGRAM_PATH_BYTES];
	struct pipes pipes;
	CHECK(spec->argv[0] != NULL);
	CHECK(!spec->set_user || (spec->uid != UINT32_MAX && spec->gid != UINT32_MAX)); /* the kernel's "leave it" */
	int r = program_path(spec, path, e);
	if (r < 0)
		return r;
	r = open_pipes(spec, &pipes, e);
	if (r < 0)
		return r;
	struct proc *p = mem_zalloc(sizeof(*p));
	*p = (struct proc){.magic = PROC_MAGIC, .loop = l, .guardian = g, .events = events, .arg = arg};
	timer_init(&p->timer, l, on_grace_over, p);
	r = run(spec, g, path, &pipes, &p->group, &p->child, &p->pidfd, e);
	close_pipes(&pipes, r < 0);
	if (r < 0) {
		free_proc(p);
		return r;
	}
	r = output_open(&p->output, l, (const int[2]){pipes.out[0], pipes.err[0]}, &output_events, p);
	if (r == 0)
		r = fd_watch_open(l, p->pidfd, on_exit_seen, p, &p->watch);
	if (r < 0)
		return abandon(p, -r, path, e);
	*ret = p;
	return 0;
}

/* ---- what is asked about it ---- */

int32_t proc_pid(const struct proc *p)
{
	CHECK(p->magic == PROC_MAGIC);
	return p->child.pid;
}

struct slice proc_stderr_tail(const struct proc *p)
{
	CHECK(p->magic == PROC_MAGIC);
	return output_tail(&p->output);
}

void proc_exit_text(const struct proc_exit *how, char ret[80])
{
	static const char *const oom[] = {
	    [CGROUP_OOM_NONE] = "",
	    [CGROUP_OOM_LIMIT] = ", out of memory: limits.memory",
	    [CGROUP_OOM_OUTSIDE] = ", out of memory: the service's or the machine's",
	};
	if (how->signal == 0) {
		snprintf(ret, 80, "exit code %d%s", how->code, oom[how->oom]);
		return;
	}
	const char *name = sigdescr_np(how->signal);
	snprintf(ret, 80, "signal %d (%s%s)", how->signal, name == NULL ? "real-time signal" : name,
		 how->core && how->oom == CGROUP_OOM_NONE ? ", core dumped" : oom[how->oom]);
}
