/* Local mode put together: the public listener, what each request becomes, and
 * the order of opening, draining and closing.
 *
 * A request is judged by the rules of access, parsed into a route, and given
 * to the API, the gateway or the WebSocket gateway, whose struct (starting
 * with struct local_request) then hangs on the connection. */
#include "local/local_hibernation.h"

#include "base/log.h"
#include "traffic/answer.h"

#include <stdio.h>
#include <unistd.h>

#define SCRATCH_MAX ((size_t)256 * 1024)

static struct local *local_of(void *arg)
{
	return CAST(struct local, arg, LOCAL_MAGIC);
}

/* ---- requests ---- */

/* A caller's own ray id comes back in fields and in the reasons of close frames. */
static bool ray_is_sound(struct slice s)
{
	static const char marks[] = "-_.:";
	for (size_t i = 0; i < s.n; i++) {
		uint8_t low = s.p[i] | 0x20;
		bool known = (low >= 'a' && low <= 'z') || (s.p[i] >= '0' && s.p[i] <= '9') ||
			     memchr(marks, s.p[i], sizeof(marks) - 1) != NULL;
		if (!known)
			return false;
	}
	return s.n > 0 && s.n < sizeof(((struct local_request *)NULL)->ray);
}

void local_request_init(struct local_request *r, const struct local_request_ops *ops, struct local *l,
			struct http_conn *c, const struct http_head *h)
{
	const struct http_field *ray = http_head_get(h, HTTP_F_X_RIVET_RAY_ID);
	const struct http_field *origin = http_head_get(h, HTTP_F_ORIGIN);
	r->ops = ops;
	r->local = l;
	r->conn = c;
	list_init(&r->node);
	list_push_back(&l->requests, &r->node);
	if (ray != NULL && ray_is_sound(ray->value))
		snprintf(r->ray, sizeof(r->ray), "%.*s", SLICE_FMT(ray->value));
	else
		snprintf(r->ray, sizeof(r->ray), "%s", actor_id_new().text);
	r->wants_cors = origin == NULL || local_access_cors(&l->access, origin->value);
	r->origin = origin != NULL && r->wants_cors ? slice_dup(origin->value) : NULL;
	http_conn_set_user(c, r);
}

void local_request_move(struct local_request *to, struct local_request *from, const struct local_request_ops *ops)
{
	*to = *from;
	to->ops = ops;
	list_init(&to->node);
	list_push_back(&to->local->requests, &to->node);
	http_conn_set_user(to->conn, to);
	from->conn = NULL;
	from->origin = NULL;
	list_remove(&from->node);
}

void local_request_done(struct local_request *r)
{
	if (r->conn != NULL)
		http_conn_set_user(r->conn, NULL);
	r->conn = NULL;
	list_remove(&r->node);
	mem_free(r->origin);
	r->origin = NULL;
	if (r->local->closed != NULL)
		loop_post(r->local->o.loop, &r->local->finish);
}

/* An answer that needs no struct that lives on. */
struct plain {
	struct local_request r;
};

static void reply_plain(struct local *l, struct http_conn *c, const struct http_head *h, unsigned status,
			const char *group, const char *code, const char *message, const char *metadata, bool gateway)
{
	struct plain p = {0};
	local_request_init(&p.r, NULL, l, c, h);
	local_reply_error(&p.r, status, group, code,
			  slice_str(message == NULL ? answer_sentence(group, code) : message), metadata, gateway, 0);
	local_request_done(&p.r);
}

static void reply_preflight(struct local *l, struct http_conn *c, const struct http_head *h, bool gateway)
{
	const struct http_field *origin = http_head_get(h, HTTP_F_ORIGIN);
	buf_reset(&l->scratch);
	buf_addf(&l->scratch, "x-rivet-ray-id: %s\r\n", actor_id_new().text);
	local_access_put_preflight(h, origin == NULL ? SLICE_NONE : origin->value, !gateway, &l->scratch);
	http_conn_reply(c, gateway ? 204 : 200, buf_slice(&l->scratch), SLICE_NONE);
}

static void refuse_route(struct local *l, struct http_conn *c, const struct http_head *h,
			 const struct local_route *route)
{
	if (h->upgrade && route->gateway)
		local_websocket_refuse(l, c, h, route->group, route->code);
	else
		reply_plain(l, c, h, route->status, route->group, route->code, route->message, route->metadata_json,
			    route->gateway);
}

static bool target_is_reserved(const struct local_route *route)
{
	struct slice path, query;
	bool has_query;
	http_target_split(slice_str(route->target), &path, &query, &has_query);
	return http_path_is_reserved(path);
}

static void serve_actor(struct local *l, struct http_conn *c, const struct http_head *h,
			const struct local_route *route)
{
	struct slice token = slice_str(route->token);
	if (!local_access_token(&l->access, token))
		reply_plain(l, c, h, 403, "api", "forbidden", NULL, NULL, true);
	else if (target_is_reserved(route))
		reply_plain(l, c, h, 404, "guard", "no_route", "paths below /.rivet are the daemon's own", NULL, true);
	else if (h->upgrade)
		local_websocket_request(l, c, h, route);
	else
		local_gateway_request(l, c, h, route);
}

