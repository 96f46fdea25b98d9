/* What a tunnelled request and a tunnelled WebSocket have in common: the pair
 * of ids, the exchange, the bytes kept for it, and what goes back.
 *
 * A message is encoded once. The link takes it, or it waits behind the flow's
 * earlier ones; the tunnel sends what waits in turns, so that one flow with
 * much to say does not hold up the others.
 *
 * Failure paths: no exchange to be had, a bound on kept bytes. */
#include "engine/engine_tunnel_private.h"

#define SCRATCH_KEPT_BYTES ((size_t)256 * 1024)
#define LENGTH_BYTES 4 /* in front of a kept frame */

/* ---- bytes ---- */

bool engine_flow_charge(struct engine_flow *f, size_t bytes)
{
	if (bytes > LIMIT_TUNNEL_BYTES || f->t->bytes > LIMIT_TUNNEL_BYTES - bytes ||
	    bytes > LIMIT_TUNNEL_ACTOR_BYTES || f->actor->bytes > LIMIT_TUNNEL_ACTOR_BYTES - bytes)
		return false;
	f->charged += bytes;
	f->actor->bytes += bytes;
	f->t->bytes += bytes;
	return true;
}

void engine_flow_refund(struct engine_flow *f, size_t bytes)
{
	CHECK(bytes <= f->charged);
	f->charged -= bytes;
	f->actor->bytes -= bytes;
	f->t->bytes -= bytes;
}

/* ---- what goes back ---- */

static void keep(struct engine_flow *f, struct slice frame)
{
	uint32_t n = (uint32_t)frame.n;
	size_t bytes = frame.n + LENGTH_BYTES;
	buf_add(&f->frames, slice_of(&n, sizeof(n)));
	buf_add(&f->frames, frame);
	CHECK(!f->frames.over);
	f->charged += bytes;
	f->actor->bytes += bytes;
	f->t->bytes += bytes;
	if (!list_linked(&f->pending))
		list_push_back(&f->t->pending, &f->pending);
}

bool engine_flow_send(struct engine_flow *f, struct runner_tunnel_up *m)
{
	struct engine_tunnel *t = f->t;
	struct runner_to_server up = {.tag = RUNNER_TO_SERVER_TUNNEL};
	memcpy(m->id.gateway, f->pair, sizeof(m->id.gateway));
	memcpy(m->id.request, f->pair + sizeof(m->id.gateway), sizeof(m->id.request));
	m->id.index = f->next_index++;
	up.tunnel = *m;
	buf_reset(&t->scratch);
	CHECK(runner_to_server_put(&t->scratch, &up) == 0); /* its texts were checked, its size is bounded */
	if (!engine_flow_sent(f) || engine_tunnel_pass(t, buf_slice(&t->scratch), &f->said_at) != 0)
		keep(f, buf_slice(&t->scratch));
	if (t->scratch.room > SCRATCH_KEPT_BYTES)
		buf_done(&t->scratch);
	return engine_flow_sent(f);
}

bool engine_flow_sent(const struct engine_flow *f)
{
	return buf_len(&f->frames) == 0;
}

void engine_flow_discard(struct engine_flow *f)
{
	engine_flow_refund(f, buf_len(&f->frames));
	buf_done(&f->frames);
	list_remove(&f->pending);
}

int engine_flow_flush_one(struct engine_flow *f)
{
	uint32_t n;
	struct slice kept = buf_slice(&f->frames);
	CHECK(kept.p != NULL && kept.n > sizeof(n));
	memcpy(&n, kept.p, sizeof(n));
	int r = engine_tunnel_pass(f->t, slice_head(slice_from(kept, sizeof(n)), n), &f->said_at);
	if (r != 0)
		return r;
	buf_drop(&f->frames, sizeof(n) + n);
	if (engine_flow_sent(f))
		buf_done(&f->frames); /* many flows are idle most of the time */
	engine_flow_refund(f, sizeof(n) + n);
	return 0;
}

/* ---- whose it is ---- */

static struct engine_tunnel_actor *need_actor(struct engine_tunnel *t, struct slice id)
{
	struct map_node *node = map_get(&t->actors, id);
	if (node != NULL)
		return CONTAINER_OF(node, struct engine_tunnel_actor, by_id);
	struct engine_tunnel_actor *a = mem_zalloc(sizeof(*a));
	list_init(&a->sleepers);
	CHECK(id.n < sizeof(a->id));
	memcpy(a->id, id.p, id.n);
	CHECK(map_put(&t->actors, &a->by_id, slice_str(a->id)) == 0); /* not more of them than flows */
	return a;
}

