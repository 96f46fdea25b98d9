/* Runner protocol: messages of a runner to the engine, written and read. */
#include "codec/runner_inner.h"

/* Tags of the unions that struct runner_event flattens. */
enum { EVENT_INTENT, EVENT_STATE, EVENT_ALARM, EVENT_TAGS };
enum { INTENT_SLEEP, INTENT_STOP, INTENT_TAGS };
enum { STATE_RUNNING, STATE_STOPPED, STATE_TAGS };
enum { STOP_CODES = 2 };

/* ---- reading ---- */

static void read_init(struct bare_reader *r, struct runner_init *ret)
{
	ret->name = bare_str(r);
	ret->version = bare_u32(r);
	ret->total_slots = bare_u32(r);
	ret->has_actor_names = bare_bool(r);
	if (ret->has_actor_names)
		ret->actor_names = runner_pairs_read(r);
	ret->metadata = runner_optional_str_read(r, &ret->has_metadata);
}

static struct runner_event read_event(struct bare_reader *r)
{
	struct runner_event e = {.checkpoint = runner_checkpoint_read(r)};
	switch (bare_tag(r, EVENT_TAGS)) {
	case EVENT_INTENT:
		e.kind = bare_tag(r, INTENT_TAGS) == INTENT_SLEEP ? RUNNER_EVENT_SLEEP : RUNNER_EVENT_STOP;
		break;
	case EVENT_STATE:
		e.kind = bare_tag(r, STATE_TAGS) == STATE_RUNNING ? RUNNER_EVENT_RUNNING : RUNNER_EVENT_STOPPED;
		if (e.kind == RUNNER_EVENT_RUNNING)
			break;
		e.code = (enum runner_stop_code)bare_tag(r, STOP_CODES);
		e.message = runner_optional_str_read(r, &e.has_message);
		break;
	default:
		e.kind = RUNNER_EVENT_ALARM;
		e.alarm_wall_ms = runner_optional_i64_read(r, &e.has_alarm);
		break;
	}
	return e;
}

static void skip_event(struct bare_reader *r)
{
	read_event(r);
}

bool runner_event_next(struct runner_walk *w, struct runner_event *ret)
{
	if (w->left == 0)
		return false;
	w->left--;
	*ret = read_event(&w->r);
	CHECK(w->r.outcome == 0);
	return true;
}

static void read_kv_list(struct bare_reader *r, struct runner_kv_request *ret)
{
	ret->query = (enum runner_kv_query)bare_tag(r, RUNNER_KV_QUERIES);
	if (ret->query != RUNNER_KV_ALL)
		ret->start = bare_data(r);
	if (ret->query == RUNNER_KV_RANGE) {
		ret->end = bare_data(r);
		ret->exclusive = bare_bool(r);
	}
	ret->has_reverse = bare_bool(r);
	if (ret->has_reverse)
		ret->reverse = bare_bool(r);
	ret->has_limit = bare_bool(r);
	if (ret->has_limit)
		ret->limit = bare_u64(r);
}

static void read_kv_request(struct bare_reader *r, struct runner_kv_request *ret)
{
	ret->actor_id = bare_str(r);
	ret->request_id = bare_u32(r);
	ret->op = (enum runner_kv_op)bare_tag(r, RUNNER_KV_OPS);
	switch (ret->op) {
	case RUNNER_KV_GET:
	case RUNNER_KV_DELETE:
		ret->keys = runner_bytes_read(r);
		break;
	case RUNNER_KV_PUT:
		ret->keys = runner_bytes_read(r);
		ret->values = runner_bytes_read(r);
		break;
	case RUNNER_KV_LIST:
		read_kv_list(r, ret);
		break;
	case RUNNER_KV_DELETE_RANGE:
		ret->start = bare_data(r);
		ret->end = bare_data(r);
		break;
	case RUNNER_KV_DROP:
	case RUNNER_KV_OPS:
		break;
	}
}

enum runner_up_kind runner_up_kind_of(struct slice frame)
{
	size_t at = 1 + 4 + 4 + 2; /* behind the tag and the message id */
	if (frame.n <= at || frame.p[0] != RUNNER_TO_SERVER_TUNNEL || frame.p[at] >= RUNNER_UP_KINDS)
		return RUNNER_UP_KINDS;
	return (enum runner_up_kind)frame.p[at];
}

