/* From JSON to bytes: structs filled field by field, then encoded. The first field that is missing or of the wrong
 * form is remembered; what bytes the structs point to live in chunks until the end. */
#include "lib/runner_json.h"

#include "lib/runner_json_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct chunk {
	struct chunk *next;
	struct buf bytes;
};

struct builder {
	struct chunk *chunks;
	char why[200]; /* empty while all is well */
};

static void wrong(struct builder *b, const char *key, const char *want)
{
	if (b->why[0] == '\0')
		snprintf(b->why, sizeof(b->why), "field \"%s\" is not %s", key, want);
}

/* An empty buf that lives as long as the builder. */
static struct buf *chunk_of(struct builder *b)
{
	struct chunk *c = mem_zalloc(sizeof(*c));
	buf_init(&c->bytes, (size_t)256 * 1024 * 1024);
	c->next = b->chunks;
	b->chunks = c;
	return &c->bytes;
}

static void put_failed(struct builder *b, int outcome)
{
	if (outcome != 0 && b->why[0] == '\0')
		snprintf(b->why, sizeof(b->why), "%s", bare_why(outcome));
}

bool runner_json_unhex(const char *text, struct buf *out)
{
	static const char digits[] = "0123456789abcdef";
	for (; *text != '\0'; text += 2) {
		const char *high = strchr(digits, text[0]);
		const char *low = text[1] == '\0' ? NULL : strchr(digits, text[1]);
		if (high == NULL || low == NULL)
			return false;
		buf_add_byte(out, (uint8_t)((high - digits) << 4 | (low - digits)));
	}
	return !out->over;
}

/* ---- fields ---- */

static bool has(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	return value != NULL && !json_is_null(value);
}

static struct slice text_of(struct builder *b, const json_t *value, const char *key)
{
	if (!json_is_string(value)) {
		wrong(b, key, "a string");
		return SLICE_NONE;
	}
	return slice_of(json_string_value(value), json_string_length(value));
}

static struct slice hex_of(struct builder *b, const json_t *value, const char *key)
{
	struct buf *bytes = chunk_of(b);
	if (!json_is_string(value) || !runner_json_unhex(json_string_value(value), bytes))
		wrong(b, key, "a hex string");
	return buf_slice(bytes);
}

static struct slice text(struct builder *b, const json_t *o, const char *key)
{
	return text_of(b, json_object_get(o, key), key);
}

static struct slice hex(struct builder *b, const json_t *o, const char *key)
{
	return hex_of(b, json_object_get(o, key), key);
}

static void id4(struct builder *b, const json_t *o, const char *key, uint8_t ret[4])
{
	struct slice bytes = hex(b, o, key);
	if (bytes.n == 4)
		memcpy(ret, bytes.p, 4);
	else
		wrong(b, key, "4 bytes");
}

static bool truth(struct builder *b, const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	if (!json_is_boolean(value))
		wrong(b, key, "true or false");
	return json_is_true(value);
}

static uint32_t number(struct builder *b, const json_t *o, const char *key, uint32_t max)
{
	const json_t *value = json_object_get(o, key);
	json_int_t v = json_integer_value(value);
	if (!json_is_integer(value) || v < 0 || v > (json_int_t)max) {
		wrong(b, key, "a number in its range");
		return 0;
	}
	return (uint32_t)v;
}

static int64_t i64(struct builder *b, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	char *end = NULL;
	errno = 0;
	long long v = s == NULL ? 0 : strtoll(s, &end, 10);
	if (s == NULL || end == s || *end != '\0' || errno != 0)
		wrong(b, key, "a decimal string of 64 bits");
	return v;
}

static uint64_t u64(struct builder *b, const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	char *end = NULL;
	errno = 0;
	unsigned long long v = s == NULL ? 0 : strtoull(s, &end, 10);
	if (s == NULL || *s == '-' || end == s || *end != '\0' || errno != 0)
		wrong(b, key, "a decimal string of 64 bits");
	return v;
}

static const json_t *array(struct builder *b, const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	if (!json_is_array(value))
		wrong(b, key, "an array");
	return value;
}

