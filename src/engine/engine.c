/* Engine mode put together: what the link tells goes to the driver, the state
 * calls and the tunnel, in the order the protocol wants after a reconnect
 * (events, then state calls, then traffic).
 *
 * Draining: stopping is announced, actors end, the good-bye is sent when
 * nothing is left to be said, or the time is up. Evicted: workers have
 * LIMIT_ENGINE_EVICTED_MS, then the daemon is told to end. Closing goes from
 * the actors to the link, each part waiting for the one before. */
#include "engine/engine_private.h"

#include "engine/engine_identity.h"

#include "base/log.h"

static struct engine *engine_of(void *arg)
{
	return CAST(struct engine, arg, ENGINE_MAGIC);
}

/* ---- what the link tells ---- */

static void on_online(void *arg, const struct engine_link_welcome *w)
{
	struct engine *g = engine_of(arg);
	g->online = true;
	if (!w->same_runner)
		engine_tunnel_reset(g->tunnel);
	engine_driver_online(g->driver, w->same_runner);
	engine_kv_online(g->kv, w->same_runner);
	engine_tunnel_online(g->tunnel, w->unsure_from);
	if (g->welcomed_wall_ms != 0)
		return;
	g->welcomed_wall_ms = clock_wall_ms();
	engine_tunnel_newcomer(g->tunnel);
}

static void on_message(void *arg, const struct runner_to_client *m)
{
	struct engine *g = engine_of(arg);
	switch (m->tag) {
	case RUNNER_TO_CLIENT_COMMANDS:
		engine_driver_commands(g->driver, m->commands);
		return;
	case RUNNER_TO_CLIENT_ACK_EVENTS:
		engine_driver_acked(g->driver, m->events);
		return;
	case RUNNER_TO_CLIENT_KV_RESPONSE:
		engine_kv_answer(g->kv, &m->kv);
		return;
	case RUNNER_TO_CLIENT_TUNNEL:
		engine_tunnel_message(g->tunnel, &m->tunnel);
		return;
	case RUNNER_TO_CLIENT_INIT:
	case RUNNER_TO_CLIENT_PING:
	case RUNNER_TO_CLIENT_TAGS:
		return;
	}
}

static void on_room(void *arg)
{
	struct engine *g = engine_of(arg);
	engine_driver_room(g->driver);
	engine_kv_room(g->kv);
	engine_tunnel_room(g->tunnel);
}

static void on_offline(void *arg)
{
	struct engine *g = engine_of(arg);
	g->online = false;
	engine_driver_offline(g->driver);
	engine_kv_offline(g->kv);
}

static void on_lost_soon(void *arg, int64_t left_ms)
{
	struct engine *g = engine_of(arg);
	engine_kv_drop(g->kv); /* first: workers know what came of their calls before they are told to stop */
	engine_driver_lost_soon(g->driver, left_ms);
}

static void on_lost(void *arg)
{
	struct engine *g = engine_of(arg);
	engine_driver_lost(g->driver);
	engine_kv_drop(g->kv);
	engine_tunnel_reset(g->tunnel);
}

/* Why the daemon ends is told once everybody has stopped, or has had the time. */
static void give_up(struct engine *g)
{
	if (g->state == ENGINE_OVER)
		return;
	g->state = ENGINE_OVER;
	timer_disarm(&g->limit);
	g->o.events->failed(g->o.arg, g->exit_code);
}

static void on_evicted(void *arg)
{
	struct engine *g = engine_of(arg);
	int r = engine_identity_note(g->o.data_dir, g->o.runner_key, clock_wall_ms());
	g->online = false;
	if (r < 0)
		LOG(WARN, "the eviction could not be remembered in the data directory",
		    LOG_STR("reason", strerror(-r)));
	LOG(ERROR,
	    "evicted: another runner has taken this runner key; stopping for good, a start with --takeover takes it "
	    "back",
	    LOG_STR("runner", g->o.runner), LOG_STR("runner_key", g->o.runner_key),
	    LOG_STR("namespace", g->o.namespace_name));
	g->state = ENGINE_EVICTED;
	g->exit_code = EXIT_CODE_EVICTED;
	engine_driver_evicted(g->driver);
	engine_kv_drop(g->kv);
	engine_tunnel_reset(g->tunnel);
	timer_arm(&g->limit, LIMIT_ENGINE_EVICTED_MS);
}

