/* Local mode's answers to the control socket: what local/ knows, in the words
 * of app/mode.h. */
#include "app/mode_local.h"

#include "codec/json_field.h"
#include "local/local_control.h"
#include "local/local_driver.h"
#include "store/store_backup.h"

#include <errno.h>

#define KV_LIST_LIMIT 1000

static const char *const policies[] = {
    [CRASH_SLEEP] = "sleep", [CRASH_RESTART] = "restart", [CRASH_DESTROY] = "destroy"};

/* ---- lists ---- */

struct list_call {
	struct mode_list q;
};

/* The record keeps why it ended as the API's `error`: a word, or an object with a message in it. */
static const char *failure_of(const json_t *error)
{
	const json_t *message = json_object_get(json_object_get(error, "crashed"), "message");
	return json_is_string(error) ? json_string_value(error) : json_string_value(message);
}

static void on_each(void *arg, const struct local_control_actor *a)
{
	const struct list_call *call = arg;
	const struct store_actor *rec = a->rec;
	json_t *error = rec->error_json == NULL ? NULL : json_loads(rec->error_json, JSON_DECODE_ANY, NULL);
	struct mode_actor out = {.id = rec->id,
				 .name = rec->name,
				 .key = rec->key,
				 .namespace_name = rec->namespace_name,
				 .state = a->state,
				 .failure = a->failure != NULL ? a->failure : failure_of(error),
				 .crash_policy = policies[rec->crash_policy],
				 .generation = rec->generation,
				 .created_at_wall_ms = rec->create_ts,
				 .alarm_at_wall_ms = rec->alarm_at_wall_ms,
				 .state_ms = rec->sleep_ts > 0 ? clock_wall_ms() - rec->sleep_ts : -1,
				 .back_off_ms = a->back_off_ms,
				 .alarm_failed_json = a->alarm_failed_json};
	if (a->live) {
		out.worker_id = a->view.worker_id;
		out.state_ms = clock_mono_ms() - a->view.since_mono_ms;
		out.pid = a->view.pid;
		out.requests = a->view.in_flight;
		out.websockets = a->view.websockets;
		out.waiting = a->view.waiting;
		out.leases = a->view.leases;
	}
	call->q.each(call->q.arg, &out);
	json_decref(error);
}

static void on_list_done(void *arg, int result, bool more)
{
	struct list_call *call = arg;
	call->q.done(call->q.arg, result < 0 ? "the store could not be read" : NULL, more);
	mem_free(call);
}

void mode_local_list(struct mode *m, const struct mode_list *q)
{
	struct list_call *call = mem_zalloc(sizeof(*call));
	call->q = *q;
	local_control_list(mode_local_of(m),
			   &(struct local_control_list){
			       .name = q->name, .id = q->id, .each = on_each, .done = on_list_done, .arg = call});
}

/* ---- commands ---- */

struct verb_call {
	mode_answer *done;
	void *arg;
};

static void on_verb_done(void *arg, enum local_call_outcome outcome, const struct store_actor *actor)
{
	static const struct {
		unsigned status;
		const char *message;
	} answers[] = {
	    [LOCAL_CALL_OK] = {200, NULL},
	    [LOCAL_CALL_CREATED] = {200, NULL},
	    [LOCAL_CALL_NOT_FOUND] = {404, "there is no such actor"},
	    [LOCAL_CALL_KEY_TAKEN] = {409, "the key is taken"},
	    [LOCAL_CALL_NO_NAMESPACE] = {404, "there is no such namespace"},
	    [LOCAL_CALL_NOT_REGISTERED] = {409, "no actor type of that name is configured"},
	    [LOCAL_CALL_DISK_FULL] = {507, "the disk of the data directory is full"},
	    [LOCAL_CALL_DISK_FAILED] = {503, "the store failed"},
	    [LOCAL_CALL_STOPPING] = {503, "the daemon is stopping"},
	    [LOCAL_CALL_OVERLOADED] = {503, "too many actors are awake or being looked up"},
	};
	struct verb_call *call = arg;
	(void)actor;
	call->done(call->arg, answers[outcome].status, answers[outcome].message);
	mem_free(call);
}

void mode_local_command(struct mode *m, enum mode_verb verb, const char *id, mode_answer *done, void *arg)
{
	struct local_driver *d = local_driver_of(mode_local_of(m));
	struct verb_call *call = mem_zalloc(sizeof(*call));
	call->done = done;
	call->arg = arg;
	switch (verb) {
	case MODE_WAKE:
		local_driver_wake(d, NULL, id, on_verb_done, call);
		return;
	case MODE_SLEEP:
		local_driver_sleep(d, NULL, id, on_verb_done, call);
		return;
	case MODE_RESTART:
		local_driver_restart(d, NULL, id, on_verb_done, call);
		return;
	case MODE_DESTROY:
		local_driver_destroy(d, NULL, id, on_verb_done, call);
		return;
	}
	IMPOSSIBLE("mode verb");
}

