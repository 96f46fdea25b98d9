/* What the HTTP and the WebSocket front end share. */
#pragma once

#include "codec/ws_frame.h"
#include "local/local_private.h"
#include "traffic/answer.h"

/* Gateway request at hand; the first member of neither: embeds struct local_request first. */
struct local_front {
	struct local_request r;
	uint32_t magic;
	struct exchange *x; /* NULL once left */
	struct timer ready;
	struct loop_task quit; /* leaves the exchange from the tick */
	bool head_sent;
	bool ended; /* the answer is complete or cut */
	bool head_request;
	uint64_t body_in, body_out;
	struct ws_tracker *tracker; /* WebSocket: the worker's bytes */
};

/* Makes a front end and its exchange and offers it to the driver by the route. */
struct local_front *local_front_open(struct local *l, struct http_conn *c, const struct http_head *h,
				     const struct local_route *route, enum exchange_kind kind,
				     const struct local_request_ops *request_ops, const struct exchange_ops *ops,
				     void (*on_ready_timeout)(void *arg));
void local_front_offer(struct local_front *f, const struct local_route *route);
/* What a client is told whose time to wait for a ready actor is over. */
struct answer_failure local_front_not_ready(const struct local_front *f);
/* Leaves the exchange if still there, takes it off the connection, frees. */
void local_front_free(struct local_front *f, enum exchange_why why);

/* Fields of the worker's answer for the client, in l->scratch. keep_length: a content-length is kept (HEAD, 304). */
struct slice local_front_fields(struct local_front *f, const struct http_head *h, bool keep_length);