static void read_tunnel(struct bare_reader *r, struct runner_tunnel_up *ret)
{
	ret->id = runner_message_id_read(r);
	ret->kind = (enum runner_up_kind)bare_tag(r, RUNNER_UP_KINDS);
	switch (ret->kind) {
	case RUNNER_UP_RESPONSE_START:
		ret->response.status = bare_u16(r);
		ret->response.headers = runner_pairs_read(r);
		ret->response.body = runner_optional_data_read(r, &ret->response.has_body);
		ret->response.stream = bare_bool(r);
		break;
	case RUNNER_UP_RESPONSE_CHUNK:
		ret->chunk.body = bare_data(r);
		ret->chunk.finish = bare_bool(r);
		break;
	case RUNNER_UP_WS_OPEN:
		ret->can_hibernate = bare_bool(r);
		break;
	case RUNNER_UP_WS_MESSAGE:
		ret->message.data = bare_data(r);
		ret->message.binary = bare_bool(r);
		break;
	case RUNNER_UP_WS_ACK:
		ret->ack_index = bare_u16(r);
		break;
	case RUNNER_UP_WS_CLOSE:
		ret->close.code = runner_optional_u16_read(r, &ret->close.has_code);
		ret->close.reason = runner_optional_str_read(r, &ret->close.has_reason);
		ret->close.hibernate = bare_bool(r);
		break;
	case RUNNER_UP_RESPONSE_ABORT:
	case RUNNER_UP_KINDS:
		break;
	}
}

int runner_to_server_decode(struct slice frame, struct runner_to_server *ret)
{
	struct bare_reader r = bare_reader_of(frame);
	*ret = (struct runner_to_server){.tag = (enum runner_to_server_tag)bare_tag(&r, RUNNER_TO_SERVER_TAGS)};
	switch (ret->tag) {
	case RUNNER_TO_SERVER_INIT:
		read_init(&r, &ret->init);
		break;
	case RUNNER_TO_SERVER_EVENTS:
		/* Checkpoint, tag, inner tag or optional. */
		ret->events = runner_list_read(&r, 13 + 1 + 1, skip_event);
		break;
	case RUNNER_TO_SERVER_ACK_COMMANDS:
		ret->commands = runner_checkpoints_read(&r);
		break;
	case RUNNER_TO_SERVER_PONG:
		ret->pong_ts = bare_i64(&r);
		break;
	case RUNNER_TO_SERVER_KV_REQUEST:
		read_kv_request(&r, &ret->kv);
		break;
	case RUNNER_TO_SERVER_TUNNEL:
		read_tunnel(&r, &ret->tunnel);
		break;
	case RUNNER_TO_SERVER_STOPPING:
	case RUNNER_TO_SERVER_TAGS:
		break;
	}
	return r.outcome;
}

/* ---- writing ---- */

static void write_init(struct bare_writer *w, const struct runner_init *m)
{
	bare_put_str(w, m->name);
	bare_put_u32(w, m->version);
	bare_put_u32(w, m->total_slots);
	bare_put_bool(w, m->has_actor_names);
	if (m->has_actor_names)
		runner_list_write(w, m->actor_names);
	runner_optional_str_write(w, m->has_metadata, m->metadata);
}

int runner_event_put(struct buf *elements, const struct runner_event *e)
{
	struct bare_writer w = bare_start(elements);
	runner_checkpoint_write(&w, &e->checkpoint);
	switch (e->kind) {
	case RUNNER_EVENT_SLEEP:
	case RUNNER_EVENT_STOP:
		bare_put_u8(&w, EVENT_INTENT);
		bare_put_u8(&w, e->kind == RUNNER_EVENT_SLEEP ? INTENT_SLEEP : INTENT_STOP);
		break;
	case RUNNER_EVENT_RUNNING:
		bare_put_u8(&w, EVENT_STATE);
		bare_put_u8(&w, STATE_RUNNING);
		break;
	case RUNNER_EVENT_STOPPED:
		bare_put_u8(&w, EVENT_STATE);
		bare_put_u8(&w, STATE_STOPPED);
		bare_put_u8(&w, (uint8_t)e->code);
		runner_optional_str_write(&w, e->has_message, e->message);
		break;
	case RUNNER_EVENT_ALARM:
		bare_put_u8(&w, EVENT_ALARM);
		runner_optional_i64_write(&w, e->has_alarm, e->alarm_wall_ms);
		break;
	}
	return bare_end(&w);
}

