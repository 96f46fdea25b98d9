/* What engine_sleeper.c and engine_sleeper_record.c know of each other. */
#pragma once

#include "engine/engine_tunnel_private.h"
#include "traffic/hibernation.h"

enum engine_sleeper_state {
	SLEEPER_OPENING,  /* attached; what is to be remembered of it is being written, then the engine gets its answer
			   */
	SLEEPER_ATTACHED, /* to a worker */
	SLEEPER_ASLEEP,
	SLEEPER_WAKING, /* its exchange waits for a worker's answer */
};

/* A WebSocket whose client outlives its worker. */
struct engine_sleeper {
	struct engine_flow f;
	uint8_t state;      /* enum engine_sleeper_state */
	bool agreed;        /* so did the worker at hand, and the engine was told */
	bool any_index;     /* restored: the next message is the first that is known */
	bool client_closed; /* the engine has no more to do with it */
	bool worker_closed;
	bool quits;            /* freed in the tick */
	bool dropped;          /* a message that the engine has, and may not send again unasked */
	bool suspect;          /* the engine did not name it at the start of its actor */
	uint16_t expected;     /* index of the client's next message */
	uint16_t first;        /* index of the message that was the first to be promised */
	uint64_t number;       /* tells it from another of the same pair */
	uint64_t bytes_in;     /* of its whole life: the engine's own bound counts so */
	unsigned gaps, tries;  /* in a row */
	int64_t asked_mono_ms; /* for what was lost; 0: not, or answered */
	size_t charged;        /* for what h keeps */
	struct hibernation *h;
	struct ws_reader *from_worker;
	struct timer ack_timer;
	int64_t look_ms;
	struct timer look; /* ATTACHED: not all is handed over, or known to be written */
	struct timer hold; /* nothing is said to the client while the engine attaches it again */
	struct list node;  /* engine_tunnel_actor.sleepers */
};

/* From the engine's point of view the flow is this. */
struct engine_sleeper *engine_sleeper_of(struct engine_flow *f);
/* A flow of that pair whose request is h, asleep; NULL: no room. h is taken. */
struct engine_sleeper *engine_sleeper_restore(struct engine_tunnel *t, const struct runner_socket_id *id,
					      const char *actor_id, struct http_head *h, const char *connection_id,
					      struct slice subprotocols, struct slice chosen);
/* What is to be remembered was written, or could not be. */
void engine_sleeper_recorded(struct engine_sleeper *s, bool ok);
/* Asks the engine for every message that it has no acknowledgement of. */
void engine_sleeper_ask(struct engine_sleeper *s);
/* The engine does not know it any more. */
void engine_sleeper_lost(struct engine_sleeper *s);

/* Where they are remembered: the pair follows the one, the other is behind all of them. */
#define ENGINE_SLEEPER_KEYS SLICE_LIT("\0rivet-runnerd/socket/")
#define ENGINE_SLEEPER_KEYS_END SLICE_LIT("\0rivet-runnerd/socket0")

/* ---- engine_sleeper_record.c ---- */

/* Writes what the actor's next runner needs; engine_sleeper_recorded follows, unless the sleeper is gone by then. */
void engine_sleeper_record(struct engine_sleeper *s, const struct exchange *x, const struct http_head *answer);
/* Forgets that. */
void engine_sleeper_erase(struct engine_sleeper *s);
/* One that was remembered, asleep; NULL: known already, no sense in the record, or no room. */
struct engine_sleeper *engine_sleeper_read(struct engine_tunnel *t, const char *actor_id, struct slice key,
					   struct slice record);
