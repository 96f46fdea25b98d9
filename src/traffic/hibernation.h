/* A client's WebSocket that outlives its worker: what it takes to open it to
 * the next one, and the messages on their way.
 *
 * A message is kept until it is written whole to the socket of a worker. What
 * was not when a worker is left goes to the next one, in order, once. Owned by
 * the front end of the WebSocket, which knows when to open it. */
#pragma once

#include "codec/ws_frame.h"
#include "traffic/exchange.h"

struct hibernation;

/* Of the exchange whose worker has just accepted the upgrade and agreed (x->hibernates), with its answer. */
struct hibernation *hibernation_new(const struct exchange *x, const struct http_head *answer);
void hibernation_free(struct hibernation *h);
/* How many there are. */
size_t hibernation_count(void);

/* An exchange that opens it anew: the request as the client sent it, under the same connection id, not yet offered. 0
 * or EXCHANGE_FULL. */
int hibernation_exchange(const struct hibernation *h, const struct exchange_ops *ops, void *arg, int64_t now_mono_us,
			 struct exchange **ret);
/* Whether the answer to that accepts the upgrade with the subprotocol of the first. */
bool hibernation_agrees(const struct hibernation *h, const struct http_head *answer);

/* A message of the client, or a ping or pong, which only a worker that is there gets. */
void hibernation_add(struct hibernation *h, enum ws_opcode op, struct slice payload);
/* The client's close, behind its messages. */
void hibernation_add_close(struct hibernation *h, unsigned code, struct slice reason);

/* Forgets messages that no worker has been given, nor promised: who sent them will send them again. */
void hibernation_forget_waiting(struct hibernation *h);

/* Hands over what the joined exchange's back end takes. Not from inside its ops. */
void hibernation_push(struct hibernation *h, struct exchange *x);
/* The same for a front whose messages come from somebody who keeps them until told: a message that is handed over has
 * been promised before, and no word of that is lost with this process. So it is given to no second worker, however this
 * process ends. What was promised is handed over unless the worker is left in that instant. */
struct hibernation_promise {
	void (*say)(void *arg, uint64_t n); /* the first n messages, of all there ever were, need not be kept */
	bool (*said)(void *arg);            /* whether that has left this process */
	void *arg;
};
void hibernation_push_promised(struct hibernation *h, struct exchange *x, const struct hibernation_promise *promise);
/* The back end has left: what was not written waits again. */
void hibernation_left(struct hibernation *h, const struct exchange *x);

/* Messages promised, ever. */
uint64_t hibernation_promised(const struct hibernation *h);
/* Memory kept for what waits or is not known to be written; 0: nothing is. */
size_t hibernation_kept_bytes(const struct hibernation *h);
/* Bytes, and entries, that no back end has been given. */
size_t hibernation_waiting_bytes(const struct hibernation *h);
bool hibernation_waiting(const struct hibernation *h);
/* Whether a message is among them: worth waking an actor for. */
bool hibernation_wants_worker(const struct hibernation *h);