static void on_finished(void *arg)
{
	struct engine *g = engine_of(arg);
	g->online = false;
	g->finished = true;
	engine_driver_offline(g->driver);
	engine_kv_drop(g->kv);
	loop_post(g->o.loop, &g->changed);
}

static void on_failed(void *arg, int exit_code)
{
	struct engine *g = engine_of(arg);
	g->online = false;
	g->finished = true;
	g->exit_code = exit_code;
	engine_driver_lost(g->driver);
	loop_post(g->o.loop, &g->changed);
}

static void on_changed(void *arg)
{
	struct engine *g = engine_of(arg);
	loop_post(g->o.loop, &g->changed);
}

static void on_link_closed(void *arg)
{
	struct engine *g = engine_of(arg);
	g->link = NULL;
	loop_post(g->o.loop, &g->close_step);
}

static const struct engine_link_events link_events = {.online = on_online,
						      .message = on_message,
						      .room = on_room,
						      .offline = on_offline,
						      .lost_soon = on_lost_soon,
						      .lost = on_lost,
						      .evicted = on_evicted,
						      .finished = on_finished,
						      .failed = on_failed,
						      .changed = on_changed,
						      .closed = on_link_closed};

/* ---- the tunnel's way out ---- */

static int on_tunnel_send(void *arg, struct slice frame)
{
	struct engine *g = engine_of(arg);
	if (g->link == NULL)
		return ENGINE_TUNNEL_OFFLINE;
	int r = engine_link_send(g->link, ENGINE_LINK_TRAFFIC, frame);
	if (r == ENGINE_LINK_TOO_BIG) {
		LOG(ERROR, "a message that no engine takes was dropped", LOG_NUM("bytes", frame.n));
		return 0; /* it can never be sent: to wait for room would stop its stream for good */
	}
	return r == ENGINE_LINK_FULL ? ENGINE_TUNNEL_FULL : r != 0 ? ENGINE_TUNNEL_OFFLINE : 0;
}

static void on_absent(void *arg, const char *actor_id)
{
	struct engine *g = engine_of(arg);
	if (g->state != ENGINE_SERVING || engine_driver_knows(g->driver, actor_id))
		return;
	if (engine_link_resync(g->link))
		LOG(WARN, "traffic for an actor that this runner was not told to start; asking the engine again",
		    LOG_ACTOR(engine_driver_who(g->driver, actor_id)));
}

void engine_disowned(struct engine *g, const char *actor_id)
{
	if (g->state != ENGINE_SERVING || g->link == NULL || !engine_driver_runs(g->driver, actor_id))
		return;
	if (engine_link_resync(g->link))
		LOG(WARN,
		    "the engine refuses the state of an actor that it did not tell to stop; asking the engine again",
		    LOG_ACTOR(engine_driver_who(g->driver, actor_id)));
}

static bool on_tunnel_flush(void *arg)
{
	struct engine *g = engine_of(arg);
	return g->link != NULL && engine_link_flush(g->link);
}

static void on_tunnel_gone(void *arg, uint64_t *ret_sent, uint64_t *ret_read)
{
	struct engine *g = engine_of(arg);
	*ret_sent = engine_link_sent(g->link);
	*ret_read = engine_link_read(g->link);
}

static bool on_taken_over(void *arg, struct slice actor_id)
{
	struct engine *g = engine_of(arg);
	return engine_driver_taken_over(g->driver, actor_id, g->welcomed_wall_ms);
}

