/* Owns the requests under way and those that wait for their turn.
 *
 * Happy path: a request is encoded when it is submitted, waits, is sent while
 * the window has room, and is matched with its answer by id; its end is told
 * from the work task.
 *
 * Failure paths: no answer in time ends a request where it is; one that was
 * sent keeps its place in the window until the engine has worked it off, or
 * the link breaks. A reconnect as the same runner puts what was sent back in
 * front of what waits. When the actors are about to be another runner's
 * (engine_kv_drop), all that is left fails, and everything new does, until the
 * link is online again. The lists are in order of age, so the oldest of either
 * says when to look next. */
#include "engine/engine_kv_private.h"

#define KV_MAGIC 0x656e6b76u

struct request {
	struct list node;
	uint32_t id;
	bool sent;
	int64_t due_mono_ms;
	uint8_t *frame;
	size_t frame_len;
	engine_kv_done *done; /* NULL: told already, only its place is kept */
	void *arg;
	enum engine_kv_outcome outcome;
	struct runner_kv_response answer; /* slices into memory */
	uint8_t *memory;
};

struct engine_kv {
	uint32_t magic;
	struct engine *g;
	struct list waiting, under_way, finished; /* struct request */
	size_t n_waiting, waiting_bytes, n_under_way, under_way_bytes;
	uint32_t next_id;
	bool dropped; /* nothing is taken until online */
	struct timer due;
	struct loop_task work;
	struct buf scratch;
	struct engine_kv_stats stats;
};

static void on_work(void *arg);
static void on_due(void *arg);

struct engine_kv *engine_kv_new(struct engine *g)
{
	struct engine_kv *kv = mem_zalloc(sizeof(*kv));
	kv->magic = KV_MAGIC;
	kv->g = g;
	list_init(&kv->waiting);
	list_init(&kv->under_way);
	list_init(&kv->finished);
	timer_init(&kv->due, g->o.loop, on_due, kv);
	loop_task_init(&kv->work, on_work, kv);
	buf_init(&kv->scratch, LIMIT_ENGINE_KV_FRAME_BYTES);
	return kv;
}

struct engine *engine_kv_engine(const struct engine_kv *kv)
{
	return kv->g;
}

static void post(struct engine_kv *kv)
{
	loop_post(kv->g->o.loop, &kv->work);
}

static void on_due(void *arg)
{
	post(CAST(struct engine_kv, arg, KV_MAGIC));
}

/* ---- the lists ---- */

static struct request *first_of(struct list *l)
{
	return list_empty(l) ? NULL : CONTAINER_OF(l->next, struct request, node);
}

static void put_waiting(struct engine_kv *kv, struct request *q)
{
	list_push_back(&kv->waiting, &q->node);
	kv->n_waiting++;
	kv->waiting_bytes += q->frame_len;
}

static void take_waiting(struct engine_kv *kv, struct request *q)
{
	list_remove(&q->node);
	kv->n_waiting--;
	kv->waiting_bytes -= q->frame_len;
}

static void take_under_way(struct engine_kv *kv, struct request *q)
{
	list_remove(&q->node);
	kv->n_under_way--;
	kv->under_way_bytes -= q->frame_len;
}

static void request_free(struct request *q)
{
	mem_free(q->frame);
	mem_free(q->memory);
	mem_free(q);
}

/* It is in no list. Its end is told by the work task. */
static void finish(struct engine_kv *kv, struct request *q, enum engine_kv_outcome outcome)
{
	q->outcome = outcome;
	list_push_back(&kv->finished, &q->node);
	post(kv);
}

static enum engine_kv_outcome unanswered(const struct request *q)
{
	return q->sent ? ENGINE_KV_UNKNOWN : ENGINE_KV_UNSENT;
}

/* ---- sending ---- */

void engine_kv_submit(struct engine_kv *kv, const struct runner_kv_request *what, engine_kv_done *done, void *arg)
{
	struct runner_to_server m = {.tag = RUNNER_TO_SERVER_KV_REQUEST, .kv = *what};
	struct request *q = mem_zalloc(sizeof(*q));
	list_init(&q->node);
	q->done = done;
	q->arg = arg;
	q->id = m.kv.request_id = kv->next_id++;
	q->due_mono_ms = loop_mono_ms(kv->g->o.loop) + LIMIT_ENGINE_KV_MS;
	kv->stats.requests++;
	buf_reset(&kv->scratch);
	if (kv->dropped || kv->n_waiting >= LIMIT_ENGINE_KV_WAITING ||
	    kv->waiting_bytes >= LIMIT_ENGINE_KV_WAITING_BYTES || runner_to_server_put(&kv->scratch, &m) != 0) {
		finish(kv, q, ENGINE_KV_UNSENT);
		return;
	}
	q->frame_len = buf_len(&kv->scratch);
	q->frame = mem_alloc(q->frame_len);
	memcpy(q->frame, buf_slice(&kv->scratch).p, q->frame_len);
	put_waiting(kv, q);
	post(kv);
}

static bool has_room(const struct engine_kv *kv, const struct request *q)
{
	if (kv->n_under_way == 0)
		return true;
	return kv->n_under_way < LIMIT_ENGINE_KV_OPS && kv->under_way_bytes + q->frame_len <= LIMIT_ENGINE_KV_BYTES;
}

static void send_waiting(struct engine_kv *kv)
{
	struct request *q;
	while (kv->g->online && (q = first_of(&kv->waiting)) != NULL && has_room(kv, q)) {
		if (engine_link_send(kv->g->link, ENGINE_LINK_TRAFFIC, slice_of(q->frame, q->frame_len)) != 0)
			return; /* engine_kv_room or engine_kv_online follows */
		take_waiting(kv, q);
		q->sent = true;
		list_push_back(&kv->under_way, &q->node);
		kv->n_under_way++;
		kv->under_way_bytes += q->frame_len;
	}
}

