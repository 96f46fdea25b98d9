/* What the files of worker/ know of each other. One owner each: the pool owns
 * its kinds and places, a worker its sockets, connections and process. */
#pragma once

#include "base/log.h"
#include "base/map.h"
#include "codec/ws_frame.h"
#include "io/http_client.h"
#include "io/timer.h"
#include "supervise/proc.h"
#include "worker/runtime_api.h"
#include "worker/worker_count.h"

#define WORKER_POOL_MAGIC 0x77706f6fu
#define WORKER_MAGIC 0x776f726bu
#define WORKER_CONN_MAGIC 0x77636f6eu
#define WORKER_CALL_MAGIC 0x7763616cu
#define WORKER_PLACE_MAGIC 0x706c6163u

#define WORKER_ID_BYTES 19           /* "w-", 16 random hex digits, NUL */
#define WORKER_UNUSED_MS (30 * 1000) /* an idle shared worker without seats ends */
#define WORKER_FAREWELL_MS 500       /* a closed connection may be the first sign of a crash */
#define WORKER_DRAIN_MS 1000         /* reading what a dead worker still had written */
#define WORKER_GOODBYE_MS 1000       /* for a worker to read what a client sent that outlives it */
#define WORKER_BOUNDARY_MS 250       /* waiting for the end of a half-passed frame before a close */
#define WORKER_HEAD_MAX (96 * 1024)  /* a client's head with all we add */
#define WORKER_FORMER_MAX 1024       /* actors a shared worker held before */

struct worker_kind {
	struct list node; /* pool.kinds, the next one to be served first */
	const struct actor_type *type;
	struct list waiting; /* places by node */
	struct list workers; /* by node */
	uint32_t n_workers;
	uint32_t n_places; /* with those that are over and not told yet */
	bool retired;      /* its type was replaced: shared workers end when they are empty */
};

