/* Hibernating WebSockets of an actor that starts here, found again (runner
 * protocol v7, section 7.6).
 *
 * Happy path: the start command names some this process does not know, or says
 * nothing because it is a replay; what the actor's last runner wrote is read, and
 * each is asleep again before its next message comes.
 *
 * What the engine names and nobody remembers is closed, a little after the actor
 * runs, because the engine attaches its clients only then, and once more. What
 * is remembered and not named by a start that was no replay has probably closed:
 * the worker is told so when nothing is heard of it. After a replay, and when a
 * message came too early, the engine is asked for what it has kept.
 *
 * Failure paths: the list cannot be read: as if it were empty. The actor does
 * not come up: forgotten. */
#include "engine/engine_sleeper_private.h"

#include "actor/lifecycle.h"
#include "base/log.h"

#include <stdio.h>

#define REPLAY_MS 2000 /* commands so soon after the link came up may be replays */
#define ATTACHED_MS 250
#define AGAIN_MS 2000
#define SUSPECT_MS 5000
#define GIVE_UP_MS (60 * 1000)
#define PAGE 256
#define NAMED_MAX 65536 /* of one start command */

enum restore_step { RESTORE_STARTING, RESTORE_ATTACHED, RESTORE_AGAIN, RESTORE_SUSPECTS };

struct engine_restore {
	struct engine_tunnel *t;
	struct list node; /* t->restores; linked to itself once dropped */
	char actor_id[64];
	bool replay, reading, running;
	enum restore_step step;
	struct buf named; /* pairs the engine named */
	struct timer timer;
};

static void restore_free(struct engine_restore *r)
{
	timer_disarm(&r->timer);
	list_remove(&r->node);
	buf_done(&r->named);
	mem_free(r);
}

/* An answer under way finds it dropped. */
static void drop(struct engine_restore *r)
{
	timer_disarm(&r->timer);
	list_remove(&r->node);
	if (!r->reading)
		restore_free(r);
}

static struct engine_flow *flow_of_pair(const struct engine_tunnel *t, const uint8_t *pair)
{
	struct map_node *node = map_get(&t->by_pair, slice_of(pair, ENGINE_PAIR_BYTES));
	return node == NULL ? NULL : CONTAINER_OF(node, struct engine_flow, by_pair);
}

static bool is_named(const struct engine_restore *r, const uint8_t *pair)
{
	struct slice all = buf_slice(&r->named);
	for (size_t at = 0; at < all.n; at += ENGINE_PAIR_BYTES) {
		if (memcmp(all.p + at, pair, ENGINE_PAIR_BYTES) == 0)
			return true;
	}
	return false;
}

/* ---- after the start ---- */

static void close_unknown(struct engine_restore *r)
{
	struct slice all = buf_slice(&r->named);
	for (size_t at = 0; at < all.n; at += ENGINE_PAIR_BYTES) {
		struct runner_tunnel_up m = {.kind = RUNNER_UP_WS_CLOSE};
		if (flow_of_pair(r->t, all.p + at) != NULL)
			continue;
		memcpy(m.id.gateway, all.p + at, sizeof(m.id.gateway));
		memcpy(m.id.request, all.p + at + sizeof(m.id.gateway), sizeof(m.id.request));
		m.close.has_code = m.close.has_reason = true;
		m.close.code = WS_CLOSE_NORMAL;
		m.close.reason = SLICE_LIT("ws.meta_not_found_during_restore");
		engine_tunnel_reply(r->t, &m);
	}
}

static struct list *sleepers_of(const struct engine_restore *r)
{
	struct map_node *node = map_get(&r->t->actors, slice_str(r->actor_id));
	return node == NULL ? NULL : &CONTAINER_OF(node, struct engine_tunnel_actor, by_id)->sleepers;
}

static void ask_for_all(struct engine_restore *r)
{
	struct list *all = sleepers_of(r);
	if (all == NULL)
		return;
	LIST_FOR (all, node) {
		struct engine_sleeper *s = CONTAINER_OF(node, struct engine_sleeper, node);
		if (s->state == SLEEPER_ASLEEP)
			engine_sleeper_ask(s);
	}
}

static void end_suspects(struct engine_restore *r)
{
	struct list *all = sleepers_of(r);
	if (all == NULL)
		return;
	LIST_FOR (all, node) {
		struct engine_sleeper *s = CONTAINER_OF(node, struct engine_sleeper, node);
		if (s->suspect)
			engine_sleeper_lost(s);
	}
}

static bool is_gone(const struct engine_restore *r)
{
	struct actor_view v;
	return !actor_table_view(r->t->o.table, r->actor_id, &v) ||
	       strcmp(v.state, lifecycle_state_name(LIFE_RUNNING)) != 0;
}

static void on_timer(void *arg)
{
	struct engine_restore *r = arg;
	if (r->step != RESTORE_STARTING && is_gone(r)) {
		drop(r); /* it stopped again; its next start begins anew */
		return;
	}
	switch (r->step) {
	case RESTORE_STARTING:
		drop(r); /* it does not come up */
		return;
	case RESTORE_ATTACHED:
		if (r->replay || r->t->missed)
			ask_for_all(r);
		r->t->missed = false;
		close_unknown(r);
		r->step = RESTORE_AGAIN;
		timer_arm(&r->timer, AGAIN_MS);
		return;
	case RESTORE_AGAIN:
		close_unknown(r);
		r->step = RESTORE_SUSPECTS;
		timer_arm(&r->timer, SUSPECT_MS - AGAIN_MS);
		return;
	case RESTORE_SUSPECTS:
		end_suspects(r);
		drop(r);
		return;
	}
	IMPOSSIBLE("restore_step");
}

