/* The driver port: reports of the actor table go to struct local_actor, state
 * calls to local_state; and what it takes to open, drain and close. */
#include "local/local_driver_private.h"
#include "local/local_state.h"

#include "base/log.h"

#include <errno.h>

#define RUNNING_MAX LIMIT_ACTORS

static struct local_driver *driver_of(struct driver *base)
{
	struct local_driver *d = CONTAINER_OF(base, struct local_driver, driver);
	CHECK(d->magic == LOCAL_DRIVER_MAGIC);
	return d;
}

static void on_report(struct driver *base, const struct actor_ref *ref, const struct actor_report *r)
{
	struct local_actor *a = local_actor_by_id(driver_of(base), ref->id);
	CHECK(a != NULL && a->ref.generation == ref->generation);
	local_actor_report(a, r);
}

static void on_state(struct driver *base, const struct actor_ref *ref, void *driver_data, struct runtime_call *call)
{
	(void)ref;
	local_state_call(driver_of(base), CAST(struct local_actor, driver_data, LOCAL_ACTOR_MAGIC), call);
}

static void on_drain(struct driver *base)
{
	driver_of(base)->draining = true;
}

static void on_close(struct driver *base, void (*closed)(void *arg), void *arg)
{
	local_driver_close(driver_of(base), closed, arg);
}

static const struct driver_ops driver_ops = {
    .report = on_report, .state = on_state, .drain = on_drain, .close = on_close};

static void on_crowded(void *arg, const struct actor_type *type)
{
	(void)arg;
	LOG(DEBUG, "an actor type is at workers_max", LOG_STR("actor_name", type->name));
}

static void on_finish(void *arg);

