/* Owns all actors that are not asleep, the worker pool below them, the list of
 * actors with something to do, and the answers to runtime calls that must not
 * be given from inside the call.
 *
 * Commands and events only note what happened; actor_table_run, once per tick,
 * lets each noted actor decide and act. What is noted makes the loop turn
 * again without waiting, so nothing is left lying.
 *
 * Failure paths: the table is full, the id is live. Closing kills what is
 * left, runs itself until every seat is gone, then closes the pool. */
#include "actor/actor.h"

#include "base/limits.h"
#include "base/log.h"

#define TABLE_MAGIC 0x6163746cu

struct answer {
	struct list node;
	struct runtime_call *call;
	enum runtime_outcome outcome;
};

struct actor_table {
	uint32_t magic;
	bool closing;
	struct loop *loop;
	struct driver *driver;
	struct worker_pool *pool;
	struct map by_id;  /* live incarnations */
	struct list all;   /* the same */
	struct list ready; /* of them, those with something to do */
	struct list kinds; /* struct actor_kind */
	struct list answers;
	size_t n_actors; /* in memory: live ones, and stopped ones whose seat is not gone yet */
	struct loop_task nudge;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- kinds ---- */

static struct actor_kind *find_kind(const struct actor_table *t, const struct actor_type *type)
{
	LIST_FOR (&t->kinds, node) {
		struct actor_kind *k = CONTAINER_OF(node, struct actor_kind, node);
		if (k->type == type)
			return k;
	}
	return NULL;
}

static struct actor_kind *need_kind(struct actor_table *t, const struct actor_type *type)
{
	struct actor_kind *k = find_kind(t, type);
	if (k != NULL)
		return k;
	k = mem_zalloc(sizeof(*k));
	k->type = type;
	list_init(&k->node);
	list_init(&k->idle);
	list_init(&k->untaken);
	list_push_back(&t->kinds, &k->node);
	return k;
}

/* Possibly from inside worker_pool_place: an intent is noted, no more. */
static void on_crowded(void *arg, const struct actor_type *type)
{
	struct actor_table *t = CAST(struct actor_table, arg, TABLE_MAGIC);
	struct actor_kind *k = find_kind(t, type);
	if (k == NULL || k->n_wanted == k->n_placing)
		return;
	k->n_wanted++;
	actor_awake_press(k);
}

/* ---- for the folder ---- */

struct loop *actor_table_loop(const struct actor_table *t)
{
	return t->loop;
}

struct driver *actor_table_driver(const struct actor_table *t)
{
	return t->driver;
}

struct worker_pool *actor_table_pool(struct actor_table *t)
{
	return t->pool;
}

struct actor *actor_table_find(const struct actor_table *t, const char *id)
{
	struct map_node *node = map_get(&t->by_id, slice_str(id));
	return node == NULL ? NULL : CONTAINER_OF(node, struct actor, by_id);
}

void actor_table_ready(struct actor_table *t, struct actor *a)
{
	if (a->state == LIFE_STOPPED || list_linked(&a->ready))
		return;
	list_push_back(&t->ready, &a->ready);
	loop_post(t->loop, &t->nudge);
}

void actor_table_answer(struct actor_table *t, struct runtime_call *call, enum runtime_outcome outcome)
{
	struct answer *an = mem_zalloc(sizeof(*an));
	list_init(&an->node);
	an->call = call;
	an->outcome = outcome;
	list_push_back(&t->answers, &an->node);
	loop_post(t->loop, &t->nudge);
}

void actor_table_unlist(struct actor_table *t, struct actor *a)
{
	map_remove(&t->by_id, &a->by_id);
	list_remove(&a->all);
	list_remove(&a->ready);
	list_remove(&a->stale);
}

void actor_table_forget(struct actor_table *t, struct actor *a)
{
	struct actor_kind *k = a->kind;
	actor_free(a);
	t->n_actors--;
	if (--k->n_actors == 0) {
		list_remove(&k->node);
		mem_free(k);
	}
	if (t->closing)
		loop_post(t->loop, &t->nudge);
}

/* ---- running ---- */

static void give_answers(struct actor_table *t)
{
	for (struct list *node; (node = list_pop(&t->answers)) != NULL;) {
		struct answer *an = CONTAINER_OF(node, struct answer, node);
		runtime_call_done(an->call, an->outcome);
		mem_free(an);
	}
}

bool actor_table_run(struct actor_table *t)
{
	give_answers(t);
	for (size_t budget = LIMIT_ACTORS_PER_RUN; budget > 0; budget--) {
		struct list *node = list_pop(&t->ready);
		if (node == NULL)
			return false;
		actor_run(CONTAINER_OF(node, struct actor, ready));
	}
	if (list_empty(&t->ready))
		return false;
	loop_post(t->loop, &t->nudge);
	return true;
}

/* ---- commands ---- */

int actor_table_start(struct actor_table *t, const struct actor_start *s)
{
	if (actor_table_find(t, s->ref.id) != NULL)
		return ACTOR_START_LIVE;
	if (t->closing || t->n_actors == LIMIT_ACTORS)
		return ACTOR_START_FULL;
	struct actor *a = actor_new(t, s, need_kind(t, s->type));
	t->n_actors++;
	list_push_back(&t->all, &a->all);
	CHECK(map_put(&t->by_id, &a->by_id, slice_str(a->ref.id)) == 0);
	return 0;
}

static struct actor *find_ref(const struct actor_table *t, const struct actor_ref *ref)
{
	struct actor *a = actor_table_find(t, ref->id);
	return a != NULL && a->ref.generation == ref->generation ? a : NULL;
}

void actor_table_stop(struct actor_table *t, const struct actor_ref *ref, const char *reason, int64_t deadline_ms)
{
	struct actor *a = find_ref(t, ref);
	if (a != NULL)
		actor_stop(a, reason, deadline_ms, false);
}

void actor_table_stop_all(struct actor_table *t, const char *reason, int64_t deadline_ms, bool kill_now)
{
	LIST_FOR (&t->all, node)
		actor_stop(CONTAINER_OF(node, struct actor, all), reason, deadline_ms, kill_now);
}

void actor_table_alarm(struct actor_table *t, const struct actor_ref *ref, int64_t due_wall_ms, int32_t attempts)
{
	struct actor *a = find_ref(t, ref);
	if (a != NULL)
		actor_alarm_set(a, due_wall_ms, attempts);
}

bool actor_table_is_placing(const struct actor_table *t, const char *id)
{
	const struct actor *a = actor_table_find(t, id);
	return a != NULL && a->state == LIFE_PLACING;
}

size_t actor_table_count(const struct actor_table *t)
{
	return t->by_id.count;
}

bool actor_table_view(const struct actor_table *t, const char *id, struct actor_view *ret)
{
	const struct actor *a = actor_table_find(t, id);
	if (a != NULL)
		actor_view(a, ret);
	return a != NULL;
}

void actor_table_each(const struct actor_table *t, void (*fn)(void *arg, const struct actor_view *v), void *arg)
{
	LIST_FOR (&t->all, node) {
		struct actor_view v;
		actor_view(CONTAINER_OF(node, struct actor, all), &v);
		fn(arg, &v);
	}
}

/* ---- replaced types ---- */

void actor_table_intend_sleep(struct actor_table *t, const struct actor_ref *ref)
{
	struct actor *a = find_ref(t, ref);
	if (a != NULL)
		actor_intend(a, ACTOR_INTENT_SLEEP);
}

static void retire_kind(struct actor_kind *k, const struct actor_types *types)
{
	const struct actor_type *now = actor_types_find(types, slice_str(k->type->name));
	bool goes_on = k->stale && k->successor == now; /* as far as this type goes nothing has changed */
	k->stale = now != k->type;
	k->successor = now;
	if (!goes_on) {
		k->halted = false;
		k->n_failed = 0;
	}
}

void actor_table_retire(struct actor_table *t, const struct actor_types *types)
{
	LIST_FOR (&t->kinds, node)
		retire_kind(CONTAINER_OF(node, struct actor_kind, node), types);
	LIST_FOR (&t->all, node) {
		struct actor *a = CONTAINER_OF(node, struct actor, all);
		list_remove(&a->stale);
		if (!a->kind->stale)
			continue;
		if (a->state == LIFE_PLACING)
			list_push_front(&a->kind->untaken, &a->stale);
		else
			list_push_back(&a->kind->untaken, &a->stale);
	}
	for (size_t i = 0; actor_types_old(types, i) != NULL; i++)
		worker_pool_retire(t->pool, actor_types_old(types, i));
	for (size_t i = 0; actor_types_at(types, i) != NULL; i++)
		worker_pool_renew(t->pool, actor_types_at(types, i));
	loop_post(t->loop, &t->nudge);
}

static struct actor *take_stale(struct actor_table *t, bool removed)
{
	LIST_FOR (&t->kinds, node) {
		struct actor_kind *k = CONTAINER_OF(node, struct actor_kind, node);
		if (!k->halted && (k->successor == NULL) == removed && !list_empty(&k->untaken))
			return CONTAINER_OF(list_pop(&k->untaken), struct actor, stale);
	}
	return NULL;
}

bool actor_table_next_stale(struct actor_table *t, struct actor_ref *ret)
{
	const struct actor *a = take_stale(t, true);
	if (a == NULL)
		a = take_stale(t, false);
	if (a == NULL)
		return false;
	*ret = a->ref;
	return true;
}

void actor_table_start_worked(struct actor_table *t, const struct actor *a)
{
	bool halted = false;
	LIST_FOR (&t->kinds, node) {
		struct actor_kind *k = CONTAINER_OF(node, struct actor_kind, node);
		if (!k->stale || k->successor != a->type)
			continue;
		halted |= k->halted;
		k->halted = false;
		k->n_failed = 0;
	}
	if (halted)
		LOG(INFO, "an actor starts on the new settings; rolling over goes on",
		    LOG_STR("actor_name", a->type->name));
}

void actor_table_start_failed(struct actor_table *t, const struct actor *a)
{
	size_t left = 0;
	LIST_FOR (&t->kinds, node) {
		struct actor_kind *k = CONTAINER_OF(node, struct actor_kind, node);
		if (!k->stale || k->halted || k->successor != a->type || ++k->n_failed < LIMIT_ROLL_OVER_FAILURES)
			continue;
		k->halted = true;
		left += k->n_actors;
	}
	if (left > 0)
		LOG(ERROR, "rolling over is halted: actors do not start on the new settings",
		    LOG_STR("actor_name", a->type->name), LOG_NUM("failures", LIMIT_ROLL_OVER_FAILURES),
		    LOG_STR("why", a->message), LOG_NUM("actors_left", left));
}

static size_t count_stale(const struct actor_table *t, bool halted)
{
	size_t n = 0;
	LIST_FOR (&t->kinds, node) {
		const struct actor_kind *k = CONTAINER_OF(node, struct actor_kind, node);
		n += k->stale && k->halted == halted ? k->n_actors : 0;
	}
	return n;
}

size_t actor_table_count_stale(const struct actor_table *t)
{
	return count_stale(t, false);
}

size_t actor_table_count_halted(const struct actor_table *t)
{
	return count_stale(t, true);
}

bool actor_table_forget_type(struct actor_table *t, const struct actor_type *type)
{
	return find_kind(t, type) == NULL && worker_pool_forget(t->pool, type);
}

/* ---- opening and closing ---- */

static void on_pool_closed(void *arg)
{
	struct actor_table *t = CAST(struct actor_table, arg, TABLE_MAGIC);
	void (*closed)(void *arg) = t->closed;
	void *closed_arg = t->closed_arg;
	CHECK(list_empty(&t->kinds));
	loop_cancel(&t->nudge);
	map_done(&t->by_id);
	t->magic = 0;
	mem_free(t);
	closed(closed_arg);
}

/* The turn itself is the point; closing cannot count on a tick of the owner. */
static void on_nudge(void *arg)
{
	struct actor_table *t = CAST(struct actor_table, arg, TABLE_MAGIC);
	if (!t->closing)
		return;
	(void)actor_table_run(t);
	if (t->n_actors == 0 && list_empty(&t->answers) && t->pool != NULL)
		worker_pool_close(TAKE(t->pool), on_pool_closed, t);
}

int actor_table_open(const struct worker_pool_options *pool, struct driver *driver, struct actor_table **ret,
		     struct err *e)
{
	struct actor_table *t = mem_zalloc(sizeof(*t));
	t->magic = TABLE_MAGIC;
	t->loop = pool->loop;
	t->driver = driver;
	map_init(&t->by_id, LIMIT_ACTORS);
	list_init(&t->all);
	list_init(&t->ready);
	list_init(&t->kinds);
	list_init(&t->answers);
	loop_task_init(&t->nudge, on_nudge, t);
	struct worker_pool_options mine = *pool;
	mine.runtime = &actor_state_ops;
	mine.runtime_arg = t;
	mine.crowded = on_crowded;
	mine.arg = t;
	int r = worker_pool_open(&mine, &t->pool, e);
	if (r != 0) {
		mem_free(t);
		return r;
	}
	*ret = t;
	return 0;
}

void actor_table_close(struct actor_table *t, void (*closed)(void *arg), void *arg)
{
	CHECK(!t->closing);
	t->closing = true;
	t->closed = closed;
	t->closed_arg = arg;
	actor_table_stop_all(t, "drain", 1, true);
	loop_post(t->loop, &t->nudge);
}