static unsigned find(struct builder *b, const char *name, const char *const *names, size_t n)
{
	for (unsigned i = 0; i < n && name != NULL; i++) {
		if (strcmp(names[i], name) == 0)
			return i;
	}
	wrong(b, name == NULL ? "tag" : name, "a known tag");
	return 0;
}

/* A union: the tag, and its value in *ret_val. */
static unsigned tag(struct builder *b, const json_t *u, const char *const *names, size_t n, const json_t **ret_val)
{
	*ret_val = json_object_get(u, "val");
	return find(b, json_string_value(json_object_get(u, "tag")), names, n);
}

#define TAG(b, u, names, ret_val) tag(b, u, names, ARRAY_SIZE(names), ret_val)

/* ---- lists ---- */

static struct runner_list bytes_list(struct builder *b, const json_t *o, const char *key)
{
	const json_t *a = array(b, o, key);
	struct buf *elements = chunk_of(b);
	for (size_t i = 0; i < json_array_size(a); i++)
		put_failed(b, runner_bytes_put(elements, hex_of(b, json_array_get(a, i), key)));
	return runner_list_of(buf_slice(elements), json_array_size(a));
}

/* as_names: the values are structs with one field, metadata. */
static struct runner_list pairs(struct builder *b, const json_t *o, const char *key, bool as_names)
{
	const json_t *map = json_object_get(o, key);
	json_t *it_of = (json_t *)(uintptr_t)map;
	struct buf *elements = chunk_of(b);
	if (!json_is_object(map))
		wrong(b, key, "an object");
	for (void *it = json_object_iter(it_of); it != NULL; it = json_object_iter_next(it_of, it)) {
		const char *name = json_object_iter_key(it);
		const json_t *value = json_object_iter_value(it);
		if (as_names)
			value = json_object_get(value, "metadata");
		put_failed(b, runner_pair_put(elements, slice_str(name), text_of(b, value, name)));
	}
	return runner_list_of(buf_slice(elements), json_object_size(map));
}

static struct runner_checkpoint checkpoint(struct builder *b, const json_t *o)
{
	return (struct runner_checkpoint){.actor_id = text(b, o, "actorId"),
					  .generation = number(b, o, "generation", UINT32_MAX),
					  .index = i64(b, o, "index")};
}

static struct runner_list checkpoints(struct builder *b, const json_t *o, const char *key)
{
	const json_t *a = array(b, o, key);
	struct buf *elements = chunk_of(b);
	for (size_t i = 0; i < json_array_size(a); i++) {
		struct runner_checkpoint c = checkpoint(b, json_array_get(a, i));
		put_failed(b, runner_checkpoint_put(elements, &c));
	}
	return runner_list_of(buf_slice(elements), json_array_size(a));
}

static struct runner_message_id message_id(struct builder *b, const json_t *o)
{
	struct runner_message_id id = {.index = (uint16_t)number(b, o, "messageIndex", UINT16_MAX)};
	id4(b, o, "gatewayId", id.gateway);
	id4(b, o, "requestId", id.request);
	return id;
}

/* ---- to the engine ---- */

static void fill_init(struct builder *b, const json_t *v, struct runner_init *m)
{
	m->name = text(b, v, "name");
	m->version = number(b, v, "version", UINT32_MAX);
	m->total_slots = number(b, v, "totalSlots", UINT32_MAX);
	m->has_actor_names = has(v, "prepopulateActorNames");
	if (m->has_actor_names)
		m->actor_names = pairs(b, v, "prepopulateActorNames", true);
	m->has_metadata = has(v, "metadata");
	if (m->has_metadata)
		m->metadata = text(b, v, "metadata");
}

