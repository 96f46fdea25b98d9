/* Owns the requests that a runner which may have taken over another's key
 * leaves alone.
 *
 * Until the engine has closed the predecessor's connection, what it sends to
 * the runner reaches both (runner protocol v7, section 3.9). So a request for an
 * actor that was started before we were here, and has not run here yet, has come
 * to the predecessor as well, which may be answering it. It is given that long,
 * and then the request is aborted: the gateway ignores that where it has its
 * answer, and asks again where it has none. */
#include "engine/engine_tunnel_private.h"

static void on_over(void *arg)
{
	struct engine_tunnel *t = arg;
	struct runner_tunnel_up abort = {.kind = RUNNER_UP_RESPONSE_ABORT};
	for (struct slice left = buf_slice(&t->early); left.n > 0; left = slice_from(left, sizeof(abort.id))) {
		memcpy(&abort.id, left.p, sizeof(abort.id));
		t->stats.aborted++;
		engine_tunnel_reply(t, &abort);
	}
	buf_done(&t->early);
}

void engine_newcomer_init(struct engine_tunnel *t)
{
	timer_init(&t->newcomer, t->o.loop, on_over, t);
	buf_init(&t->early, LIMIT_TUNNEL_EARLY * sizeof(struct runner_message_id));
}

void engine_tunnel_newcomer(struct engine_tunnel *t)
{
	timer_arm(&t->newcomer, LIMIT_TUNNEL_NEWCOMER_MS);
}

bool engine_newcomer_leaves(struct engine_tunnel *t, const struct runner_tunnel_down *m)
{
	if (!timer_armed(&t->newcomer) || !t->o.ops->taken_over(t->o.arg, m->request.actor_id))
		return false;
	if (buf_reserve(&t->early, sizeof(m->id)) == NULL)
		return false;
	buf_add(&t->early, slice_of(&m->id, sizeof(m->id)));
	t->stats.requests++;
	return true;
}

void engine_newcomer_drop(struct engine_tunnel *t)
{
	timer_disarm(&t->newcomer);
	buf_done(&t->early);
}
