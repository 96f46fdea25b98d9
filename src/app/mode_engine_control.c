/* Engine mode's answers to the control socket: what this runner knows. The
 * engine owns the actors and their state and takes calls about an actor only
 * from where it runs, so everything else is refused, with a word about where to
 * ask. */
#include "app/mode_engine.h"

#include "worker/runtime_api.h"

#define KV_LIST_LIMIT 1000

#define NOT_HERE                                                                                                       \
	"the actor is not awake on this runner, and only the engine has it then; a request through its gateway wakes " \
	"it"

/* Answers come from the tick. */
struct later {
	struct loop_task task;
	struct mode *mode;
	struct mode_list list;
	char *name, *id;
	enum mode_verb verb;
	mode_answer *done;
	void *arg;
	/* A state call. */
	struct mode_kv kv;
	struct runtime_call call;
	struct runtime_kv_pair pair;
	struct buf memory; /* what its slices point to */
};

static struct later *later_new(struct mode *m, void (*fn)(void *arg))
{
	struct later *l = mem_zalloc(sizeof(*l));
	l->mode = m;
	loop_task_init(&l->task, fn, l);
	return l;
}

static void later_free(struct later *l)
{
	mem_free(l->name);
	mem_free(l->id);
	buf_done(&l->memory);
	mem_free(l);
}

static void on_each(void *arg, const struct engine_view *v)
{
	const struct later *l = arg;
	const struct actor_view *a = &v->actor;
	l->list.each(l->list.arg, &(struct mode_actor){.id = a->id,
						       .name = a->name,
						       .key = a->key,
						       .namespace_name = a->namespace_name,
						       .state = a->state,
						       .worker_id = *a->worker_id == '\0' ? NULL : a->worker_id,
						       .failure = v->failure,
						       .generation = a->generation,
						       .created_at_wall_ms = v->create_ms,
						       .alarm_at_wall_ms = v->alarm_at_wall_ms,
						       .state_ms = clock_mono_ms() - a->since_mono_ms,
						       .back_off_ms = v->back_off_ms,
						       .alarm_failed_json = v->alarm_failed_json,
						       .pid = a->pid,
						       .requests = a->in_flight,
						       .websockets = a->websockets,
						       .waiting = a->waiting,
						       .leases = a->leases});
}

static void on_list(void *arg)
{
	struct later *l = arg;
	struct engine *g = mode_engine_of(l->mode);
	if (g != NULL)
		engine_each(g, l->name, l->id, on_each, l);
	l->list.done(l->list.arg, g == NULL ? "the daemon is starting" : NULL, false);
	later_free(l);
}

void mode_engine_list(struct mode *m, const struct mode_list *q)
{
	struct later *l = later_new(m, on_list);
	l->list = *q;
	l->name = mem_strdup(q->name);
	l->id = mem_strdup(q->id);
	loop_post(mode_engine_loop(m), &l->task);
}

static int obey(struct engine *g, enum mode_verb verb, const char *id)
{
	switch (verb) {
	case MODE_WAKE:
		return engine_awake(g, id);
	case MODE_SLEEP:
		return engine_wish(g, id, ENGINE_WISH_SLEEP);
	case MODE_RESTART:
		return engine_wish(g, id, ENGINE_WISH_RESTART);
	case MODE_DESTROY:
		return engine_wish(g, id, ENGINE_WISH_DESTROY);
	}
	IMPOSSIBLE("mode verb");
}

static void on_command(void *arg)
{
	struct later *l = arg;
	struct engine *g = mode_engine_of(l->mode);
	int r = g == NULL ? 0 : obey(g, l->verb, l->id);
	if (g == NULL)
		l->done(l->arg, 503, "the daemon is starting");
	else if (r == ENGINE_WISH_ABSENT)
		l->done(l->arg, 404, NOT_HERE);
	else if (r == ENGINE_WISH_STOPPING)
		l->done(l->arg, 409, "the actor is stopping");
	else
		l->done(l->arg, 200, NULL);
	later_free(l);
}

void mode_engine_command(struct mode *m, enum mode_verb verb, const char *id, mode_answer *done, void *arg)
{
	struct later *l = later_new(m, on_command);
	l->verb = verb;
	l->id = mem_strdup(id);
	l->done = done;
	l->arg = arg;
	loop_post(mode_engine_loop(m), &l->task);
}

