/* Runtime calls become store jobs; each job's end answers its call.
 *
 * The job holds copies of all it needs: the worker and the actor may be gone
 * when it is done. Failures: a full disk, a failed disk, a closed store. */
#include "local/local_state.h"

#include "store/store_kv.h"

#include <errno.h>
#include <stdio.h>

struct kv_call {
	struct store_kv op;
	struct runtime_call *call;
	struct local_driver *d;
	struct runtime_kv_pair *entries;
};

struct alarm_call {
	struct store_alarm op;
	struct runtime_call *call;
	struct local_driver *d;
	char actor_id[64];
	int64_t generation;
};

struct input_call {
	struct store_actor_input op;
	struct runtime_call *call;
	struct local_driver *d;
};

static enum runtime_outcome outcome_of(struct runtime_call *call, int result)
{
	if (result >= 0)
		return RUNTIME_OK;
	if (result == -ENOSPC) {
		call->message = "the disk of the data directory is full; nothing was written";
		return RUNTIME_DISK_FULL;
	}
	/* A failed sync may or may not have reached the disk. */
	call->indeterminate = result == -EIO;
	call->message = result == -EBUSY ? "too many writes wait for the disk" : strerror(-result);
	return RUNTIME_UNAVAILABLE;
}

/* ---- keys and values ---- */

static void copy_bytes(struct slice s, uint8_t **ret, size_t *ret_len)
{
	*ret = mem_alloc(s.n + 1);
	if (s.n > 0)
		memcpy(*ret, s.p, s.n);
	*ret_len = s.n;
}

static void release_kv(struct runtime_call *call)
{
	struct kv_call *k = call->release_arg;
	store_kv_clear(&k->op);
	mem_free(k->entries);
	mem_free(k);
}

static void entries_of(const struct store_kv *op, struct runtime_kv_pair *entries)
{
	for (size_t i = 0; i < op->n_entries; i++) {
		const struct store_kv_pair *p = &op->entries[i];
		entries[i] = (struct runtime_kv_pair){.key = slice_of(p->key, p->key_len),
						      .value = slice_of(p->value, p->value_len),
						      .updated_wall_ms = p->updated_wall_ms};
	}
}

/* On the store's thread; for what is said as text, since the rest always fits. */
static bool may_write(const struct store_kv *op)
{
	struct runtime_kv_pair entries[LIMIT_KV_BATCH_KEYS];
	CHECK(op->n_entries <= LIMIT_KV_BATCH_KEYS);
	entries_of(op, entries);
	return runtime_entries_fit(entries, op->n_entries, true);
}

static void on_kv(struct store_job *job)
{
	struct kv_call *k = CONTAINER_OF(CONTAINER_OF(job, struct store_kv, job), struct kv_call, op);
	struct local_driver *d = k->d;
	struct runtime_call *call = k->call;
	size_t n = k->op.n_entries;
	if (n > 0)
		k->entries = mem_zalloc(n * sizeof(*k->entries));
	entries_of(&k->op, k->entries);
	call->entries = k->entries; /* where they held the write back, the answer says why */
	call->n_entries = n;
	call->has_next = k->op.next_key != NULL;
	call->next = slice_of(k->op.next_key, k->op.next_key_len);
	call->release = release_kv;
	call->release_arg = k;
	runtime_call_done(call, outcome_of(call, job->result));
	local_driver_job_done(d);
}

static struct store_kv_pair *copy_pairs(const struct runtime_kv_pair *pairs, size_t n, bool values)
{
	struct store_kv_pair *copies = n == 0 ? NULL : mem_zalloc(n * sizeof(*copies));
	for (size_t i = 0; i < n; i++) {
		copy_bytes(pairs[i].key, &copies[i].key, &copies[i].key_len);
		if (values)
			copy_bytes(pairs[i].value, &copies[i].value, &copies[i].value_len);
	}
	return copies;
}

static void fill_pairs(struct store_kv *op, const struct runtime_call *call)
{
	op->pairs = copy_pairs(call->pairs, call->n_pairs, op->kind == STORE_KV_PUT);
	op->n_pairs = call->n_pairs;
	op->gets = copy_pairs(call->gets, call->n_gets, false);
	op->n_gets = call->n_gets;
	if (call->n_gets > 0 && call->utf8)
		op->may_write = may_write;
}

static void fill_range(struct store_kv *op, const struct runtime_call *call)
{
	if (call->has_start)
		copy_bytes(call->start, &op->start, &op->start_len);
	if (call->has_end)
		copy_bytes(call->end, &op->end, &op->end_len);
	op->end_exclusive = call->end_exclusive;
	op->reverse = call->reverse;
	op->limit = call->limit;
	op->bytes_max = LIMIT_KV_LIST_BYTES;
}

