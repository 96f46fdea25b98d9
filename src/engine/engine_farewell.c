/* Closes of WebSockets that a broken connection may have lost.
 *
 * A client whose close is lost waits for ever, since the engine hears nothing
 * of it and its worker is gone. So a close is kept until the engine has read it,
 * and said again on the next connection when the last one broke before; one that
 * comes twice is ignored. When messages before it may be lost too the client is
 * told so instead: it must not take what it has for everything.
 *
 * A close that asks the engine to send again (section 7.5) is not kept: it is
 * asked after each break anyway. Bounded by what the link lets be unread. */
#include "base/limits.h"
#include "codec/ws_frame.h"
#include "engine/engine_tunnel_private.h"

#define FAREWELLS_MAX ((size_t)4 * LIMIT_LINK_WINDOW)

struct engine_farewell {
	struct list node;
	uint64_t at, said_at; /* frames that had gone with it, with the last message before it */
	size_t n;
	uint8_t frame[];
};

static void drop(struct engine_tunnel *t, struct engine_farewell *w)
{
	list_remove(&w->node);
	t->n_farewells--;
	mem_free(w);
}

static struct engine_farewell *oldest(struct engine_tunnel *t)
{
	return list_empty(&t->farewells) ? NULL : CONTAINER_OF(t->farewells.next, struct engine_farewell, node);
}

void engine_farewell_note(struct engine_tunnel *t, struct slice frame, uint64_t said_at)
{
	uint64_t sent, read;
	CHECK(frame.n > 0);
	if (frame.p[frame.n - 1] != 0)
		return; /* hibernate, the last field */
	t->o.ops->gone(t->o.arg, &sent, &read);
	for (struct engine_farewell *w; (w = oldest(t)) != NULL;) {
		if (w->at > read && t->n_farewells < FAREWELLS_MAX)
			break;
		drop(t, w);
	}
	struct engine_farewell *w = mem_alloc(sizeof(*w) + frame.n);
	w->at = sent;
	w->said_at = said_at;
	w->n = frame.n;
	memcpy(w->frame, frame.p, frame.n);
	list_init(&w->node);
	list_push_back(&t->farewells, &w->node);
	t->n_farewells++;
}

static void say_lost(struct engine_tunnel *t, const struct engine_farewell *w)
{
	struct runner_to_server m;
	CHECK(runner_to_server_decode(slice_of(w->frame, w->n), &m) == 0);
	struct runner_tunnel_up close = {.id = m.tunnel.id, .kind = RUNNER_UP_WS_CLOSE};
	close.close.has_code = close.close.has_reason = true;
	close.close.code = WS_CLOSE_ERROR;
	close.close.reason = SLICE_LIT("runner.message_lost");
	engine_tunnel_reply(t, &close);
}

void engine_farewell_again(struct engine_tunnel *t, uint64_t unsure_from)
{
	struct list old;
	list_init(&old);
	list_move_all(&old, &t->farewells);
	LIST_FOR (&old, node) {
		struct engine_farewell *w = CONTAINER_OF(node, struct engine_farewell, node);
		if (w->at > unsure_from && w->said_at > unsure_from)
			say_lost(t, w);
		else if (w->at > unsure_from)
			engine_tunnel_reply_frame(t, slice_of(w->frame, w->n));
		drop(t, w);
	}
}

void engine_farewell_drop(struct engine_tunnel *t)
{
	for (struct engine_farewell *w; (w = oldest(t)) != NULL;)
		drop(t, w);
}