static struct log_actor on_tunnel_who(void *arg, const char *actor_id)
{
	return engine_driver_who(engine_of(arg)->driver, actor_id);
}

static void on_tunnel_state(void *arg, const struct runner_kv_request *what, engine_kv_done *done, void *done_arg)
{
	engine_kv_submit(engine_of(arg)->kv, what, done, done_arg);
}

static const struct engine_tunnel_ops tunnel_ops = {.send = on_tunnel_send,
						    .flush = on_tunnel_flush,
						    .gone = on_tunnel_gone,
						    .absent = on_absent,
						    .taken_over = on_taken_over,
						    .who = on_tunnel_who,
						    .state = on_tunnel_state};

/* ---- opening ---- */

static void on_limit(void *arg);
static void on_changed_task(void *arg);
static void on_close_step(void *arg);

int engine_open(const struct engine_options *o, struct engine **ret, struct err *e)
{
	struct engine *g = mem_zalloc(sizeof(*g));
	g->magic = ENGINE_MAGIC;
	g->o = *o;
	timer_init(&g->limit, o->loop, on_limit, g);
	loop_task_init(&g->changed, on_changed_task, g);
	loop_task_init(&g->close_step, on_close_step, g);
	int r = engine_driver_open(g, &g->driver, e);
	if (r < 0) {
		mem_free(g);
		return r;
	}
	g->kv = engine_kv_new(g);
	g->tunnel = engine_tunnel_new(&(struct engine_tunnel_options){
	    .loop = o->loop, .table = engine_driver_table(g->driver), .ops = &tunnel_ops, .arg = g, .token = o->token});
	*ret = g;
	return 0;
}

/* Calls fn with what the link is told; names live until it returns. */
static int with_link_options(struct engine *g,
			     int (*fn)(struct engine *g, const struct engine_link_options *o, struct err *e),
			     struct err *e)
{
	size_t n = 0;
	while (actor_types_at(g->o.types, n) != NULL)
		n++;
	const char **names = mem_zalloc((n + 1) * sizeof(*names));
	for (size_t i = 0; i < n; i++)
		names[i] = actor_types_at(g->o.types, i)->name;
	const struct engine_link_options o = {.loop = g->o.loop,
					      .endpoint = g->o.endpoint,
					      .namespace_name = g->o.namespace_name,
					      .token = g->o.token,
					      .ca_file = g->o.ca_file,
					      .runner = g->o.runner,
					      .runner_key = g->o.runner_key,
					      .runner_version = g->o.runner_version,
					      .total_slots = g->o.total_slots,
					      .actor_names = names,
					      .version = g->o.version,
					      .events = &link_events,
					      .arg = g};
	int r = fn(g, &o, e);
	mem_free(names);
	return r;
}

static int open_link(struct engine *g, const struct engine_link_options *o, struct err *e)
{
	return engine_link_open(o, &g->link, e);
}

static int announce(struct engine *g, const struct engine_link_options *o, struct err *e)
{
	return engine_link_announce(g->link, o, e);
}

int engine_serve(struct engine *g, struct err *e)
{
	return with_link_options(g, open_link, e);
}

void engine_reload(struct engine *g, uint32_t starts_max)
{
	struct err e = {0};
	g->o.starts_max = starts_max;
	if (g->driver == NULL || g->state != ENGINE_SERVING)
		return;
	engine_driver_reload(g->driver);
	if (g->link != NULL && with_link_options(g, announce, &e) < 0)
		LOG(WARN, "the engine will not be told the new names of actor types", LOG_STR("reason", e.text));
}

const char *engine_failing(const struct engine *g)
{
	return engine_driver_failing(g->driver);
}

bool engine_idle(const struct engine *g)
{
	return engine_driver_idle(g->driver);
}

size_t engine_rolling(const struct engine *g)
{
	struct actor_table *t = g->driver == NULL ? NULL : engine_driver_table(g->driver);
	return t == NULL ? 0 : actor_table_count_stale(t);
}

