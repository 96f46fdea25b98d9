/* What the files of the tunnel know of each other. */
#pragma once

#include "base/map.h"
#include "engine/engine_head.h"
#include "engine/engine_tunnel.h"
#include "io/timer.h"
#include "traffic/answer.h"

#define ENGINE_FLOW_MAGIC 0x656e666cu
#define ENGINE_PAIR_BYTES 8 /* gateway id, request id */

/* Whose memory it is. Lives while it has flows. */
struct engine_tunnel_actor {
	struct map_node by_id;
	char id[64];
	size_t n_flows, bytes;
};

struct engine_tunnel {
	uint32_t magic;
	struct engine_tunnel_options o;
	struct engine_head head;
	struct map by_pair; /* struct engine_flow */
	struct map actors;
	struct list flows;   /* all, listed by their pair or not */
	struct list pending; /* of these, with frames the link did not take */
	struct buf replies;  /* frames of no flow it did not take */
	struct buf scratch;  /* the frame being made */
	size_t bytes;
	bool warned_value; /* said once that a field value cannot be passed on */
	struct engine_tunnel_stats stats;
};

/* One HTTP request or WebSocket: the first member of either. */
struct engine_flow {
	uint32_t magic;
	bool socket; /* struct engine_socket; else struct engine_request */
	bool listed; /* in by_pair */
	uint8_t pair[ENGINE_PAIR_BYTES];
	uint16_t next_index; /* of our messages */
	struct engine_tunnel *t;
	struct engine_tunnel_actor *actor;
	struct map_node by_pair;
	struct list all, pending;
	struct buf frames; /* each behind its length in 4 bytes */
	size_t charged;
	struct exchange *x; /* NULL once left */
	struct timer timer;
	struct loop_task work;
	char ray[64]; /* the engine's name for the client's request; "" unknown */
};

/* ---- engine_flow.c ---- */

/* A flow of that pair, which must be in no other; its exchange is opened, filled and not yet offered. h is taken over
 * when 0 is returned. 0 or EXCHANGE_FULL, with nothing changed. */
int engine_flow_open(struct engine_flow *f, struct engine_tunnel *t, const struct runner_message_id *id,
		     struct slice actor_id, enum exchange_kind kind, struct http_head *h,
		     const struct exchange_ops *ops);
/* Its exchange has been left. The memory is the caller's to free. */
void engine_flow_done(struct engine_flow *f);
/* The pair means something else, or nothing, from now on. */
void engine_flow_unlist(struct engine_flow *f);
/* Leaves the exchange if still there. Not from inside its ops but over(). */
void engine_flow_leave(struct engine_flow *f, enum exchange_why why);

/* Counts bytes that are kept for it. False: a bound is reached, nothing was counted. */
bool engine_flow_charge(struct engine_flow *f, size_t bytes);
void engine_flow_refund(struct engine_flow *f, size_t bytes);

/* Sends a message under the flow's ids, or keeps it until the link takes it (charged, and beyond the bounds if need
 * be: whoever sends has made sure of what it sends). True when everything of the flow has gone. */
bool engine_flow_send(struct engine_flow *f, struct runner_tunnel_up *m);
bool engine_flow_sent(const struct engine_flow *f);
/* Offers its oldest kept frame to the link. 0 or what the link says. */
int engine_flow_flush_one(struct engine_flow *f);

/* ---- engine_tunnel.c ---- */

/* A short message without a flow, under the ids it has; kept while the link does not take it, lost beyond
 * LIMIT_TUNNEL_REPLY_BYTES. */
void engine_tunnel_reply(struct engine_tunnel *t, struct runner_tunnel_up *m);

/* ---- engine_request.c ---- */

/* A request that is under way by no flow. */
void engine_request_start(struct engine_tunnel *t, const struct runner_tunnel_down *m);
void engine_request_chunk(struct engine_flow *f, struct slice body, bool finish);
/* What was kept has gone. May free it. */
void engine_request_flushed(struct engine_flow *f);
/* Ends it without a word to the engine. */
void engine_request_drop(struct engine_flow *f);

/* ---- engine_socket.c ---- */

void engine_socket_start(struct engine_tunnel *t, const struct runner_tunnel_down *m);
/* The engine asks again for what is open or opening. */
void engine_socket_again(struct engine_flow *f, uint16_t index);
void engine_socket_message(struct engine_flow *f, uint16_t index, bool binary, struct slice data);
void engine_socket_closed(struct engine_flow *f, unsigned code, struct slice reason);
void engine_socket_flushed(struct engine_flow *f);
void engine_socket_drop(struct engine_flow *f);
