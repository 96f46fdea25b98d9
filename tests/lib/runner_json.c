/* From bytes to JSON: the decoder's structs, field by field. */
#include "lib/runner_json.h"

#include "lib/runner_json_names.h"

#include <inttypes.h>
#include <stdio.h>

void runner_json_hex(struct slice bytes, struct buf *out)
{
	for (size_t i = 0; i < bytes.n; i++)
		buf_addf(out, "%02x", bytes.p[i]);
}

static json_t *hex(struct slice bytes)
{
	struct buf text;
	buf_init(&text, bytes.n * 2 + 1);
	runner_json_hex(bytes, &text);
	json_t *value = json_stringn(bytes.n == 0 ? "" : (const char *)text.mem, buf_len(&text));
	buf_done(&text);
	return value;
}

static json_t *text(struct slice s)
{
	json_t *value = json_stringn(s.n == 0 ? "" : (const char *)s.p, s.n);
	CHECK(value != NULL); /* NULL: not UTF-8, which the decoder promises it is */
	return value;
}

static json_t *i64(int64_t v)
{
	return json_sprintf("%" PRId64, v);
}

static json_t *u64(uint64_t v)
{
	return json_sprintf("%" PRIu64, v);
}

/* The value if there is one; it is given away either way. */
static json_t *optional(bool has, json_t *value)
{
	if (has)
		return value;
	json_decref(value);
	return json_null();
}

static json_t *member(const char *tag, json_t *val)
{
	return json_pack("{s:s, s:o}", "tag", tag, "val", val);
}

static json_t *checkpoint(const struct runner_checkpoint *c)
{
	return json_pack("{s:o, s:I, s:o}", "actorId", text(c->actor_id), "generation", (json_int_t)c->generation,
			 "index", i64(c->index));
}

static json_t *checkpoints(struct runner_list list)
{
	json_t *array = json_array();
	struct runner_walk w = runner_walk_of(list);
	struct runner_checkpoint c;
	while (runner_checkpoint_next(&w, &c))
		json_array_append_new(array, checkpoint(&c));
	return array;
}

static json_t *bytes_list(struct runner_list list)
{
	json_t *array = json_array();
	struct runner_walk w = runner_walk_of(list);
	struct slice bytes;
	while (runner_bytes_next(&w, &bytes))
		json_array_append_new(array, hex(bytes));
	return array;
}

/* as_names: the values are structs with one field, metadata. */
static json_t *pairs(struct runner_list list, bool as_names)
{
	json_t *object = json_object();
	struct runner_walk w = runner_walk_of(list);
	struct slice key, value;
	while (runner_pair_next(&w, &key, &value)) {
		char *name = slice_dup(key);
		json_object_set_new(object, name, as_names ? json_pack("{s:o}", "metadata", text(value)) : text(value));
		mem_free(name);
	}
	return object;
}

static json_t *message_id(const struct runner_message_id *id)
{
	return json_pack("{s:o, s:o, s:i}", "gatewayId", hex(slice_of(id->gateway, 4)), "requestId",
			 hex(slice_of(id->request, 4)), "messageIndex", id->index);
}

/* ---- to the engine ---- */

static json_t *init_of(const struct runner_init *m)
{
	return json_pack("{s:o, s:I, s:I, s:o, s:o}", "name", text(m->name), "version", (json_int_t)m->version,
			 "totalSlots", (json_int_t)m->total_slots, "prepopulateActorNames",
			 optional(m->has_actor_names, pairs(m->actor_names, true)), "metadata",
			 optional(m->has_metadata, text(m->metadata)));
}

static json_t *event_inner(const struct runner_event *e)
{
	switch (e->kind) {
	case RUNNER_EVENT_SLEEP:
	case RUNNER_EVENT_STOP:
		return member(
		    event_names[0],
		    json_pack("{s:o}", "intent", member(intent_names[e->kind - RUNNER_EVENT_SLEEP], json_null())));
	case RUNNER_EVENT_RUNNING:
		return member(event_names[1], json_pack("{s:o}", "state", member(state_names[0], json_null())));
	case RUNNER_EVENT_STOPPED:
		return member(event_names[1],
			      json_pack("{s:o}", "state",
					member(state_names[1],
					       json_pack("{s:s, s:o}", "code", stop_code_names[e->code], "message",
							 optional(e->has_message, text(e->message))))));
	case RUNNER_EVENT_ALARM:
		return member(event_names[2],
			      json_pack("{s:o}", "alarmTs", optional(e->has_alarm, i64(e->alarm_wall_ms))));
	}
	IMPOSSIBLE("event");
}

static json_t *events_of(struct runner_list list)
{
	json_t *array = json_array();
	struct runner_walk w = runner_walk_of(list);
	struct runner_event e;
	while (runner_event_next(&w, &e)) {
		json_array_append_new(
		    array, json_pack("{s:o, s:o}", "checkpoint", checkpoint(&e.checkpoint), "inner", event_inner(&e)));
	}
	return array;
}

