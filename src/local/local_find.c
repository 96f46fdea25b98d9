/* From an id or a key to an actor: look-ups and creations in the store.
 *
 * Everything that asks for the same actor while a look-up is under way joins
 * it. When the record is there it becomes a struct local_actor and each asker
 * is served; when it is not, each is refused with the reason. */
#include "local/local_driver_private.h"

#include "base/log.h"

#include <errno.h>

#define FINDS_MAX 4096

enum ask_kind { ASK_EXCHANGE, ASK_CREATE, ASK_DESTROY, ASK_SLEEP, ASK_WAKE, ASK_RESTART, ASK_RING, ASK_RESTORE };

/* One who asks. */
struct ask {
	struct list node;
	enum ask_kind kind;
	struct exchange *x; /* EXCHANGE; NULL once dropped */
	local_call_done *done;
	void *arg;
	char *namespace_name; /* of the calls below: must be the actor's; NULL: any */
	int32_t alarm_attempts;
};

struct find {
	struct local_driver *d;
	struct map_node node;
	char *text;  /* "id\nID" or the key text with "get\n" or "create\n" before it */
	bool shared; /* in the map: others may join */
	struct list asks;
	struct store_actor_find by;
	struct store_actor_create create;
};

static void ask_free(struct ask *k)
{
	mem_free(k->namespace_name);
	mem_free(k);
}

static void on_ask_dropped(void *holder, struct exchange *x)
{
	struct ask *k = holder;
	list_remove(&x->waiting);
	k->x = NULL;
}

/* ---- answering ---- */

static void ring(struct local_actor *a, int32_t attempts)
{
	if (a->state == LA_LIVE || a->ringing || timer_armed(&a->alarm_again))
		return;
	a->alarm_attempts = attempts;
	a->wake_wish = true;
	a->ringing = true;
	a->d->n_ringing++;
	local_actor_poke(a);
}

static void call_answer(struct ask *k, enum local_call_outcome outcome, const struct store_actor *rec)
{
	if (k->done != NULL)
		k->done(k->arg, outcome, rec);
}

static void serve_call(struct local_actor *a, struct ask *k)
{
	if (k->namespace_name != NULL && strcmp(k->namespace_name, a->rec.namespace_name) != 0) {
		call_answer(k, LOCAL_CALL_NOT_FOUND, NULL);
	} else if (k->kind == ASK_DESTROY) {
		local_actor_destroy(a, k->done, k->arg);
	} else if (k->kind == ASK_SLEEP) {
		a->sleep_wish = true;
		local_actor_poke(a);
		call_answer(k, LOCAL_CALL_OK, &a->rec);
	} else if (k->kind == ASK_RESTART && a->state == LA_LIVE) {
		a->restart_wish = true;
		local_actor_poke(a);
		call_answer(k, LOCAL_CALL_OK, &a->rec);
	} else {
		a->wake_wish = a->force_wake = a->state != LA_LIVE;
		local_actor_poke(a);
		call_answer(k, LOCAL_CALL_OK, &a->rec);
	}
}

static void serve(struct local_actor *a, struct ask *k, enum local_call_outcome created)
{
	switch (k->kind) {
	case ASK_EXCHANGE:
		if (k->x != NULL) {
			list_remove(&k->x->waiting);
			local_actor_offer(a, k->x);
		}
		return;
	case ASK_CREATE:
		call_answer(k, created, &a->rec);
		return;
	case ASK_RING:
		ring(a, k->alarm_attempts);
		return;
	case ASK_RESTORE:
		return;
	case ASK_DESTROY:
	case ASK_SLEEP:
	case ASK_WAKE:
	case ASK_RESTART:
		serve_call(a, k);
		return;
	}
	IMPOSSIBLE("ask kind");
}

static void refuse_exchange(struct exchange *x, enum local_call_outcome outcome, int result)
{
	list_remove(&x->waiting);
	if (outcome == LOCAL_CALL_NOT_FOUND)
		exchange_refuse(x, 404, "actor", "not_found", NULL, 0);
	else if (outcome == LOCAL_CALL_NO_NAMESPACE)
		exchange_refuse(x, 400, "namespace", "not_found", NULL, 0);
	else if (outcome == LOCAL_CALL_OVERLOADED)
		exchange_refuse(x, 503, "actor", "overloaded", mem_strdup("too many actors are awake on this daemon"),
				1);
	else
		local_refuse_store(x, result);
}

static void refuse(struct ask *k, enum local_call_outcome outcome, int result, const struct store_actor *rec)
{
	if (k->kind == ASK_EXCHANGE && k->x != NULL)
		refuse_exchange(k->x, outcome, result);
	else if (k->kind != ASK_EXCHANGE)
		call_answer(k, outcome, rec);
}

