/* Owns every event the engine has not acknowledged.
 *
 * An event is in one of two lists: to be sent, or sent; both keep the order of
 * making. It also hangs in its incarnation (a stream), where the newest number
 * is. A replay puts the sent ones back in front of the others; they are all
 * older. A stream goes when its STOPPED is acknowledged, or dropped.
 *
 * Failure path: a new incarnation when incarnations_max are in. */
#include "engine/engine_outbox.h"

#include "base/list.h"
#include "base/map.h"

#include <stdio.h>

#define STEP 256
#define STREAM_KEY_MAX 96

struct stream {
	struct map_node by_key;
	char key[STREAM_KEY_MAX];
	char *actor_id;
	uint32_t generation;
	int64_t last; /* index given last */
	bool closed;  /* STOPPED is queued */
	struct list events;
};

struct event {
	struct list node;   /* outbox.waiting or outbox.sent */
	struct list sister; /* stream.events */
	struct stream *stream;
	int64_t index;
	enum runner_event_kind kind;
	enum runner_stop_code code;
	bool has_alarm;
	int64_t alarm_wall_ms;
	char *message; /* NULL: none */
	int64_t sent_mono_ms;
	unsigned tries;
};

struct engine_outbox {
	struct map streams;
	struct list waiting, sent;
	size_t n_waiting, n_sent;
};

struct engine_outbox *engine_outbox_new(size_t incarnations_max)
{
	struct engine_outbox *o = mem_zalloc(sizeof(*o));
	map_init(&o->streams, incarnations_max);
	list_init(&o->waiting);
	list_init(&o->sent);
	return o;
}

static void make_key(char ret[STREAM_KEY_MAX], struct slice actor_id, uint32_t generation)
{
	CHECK(actor_id.n > 0 && actor_id.n < STREAM_KEY_MAX - 16);
	(void)snprintf(ret, STREAM_KEY_MAX, "%.*s %u", SLICE_FMT(actor_id), generation);
}

static struct stream *find(const struct engine_outbox *o, struct slice actor_id, uint32_t generation)
{
	char key[STREAM_KEY_MAX];
	if (actor_id.n == 0 || actor_id.n >= STREAM_KEY_MAX - 16)
		return NULL; /* no id of ours */
	make_key(key, actor_id, generation);
	struct map_node *node = map_get(&o->streams, slice_str(key));
	return node == NULL ? NULL : CONTAINER_OF(node, struct stream, by_key);
}

static struct stream *need(struct engine_outbox *o, struct slice actor_id, uint32_t generation)
{
	struct stream *s = find(o, actor_id, generation);
	if (s != NULL)
		return s;
	s = mem_zalloc(sizeof(*s));
	make_key(s->key, actor_id, generation);
	if (map_put(&o->streams, &s->by_key, slice_str(s->key)) != 0) {
		mem_free(s);
		return NULL;
	}
	s->actor_id = slice_dup(actor_id);
	s->generation = generation;
	list_init(&s->events);
	return s;
}

static void drop_event(struct engine_outbox *o, struct event *ev)
{
	if (ev->sent_mono_ms >= 0)
		o->n_sent--;
	else
		o->n_waiting--;
	list_remove(&ev->node);
	list_remove(&ev->sister);
	mem_free(ev->message);
	mem_free(ev);
}

static void drop_stream(struct engine_outbox *o, struct stream *s)
{
	LIST_FOR (&s->events, node)
		drop_event(o, CONTAINER_OF(node, struct event, sister));
	map_remove(&o->streams, &s->by_key);
	mem_free(s->actor_id);
	mem_free(s);
}

static void drop_if_over(struct engine_outbox *o, struct stream *s)
{
	if (s->closed && list_empty(&s->events))
		drop_stream(o, s);
}

static struct event *find_kind(const struct stream *s, enum runner_event_kind kind)
{
	LIST_FOR (&s->events, node) {
		struct event *ev = CONTAINER_OF(node, struct event, sister);
		if (ev->kind == kind)
			return ev;
	}
	return NULL;
}

int engine_outbox_put(struct engine_outbox *o, const struct runner_event *what, int64_t now_wall_ms)
{
	struct stream *s = need(o, what->checkpoint.actor_id, what->checkpoint.generation);
	if (s == NULL)
		return ENGINE_OUTBOX_FULL;
	if (s->closed)
		return 0;
	struct event *older = find_kind(s, what->kind);
	if (older != NULL)
		drop_event(o, older);
	struct event *ev = mem_zalloc(sizeof(*ev));
	int64_t index = now_wall_ms * STEP;
	ev->index = s->last = index >= s->last + STEP ? index : s->last + STEP;
	ev->stream = s;
	ev->kind = what->kind;
	ev->code = what->code;
	ev->has_alarm = what->has_alarm;
	ev->alarm_wall_ms = what->alarm_wall_ms;
	ev->message = what->has_message ? slice_dup(what->message) : NULL;
	ev->sent_mono_ms = -1;
	list_init(&ev->node);
	list_init(&ev->sister);
	list_push_back(&o->waiting, &ev->node);
	list_push_back(&s->events, &ev->sister);
	o->n_waiting++;
	s->closed = what->kind == RUNNER_EVENT_STOPPED;
	return 0;
}

