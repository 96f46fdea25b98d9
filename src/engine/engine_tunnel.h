/* Traffic of a Rivet Engine: tunnel messages to exchanges and back (runner protocol v7, sections 6 and 7).
 *
 * One table of what is under way, by gateway and request id. A request is
 * answered with one message when its answer is whole; a re-sent one joins the
 * attempt that still runs. Nothing here starts an actor: the engine does, and
 * is told when one is not here. Memory is bounded per actor and in all. */
#pragma once

#include "actor/dispatch.h"
#include "base/log.h"
#include "codec/runner_msg.h"
#include "engine/engine_kv.h"

struct engine_tunnel;

enum engine_tunnel_outcome {
	ENGINE_TUNNEL_FULL = 1, /* nothing was taken; engine_tunnel_room follows */
	ENGINE_TUNNEL_OFFLINE,  /* nothing was taken; engine_tunnel_online or engine_tunnel_reset follows */
};

struct engine_tunnel_ops {
	/* One whole frame (ToServer) of traffic, copied. 0 or enum engine_tunnel_outcome. Calls nothing of the tunnel
	 * from inside. */
	int (*send)(void *arg, struct slice frame);
	/* Whether every frame that was taken is the kernel's by now, so that it arrives although this process is
	 * killed. */
	bool (*flush)(void *arg);
	/* How many frames have gone so far, and how many of these the engine has surely read (as engine_link_sent). */
	void (*gone)(void *arg, uint64_t *ret_sent, uint64_t *ret_read);
	/* Traffic came for an actor without an incarnation here: perhaps its start command was lost. May only note and
	 * post. */
	void (*absent)(void *arg, const char *actor_id);
	/* Whether the actor is being started, but ran elsewhere before the engine's first welcome to this process. */
	bool (*taken_over)(void *arg, struct slice actor_id);
	/* What a record about the actor carries, as far as it is known; valid until the next turn. */
	struct log_actor (*who)(void *arg, const char *actor_id);
	/* A request about the reserved keys of an actor, as engine_kv_submit. */
	void (*state)(void *arg, const struct runner_kv_request *what, engine_kv_done *done, void *done_arg);
};

struct engine_tunnel_options {
	struct loop *loop;
	struct actor_table *table; /* outlives the tunnel, as the loop does */
	const struct engine_tunnel_ops *ops;
	void *arg;
	const char *token; /* the engine's, kept from workers; NULL: none. Borrowed */
};

struct engine_tunnel *engine_tunnel_new(const struct engine_tunnel_options *o);
/* After engine_tunnel_reset. */
void engine_tunnel_free(struct engine_tunnel *t);

/* A tunnel message; copies what it keeps. From the link's callbacks, not from inside an exchange's ops. */
void engine_tunnel_message(struct engine_tunnel *t, const struct runner_tunnel_down *m);

/* An incarnation of the actor is being started, with the hibernating WebSockets the engine names (elements as
 * runner_socket_id_next; none in a replay, whatever lives); it runs. Each only notes. */
void engine_tunnel_started(struct engine_tunnel *t, const char *actor_id, struct runner_list sockets);
void engine_tunnel_running(struct engine_tunnel *t, const char *actor_id);

/* The link takes frames again: after FULL, and after a reconnect as the same runner, when frames that went after the
 * first unsure_from may not have arrived. */
void engine_tunnel_room(struct engine_tunnel *t);
void engine_tunnel_online(struct engine_tunnel *t, uint64_t unsure_from);
/* The engine has welcomed this process for the first time: it may be that it takes over from another. */
void engine_tunnel_newcomer(struct engine_tunnel *t);
/* Another runner id, evicted or lost: everything is dropped without a word to the engine; workers see their clients
 * leave. */
void engine_tunnel_reset(struct engine_tunnel *t);

struct engine_tunnel_stats {
	uint64_t requests, joined, aborted, refused; /* since the start; joined: re-sent while the first attempt ran */
	uint64_t websockets, messages_lost;          /* since the start; messages_lost: gaps noticed */
	uint64_t reopened;                           /* since the start: WebSockets opened to another worker */
	size_t flows, bytes;                         /* now */
};
void engine_tunnel_stats(const struct engine_tunnel *t, struct engine_tunnel_stats *ret);
