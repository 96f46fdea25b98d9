/* Actors' state in the engine: requests of the runner protocol (v7, section 8)
 * with a window, a time-out and a place in line.
 *
 * The engine handles one frame after another, so at most LIMIT_ENGINE_KV_OPS
 * and LIMIT_ENGINE_KV_BYTES are under way and the rest waits. Each request ends
 * in done() exactly once, from the tick: answered, or after
 * LIMIT_ENGINE_KV_MS, or because the link is lost for good. After a reconnect as
 * the same runner what was sent and not answered is sent again, in order. */
#pragma once

#include "codec/runner_msg.h"
#include "worker/runtime_api.h"

struct engine;
struct engine_kv;

struct engine_kv *engine_kv_new(struct engine *g);
/* Fails what is left (from inside: nothing may submit any more). */
void engine_kv_free(struct engine_kv *kv);

enum engine_kv_outcome {
	ENGINE_KV_OK = 0,
	ENGINE_KV_REFUSED, /* the engine's words are in r->error */
	ENGINE_KV_UNSENT,  /* never left the daemon */
	ENGINE_KV_UNKNOWN, /* sent, but the answer did not come: a write may or may not be done */
};

/* r and its slices die when it returns; NULL but for OK and REFUSED. */
typedef void engine_kv_done(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r);

/* Queues a request. `what` is copied; its request_id is given here. done() comes later, never inside. */
void engine_kv_submit(struct engine_kv *kv, const struct runner_kv_request *what, engine_kv_done *done, void *arg);

/* Ends a state call; what its out-members point to lives until it returns. runtime_call_done is one. */
typedef void engine_kv_answered(struct runtime_call *call, enum runtime_outcome outcome);

/* A state call of a worker or an operator, KV kinds only: answered(), then over(), later. Reserved keys are never
 * listed and never deleted by range. */
void engine_kv_call(struct engine_kv *kv, const char *actor_id, struct runtime_call *call, engine_kv_answered *answered,
		    void (*over)(void *arg), void *arg);

/* From the link's events; each only notes. */
void engine_kv_answer(struct engine_kv *kv, const struct runner_kv_response *r);
void engine_kv_online(struct engine_kv *kv, bool same_runner);
void engine_kv_offline(struct engine_kv *kv);
void engine_kv_room(struct engine_kv *kv);
/* Fails everything that waits or is under way, and what comes before the next online(): the actors are another runner's
 * by now, or may be any moment. */
void engine_kv_drop(struct engine_kv *kv);

struct engine_kv_stats {
	uint64_t requests, refused, unanswered;
	size_t waiting, under_way;
};
void engine_kv_stats(const struct engine_kv *kv, struct engine_kv_stats *ret);
