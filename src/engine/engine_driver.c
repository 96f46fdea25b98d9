/* The driver port, and everything that leaves for the engine: events, and
 * acknowledged commands.
 *
 * Happy path: an event is queued in the outbox, the flush task packs what
 * waits into one frame and gives it to the link; the engine acknowledges.
 * A frame with the last event of an incarnation goes the way of traffic, so
 * that it cannot overtake the answers before it; the others go ahead of traffic.
 *
 * Failure paths: a frame the link does not take is kept and tried again when
 * it has room; a reconnect as the same runner sends everything that is not
 * acknowledged; as another runner, everything known is dropped and every actor
 * is killed without a word. */
#include "engine/engine_driver_private.h"

#include "base/log.h"

#include <stdio.h>

#define EVENTS_PER_FRAME 256
#define ACKS_PER_FRAME 256
#define FRAME_MAX ((size_t)1024 * 1024)
#define MOMENT_MS 20000   /* the engine repeats what was given back for so long */
#define EVENT_TRIES_MAX 2 /* the last event of an incarnation is mostly not acknowledged at all */

static struct engine_driver *driver_of(void *arg)
{
	return CAST(struct engine_driver, arg, ENGINE_DRIVER_MAGIC);
}

static struct engine_driver *driver_of_port(struct driver *base)
{
	return driver_of(CONTAINER_OF(base, struct engine_driver, driver));
}

static int64_t now_of(const struct engine_driver *d)
{
	return loop_mono_ms(d->g->o.loop);
}

/* ---- the port ---- */

static void on_report(struct driver *base, const struct actor_ref *ref, const struct actor_report *r)
{
	struct engine_actor *a = engine_actor_find(driver_of_port(base), slice_str(ref->id));
	CHECK(a != NULL && a->in_table);
	engine_actor_report(a, ref, r);
}

static void on_state(struct driver *base, const struct actor_ref *ref, void *driver_data, struct runtime_call *call)
{
	struct engine_driver *d = driver_of_port(base);
	struct engine_actor *a = CAST(struct engine_actor, driver_data, ENGINE_ACTOR_MAGIC);
	if (a->state != EA_LIVE || a->generation != (uint32_t)ref->generation || a->silent) {
		engine_driver_answer(d, call, RUNTIME_STALE, NULL);
		return;
	}
	if (call->kind == RUNTIME_INPUT) {
		engine_driver_answer(d, call, RUNTIME_OK, a);
		return;
	}
	if (call->kind == RUNTIME_ALARM_SET) {
		engine_alarm_set(a, call);
		return;
	}
	a->calls++;
	engine_kv_call(d->g->kv, a->id, call, runtime_call_done, engine_actor_call_over, a);
}

static void on_drain(struct driver *base)
{
	driver_of_port(base)->draining = true;
}

static void on_close(struct driver *base, void (*closed)(void *arg), void *arg)
{
	engine_driver_close(driver_of_port(base), closed, arg);
}

static const struct driver_ops driver_ops = {
    .report = on_report, .state = on_state, .drain = on_drain, .close = on_close};

/* ---- answers from the tick ---- */

struct late_answer {
	struct loop_task task;
	struct engine_driver *d;
	struct runtime_call *call;
	enum runtime_outcome outcome;
	uint8_t *input;
};

static void on_late(void *arg)
{
	struct late_answer *l = arg;
	runtime_call_done(l->call, l->outcome);
	l->d->late--;
	engine_driver_check_closed(l->d);
	mem_free(l->input);
	mem_free(l);
}

void engine_driver_answer(struct engine_driver *d, struct runtime_call *call, enum runtime_outcome outcome,
			  const struct engine_actor *input)
{
	struct late_answer *l = mem_zalloc(sizeof(*l));
	loop_task_init(&l->task, on_late, l);
	l->d = d;
	l->call = call;
	l->outcome = outcome;
	if (input != NULL && input->has_input) {
		l->input = mem_alloc(input->input_len + 1);
		memcpy(l->input, input->input, input->input_len);
		call->has_input = true;
		call->input = slice_of(l->input, input->input_len);
	}
	d->late++;
	loop_post(d->g->o.loop, &l->task);
}