static void fill_event(struct builder *b, const json_t *v, struct runner_event *e)
{
	const json_t *inner, *val;
	e->checkpoint = checkpoint(b, json_object_get(v, "checkpoint"));
	switch (TAG(b, json_object_get(v, "inner"), event_names, &inner)) {
	case 0:
		e->kind = RUNNER_EVENT_SLEEP + TAG(b, json_object_get(inner, "intent"), intent_names, &val);
		break;
	case 1:
		e->kind = RUNNER_EVENT_RUNNING + TAG(b, json_object_get(inner, "state"), state_names, &val);
		if (e->kind == RUNNER_EVENT_RUNNING)
			break;
		e->code = find(b, json_string_value(json_object_get(val, "code")), stop_code_names, 2);
		e->has_message = has(val, "message");
		if (e->has_message)
			e->message = text(b, val, "message");
		break;
	default:
		e->kind = RUNNER_EVENT_ALARM;
		e->has_alarm = has(inner, "alarmTs");
		if (e->has_alarm)
			e->alarm_wall_ms = i64(b, inner, "alarmTs");
		break;
	}
}

static void fill_kv_list(struct builder *b, const json_t *v, struct runner_kv_request *m)
{
	const json_t *q;
	m->query = TAG(b, json_object_get(v, "query"), query_names, &q);
	if (m->query == RUNNER_KV_RANGE) {
		m->start = hex(b, q, "start");
		m->end = hex(b, q, "end");
		m->exclusive = truth(b, q, "exclusive");
	} else if (m->query == RUNNER_KV_PREFIX) {
		m->start = hex(b, q, "key");
	}
	m->has_reverse = has(v, "reverse");
	if (m->has_reverse)
		m->reverse = truth(b, v, "reverse");
	m->has_limit = has(v, "limit");
	if (m->has_limit)
		m->limit = u64(b, v, "limit");
}

static void fill_kv_request(struct builder *b, const json_t *o, struct runner_kv_request *m)
{
	const json_t *v;
	m->actor_id = text(b, o, "actorId");
	m->request_id = number(b, o, "requestId", UINT32_MAX);
	m->op = TAG(b, json_object_get(o, "data"), kv_op_names, &v);
	if (m->op == RUNNER_KV_GET || m->op == RUNNER_KV_DELETE || m->op == RUNNER_KV_PUT)
		m->keys = bytes_list(b, v, "keys");
	if (m->op == RUNNER_KV_PUT)
		m->values = bytes_list(b, v, "values");
	if (m->op == RUNNER_KV_LIST)
		fill_kv_list(b, v, m);
	if (m->op == RUNNER_KV_DELETE_RANGE) {
		m->start = hex(b, v, "start");
		m->end = hex(b, v, "end");
	}
}

static void fill_up(struct builder *b, const json_t *o, struct runner_tunnel_up *m)
{
	const json_t *v;
	m->id = message_id(b, json_object_get(o, "messageId"));
	m->kind = TAG(b, json_object_get(o, "messageKind"), up_names, &v);
	switch (m->kind) {
	case RUNNER_UP_RESPONSE_START:
		m->response.status = (uint16_t)number(b, v, "status", UINT16_MAX);
		m->response.headers = pairs(b, v, "headers", false);
		m->response.has_body = has(v, "body");
		if (m->response.has_body)
			m->response.body = hex(b, v, "body");
		m->response.stream = truth(b, v, "stream");
		break;
	case RUNNER_UP_RESPONSE_CHUNK:
		m->chunk.body = hex(b, v, "body");
		m->chunk.finish = truth(b, v, "finish");
		break;
	case RUNNER_UP_WS_OPEN:
		m->can_hibernate = truth(b, v, "canHibernate");
		break;
	case RUNNER_UP_WS_MESSAGE:
		m->message.data = hex(b, v, "data");
		m->message.binary = truth(b, v, "binary");
		break;
	case RUNNER_UP_WS_ACK:
		m->ack_index = (uint16_t)number(b, v, "index", UINT16_MAX);
		break;
	case RUNNER_UP_WS_CLOSE:
		m->close.has_code = has(v, "code");
		if (m->close.has_code)
			m->close.code = (uint16_t)number(b, v, "code", UINT16_MAX);
		m->close.has_reason = has(v, "reason");
		if (m->close.has_reason)
			m->close.reason = text(b, v, "reason");
		m->close.hibernate = truth(b, v, "hibernate");
		break;
	case RUNNER_UP_RESPONSE_ABORT:
	case RUNNER_UP_KINDS:
		break;
	}
}

