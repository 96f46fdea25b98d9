/* Owns the table of what is under way through the tunnel and what waits for
 * the link.
 *
 * Happy path: a message finds its flow by gateway and request id, or begins
 * one; flows send their answers themselves. When the link is full or away,
 * frames wait in their flows, and are sent in turns when it is back.
 *
 * Failure paths: messages of flows that are no more are dropped, as the engine
 * drops ours; what a break of the link may have lost is said again, or its client
 * is told; another runner id (reset) drops everything. */
#include "engine/engine_tunnel_private.h"

#include "codec/ws_frame.h"

#define TUNNEL_MAGIC 0x74756e6eu
#define FRAME_MAX (LIMIT_ENGINE_BODY_BYTES + 2 * LIMIT_HTTP_HEAD_BYTES)

static struct engine_flow *flow_of(struct map_node *node)
{
	return CONTAINER_OF(node, struct engine_flow, by_pair);
}

struct engine_flow *engine_tunnel_find(const struct engine_tunnel *t, const struct runner_message_id *id)
{
	uint8_t pair[ENGINE_PAIR_BYTES];
	memcpy(pair, id->gateway, sizeof(id->gateway));
	memcpy(pair + sizeof(id->gateway), id->request, sizeof(id->request));
	struct map_node *node = map_get(&t->by_pair, slice_of(pair, sizeof(pair)));
	return node == NULL ? NULL : flow_of(node);
}

static void drop(struct engine_flow *f)
{
	switch (f->kind) {
	case ENGINE_FLOW_REQUEST:
		engine_request_drop(f);
		return;
	case ENGINE_FLOW_SOCKET:
		engine_socket_drop(f);
		return;
	case ENGINE_FLOW_SLEEPER:
		engine_sleeper_drop(f);
		return;
	}
	IMPOSSIBLE("engine_flow_kind");
}

struct log_actor engine_tunnel_who(const struct engine_tunnel *t, const char *actor_id)
{
	return t->o.ops->who(t->o.arg, actor_id);
}

/* ---- towards the engine ---- */

int engine_tunnel_pass(struct engine_tunnel *t, struct slice frame, uint64_t *said_at)
{
	uint64_t sent, read;
	int r = t->o.ops->send(t->o.arg, frame);
	if (r != 0)
		return r;
	enum runner_up_kind kind = runner_up_kind_of(frame);
	if (kind == RUNNER_UP_WS_MESSAGE) {
		t->o.ops->gone(t->o.arg, &sent, &read);
		*said_at = sent;
	} else if (kind == RUNNER_UP_WS_CLOSE) {
		engine_farewell_note(t, frame, *said_at);
	}
	return 0;
}

void engine_tunnel_reply(struct engine_tunnel *t, struct runner_tunnel_up *m)
{
	struct runner_to_server up = {.tag = RUNNER_TO_SERVER_TUNNEL};
	m->id.index = 0; /* of our own numbering */
	up.tunnel = *m;
	buf_reset(&t->scratch);
	CHECK(runner_to_server_put(&t->scratch, &up) == 0);
	engine_tunnel_reply_frame(t, buf_slice(&t->scratch));
}

void engine_tunnel_reply_frame(struct engine_tunnel *t, struct slice frame)
{
	uint64_t said_at = 0;
	if (buf_len(&t->replies) == 0 && engine_tunnel_pass(t, frame, &said_at) == 0)
		return;
	uint32_t n = (uint32_t)frame.n;
	if (buf_len(&t->replies) + sizeof(n) + n > LIMIT_TUNNEL_REPLY_BYTES)
		return; /* the gateway asks again by itself */
	buf_add(&t->replies, slice_of(&n, sizeof(n)));
	buf_add(&t->replies, frame);
}

