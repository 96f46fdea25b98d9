/* Answers are small and made on the spot. Health and metrics are open to all;
 * the page follows the rules of the public listener. */
#include "app/admin.h"

#include "actor/actor_count.h"
#include "base/log.h"
#include "traffic/hibernation.h"
#include "worker/worker_count.h"

#include "io/http_conn.h"
#include "io/listener.h"

#include <stdio.h>
#include <unistd.h>

#define ADMIN_MAGIC 0x61646d69u
#define ADMIN_CONNS_MAX 256
#define PAGE_MAX ((size_t)16 * 1024 * 1024)

struct admin {
	uint32_t magic;
	struct admin_options o;
	struct listener *listener;
	struct http_server *server;
	const char *why_not;
	int64_t opened_mono_ms;
	int open; /* listener and server */
	void (*closed)(void *arg);
	void *closed_arg;
};

#define TEXT "content-type: text/plain; charset=utf-8\r\n"

uint64_t admin_resident_bytes(int32_t pid)
{
	char text[128] = {0}, path[48] = "/proc/self/statm";
	unsigned long long size = 0, resident = 0;
	if (pid != 0)
		snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return 0;
	if (fgets(text, sizeof(text), f) != NULL)
		(void)sscanf(text, "%llu %llu", &size, &resident);
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void put_metrics(struct admin *a, struct buf *b)
{
	struct metric_out out;
	struct mode *m = a->o.mode;
	struct actor_table *actors = m->ops->actors(m);
	metric_out_init(&out, b);
	metric_put(&out, METRIC_BUILD_INFO, RUNNERD_VERSION, m->ops->name, 1);
	metric_put(&out, METRIC_READY, NULL, NULL, a->why_not == NULL);
	metric_put(&out, METRIC_UPTIME, NULL, NULL, (uint64_t)(loop_mono_ms(a->o.loop) - a->opened_mono_ms) / 1000);
	metric_put(&out, METRIC_MEMORY, NULL, NULL, admin_resident_bytes(0));
	metric_put(&out, METRIC_LOG_DROPPED, NULL, NULL, log_dropped());
	exchange_metrics(&out);
	metric_put(&out, METRIC_HIBERNATING, NULL, NULL, hibernation_count());
	actor_count_metrics(actors, &out);
	worker_count_metrics(actors == NULL ? NULL : actor_table_pool(actors), &out);
	m->ops->metrics(m, &out);
}

static void put_html(struct buf *b, const char *s)
{
	for (; s != NULL && *s != '\0'; s++) {
		switch (*s) {
		case '<':
			buf_add_str(b, "&lt;");
			break;
		case '>':
			buf_add_str(b, "&gt;");
			break;
		case '&':
			buf_add_str(b, "&amp;");
			break;
		case '"':
			buf_add_str(b, "&quot;");
			break;
		default:
			buf_add_byte(b, (uint8_t)*s);
		}
	}
}

static void on_actor(void *arg, const struct actor_view *v)
{
	struct buf *b = arg;
	const char *const cells[] = {v->name, v->key, v->id, v->state, v->worker_id};
	buf_add_str(b, "<tr>");
	for (size_t i = 0; i < ARRAY_SIZE(cells); i++) {
		buf_add_str(b, "<td>");
		put_html(b, cells[i]);
	}
	buf_addf(b, "<td>%lld<td>%d<td>%u<td>%u\n", (long long)v->generation, v->pid, v->in_flight, v->websockets);
}

static void put_page(struct admin *a, struct buf *b)
{
	buf_add_str(b,
		    "<!doctype html><meta charset=utf-8><meta name=viewport "
		    "content=\"width=device-width\"><title>rivet-runnerd</title>"
		    "<style>body{font:15px system-ui;margin:2em}table{border-collapse:collapse}td,th{padding:.3em .8em;"
		    "border-bottom:1px solid #ccc;text-align:left}</style><h1>rivet-runnerd</h1>");
	buf_addf(b,
		 "<p>%zu actors awake. <a "
		 "href=metrics>metrics</a>\n<table><tr><th>name<th>key<th>id<th>state<th>worker<th>generation"
		 "<th>pid<th>requests<th>WebSockets\n",
		 actor_table_count(a->o.mode->ops->actors(a->o.mode)));
	actor_table_each(a->o.mode->ops->actors(a->o.mode), on_actor, b);
	buf_add_str(b, "</table>\n");
}

static void on_request(void *arg, struct http_conn *c, const struct http_head *h)
{
	struct admin *a = CAST(struct admin, arg, ADMIN_MAGIC);
	struct slice path, query;
	bool has_query;
	http_target_split(h->target, &path, &query, &has_query);
	if (!slice_is(h->method, "GET") && !slice_is(h->method, "HEAD")) {
		http_conn_reply(c, 405, SLICE_LIT("allow: GET, HEAD\r\n"), SLICE_NONE);
		return;
	}
	if (slice_is(path, "/healthz")) {
		http_conn_reply(c, 200, SLICE_LIT(TEXT), SLICE_LIT("ok\n"));
		return;
	}
	struct buf b;
	buf_init(&b, PAGE_MAX);
	if (slice_is(path, "/readyz")) {
		buf_addf(&b, "%s\n", a->why_not == NULL ? "ready" : a->why_not);
		http_conn_reply(c, a->why_not == NULL ? 200 : 503, SLICE_LIT(TEXT), buf_slice(&b));
	} else if (slice_is(path, "/metrics")) {
		put_metrics(a, &b);
		http_conn_reply(c, 200, SLICE_LIT("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
				buf_slice(&b));
	} else if (slice_is(path, "/")) {
		unsigned refused = a->o.mode->ops->access(a->o.mode, h);
		if (refused == 0)
			put_page(a, &b);
		http_conn_reply(c, refused == 0 ? 200 : refused,
				SLICE_LIT("content-type: text/html; charset=utf-8\r\ncache-control: no-store\r\n"),
				buf_slice(&b));
	} else {
		http_conn_reply(c, 404, SLICE_LIT(TEXT), SLICE_LIT("here are /healthz, /readyz, /metrics and /\n"));
	}
	buf_done(&b);
}

static void on_body(void *arg, struct http_conn *c, struct slice s, bool fin)
{
	(void)arg;
	(void)c;
	(void)s;
	(void)fin;
}

static void on_nothing(void *arg, struct http_conn *c)
{
	(void)arg;
	(void)c;
}

static const struct http_conn_events conn_events = {
    .request = on_request, .body = on_body, .writable = on_nothing, .gone = on_nothing};

static void on_accepted(void *arg, int fd)
{
	struct admin *a = CAST(struct admin, arg, ADMIN_MAGIC);
	http_server_give(a->server, fd);
}

static void on_part_closed(void *arg)
{
	struct admin *a = CAST(struct admin, arg, ADMIN_MAGIC);
	if (--a->open > 0)
		return;
	a->magic = 0;
	a->closed(a->closed_arg);
	mem_free(a);
}

static const struct listener_events listen_events = {.accepted = on_accepted, .closed = on_part_closed};

int admin_open(const struct admin_options *o, struct admin **ret, struct err *e)
{
	struct admin *a = mem_zalloc(sizeof(*a));
	a->magic = ADMIN_MAGIC;
	a->o = *o;
	a->why_not = "starting";
	a->opened_mono_ms = loop_mono_ms(o->loop);
	int r = o->fd >= 0 ? listener_open_fd(o->loop, o->fd, &listen_events, a, &a->listener)
			   : listener_open_tcp(o->loop, o->address, &listen_events, a, &a->listener, e);
	if (r < 0 && o->fd >= 0)
		r = err_set(e, -r, EXIT_CODE_FAILED, "the socket passed for the admin listener cannot be served: %s",
			    strerror(-r));
	if (r < 0) {
		mem_free(a);
		return r;
	}
	struct http_server_options so = {.name = "admin",
					 .target_max = LIMIT_HTTP_TARGET_BYTES,
					 .conns_max = ADMIN_CONNS_MAX,
					 .events = &conn_events,
					 .arg = a};
	a->server = http_server_new(o->loop, &so);
	a->open = 2;
	*ret = a;
	return 0;
}

void admin_set_ready(struct admin *a, const char *why_not)
{
	a->why_not = why_not;
}

void admin_address(const struct admin *a, char ret[80])
{
	listener_address(a->listener, ret);
}

void admin_close(struct admin *a, void (*closed)(void *arg), void *arg)
{
	a->closed = closed;
	a->closed_arg = arg;
	listener_close(a->listener);
	http_server_close(a->server, on_part_closed, a);
}