static void find_free(struct find *f)
{
	if (f->shared)
		map_remove(&f->d->finds, &f->node);
	store_actor_find_clear(&f->by);
	store_actor_create_clear(&f->create);
	mem_free(f->text);
	mem_free(f);
}

/* The look-up is over with this record, or with an outcome. */
static void find_over(struct find *f, struct store_actor *rec, enum local_call_outcome outcome, int result,
		      enum local_call_outcome created)
{
	struct local_driver *d = f->d;
	struct local_actor *a = NULL;
	if (f->shared) {
		map_remove(&d->finds, &f->node);
		f->shared = false;
	}
	if (outcome == LOCAL_CALL_OK && rec->destroy_ts == 0) {
		a = local_actor_by_id(d, rec->id);
		if (a == NULL)
			a = local_actor_new(d, rec);
		if (a == NULL)
			outcome = LOCAL_CALL_OVERLOADED;
		else if (created == LOCAL_CALL_CREATED)
			a->wake_wish = true;
	}
	struct list *node;
	while ((node = list_pop(&f->asks)) != NULL) {
		struct ask *k = CONTAINER_OF(node, struct ask, node);
		if (a != NULL) {
			serve(a, k, created);
			if (k->kind == ASK_CREATE)
				created = LOCAL_CALL_OK; /* one has made it, the others found it */
		} else if (outcome == LOCAL_CALL_OK && k->kind == ASK_DESTROY &&
			   (k->namespace_name == NULL || strcmp(k->namespace_name, rec->namespace_name) == 0))
			call_answer(k, LOCAL_CALL_OK, rec); /* destroyed before */
		else
			refuse(k, outcome == LOCAL_CALL_OK ? LOCAL_CALL_NOT_FOUND : outcome, result, rec);
		ask_free(k);
	}
	if (a != NULL)
		local_actor_poke(a);
	find_free(f);
	local_driver_job_done(d);
}

static void on_found(struct store_job *job)
{
	struct store_actor_find *q = CONTAINER_OF(job, struct store_actor_find, job);
	struct find *f = q->user;
	enum local_call_outcome o = job->result == 0                        ? LOCAL_CALL_OK
				    : job->result == STORE_ACTOR_ABSENT     ? LOCAL_CALL_NOT_FOUND
				    : job->result == STORE_NAMESPACE_ABSENT ? LOCAL_CALL_NO_NAMESPACE
									    : local_call_outcome_of(job->result);
	find_over(f, &q->actor, o, job->result, LOCAL_CALL_OK);
}

static void on_created(struct store_job *job)
{
	struct store_actor_create *q = CONTAINER_OF(job, struct store_actor_create, job);
	struct find *f = q->user;
	enum local_call_outcome o = LOCAL_CALL_OK, created = LOCAL_CALL_OK;
	if (job->result == 0) {
		created = LOCAL_CALL_CREATED;
		LOG(INFO, "actor created", LOG_STR("actor_id", q->actor.id), LOG_STR("actor_name", q->actor.name),
		    LOG_STR("actor_key", q->actor.key));
	} else if (job->result == STORE_ACTOR_KEY_TAKEN) {
		o = LOCAL_CALL_KEY_TAKEN;
	} else if (job->result == STORE_NAMESPACE_ABSENT) {
		o = LOCAL_CALL_NO_NAMESPACE;
	} else if (job->result != STORE_ACTOR_EXISTED) {
		o = local_call_outcome_of(job->result);
	}
	find_over(f, &q->actor, o, job->result, created);
}

/* ---- asking ---- */

static struct ask *ask_new(enum ask_kind kind)
{
	struct ask *k = mem_zalloc(sizeof(*k));
	list_init(&k->node);
	k->kind = kind;
	return k;
}

static struct ask *ask_exchange(struct exchange *x)
{
	struct ask *k = ask_new(ASK_EXCHANGE);
	k->x = x;
	x->holder = k;
	x->dropped = on_ask_dropped;
	return k;
}

/* The look-up that is under way for this text, or a new one (not yet submitted); text is taken over. */
static struct find *find_get(struct local_driver *d, char *text, bool *ret_is_new)
{
	struct map_node *node = map_get(&d->finds, slice_str(text));
	*ret_is_new = node == NULL;
	if (node != NULL) {
		mem_free(text);
		return CONTAINER_OF(node, struct find, node);
	}
	struct find *f = mem_zalloc(sizeof(*f));
	f->d = d;
	f->text = text;
	list_init(&f->asks);
	f->shared = map_put(&d->finds, &f->node, slice_str(f->text)) == 0;
	return f;
}

