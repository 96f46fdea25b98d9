/* All workers of all actor types: how many run, which actor is on which, fair
 * starting under starts_max.
 *
 * The pool is asked to place an actor and answers with events, always from the
 * tick. A place is one actor's seat on one worker: the process of its own
 * (isolation actor) or a seat in a shared one. The pool knows no life cycle. */
#pragma once

#include "supervise/guardian.h"
#include "traffic/exchange.h"
#include "worker/actor_type.h"

struct worker_pool;
struct place;

/* Who sits there. Copied by worker_pool_place. */
struct place_actor {
	const char *actor_id, *name, *key; /* key NULL: none */
	const char *namespace_name;
	int64_t generation, create_ts;
	struct slice input; /* raw; has_input false: null in the start call */
	bool has_input;
};

enum place_lost {
	PLACE_CRASHED,      /* the process ended unasked */
	PLACE_START_FAILED, /* spawn, readiness or start call; `reason` has the sentence with the stderr tail */
	PLACE_STOPPED,      /* asked for, by worker_place_stop or worker_place_kill */
};

/* What an exchange came to be. */
enum place_use {
	PLACE_REQUEST,       /* a request, or an upgrade that is not accepted yet */
	PLACE_SOCKET,        /* an open WebSocket */
	PLACE_SOCKET_SLEEPS, /* an open WebSocket whose client outlives the worker: it holds nobody awake */
	PLACE_USES
};

struct place_events {
	/* A worker is (being) started for it: the actor's start call follows by itself. */
	void (*placed)(void *arg);
	/* No seat and none to be had: `reason` says why (limit). A last event, as lost: the place is freed after it. */
	void (*unplaceable)(void *arg, const char *reason);
	/* Ready and the start call accepted: traffic may come. */
	void (*loaded)(void *arg);
	/* An alarm call ended: ok when 2xx; `why` is a sentence otherwise. */
	void (*alarm_done)(void *arg, bool ok, const char *why);
	/* An exchange given to worker_place_forward has ended (refused ones too): once for each, before lost, never
	 * inside worker_place_forward. use: as websocket_open told, else PLACE_REQUEST. */
	void (*exchange_over)(void *arg, enum place_use use);
	/* The worker accepted an upgrade: one of the exchanges forwarded is an open WebSocket now, of this sort. */
	void (*websocket_open)(void *arg, enum place_use use);
	/* The worker's runtime socket asked: see runtime_api.h, which calls the actor layer through struct runtime_ops.
	 */
	/* Last event: the seat is gone (stop answered and, with a process of its own, the process reaped; or crash; or
	 * failed start). reason: a sentence, NULL for PLACE_STOPPED. The place is freed after this returns. */
	void (*lost)(void *arg, enum place_lost how, const char *reason);
};

struct worker_pool_options {
	struct loop *loop;
	struct guardian *guardian;
	const char *runtime_dir;
	uint32_t starts_max;               /* processes starting at once */
	int64_t wait_min_ms;               /* an actor waits for its seat at least so long; its start_timeout if more */
	const struct runtime_ops *runtime; /* what runtime sockets call */
	void *runtime_arg;
	/* The type is at workers_max and an actor waits: the owner may put its longest idle actor to sleep (post it).
	 */
	void (*crowded)(void *arg, const struct actor_type *type);
	void *arg;
};

/* 0 or -errno with a sentence. Locks runtime_dir (0711), clears leftovers of an earlier daemon. */
int worker_pool_open(const struct worker_pool_options *o, struct worker_pool **ret, struct err *e);

/* Kills what is left at once; closed() when every process is reaped and every handle gone. */
void worker_pool_close(struct worker_pool *p, void (*closed)(void *arg), void *arg);

/* Asks for a seat. Waits in the fair queue when the type is at workers_max or starts_max are starting; the waiting ends
 * with worker_place_kill, or with unplaceable when the longer of wait_min_ms and type->start_timeout_ms passes without
 * a seat. `events` come from the tick. */
struct place *worker_pool_place(struct worker_pool *p, const struct actor_type *type, const struct place_actor *actor,
				const struct place_events *events, void *arg);

/* The stop call with this reason ("sleep", "destroy", "drain", "restart", "evicted", "lost") and the milliseconds left;
 * then the process (isolation actor) gets SIGTERM, and SIGKILL at the deadline. Forwarded requests still running are
 * served until the stop call is answered; WebSockets are closed with 1001 first (see exchange why STOPPED).
 * lost(PLACE_STOPPED) follows. Calling again only shortens. */
void worker_place_stop(struct place *pl, const char *reason, int64_t deadline_ms);

/* At once: own process killed; shared seat fenced (connections cut, runtime calls 409). lost(PLACE_STOPPED) follows. */
void worker_place_kill(struct place *pl);

/* Joins the exchange as its back end and forwards it (the place must be loaded). Full queue: exchange_refuse 503
 * actor.overloaded. */
void worker_place_forward(struct place *pl, struct exchange *x);

/* The alarm call. alarm_done follows unless lost comes first. One at a time. */
void worker_place_alarm(struct place *pl, int64_t due_wall_ms, int32_t attempt);

/* The type was replaced or removed: its shared workers end as soon as they are empty. Idempotent. */
void worker_pool_retire(struct worker_pool *p, const struct actor_type *type);
/* The type is in force again. Idempotent. */
void worker_pool_renew(struct worker_pool *p, const struct actor_type *type);
/* Forgets a type. False while a worker or a place is of it: then it is still referred to. */
bool worker_pool_forget(struct worker_pool *p, const struct actor_type *type);
/* For starts from now on. */
void worker_pool_set_starts_max(struct worker_pool *p, uint32_t starts_max);

/* For messages and metrics. */
const char *worker_place_worker_id(const struct place *pl); /* "" while waiting */
int32_t worker_place_pid(const struct place *pl);           /* 0 while waiting */
struct worker_view {
	const char *id, *name, *state;
	int32_t pid; /* 0: not spawned, or gone */
	int64_t up_ms;
	size_t actors, connections;
};
/* fn is called for each process; it must not call back. */
void worker_pool_each(const struct worker_pool *p, void (*fn)(void *arg, const struct worker_view *v), void *arg);
struct worker_pool_stats {
	uint64_t workers, starting;
};
void worker_pool_stats(const struct worker_pool *p, struct worker_pool_stats *ret);