/* ---- keys and values ---- */

struct kv_call {
	struct store_kv op;
	struct mode_kv q;
};

static void tell_entries(const struct kv_call *call)
{
	size_t n = call->op.n_entries;
	struct mode_kv_entry *entries = n == 0 ? NULL : mem_zalloc(n * sizeof(*entries));
	for (size_t i = 0; i < n; i++) {
		const struct store_kv_pair *p = &call->op.entries[i];
		entries[i] = (struct mode_kv_entry){slice_of(p->key, p->key_len), slice_of(p->value, p->value_len),
						    p->updated_wall_ms};
	}
	if (call->q.kind == MODE_KV_GET && n == 0)
		call->q.done(call->q.arg, 404, "the actor has no such key", NULL, 0, false);
	else
		call->q.done(call->q.arg, 200, NULL, entries, n, call->op.next_key != NULL);
	mem_free(entries);
}

static void on_kv(struct store_job *job)
{
	struct kv_call *call = CONTAINER_OF(CONTAINER_OF(job, struct store_kv, job), struct kv_call, op);
	if (job->result >= 0)
		tell_entries(call);
	else if (job->result == -ENOENT)
		call->q.done(call->q.arg, 404, "there is no such actor", NULL, 0, false);
	else if (job->result == -ENOSPC)
		call->q.done(call->q.arg, 507, "the disk of the data directory is full", NULL, 0, false);
	else
		call->q.done(call->q.arg, 503, "the store failed", NULL, 0, false);
	store_kv_clear(&call->op);
	mem_free(call);
}

static uint8_t *copy(struct slice s)
{
	uint8_t *mem = mem_alloc(s.n + 1);
	if (s.n > 0)
		memcpy(mem, s.p, s.n);
	return mem;
}

/* A prefix is the range from itself to the first key that does not have it; of a prefix of 0xff bytes alone there is
 * no such key. */
static void fill_prefix(struct store_kv *op, struct slice prefix)
{
	size_t n = prefix.n;
	op->limit = KV_LIST_LIMIT;
	op->bytes_max = LIMIT_KV_LIST_BYTES;
	if (n == 0)
		return;
	op->start = copy(prefix);
	op->start_len = n;
	while (n > 0 && prefix.p[n - 1] == 0xff)
		n--;
	if (n == 0)
		return;
	op->end = copy(slice_head(prefix, n));
	op->end[n - 1]++;
	op->end_len = n;
	op->end_exclusive = true;
}

void mode_local_kv(struct mode *m, const char *id, const struct mode_kv *q)
{
	static const enum store_kv_kind kinds[] = {[MODE_KV_GET] = STORE_KV_GET,
						   [MODE_KV_PUT] = STORE_KV_PUT,
						   [MODE_KV_DELETE] = STORE_KV_DELETE,
						   [MODE_KV_LIST] = STORE_KV_LIST};
	struct kv_call *call = mem_zalloc(sizeof(*call));
	call->q = *q;
	call->op.kind = kinds[q->kind];
	call->op.job.done = on_kv;
	if (q->kind == MODE_KV_LIST) {
		fill_prefix(&call->op, q->key);
	} else {
		call->op.n_pairs = 1;
		call->op.pairs = mem_zalloc(sizeof(*call->op.pairs));
		call->op.pairs[0].key = copy(q->key);
		call->op.pairs[0].key_len = q->key.n;
		if (q->kind == MODE_KV_PUT) {
			call->op.pairs[0].value = copy(q->value);
			call->op.pairs[0].value_len = q->value.n;
		}
	}
	local_control_kv(mode_local_of(m), id, &call->op);
}

/* ---- backup ---- */

struct backup_call {
	struct store_backup backup;
	void (*done)(void *arg, int fd, uint64_t size, unsigned status, const char *message);
	void *arg;
};

static void on_backup(struct store_job *job)
{
	struct backup_call *call =
	    CONTAINER_OF(CONTAINER_OF(job, struct store_backup, job), struct backup_call, backup);
	int result = job->result;
	if (result == 0)
		call->done(call->arg, call->backup.fd, call->backup.size, 200, NULL);
	else if (result == -EBUSY)
		call->done(call->arg, -1, 0, 409, "another backup is being made");
	else if (result == -ENOSPC)
		call->done(call->arg, -1, 0, 507,
			   "the data directory has no room for the copy; it needs as much as store.db");
	else
		call->done(call->arg, -1, 0, 503, result == -ECANCELED ? "the daemon is stopping" : strerror(-result));
	mem_free(call);
}

void mode_local_backup(struct mode *m,
		       void (*done)(void *arg, int fd, uint64_t size, unsigned status, const char *message), void *arg)
{
	struct backup_call *call = mem_zalloc(sizeof(*call));
	call->done = done;
	call->arg = arg;
	call->backup.job.done = on_backup;
	store_backup(mode_local_store(m), &call->backup);
}
