/* Who gets which worker: places wait in order of arrival; a shared worker with
 * room is preferred, else a new process is started while the type is below its
 * workers_max and fewer than starts_max processes are starting. */
#include "worker/worker_private.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_work(void *arg);
static void on_finish(void *arg);

/* ---- the runtime directory ---- */

static int bad_dir(struct err *e, const char *dir, const char *what, int why)
{
	return err_set(e, why, EXIT_CODE_CONFIG, "runtime directory %s: %s: %s; choose another with --runtime-dir", dir,
		       what, strerror(why));
}

/* Makes dir and its parents; what is there must be a directory, not a link. */
static int make_dirs(const char *dir, struct err *e)
{
	MEM_AUTO char *path = mem_strdup(dir);
	for (char *at = path + 1;; at++) {
		char c = *at;
		if (c != '/' && c != '\0')
			continue;
		*at = '\0';
		if (mkdir(path, 0711) == 0)
			(void)chmod(path, 0711); /* whatever the umask */
		else if (errno != EEXIST)
			return bad_dir(e, dir, "cannot make it", errno);
		*at = c;
		if (c == '\0')
			break;
	}
	struct stat st;
	if (lstat(dir, &st) < 0)
		return bad_dir(e, dir, "cannot look at it", errno);
	if (!S_ISDIR(st.st_mode))
		return bad_dir(e, dir, "not usable", ENOTDIR);
	if (st.st_uid != geteuid())
		return bad_dir(e, dir, "it belongs to another user", EPERM);
	if (chmod(dir, 0711) < 0)
		return bad_dir(e, dir, "cannot open it to the workers' users", errno);
	return 0;
}

static int lock_dir(struct worker_pool *p, struct err *e)
{
	const char *dir = p->o.runtime_dir;
	MEM_AUTO char *path = mem_printf("%s/lock", dir);
	char pid[16] = {0};
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (p->lock_fd < 0)
		return bad_dir(e, dir, "cannot make the lock file", errno);
	if (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (read(p->lock_fd, pid, sizeof(pid) - 1) < 0)
			pid[0] = '\0';
		return err_set(e, EBUSY, EXIT_CODE_DATA_DIR,
			       "runtime directory %s is in use by another daemon (pid %s); stop it or choose another "
			       "with --runtime-dir",
			       dir, pid[0] == '\0' ? "unknown" : pid);
	}
	int n = snprintf(pid, sizeof(pid), "%d", getpid());
	if (ftruncate(p->lock_fd, 0) < 0 || pwrite(p->lock_fd, pid, (size_t)n, 0) != n)
		return bad_dir(e, dir, "cannot write the lock file", errno);
	return 0;
}

int worker_pool_open(const struct worker_pool_options *o, struct worker_pool **ret, struct err *e)
{
	struct worker_pool *p = mem_zalloc(sizeof(*p));
	p->magic = WORKER_POOL_MAGIC;
	p->o = *o;
	p->lock_fd = -1;
	list_init(&p->workers);
	list_init(&p->waiting);
	loop_task_init(&p->work, on_work, p);
	loop_task_init(&p->finish, on_finish, p);
	int r = make_dirs(o->runtime_dir, e);
	if (r == 0)
		r = lock_dir(p, e);
	if (r < 0) {
		if (p->lock_fd >= 0)
			close(p->lock_fd);
		mem_free(p);
		return r;
	}
	worker_socket_sweep(o->runtime_dir);
	*ret = p;
	return 0;
}

/* ---- seats ---- */

static struct worker *shared_with_room(struct worker_pool *p, const struct actor_type *type)
{
	struct worker *best = NULL;
	LIST_FOR (&p->workers, node) {
		struct worker *w = CONTAINER_OF(node, struct worker, node);
		if (w->type == type && worker_takes_actors(w) && (best == NULL || w->n_places < best->n_places))
			best = w;
	}
	return best;
}

static uint32_t processes_of(const struct worker_pool *p, const struct actor_type *type)
{
	uint32_t n = 0;
	LIST_FOR (&p->workers, node) {
		const struct worker *w = CONTAINER_OF(node, struct worker, node);
		n += w->type == type && w->state <= WORKER_STOPPING;
	}
	return n;
}

/* The process could not even be started. */
static void seat_failed(struct place *pl, char *why)
{
	list_remove(&pl->node);
	pl->state = PLACE_OVER;
	pl->how = PLACE_START_FAILED;
	pl->reason = why;
	timer_disarm(&pl->timer);
	loop_post(pl->pool->o.loop, &pl->work);
}

/* A pool spreads: a new process as long as it may, then the one with most room. */
static void seat(struct worker_pool *p, struct place *pl, const struct actor_type **crowded)
{
	struct worker *w = pl->type->isolation == ISOLATION_SHARED ? shared_with_room(p, pl->type) : NULL;
	char *why = NULL;
	if (w == NULL && processes_of(p, pl->type) >= pl->type->workers_max) {
		*crowded = pl->type;
		return;
	}
	if (w == NULL && p->n_starting >= p->o.starts_max)
		return;
	if (w == NULL)
		w = worker_start(p, pl->type, pl, &why);
	p->stats.waiting--;
	if (w == NULL)
		seat_failed(pl, why);
	else
		place_seated(pl, w);
}

static void on_work(void *arg)
{
	struct worker_pool *p = CAST(struct worker_pool, arg, WORKER_POOL_MAGIC);
	const struct actor_type *crowded = NULL;
	p->stats.waiting = 0;
	LIST_FOR (&p->waiting, counted) {
		(void)counted;
		p->stats.waiting++;
	}
	LIST_FOR (&p->waiting, node) {
		struct place *pl = CONTAINER_OF(node, struct place, node);
		if (pl->type != crowded)
			seat(p, pl, &crowded);
	}
	if (crowded != NULL && p->o.crowded != NULL)
		p->o.crowded(p->o.arg, crowded);
}

void worker_pool_look(struct worker_pool *p)
{
	if (!list_empty(&p->waiting))
		loop_post(p->o.loop, &p->work);
}

/* ---- the end ---- */

void worker_pool_worker_gone(struct worker *w)
{
	struct worker_pool *p = w->pool;
	worker_pool_look(p);
	if (p->closing)
		loop_post(p->o.loop, &p->finish);
}

static void on_finish(void *arg)
{
	struct worker_pool *p = CAST(struct worker_pool, arg, WORKER_POOL_MAGIC);
	if (!list_empty(&p->workers))
		return;
	void (*closed)(void *) = p->closed;
	void *closed_arg = p->closed_arg;
	loop_cancel(&p->work);
	close(p->lock_fd);
	p->magic = 0;
	mem_free(p);
	closed(closed_arg);
}

void worker_pool_close(struct worker_pool *p, void (*closed)(void *arg), void *arg)
{
	p->closing = true;
	p->closed = closed;
	p->closed_arg = arg;
	LIST_FOR (&p->workers, node) {
		struct worker *w = CONTAINER_OF(node, struct worker, node);
		if (w->state <= WORKER_STOPPING)
			worker_end(w, 0, NULL);
	}
	loop_post(p->o.loop, &p->finish);
}

void worker_pool_stats(const struct worker_pool *p, struct worker_pool_stats *ret)
{
	*ret = p->stats;
	ret->starting = p->n_starting;
}