/* ---- types ---- */

const struct actor_type *engine_driver_type(const struct engine_driver *d, struct slice name)
{
	return actor_types_find(d->g->o.types, name);
}

char *engine_driver_not_registered(const struct engine_driver *d, struct slice name)
{
	struct buf b;
	buf_init(&b, 2048);
	buf_addf(&b, "no actor type \"%.*s\" is configured on this runner; ",
		 SLICE_FMT(slice_head(name, name.n < 128 ? name.n : 128)));
	actor_types_list(d->g->o.types, &b, 700);
	char *text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}

/* ---- events ---- */

static void flush(struct engine_driver *d)
{
	loop_post(d->g->o.loop, &d->flush);
}

void engine_driver_event(struct engine_driver *d, const struct engine_actor *a, struct runner_event ev)
{
	if (d->mute || a->silent)
		return;
	ev.checkpoint.actor_id = slice_str(a->id);
	ev.checkpoint.generation = a->generation;
	if (engine_outbox_put(d->outbox, &ev, clock_wall_ms()) != 0)
		LOG(ERROR, "an event for the engine is lost: too many are not acknowledged", ENGINE_ACTOR_LOG(a));
	d->stats.events++;
	flush(d);
}

static bool send_frame(struct engine_driver *d)
{
	if (buf_len(&d->frame) == 0)
		return true;
	enum engine_link_class class = d->frame_last ? ENGINE_LINK_TRAFFIC : ENGINE_LINK_CONTROL;
	if (engine_link_send(d->g->link, class, buf_slice(&d->frame)) != 0)
		return false;
	buf_reset(&d->frame);
	return true;
}

static void look_again_in(struct engine_driver *d, int64_t ms)
{
	if (!timer_armed(&d->again) || d->again.due_mono_ms > now_of(d) + ms)
		timer_arm(&d->again, ms);
}

static void on_flush(void *arg)
{
	struct engine_driver *d = driver_of(arg);
	struct buf elements;
	buf_init(&elements, FRAME_MAX / 2);
	while (d->g->online && send_frame(d) && engine_outbox_waiting(d->outbox) > 0) {
		buf_reset(&elements);
		size_t n = engine_outbox_take(d->outbox, &elements, EVENTS_PER_FRAME, now_of(d), &d->frame_last);
		struct runner_to_server m = {.tag = RUNNER_TO_SERVER_EVENTS,
					     .events = runner_list_of(buf_slice(&elements), n)};
		CHECK(n > 0 && runner_to_server_put(&d->frame, &m) == 0);
		look_again_in(d, LIMIT_ENGINE_EVENT_MS);
	}
	buf_done(&elements);
	engine_driver_check_closed(d);
}

/* Commands of incarnations that are over. True when there are more that are due. */
static bool send_acks(struct engine_driver *d)
{
	struct buf elements, frame;
	size_t n = 0;
	bool sent = false;
	buf_init(&elements, FRAME_MAX / 2);
	buf_init(&frame, FRAME_MAX);
	for (struct list *node = d->acks.next; node != &d->acks && n < ACKS_PER_FRAME; node = node->next) {
		const struct engine_ack *k = CONTAINER_OF(node, struct engine_ack, node);
		if (k->due_mono_ms > now_of(d))
			break;
		CHECK(runner_checkpoint_put(&elements, &(struct runner_checkpoint){.actor_id = slice_str(k->id),
										   .generation = k->generation,
										   .index = k->index}) == 0);
		n++;
	}
	struct runner_to_server m = {.tag = RUNNER_TO_SERVER_ACK_COMMANDS,
				     .commands = runner_list_of(buf_slice(&elements), n)};
	if (n > 0 && runner_to_server_put(&frame, &m) == 0)
		sent = engine_link_send(d->g->link, ENGINE_LINK_TRAFFIC, buf_slice(&frame)) == 0;
	for (; sent && n > 0; n--, d->n_acks--)
		mem_free(CONTAINER_OF(list_pop(&d->acks), struct engine_ack, node));
	buf_done(&elements);
	buf_done(&frame);
	return sent;
}