const char *engine_why_not(const struct engine *g)
{
	if (g->state != ENGINE_SERVING)
		return g->state == ENGINE_EVICTED ? "evicted" : "draining";
	return g->link == NULL ? "starting" : engine_link_why_not(g->link);
}

struct actor_table *engine_actors(struct engine *g)
{
	return g->driver == NULL ? NULL : engine_driver_table(g->driver);
}

/* ---- draining ---- */

static void drained(struct engine *g)
{
	g->state = ENGINE_OVER;
	timer_disarm(&g->limit);
	g->drained(g->drained_arg);
}

/* Looks in each tick, because everything that is waited for ends in some turn of the loop. */
static void look(struct engine *g)
{
	switch (g->state) {
	case ENGINE_SERVING:
	case ENGINE_OVER:
		return;
	case ENGINE_DRAINING:
		if (!engine_driver_idle(g->driver))
			return;
		g->state = ENGINE_LEAVING;
		engine_link_finish(g->link);
		return;
	case ENGINE_LEAVING:
		if (g->finished)
			drained(g);
		return;
	case ENGINE_EVICTED:
		if (actor_table_count(engine_driver_table(g->driver)) == 0)
			give_up(g);
		return;
	}
	IMPOSSIBLE("engine state");
}

bool engine_tick(struct engine *g)
{
	bool more = g->driver != NULL && engine_driver_tick(g->driver);
	if (g->driver != NULL && g->closed == NULL)
		look(g);
	return more;
}

/* The time of the state is up. What is left is killed by engine_close. */
static void on_limit(void *arg)
{
	struct engine *g = engine_of(arg);
	if (g->state == ENGINE_EVICTED) {
		give_up(g);
	} else if (g->state == ENGINE_DRAINING || g->state == ENGINE_LEAVING) {
		LOG(WARN, "drained in part: the time is up",
		    LOG_NUM("actors_left", actor_table_count(engine_actors(g))));
		engine_kv_drop(g->kv); /* an operator's call holds up the end of the control socket */
		drained(g);
	}
}

static void on_changed_task(void *arg)
{
	struct engine *g = engine_of(arg);
	if (g->exit_code != 0 && g->state == ENGINE_SERVING)
		give_up(g);
	else if (g->state == ENGINE_SERVING)
		g->o.events->changed(g->o.arg);
}

void engine_drain(struct engine *g, int64_t timeout_ms, void (*fn)(void *arg), void *arg)
{
	g->drained = fn;
	g->drained_arg = arg;
	if (g->state != ENGINE_SERVING)
		return; /* evicted meanwhile: failed() follows */
	g->state = ENGINE_DRAINING;
	engine_link_stopping(g->link);
	engine_driver_drain(g->driver, loop_mono_ms(g->o.loop) + timeout_ms);
	timer_arm(&g->limit, timeout_ms);
	loop_post(g->o.loop, &g->changed);
}

void engine_drain_now(struct engine *g)
{
	engine_kv_drop(g->kv); /* who waits for the engine's answers would hold up the end */
	if (engine_actors(g) != NULL)
		actor_table_stop_all(engine_actors(g), "drain", 0, true);
}

/* ---- closing ---- */

static void on_driver_closed(void *arg)
{
	struct engine *g = engine_of(arg);
	g->driver = NULL;
	loop_post(g->o.loop, &g->close_step);
}

static void on_close_step(void *arg)
{
	struct engine *g = engine_of(arg);
	if (g->driver != NULL)
		return;
	if (g->link != NULL) {
		engine_link_close(g->link);
		return; /* on_link_closed */
	}
	void (*closed)(void *) = g->closed;
	void *closed_arg = g->closed_arg;
	engine_kv_free(g->kv); /* the last answers go to the tunnel too */
	engine_tunnel_free(g->tunnel);
	timer_disarm(&g->limit);
	loop_cancel(&g->changed);
	loop_cancel(&g->close_step);
	g->magic = 0;
	mem_free(g);
	closed(closed_arg);
}