static void write_kv_list(struct bare_writer *w, const struct runner_kv_request *m)
{
	bare_put_u8(w, (uint8_t)m->query);
	if (m->query != RUNNER_KV_ALL)
		bare_put_data(w, m->start);
	if (m->query == RUNNER_KV_RANGE) {
		bare_put_data(w, m->end);
		bare_put_bool(w, m->exclusive);
	}
	bare_put_bool(w, m->has_reverse);
	if (m->has_reverse)
		bare_put_bool(w, m->reverse);
	bare_put_bool(w, m->has_limit);
	if (m->has_limit)
		bare_put_u64(w, m->limit);
}

static void write_kv_request(struct bare_writer *w, const struct runner_kv_request *m)
{
	bare_put_str(w, m->actor_id);
	bare_put_u32(w, m->request_id);
	bare_put_u8(w, (uint8_t)m->op);
	switch (m->op) {
	case RUNNER_KV_GET:
	case RUNNER_KV_DELETE:
		runner_list_write(w, m->keys);
		break;
	case RUNNER_KV_PUT:
		runner_list_write(w, m->keys);
		runner_list_write(w, m->values);
		break;
	case RUNNER_KV_LIST:
		write_kv_list(w, m);
		break;
	case RUNNER_KV_DELETE_RANGE:
		bare_put_data(w, m->start);
		bare_put_data(w, m->end);
		break;
	case RUNNER_KV_DROP:
		break;
	case RUNNER_KV_OPS:
		IMPOSSIBLE("kv op");
	}
}

static void write_tunnel(struct bare_writer *w, const struct runner_tunnel_up *m)
{
	runner_message_id_write(w, &m->id);
	bare_put_u8(w, (uint8_t)m->kind);
	switch (m->kind) {
	case RUNNER_UP_RESPONSE_START:
		bare_put_u16(w, m->response.status);
		runner_list_write(w, m->response.headers);
		runner_optional_data_write(w, m->response.has_body, m->response.body);
		bare_put_bool(w, m->response.stream);
		break;
	case RUNNER_UP_RESPONSE_CHUNK:
		bare_put_data(w, m->chunk.body);
		bare_put_bool(w, m->chunk.finish);
		break;
	case RUNNER_UP_RESPONSE_ABORT:
		break;
	case RUNNER_UP_WS_OPEN:
		bare_put_bool(w, m->can_hibernate);
		break;
	case RUNNER_UP_WS_MESSAGE:
		bare_put_data(w, m->message.data);
		bare_put_bool(w, m->message.binary);
		break;
	case RUNNER_UP_WS_ACK:
		bare_put_u16(w, m->ack_index);
		break;
	case RUNNER_UP_WS_CLOSE:
		runner_optional_u16_write(w, m->close.has_code, m->close.code);
		runner_optional_str_write(w, m->close.has_reason, m->close.reason);
		bare_put_bool(w, m->close.hibernate);
		break;
	case RUNNER_UP_KINDS:
		IMPOSSIBLE("tunnel message");
	}
}

int runner_to_server_put(struct buf *out, const struct runner_to_server *m)
{
	struct bare_writer w = bare_start(out);
	bare_put_u8(&w, (uint8_t)m->tag);
	switch (m->tag) {
	case RUNNER_TO_SERVER_INIT:
		write_init(&w, &m->init);
		break;
	case RUNNER_TO_SERVER_EVENTS:
		runner_list_write(&w, m->events);
		break;
	case RUNNER_TO_SERVER_ACK_COMMANDS:
		runner_list_write(&w, m->commands);
		break;
	case RUNNER_TO_SERVER_STOPPING:
		break;
	case RUNNER_TO_SERVER_PONG:
		bare_put_i64(&w, m->pong_ts);
		break;
	case RUNNER_TO_SERVER_KV_REQUEST:
		write_kv_request(&w, &m->kv);
		break;
	case RUNNER_TO_SERVER_TUNNEL:
		write_tunnel(&w, &m->tunnel);
		break;
	case RUNNER_TO_SERVER_TAGS:
		IMPOSSIBLE("message to the engine");
	}
	return bare_end(&w);
}