size_t engine_outbox_take(struct engine_outbox *o, struct buf *elements, size_t n_max, int64_t now_mono_ms,
			  bool *ret_last)
{
	size_t n = 0;
	*ret_last = false;
	while (n < n_max && !list_empty(&o->waiting)) {
		struct event *ev = CONTAINER_OF(o->waiting.next, struct event, node);
		struct runner_event out = {
		    .checkpoint = {.actor_id = slice_str(ev->stream->actor_id),
				   .generation = ev->stream->generation,
				   .index = ev->index},
		    .kind = ev->kind,
		    .code = ev->code,
		    .has_message = ev->message != NULL,
		    .message = slice_str(ev->message),
		    .has_alarm = ev->has_alarm,
		    .alarm_wall_ms = ev->alarm_wall_ms,
		};
		if (runner_event_put(elements, &out) != 0)
			break; /* the buffer is full: the rest goes with the next frame */
		list_remove(&ev->node);
		list_push_back(&o->sent, &ev->node);
		ev->sent_mono_ms = now_mono_ms;
		ev->tries++;
		o->n_waiting--;
		o->n_sent++;
		*ret_last = *ret_last || ev->kind == RUNNER_EVENT_STOPPED;
		n++;
	}
	return n;
}

void engine_outbox_acked(struct engine_outbox *o, const struct runner_checkpoint *c)
{
	struct stream *s = find(o, c->actor_id, c->generation);
	if (s == NULL)
		return;
	LIST_FOR (&s->events, node) {
		struct event *ev = CONTAINER_OF(node, struct event, sister);
		if (ev->index <= c->index)
			drop_event(o, ev);
	}
	drop_if_over(o, s);
}

bool engine_outbox_has(const struct engine_outbox *o, struct slice actor_id, uint32_t generation,
		       enum runner_event_kind kind)
{
	const struct stream *s = find(o, actor_id, generation);
	return s != NULL && find_kind(s, kind) != NULL;
}

/* Back in front of what was never sent, in its order. */
static void wait_again(struct engine_outbox *o, struct list *again)
{
	LIST_FOR (again, node) {
		CONTAINER_OF(node, struct event, node)->sent_mono_ms = -1;
		o->n_sent--;
		o->n_waiting++;
	}
	list_move_all(again, &o->waiting);
	list_move_all(&o->waiting, again);
}

void engine_outbox_replay(struct engine_outbox *o)
{
	struct list again;
	list_init(&again);
	list_move_all(&again, &o->sent);
	wait_again(o, &again);
}

size_t engine_outbox_age(struct engine_outbox *o, int64_t sent_mono_ms, unsigned tries_max)
{
	struct list again;
	size_t dropped = 0;
	list_init(&again);
	LIST_FOR (&o->sent, node) {
		struct event *ev = CONTAINER_OF(node, struct event, node);
		if (ev->sent_mono_ms > sent_mono_ms)
			continue;
		if (ev->tries >= tries_max) {
			struct stream *s = ev->stream;
			drop_event(o, ev);
			drop_if_over(o, s);
			dropped++;
			continue;
		}
		list_remove(node);
		list_push_back(&again, node);
	}
	wait_again(o, &again);
	return dropped;
}

void engine_outbox_forget(struct engine_outbox *o, struct slice actor_id, uint32_t generation)
{
	struct stream *s = find(o, actor_id, generation);
	if (s != NULL)
		drop_stream(o, s);
}

static void on_clear(struct map_node *node, void *arg)
{
	drop_stream(arg, CONTAINER_OF(node, struct stream, by_key));
}

void engine_outbox_clear(struct engine_outbox *o)
{
	map_each(&o->streams, on_clear, o);
	CHECK(o->n_waiting == 0 && o->n_sent == 0);
}

void engine_outbox_free(struct engine_outbox *o)
{
	engine_outbox_clear(o);
	map_done(&o->streams);
	mem_free(o);
}

size_t engine_outbox_waiting(const struct engine_outbox *o)
{
	return o->n_waiting;
}

size_t engine_outbox_count(const struct engine_outbox *o)
{
	return o->n_waiting + o->n_sent;
}
