/* What an operator sees of actors, and may ask of them. Owns nothing. */
#include "engine/engine_driver_private.h"

struct looking {
	struct engine_driver *d;
	const char *name, *id;
	void (*fn)(void *arg, const struct engine_view *v);
	void *arg;
};

static bool wanted(const struct looking *l, const char *name, const char *id)
{
	return (l->name == NULL || strcmp(l->name, name) == 0) && (l->id == NULL || strcmp(l->id, id) == 0);
}

static void tell(const struct looking *l, const struct engine_actor *a, const struct actor_view *v)
{
	int64_t now_mono_ms = loop_mono_ms(l->d->g->o.loop);
	struct engine_view out = {.actor = *v,
				  .failure = a->last_failure,
				  .create_ms = a->create_ms,
				  .alarm_at_wall_ms = a->alarm.known ? a->alarm.due_wall_ms : 0,
				  .back_off_ms = restart_wait_ms(&a->restart, now_mono_ms),
				  .alarm_failed_json = slice_str(a->alarm_failed)};
	l->fn(l->arg, &out);
}

static void on_awake(void *arg, const struct actor_view *v)
{
	const struct looking *l = arg;
	const struct engine_actor *a = engine_actor_find(l->d, slice_str(v->id));
	if (a != NULL && wanted(l, v->name, v->id))
		tell(l, a, v);
}

static void on_other(struct map_node *node, void *arg)
{
	const struct looking *l = arg;
	const struct engine_actor *a = CONTAINER_OF(node, struct engine_actor, by_id);
	bool ended = a->state == EA_ENDED;
	const char *name = ended ? a->failed_name : a->name;
	if (a->in_table || name == NULL || !wanted(l, name, a->id))
		return;
	tell(l, a,
	     &(struct actor_view){.id = a->id,
				  .name = name,
				  .key = a->key,
				  .namespace_name = l->d->g->o.namespace_name,
				  .state = ended ? "ended" : "waiting",
				  .worker_id = "",
				  .generation = a->generation,
				  .since_mono_ms = ended ? a->ended_mono_ms : loop_mono_ms(l->d->g->o.loop)});
}

void engine_each(struct engine *g, const char *name, const char *id, void (*fn)(void *arg, const struct engine_view *v),
		 void *arg)
{
	struct looking l = {.d = g->driver, .name = name, .id = id, .fn = fn, .arg = arg};
	if (g->driver == NULL || engine_actors(g) == NULL)
		return;
	actor_table_each(engine_actors(g), on_awake, &l);
	map_each(&g->driver->by_id, on_other, &l);
}

static struct engine_actor *find(const struct engine *g, const char *id)
{
	return g->driver == NULL ? NULL : engine_actor_find(g->driver, slice_str(id));
}

static int live(const struct engine_actor *a)
{
	if (a == NULL || a->state != EA_LIVE)
		return ENGINE_WISH_ABSENT;
	return a->stop_commanded || a->stop_begun || a->silent ? ENGINE_WISH_STOPPING : 0;
}

int engine_wish(struct engine *g, const char *id, enum engine_wish wish)
{
	struct engine_actor *a = find(g, id);
	int r = live(a);
	if (r == 0 && wish == ENGINE_WISH_RESTART && a->destroy_asked)
		return ENGINE_WISH_STOPPING;
	if (r == 0)
		engine_actor_wish(a, wish);
	return r;
}

int engine_awake(struct engine *g, const char *id)
{
	const struct engine_actor *a = find(g, id);
	return a != NULL && a->state == EA_NEW && !a->stop_commanded && !a->silent ? 0 : live(a);
}

int engine_state(struct engine *g, const char *id, struct runtime_call *call, engine_kv_answered *answered)
{
	struct engine_actor *a = find(g, id);
	if (a == NULL || a->state != EA_LIVE || a->silent)
		return ENGINE_WISH_ABSENT;
	a->calls++;
	engine_kv_call(g->kv, a->id, call, answered, engine_actor_call_over, a);
	return 0;
}