static void on_request(void *arg, struct http_conn *c, const struct http_head *h)
{
	struct local *l = local_of(arg);
	struct local_route route = {0};
	unsigned refused = local_access_origin(&l->access, h);
	if (refused != 0) {
		reply_plain(l, c, h, refused, "api", refused == 421 ? "misdirected_request" : "forbidden",
			    refused == 421 ? "this Host is not served here; add it to `hosts` if it should be"
					   : "this Origin may not call; add it to `cors_origins` if it should",
			    NULL, false);
		return;
	}
	local_route_parse(h, &route);
	bool gateway = route.kind != ROUTE_API && !(route.kind == ROUTE_BAD && !route.gateway);
	if (slice_is(h->method, "OPTIONS"))
		reply_preflight(l, c, h, gateway);
	else if (route.kind == ROUTE_BAD)
		refuse_route(l, c, h, &route);
	else if (route.kind != ROUTE_API)
		serve_actor(l, c, h, &route);
	else if (h->upgrade)
		local_websocket_refuse(l, c, h, "guard", "websocket_not_supported");
	else
		local_api_request(l, c, h, &route);
	local_route_clear(&route);
}

static struct local_request *request_of(struct http_conn *c)
{
	return http_conn_user(c);
}

static void on_body(void *arg, struct http_conn *c, struct slice s, bool fin)
{
	struct local_request *r = request_of(c);
	(void)arg;
	if (r != NULL)
		r->ops->body(r, s, fin);
}

static void on_writable(void *arg, struct http_conn *c)
{
	struct local_request *r = request_of(c);
	(void)arg;
	if (r != NULL)
		r->ops->writable(r);
}

static void on_raw(void *arg, struct http_conn *c, struct slice s)
{
	struct local_request *r = request_of(c);
	(void)arg;
	if (r != NULL)
		r->ops->raw(r, s);
}

static void on_raw_eof(void *arg, struct http_conn *c)
{
	struct local_request *r = request_of(c);
	(void)arg;
	if (r != NULL)
		r->ops->raw_eof(r);
}

static void on_gone(void *arg, struct http_conn *c)
{
	struct local_request *r = request_of(c);
	(void)arg;
	if (r == NULL)
		return;
	r->conn = NULL;
	r->ops->gone(r);
}

static const struct http_conn_events conn_events = {.request = on_request,
						    .body = on_body,
						    .writable = on_writable,
						    .raw = on_raw,
						    .raw_eof = on_raw_eof,
						    .gone = on_gone};

/* ---- opening ---- */

const struct actor_type *local_type(const struct local *l, struct slice name)
{
	return actor_types_find(l->o.types, name);
}

static void take_access(struct local *l)
{
	l->access = (struct local_access){
	    .token = l->o.token, .auth_none = l->o.auth_none, .hosts = l->o.hosts, .cors_origins = l->o.cors_origins};
}

static void reset_warned(struct local *l)
{
	size_t n_types = 0;
	while (actor_types_at(l->o.types, n_types) != NULL)
		n_types++;
	mem_free(l->warned);
	l->warned = mem_zalloc(n_types + 1);
}

static void on_finish(void *arg);

int local_open(const struct local_options *o, struct local **ret, struct err *e)
{
	struct local *l = mem_zalloc(sizeof(*l));
	l->magic = LOCAL_MAGIC;
	l->o = *o;
	take_access(l);
	l->started_wall_ms = clock_wall_ms();
	snprintf(l->id, sizeof(l->id), "%s", actor_id_new().text);
	list_init(&l->requests);
	map_init(&l->sleepers, LIMIT_EXCHANGES);
	buf_init(&l->scratch, SCRATCH_MAX);
	loop_task_init(&l->finish, on_finish, l);
	reset_warned(l);
	int r = local_driver_open(l, &l->driver, e);
	if (r < 0) {
		mem_free(l->warned);
		mem_free(l);
		return r;
	}
	l->alarm = local_alarm_new(l);
	*ret = l;
	return 0;
}

void local_reload(struct local *l, const struct local_options *o)
{
	l->o.token = o->token;
	l->o.auth_none = o->auth_none;
	l->o.hosts = o->hosts;
	l->o.cors_origins = o->cors_origins;
	l->o.engine_limits = o->engine_limits;
	l->o.starts_max = o->starts_max;
	take_access(l);
	reset_warned(l);
	if (l->draining)
		return;
	local_driver_reload(l->driver);
	local_alarm_poke(l->alarm, 1); /* alarms that were due while their type was missing */
}

const char *local_failing(const struct local *l)
{
	return local_driver_failing(l->driver);
}

