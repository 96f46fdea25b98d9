/* Engine mode for app/: the data directory, which holds no database here but a
 * lock, the runner key and the memory of evictions; then the engine.
 *
 * Failure paths at start: the directory (73), a runner key that another runner
 * took a short while ago (79). */
#include "app/mode_engine.h"

#include "codec/json_field.h"
#include "engine/engine_identity.h"
#include "local/local_access.h"

#include "base/log.h"

#include <errno.h>
#include <unistd.h>

#define MODE_ENGINE_MAGIC 0x6d656e67u

struct mode_engine {
	struct mode mode;
	struct mode_options o;
	struct engine *engine;
	char *runner_key;
	int lock_fd; /* -1: not locked */
	struct loop_task nothing_open;
};

static struct mode_engine *mode_of(void *arg)
{
	return CAST(struct mode_engine, arg, MODE_ENGINE_MAGIC);
}

struct engine *mode_engine_of(struct mode *m)
{
	return mode_of(m)->engine;
}

struct loop *mode_engine_loop(struct mode *m)
{
	return mode_of(m)->o.loop;
}

static void on_engine_changed(void *arg)
{
	struct mode_engine *m = mode_of(arg);
	m->o.events->changed(m->o.arg);
}

static void on_engine_failed(void *arg, int exit_code)
{
	struct mode_engine *m = mode_of(arg);
	m->o.events->failed(m->o.arg, exit_code);
}

static const struct engine_events engine_events = {.changed = on_engine_changed, .failed = on_engine_failed};

/* ---- opening ---- */

static int take_key(struct mode_engine *m, const char *data_dir, struct err *e)
{
	const struct config *c = m->o.config;
	const char *key = config_get(c, CONFIG_RUNNER_KEY);
	int64_t age_ms;
	int r = 0;
	if (*key != '\0')
		m->runner_key = mem_strdup(key);
	else
		r = engine_identity_key(data_dir, &m->runner_key, e);
	if (r < 0 || !engine_identity_evicted(data_dir, m->runner_key, clock_wall_ms(), &age_ms))
		return r;
	if (!c->takeover)
		return err_set(
		    e, EBUSY, EXIT_CODE_EVICTED,
		    "another runner took the runner key \"%.128s\" %lld s ago; two with one key would fight. "
		    "Start with --takeover to take it back, or wait until ten minutes have passed",
		    m->runner_key, (long long)(age_ms / 1000));
	r = engine_identity_forget(data_dir, m->runner_key);
	if (r < 0)
		return err_set(e, -r, EXIT_CODE_DATA_DIR, "cannot write the data directory %s: %s", data_dir,
			       strerror(-r));
	return 0;
}

static int on_open(struct mode *base, struct err *e)
{
	struct mode_engine *m = mode_of(base);
	const struct config *c = m->o.config;
	const char *data_dir = config_get(c, CONFIG_DATA_DIR), *ca = config_get(c, CONFIG_ENGINE_CA);
	int r = engine_identity_lock(data_dir, &m->lock_fd, e);
	if (r < 0 || (r = take_key(m, data_dir, e)) < 0)
		return r;
	struct engine_options o = {.loop = m->o.loop,
				   .types = m->o.types,
				   .endpoint = &c->endpoint,
				   .namespace_name = config_get(c, CONFIG_NAMESPACE),
				   .token = c->token,
				   .ca_file = *ca == '\0' ? NULL : ca,
				   .runner = config_get(c, CONFIG_RUNNER),
				   .runner_key = m->runner_key,
				   .runner_version = c->runner_version,
				   .total_slots = c->total_slots,
				   .starts_max = c->starts_max,
				   .data_dir = data_dir,
				   .runtime_dir = config_get(c, CONFIG_RUNTIME_DIR),
				   .guardian = m->o.guardian,
				   .version = RUNNERD_VERSION,
				   .events = &engine_events,
				   .arg = m};
	return engine_open(&o, &m->engine, e);
}

static int on_serve(struct mode *base, struct err *e)
{
	struct mode_engine *m = mode_of(base);
	const struct config *c = m->o.config;
	MEM_AUTO char *url = engine_endpoint_text(&c->endpoint);
	LOG(INFO, "registering", LOG_STR("engine", url), LOG_STR("namespace", config_get(c, CONFIG_NAMESPACE)),
	    LOG_STR("runner", config_get(c, CONFIG_RUNNER)), LOG_STR("runner_key", m->runner_key),
	    LOG_NUM("total_slots", c->total_slots));
	if (actor_types_at(m->o.types, 0) == NULL)
		LOG_PLAIN(WARN,
			  "no actor type is configured: every actor of this runner will fail to start; use --actor "
			  "NAME -- COMMAND, or `actors` in a configuration file");
	return engine_serve(m->engine, e);
}

