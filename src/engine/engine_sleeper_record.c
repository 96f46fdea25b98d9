/* What another runner needs of a hibernating WebSocket, under a reserved key of
 * its actor: the request as the client sent it, its connection id, the
 * subprotocol. Written before the engine is told that it hibernates, erased
 * when it ends, read when an actor starts here for the first time.
 *
 * Failure paths: it cannot be written, then it does not hibernate; it cannot be
 * read, then the clients of that actor are not known here, and the engine is
 * told to close those that it names. */
#include "engine/engine_sleeper_private.h"

#include "base/log.h"
#include "codec/bare.h"

#include <stdio.h>

#define FORMAT 1

struct job {
	struct engine_tunnel *t;
	uint8_t pair[ENGINE_PAIR_BYTES];
	uint64_t number;
};

/* ---- writing ---- */

static void put_optional(struct bare_writer *w, struct slice s)
{
	bare_put_bool(w, s.n > 0);
	if (s.n > 0)
		bare_put_data(w, s);
}

static int put_record(struct buf *b, const struct exchange *x, const struct http_head *answer)
{
	const struct http_field *chosen = http_head_get(answer, HTTP_F_SEC_WEBSOCKET_PROTOCOL);
	struct buf pairs;
	size_t n = 0;
	buf_init(&pairs, 2 * LIMIT_HTTP_HEAD_BYTES);
	for (uint16_t i = 0; i < x->head->n_fields; i++)
		n += runner_pair_put(&pairs, x->head->fields[i].name, x->head->fields[i].value) == 0;
	struct bare_writer w = bare_start(b);
	bare_put_u8(&w, FORMAT);
	bare_put_data(&w, slice_str(x->connection_id));
	bare_put_data(&w, slice_str(x->target));
	put_optional(&w, slice_str(x->subprotocols));
	put_optional(&w, chosen == NULL ? SLICE_NONE : chosen->value);
	bare_put_u32(&w, (uint32_t)n);
	bare_put_data(&w, buf_slice(&pairs));
	buf_done(&pairs);
	return bare_end(&w);
}

static void put_key(struct buf *list, const uint8_t pair[ENGINE_PAIR_BYTES])
{
	struct buf key;
	buf_init(&key, 64);
	buf_add(&key, ENGINE_SLEEPER_KEYS);
	buf_add(&key, slice_of(pair, ENGINE_PAIR_BYTES));
	CHECK(!key.over && runner_bytes_put(list, buf_slice(&key)) == 0);
	buf_done(&key);
}

static struct job *job_new(const struct engine_sleeper *s)
{
	struct job *j = mem_zalloc(sizeof(*j));
	j->t = s->f.t;
	j->number = s->number;
	memcpy(j->pair, s->f.pair, sizeof(j->pair));
	return j;
}

static void on_recorded(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct job *j = arg;
	struct map_node *node = map_get(&j->t->by_pair, slice_of(j->pair, sizeof(j->pair)));
	struct engine_flow *f = node == NULL ? NULL : CONTAINER_OF(node, struct engine_flow, by_pair);
	(void)r;
	if (f != NULL && f->kind == ENGINE_FLOW_SLEEPER && engine_sleeper_of(f)->number == j->number)
		engine_sleeper_recorded(engine_sleeper_of(f), outcome == ENGINE_KV_OK);
	mem_free(j);
}

void engine_sleeper_record(struct engine_sleeper *s, const struct exchange *x, const struct http_head *answer)
{
	struct engine_tunnel *t = s->f.t;
	struct buf keys, values, record;
	buf_init(&keys, 256);
	buf_init(&values, LIMIT_KV_VALUE_BYTES + 64);
	buf_init(&record, LIMIT_KV_VALUE_BYTES);
	put_key(&keys, s->f.pair);
	int r = put_record(&record, x, answer);
	CHECK(r == 0 && runner_bytes_put(&values, buf_slice(&record)) == 0); /* a head is far smaller than a value */
	struct runner_kv_request q = {.actor_id = slice_str(s->f.actor->id),
				      .op = RUNNER_KV_PUT,
				      .keys = runner_list_of(buf_slice(&keys), 1),
				      .values = runner_list_of(buf_slice(&values), 1)};
	t->o.ops->state(t->o.arg, &q, on_recorded, job_new(s));
	buf_done(&keys);
	buf_done(&values);
	buf_done(&record);
}

static void on_erased(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	(void)arg;
	(void)outcome; /* it is found stale when the actor starts elsewhere */
	(void)r;
}

void engine_sleeper_erase(struct engine_sleeper *s)
{
	struct engine_tunnel *t = s->f.t;
	struct buf keys;
	buf_init(&keys, 256);
	put_key(&keys, s->f.pair);
	struct runner_kv_request q = {
	    .actor_id = slice_str(s->f.actor->id), .op = RUNNER_KV_DELETE, .keys = runner_list_of(buf_slice(&keys), 1)};
	t->o.ops->state(t->o.arg, &q, on_erased, NULL);
	buf_done(&keys);
}

/* ---- reading ---- */

static struct slice optional(struct bare_reader *r)
{
	return bare_bool(r) ? bare_data(r) : SLICE_NONE;
}

struct engine_sleeper *engine_sleeper_read(struct engine_tunnel *t, const char *actor_id, struct slice key,
					   struct slice record)
{
	size_t prefix = ENGINE_SLEEPER_KEYS.n;
	struct bare_reader r = bare_reader_of(record);
	uint8_t format = bare_u8(&r);
	struct slice connection = bare_data(&r), target = bare_data(&r);
	struct slice subprotocols = optional(&r), chosen = optional(&r);
	uint32_t n = bare_u32(&r);
	struct slice pairs = bare_data(&r);
	struct engine_head_in in = {
	    .method = SLICE_LIT("GET"), .path = target, .headers = runner_list_of(pairs, n), .token = t->o.token};
	char connection_id[sizeof(((struct exchange *)0)->connection_id)];
	struct runner_socket_id id;
	struct http_head *h;
	const char *why;
	if (key.n != prefix + ENGINE_PAIR_BYTES || connection.n >= sizeof(connection_id) || r.outcome != 0 ||
	    format != FORMAT || engine_head_request(&in, &h, &why) != 0) {
		LOG(WARN, "what is remembered of a hibernating WebSocket is not in a form this version knows",
		    ENGINE_WHO_LOG(t, actor_id));
		return NULL;
	}
	memcpy(id.gateway, key.p + prefix, sizeof(id.gateway));
	memcpy(id.request, key.p + prefix + sizeof(id.gateway), sizeof(id.request));
	snprintf(connection_id, sizeof(connection_id), "%.*s", SLICE_FMT(connection));
	return engine_sleeper_restore(t, &id, actor_id, h, connection_id, subprotocols, chosen);
}