static int put_to_server(struct builder *b, const json_t *o, struct buf *out)
{
	const json_t *v;
	struct runner_to_server m = {.tag = TAG(b, o, to_server_names, &v)};
	struct buf *elements;
	switch (m.tag) {
	case RUNNER_TO_SERVER_INIT:
		fill_init(b, v, &m.init);
		break;
	case RUNNER_TO_SERVER_EVENTS:
		elements = chunk_of(b);
		for (size_t i = 0; i < json_array_size(v); i++) {
			struct runner_event e = {.has_message = false};
			fill_event(b, json_array_get(v, i), &e);
			put_failed(b, runner_event_put(elements, &e));
		}
		m.events = runner_list_of(buf_slice(elements), json_array_size(v));
		break;
	case RUNNER_TO_SERVER_ACK_COMMANDS:
		m.commands = checkpoints(b, v, "lastCommandCheckpoints");
		break;
	case RUNNER_TO_SERVER_PONG:
		m.pong_ts = i64(b, v, "ts");
		break;
	case RUNNER_TO_SERVER_KV_REQUEST:
		fill_kv_request(b, v, &m.kv);
		break;
	case RUNNER_TO_SERVER_TUNNEL:
		fill_up(b, v, &m.tunnel);
		break;
	case RUNNER_TO_SERVER_STOPPING:
	case RUNNER_TO_SERVER_TAGS:
		break;
	}
	return runner_to_server_put(out, &m);
}

/* ---- to a runner ---- */

static void fill_welcome(struct builder *b, const json_t *v, struct runner_welcome *m)
{
	const json_t *meta = json_object_get(v, "metadata");
	m->runner_id = text(b, v, "runnerId");
	m->lost_threshold_ms = i64(b, meta, "runnerLostThreshold");
	m->stop_threshold_ms = i64(b, meta, "actorStopThreshold");
	m->has_drain_grace = has(meta, "serverlessDrainGracePeriod");
	if (m->has_drain_grace)
		m->drain_grace_ms = i64(b, meta, "serverlessDrainGracePeriod");
}

static void fill_command(struct builder *b, const json_t *o, struct runner_command *c)
{
	const json_t *v;
	c->checkpoint = checkpoint(b, json_object_get(o, "checkpoint"));
	c->kind = TAG(b, json_object_get(o, "inner"), command_names, &v);
	if (c->kind != RUNNER_COMMAND_START)
		return;
	const json_t *config = json_object_get(v, "config");
	c->name = text(b, config, "name");
	c->has_key = has(config, "key");
	if (c->has_key)
		c->key = text(b, config, "key");
	c->create_ms = i64(b, config, "createTs");
	c->has_input = has(config, "input");
	if (c->has_input)
		c->input = hex(b, config, "input");
	const json_t *sockets = array(b, v, "hibernatingRequests");
	struct buf *elements = chunk_of(b);
	for (size_t i = 0; i < json_array_size(sockets); i++) {
		struct runner_socket_id id = {.gateway = {0}};
		id4(b, json_array_get(sockets, i), "gatewayId", id.gateway);
		id4(b, json_array_get(sockets, i), "requestId", id.request);
		put_failed(b, runner_socket_id_put(elements, &id));
	}
	c->sockets = runner_list_of(buf_slice(elements), json_array_size(sockets));
}

static void fill_kv_response(struct builder *b, const json_t *o, struct runner_kv_response *m)
{
	const json_t *v;
	m->request_id = number(b, o, "requestId", UINT32_MAX);
	m->answer = TAG(b, json_object_get(o, "data"), kv_answer_names, &v);
	if (m->answer == RUNNER_KV_ANSWER_ERROR)
		m->error = text(b, v, "message");
	if (m->answer != RUNNER_KV_ANSWER_GET && m->answer != RUNNER_KV_ANSWER_LIST)
		return;
	m->keys = bytes_list(b, v, "keys");
	m->values = bytes_list(b, v, "values");
	const json_t *metadata = array(b, v, "metadata");
	struct buf *elements = chunk_of(b);
	for (size_t i = 0; i < json_array_size(metadata); i++) {
		const json_t *one = json_array_get(metadata, i);
		struct runner_kv_metadata meta = {.version = hex(b, one, "version"),
						  .update_ms = i64(b, one, "updateTs")};
		put_failed(b, runner_kv_metadata_put(elements, &meta));
	}
	m->metadata = runner_list_of(buf_slice(elements), json_array_size(metadata));
}