static void on_again(void *arg)
{
	struct engine_driver *d = driver_of(arg);
	if (!d->g->online)
		return; /* engine_driver_online looks */
	while (send_acks(d))
		;
	size_t ignored = engine_outbox_age(d->outbox, now_of(d) - LIMIT_ENGINE_EVENT_MS, EVENT_TRIES_MAX);
	if (ignored > 0)
		LOG(DEBUG, "the engine did not acknowledge some events", LOG_NUM("events", ignored));
	if (engine_outbox_count(d->outbox) > 0)
		look_again_in(d, LIMIT_ENGINE_EVENT_MS);
	if (d->n_acks > 0)
		look_again_in(d, LIMIT_ENGINE_ACK_MS);
	flush(d);
}

void engine_driver_acked(struct engine_driver *d, struct runner_list checkpoints)
{
	struct runner_walk w = runner_walk_of(checkpoints);
	struct runner_checkpoint c;
	while (runner_checkpoint_next(&w, &c))
		engine_outbox_acked(d->outbox, &c);
	engine_driver_check_closed(d);
}

/* ---- the link ---- */

static void drop_acks(struct engine_driver *d)
{
	for (struct list *node; (node = list_pop(&d->acks)) != NULL; d->n_acks--)
		mem_free(CONTAINER_OF(node, struct engine_ack, node));
}

static void silence(struct map_node *node, void *arg)
{
	struct engine_actor *a = CONTAINER_OF(node, struct engine_actor, by_id);
	(void)arg;
	a->silent = true;
	if (a->state == EA_NEW)
		a->stop_commanded = true;
	engine_actor_poke(a);
}

void engine_driver_online(struct engine_driver *d, bool same_runner)
{
	buf_reset(&d->frame);
	if (same_runner) {
		engine_outbox_replay(d->outbox);
	} else {
		engine_outbox_clear(d->outbox);
		drop_acks(d);
		map_each(&d->by_id, silence, NULL);
		actor_table_stop_all(d->table, "lost", LIMIT_ENGINE_GOODBYE_MS, false);
	}
	look_again_in(d, LIMIT_ENGINE_ACK_MS);
	flush(d);
}

static void stop_now(struct engine_driver *d, const char *reason, int64_t left_ms)
{
	actor_table_stop_all(d->table, reason, left_ms > 1 ? left_ms : 1, left_ms <= 0);
}

void engine_driver_offline(struct engine_driver *d)
{
	buf_reset(&d->frame); /* what it held is in the outbox still */
	if (d->draining)
		stop_now(d, "drain", d->drain_until_mono_ms - now_of(d) - LIMIT_ENGINE_GOODBYE_MS);
}

void engine_driver_room(struct engine_driver *d)
{
	flush(d);
	look_again_in(d, d->n_acks > 0 ? 0 : LIMIT_ENGINE_EVENT_MS);
}

/* What was not started yet is not started any more. */
static void end_new(struct map_node *node, void *arg)
{
	struct engine_actor *a = CONTAINER_OF(node, struct engine_actor, by_id);
	(void)arg;
	if (a->state != EA_NEW)
		return;
	a->how = STOPPED_START_FAILED;
	a->stop_commanded = true;
	a->silent = true;
	engine_actor_poke(a);
}

void engine_driver_lost_soon(struct engine_driver *d, int64_t left_ms)
{
	map_each(&d->by_id, end_new, NULL);
	stop_now(d, "lost", left_ms);
}