/* ---- time ---- */

static void end_overdue(struct engine_kv *kv, int64_t now_mono_ms)
{
	LIST_FOR (&kv->under_way, node) {
		struct request *q = CONTAINER_OF(node, struct request, node);
		if (q->done == NULL || q->due_mono_ms > now_mono_ms)
			continue;
		engine_kv_done *done = q->done;
		q->done = NULL;
		kv->stats.unanswered++;
		done(q->arg, ENGINE_KV_UNKNOWN, NULL);
	}
	LIST_FOR (&kv->waiting, node) {
		struct request *q = CONTAINER_OF(node, struct request, node);
		if (q->due_mono_ms > now_mono_ms)
			break;
		take_waiting(kv, q);
		finish(kv, q, unanswered(q));
	}
}

static void arm(struct engine_kv *kv)
{
	int64_t due_mono_ms = INT64_MAX;
	const struct request *w = first_of(&kv->waiting);
	LIST_FOR (&kv->under_way, node) {
		const struct request *q = CONTAINER_OF(node, struct request, node);
		if (q->done == NULL)
			continue;
		due_mono_ms = q->due_mono_ms;
		break;
	}
	if (w != NULL && w->due_mono_ms < due_mono_ms)
		due_mono_ms = w->due_mono_ms;
	if (due_mono_ms == INT64_MAX) {
		timer_disarm(&kv->due);
		return;
	}
	int64_t left_ms = due_mono_ms - loop_mono_ms(kv->g->o.loop);
	timer_arm(&kv->due, left_ms > 0 ? left_ms : 0);
}

/* ---- ends ---- */

static void tell_finished(struct engine_kv *kv)
{
	for (struct list *node; (node = list_pop(&kv->finished)) != NULL;) {
		struct request *q = CONTAINER_OF(node, struct request, node);
		bool answered = q->outcome == ENGINE_KV_OK || q->outcome == ENGINE_KV_REFUSED;
		kv->stats.refused += q->outcome == ENGINE_KV_REFUSED;
		kv->stats.unanswered += !answered;
		if (q->done != NULL)
			q->done(q->arg, q->outcome, answered ? &q->answer : NULL);
		request_free(q);
	}
}

static void on_work(void *arg)
{
	struct engine_kv *kv = CAST(struct engine_kv, arg, KV_MAGIC);
	tell_finished(kv);
	end_overdue(kv, loop_mono_ms(kv->g->o.loop));
	send_waiting(kv);
	arm(kv);
}

static struct slice keep(struct slice s, uint8_t *memory, size_t *at)
{
	struct slice kept = slice_of(memory + *at, s.n);
	if (s.n > 0)
		memcpy(memory + *at, s.p, s.n);
	*at += s.n;
	return kept;
}

static void copy_answer(struct request *q, const struct runner_kv_response *r)
{
	size_t at = 0;
	q->memory = mem_alloc(r->error.n + r->keys.bytes.n + r->values.bytes.n + r->metadata.bytes.n + 1);
	q->answer = *r;
	q->answer.error = keep(r->error, q->memory, &at);
	q->answer.keys.bytes = keep(r->keys.bytes, q->memory, &at);
	q->answer.values.bytes = keep(r->values.bytes, q->memory, &at);
	q->answer.metadata.bytes = keep(r->metadata.bytes, q->memory, &at);
}

void engine_kv_answer(struct engine_kv *kv, const struct runner_kv_response *r)
{
	LIST_FOR (&kv->under_way, node) {
		struct request *q = CONTAINER_OF(node, struct request, node);
		if (q->id != r->request_id)
			continue;
		take_under_way(kv, q);
		if (q->done != NULL)
			copy_answer(q, r);
		finish(kv, q, r->answer == RUNNER_KV_ANSWER_ERROR ? ENGINE_KV_REFUSED : ENGINE_KV_OK);
		return;
	}
}

/* ---- the link ---- */

void engine_kv_online(struct engine_kv *kv, bool same_runner)
{
	if (!same_runner)
		engine_kv_drop(kv);
	kv->dropped = false;
	struct list later;
	list_init(&later);
	list_move_all(&later, &kv->waiting);
	for (struct request *q; (q = first_of(&kv->under_way)) != NULL;) {
		take_under_way(kv, q);
		if (q->done == NULL)
			request_free(q);
		else
			put_waiting(kv, q);
	}
	list_move_all(&kv->waiting, &later);
	post(kv);
}

void engine_kv_offline(struct engine_kv *kv)
{
	post(kv);
}

void engine_kv_room(struct engine_kv *kv)
{
	post(kv);
}

void engine_kv_drop(struct engine_kv *kv)
{
	kv->dropped = true;
	for (struct request *q; (q = first_of(&kv->under_way)) != NULL;) {
		take_under_way(kv, q);
		finish(kv, q, unanswered(q));
	}
	for (struct request *q; (q = first_of(&kv->waiting)) != NULL;) {
		take_waiting(kv, q);
		finish(kv, q, unanswered(q));
	}
}

void engine_kv_free(struct engine_kv *kv)
{
	/* What is told may submit a next page once; that ends here too. */
	do {
		engine_kv_drop(kv);
		tell_finished(kv);
	} while (!list_empty(&kv->waiting) || !list_empty(&kv->finished));
	timer_disarm(&kv->due);
	loop_cancel(&kv->work);
	buf_done(&kv->scratch);
	kv->magic = 0;
	mem_free(kv);
}

void engine_kv_stats(const struct engine_kv *kv, struct engine_kv_stats *ret)
{
	*ret = kv->stats;
	ret->waiting = kv->n_waiting;
	ret->under_way = kv->n_under_way;
}