static int on_check(struct mode *base, const struct config *next, struct err *e)
{
	(void)base;
	(void)next;
	(void)e;
	return 0;
}

static void on_reload(struct mode *base)
{
	struct mode_engine *m = mode_of(base);
	engine_reload(m->engine, m->o.config->starts_max);
}

static size_t on_rolling(struct mode *base)
{
	const struct mode_engine *m = mode_of(base);
	return m->engine == NULL ? 0 : engine_rolling(m->engine);
}

static const char *on_why_not(struct mode *base)
{
	const struct mode_engine *m = mode_of(base);
	return m->engine == NULL ? "starting" : engine_why_not(m->engine);
}

static const char *on_failing(struct mode *base)
{
	return engine_failing(mode_of(base)->engine);
}

static bool on_idle(struct mode *base)
{
	return engine_idle(mode_of(base)->engine);
}

static bool on_tick(struct mode *base)
{
	struct mode_engine *m = mode_of(base);
	return m->engine != NULL && engine_tick(m->engine);
}

static void on_drain(struct mode *base, int64_t timeout_ms, void (*drained)(void *arg), void *arg)
{
	engine_drain(mode_of(base)->engine, timeout_ms, drained, arg);
}

static void on_drain_now(struct mode *base)
{
	engine_drain_now(mode_of(base)->engine);
}

/* ---- closing ---- */

static void on_engine_closed(void *arg)
{
	struct mode_engine *m = mode_of(arg);
	if (m->lock_fd >= 0)
		close(m->lock_fd);
	loop_cancel(&m->nothing_open);
	mem_free(m->runner_key);
	mode_gone(&m->mode);
}

static void on_close(struct mode *base, void (*closed)(void *arg), void *arg)
{
	struct mode_engine *m = mode_of(base);
	base->closed = closed;
	base->closed_arg = arg;
	if (m->engine != NULL)
		engine_close(m->engine, on_engine_closed, m);
	else
		loop_post(m->o.loop, &m->nothing_open);
}

/* ---- for the admin listener ---- */

static struct actor_table *on_actors(struct mode *base)
{
	const struct mode_engine *m = mode_of(base);
	return m->engine == NULL ? NULL : engine_actors(m->engine);
}

/* The rules of local mode, with the same token. */
static unsigned on_access(struct mode *base, const struct http_head *h)
{
	const struct config *c = mode_of(base)->o.config;
	const struct local_access access = {
	    .token = c->token, .auth_none = c->auth_none, .hosts = c->hosts, .cors_origins = c->cors_origins};
	unsigned refused = local_access_origin(&access, h);
	if (refused != 0)
		return refused;
	return local_access_api(&access, h) ? 0 : 403;
}

static void on_status(struct mode *base, struct buf *out)
{
	const struct mode_engine *m = mode_of(base);
	MEM_AUTO char *url = engine_endpoint_text(&m->o.config->endpoint);
	const char *const texts[][2] = {{"engine", url},
					{"namespace", config_get(m->o.config, CONFIG_NAMESPACE)},
					{"runner", config_get(m->o.config, CONFIG_RUNNER)},
					{"runner_key", m->runner_key == NULL ? "" : m->runner_key}};
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		buf_addf(out, ",\"%s\":", texts[i][0]);
		json_put_str(out, slice_str(texts[i][1]));
	}
}

static void on_metrics(struct mode *base, struct metric_out *out)
{
	engine_metrics(mode_of(base)->engine, out);
}

static const struct mode_ops mode_ops = {.name = "engine",
					 .open = on_open,
					 .serve = on_serve,
					 .why_not = on_why_not,
					 .failing = on_failing,
					 .idle = on_idle,
					 .tick = on_tick,
					 .drain = on_drain,
					 .drain_now = on_drain_now,
					 .close = on_close,
					 .check = on_check,
					 .reload = on_reload,
					 .rolling = on_rolling,
					 .actors = on_actors,
					 .access = on_access,
					 .list = mode_engine_list,
					 .command = mode_engine_command,
					 .kv = mode_engine_kv,
					 .status = on_status,
					 .metrics = on_metrics};

struct mode *mode_engine_new(const struct mode_options *o)
{
	struct mode_engine *m = mem_zalloc(sizeof(*m));
	m->mode = (struct mode){.magic = MODE_ENGINE_MAGIC, .ops = &mode_ops};
	m->o = *o;
	m->lock_fd = -1;
	loop_task_init(&m->nothing_open, on_engine_closed, m);
	return &m->mode;
}