static void find_by_id(struct local_driver *d, const char *id, struct ask *k)
{
	bool is_new;
	struct find *f = find_get(d, mem_printf("id\n%s", id), &is_new);
	list_push_back(&f->asks, &k->node);
	if (!is_new)
		return;
	f->by.id = mem_strdup(id);
	f->by.job.done = on_found;
	f->by.user = f;
	d->jobs++;
	store_actor_find(d->l->o.store, &f->by);
}

void local_driver_offer_id(struct local_driver *d, const char *id, struct exchange *x)
{
	struct local_actor *a = local_actor_by_id(d, id);
	if (a != NULL)
		local_actor_offer(a, x);
	else if (d->finds.count >= FINDS_MAX)
		local_refuse_later(d, x, 503, "actor", "overloaded", mem_strdup("too many actors are being looked up"),
				   1);
	else
		find_by_id(d, id, ask_exchange(x));
}

static void fill_create(struct find *f, const struct local_key *k, bool get_or_create)
{
	struct store_actor_create *q = &f->create;
	struct actor_id id = actor_id_new();
	q->get_or_create = get_or_create;
	q->actor.id = mem_strdup(id.text);
	q->actor.namespace_name = mem_strdup(k->namespace_name);
	q->actor.name = mem_strdup(k->name);
	q->actor.key = mem_strdup(k->key);
	q->actor.runner_name_selector = mem_strdup(k->pool == NULL ? "default" : k->pool);
	q->actor.crash_policy = (uint8_t)k->crash_policy;
	q->actor.generation = -1;
	q->actor.create_ts = clock_wall_ms();
	q->actor.wake_wanted = true;
	q->actor.has_input = k->has_input;
	if (k->has_input) {
		q->input = mem_alloc(k->input.n + 1);
		memcpy(q->input, k->input.n == 0 ? (const uint8_t *)"" : k->input.p, k->input.n);
		q->input_len = k->input.n;
	}
	q->job.done = on_created;
	q->user = f;
}

static void find_by_key(struct local_driver *d, const struct local_key *k, bool create, char *key_text, struct ask *ask)
{
	bool is_new;
	struct find *f = find_get(d, mem_printf("%s\n%s", create ? "create" : "get", key_text), &is_new);
	list_push_back(&f->asks, &ask->node);
	if (!is_new)
		return;
	d->jobs++;
	if (create) {
		fill_create(f, k, true);
		store_actor_create(d->l->o.store, &f->create);
		return;
	}
	f->by.namespace_name = mem_strdup(k->namespace_name);
	f->by.name = mem_strdup(k->name);
	f->by.key = mem_strdup(k->key);
	f->by.job.done = on_found;
	f->by.user = f;
	store_actor_find(d->l->o.store, &f->by);
}

void local_driver_offer_key(struct local_driver *d, const struct local_key *k, bool create, struct exchange *x)
{
	MEM_AUTO char *text = local_actor_key_text(k->namespace_name, k->name, k->key);
	struct local_actor *a = local_actor_by_key(d, text);
	if (a != NULL)
		local_actor_offer(a, x);
	else if (create && local_type(d->l, slice_str(k->name)) == NULL)
		local_refuse_later(d, x, 400, "actor", "not_registered", local_driver_not_registered(d, k->name), 0);
	else if (d->draining)
		local_refuse_later(d, x, 503, "guard", "service_unavailable", mem_strdup("the daemon is stopping"), 5);
	else if (d->finds.count >= FINDS_MAX)
		local_refuse_later(d, x, 503, "actor", "overloaded", mem_strdup("too many actors are being looked up"),
				   1);
	else
		find_by_key(d, k, create, text, ask_exchange(x));
}

/* An answer that is known at once, given later. */
struct late_answer {
	struct loop_task task;
	struct local_driver *d;
	struct ask *k;
	enum local_call_outcome outcome;
};

static void on_late_answer(void *arg)
{
	struct late_answer *late = arg;
	call_answer(late->k, late->outcome, NULL);
	ask_free(late->k);
	local_driver_job_done(late->d);
	mem_free(late);
}

static void answer_later(struct local_driver *d, struct ask *k, enum local_call_outcome outcome)
{
	struct late_answer *late = mem_zalloc(sizeof(*late));
	late->d = d;
	late->k = k;
	late->outcome = outcome;
	d->jobs++;
	loop_task_init(&late->task, on_late_answer, late);
	loop_post(d->l->o.loop, &late->task);
}

static struct ask *ask_call(enum ask_kind kind, const char *namespace_name, local_call_done *done, void *arg)
{
	struct ask *k = ask_new(kind);
	k->namespace_name = mem_strdup(namespace_name);
	k->done = done;
	k->arg = arg;
	return k;
}

