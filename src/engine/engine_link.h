/* The one WebSocket to the engine and its whole life (runner protocol v7,
 * sections 1, 3.2, 3.9, 4 and 5.1): connecting and connecting again, Init, ping
 * and pong, a peer that fell silent, what each close reason means, and the time
 * by which nothing may run here any more because the engine has given us up.
 *
 * Frames are passed on at once or refused: whoever sends keeps what was refused
 * until room() or online(). Logs each distinct failure once until it is online
 * again. No event comes from inside a call of the owner. */
#pragma once

#include "codec/runner_msg.h"
#include "engine/engine_endpoint.h"
#include "io/loop.h"

struct engine_link;

/* What the engine said in ToClientInit; slices and all die when online() returns. */
struct engine_link_welcome {
	/* The runner id is the one of before the break: actors, unacknowledged events and open state calls go on. Else,
	 * also the first time and after lost(): whatever was before is not ours any more. */
	bool same_runner;
	struct slice runner_id;
	int64_t lost_threshold_ms, stop_threshold_ms; /* as sent, any number */
	/* With same_runner: frames that were sent when engine_link_sent() was above this, and before the break, may not
	 * have arrived. Answers to HTTP requests among them are sent again by the link. */
	uint64_t unsure_from;
};

struct engine_link_events {
	void (*online)(void *arg, const struct engine_link_welcome *w);
	/* Everything but Init and Ping; slices die on return. Undecodable frames never come here. */
	void (*message)(void *arg, const struct runner_to_client *m);
	/* A send was refused with ENGINE_LINK_FULL; now there is room. Sending from inside is fine. */
	void (*room)(void *arg);
	/* The socket is gone. Frames that were sent may not have arrived. */
	void (*offline)(void *arg);
	/* In left_ms the engine may start our actors elsewhere: whatever still runs then must have been killed. Undone
	 * by an online() with same_runner. */
	void (*lost_soon)(void *arg, int64_t left_ms);
	/* That time has come. Goes on connecting, as a newcomer. */
	void (*lost)(void *arg);
	/* Another runner has our key: everything of ours is its by now. Never connects again. Not logged: what it means
	 * for this process is the owner's to say. */
	void (*evicted)(void *arg);
	/* After engine_link_stopping or engine_link_finish: the engine has let go of us, or cannot be reached any more.
	 * Never connects again. */
	void (*finished)(void *arg);
	/* No retry can help; logged. Never connects again. */
	void (*failed)(void *arg, int exit_code);
	/* engine_link_why_not has another answer. */
	void (*changed)(void *arg);
	void (*closed)(void *arg); /* engine_link_close is complete; the memory is gone. Always last */
};

/* Everything is copied, but for events. */
struct engine_link_options {
	struct loop *loop;
	const struct engine_endpoint *endpoint;
	const char *namespace_name;
	const char *token;   /* NULL: none */
	const char *ca_file; /* NULL: the system's certificate authorities */
	const char *runner, *runner_key;
	uint32_t runner_version, total_slots;
	const char *const *actor_names; /* NULL-terminated: the actor types */
	const char *version;            /* of this program */
	const struct engine_link_events *events;
	void *arg;
};

/* Begins to connect. 0, or -EINVAL or -errno with a sentence (EXIT_CODE_CONFIG): a CA file that cannot be read, a token
 * that cannot be sent, slots the engine cannot count, names that are not UTF-8. */
int engine_link_open(const struct engine_link_options *o, struct engine_link **ret, struct err *e);

/* From the next connection on the engine is told these actor_names; the rest of the options is as before. (It reads
 * them at the beginning of a connection only, and gives actors of other names, too.) 0 or -errno with a sentence. */
int engine_link_announce(struct engine_link *l, const struct engine_link_options *o, struct err *e);

/* Who goes first when the socket is full: pongs (the link's own), then CONTROL (events, acknowledgements), then TRAFFIC
 * (state calls, tunnel), which also waits for the engine to have read what it has. */
enum engine_link_class { ENGINE_LINK_CONTROL, ENGINE_LINK_TRAFFIC };

enum engine_link_outcome {
	ENGINE_LINK_FULL = 1, /* room() will follow */
	ENGINE_LINK_OFFLINE,  /* online(), or never */
	ENGINE_LINK_TOO_BIG,  /* a payload over LIMIT_ENGINE_BODY_BYTES or a frame over LIMIT_WS_MESSAGE_BYTES: the
				 engine would  close the connection. Never sendable */
};

/* Sends one whole frame (ToServer); copies. 0 or enum engine_link_outcome, with nothing sent. */
int engine_link_send(struct engine_link *l, enum engine_link_class class, struct slice frame);

/* Whether everything that was sent is the kernel's now, and leaves this machine whatever becomes of this process. */
bool engine_link_flush(struct engine_link *l);

/* A number that grows with each frame sent, over all connections. After a break it tells, with unsure_from, whether
 * what was sent when it had some value has surely arrived. */
uint64_t engine_link_sent(const struct engine_link *l);
/* The same number of what the engine has surely read. */
uint64_t engine_link_read(const struct engine_link *l);

/* Announces that this runner stops, now and again every LIMIT_LINK_STOPPING_MS, which each time gives it
 * runnerLostThreshold more (section 5.1); the socket stays open for what the actors still have to say. From here on the
 * link does not connect again. Idempotent. */
void engine_link_stopping(struct engine_link *l);
/* Says good-bye: behind what was sent, close 1000. finished() follows. Idempotent. */
void engine_link_finish(struct engine_link *l);

/* Connects afresh, once, to be told commands that were lost inside the engine (section 10, number 2): when it has read
 * what it was sent, so that little is lost; traffic waits meanwhile. At most every
 * LIMIT_LINK_RESYNC_MS: false when that is too soon or there is nothing to do afresh. */
bool engine_link_resync(struct engine_link *l);

/* NULL: registered. Else what it waits for, a sentence; until the next changed(). */
const char *engine_link_why_not(const struct engine_link *l);

struct engine_link_stats {
	uint64_t connects, registrations; /* attempts; those the engine welcomed */
	uint64_t frames_in, frames_out, bytes_in, bytes_out;
	uint64_t frames_bad;   /* undecodable, of the engine */
	uint64_t refused_full; /* sends */
	uint64_t window_shut;  /* times the engine was behind */
	uint64_t evictions;
	const char *state;   /* now; one of engine_link_state_names */
	size_t queued_bytes; /* on their way, now */
	size_t unconsumed;   /* frames the engine is not known to have read, now */
};
void engine_link_stats(const struct engine_link *l, struct engine_link_stats *ret);
/* Every state a link can be in; ends with NULL. */
extern const char *const engine_link_state_names[];

/* Idempotent. Drops the socket; only closed() follows. */
void engine_link_close(struct engine_link *l);