struct worker_pool {
	uint32_t magic;
	struct worker_pool_options o;
	char *dir;
	int lock_fd;
	struct list kinds;
	struct loop_task schedule;
	struct buf scratch; /* the request head being written */
	size_t n_workers, n_places, n_starting;
	unsigned memory_round; /* of measuring, worker_count.c */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- sockets ---- */

struct worker_socket {
	char id[WORKER_ID_BYTES];
	char dir[LIMIT_SOCKET_PATH_BYTES + 1];
	char http[LIMIT_SOCKET_PATH_BYTES + 1]; /* "" with serve: tcp */
	char runtime[LIMIT_SOCKET_PATH_BYTES + 1];
	char notify[LIMIT_SOCKET_PATH_BYTES + 1]; /* "" unless asked for */
	int http_fd;                              /* listening, for the worker; -1 once passed */
	int runtime_fd;                           /* listening, non-blocking */
	int notify_fd;                            /* -1: none */
	uint16_t port;                            /* serve: tcp */
};

/* Makes the directory and the sockets of one worker. 0 or -errno with a sentence; nothing is left then. */
int worker_socket_make(struct worker_socket *s, const char *runtime_dir, const struct actor_type *type, struct err *e);
/* Closes what is open and removes everything, also what the worker put there (one level). */
void worker_socket_remove(struct worker_socket *s);
/* The runtime directory: made or checked, 0711, locked, leftovers cleared. *ret_lock_fd keeps the lock. */
int worker_socket_dir_open(const char *runtime_dir, int *ret_lock_fd, struct err *e);

/* ---- environment ---- */

struct worker_env {
	char **vars; /* NULL-terminated */
	size_t n, room;
};

/* daemon_env: the daemon's own environment, NULL-terminated. actor: the process's one actor, or NULL. */
void worker_env_make(struct worker_env *env, char *const *daemon_env, const struct actor_type *type,
		     const struct worker_socket *s, const char *namespace_name, const struct place_actor *actor);
void worker_env_done(struct worker_env *env);
/* The value of a variable, or NULL. */
const char *worker_env_get(const struct worker_env *env, const char *name);

/* ---- calls of our own, worker_call.c ---- */

struct worker_conn;

enum worker_call_outcome { CALL_ANSWERED, CALL_CUT, CALL_MALFORMED, CALL_UNREACHABLE, CALL_TIMEOUT };

/* One request of the daemon, embedded in its owner, one at a time. */
struct worker_call {
	uint32_t magic;
	struct worker *worker; /* NULL: not under way */
	struct list node;      /* worker.calls_waiting */
	struct worker_conn *conn;
	struct timer deadline;
	struct buf bytes; /* the whole request */
	unsigned status;
	int failure;           /* -errno, with CALL_UNREACHABLE */
	struct loop_task tell; /* unreachable */
	/* Never inside worker_call_send. */
	void (*done)(struct worker_call *c, enum worker_call_outcome outcome);
	void *arg;
};

void worker_call_init(struct worker_call *c, struct loop *l,
		      void (*done)(struct worker_call *c, enum worker_call_outcome outcome), void *arg);
/* Writes the request: lifecycle NULL for a plain GET; `fields` are ready lines. */
void worker_call_write(struct worker_call *c, const char *method, const char *path, const char *lifecycle,
		       struct slice fields, struct slice body);
/* timeout_ms < 0: none. */
void worker_call_send(struct worker_call *c, struct worker *w, int64_t timeout_ms);
bool worker_call_running(const struct worker_call *c);
/* Its connection is closed, done() is not called. Idempotent. */
void worker_call_cancel(struct worker_call *c);
void worker_call_done(struct worker_call *c); /* cancels and frees */
/* From worker_conns.c. */
void worker_call_begin(struct worker_call *c, struct worker_conn *conn);
void worker_call_unreachable(struct worker_call *c, int why);
void worker_call_over(struct worker_call *c, enum worker_call_outcome outcome);

/* ---- the worker ---- */

enum worker_state {
	WORKER_STARTING, /* not ready */
	WORKER_READY,
	WORKER_ENDING, /* told to end, or being killed */
	WORKER_EXITED, /* reaped; what it still had written is read */
	WORKER_CLOSING,
};

struct worker {
	uint32_t magic;
	uint8_t state; /* enum worker_state */
	bool asked;    /* its end is our wish */
	bool has_slot; /* counts as starting */
	struct list node;
	struct worker_pool *pool;
	struct worker_kind *kind;
	const struct actor_type *type;
	char *namespace_name;
	struct worker_socket sockets;
	struct proc *proc; /* NULL: not spawned, or gone */
	int32_t pid;
	int64_t since_mono_us; /* made */
	char *failure;         /* why its start failed, or NULL */
	uint8_t failure_kind;  /* enum worker_start_failure: of that, or how it ended */
	char *ended;           /* how it ended, with its last words; set with WORKER_EXITED */
	uint64_t memory_bytes; /* measured in memory_round */
	unsigned memory_round;
	struct timer drain;
	struct loop_task finish;

	/* worker_ready.c */
	struct timer poll;
	int64_t poll_ms;
	struct worker_call health;
	struct fd_watch *notify;

	/* seats */
	struct map places;
	struct list seats;
	struct timer unused;
	char (*former)[64]; /* ring, allocated with the first */
	size_t n_former;    /* ever */

	/* worker_conns.c */
	struct list idle; /* connections, the latest used first */
	struct list busy;
	size_t n_conns;   /* with those that are WebSockets */
	size_t n_sockets; /* WebSockets, which are in nobody's way */
	struct list calls_waiting;
	struct list waiting; /* exchanges */
	size_t n_waiting;
	struct timer sweep;
	struct timer retry;
	int64_t retry_ms;
	int pending_fd; /* serve: tcp: a connection under way, or -1 */
	struct loop_task pump;

