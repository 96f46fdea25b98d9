/* The part of a front end that HTTP and WebSocket share: its exchange, the
 * wait for a ready actor, and what failures look like. */
#include "local/local_front.h"

#include <stdio.h>

#define FRONT_MAGIC 0x66726f6eu

static void on_quit(void *arg)
{
	struct local_front *f = arg;
	CHECK(f->magic == FRONT_MAGIC);
	local_front_free(f, EXCHANGE_GONE);
}

/* A worker gets what the client sent, but never the daemon's own token. */
static struct http_head *copy_head(const struct local *l, const struct http_head *h)
{
	struct http_field kept[LIMIT_HTTP_FIELDS];
	struct http_head without = *h;
	if (l->access.token == NULL)
		return http_head_copy(h);
	without.fields = kept;
	without.n_fields = 0;
	for (size_t i = 0; i < h->n_fields; i++) {
		if (!local_access_is_secret(&l->access, &h->fields[i]))
			kept[without.n_fields++] = h->fields[i];
	}
	return http_head_copy(&without);
}

static void fill_exchange(struct exchange *x, struct local *l, struct http_conn *c, const struct http_head *h,
			  const struct local_route *route)
{
	const struct http_field *host = http_head_get(h, HTTP_F_HOST);
	x->head = copy_head(l, h);
	x->target = mem_strdup(route->target);
	x->subprotocols = mem_strdup(route->subprotocols);
	x->method = slice_dup(h->method);
	x->no_body = h->framing == HTTP_FRAMING_NONE;
	x->begun_mono_us = loop_mono_us(l->o.loop);
	snprintf(x->request_id, sizeof(x->request_id), "%s", actor_id_new().text);
	if (x->kind == EXCHANGE_WEBSOCKET)
		snprintf(x->connection_id, sizeof(x->connection_id), "%s", actor_id_new().text);
	x->forwarded_for = mem_strdup(http_conn_peer(c));
	x->forwarded_proto = mem_strdup("http");
	x->forwarded_host = host == NULL ? NULL : slice_dup(host->value);
}

struct local_front *local_front_open(struct local *l, struct http_conn *c, const struct http_head *h,
				     const struct local_route *route, enum exchange_kind kind,
				     const struct local_request_ops *request_ops, const struct exchange_ops *ops,
				     void (*on_ready_timeout)(void *arg))
{
	struct local_front *f = mem_zalloc(sizeof(*f));
	f->magic = FRONT_MAGIC;
	if (exchange_open(kind, ops, f, &f->x) != 0) {
		mem_free(f);
		return NULL;
	}
	local_request_init(&f->r, request_ops, l, c, h);
	fill_exchange(f->x, l, c, h, route);
	f->head_request = slice_is(h->method, "HEAD");
	timer_init(&f->ready, l->o.loop, on_ready_timeout, f);
	loop_task_init(&f->quit, on_quit, f);
	return f;
}

void local_front_offer(struct local_front *f, const struct local_route *route)
{
	struct local_driver *d = f->r.local->driver;
	timer_arm(&f->ready, local_driver_ready_ms(d, ""));
	if (route->kind == ROUTE_ACTOR_ID) {
		local_driver_offer_id(d, route->id.text, f->x);
		return;
	}
	struct local_key k = {.namespace_name = route->namespace_name,
			      .name = route->name,
			      .key = route->key,
			      .pool = route->pool,
			      .crash_policy = route->crash_policy,
			      .input = slice_of(route->input, route->input_len),
			      .has_input = route->input != NULL};
	local_driver_offer_key(d, &k, route->create, f->x);
}

struct answer_failure local_front_not_ready(const struct local_front *f)
{
	if (actor_table_is_placing(local_driver_table(f->r.local->driver), f->x->actor_id))
		return (struct answer_failure){503, "actor", "overloaded", answer_sentence("actor", "overloaded"), 1};
	return (struct answer_failure){503, "guard", "actor_ready_timeout",
				       answer_sentence("guard", "actor_ready_timeout"), 1};
}

void local_front_free(struct local_front *f, enum exchange_why why)
{
	timer_disarm(&f->ready);
	loop_cancel(&f->quit);
	struct exchange *x = TAKE(f->x);
	local_request_done(&f->r);
	mem_free(f->tracker);
	f->magic = 0;
	mem_free(f);
	if (x != NULL)
		exchange_leave(x, EXCHANGE_FRONT, why);
}

static bool is_dropped(const struct local_front *f, const struct http_field *field, bool keep_length)
{
	if (field->id == HTTP_F_CONTENT_LENGTH)
		return !keep_length;
	if (field->id == HTTP_F_ACCESS_CONTROL)
		return f->r.wants_cors;
	return answer_ends_here(field);
}

/* Percent-encoded, as the worker gets it. */
static void put_key(struct buf *b, const char *key)
{
	if (key == NULL)
		return;
	buf_add_str(b, "x-rivet-actor-key: ");
	http_percent_encode(slice_str(key), b);
	buf_add_str(b, "\r\n");
}

struct slice local_front_fields(struct local_front *f, const struct http_head *h, bool keep_length)
{
	struct buf *b = &f->r.local->scratch;
	buf_reset(b);
	for (uint16_t i = 0; i < h->n_fields; i++) {
		if (!is_dropped(f, &h->fields[i], keep_length))
			http_put_field(b, h->fields[i].name, h->fields[i].value);
	}
	if (http_head_find(h, "x-rivet-actor") == NULL) {
		http_put_field_str(b, "x-rivet-actor", f->x->actor_id);
		http_put_field_u64(b, "x-rivet-actor-generation", (uint64_t)f->x->generation);
		put_key(b, f->x->actor_key);
	}
	local_request_fields(&f->r, b);
	return buf_slice(b);
}
