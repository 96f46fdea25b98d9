/* Answers to HTTP requests are kept until the engine has read them, and sent
 * again on the next connection when the last one broke before. A lost one would
 * leave its user waiting for five minutes; one that comes twice is ignored, as
 * its request is over by then (runner protocol v7, sections 4.3 and 6.6).
 * Messages of WebSockets would double, and what became of them is the tunnel's
 * to say (engine_farewell.c).
 *
 * Bounded by the window in number and by LIMIT_LINK_KEEP_BYTES; above that an
 * answer is not kept. */
#include "base/limits.h"
#include "engine/engine_link_private.h"

struct kept {
	struct list node;
	uint64_t at; /* as engine_link_sent */
	size_t n;
	uint8_t frame[];
};

static bool is_answer(struct slice frame)
{
	enum runner_up_kind kind = runner_up_kind_of(frame);
	return kind == RUNNER_UP_RESPONSE_START || kind == RUNNER_UP_RESPONSE_ABORT;
}

static void drop(struct engine_link *l, struct kept *k)
{
	l->kept_bytes -= k->n;
	list_remove(&k->node);
	mem_free(k);
}

void engine_link_keep(struct engine_link *l, struct slice frame)
{
	if (!is_answer(frame) || frame.n > LIMIT_LINK_KEEP_BYTES - l->kept_bytes)
		return;
	struct kept *k = mem_alloc(sizeof(*k) + frame.n);
	k->at = l->window.sent;
	k->n = frame.n;
	memcpy(k->frame, frame.p, frame.n);
	list_init(&k->node);
	list_push_back(&l->kept, &k->node);
	l->kept_bytes += frame.n;
}

void engine_link_keep_read(struct engine_link *l)
{
	while (!list_empty(&l->kept)) {
		struct kept *k = CONTAINER_OF(l->kept.next, struct kept, node);
		if (k->at > l->window.read)
			return;
		drop(l, k);
	}
}

void engine_link_keep_again(struct engine_link *l)
{
	struct list old;
	list_init(&old);
	list_move_all(&old, &l->kept);
	LIST_FOR (&old, node) {
		struct kept *k = CONTAINER_OF(node, struct kept, node);
		engine_link_say(l, slice_of(k->frame, k->n)); /* and is kept anew */
		drop(l, k);
	}
}

void engine_link_keep_none(struct engine_link *l)
{
	LIST_FOR (&l->kept, node)
		drop(l, CONTAINER_OF(node, struct kept, node));
}