static void leave_actor(struct engine_flow *f)
{
	struct engine_tunnel_actor *a = TAKE(f->actor);
	if (--a->n_flows > 0)
		return;
	CHECK(a->bytes == 0);
	map_remove(&f->t->actors, &a->by_id);
	mem_free(a);
}

/* ---- beginning and end ---- */

/* Twice as many digits, and NUL. Not by printf, which would be one of the dearest parts of a request. */
static void put_hex(const uint8_t *bytes, size_t n, char *ret)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		*ret++ = digits[bytes[i] >> 4];
		*ret++ = digits[bytes[i] & 15];
	}
	*ret = '\0';
}

static void fill_exchange(struct engine_flow *f, struct http_head *h)
{
	struct exchange *x = f->x;
	x->head = h;
	x->target = slice_dup(h->target);
	x->method = slice_dup(h->method);
	x->no_body = h->framing == HTTP_FRAMING_NONE;
	x->begun_mono_us = loop_mono_us(f->t->o.loop);
	put_hex(f->pair, sizeof(f->pair), x->request_id);
	_Static_assert(sizeof(x->actor_id) == sizeof(f->actor->id), "an actor's id fits");
	memcpy(x->actor_id, f->actor->id, sizeof(x->actor_id));
}

int engine_flow_open(struct engine_flow *f, struct engine_tunnel *t, const struct runner_message_id *id,
		     struct slice actor_id, enum exchange_kind kind, struct http_head *h,
		     const struct exchange_ops *ops)
{
	int r = exchange_open(kind, ops, f, &f->x);
	if (r != 0)
		return r;
	const struct http_field *ray = http_head_get(h, HTTP_F_X_RIVET_RAY_ID);
	f->magic = ENGINE_FLOW_MAGIC;
	f->t = t;
	memcpy(f->pair, id->gateway, sizeof(id->gateway));
	memcpy(f->pair + sizeof(id->gateway), id->request, sizeof(id->request));
	list_init(&f->all);
	list_init(&f->pending);
	list_push_back(&t->flows, &f->all);
	CHECK(map_put(&t->by_pair, &f->by_pair, slice_of(f->pair, sizeof(f->pair))) == 0); /* as many as exchanges */
	f->listed = true;
	f->actor = need_actor(t, actor_id);
	f->actor->n_flows++;
	buf_init(&f->frames, (size_t)2 * LIMIT_TUNNEL_BYTES); /* the bound is what is charged */
	if (ray != NULL && ray->value.n < sizeof(f->ray))
		memcpy(f->ray, ray->value.p, ray->value.n);
	fill_exchange(f, h);
	t->stats.flows++;
	return 0;
}

void engine_flow_move(struct engine_flow *to, struct engine_flow *from)
{
	enum engine_flow_kind kind = to->kind;
	bool listed = from->listed, pending = list_linked(&from->pending);
	engine_flow_unlist(from);
	list_remove(&from->all);
	list_remove(&from->pending);
	timer_disarm(&from->timer);
	loop_cancel(&from->work);
	*to = *from;
	to->kind = kind;
	to->listed = listed;
	list_init(&to->all);
	list_init(&to->pending);
	list_push_back(&to->t->flows, &to->all);
	if (pending)
		list_push_back(&to->t->pending, &to->pending);
	if (listed)
		CHECK(map_put(&to->t->by_pair, &to->by_pair, slice_of(to->pair, sizeof(to->pair))) == 0);
	from->magic = 0;
	from->x = NULL;
}

void engine_flow_unlist(struct engine_flow *f)
{
	if (!f->listed)
		return;
	f->listed = false;
	map_remove(&f->t->by_pair, &f->by_pair);
}

void engine_flow_leave(struct engine_flow *f, enum exchange_why why)
{
	struct exchange *x = TAKE(f->x);
	timer_disarm(&f->timer);
	if (x != NULL)
		exchange_leave(x, EXCHANGE_FRONT, why);
}

void engine_flow_done(struct engine_flow *f)
{
	CHECK(f->x == NULL);
	engine_flow_unlist(f);
	timer_disarm(&f->timer);
	loop_cancel(&f->work);
	list_remove(&f->all);
	list_remove(&f->pending);
	buf_done(&f->frames);
	engine_flow_refund(f, f->charged);
	leave_actor(f);
	f->t->stats.flows--;
	f->magic = 0;
}