int local_driver_open(struct local *l, struct local_driver **ret, struct err *e)
{
	struct local_driver *d = mem_zalloc(sizeof(*d));
	d->magic = LOCAL_DRIVER_MAGIC;
	d->driver.ops = &driver_ops;
	d->l = l;
	map_init(&d->by_id, RUNNING_MAX);
	map_init(&d->by_key, RUNNING_MAX);
	map_init(&d->finds, RUNNING_MAX);
	loop_task_init(&d->finish, on_finish, d);
	struct worker_pool_options o = {.loop = l->o.loop,
					.guardian = l->o.guardian,
					.runtime_dir = l->o.runtime_dir,
					.starts_max = l->o.starts_max,
					.wait_min_ms = LOCAL_READY_MS,
					.crowded = on_crowded,
					.arg = d};
	int r = actor_table_open(&o, &d->driver, &d->table, e);
	if (r < 0) {
		mem_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

struct actor_table *local_driver_table(struct local_driver *d)
{
	return d->table;
}

/* Takes up the next actors of replaced types. One that cannot start, for whatever reason, makes room for the next. */
static void roll(struct local_driver *d)
{
	struct actor_ref ref;
	while (!d->draining && d->n_rolling < d->l->o.starts_max && actor_table_next_stale(d->table, &ref)) {
		struct local_actor *a = local_actor_by_id(d, ref.id);
		if (a != NULL && a->state == LA_LIVE && a->ref.generation == ref.generation)
			local_actor_roll(a);
	}
}

void local_driver_reload(struct local_driver *d)
{
	worker_pool_set_starts_max(actor_table_pool(d->table), d->l->o.starts_max);
	actor_table_retire(d->table, d->l->o.types);
}

/* Of those taken up some are on the old type still. */
size_t local_driver_rolling(const struct local_driver *d)
{
	size_t stale = d->table == NULL ? 0 : actor_table_count_stale(d->table);
	return stale > d->n_rolling ? stale : d->n_rolling;
}

bool local_driver_tick(struct local_driver *d)
{
	bool more = actor_table_run(d->table);
	roll(d);
	return more;
}

const struct store_actor *local_driver_record(const struct local_driver *d, const char *id)
{
	const struct local_actor *a = local_actor_by_id(d, id);
	return a == NULL ? NULL : &a->rec;
}

int64_t local_driver_ready_ms(const struct local_driver *d, const char *actor_id)
{
	const struct local_actor *a = actor_id[0] == '\0' ? NULL : local_actor_by_id(d, actor_id);
	const struct actor_type *t = a == NULL ? NULL : local_type(d->l, slice_str(a->rec.name));
	return t == NULL || t->start_timeout_ms < LOCAL_READY_MS ? LOCAL_READY_MS : t->start_timeout_ms;
}

struct log_actor local_driver_who(const struct local_driver *d, const char *actor_id)
{
	const struct local_actor *a = local_actor_by_id(d, actor_id);
	if (a == NULL)
		return (struct log_actor){.id = actor_id, .generation = -1};
	return (struct log_actor){
	    .id = actor_id, .name = a->rec.name, .key = a->rec.key, .generation = a->rec.generation};
}

size_t local_driver_ringing(const struct local_driver *d)
{
	return d->n_ringing;
}

char *local_driver_not_registered(const struct local_driver *d, const char *name)
{
	struct buf b;
	buf_init(&b, 2048);
	buf_addf(&b, "no actor type \"%.128s\" is configured; ", name);
	actor_types_list(d->l->o.types, &b, 1024);
	char *text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}

/* ---- refusals ---- */

enum local_call_outcome local_call_outcome_of(int result)
{
	if (result == 0)
		return LOCAL_CALL_OK;
	return result == -ENOSPC      ? LOCAL_CALL_DISK_FULL
	       : result == -ECANCELED ? LOCAL_CALL_STOPPING
				      : LOCAL_CALL_DISK_FAILED;
}

void local_refuse_store(struct exchange *x, int result)
{
	if (result == -ENOSPC)
		exchange_refuse(x, 507, "store", "disk_full",
				mem_strdup("the disk of the data directory is full; free some space"), 5);
	else
		exchange_refuse(
		    x, 503, "store", "unavailable",
		    mem_printf("the state could not be read or written: %s", strerror(result < 0 ? -result : EIO)), 5);
}

struct late_refusal {
	struct loop_task task;
	struct local_driver *d;
	struct exchange *x; /* NULL once dropped */
	unsigned status;
	const char *group, *code;
	char *message;
	uint32_t retry_after_s;
};

static void on_refusal_dropped(void *holder, struct exchange *x)
{
	struct late_refusal *r = holder;
	(void)x;
	r->x = NULL;
}

static void on_refuse(void *arg)
{
	struct late_refusal *r = arg;
	if (r->x != NULL)
		exchange_refuse(r->x, r->status, r->group, r->code, TAKE(r->message), r->retry_after_s);
	r->d->l->counters.refused++;
	local_driver_job_done(r->d);
	mem_free(r->message);
	mem_free(r);
}

void local_refuse_later(struct local_driver *d, struct exchange *x, unsigned status, const char *group,
			const char *code, char *message, uint32_t retry_after_s)
{
	struct late_refusal *r = mem_zalloc(sizeof(*r));
	loop_task_init(&r->task, on_refuse, r);
	r->d = d;
	r->x = x;
	r->status = status;
	r->group = group;
	r->code = code;
	r->message = message;
	r->retry_after_s = retry_after_s;
	x->holder = r;
	x->dropped = on_refusal_dropped;
	d->jobs++;
	loop_post(d->l->o.loop, &r->task);
}

/* ---- the end ---- */

static void poke_one(struct map_node *node, void *arg)
{
	(void)arg;
	local_actor_poke(CONTAINER_OF(node, struct local_actor, by_id));
}

void local_driver_drain(struct local_driver *d, int64_t timeout_ms)
{
	d->draining = true;
	actor_table_stop_all(d->table, "drain", timeout_ms > 0 ? timeout_ms : 1, false);
	map_each(&d->by_id, poke_one, NULL);
}

bool local_driver_idle(const struct local_driver *d)
{
	return d->by_id.count == 0 && d->jobs == 0;
}

static void count_awake(struct map_node *node, void *arg)
{
	const struct local_actor *a = CONTAINER_OF(node, struct local_actor, by_id);
	bool sleeps = a->state == LA_ASLEEP || a->state == LA_DESTROYED;
	*(size_t *)arg += !sleeps || timer_armed(&a->back_off) || !list_empty(&a->waiting);
}

bool local_driver_awake(const struct local_driver *d)
{
	size_t n = 0;
	map_each((struct map *)(uintptr_t)&d->by_id, count_awake, &n);
	return n > 0 || d->jobs > 0;
}

const char *local_driver_failing(const struct local_driver *d)
{
	return d->failing;
}

void local_driver_check_closed(struct local_driver *d)
{
	if (d->closing)
		loop_post(d->l->o.loop, &d->finish);
}

void local_driver_job_done(struct local_driver *d)
{
	CHECK(d->jobs > 0);
	d->jobs--;
	local_driver_check_closed(d);
}

static void on_table_closed(void *arg)
{
	struct local_driver *d = CAST(struct local_driver, arg, LOCAL_DRIVER_MAGIC);
	d->table = NULL;
	map_each(&d->by_id, poke_one, NULL);
	loop_post(d->l->o.loop, &d->finish);
}

static void on_finish(void *arg)
{
	struct local_driver *d = CAST(struct local_driver, arg, LOCAL_DRIVER_MAGIC);
	if (d->table != NULL || !local_driver_idle(d))
		return;
	void (*closed)(void *) = d->closed;
	void *closed_arg = d->closed_arg;
	loop_cancel(&d->finish);
	map_done(&d->by_id);
	map_done(&d->by_key);
	map_done(&d->finds);
	mem_free(d->failing);
	d->magic = 0;
	mem_free(d);
	closed(closed_arg);
}

void local_driver_close(struct local_driver *d, void (*closed)(void *arg), void *arg)
{
	CHECK(!d->closing);
	d->draining = d->closing = true;
	d->closed = closed;
	d->closed_arg = arg;
	actor_table_close(d->table, on_table_closed, d);
}
