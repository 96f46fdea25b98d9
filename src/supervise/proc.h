/* One child process: spawned without stalling the loop, watched by a pidfd,
 * ended with its whole process group.
 *
 * The child is made with clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD) and does
 * nothing but raw system calls before execve, see exec_worker.c. Its process
 * group is told to the guardian before the program runs. Where there are
 * control groups it gets one, and what called setsid ends with it too. To be
 * called from the loop's thread only: the kernel kills the child when that
 * thread ends. */
#pragma once

#include "base/err.h"
#include "io/timer.h"
#include "supervise/cgroup.h"
#include "supervise/guardian.h"
#include "supervise/sandbox.h"

/* Notes RLIMIT_NOFILE as the daemon was started with it, which workers get back. Call before raising it. */
void proc_remember_limits(void);

struct proc_rlimit {
	int resource;
	uint64_t value; /* soft and hard */
};

/* What to run. Borrowed during proc_spawn only. */
struct proc_spec {
	char *const *argv;       /* argv[0] without a slash is searched in `search_path` */
	const char *search_path; /* PATH of the worker's environment; its absolute directories count */
	char *const *envp;       /* complete; "LISTEN_PID=" followed by spaces is filled in by the child with its pid */
	const char *directory;   /* entered as the user; NULL: the daemon's own */
	bool set_user;
	uint32_t uid, gid;
	const uint32_t *groups; /* supplementary, with set_user */
	size_t n_groups;
	int fd3; /* passed as descriptor 3 (blocking), or -1 */
	const struct proc_rlimit *rlimits;
	size_t n_rlimits;
	const struct sandbox *sandbox; /* NULL: umask 022 and nothing kept from it */
	const char *own_dir;           /* stays where it is and writable whatever the sandbox says; NULL: none */
};

/* How it ended. */
struct proc_exit {
	int code;   /* exit code, or -1 */
	int signal; /* signal number, or 0 */
	bool core;
	enum cgroup_oom oom; /* the kernel killed it, or a process of it, for memory */
};

struct proc_events {
	/* A line of output without its newline (fd 1 or 2), at most LIMIT_OUTPUT_LINE_BYTES. */
	void (*output)(void *arg, int fd, struct slice line);
	/* Lines dropped by the rate limit since the last call. */
	void (*output_dropped)(void *arg, uint64_t lines);
	/* The process is gone and reaped, its group killed, its output read to the end (or given up after 200 ms when a
	 * stranger holds the pipe open). Last event; the proc is freed after it returns. */
	void (*exited)(void *arg, const struct proc_exit *how);
};

struct proc;

/* Starts it. 0, or -errno with a sentence naming the step and the path ("cannot execute /x/y: Permission denied",
 * "cannot enter directory ...") in e: nothing runs then and no event comes. */
int proc_spawn(struct loop *l, struct guardian *g, const struct proc_spec *spec, const struct proc_events *events,
	       void *arg, struct proc **ret, struct err *e);

int32_t proc_pid(const struct proc *p);

/* SIGTERM to the group now, SIGKILL to the group after grace_ms >= 0. Calling again only shortens. grace_ms 0 kills
 * now. */
void proc_stop(struct proc *p, int64_t grace_ms);

/* The last lines written to stderr, joined by newlines; lives until exited() returned. */
struct slice proc_stderr_tail(const struct proc *p);

/* Writes "exit code 3", "signal 11 (Segmentation fault, core dumped)" into ret. */
void proc_exit_text(const struct proc_exit *how, char ret[80]);

/* PID 1 and subreaper duties: becomes a subreaper, watches SIGCHLD and reaps every child that is no struct proc and not
 * the guardian. 0 or -errno. loop_signals_close ends it. */
int proc_reaper_start(struct loop *l);
