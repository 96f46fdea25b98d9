/* Engine mode's answers to the control socket: what this runner knows. The
 * engine owns the actors and their state, so what only it can do is refused,
 * with a word about where to ask. */
#include "app/mode_engine.h"

/* Answers come from the tick. */
struct later {
	struct loop_task task;
	struct mode *mode;
	struct mode_list list;
	char *name, *id;
	enum mode_verb verb;
	mode_answer *done;
	void *arg;
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

static void on_command(void *arg)
{
	struct later *l = arg;
	struct engine *g = mode_engine_of(l->mode);
	bool ours = l->verb == MODE_SLEEP || l->verb == MODE_DESTROY;
	int r = !ours || g == NULL ? 0 : engine_wish(g, l->id, l->verb == MODE_DESTROY);
	if (!ours)
		l->done(l->arg, 409, "the engine decides when actors run: a request through its gateway wakes one");
	else if (g == NULL)
		l->done(l->arg, 503, "the daemon is starting");
	else if (r == ENGINE_WISH_ABSENT)
		l->done(l->arg, 404, "the actor is not awake on this runner; ask the engine's API");
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
