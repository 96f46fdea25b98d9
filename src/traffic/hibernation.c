/* Owns the request of a hibernating WebSocket and its messages.
 *
 * Happy path: messages are added, pushed as frames, and forgotten once the back
 * end has written them; what the exchange says is unwritten tells which. A
 * worker is left, the rest waits, the next exchange gets it.
 *
 * Promised: a worker can do nothing with a message before its last byte. So a
 * long one is handed over without it, the promise is made, and what follows is
 * so little that the socket takes it whole.
 *
 * Pings and pongs belong to one connection to a worker: those it never got are
 * forgotten. */
#include "traffic/hibernation.h"

#define FRAME_HEAD_MAX 14 /* RFC 6455 5.2 */

/* Something for the worker. */
struct parcel {
	struct list node;
	uint64_t end; /* handed: how many bytes had been with its last */
	size_t n;
	enum ws_opcode op;
	bool promised;
	uint8_t payload[];
};

struct hibernation {
	char connection_id[sizeof(((struct exchange *)0)->connection_id)];
	struct http_head *head;
	char *target, *subprotocols, *method;
	char *forwarded_for, *forwarded_proto, *forwarded_host;
	char actor_id[sizeof(((struct exchange *)0)->actor_id)];
	char request_id[sizeof(((struct exchange *)0)->request_id)];
	char *chosen;                /* subprotocol of the first answer; NULL: none */
	struct list waiting, handed; /* struct parcel */
	size_t waiting_bytes;
	size_t n_messages;     /* waiting */
	uint64_t handed_bytes; /* to the back end at hand */
	uint64_t promised;     /* messages */
	bool begun;            /* of the first that waits all but the last byte was handed over */
	uint8_t last_byte;
	size_t kept_bytes;
};

static char *chosen_by(const struct http_head *answer)
{
	const struct http_field *f = http_head_get(answer, HTTP_F_SEC_WEBSOCKET_PROTOCOL);
	return f == NULL ? NULL : slice_dup(f->value);
}

static size_t n_clients;

size_t hibernation_count(void)
{
	return n_clients;
}

struct hibernation *hibernation_new(const struct exchange *x, const struct http_head *answer)
{
	struct hibernation *h = mem_zalloc(sizeof(*h));
	n_clients++;
	h->head = http_head_copy(x->head);
	h->target = mem_strdup(x->target);
	h->subprotocols = mem_strdup(x->subprotocols);
	h->method = mem_strdup(x->method);
	h->forwarded_for = mem_strdup(x->forwarded_for);
	h->forwarded_proto = mem_strdup(x->forwarded_proto);
	h->forwarded_host = mem_strdup(x->forwarded_host);
	memcpy(h->connection_id, x->connection_id, sizeof(h->connection_id));
	memcpy(h->actor_id, x->actor_id, sizeof(h->actor_id));
	memcpy(h->request_id, x->request_id, sizeof(h->request_id));
	h->chosen = chosen_by(answer);
	list_init(&h->waiting);
	list_init(&h->handed);
	return h;
}

static void forget_all(struct list *l)
{
	for (struct list *node; (node = list_pop(l)) != NULL;)
		mem_free(CONTAINER_OF(node, struct parcel, node));
}

void hibernation_free(struct hibernation *h)
{
	if (h == NULL)
		return;
	n_clients--;
	forget_all(&h->waiting);
	forget_all(&h->handed);
	mem_free(h->head);
	mem_free(h->target);
	mem_free(h->subprotocols);
	mem_free(h->method);
	mem_free(h->forwarded_for);
	mem_free(h->forwarded_proto);
	mem_free(h->forwarded_host);
	mem_free(h->chosen);
	mem_free(h);
}

/* ---- opening anew ---- */

