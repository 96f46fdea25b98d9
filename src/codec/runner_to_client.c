/* Runner protocol: messages of the engine to a runner, read, and written for those who play the engine. */
#include "codec/runner_inner.h"

/* ---- reading ---- */

static void read_init(struct bare_reader *r, struct runner_welcome *ret)
{
	ret->runner_id = bare_str(r);
	ret->lost_threshold_ms = bare_i64(r);
	ret->stop_threshold_ms = bare_i64(r);
	ret->drain_grace_ms = runner_optional_i64_read(r, &ret->has_drain_grace);
}

static struct runner_command read_command(struct bare_reader *r)
{
	struct runner_command c = {.checkpoint = runner_checkpoint_read(r)};
	c.kind = (enum runner_command_kind)bare_tag(r, RUNNER_COMMAND_KINDS);
	if (c.kind != RUNNER_COMMAND_START)
		return c;
	c.name = bare_str(r);
	c.key = runner_optional_str_read(r, &c.has_key);
	c.create_ms = bare_i64(r);
	c.input = runner_optional_data_read(r, &c.has_input);
	c.sockets = runner_socket_ids_read(r);
	return c;
}

static void skip_command(struct bare_reader *r)
{
	read_command(r);
}

bool runner_command_next(struct runner_walk *w, struct runner_command *ret)
{
	if (w->left == 0)
		return false;
	w->left--;
	*ret = read_command(&w->r);
	CHECK(w->r.outcome == 0);
	return true;
}

static void read_kv_response(struct bare_reader *r, struct runner_kv_response *ret)
{
	ret->request_id = bare_u32(r);
	ret->answer = (enum runner_kv_answer)bare_tag(r, RUNNER_KV_ANSWERS);
	switch (ret->answer) {
	case RUNNER_KV_ANSWER_ERROR:
		ret->error = bare_str(r);
		break;
	case RUNNER_KV_ANSWER_GET:
	case RUNNER_KV_ANSWER_LIST:
		ret->keys = runner_bytes_read(r);
		ret->values = runner_bytes_read(r);
		ret->metadata = runner_kv_metadata_read(r);
		break;
	case RUNNER_KV_ANSWER_PUT:
	case RUNNER_KV_ANSWER_DELETE:
	case RUNNER_KV_ANSWER_DROP:
	case RUNNER_KV_ANSWERS:
		break;
	}
}

static void read_tunnel(struct bare_reader *r, struct runner_tunnel_down *ret)
{
	ret->id = runner_message_id_read(r);
	ret->kind = (enum runner_down_kind)bare_tag(r, RUNNER_DOWN_KINDS);
	switch (ret->kind) {
	case RUNNER_DOWN_REQUEST_START:
		ret->request.actor_id = bare_str(r);
		ret->request.method = bare_str(r);
		ret->request.path = bare_str(r);
		ret->request.headers = runner_pairs_read(r);
		ret->request.body = runner_optional_data_read(r, &ret->request.has_body);
		ret->request.stream = bare_bool(r);
		break;
	case RUNNER_DOWN_REQUEST_CHUNK:
		ret->chunk.body = bare_data(r);
		ret->chunk.finish = bare_bool(r);
		break;
	case RUNNER_DOWN_WS_OPEN:
		ret->open.actor_id = bare_str(r);
		ret->open.path = bare_str(r);
		ret->open.headers = runner_pairs_read(r);
		break;
	case RUNNER_DOWN_WS_MESSAGE:
		ret->message.data = bare_data(r);
		ret->message.binary = bare_bool(r);
		break;
	case RUNNER_DOWN_WS_CLOSE:
		ret->close.code = runner_optional_u16_read(r, &ret->close.has_code);
		ret->close.reason = runner_optional_str_read(r, &ret->close.has_reason);
		break;
	case RUNNER_DOWN_REQUEST_ABORT:
	case RUNNER_DOWN_KINDS:
		break;
	}
}

int runner_to_client_decode(struct slice frame, struct runner_to_client *ret)
{
	struct bare_reader r = bare_reader_of(frame);
	*ret = (struct runner_to_client){.tag = (enum runner_to_client_tag)bare_tag(&r, RUNNER_TO_CLIENT_TAGS)};
	switch (ret->tag) {
	case RUNNER_TO_CLIENT_INIT:
		read_init(&r, &ret->init);
		break;
	case RUNNER_TO_CLIENT_COMMANDS:
		/* Checkpoint and tag. */
		ret->commands = runner_list_read(&r, 13 + 1, skip_command);
		break;
	case RUNNER_TO_CLIENT_ACK_EVENTS:
		ret->events = runner_checkpoints_read(&r);
		break;
	case RUNNER_TO_CLIENT_KV_RESPONSE:
		read_kv_response(&r, &ret->kv);
		break;
	case RUNNER_TO_CLIENT_TUNNEL:
		read_tunnel(&r, &ret->tunnel);
		break;
	case RUNNER_TO_CLIENT_PING:
		ret->ping_ts = bare_i64(&r);
		break;
	case RUNNER_TO_CLIENT_TAGS:
		break;
	}
	return r.outcome;
}

