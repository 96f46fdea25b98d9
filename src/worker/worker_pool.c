/* Owns the kinds (one per actor type in use) and decides who gets a seat.
 *
 * Kinds with waiting places are served in turn, one seat each, so that a storm
 * of one type does not starve the others; within a kind it is first come, first
 * served. A seat is one in a shared worker that has room, or a new worker, as
 * long as the type is below workers_max and fewer than starts_max are starting.
 *
 * Looking is one task, posted by whatever may have changed the picture. A type
 * at its limit with someone waiting is told to the owner, who may make room. */
#include "worker/worker_private.h"

#include <unistd.h>

static struct worker_pool *pool_of(void *arg)
{
	return CAST(struct worker_pool, arg, WORKER_POOL_MAGIC);
}

static struct worker_kind *kind_at(struct list *node)
{
	return CONTAINER_OF(node, struct worker_kind, node);
}

static struct worker *worker_at(struct list *node)
{
	return CONTAINER_OF(node, struct worker, node);
}

/* ---- who gets a seat ---- */

static struct worker *find_room(const struct worker_kind *k, const struct place *pl)
{
	LIST_FOR (&k->workers, node)
		if (worker_has_room(worker_at(node), pl))
			return worker_at(node);
	return NULL;
}

/* Seats the first who waits; false when that cannot be now. */
static bool seat_one(struct worker_pool *p, struct worker_kind *k)
{
	if (list_empty(&k->waiting))
		return false;
	struct place *pl = CONTAINER_OF(k->waiting.next, struct place, node);
	struct worker *w = find_room(k, pl);
	if (w != NULL) {
		worker_place_seat(pl, w);
		return true;
	}
	if (k->n_workers >= k->type->workers_max || p->n_starting >= p->o.starts_max)
		return false;
	worker_start(k, pl);
	return true;
}

/* The first kind that can be served gets one seat and goes behind the others; who waits keeps its turn. */
static bool serve_one(struct worker_pool *p)
{
	LIST_FOR (&p->kinds, node) {
		if (!seat_one(p, kind_at(node)))
			continue;
		list_remove(node);
		list_push_back(&p->kinds, node);
		return true;
	}
	return false;
}

static void on_schedule(void *arg)
{
	struct worker_pool *p = pool_of(arg);
	while (!p->closing && serve_one(p))
		;
	if (p->closing || p->o.crowded == NULL)
		return;
	LIST_FOR (&p->kinds, node) {
		struct worker_kind *k = kind_at(node);
		if (!list_empty(&k->waiting) && k->n_workers >= k->type->workers_max)
			p->o.crowded(p->o.arg, k->type);
	}
}

void worker_pool_schedule(struct worker_pool *p)
{
	loop_post(p->o.loop, &p->schedule);
}

static struct worker_kind *find_kind(const struct worker_pool *p, const struct actor_type *type)
{
	LIST_FOR (&p->kinds, node)
		if (kind_at(node)->type == type)
			return kind_at(node);
	return NULL;
}

static struct worker_kind *kind_for(struct worker_pool *p, const struct actor_type *type)
{
	struct worker_kind *k = find_kind(p, type);
	if (k != NULL)
		return k;
	k = mem_zalloc(sizeof(*k));
	k->type = type;
	list_init(&k->node);
	list_init(&k->waiting);
	list_init(&k->workers);
	list_push_back(&p->kinds, &k->node);
	return k;
}

struct place *worker_pool_place(struct worker_pool *p, const struct actor_type *type, const struct place_actor *actor,
				const struct place_events *events, void *arg)
{
	CHECK(p->magic == WORKER_POOL_MAGIC && !p->closing);
	worker_pool_schedule(p);
	return worker_place_new(p, kind_for(p, type), actor, events, arg);
}

/* ---- replaced types ---- */

void worker_pool_retire(struct worker_pool *p, const struct actor_type *type)
{
	struct worker_kind *k = find_kind(p, type);
	if (k == NULL || k->retired)
		return;
	k->retired = true;
	LIST_FOR (&k->workers, node)
		worker_retire(worker_at(node));
}

