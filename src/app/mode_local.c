/* Local mode for app/: the store and the engine inside, opened in that order
 * and closed in reverse. The store's threads wake the loop; what they finished
 * is delivered before the tick, a budget at a time. */
#include "app/mode_local.h"

#include "app/config_value.h"
#include "app/notify.h"

#include "base/log.h"
#include "io/listener.h"

#include <errno.h>
#include <unistd.h>

#define MODE_LOCAL_MAGIC 0x6d6c6f63u

struct mode_local {
	struct mode mode;
	struct mode_options o;
	struct store *store;
	struct local *local;
	bool serving, draining;
	struct loop_task deliver; /* more of the store's results than one tick takes */
};

static struct mode_local *mode_of(void *arg)
{
	return CAST(struct mode_local, arg, MODE_LOCAL_MAGIC);
}

struct local *mode_local_of(struct mode *m)
{
	return mode_of(m)->local;
}

struct store *mode_local_store(struct mode *m)
{
	return mode_of(m)->store;
}

static void notify_store(void *arg)
{
	loop_wake(arg);
}

static void on_wake(void *arg)
{
	struct mode_local *m = mode_of(arg);
	loop_post(m->o.loop, &m->deliver);
}

static void on_deliver(void *arg)
{
	struct mode_local *m = mode_of(arg);
	if (m->store != NULL && store_deliver(m->store))
		loop_post(m->o.loop, &m->deliver);
}

static struct local_options local_options_of(const struct mode_local *m)
{
	const struct config *c = m->o.config;
	return (struct local_options){.loop = m->o.loop,
				      .store = m->store,
				      .types = m->o.types,
				      .token = c->token,
				      .auth_none = c->auth_none,
				      .hosts = c->hosts,
				      .cors_origins = c->cors_origins,
				      .engine_limits = c->engine_limits,
				      .starts_max = c->starts_max,
				      .runtime_dir = config_get(c, CONFIG_RUNTIME_DIR),
				      .guardian = m->o.guardian,
				      .version = RUNNERD_VERSION};
}

static int on_open(struct mode *base, struct err *e)
{
	struct mode_local *m = mode_of(base);
	const struct config *c = m->o.config;
	loop_on_wake(m->o.loop, on_wake, m);
	int r = store_open(config_get(c, CONFIG_DATA_DIR), notify_store, m->o.loop, &m->store, e);
	if (r < 0)
		return r;
	struct local_options o = local_options_of(m);
	return local_open(&o, &m->local, e);
}

/* A passed socket may be wider than the rules allow, and after a reload the one that is bound. */
static int check_bound(const struct config *c, const char *bound, struct err *e)
{
	bool local = strncmp(bound, "unix:", 5) == 0 || config_address_is_loopback(bound);
	if (local || c->token != NULL || c->auth_none)
		return 0;
	return err_set(e, EINVAL, EXIT_CODE_CONFIG,
		       "the socket of the API, %s, is reachable from other machines and no token is set; set "
		       "RIVET_TOKEN or RIVET_TOKEN_FILE, or --auth none if everyone who reaches it may do everything",
		       bound);
}

/* A socket of the last run is only of use when it is where we are to listen now. */
static int take_socket(const struct config *c)
{
	bool kept;
	char bound[80];
	int fd = notify_take("api", &kept);
	if (fd < 0 || !kept)
		return fd;
	listener_fd_address(fd, bound);
	if (strcmp(bound, config_get(c, CONFIG_LISTEN)) == 0)
		return fd;
	close(fd);
	notify_forget("api");
	return -1;
}

static int on_serve(struct mode *base, struct err *e)
{
	struct mode_local *m = mode_of(base);
	char bound[80];
	int fd = take_socket(m->o.config);
	int r = local_serve(m->local, config_get(m->o.config, CONFIG_LISTEN), fd, e);
	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return r;
	}
	local_address(m->local, bound);
	if ((r = check_bound(m->o.config, bound, e)) < 0)
		return r;
	notify_keep("api", local_listener_fd(m->local));
	m->serving = true;
	LOG(INFO, "listening", LOG_STR("listener", "api"), LOG_STR("address", bound));
	if (actor_types_at(m->o.types, 0) == NULL)
		LOG_PLAIN(WARN, "no actor type is configured: nothing can be created; use --actor NAME -- COMMAND, or "
				"`actors` in a configuration file");
	m->o.events->changed(m->o.arg);
	return 0;
}