void engine_close(struct engine *g, void (*closed)(void *arg), void *arg)
{
	g->closed = closed;
	g->closed_arg = arg;
	g->state = ENGINE_OVER;
	engine_tunnel_reset(g->tunnel);
	engine_driver_close(g->driver, on_driver_closed, g);
}

/* ---- metrics ---- */

static void put(struct metric_out *out, enum metric_id id, uint64_t v)
{
	metric_put(out, id, NULL, NULL, v);
}

static void put_link(const struct engine *g, struct metric_out *out)
{
	struct engine_link_stats l = {.state = "closed"};
	if (g->link != NULL)
		engine_link_stats(g->link, &l);
	for (const char *const *name = engine_link_state_names; *name != NULL; name++)
		metric_put(out, METRIC_LINK_STATE, *name, NULL, strcmp(*name, l.state) == 0);
	put(out, METRIC_LINK_ONLINE, g->online);
	put(out, METRIC_LINK_CONNECTS, l.connects);
	put(out, METRIC_LINK_REGISTRATIONS, l.registrations);
	put(out, METRIC_LINK_RECONNECTS, l.registrations > 0 ? l.registrations - 1 : 0);
	put(out, METRIC_LINK_EVICTIONS, l.evictions);
	put(out, METRIC_LINK_FRAMES_IN, l.frames_in);
	put(out, METRIC_LINK_FRAMES_OUT, l.frames_out);
	put(out, METRIC_LINK_BYTES_IN, l.bytes_in);
	put(out, METRIC_LINK_BYTES_OUT, l.bytes_out);
	put(out, METRIC_LINK_FRAMES_BAD, l.frames_bad);
	put(out, METRIC_LINK_WINDOW_SHUT, l.window_shut);
	put(out, METRIC_LINK_QUEUED, l.queued_bytes);
}

static void put_actors(const struct engine *g, struct metric_out *out)
{
	struct engine_driver_stats d = {0};
	if (g->driver != NULL)
		engine_driver_stats(g->driver, &d);
	put(out, METRIC_ENGINE_COMMANDS, d.commands);
	put(out, METRIC_ENGINE_REPLAYED, d.replays);
	put(out, METRIC_ENGINE_EVENTS, d.events);
	put(out, METRIC_ENGINE_UNACKED, d.unacked);
	put(out, METRIC_ENGINE_STARTS, d.starts);
	put(out, METRIC_ENGINE_STOPS, d.stops);
	put(out, METRIC_ENGINE_KNOWN, d.known);
}

void engine_metrics(const struct engine *g, struct metric_out *out)
{
	struct engine_kv_stats k;
	struct engine_tunnel_stats t;
	put_link(g, out);
	put_actors(g, out);
	engine_kv_stats(g->kv, &k);
	put(out, METRIC_ENGINE_KV_REQUESTS, k.requests);
	put(out, METRIC_ENGINE_KV_REFUSED, k.refused);
	put(out, METRIC_ENGINE_KV_UNANSWERED, k.unanswered);
	put(out, METRIC_ENGINE_KV_WAITING, k.waiting);
	put(out, METRIC_ENGINE_KV_UNDER_WAY, k.under_way);
	engine_tunnel_stats(g->tunnel, &t);
	put(out, METRIC_TUNNEL_REQUESTS, t.requests);
	put(out, METRIC_TUNNEL_JOINED, t.joined);
	put(out, METRIC_TUNNEL_ABORTED, t.aborted);
	put(out, METRIC_TUNNEL_REFUSED, t.refused);
	put(out, METRIC_TUNNEL_WEBSOCKETS, t.websockets);
	put(out, METRIC_TUNNEL_REOPENED, t.reopened);
	put(out, METRIC_TUNNEL_LOST, t.messages_lost);
	put(out, METRIC_TUNNEL_FLOWS, t.flows);
	put(out, METRIC_TUNNEL_BYTES, t.bytes);
}
