/* The words of Sec-WebSocket-Protocol that route an upgrade instead of naming a
 * subprotocol: browsers can set no header, so target, actor and token travel
 * there. None of them reaches a worker. */
#pragma once

#include "base/buf.h"
#include "codec/http_head.h"

struct route_words {
	struct slice target, actor, token; /* borrowed from the head, the first of each; SLICE_NONE: not there */
	bool skip_ready_wait;
	bool offered_rivet; /* "rivet" is among the subprotocols proper */
};

/* Reads all lines of the field. Appends to kept what is offered to the worker, ", " joined. */
void route_words_take(const struct http_head *h, struct route_words *ret, struct buf *kept);