	struct runtime_socket *runtime;
};

/* Starts a process for the place and seats it; the place learns of everything. */
void worker_start(struct worker_kind *kind, struct place *first);
/* The worker is ready: its seats get their start calls. */
void worker_is_ready(struct worker *w);
/* Its start has failed; the sentence (mem_) is taken. It is killed and its starting seats are lost when it is reaped.
 */
void worker_fail(struct worker *w, enum worker_start_failure kind, char *why);
/* SIGTERM now, SIGKILL after grace_ms. */
void worker_end(struct worker *w, int64_t grace_ms);
/* Something of it has closed, or its last exchange is over: goes on with ending, when it is. */
void worker_look(struct worker *w);
/* It counts no longer as starting. */
void worker_slot_free(struct worker *w);
/* Its type was replaced: a shared one ends as soon as nobody sits there. */
void worker_retire(struct worker *w);
/* A seat was taken or left. */
void worker_seats_changed(struct worker *w);
/* Start calls may be made. */
bool worker_takes_calls(const struct worker *w);
bool worker_has_room(const struct worker *w, const struct place *pl);
struct place *worker_find_place(const struct worker *w, struct slice actor_id);
bool worker_held(const struct worker *w, struct slice actor_id);
void worker_note_former(struct worker *w, const char *actor_id);

/* ---- readiness, worker_ready.c ---- */

void worker_ready_init(struct worker *w);
void worker_ready_begin(struct worker *w);
/* Idempotent. */
void worker_ready_end(struct worker *w);

/* ---- connecting, worker_connect.c ---- */

enum { WORKER_AGAIN = 1 };
/* 0 with a connected close-on-exec descriptor; WORKER_AGAIN (backlog full, connection under way); -errno. */
int worker_connect(struct worker *w, int *ret_fd);
void worker_connect_abandon(struct worker *w);

/* ---- connections, worker_conns.c ---- */

enum worker_conn_state {
	CONN_IDLE,
	CONN_CALL,
	CONN_HTTP,   /* an exchange, before or without an upgrade */
	CONN_WS,     /* an open WebSocket */
	CONN_LINGER, /* the last bytes go out; nobody is interested in what comes */
	CONN_CLOSING,
};

struct worker_ws {
	struct ws_tracker from_client, from_worker;
	enum place_use use;
	bool stopping; /* a close frame of ours goes to both as soon as no frame is half passed */
	bool farewell; /* use SLEEPS, stopping: the worker has a close frame and is to answer it */
	size_t farewell_bytes;
	bool worker_ended; /* without a close frame */
};

struct worker_conn {
	uint32_t magic;
	uint8_t state; /* enum worker_conn_state */
	bool has_body; /* of the request; until its end is sent */
	bool answered; /* the answer's head was passed on */
	struct list node;
	struct worker *worker;
	struct http_client *client;
	struct worker_call *call; /* CALL */
	struct place *place;      /* HTTP, WS */
	struct exchange *x;       /* HTTP, WS; NULL once left */
	struct worker_ws *ws;
	struct timer timer;
	struct loop_task fault; /* the client broke the WebSocket protocol */
	char accept[29];
};

void worker_conns_init(struct worker *w);
/* A connection, new or idle. 0; WORKER_AGAIN: the pump will try again; -errno. */
int worker_conns_take(struct worker *w, bool beyond_limit, struct worker_conn **ret);
/* Serves what waits, in the tick. */
void worker_conns_post(struct worker *w);
/* The connection's user is through with it. */
void worker_conn_release(struct worker_conn *c, bool reusable);
void worker_conn_close(struct worker_conn *c);
/* Keeps it for as long as the worker needs to read the end and close, at most LIMIT_WS_CLOSE_MS. */
void worker_conn_linger(struct worker_conn *c);
void worker_conns_close_idle(struct worker *w);
void worker_conns_close(struct worker *w);

/* ---- exchanges, worker_forward.c ---- */

/* Gives the exchange (in no list, its place the holder) the connection. From the tick. */
void worker_forward_begin(struct worker_conn *c, struct exchange *x);
/* Refuses an exchange that is in no list, and tells the place. From the tick. */
void worker_forward_refuse(struct place *pl, struct exchange *x, unsigned status, const char *group, const char *code,
			   const char *why);
/* Ends everything of the place (NULL: of every place): what waits is refused, what runs is cut. */
void worker_forward_cut(struct worker *w, struct place *pl);
/* Open WebSockets of the place are closed with 1001. Those whose clients outlive the worker are closed towards the
 * worker, which has a moment to read what it was sent and to answer (pl->n_farewells); not when it is now. */
void worker_forward_stop_sockets(struct worker *w, struct place *pl, bool now);
void worker_forward_head(struct worker_conn *c, const struct http_head *h);
void worker_forward_body(struct worker_conn *c, struct slice s);
void worker_forward_over(struct worker_conn *c, enum http_client_why why, bool reusable);
void worker_forward_raw(struct worker_conn *c, struct slice s);
void worker_forward_raw_eof(struct worker_conn *c);
void worker_forward_timeout(struct worker_conn *c);
void worker_forward_fault(struct worker_conn *c);
/* The process is gone: WebSockets that ended with it crashed. */
void worker_forward_exited(struct worker *w);

/* ---- heads, worker_head.c ---- */

/* Appends the canonical request head of the exchange: `fields` are the actor's lines. *ret_has_body and *ret_chunked
 * say what follows; accept (29 bytes) is what an upgrade must be answered with, "" without one. */
void worker_head_put(struct buf *out, const struct exchange *x, struct slice fields, bool *ret_has_body,
		     bool *ret_chunked, char accept[29]);
/* The x-rivet-actor-* lines of a place. */
void worker_head_put_actor(struct buf *out, const struct place_actor *a);

/* ---- places, worker_place.c ---- */

enum place_state {
	PLACE_WAITING,  /* no seat yet; in kind.waiting */
	PLACE_SEATED,   /* its worker is not ready */
	PLACE_STARTING, /* the start call is under way */
	PLACE_LOADED,
	PLACE_STOPPING, /* the stop call is under way */
	PLACE_ENDING,   /* its own process is ending */
	PLACE_OVER,     /* the last event is owed */
};

struct place {
	uint32_t magic;
	uint8_t state; /* enum place_state */
	bool farewell; /* STARTING: the call was cut; waiting for the process to explain itself */
	struct list node;
	struct map_node by_id;
	struct worker_pool *pool;
	struct worker_kind *kind;
	struct worker *worker; /* NULL before a seat and when OVER */
	const struct place_events *events;
	void *arg;
	char actor_id[64];
	char *name, *key, *namespace_name;
	int64_t generation, create_ts;
	uint8_t *input; /* freed with the start call */
	size_t input_len;
	bool has_input;
	struct buf fields;  /* x-rivet-actor-*, ready lines */
	struct timer timer; /* of the state */
	struct worker_call life, alarm;
	const char *stop_reason;
	int64_t stop_due_mono_ms;
	bool holding;    /* LOADED: asked to stop, requests may finish before the stop call */
	uint32_t n_http; /* exchanges forwarded that are no open WebSocket */
	uint32_t n_farewells;
	struct list late; /* exchanges to refuse */