void engine_driver_lost(struct engine_driver *d)
{
	map_each(&d->by_id, end_new, NULL);
	stop_now(d, "lost", 0);
}

void engine_driver_evicted(struct engine_driver *d)
{
	d->mute = true;
	engine_outbox_clear(d->outbox);
	drop_acks(d);
	buf_reset(&d->frame);
	map_each(&d->by_id, silence, NULL);
	stop_now(d, "evicted", LIMIT_ENGINE_EVICTED_MS);
}

/* ---- draining ---- */

static void on_drain_slow(void *arg)
{
	struct engine_driver *d = driver_of(arg);
	stop_now(d, "drain", d->drain_until_mono_ms - now_of(d) - LIMIT_ENGINE_GOODBYE_MS);
}

static void poke_one(struct map_node *node, void *arg)
{
	(void)arg;
	engine_actor_poke(CONTAINER_OF(node, struct engine_actor, by_id));
}

void engine_driver_drain(struct engine_driver *d, int64_t until_mono_ms)
{
	d->draining = true;
	d->drain_until_mono_ms = until_mono_ms;
	map_each(&d->by_id, poke_one, NULL);
	timer_arm(&d->drain, d->g->online ? LIMIT_ENGINE_STOP_MS : 0);
}

static void count_active(struct map_node *node, void *arg)
{
	*(size_t *)arg += engine_actor_active(CONTAINER_OF(node, struct engine_actor, by_id));
}

static size_t active(const struct engine_driver *d)
{
	size_t n = 0;
	map_each((struct map *)(uintptr_t)&d->by_id, count_active, &n);
	return n;
}

const char *engine_driver_failing(const struct engine_driver *d)
{
	return d->failing;
}

bool engine_driver_idle(const struct engine_driver *d)
{
	if (d->table != NULL && actor_table_count(d->table) > 0)
		return false;
	if (d->g->online && (engine_outbox_waiting(d->outbox) > 0 || buf_len(&d->frame) > 0 || d->n_acks > 0))
		return false;
	return active(d) == 0;
}

bool engine_driver_knows(const struct engine_driver *d, const char *actor_id)
{
	const struct engine_actor *a = engine_actor_find(d, slice_str(actor_id));
	return a != NULL && (engine_actor_active(a) || now_of(d) - a->ended_mono_ms < MOMENT_MS);
}

bool engine_driver_runs(const struct engine_driver *d, const char *actor_id)
{
	const struct engine_actor *a = engine_actor_find(d, slice_str(actor_id));
	return a != NULL && a->state == EA_LIVE && !a->stop_commanded && !a->silent;
}

bool engine_driver_taken_over(const struct engine_driver *d, struct slice actor_id, int64_t since_wall_ms)
{
	const struct engine_actor *a = engine_actor_find(d, actor_id);
	bool begun = a != NULL && (a->state == EA_NEW || a->state == EA_LIVE);
	return begun && !a->has_run && a->create_ms < since_wall_ms;
}

struct log_actor engine_driver_who(const struct engine_driver *d, const char *actor_id)
{
	const struct engine_actor *a = d == NULL ? NULL : engine_actor_find(d, slice_str(actor_id));
	if (a == NULL)
		return (struct log_actor){.id = actor_id, .generation = -1};
	return (struct log_actor){.id = actor_id, .name = a->name, .key = a->key, .generation = a->generation};
}

/* ---- life ---- */

static void on_crowded(void *arg, const struct actor_type *type)
{
	(void)arg;
	LOG(DEBUG, "an actor type is at workers_max", LOG_STR("actor_name", type->name));
}

static void on_finish(void *arg);

