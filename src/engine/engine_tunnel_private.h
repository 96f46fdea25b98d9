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
	struct list sleepers; /* struct engine_sleeper */
};

struct engine_tunnel {
	uint32_t magic;
	struct engine_tunnel_options o;
	struct map by_pair; /* struct engine_flow */
	struct map actors;
	struct list flows;     /* all, listed by their pair or not */
	struct list pending;   /* of these, with frames the link did not take */
	struct list farewells; /* struct engine_farewell, the oldest first */
	size_t n_farewells;
	struct buf replies; /* frames of no flow it did not take */
	struct buf scratch; /* the frame being made */
	size_t bytes;
	struct timer newcomer;  /* armed: a predecessor may still be there */
	struct buf early;       /* what is left to it: struct early of engine_newcomer.c */
	bool warned_value;      /* said once that a field value cannot be passed on */
	struct list restores;   /* struct engine_restore */
	bool missed;            /* a WebSocket message came that nobody here knows, while some are being restored */
	int64_t online_mono_ms; /* when the link last came up */
	struct engine_tunnel_stats stats;
};

enum engine_flow_kind {
	ENGINE_FLOW_REQUEST, /* struct engine_request */
	ENGINE_FLOW_SOCKET,  /* struct engine_socket */
	ENGINE_FLOW_SLEEPER, /* struct engine_sleeper */
};

/* One HTTP request or WebSocket: the first member of each of them. */
struct engine_flow {
	uint32_t magic;
	enum engine_flow_kind kind;
	bool listed; /* in by_pair */
	uint8_t pair[ENGINE_PAIR_BYTES];
	uint16_t next_index; /* of our messages */
	uint64_t said_at;    /* frames that had gone with the last message of a WebSocket; 0: none */
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
/* Takes the place of another, which is as engine_flow_done leaves it. The exchange's ends are the caller's business. */
void engine_flow_move(struct engine_flow *to, struct engine_flow *from);
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
/* Forgets what the link did not take. */
void engine_flow_discard(struct engine_flow *f);
/* Offers its oldest kept frame to the link. 0 or what the link says. */
int engine_flow_flush_one(struct engine_flow *f);

/* ---- engine_tunnel.c ---- */

/* The flow of that pair; NULL: none under way. */
struct engine_flow *engine_tunnel_find(const struct engine_tunnel *t, const struct runner_message_id *id);
/* Offers a frame to the link. 0 or what the link says. said_at: as engine_flow's, of the pair it is about. */
int engine_tunnel_pass(struct engine_tunnel *t, struct slice frame, uint64_t *said_at);
/* A short message without a flow, under the ids it has; kept while the link does not take it, lost beyond
 * LIMIT_TUNNEL_REPLY_BYTES. */
void engine_tunnel_reply(struct engine_tunnel *t, struct runner_tunnel_up *m);

/* As engine_tunnel_reply, encoded before. */
void engine_tunnel_reply_frame(struct engine_tunnel *t, struct slice frame);

/* The fields of a record about an actor; once for each, as LOG_ACTOR reads it. */
#define ENGINE_WHO_LOG(t, actor_id) LOG_ACTOR(engine_tunnel_who(t, actor_id))
struct log_actor engine_tunnel_who(const struct engine_tunnel *t, const char *actor_id);

/* ---- engine_farewell.c ---- */

/* A close has gone, of a WebSocket whose last message had gone at said_at. */
void engine_farewell_note(struct engine_tunnel *t, struct slice frame, uint64_t said_at);
/* The link is back: what may not have arrived is said again. */
void engine_farewell_again(struct engine_tunnel *t, uint64_t unsure_from);
void engine_farewell_drop(struct engine_tunnel *t);

/* ---- engine_newcomer.c ---- */

void engine_newcomer_init(struct engine_tunnel *t);
/* True: a request, or the open of a WebSocket, that a predecessor has got as well, and that is seen to later. */
bool engine_newcomer_leaves(struct engine_tunnel *t, const struct runner_tunnel_down *m);
/* There is nobody to wait for any more, and nothing to say. */
void engine_newcomer_drop(struct engine_tunnel *t);

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
/* The engine asks again for what is open or opening. False: what was said already has gone nowhere, since it takes
 * nothing before the answer it asks for; the WebSocket is to be opened anew. */
bool engine_socket_again(struct engine_flow *f, uint16_t index);
void engine_socket_message(struct engine_flow *f, uint16_t index, bool binary, struct slice data);
void engine_socket_closed(struct engine_flow *f, unsigned code, struct slice reason);
void engine_socket_flushed(struct engine_flow *f);
void engine_socket_drop(struct engine_flow *f);
/* The link is back. A client that may have missed messages is not left in the belief that it has them all. */
void engine_socket_online(struct engine_flow *f, uint64_t unsure_from);

/* Codes that may stand in a close frame of ours (runner protocol v7, section 7.3). */
bool engine_socket_sendable(unsigned code);
/* At most WS_REASON_MAX bytes, whole characters only. */
struct slice engine_socket_reason(struct slice text);
/* a is after b, wrapping. */
bool engine_socket_after(uint16_t a, uint16_t b);

/* ---- engine_sleeper.c ---- */

/* The worker accepted the WebSocket and agreed that the client outlives it. `expected`: the index of the client's next
 * message. Takes from's place; its memory is the caller's to free. From inside the exchange's head(). */
void engine_sleeper_take(struct engine_flow *from, const struct http_head *answer, uint16_t expected);
void engine_sleeper_again(struct engine_flow *f, uint16_t index);
void engine_sleeper_message(struct engine_flow *f, uint16_t index, bool binary, struct slice data);
void engine_sleeper_closed(struct engine_flow *f, unsigned code, struct slice reason);
void engine_sleeper_flushed(struct engine_flow *f);
void engine_sleeper_drop(struct engine_flow *f);
/* The link is back: a client that may have missed messages is closed, to come back with a new connection. */
void engine_sleeper_unsure(struct engine_flow *f, uint64_t unsure_from);
/* Then: what was lost of the clients' own messages is asked for again. */
void engine_sleeper_online(struct engine_flow *f);
void engine_sleeper_running(struct engine_tunnel_actor *a);

/* ---- engine_restore.c ---- */

/* An incarnation of the actor begins, with what the engine says of its clients. */
void engine_restore_begin(struct engine_tunnel *t, const char *actor_id, struct runner_list sockets);
void engine_restore_running(struct engine_tunnel *t, const char *actor_id);
/* Forgets all of it. */
void engine_restore_drop(struct engine_tunnel *t);