int hibernation_exchange(const struct hibernation *h, const struct exchange_ops *ops, void *arg, int64_t now_mono_us,
			 struct exchange **ret)
{
	struct exchange *x;
	int r = exchange_open(EXCHANGE_WEBSOCKET, ops, arg, &x);
	if (r != 0)
		return r;
	CHECK(list_empty(&h->handed));
	x->head = http_head_copy(h->head);
	x->target = mem_strdup(h->target);
	x->subprotocols = mem_strdup(h->subprotocols);
	x->method = mem_strdup(h->method);
	x->forwarded_for = mem_strdup(h->forwarded_for);
	x->forwarded_proto = mem_strdup(h->forwarded_proto);
	x->forwarded_host = mem_strdup(h->forwarded_host);
	memcpy(x->connection_id, h->connection_id, sizeof(x->connection_id));
	memcpy(x->actor_id, h->actor_id, sizeof(x->actor_id));
	memcpy(x->request_id, h->request_id, sizeof(x->request_id));
	x->no_body = true;
	x->reopens = true;
	x->begun_mono_us = now_mono_us;
	*ret = x;
	return 0;
}

bool hibernation_agrees(const struct hibernation *h, const struct http_head *answer)
{
	const struct http_field *f = http_head_get(answer, HTTP_F_SEC_WEBSOCKET_PROTOCOL);
	if (answer->status != 101)
		return false;
	return f == NULL ? h->chosen == NULL : h->chosen != NULL && slice_is(f->value, h->chosen);
}

/* ---- messages ---- */

static bool is_message(const struct parcel *p)
{
	return p->op == WS_TEXT || p->op == WS_BINARY;
}

static void count(struct hibernation *h, const struct parcel *p, bool in)
{
	size_t n = p->n, one = is_message(p);
	h->waiting_bytes = in ? h->waiting_bytes + n : h->waiting_bytes - n;
	h->n_messages = in ? h->n_messages + one : h->n_messages - one;
}

void hibernation_add(struct hibernation *h, enum ws_opcode op, struct slice payload)
{
	struct parcel *p = mem_alloc(sizeof(*p) + payload.n);
	list_init(&p->node);
	p->end = 0;
	p->promised = false;
	p->op = op;
	p->n = payload.n;
	if (payload.n > 0)
		memcpy(p->payload, payload.p, payload.n);
	list_push_back(&h->waiting, &p->node);
	h->kept_bytes += sizeof(*p) + p->n;
	count(h, p, true);
}

void hibernation_add_close(struct hibernation *h, unsigned code, struct slice reason)
{
	uint8_t payload[2 + WS_REASON_MAX];
	size_t n = 0;
	if (code != WS_CLOSE_NONE) {
		payload[n++] = (uint8_t)(code >> 8);
		payload[n++] = (uint8_t)code;
		size_t cut = reason.n > WS_REASON_MAX ? 0 : reason.n;
		if (cut > 0)
			memcpy(payload + n, reason.p, cut);
		n += cut;
	}
	hibernation_add(h, WS_CLOSE, slice_of(payload, n));
}

static void parcel_free(struct hibernation *h, struct parcel *p)
{
	list_remove(&p->node);
	h->kept_bytes -= sizeof(*p) + p->n;
	mem_free(p);
}

void hibernation_forget_waiting(struct hibernation *h)
{
	LIST_FOR (&h->waiting, node) {
		struct parcel *p = CONTAINER_OF(node, struct parcel, node);
		if (p->promised || (h->begun && node == h->waiting.next))
			continue;
		count(h, p, false);
		parcel_free(h, p);
	}
}

/* Forgets what has been written whole. */
static void settle(struct hibernation *h, size_t unwritten)
{
	uint64_t written = unwritten > h->handed_bytes ? 0 : h->handed_bytes - unwritten;
	LIST_FOR (&h->handed, node) {
		struct parcel *p = CONTAINER_OF(node, struct parcel, node);
		if (p->end > written)
			return;
		parcel_free(h, p);
	}
}

/* Its end is known. */
static void hand(struct hibernation *h, struct parcel *p)
{
	list_remove(&p->node);
	count(h, p, false);
	list_push_back(&h->handed, &p->node);
}

void hibernation_push(struct hibernation *h, struct exchange *x)
{
	struct buf frame;
	buf_init(&frame, (size_t)2 * LIMIT_WS_MESSAGE_BYTES);
	while (!list_empty(&h->waiting) && exchange_joined(x) && !exchange_stopped(x, EXCHANGE_BACK)) {
		struct parcel *p = CONTAINER_OF(h->waiting.next, struct parcel, node);
		buf_reset(&frame);
		ws_put_frame(&frame, p->op, true, true, slice_of(p->payload, p->n));
		CHECK(!frame.over);
		h->handed_bytes += buf_len(&frame);
		p->end = h->handed_bytes;
		hand(h, p);
		exchange_data(x, EXCHANGE_FRONT, buf_slice(&frame), false);
	}
	buf_done(&frame);
	settle(h, exchange_unwritten(x));
}