/* ---- writing ---- */

static void write_init(struct bare_writer *w, const struct runner_welcome *m)
{
	bare_put_str(w, m->runner_id);
	bare_put_i64(w, m->lost_threshold_ms);
	bare_put_i64(w, m->stop_threshold_ms);
	runner_optional_i64_write(w, m->has_drain_grace, m->drain_grace_ms);
}

int runner_command_put(struct buf *elements, const struct runner_command *c)
{
	struct bare_writer w = bare_start(elements);
	runner_checkpoint_write(&w, &c->checkpoint);
	bare_put_u8(&w, (uint8_t)c->kind);
	if (c->kind == RUNNER_COMMAND_START) {
		bare_put_str(&w, c->name);
		runner_optional_str_write(&w, c->has_key, c->key);
		bare_put_i64(&w, c->create_ms);
		runner_optional_data_write(&w, c->has_input, c->input);
		runner_list_write(&w, c->sockets);
	}
	return bare_end(&w);
}

static void write_kv_response(struct bare_writer *w, const struct runner_kv_response *m)
{
	bare_put_u32(w, m->request_id);
	bare_put_u8(w, (uint8_t)m->answer);
	switch (m->answer) {
	case RUNNER_KV_ANSWER_ERROR:
		bare_put_str(w, m->error);
		break;
	case RUNNER_KV_ANSWER_GET:
	case RUNNER_KV_ANSWER_LIST:
		runner_list_write(w, m->keys);
		runner_list_write(w, m->values);
		runner_list_write(w, m->metadata);
		break;
	case RUNNER_KV_ANSWER_PUT:
	case RUNNER_KV_ANSWER_DELETE:
	case RUNNER_KV_ANSWER_DROP:
		break;
	case RUNNER_KV_ANSWERS:
		IMPOSSIBLE("kv answer");
	}
}

static void write_tunnel(struct bare_writer *w, const struct runner_tunnel_down *m)
{
	runner_message_id_write(w, &m->id);
	bare_put_u8(w, (uint8_t)m->kind);
	switch (m->kind) {
	case RUNNER_DOWN_REQUEST_START:
		bare_put_str(w, m->request.actor_id);
		bare_put_str(w, m->request.method);
		bare_put_str(w, m->request.path);
		runner_list_write(w, m->request.headers);
		runner_optional_data_write(w, m->request.has_body, m->request.body);
		bare_put_bool(w, m->request.stream);
		break;
	case RUNNER_DOWN_REQUEST_CHUNK:
		bare_put_data(w, m->chunk.body);
		bare_put_bool(w, m->chunk.finish);
		break;
	case RUNNER_DOWN_REQUEST_ABORT:
		break;
	case RUNNER_DOWN_WS_OPEN:
		bare_put_str(w, m->open.actor_id);
		bare_put_str(w, m->open.path);
		runner_list_write(w, m->open.headers);
		break;
	case RUNNER_DOWN_WS_MESSAGE:
		bare_put_data(w, m->message.data);
		bare_put_bool(w, m->message.binary);
		break;
	case RUNNER_DOWN_WS_CLOSE:
		runner_optional_u16_write(w, m->close.has_code, m->close.code);
		runner_optional_str_write(w, m->close.has_reason, m->close.reason);
		break;
	case RUNNER_DOWN_KINDS:
		IMPOSSIBLE("tunnel message");
	}
}

int runner_to_client_put(struct buf *out, const struct runner_to_client *m)
{
	struct bare_writer w = bare_start(out);
	bare_put_u8(&w, (uint8_t)m->tag);
	switch (m->tag) {
	case RUNNER_TO_CLIENT_INIT:
		write_init(&w, &m->init);
		break;
	case RUNNER_TO_CLIENT_COMMANDS:
		runner_list_write(&w, m->commands);
		break;
	case RUNNER_TO_CLIENT_ACK_EVENTS:
		runner_list_write(&w, m->events);
		break;
	case RUNNER_TO_CLIENT_KV_RESPONSE:
		write_kv_response(&w, &m->kv);
		break;
	case RUNNER_TO_CLIENT_TUNNEL:
		write_tunnel(&w, &m->tunnel);
		break;
	case RUNNER_TO_CLIENT_PING:
		bare_put_i64(&w, m->ping_ts);
		break;
	case RUNNER_TO_CLIENT_TAGS:
		IMPOSSIBLE("message to a runner");
	}
	return bare_end(&w);
}