int engine_driver_open(struct engine *g, struct engine_driver **ret, struct err *e)
{
	struct engine_driver *d = mem_zalloc(sizeof(*d));
	d->magic = ENGINE_DRIVER_MAGIC;
	d->driver.ops = &driver_ops;
	d->g = g;
	map_init(&d->by_id, LIMIT_ENGINE_ACTORS);
	list_init(&d->ended);
	list_init(&d->acks);
	buf_init(&d->frame, FRAME_MAX);
	loop_task_init(&d->flush, on_flush, d);
	loop_task_init(&d->finish, on_finish, d);
	timer_init(&d->again, g->o.loop, on_again, d);
	timer_init(&d->drain, g->o.loop, on_drain_slow, d);
	struct worker_pool_options o = {.loop = g->o.loop,
					.guardian = g->o.guardian,
					.runtime_dir = g->o.runtime_dir,
					.starts_max = g->o.starts_max,
					.crowded = on_crowded,
					.arg = d};
	int r = actor_table_open(&o, &d->driver, &d->table, e);
	if (r < 0) {
		mem_free(d);
		return r;
	}
	d->outbox = engine_outbox_new(LIMIT_ENGINE_ACTORS);
	*ret = d;
	return 0;
}

struct actor_table *engine_driver_table(struct engine_driver *d)
{
	return d->closing ? NULL : d->table;
}

/* Takes up the next actors of replaced types. */
static void roll(struct engine_driver *d)
{
	struct actor_ref ref;
	while (!d->draining && !d->mute && d->n_rolling < d->g->o.starts_max &&
	       actor_table_next_stale(d->table, &ref)) {
		struct engine_actor *a = engine_actor_find(d, slice_str(ref.id));
		if (a != NULL && a->state == EA_LIVE && a->live.generation == ref.generation)
			engine_actor_roll(a);
	}
}

void engine_driver_reload(struct engine_driver *d)
{
	if (d->closing)
		return;
	worker_pool_set_starts_max(actor_table_pool(d->table), d->g->o.starts_max);
	actor_table_retire(d->table, d->g->o.types);
}

bool engine_driver_tick(struct engine_driver *d)
{
	if (d->table == NULL || d->closing)
		return false;
	bool more = actor_table_run(d->table);
	roll(d);
	return more;
}

void engine_driver_check_closed(struct engine_driver *d)
{
	if (d->closing)
		loop_post(d->g->o.loop, &d->finish);
}

static void on_table_closed(void *arg)
{
	struct engine_driver *d = driver_of(arg);
	d->table = NULL;
	/* What state calls wait for will not come any more. */
	engine_kv_drop(d->g->kv);
	map_each(&d->by_id, poke_one, NULL);
	engine_driver_check_closed(d);
}

static void free_one(struct map_node *node, void *arg)
{
	(void)arg;
	engine_actor_free(CONTAINER_OF(node, struct engine_actor, by_id));
}

static void on_finish(void *arg)
{
	struct engine_driver *d = driver_of(arg);
	if (d->table != NULL || d->late > 0 || active(d) > 0)
		return;
	void (*closed)(void *) = d->closed;
	void *closed_arg = d->closed_arg;
	map_each(&d->by_id, free_one, NULL);
	map_done(&d->by_id);
	drop_acks(d);
	engine_outbox_free(d->outbox);
	buf_done(&d->frame);
	timer_disarm(&d->again);
	timer_disarm(&d->drain);
	loop_cancel(&d->flush);
	loop_cancel(&d->finish);
	mem_free(d->failing);
	d->magic = 0;
	mem_free(d);
	closed(closed_arg);
}

void engine_driver_close(struct engine_driver *d, void (*closed)(void *arg), void *arg)
{
	CHECK(!d->closing);
	d->draining = d->closing = true;
	d->closed = closed;
	d->closed_arg = arg;
	timer_disarm(&d->drain);
	actor_table_close(d->table, on_table_closed, d);
}

void engine_driver_stats(const struct engine_driver *d, struct engine_driver_stats *ret)
{
	*ret = d->stats;
	ret->known = d->by_id.count;
	ret->unacked = engine_outbox_count(d->outbox);
}