static bool flush_replies(struct engine_tunnel *t)
{
	while (buf_len(&t->replies) > 0) {
		uint32_t n;
		uint64_t said_at = 0;
		struct slice kept = buf_slice(&t->replies);
		CHECK(kept.p != NULL && kept.n > sizeof(n));
		memcpy(&n, kept.p, sizeof(n));
		if (engine_tunnel_pass(t, slice_head(slice_from(kept, sizeof(n)), n), &said_at) != 0)
			return false;
		buf_drop(&t->replies, sizeof(n) + n);
	}
	return true;
}

static void flushed(struct engine_flow *f)
{
	switch (f->kind) {
	case ENGINE_FLOW_REQUEST:
		engine_request_flushed(f);
		return;
	case ENGINE_FLOW_SOCKET:
		engine_socket_flushed(f);
		return;
	case ENGINE_FLOW_SLEEPER:
		engine_sleeper_flushed(f);
		return;
	}
	IMPOSSIBLE("engine_flow_kind");
}

void engine_tunnel_room(struct engine_tunnel *t)
{
	if (!flush_replies(t))
		return;
	for (struct list *node; (node = list_pop(&t->pending)) != NULL;) {
		struct engine_flow *f = CONTAINER_OF(node, struct engine_flow, pending);
		if (engine_flow_flush_one(f) != 0) {
			list_push_front(&t->pending, &f->pending);
			return;
		}
		if (engine_flow_sent(f))
			flushed(f);
		else
			list_push_back(&t->pending, &f->pending);
	}
}

void engine_tunnel_online(struct engine_tunnel *t, uint64_t unsure_from)
{
	t->online_mono_ms = loop_mono_ms(t->o.loop);
	engine_farewell_again(t, unsure_from);
	LIST_FOR (&t->flows, node) {
		struct engine_flow *f = CONTAINER_OF(node, struct engine_flow, all);
		if (f->kind == ENGINE_FLOW_SOCKET)
			engine_socket_online(f, unsure_from);
		else if (f->kind == ENGINE_FLOW_SLEEPER)
			engine_sleeper_unsure(f, unsure_from);
	}
	engine_tunnel_room(t);
	LIST_FOR (&t->flows, node) {
		struct engine_flow *f = CONTAINER_OF(node, struct engine_flow, all);
		if (f->kind == ENGINE_FLOW_SLEEPER)
			engine_sleeper_online(f);
	}
}

/* ---- from the engine ---- */

static void on_request_start(struct engine_tunnel *t, struct engine_flow *f, const struct runner_tunnel_down *m)
{
	if (f != NULL && f->kind == ENGINE_FLOW_REQUEST && slice_is(m->request.actor_id, f->actor->id)) {
		t->stats.joined++; /* one answer, under the same ids, is the answer to every attempt */
		return;
	}
	if (f == NULL && engine_newcomer_leaves(t, m))
		return;
	if (f != NULL)
		drop(f);
	engine_request_start(t, m);
}

static void on_socket_open(struct engine_tunnel *t, struct engine_flow *f, const struct runner_tunnel_down *m)
{
	bool known = f != NULL && f->kind != ENGINE_FLOW_REQUEST && slice_is(m->open.actor_id, f->actor->id);
	if (known && f->kind == ENGINE_FLOW_SLEEPER) {
		engine_sleeper_again(f, m->id.index);
		return;
	}
	if (known && engine_socket_again(f, m->id.index))
		return;
	if (f == NULL && engine_newcomer_leaves(t, m))
		return;
	if (f != NULL)
		drop(f);
	engine_socket_start(t, m);
}

static void on_socket_message(struct engine_flow *f, const struct runner_tunnel_down *m)
{
	if (f->kind == ENGINE_FLOW_SLEEPER)
		engine_sleeper_message(f, m->id.index, m->message.binary, m->message.data);
	else
		engine_socket_message(f, m->id.index, m->message.binary, m->message.data);
}