static json_t *query_of(const struct runner_kv_request *m)
{
	switch (m->query) {
	case RUNNER_KV_RANGE:
		return json_pack("{s:o, s:o, s:b}", "start", hex(m->start), "end", hex(m->end), "exclusive",
				 m->exclusive);
	case RUNNER_KV_PREFIX:
		return json_pack("{s:o}", "key", hex(m->start));
	case RUNNER_KV_ALL:
	case RUNNER_KV_QUERIES:
		break;
	}
	return json_null();
}

static json_t *kv_request_data(const struct runner_kv_request *m)
{
	switch (m->op) {
	case RUNNER_KV_GET:
	case RUNNER_KV_DELETE:
		return json_pack("{s:o}", "keys", bytes_list(m->keys));
	case RUNNER_KV_PUT:
		return json_pack("{s:o, s:o}", "keys", bytes_list(m->keys), "values", bytes_list(m->values));
	case RUNNER_KV_LIST:
		return json_pack("{s:o, s:o, s:o}", "query", member(query_names[m->query], query_of(m)), "reverse",
				 optional(m->has_reverse, json_boolean(m->reverse)), "limit",
				 optional(m->has_limit, u64(m->limit)));
	case RUNNER_KV_DELETE_RANGE:
		return json_pack("{s:o, s:o}", "start", hex(m->start), "end", hex(m->end));
	case RUNNER_KV_DROP:
	case RUNNER_KV_OPS:
		break;
	}
	return json_null();
}

static json_t *kv_request_of(const struct runner_kv_request *m)
{
	return json_pack("{s:o, s:I, s:o}", "actorId", text(m->actor_id), "requestId", (json_int_t)m->request_id,
			 "data", member(kv_op_names[m->op], kv_request_data(m)));
}

static json_t *up_kind(const struct runner_tunnel_up *m)
{
	switch (m->kind) {
	case RUNNER_UP_RESPONSE_START:
		return json_pack("{s:i, s:o, s:o, s:b}", "status", m->response.status, "headers",
				 pairs(m->response.headers, false), "body",
				 optional(m->response.has_body, hex(m->response.body)), "stream", m->response.stream);
	case RUNNER_UP_RESPONSE_CHUNK:
		return json_pack("{s:o, s:b}", "body", hex(m->chunk.body), "finish", m->chunk.finish);
	case RUNNER_UP_WS_OPEN:
		return json_pack("{s:b}", "canHibernate", m->can_hibernate);
	case RUNNER_UP_WS_MESSAGE:
		return json_pack("{s:o, s:b}", "data", hex(m->message.data), "binary", m->message.binary);
	case RUNNER_UP_WS_ACK:
		return json_pack("{s:i}", "index", m->ack_index);
	case RUNNER_UP_WS_CLOSE:
		return json_pack("{s:o, s:o, s:b}", "code", optional(m->close.has_code, json_integer(m->close.code)),
				 "reason", optional(m->close.has_reason, text(m->close.reason)), "hibernate",
				 m->close.hibernate);
	case RUNNER_UP_RESPONSE_ABORT:
	case RUNNER_UP_KINDS:
		break;
	}
	return json_null();
}

static json_t *to_server(const struct runner_to_server *m)
{
	switch (m->tag) {
	case RUNNER_TO_SERVER_INIT:
		return init_of(&m->init);
	case RUNNER_TO_SERVER_EVENTS:
		return events_of(m->events);
	case RUNNER_TO_SERVER_ACK_COMMANDS:
		return json_pack("{s:o}", "lastCommandCheckpoints", checkpoints(m->commands));
	case RUNNER_TO_SERVER_PONG:
		return json_pack("{s:o}", "ts", i64(m->pong_ts));
	case RUNNER_TO_SERVER_KV_REQUEST:
		return kv_request_of(&m->kv);
	case RUNNER_TO_SERVER_TUNNEL:
		return json_pack("{s:o, s:o}", "messageId", message_id(&m->tunnel.id), "messageKind",
				 member(up_names[m->tunnel.kind], up_kind(&m->tunnel)));
	case RUNNER_TO_SERVER_STOPPING:
	case RUNNER_TO_SERVER_TAGS:
		break;
	}
	return json_null();
}

/* ---- to a runner ---- */

static json_t *welcome_of(const struct runner_welcome *m)
{
	return json_pack("{s:o, s:o}", "runnerId", text(m->runner_id), "metadata",
			 json_pack("{s:o, s:o, s:o}", "runnerLostThreshold", i64(m->lost_threshold_ms),
				   "actorStopThreshold", i64(m->stop_threshold_ms), "serverlessDrainGracePeriod",
				   optional(m->has_drain_grace, i64(m->drain_grace_ms))));
}

