/* Owns nothing that lasts: each call is one job of the store and what it
 * carries. Records come from the disk; where memory is newer (an actor that is
 * awake or backing off), memory wins. */
#include "local/local_control.h"

#include "local/local_alarm_failed.h"
#include "local/local_driver_private.h"

#include <errno.h>

/* ---- the list ---- */

struct list_job {
	struct store_actor_list list;
	struct local_control_list q;
	struct local_driver *d;
	bool one; /* asked by id */
	struct store_kv alarm_failed;
};

static const char *state_of(const struct local_actor *a, int64_t back_off_ms)
{
	switch (a->state) {
	case LA_ASLEEP:
		return back_off_ms > 0 ? "backing off" : "asleep";
	case LA_WAKING:
	case LA_LIVE:
		return "waking";
	case LA_ENDING:
	case LA_DESTROYED:
		return "ending";
	}
	IMPOSSIBLE("local actor state");
}

static void tell(const struct list_job *job, const struct store_actor *rec)
{
	const struct local_driver *d = job->d;
	struct local_actor *a = local_actor_by_id(d, rec->id);
	struct local_control_actor out = {.rec = rec, .state = "asleep"};
	if (job->alarm_failed.n_entries > 0)
		out.alarm_failed_json =
		    slice_of(job->alarm_failed.entries[0].value, job->alarm_failed.entries[0].value_len);
	if (a != NULL) {
		out.rec = &a->rec;
		out.failure = a->last_failure;
		out.back_off_ms = restart_wait_ms(&a->restart, loop_mono_ms(d->l->o.loop));
		out.state = state_of(a, out.back_off_ms);
		out.live = a->state == LA_LIVE && actor_table_view(d->table, rec->id, &out.view);
		if (out.live)
			out.state = out.view.state;
	}
	job->q.each(job->q.arg, &out);
}

static void list_free(struct list_job *job)
{
	store_kv_clear(&job->alarm_failed);
	store_actor_list_clear(&job->list);
	local_driver_job_done(job->d);
	mem_free(job);
}

static void on_alarm_failed(struct store_job *base)
{
	struct list_job *job = CONTAINER_OF(CONTAINER_OF(base, struct store_kv, job), struct list_job, alarm_failed);
	tell(job, &job->list.actors[0]);
	job->q.done(job->q.arg, base->result, false);
	list_free(job);
}

static void on_list(struct store_job *base)
{
	struct list_job *job = CONTAINER_OF(CONTAINER_OF(base, struct store_actor_list, job), struct list_job, list);
	bool more = job->list.n > LIMIT_CONTROL_ACTORS;
	if (job->one && base->result == 0 && job->list.n == 1 && job->list.actors[0].destroy_ts == 0) {
		job->alarm_failed.job.done = on_alarm_failed;
		local_alarm_failed_ask(&job->alarm_failed, job->list.actors[0].number);
		store_kv(job->d->l->o.store, &job->alarm_failed);
		return;
	}
	for (size_t i = 0; base->result == 0 && i < job->list.n && i < LIMIT_CONTROL_ACTORS; i++) {
		if (job->list.actors[i].destroy_ts == 0)
			tell(job, &job->list.actors[i]);
	}
	job->q.done(job->q.arg, base->result, more);
	list_free(job);
}

void local_control_list(struct local *l, const struct local_control_list *q)
{
	struct list_job *job = mem_zalloc(sizeof(*job));
	job->q = *q;
	job->one = q->id != NULL;
	job->q.name = job->q.id = NULL; /* borrowed by us until here */
	job->d = l->driver;
	job->list.job.done = on_list;
	job->list.limit = LIMIT_CONTROL_ACTORS;
	if (q->id != NULL) {
		job->list.ids = mem_zalloc(sizeof(*job->list.ids));
		job->list.ids[job->list.n_ids++] = mem_strdup(q->id);
	} else {
		job->list.every_namespace = true;
		job->list.name = mem_strdup(q->name);
		job->list.limit++; /* one more, to know whether there are */
	}
	job->d->jobs++;
	store_actor_list(l->o.store, &job->list);
}

/* ---- keys and values ---- */

struct kv_find {
	struct store_actor_find by;
	struct store_kv *op;
	struct local_driver *d;
};

static void on_found(struct store_job *base)
{
	struct kv_find *f = CONTAINER_OF(CONTAINER_OF(base, struct store_actor_find, job), struct kv_find, by);
	struct store_kv *op = f->op;
	struct store *s = f->d->l->o.store;
	bool there = base->result == 0 && f->by.actor.destroy_ts == 0;
	op->actor_number = f->by.actor.number;
	op->job.result = base->result < 0 ? base->result : -ENOENT;
	store_actor_find_clear(&f->by);
	local_driver_job_done(f->d);
	mem_free(f);
	if (there)
		store_kv(s, op);
	else
		op->job.done(&op->job);
}

void local_control_kv(struct local *l, const char *id, struct store_kv *op)
{
	struct kv_find *f = mem_zalloc(sizeof(*f));
	f->op = op;
	f->d = l->driver;
	f->by.id = mem_strdup(id);
	f->by.job.done = on_found;
	f->d->jobs++;
	store_actor_find(l->o.store, &f->by);
}