static void go_on(struct engine_restore *r)
{
	if (r->step != RESTORE_STARTING || r->reading || !r->running)
		return;
	r->step = RESTORE_ATTACHED;
	timer_arm(&r->timer, ATTACHED_MS);
}

/* ---- reading ---- */

static void read_page(struct engine_restore *r, struct slice start);

static void on_page(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *a)
{
	struct engine_restore *r = arg;
	struct buf next;
	size_t n = 0;
	r->reading = false;
	if (!list_linked(&r->node)) {
		restore_free(r);
		return;
	}
	buf_init(&next, LIMIT_KV_KEY_BYTES + 1);
	if (outcome == ENGINE_KV_OK) {
		struct runner_walk keys = runner_walk_of(a->keys), values = runner_walk_of(a->values);
		struct slice key, value;
		for (; runner_bytes_next(&keys, &key) && runner_bytes_next(&values, &value); n++) {
			const uint8_t *pair = key.n < ENGINE_PAIR_BYTES ? NULL : key.p + key.n - ENGINE_PAIR_BYTES;
			buf_reset(&next);
			buf_add(&next, key);
			if (pair == NULL || flow_of_pair(r->t, pair) != NULL)
				continue;
			struct engine_sleeper *s = engine_sleeper_read(r->t, r->actor_id, key, value);
			if (s != NULL)
				s->suspect = !r->replay && !is_named(r, pair);
		}
	} else {
		LOG(WARN, "the hibernating WebSockets of an actor could not be read",
		    ENGINE_WHO_LOG(r->t, r->actor_id));
	}
	buf_add_byte(&next, 0); /* the first key behind the last */
	if (n == PAGE && !next.over)
		read_page(r, buf_slice(&next));
	else
		go_on(r);
	buf_done(&next);
}

static void read_page(struct engine_restore *r, struct slice start)
{
	struct engine_tunnel *t = r->t;
	struct runner_kv_request q = {.actor_id = slice_str(r->actor_id),
				      .op = RUNNER_KV_LIST,
				      .query = RUNNER_KV_RANGE,
				      .start = start,
				      .end = ENGINE_SLEEPER_KEYS_END,
				      .exclusive = true,
				      .has_limit = true,
				      .limit = PAGE};
	r->reading = true;
	t->o.ops->state(t->o.arg, &q, on_page, r);
}

/* ---- beginning ---- */

static struct engine_restore *find(const struct engine_tunnel *t, const char *actor_id)
{
	LIST_FOR (&t->restores, node) {
		struct engine_restore *r = CONTAINER_OF(node, struct engine_restore, node);
		if (strcmp(r->actor_id, actor_id) == 0)
			return r;
	}
	return NULL;
}

/* Those that this process knows and the engine does not name. */
static bool mark_suspects(struct engine_restore *r)
{
	struct list *all = sleepers_of(r);
	bool any = false;
	if (all == NULL || r->replay)
		return false;
	LIST_FOR (all, node) {
		struct engine_sleeper *s = CONTAINER_OF(node, struct engine_sleeper, node);
		s->suspect = !s->client_closed && !is_named(r, s->f.pair);
		any |= s->suspect;
	}
	return any;
}

void engine_restore_begin(struct engine_tunnel *t, const char *actor_id, struct runner_list sockets)
{
	struct runner_socket_id id;
	bool unknown = false;
	struct engine_restore *r = find(t, actor_id);
	if (r != NULL)
		drop(r);
	r = mem_zalloc(sizeof(*r));
	r->t = t;
	snprintf(r->actor_id, sizeof(r->actor_id), "%s", actor_id);
	r->replay = loop_mono_ms(t->o.loop) - t->online_mono_ms < REPLAY_MS;
	list_init(&r->node);
	timer_init(&r->timer, t->o.loop, on_timer, r);
	buf_init(&r->named, (size_t)NAMED_MAX * ENGINE_PAIR_BYTES);
	for (struct runner_walk w = runner_walk_of(sockets); runner_socket_id_next(&w, &id);) {
		uint8_t pair[ENGINE_PAIR_BYTES];
		memcpy(pair, id.gateway, sizeof(id.gateway));
		memcpy(pair + sizeof(id.gateway), id.request, sizeof(id.request));
		buf_add(&r->named, slice_of(pair, sizeof(pair)));
		unknown |= flow_of_pair(t, pair) == NULL;
	}
	bool suspects = mark_suspects(r);
	if (!r->replay && !unknown && !suspects) {
		restore_free(r);
		return;
	}
	list_push_back(&t->restores, &r->node);
	timer_arm(&r->timer, GIVE_UP_MS);
	if (r->replay || unknown)
		read_page(r, ENGINE_SLEEPER_KEYS);
}

void engine_restore_running(struct engine_tunnel *t, const char *actor_id)
{
	struct engine_restore *r = find(t, actor_id);
	if (r == NULL)
		return;
	r->running = true;
	go_on(r);
}

void engine_restore_drop(struct engine_tunnel *t)
{
	LIST_FOR (&t->restores, node)
		drop(CONTAINER_OF(node, struct engine_restore, node));
	t->missed = false;
}