bool local_idle(const struct local *l)
{
	return !local_driver_awake(l->driver);
}

size_t local_rolling(const struct local *l)
{
	return l->driver == NULL ? 0 : local_driver_rolling(l->driver);
}

static void on_accepted(void *arg, int fd)
{
	http_server_give(local_of(arg)->server, fd);
}

static void on_part_closed(void *arg)
{
	struct local *l = local_of(arg);
	l->parts_open--;
	loop_post(l->o.loop, &l->finish);
}

static const struct listener_events listen_events = {.accepted = on_accepted, .closed = on_part_closed};

static int open_listener(struct local *l, const char *address, int fd, struct err *e)
{
	if (fd < 0)
		return listener_open_tcp(l->o.loop, address, &listen_events, l, &l->listener, e);
	int r = listener_open_fd(l->o.loop, fd, &listen_events, l, &l->listener);
	return r == 0 ? 0
		      : err_set(e, -r, EXIT_CODE_FAILED,
				"the socket passed for the API cannot be served: %s; it must be "
				"a listening stream socket (ListenStream=)",
				strerror(-r));
}

int local_listener_fd(const struct local *l)
{
	return listener_fd(l->listener);
}

int local_serve(struct local *l, const char *address, int fd, struct err *e)
{
	int r = open_listener(l, address, fd, e);
	if (r < 0)
		return r;
	struct http_server_options so = {.name = "api",
					 .target_max = LIMIT_HTTP_TARGET_BYTES,
					 .conns_max = LIMIT_HTTP_CONNS,
					 .events = &conn_events,
					 .arg = l};
	l->server = http_server_new(l->o.loop, &so);
	local_driver_restore(l->driver);
	local_alarm_start(l->alarm);
	return 0;
}

void local_address(const struct local *l, char ret[80])
{
	listener_address(l->listener, ret);
}

struct local_driver *local_driver_of(struct local *l)
{
	return l->driver;
}

struct actor_table *local_actors(struct local *l)
{
	return local_driver_table(l->driver);
}

unsigned local_access_check(const struct local *l, const struct http_head *h)
{
	unsigned refused = local_access_origin(&l->access, h);
	if (refused != 0)
		return refused;
	return local_access_api(&l->access, h) ? 0 : 403;
}

/* ---- draining and closing ---- */

bool local_tick(struct local *l)
{
	bool more = l->driver != NULL && local_driver_table(l->driver) != NULL && local_driver_tick(l->driver);
	if (l->draining && !l->drained_told && local_driver_idle(l->driver) &&
	    actor_table_count(local_actors(l)) == 0) {
		l->drained_told = true;
		l->drained(l->drained_arg);
	}
	return more;
}

void local_drain(struct local *l, int64_t timeout_ms, void (*drained)(void *arg), void *arg)
{
	CHECK(!l->draining);
	l->draining = true;
	l->drained = drained;
	l->drained_arg = arg;
	local_alarm_stop(l->alarm);
	local_hibernation_drain(l);
	http_server_drain(l->server);
	local_driver_drain(l->driver, timeout_ms);
	loop_post(l->o.loop, &l->finish); /* the tick looks whether anything was there at all */
}

void local_drain_now(struct local *l)
{
	actor_table_stop_all(local_actors(l), "drain", 0, true);
}

bool local_draining(const struct local *l)
{
	return l->draining;
}

static void on_driver_closed(void *arg)
{
	struct local *l = local_of(arg);
	l->driver = NULL;
	on_part_closed(l);
}

static void on_finish(void *arg)
{
	struct local *l = local_of(arg);
	/* An API call whose client has left waits for its job still. */
	if (l->closed == NULL || l->parts_open > 0 || !local_alarm_quiet(l->alarm) || !list_empty(&l->requests))
		return;
	void (*closed)(void *) = l->closed;
	void *closed_arg = l->closed_arg;
	loop_cancel(&l->finish);
	local_alarm_free(l->alarm);
	map_done(&l->sleepers);
	buf_done(&l->scratch);
	mem_free(l->warned);
	l->magic = 0;
	mem_free(l);
	closed(closed_arg);
}

void local_close(struct local *l, void (*closed)(void *arg), void *arg)
{
	l->closed = closed;
	l->closed_arg = arg;
	local_alarm_stop(l->alarm);
	local_hibernation_drain(l);
	l->parts_open = 1;
	if (l->listener != NULL) {
		l->parts_open += 2;
		listener_close(l->listener);
		http_server_close(l->server, on_part_closed, l);
	}
	local_driver_close(l->driver, on_driver_closed, l);
}

void local_metrics(const struct local *l, struct metric_out *out)
{
	metric_put(out, METRIC_API_CALLS, NULL, NULL, l->counters.api_calls);
	metric_put(out, METRIC_GATEWAY_REFUSED, NULL, NULL, l->counters.refused);
	metric_put_types(out, METRIC_RESTARTS, l->counters.restarts, sizeof(l->counters.restarts[0]));
}
