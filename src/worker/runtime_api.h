/* The HTTP API a worker calls on its runtime socket: parses and validates
 * calls, checks the socket's right to the actor, and hands them to struct
 * runtime_ops (implemented by actor/). Limits and error bodies live here. */
#pragma once

#include "worker/worker_pool.h"

enum runtime_kind {
	RUNTIME_INFO,
	RUNTIME_INPUT,
	RUNTIME_KV_GET,
	RUNTIME_KV_PUT,
	RUNTIME_KV_DELETE,
	RUNTIME_KV_LIST,
	RUNTIME_KV_DELETE_RANGE,
	RUNTIME_KV_BATCH_GET,
	RUNTIME_ALARM_GET,
	RUNTIME_ALARM_SET, /* at_wall_ms; 0 clears */
	RUNTIME_SLEEP,
	RUNTIME_DESTROY,
	RUNTIME_KEEP_AWAKE, /* ttl_ms, reason */
	RUNTIME_LEASE_END,  /* lease */
};

enum runtime_outcome {
	RUNTIME_OK = 0,
	RUNTIME_ABSENT = 1,  /* 404: no such lease */
	RUNTIME_STOPPING,    /* 409 actor.stopping */
	RUNTIME_STALE,       /* 409 actor.stale_generation */
	RUNTIME_DISK_FULL,   /* 507 */
	RUNTIME_UNAVAILABLE, /* 503; `indeterminate` may be set */
	RUNTIME_TOO_MANY,    /* 429 */
};

struct runtime_kv_pair {
	struct slice key, value; /* into `memory` or the driver's own, until runtime_call_done returned */
	int64_t updated_wall_ms;
};

/* One call under way. Made by runtime_api, answered exactly once through runtime_call_done, from the tick or later,
 * never inside runtime_ops.call. */
struct runtime_call {
	uint32_t magic;
	enum runtime_kind kind;
	struct place *place; /* NULL once the worker has gone: answer all the same */
	void *actor;         /* place_events arg of the place: the actor */
	/* in */
	struct runtime_kv_pair *pairs; /* PUT (1 or batch), DELETE, GET */
	size_t n_pairs;
	struct runtime_kv_pair *gets; /* of a batch that writes: read before, and nothing is written unless
					 runtime_entries_fit */
	size_t n_gets;
	bool utf8;               /* how keys and values are said */
	struct slice start, end; /* LIST, DELETE_RANGE; n 0 with has_* false: unbounded */
	bool has_start, has_end, end_exclusive, reverse;
	size_t limit;
	int64_t at_wall_ms, ttl_ms;
	struct slice reason;
	char lease[40];
	/* out */
	struct runtime_kv_pair *entries;
	size_t n_entries;
	struct slice next;
	bool has_next;
	int64_t alarm_at_wall_ms; /* 0: none */
	struct slice input;
	bool has_input;
	bool indeterminate;
	const char *message; /* a sentence for an error, or NULL */
	void (*release)(
	    struct runtime_call *call); /* set by the answerer: frees what out-slices point to; NULL: nothing */
	void *release_arg;
};

struct runtime_ops {
	void (*call)(void *arg, struct runtime_call *call);
};

/* Whether these can be said in an answer. Pure: from any thread. */
bool runtime_entries_fit(const struct runtime_kv_pair *entries, size_t n, bool utf8);

/* Ends the call: the answer is written (if the worker still listens) and the call freed. */
void runtime_call_done(struct runtime_call *call, enum runtime_outcome outcome);