/* All but the last byte of the first that waits. */
static void begin(struct hibernation *h, struct exchange *x, struct buf *out)
{
	const struct parcel *p = CONTAINER_OF(h->waiting.next, struct parcel, node);
	buf_reset(out);
	ws_put_frame(out, p->op, true, true, slice_of(p->payload, p->n));
	CHECK(!out->over);
	struct slice all = buf_slice(out), most = slice_head(all, all.n - 1);
	h->last_byte = all.p[most.n];
	h->begun = true;
	h->handed_bytes += most.n;
	exchange_data(x, EXCHANGE_FRONT, most, false);
}

/* Puts together what may follow a promise; how many parcels that is. *ret_new: messages that were not promised before.
 */
static size_t gather(struct hibernation *h, struct buf *out, size_t *ret_new)
{
	size_t n = 0;
	bool again = CONTAINER_OF(h->waiting.next, struct parcel, node)->promised;
	buf_reset(out);
	*ret_new = 0;
	LIST_FOR (&h->waiting, node) {
		struct parcel *p = CONTAINER_OF(node, struct parcel, node);
		bool rest = h->begun && n == 0;
		if (p->promised != again || (!rest && buf_len(out) + FRAME_HEAD_MAX + p->n > EXCHANGE_SURE_BYTES))
			break;
		if (rest)
			buf_add_byte(out, h->last_byte);
		else
			ws_put_frame(out, p->op, true, true, slice_of(p->payload, p->n));
		*ret_new += is_message(p) && !p->promised;
		p->promised = true;
		p->end = h->handed_bytes + buf_len(out);
		n++;
	}
	return n;
}

void hibernation_push_promised(struct hibernation *h, struct exchange *x, const struct hibernation_promise *promise)
{
	struct buf out;
	size_t n_new;
	buf_init(&out, (size_t)2 * LIMIT_WS_MESSAGE_BYTES);
	while (!list_empty(&h->waiting) && exchange_joined(x) && !exchange_stopped(x, EXCHANGE_BACK)) {
		if (!h->begun && CONTAINER_OF(h->waiting.next, struct parcel, node)->n > EXCHANGE_SURE_BYTES / 2)
			begin(h, x, &out);
		if (!exchange_sure(x))
			break;
		size_t n = gather(h, &out, &n_new);
		h->promised += n_new;
		if (n_new > 0)
			promise->say(promise->arg, h->promised);
		if (!promise->said(promise->arg))
			break;
		h->begun = false;
		LIST_FOR (&h->waiting, node) {
			if (n-- == 0)
				break;
			hand(h, CONTAINER_OF(node, struct parcel, node));
		}
		h->handed_bytes += buf_len(&out);
		exchange_data(x, EXCHANGE_FRONT, buf_slice(&out), false);
	}
	buf_done(&out);
	settle(h, exchange_unwritten(x));
}

void hibernation_left(struct hibernation *h, const struct exchange *x)
{
	h->begun = false;
	settle(h, exchange_unwritten(x));
	for (struct list *node = h->handed.prev; node != &h->handed; node = h->handed.prev) {
		struct parcel *p = CONTAINER_OF(node, struct parcel, node);
		if (p->op == WS_PING || p->op == WS_PONG) {
			parcel_free(h, p);
			continue;
		}
		list_remove(node);
		list_push_front(&h->waiting, &p->node);
		count(h, p, true);
	}
	h->handed_bytes = 0;
}

uint64_t hibernation_promised(const struct hibernation *h)
{
	return h->promised;
}

size_t hibernation_kept_bytes(const struct hibernation *h)
{
	return h->kept_bytes;
}

size_t hibernation_waiting_bytes(const struct hibernation *h)
{
	return h->waiting_bytes;
}

bool hibernation_waiting(const struct hibernation *h)
{
	return !list_empty(&h->waiting);
}

bool hibernation_wants_worker(const struct hibernation *h)
{
	return h->n_messages > 0;
}