static void kv_call(struct local_driver *d, struct local_actor *a, struct runtime_call *call, enum store_kv_kind kind)
{
	struct kv_call *k = mem_zalloc(sizeof(*k));
	k->call = call;
	k->d = d;
	k->op.kind = kind;
	k->op.actor_number = a->rec.number;
	k->op.job.done = on_kv;
	if (kind == STORE_KV_LIST || kind == STORE_KV_DELETE_RANGE)
		fill_range(&k->op, call);
	else
		fill_pairs(&k->op, call);
	d->jobs++;
	store_kv(d->l->o.store, &k->op);
}

/* ---- alarm and input ---- */

static void on_alarm(struct store_job *job)
{
	struct alarm_call *k = CONTAINER_OF(CONTAINER_OF(job, struct store_alarm, job), struct alarm_call, op);
	struct local_driver *d = k->d;
	struct local_actor *a = local_actor_by_id(d, k->actor_id);
	if (job->result >= 0 && a != NULL && a->rec.generation == k->generation) {
		a->rec.alarm_at_wall_ms = k->op.due_wall_ms;
		a->alarm_attempts = 0;
		timer_disarm(&a->alarm_again);
		if (a->state == LA_LIVE)
			actor_table_alarm(d->table, &a->ref, k->op.due_wall_ms, 0);
	}
	if (job->result >= 0 && k->op.due_wall_ms > 0)
		local_alarm_poke(d->l->alarm, k->op.due_wall_ms);
	runtime_call_done(k->call, outcome_of(k->call, job->result));
	mem_free(k);
	local_driver_job_done(d);
}

static void alarm_call(struct local_driver *d, struct local_actor *a, struct runtime_call *call)
{
	struct alarm_call *k = mem_zalloc(sizeof(*k));
	k->call = call;
	k->d = d;
	snprintf(k->actor_id, sizeof(k->actor_id), "%s", a->rec.id);
	k->generation = a->rec.generation;
	k->op.actor_number = a->rec.number;
	k->op.due_wall_ms = call->at_wall_ms;
	k->op.job.done = on_alarm;
	d->jobs++;
	store_alarm(d->l->o.store, &k->op);
}

static void release_input(struct runtime_call *call)
{
	struct input_call *k = call->release_arg;
	store_actor_input_clear(&k->op);
	mem_free(k);
}

static void on_input(struct store_job *job)
{
	struct input_call *k = CONTAINER_OF(CONTAINER_OF(job, struct store_actor_input, job), struct input_call, op);
	struct local_driver *d = k->d;
	struct runtime_call *call = k->call;
	call->has_input = k->op.input != NULL;
	call->input = slice_of(k->op.input, k->op.input_len);
	call->release = release_input;
	call->release_arg = k;
	runtime_call_done(call, outcome_of(call, job->result));
	local_driver_job_done(d);
}

static void input_call(struct local_driver *d, struct local_actor *a, struct runtime_call *call)
{
	struct input_call *k = mem_zalloc(sizeof(*k));
	k->call = call;
	k->d = d;
	k->op.number = a->rec.number;
	k->op.job.done = on_input;
	d->jobs++;
	store_actor_input(d->l->o.store, &k->op);
}

void local_state_call(struct local_driver *d, struct local_actor *a, struct runtime_call *call)
{
	switch (call->kind) {
	case RUNTIME_KV_GET:
	case RUNTIME_KV_BATCH_GET:
		kv_call(d, a, call, STORE_KV_GET);
		return;
	case RUNTIME_KV_PUT:
		kv_call(d, a, call, STORE_KV_PUT);
		return;
	case RUNTIME_KV_DELETE:
		kv_call(d, a, call, STORE_KV_DELETE);
		return;
	case RUNTIME_KV_LIST:
		kv_call(d, a, call, STORE_KV_LIST);
		return;
	case RUNTIME_KV_DELETE_RANGE:
		kv_call(d, a, call, STORE_KV_DELETE_RANGE);
		return;
	case RUNTIME_ALARM_SET:
		alarm_call(d, a, call);
		return;
	case RUNTIME_INPUT:
		input_call(d, a, call);
		return;
	case RUNTIME_INFO:
	case RUNTIME_ALARM_GET:
	case RUNTIME_SLEEP:
	case RUNTIME_DESTROY:
	case RUNTIME_KEEP_AWAKE:
	case RUNTIME_LEASE_END:
		break;
	}
	IMPOSSIBLE("runtime call the actor answers itself");
}