static json_t *start_of(const struct runner_command *c)
{
	json_t *sockets = json_array();
	struct runner_walk w = runner_walk_of(c->sockets);
	struct runner_socket_id id;
	while (runner_socket_id_next(&w, &id)) {
		json_array_append_new(sockets, json_pack("{s:o, s:o}", "gatewayId", hex(slice_of(id.gateway, 4)),
							 "requestId", hex(slice_of(id.request, 4))));
	}
	return json_pack("{s:o, s:o}", "config",
			 json_pack("{s:o, s:o, s:o, s:o}", "name", text(c->name), "key",
				   optional(c->has_key, text(c->key)), "createTs", i64(c->create_ms), "input",
				   optional(c->has_input, hex(c->input))),
			 "hibernatingRequests", sockets);
}

static json_t *commands_of(struct runner_list list)
{
	json_t *array = json_array();
	struct runner_walk w = runner_walk_of(list);
	struct runner_command c;
	while (runner_command_next(&w, &c)) {
		json_t *val = c.kind == RUNNER_COMMAND_START ? start_of(&c) : json_null();
		json_array_append_new(array, json_pack("{s:o, s:o}", "checkpoint", checkpoint(&c.checkpoint), "inner",
						       member(command_names[c.kind], val)));
	}
	return array;
}

static json_t *kv_answer(const struct runner_kv_response *m)
{
	if (m->answer == RUNNER_KV_ANSWER_ERROR)
		return json_pack("{s:o}", "message", text(m->error));
	if (m->answer != RUNNER_KV_ANSWER_GET && m->answer != RUNNER_KV_ANSWER_LIST)
		return json_null();
	json_t *metadata = json_array();
	struct runner_walk w = runner_walk_of(m->metadata);
	struct runner_kv_metadata one;
	while (runner_kv_metadata_next(&w, &one)) {
		json_array_append_new(
		    metadata, json_pack("{s:o, s:o}", "version", hex(one.version), "updateTs", i64(one.update_ms)));
	}
	return json_pack("{s:o, s:o, s:o}", "keys", bytes_list(m->keys), "values", bytes_list(m->values), "metadata",
			 metadata);
}

static json_t *down_kind(const struct runner_tunnel_down *m)
{
	switch (m->kind) {
	case RUNNER_DOWN_REQUEST_START:
		return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b}", "actorId", text(m->request.actor_id), "method",
				 text(m->request.method), "path", text(m->request.path), "headers",
				 pairs(m->request.headers, false), "body",
				 optional(m->request.has_body, hex(m->request.body)), "stream", m->request.stream);
	case RUNNER_DOWN_REQUEST_CHUNK:
		return json_pack("{s:o, s:b}", "body", hex(m->chunk.body), "finish", m->chunk.finish);
	case RUNNER_DOWN_WS_OPEN:
		return json_pack("{s:o, s:o, s:o}", "actorId", text(m->open.actor_id), "path", text(m->open.path),
				 "headers", pairs(m->open.headers, false));
	case RUNNER_DOWN_WS_MESSAGE:
		return json_pack("{s:o, s:b}", "data", hex(m->message.data), "binary", m->message.binary);
	case RUNNER_DOWN_WS_CLOSE:
		return json_pack("{s:o, s:o}", "code", optional(m->close.has_code, json_integer(m->close.code)),
				 "reason", optional(m->close.has_reason, text(m->close.reason)));
	case RUNNER_DOWN_REQUEST_ABORT:
	case RUNNER_DOWN_KINDS:
		break;
	}
	return json_null();
}

static json_t *to_client(const struct runner_to_client *m)
{
	switch (m->tag) {
	case RUNNER_TO_CLIENT_INIT:
		return welcome_of(&m->init);
	case RUNNER_TO_CLIENT_COMMANDS:
		return commands_of(m->commands);
	case RUNNER_TO_CLIENT_ACK_EVENTS:
		return json_pack("{s:o}", "lastEventCheckpoints", checkpoints(m->events));
	case RUNNER_TO_CLIENT_KV_RESPONSE:
		return json_pack("{s:I, s:o}", "requestId", (json_int_t)m->kv.request_id, "data",
				 member(kv_answer_names[m->kv.answer], kv_answer(&m->kv)));
	case RUNNER_TO_CLIENT_TUNNEL:
		return json_pack("{s:o, s:o}", "messageId", message_id(&m->tunnel.id), "messageKind",
				 member(down_names[m->tunnel.kind], down_kind(&m->tunnel)));
	case RUNNER_TO_CLIENT_PING:
		return json_pack("{s:o}", "ts", i64(m->ping_ts));
	case RUNNER_TO_CLIENT_TAGS:
		break;
	}
	return json_null();
}

json_t *runner_json_of(bool is_to_server, struct slice frame, int *ret_outcome)
{
	if (is_to_server) {
		struct runner_to_server m;
		*ret_outcome = runner_to_server_decode(frame, &m);
		return *ret_outcome != 0 ? NULL : member(to_server_names[m.tag], to_server(&m));
	}
	struct runner_to_client m;
	*ret_outcome = runner_to_client_decode(frame, &m);
	return *ret_outcome != 0 ? NULL : member(to_client_names[m.tag], to_client(&m));
}
