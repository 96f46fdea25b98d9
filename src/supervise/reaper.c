/* Owns the table of our own children, one per process like the children
 * themselves.
 *
 * waitid(P_ALL, WNOWAIT) shows the first zombie without taking it: a stranger
 * is taken, and the next one looked at; an owned one ends the scan, because
 * its owner is about to take it and the scan is made again then. So nobody's
 * status is stolen and no list of all processes is ever read. */
#include "supervise/reaper.h"

#include "io/loop.h"
#include "supervise/proc.h"

#include <errno.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CHILDREN_MAX 65536
#define SCAN_MAX 4096 /* strangers reaped in one go; the rest at the next SIGCHLD */

static struct map children = {.max = CHILDREN_MAX};
static bool reaps_strangers;

static void scan(void)
{
	for (unsigned i = 0; reaps_strangers && i < SCAN_MAX; i++) {
		siginfo_t info = {0};
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
			return;
		int32_t pid = info.si_pid;
		if (map_get(&children, slice_of(&pid, sizeof(pid))) != NULL)
			return;
		waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG);
	}
}

static void on_sigchld(void *arg, int signo)
{
	(void)arg;
	(void)signo;
	scan();
}

void reaper_own(struct reaper_child *c, int32_t pid)
{
	c->pid = pid;
	CHECK(map_put(&children, &c->node, slice_of(&c->pid, sizeof(c->pid))) == 0);
}

void reaper_reap(struct reaper_child *c, siginfo_t *ret)
{
	int r;
	do
		r = waitid(P_PID, (id_t)c->pid, ret, WEXITED);
	while (r < 0 && errno == EINTR);
	CHECK(r == 0);
	map_remove(&children, &c->node);
	scan();
}

int proc_reaper_start(struct loop *l)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
		return -errno;
	int r = loop_on_signal(l, SIGCHLD, on_sigchld, NULL);
	if (r < 0)
		return r;
	reaps_strangers = true;
	scan();
	return 0;
}