static void fill_down(struct builder *b, const json_t *o, struct runner_tunnel_down *m)
{
	const json_t *v;
	m->id = message_id(b, json_object_get(o, "messageId"));
	m->kind = TAG(b, json_object_get(o, "messageKind"), down_names, &v);
	switch (m->kind) {
	case RUNNER_DOWN_REQUEST_START:
		m->request.actor_id = text(b, v, "actorId");
		m->request.method = text(b, v, "method");
		m->request.path = text(b, v, "path");
		m->request.headers = pairs(b, v, "headers", false);
		m->request.has_body = has(v, "body");
		if (m->request.has_body)
			m->request.body = hex(b, v, "body");
		m->request.stream = truth(b, v, "stream");
		break;
	case RUNNER_DOWN_REQUEST_CHUNK:
		m->chunk.body = hex(b, v, "body");
		m->chunk.finish = truth(b, v, "finish");
		break;
	case RUNNER_DOWN_WS_OPEN:
		m->open.actor_id = text(b, v, "actorId");
		m->open.path = text(b, v, "path");
		m->open.headers = pairs(b, v, "headers", false);
		break;
	case RUNNER_DOWN_WS_MESSAGE:
		m->message.data = hex(b, v, "data");
		m->message.binary = truth(b, v, "binary");
		break;
	case RUNNER_DOWN_WS_CLOSE:
		m->close.has_code = has(v, "code");
		if (m->close.has_code)
			m->close.code = (uint16_t)number(b, v, "code", UINT16_MAX);
		m->close.has_reason = has(v, "reason");
		if (m->close.has_reason)
			m->close.reason = text(b, v, "reason");
		break;
	case RUNNER_DOWN_REQUEST_ABORT:
	case RUNNER_DOWN_KINDS:
		break;
	}
}

static int put_to_client(struct builder *b, const json_t *o, struct buf *out)
{
	const json_t *v;
	struct runner_to_client m = {.tag = TAG(b, o, to_client_names, &v)};
	struct buf *elements;
	switch (m.tag) {
	case RUNNER_TO_CLIENT_INIT:
		fill_welcome(b, v, &m.init);
		break;
	case RUNNER_TO_CLIENT_COMMANDS:
		elements = chunk_of(b);
		for (size_t i = 0; i < json_array_size(v); i++) {
			struct runner_command c = {.has_key = false};
			fill_command(b, json_array_get(v, i), &c);
			put_failed(b, runner_command_put(elements, &c));
		}
		m.commands = runner_list_of(buf_slice(elements), json_array_size(v));
		break;
	case RUNNER_TO_CLIENT_ACK_EVENTS:
		m.events = checkpoints(b, v, "lastEventCheckpoints");
		break;
	case RUNNER_TO_CLIENT_KV_RESPONSE:
		fill_kv_response(b, v, &m.kv);
		break;
	case RUNNER_TO_CLIENT_TUNNEL:
		fill_down(b, v, &m.tunnel);
		break;
	case RUNNER_TO_CLIENT_PING:
		m.ping_ts = i64(b, v, "ts");
		break;
	case RUNNER_TO_CLIENT_TAGS:
		break;
	}
	return runner_to_client_put(out, &m);
}

bool runner_json_put(bool to_server, const json_t *value, struct buf *out, const char **ret_why)
{
	static char why[200];
	struct builder b = {.chunks = NULL};
	put_failed(&b, to_server ? put_to_server(&b, value, out) : put_to_client(&b, value, out));
	while (b.chunks != NULL) {
		struct chunk *next = b.chunks->next;
		buf_done(&b.chunks->bytes);
		mem_free(b.chunks);
		b.chunks = next;
	}
	memcpy(why, b.why, sizeof(why));
	*ret_why = why;
	return b.why[0] == '\0';
}