void worker_pool_renew(struct worker_pool *p, const struct actor_type *type)
{
	struct worker_kind *k = find_kind(p, type);
	if (k != NULL)
		k->retired = false;
}

bool worker_pool_forget(struct worker_pool *p, const struct actor_type *type)
{
	struct worker_kind *k = find_kind(p, type);
	if (k == NULL)
		return true;
	if (k->n_workers > 0 || k->n_places > 0)
		return false;
	list_remove(&k->node);
	mem_free(k);
	return true;
}

void worker_pool_set_starts_max(struct worker_pool *p, uint32_t starts_max)
{
	CHECK(starts_max > 0);
	p->o.starts_max = starts_max;
	worker_pool_schedule(p);
}

/* ---- opening and closing ---- */

int worker_pool_open(const struct worker_pool_options *o, struct worker_pool **ret, struct err *e)
{
	int lock_fd = -1;
	CHECK(o->starts_max > 0 && o->runtime != NULL);
	int r = worker_socket_dir_open(o->runtime_dir, &lock_fd, e);
	if (r < 0)
		return r;
	struct worker_pool *p = mem_zalloc(sizeof(*p));
	p->magic = WORKER_POOL_MAGIC;
	p->o = *o;
	p->dir = mem_strdup(o->runtime_dir);
	p->lock_fd = lock_fd;
	list_init(&p->kinds);
	loop_task_init(&p->schedule, on_schedule, p);
	buf_init(&p->scratch, WORKER_HEAD_MAX);
	*ret = p;
	return 0;
}

static void on_pool_gone(void *arg)
{
	struct worker_pool *p = pool_of(arg);
	for (struct list *node; (node = list_pop(&p->kinds)) != NULL;)
		mem_free(kind_at(node));
	close(p->lock_fd);
	buf_done(&p->scratch);
	mem_free(p->dir);
	void (*closed)(void *arg) = p->closed;
	void *closed_arg = p->closed_arg;
	p->magic = 0;
	mem_free(p);
	closed(closed_arg);
}

void worker_pool_look(struct worker_pool *p)
{
	if (!p->closing || p->n_workers > 0 || p->n_places > 0)
		return;
	loop_cancel(&p->schedule);
	loop_task_init(&p->schedule, on_pool_gone, p);
	loop_post(p->o.loop, &p->schedule);
}

void worker_pool_close(struct worker_pool *p, void (*closed)(void *arg), void *arg)
{
	CHECK(!p->closing);
	p->closing = true;
	p->closed = closed;
	p->closed_arg = arg;
	LIST_FOR (&p->kinds, node) {
		struct worker_kind *k = kind_at(node);
		LIST_FOR (&k->waiting, waiting)
			worker_place_over(CONTAINER_OF(waiting, struct place, node), PLACE_STOPPED, NULL);
		LIST_FOR (&k->workers, at)
			worker_end(worker_at(at), 0);
	}
	worker_pool_look(p);
}

void worker_pool_stats(const struct worker_pool *p, struct worker_pool_stats *ret)
{
	*ret = (struct worker_pool_stats){.workers = p->n_workers, .starting = p->n_starting};
}

static void view_of(const struct worker *w, struct worker_view *ret)
{
	static const char *const states[] = {
	    [WORKER_STARTING] = "starting", [WORKER_READY] = "ready",    [WORKER_ENDING] = "ending",
	    [WORKER_EXITED] = "exited",     [WORKER_CLOSING] = "exited",
	};
	*ret = (struct worker_view){.id = w->sockets.id,
				    .name = w->type->name,
				    .state = states[w->state],
				    .pid = w->state < WORKER_EXITED ? w->pid : 0,
				    .up_ms = (loop_mono_us(w->pool->o.loop) - w->since_mono_us) / 1000,
				    .actors = w->places.count,
				    .connections = w->n_conns};
}

void worker_pool_each(const struct worker_pool *p, void (*fn)(void *arg, const struct worker_view *v), void *arg)
{
	LIST_FOR (&p->kinds, kind) {
		LIST_FOR (&kind_at(kind)->workers, node) {
			struct worker_view v;
			view_of(worker_at(node), &v);
			fn(arg, &v);
		}
	}
}