	/* events owed, told by `tell` in this order */
	struct loop_task tell;
	bool owe_placed, owe_loaded, owe_alarm, alarm_ok, owe_unplaceable;
	uint32_t owe_open[PLACE_USES], owe_over[PLACE_USES];
	char *alarm_why;
	enum place_lost how;
	char *reason;
};

struct place *worker_place_new(struct worker_pool *p, struct worker_kind *kind, const struct place_actor *actor,
			       const struct place_events *events, void *arg);
/* It has a seat on w. */
void worker_place_seat(struct place *pl, struct worker *w);
/* Its worker is ready: makes the start call. */
void worker_place_load(struct place *pl);
/* The end: everything of it is cut, `lost` owed; the sentence (mem_ or NULL) is taken. */
void worker_place_over(struct place *pl, enum place_lost how, char *reason);
void worker_place_exchange_over(struct place *pl, enum place_use use);
void worker_place_socket_open(struct place *pl, enum place_use use);
/* Loaded once, and told to stop: WebSockets that open now are not for this worker. */
bool worker_place_stops(const struct place *pl);
/* It came too late for the place: refused in the tick. */
void worker_place_late(struct place *pl, struct exchange *x);
/* The process is gone: which end that is for this place. */
void worker_place_exited(struct place *pl);

/* ---- worker_pool.c ---- */

/* Looks whether someone who waits can have a seat, in the tick. */
void worker_pool_schedule(struct worker_pool *p);
/* A worker or a place is gone; may end the closing pool. */
void worker_pool_look(struct worker_pool *p);

/* ---- runtime_api.c ---- */

struct runtime_socket;
/* Serves the listening descriptor (taken over on 0). */
int runtime_socket_open(struct worker *w, int fd, struct runtime_socket **ret);
/* The worker forgets it; worker_look(w) follows when all is closed and w->runtime is NULL. */
void runtime_socket_close(struct runtime_socket *rs);
/* The place's calls go on without it. */
void runtime_socket_forget(struct runtime_socket *rs, struct place *pl);