void local_driver_create(struct local_driver *d, const struct local_key *k, bool get_or_create, local_call_done *done,
			 void *arg)
{
	struct ask *ask = ask_call(ASK_CREATE, NULL, done, arg);
	MEM_AUTO char *text = k->key == NULL ? NULL : local_actor_key_text(k->namespace_name, k->name, k->key);
	if (d->draining) {
		answer_later(d, ask, LOCAL_CALL_STOPPING);
	} else if (local_type(d->l, slice_str(k->name)) == NULL) {
		answer_later(d, ask, LOCAL_CALL_NOT_REGISTERED);
	} else if (d->finds.count >= FINDS_MAX) {
		answer_later(d, ask, LOCAL_CALL_OVERLOADED);
	} else if (get_or_create && text != NULL) {
		find_by_key(d, k, true, text, ask);
	} else {
		struct find *f = mem_zalloc(sizeof(*f));
		f->d = d;
		list_init(&f->asks);
		list_push_back(&f->asks, &ask->node);
		fill_create(f, k, false);
		d->jobs++;
		store_actor_create(d->l->o.store, &f->create);
	}
}

static void call_by_id(struct local_driver *d, const char *id, struct ask *k)
{
	if (d->finds.count >= FINDS_MAX)
		answer_later(d, k, LOCAL_CALL_OVERLOADED);
	else
		find_by_id(d, id, k);
}

void local_driver_destroy(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			  void *arg)
{
	call_by_id(d, id, ask_call(ASK_DESTROY, namespace_name, done, arg));
}

void local_driver_sleep(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			void *arg)
{
	call_by_id(d, id, ask_call(ASK_SLEEP, namespace_name, done, arg));
}

void local_driver_wake(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
		       void *arg)
{
	call_by_id(d, id, ask_call(ASK_WAKE, namespace_name, done, arg));
}

void local_driver_restart(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			  void *arg)
{
	call_by_id(d, id, ask_call(ASK_RESTART, namespace_name, done, arg));
}

bool local_driver_ring(struct local_driver *d, const struct store_alarm_row *row)
{
	struct local_actor *a = local_actor_by_id(d, row->actor_id);
	if (d->draining || d->finds.count >= FINDS_MAX)
		return false;
	if (a != NULL) {
		if (a->state == LA_LIVE || a->ringing)
			return false;
		ring(a, row->attempts);
		return true;
	}
	struct ask *k = ask_new(ASK_RING);
	k->alarm_attempts = row->attempts;
	find_by_id(d, row->actor_id, k);
	return true;
}

/* ---- restoring ---- */

#define RESTORE_PAGE 1000

struct restore {
	struct store_actor_list list;
	struct local_driver *d;
};

/* False: no more can be taken up. */
static bool restore_one(struct local_driver *d, struct store_actor *rec)
{
	bool again = rec->wake_wanted || rec->crash_policy == CRASH_RESTART;
	if (local_actor_by_id(d, rec->id) != NULL)
		return true;
	struct local_actor *a = local_actor_new(d, rec);
	if (a == NULL)
		return false;
	a->rec.running = false;
	a->rec.connectable_ts = 0;
	a->rec.sleep_ts = clock_wall_ms();
	a->rec.wake_wanted = again;
	a->state = LA_ENDING;
	local_actor_poke(a);
	return true;
}

static void on_restore(struct store_job *job)
{
	struct restore *r = CONTAINER_OF(CONTAINER_OF(job, struct store_actor_list, job), struct restore, list);
	struct local_driver *d = r->d;
	bool more = job->result == 0 && r->list.n == RESTORE_PAGE && !d->draining;
	if (job->result != 0)
		LOG_PLAIN(ERROR, "the actors that ran before could not be read; they wake on demand");
	for (size_t i = 0; i < r->list.n; i++) {
		struct store_actor *rec = &r->list.actors[i];
		r->list.before_create_ts = rec->create_ts;
		r->list.before_number = rec->number;
		if (!restore_one(d, rec)) {
			LOG(ERROR, "too many actors ran before; the others wake on demand",
			    LOG_NUM("max", LIMIT_ACTORS));
			more = false;
			break;
		}
	}
	if (more) {
		store_actor_list(d->l->o.store, &r->list);
		return;
	}
	store_actor_list_clear(&r->list);
	mem_free(r);
	local_driver_job_done(d);
}

void local_driver_restore(struct local_driver *d)
{
	struct restore *r = mem_zalloc(sizeof(*r));
	r->d = d;
	r->list.only_wanted = true;
	r->list.limit = RESTORE_PAGE;
	r->list.job.done = on_restore;
	d->jobs++;
	store_actor_list(d->l->o.store, &r->list);
}
