/* Owns the requests and WebSockets that a runner which may have taken over
 * another's key leaves alone.
 *
 * Until the engine has closed the predecessor's connection, what it sends to
 * the runner reaches both (runner protocol v7, section 3.9). So a request for an
 * actor that was started before we were here, and has not run here yet, has come
 * to the predecessor as well, which may be answering it. It is given that long,
 * and then the request is aborted: the gateway ignores that where it has its
 * answer, and asks again where it has none.
 *
 * A WebSocket's open is closed then, in the one way that is right whatever the
 * predecessor did: where it said nothing the gateway asks again; where it had
 * accepted, its client is told to come back, or, if that one hibernates, stays
 * and is attached anew. */
#include "engine/engine_tunnel_private.h"

#include "codec/ws_frame.h"

struct early {
	struct runner_message_id id;
	bool socket;
};

static bool same_pair(const struct runner_message_id *a, const struct runner_message_id *b)
{
	return memcmp(a->gateway, b->gateway, sizeof(a->gateway)) == 0 &&
	       memcmp(a->request, b->request, sizeof(a->request)) == 0;
}

static void give_back(struct engine_tunnel *t, const struct early *e)
{
	struct runner_tunnel_up m = {.id = e->id, .kind = RUNNER_UP_RESPONSE_ABORT};
	if (engine_tunnel_find(t, &e->id) != NULL)
		return; /* it was sent again meanwhile, and taken */
	if (e->socket) {
		m.kind = RUNNER_UP_WS_CLOSE;
		m.close.has_code = m.close.has_reason = true;
		m.close.code = WS_CLOSE_RESTART;
		m.close.reason = SLICE_LIT("actor.moved");
		m.close.hibernate = true;
	}
	t->stats.aborted++;
	engine_tunnel_reply(t, &m);
}

static void on_over(void *arg)
{
	struct engine_tunnel *t = arg;
	struct early e;
	for (struct slice left = buf_slice(&t->early); left.n > 0; left = slice_from(left, sizeof(e))) {
		memcpy(&e, left.p, sizeof(e));
		give_back(t, &e);
	}
	buf_done(&t->early);
}

void engine_newcomer_init(struct engine_tunnel *t)
{
	timer_init(&t->newcomer, t->o.loop, on_over, t);
	buf_init(&t->early, LIMIT_TUNNEL_EARLY * sizeof(struct early));
}

void engine_tunnel_newcomer(struct engine_tunnel *t)
{
	timer_arm(&t->newcomer, LIMIT_TUNNEL_NEWCOMER_MS);
}

static bool is_left(const struct engine_tunnel *t, const struct runner_message_id *id)
{
	struct early e;
	for (struct slice left = buf_slice(&t->early); left.n > 0; left = slice_from(left, sizeof(e))) {
		memcpy(&e, left.p, sizeof(e));
		if (same_pair(&e.id, id))
			return true;
	}
	return false;
}

bool engine_newcomer_leaves(struct engine_tunnel *t, const struct runner_tunnel_down *m)
{
	const struct early e = {.id = m->id, .socket = m->kind == RUNNER_DOWN_WS_OPEN};
	struct slice actor_id = e.socket ? m->open.actor_id : m->request.actor_id;
	if (!timer_armed(&t->newcomer) || !t->o.ops->taken_over(t->o.arg, actor_id))
		return false;
	if (is_left(t, &m->id))
		return true;
	if (buf_reserve(&t->early, sizeof(e)) == NULL)
		return false;
	buf_add(&t->early, slice_of(&e, sizeof(e)));
	if (e.socket)
		t->stats.websockets++;
	else
		t->stats.requests++;
	return true;
}

void engine_newcomer_drop(struct engine_tunnel *t)
{
	timer_disarm(&t->newcomer);
	buf_done(&t->early);
}