static void on_socket_close(struct engine_flow *f, const struct runner_tunnel_down *m)
{
	unsigned code = m->close.has_code ? m->close.code : WS_CLOSE_NONE;
	struct slice reason = m->close.has_reason ? m->close.reason : SLICE_NONE;
	if (f->kind == ENGINE_FLOW_SLEEPER)
		engine_sleeper_closed(f, code, reason);
	else
		engine_socket_closed(f, code, reason);
}

void engine_tunnel_message(struct engine_tunnel *t, const struct runner_tunnel_down *m)
{
	struct engine_flow *f = engine_tunnel_find(t, &m->id);
	struct engine_flow *request = f != NULL && f->kind == ENGINE_FLOW_REQUEST ? f : NULL;
	struct engine_flow *socket = f != NULL && f->kind != ENGINE_FLOW_REQUEST ? f : NULL;
	CHECK(t->magic == TUNNEL_MAGIC);
	switch (m->kind) {
	case RUNNER_DOWN_REQUEST_START:
		on_request_start(t, f, m);
		break;
	case RUNNER_DOWN_REQUEST_CHUNK:
		if (request != NULL)
			engine_request_chunk(request, m->chunk.body, m->chunk.finish);
		break;
	case RUNNER_DOWN_REQUEST_ABORT:
		if (request != NULL)
			engine_request_drop(request);
		break;
	case RUNNER_DOWN_WS_OPEN:
		on_socket_open(t, f, m);
		break;
	case RUNNER_DOWN_WS_MESSAGE:
		if (socket != NULL)
			on_socket_message(socket, m);
		else if (f == NULL && !list_empty(&t->restores))
			t->missed = true;
		break;
	case RUNNER_DOWN_WS_CLOSE:
		if (socket != NULL)
			on_socket_close(socket, m);
		break;
	case RUNNER_DOWN_KINDS:
		break;
	}
}

void engine_tunnel_started(struct engine_tunnel *t, const char *actor_id, struct runner_list sockets)
{
	engine_restore_begin(t, actor_id, sockets);
}

void engine_tunnel_running(struct engine_tunnel *t, const char *actor_id)
{
	engine_restore_running(t, actor_id);
	struct map_node *node = map_get(&t->actors, slice_str(actor_id));
	if (node != NULL)
		engine_sleeper_running(CONTAINER_OF(node, struct engine_tunnel_actor, by_id));
}

/* ---- life ---- */

void engine_tunnel_reset(struct engine_tunnel *t)
{
	LIST_FOR (&t->flows, node)
		drop(CONTAINER_OF(node, struct engine_flow, all));
	engine_restore_drop(t);
	engine_farewell_drop(t);
	engine_newcomer_drop(t);
	buf_reset(&t->replies);
	CHECK(t->bytes == 0 && list_empty(&t->pending));
}

struct engine_tunnel *engine_tunnel_new(const struct engine_tunnel_options *o)
{
	struct engine_tunnel *t = mem_zalloc(sizeof(*t));
	t->magic = TUNNEL_MAGIC;
	t->o = *o;
	engine_newcomer_init(t);
	map_init(&t->by_pair, LIMIT_TUNNEL_FLOWS);
	map_init(&t->actors, LIMIT_TUNNEL_FLOWS);
	list_init(&t->flows);
	list_init(&t->pending);
	list_init(&t->farewells);
	list_init(&t->restores);
	buf_init(&t->replies, LIMIT_TUNNEL_REPLY_BYTES);
	buf_init(&t->scratch, FRAME_MAX);
	return t;
}

void engine_tunnel_free(struct engine_tunnel *t)
{
	CHECK(list_empty(&t->flows) && list_empty(&t->restores));
	map_done(&t->by_pair);
	map_done(&t->actors);
	buf_done(&t->replies);
	buf_done(&t->scratch);
	t->magic = 0;
	mem_free(t);
}

void engine_tunnel_stats(const struct engine_tunnel *t, struct engine_tunnel_stats *ret)
{
	*ret = t->stats;
	ret->bytes = t->bytes;
}