static int on_check(struct mode *base, const struct config *next, struct err *e)
{
	const struct mode_local *m = mode_of(base);
	char bound[80];
	if (!m->serving)
		return 0;
	local_address(m->local, bound);
	return check_bound(next, bound, e);
}

static void on_reload(struct mode *base)
{
	const struct mode_local *m = mode_of(base);
	struct local_options o = local_options_of(m);
	local_reload(m->local, &o);
}

static size_t on_rolling(struct mode *base)
{
	const struct mode_local *m = mode_of(base);
	return m->local == NULL ? 0 : local_rolling(m->local);
}

static const char *on_why_not(struct mode *base)
{
	const struct mode_local *m = mode_of(base);
	if (m->local == NULL || !m->serving)
		return "starting";
	return local_draining(m->local) ? "draining" : NULL;
}

static const char *on_failing(struct mode *base)
{
	return local_failing(mode_of(base)->local);
}

static bool on_idle(struct mode *base)
{
	return local_idle(mode_of(base)->local);
}

static bool on_tick(struct mode *base)
{
	struct mode_local *m = mode_of(base);
	return m->local != NULL && local_tick(m->local);
}

static void on_drain(struct mode *base, int64_t timeout_ms, void (*drained)(void *arg), void *arg)
{
	local_drain(mode_of(base)->local, timeout_ms, drained, arg);
}

static void on_drain_now(struct mode *base)
{
	local_drain_now(mode_of(base)->local);
}

static void on_store_closed(void *arg)
{
	struct mode_local *m = mode_of(arg);
	loop_cancel(&m->deliver);
	mode_gone(&m->mode);
}

static void on_local_closed(void *arg)
{
	struct mode_local *m = mode_of(arg);
	m->local = NULL;
	store_close(m->store, on_store_closed, m);
}

static void on_close(struct mode *base, void (*closed)(void *arg), void *arg)
{
	struct mode_local *m = mode_of(base);
	base->closed = closed;
	base->closed_arg = arg;
	if (m->local != NULL) {
		local_close(m->local, on_local_closed, m);
	} else if (m->store != NULL) {
		store_close(m->store, on_store_closed, m);
	} else {
		loop_task_init(&m->deliver, on_store_closed, m);
		loop_post(m->o.loop, &m->deliver);
	}
}

static struct actor_table *on_actors(struct mode *base)
{
	const struct mode_local *m = mode_of(base);
	return m->local == NULL ? NULL : local_actors(m->local);
}

static unsigned on_access(struct mode *base, const struct http_head *h)
{
	return local_access_check(mode_of(base)->local, h);
}

static void on_metrics(struct mode *base, struct metric_out *out)
{
	const struct mode_local *m = mode_of(base);
	store_metrics(m->store, out);
	local_metrics(m->local, out);
}

static void on_status(struct mode *base, struct buf *out)
{
	const struct mode_local *m = mode_of(base);
	char bound[80];
	if (!m->serving)
		return;
	local_address(m->local, bound);
	buf_addf(out, ",\"listen\":\"%s\"", bound);
}

static const struct mode_ops mode_ops = {.name = "local",
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
					 .list = mode_local_list,
					 .command = mode_local_command,
					 .kv = mode_local_kv,
					 .backup = mode_local_backup,
					 .status = on_status,
					 .metrics = on_metrics};

struct mode *mode_local_new(const struct mode_options *o)
{
	struct mode_local *m = mem_zalloc(sizeof(*m));
	m->mode = (struct mode){.magic = MODE_LOCAL_MAGIC, .ops = &mode_ops};
	m->o = *o;
	loop_task_init(&m->deliver, on_deliver, m);
	return &m->mode;
}