/* ---- keys and values ---- */

static void kv_failed(struct later *l, unsigned status, const char *message)
{
	l->kv.done(l->kv.arg, status, message, NULL, 0, false);
}

static void tell_entries(struct later *l)
{
	size_t n = l->call.n_entries;
	struct mode_kv_entry *entries = n == 0 ? NULL : mem_zalloc(n * sizeof(*entries));
	for (size_t i = 0; i < n; i++) {
		const struct runtime_kv_pair *p = &l->call.entries[i];
		entries[i] = (struct mode_kv_entry){p->key, p->value, p->updated_wall_ms};
	}
	if (l->kv.kind == MODE_KV_GET && n == 0)
		kv_failed(l, 404, "the actor has no such key");
	else
		l->kv.done(l->kv.arg, 200, NULL, entries, n, l->call.has_next);
	mem_free(entries);
}

static void on_state(struct runtime_call *call, enum runtime_outcome outcome)
{
	struct later *l = CONTAINER_OF(call, struct later, call);
	const char *message = call->message == NULL ? "the engine refused" : call->message;
	switch (outcome) {
	case RUNTIME_OK:
		tell_entries(l);
		break;
	case RUNTIME_DISK_FULL:
		kv_failed(l, 507, message);
		break;
	case RUNTIME_STALE:
	case RUNTIME_STOPPING:
		kv_failed(l, 409, message);
		break;
	case RUNTIME_UNAVAILABLE:
	case RUNTIME_TOO_MANY:
	case RUNTIME_ABSENT:
		kv_failed(l, 503, message);
		break;
	}
	later_free(l);
}

static void on_kv(void *arg)
{
	struct later *l = arg;
	struct engine *g = mode_engine_of(l->mode);
	if (g == NULL)
		kv_failed(l, 503, "the daemon is starting");
	else if (engine_state(g, l->id, &l->call, on_state) == 0)
		return;
	else
		kv_failed(l, 404, NOT_HERE);
	later_free(l);
}

/* A prefix is the range from itself to the first key that does not have it; of a prefix of 0xff bytes alone there is
 * no such key. `memory` has room for both: slices into it stay. */
static void fill_prefix(struct later *l)
{
	struct slice prefix = l->kv.key, behind = prefix;
	l->call.limit = KV_LIST_LIMIT;
	l->call.has_start = prefix.n > 0;
	l->call.start = prefix;
	while (behind.n > 0 && behind.p[behind.n - 1] == 0xff)
		behind.n--;
	if (behind.n == 0)
		return;
	size_t at = buf_len(&l->memory);
	buf_add(&l->memory, slice_head(behind, behind.n - 1));
	buf_add_byte(&l->memory, (uint8_t)(behind.p[behind.n - 1] + 1));
	l->call.has_end = l->call.end_exclusive = true;
	l->call.end = slice_from(buf_slice(&l->memory), at);
}

void mode_engine_kv(struct mode *m, const char *id, const struct mode_kv *q)
{
	static const enum runtime_kind kinds[] = {[MODE_KV_GET] = RUNTIME_KV_GET,
						  [MODE_KV_PUT] = RUNTIME_KV_PUT,
						  [MODE_KV_DELETE] = RUNTIME_KV_DELETE,
						  [MODE_KV_LIST] = RUNTIME_KV_LIST};
	struct later *l = later_new(m, on_kv);
	size_t room = 2 * q->key.n + q->value.n + 1;
	l->id = mem_strdup(id);
	l->kv = *q;
	l->call.kind = kinds[q->kind];
	buf_init(&l->memory, room);
	CHECK(buf_reserve(&l->memory, room) != NULL);
	buf_add(&l->memory, q->key);
	buf_add(&l->memory, q->value);
	l->kv.key = slice_head(buf_slice(&l->memory), q->key.n);
	l->kv.value = slice_from(buf_slice(&l->memory), q->key.n);
	if (q->kind == MODE_KV_LIST) {
		fill_prefix(l);
	} else {
		l->pair = (struct runtime_kv_pair){.key = l->kv.key, .value = l->kv.value};
		l->call.pairs = &l->pair;
		l->call.n_pairs = 1;
	}
	loop_post(mode_engine_loop(m), &l->task);
}
