/* One request or WebSocket in flight, between a front end (client's side: the
 * gateway, a tunnel, a life cycle call) and a back end (the worker).
 *
 * Created by its front end, joined by its back end when a worker takes it, and
 * freed when both have left; no reference count. Data is pushed; a receiver
 * that is full says so by exchange_stop, and the sender stops reading its peer.
 *
 * Rules: an op never calls exchange_* for the end that is calling it, except
 * exchange_stop/go. After exchange_leave the leaver touches the exchange no
 * more. An exchange that waits (for an actor, for a connection) hangs in its
 * holder's list by `waiting`, with `dropped` telling the holder when the front
 * leaves first. */
#pragma once

#include "base/list.h"
#include "base/metric.h"
#include "codec/http_head.h"

enum exchange_kind { EXCHANGE_HTTP, EXCHANGE_WEBSOCKET };
enum exchange_side { EXCHANGE_FRONT, EXCHANGE_BACK };

/* Why an end leaves. */
enum exchange_why {
	EXCHANGE_DONE, /* complete in both directions */
	EXCHANGE_GONE, /* front: the client left. back: the worker closed or died (no byte of the answer sent, or cut)
			*/
	EXCHANGE_REFUSED,   /* back: not executed; x->refusal has status, group, code, message */
	EXCHANGE_MALFORMED, /* back: the worker's answer broke HTTP; refusal.message says how. An open WebSocket:
			       either side broke it; refusal.status is the close code, refusal.message its reason */
	EXCHANGE_TIMEOUT,   /* back: request_timeout passed before the first byte of the answer */
	EXCHANGE_STOPPED,   /* back: the actor was stopped (sleep, drain, destroy): WebSocket 1001 actor.stopped */
	EXCHANGE_CRASHED,   /* back: its worker crashed: WebSocket 1012 */
};

/* What came of it, as it is counted. */
enum exchange_outcome {
	OUTCOME_OPEN,
	OUTCOME_2XX, /* the worker's answer; a WebSocket that was closed in order */
	OUTCOME_3XX,
	OUTCOME_4XX,
	OUTCOME_5XX,
	OUTCOME_REFUSED, /* never executed; a WebSocket that was not accepted */
	OUTCOME_TIMEOUT,
	OUTCOME_FAILED,  /* the worker ended or broke HTTP before an answer */
	OUTCOME_CUT,     /* the same in the middle of it */
	OUTCOME_STOPPED, /* with its actor */
	OUTCOME_CLIENT_GONE,
	EXCHANGE_OUTCOMES
};

struct exchange;

struct exchange_ops {
	/* To the front: the worker's answer head (for EXCHANGE_WEBSOCKET a 101, or a refusal with its body). The
	 * slices die on return. To the back: never. */
	void (*head)(void *end, struct exchange *x, const struct http_head *h);
	/* Body bytes, or WebSocket frames (client frames masked, worker frames not). fin: the body is complete. */
	void (*data)(void *end, struct exchange *x, struct slice s, bool fin);
	/* The other end takes bytes again. */
	void (*go)(void *end, struct exchange *x);
	/* The other end has left. The end must leave too, at once or when it has flushed what it has. */
	void (*over)(void *end, struct exchange *x, enum exchange_why why);
	/* Of a back end, NULL: none ever. How many bytes of data() its peer's socket has not taken. */
	size_t (*unwritten)(void *end, const struct exchange *x);
	/* Of a back end, NULL: always. Whether its peer's socket takes EXCHANGE_SURE_BYTES whole, now. */
	bool (*sure)(void *end, const struct exchange *x);
};

/* Why nothing was executed: what the client is told. */
struct exchange_refusal {
	unsigned status;        /* 503, 502, 504, ... */
	const char *group;      /* static */
	const char *code;       /* static */
	char *message;          /* owned by the exchange; NULL: the code's standard sentence */
	uint32_t retry_after_s; /* 0: none */
};

struct exchange {
	uint32_t magic;
	enum exchange_kind kind;
	/* The request as the client sent it, deep copy owned by the exchange; NULL for a life cycle call's prebuilt
	 * head. */
	struct http_head *head;
	char *target;       /* what the worker gets: gateway prefix and routing pairs removed */
	char *subprotocols; /* WebSocket: what is offered to the worker; NULL: none */
	char request_id[64];
	/* WebSocket: names the client's connection, the same each time it is opened to a worker; "" none. */
	char connection_id[40];
	bool reopens;    /* WebSocket: the client is connected already, an earlier worker had accepted it */
	bool hibernates; /* WebSocket: the worker agreed, with its 101, that the client outlives it */
	char *forwarded_for, *forwarded_proto, *forwarded_host; /* NULL in engine mode */
	char *lifecycle; /* "start", "alarm", "stop": this is a call of the daemon itself; else NULL */
	char *method;    /* upper case */
	/* Which incarnation serves it, filled by who finds out; for the front's answer and the log. */
	char actor_id[64];
	char *actor_key; /* NULL: none */
	int64_t generation;
	bool no_body;          /* nothing follows the head */
	int64_t begun_mono_us; /* loop_mono_us of its head; 0: nobody's request, it is not counted */
	unsigned type_slot;    /* actor_type.slot, once the type is known */
	unsigned status;       /* of the worker's answer; 0: none yet */
	uint8_t outcome;       /* enum exchange_outcome, once an end has left */
	struct exchange_refusal refusal;
	const char *stop_reason; /* EXCHANGE_STOPPED: why the actor is stopped, static; NULL: not known */
	size_t unwritten;        /* once the back has left */
	struct list waiting;
	void (*dropped)(void *holder, struct exchange *x);
	void *holder;
	struct {
		const struct exchange_ops *ops;
		void *arg;
		bool here, stopped;
		bool calling; /* inside an exchange_* call that runs an op of the other end */
	} ends[2];
};

enum { EXCHANGE_FULL = 1 /* LIMIT_EXCHANGES are open */ };

/* A new exchange with its front end. 0 or EXCHANGE_FULL. The caller then fills begun_mono_us and the text fields, with
 * mem_ strings that the exchange frees. */
int exchange_open(enum exchange_kind kind, const struct exchange_ops *ops, void *arg, struct exchange **ret);

/* The back end joins; x must be in no list (dropped and holder are forgotten). Until then exchange_stopped(x,
 * EXCHANGE_BACK) is true and a front must not push data, so the front's go() follows from here, always. Joining calls
 * go() of the front through no stack of the front: joiners run from the tick. */
void exchange_join(struct exchange *x, const struct exchange_ops *ops, void *arg);
/* Whether a back end ever joined; stays true when it has left. */
bool exchange_joined(const struct exchange *x);

/* The front is somebody else from now on. Also from inside an op of the front. */
void exchange_give_front(struct exchange *x, const struct exchange_ops *ops, void *arg);

/* Calls of end `from`, delivered to the other end (nothing happens when it has left). */
void exchange_head(struct exchange *x, const struct http_head *h); /* back to front */
void exchange_data(struct exchange *x, enum exchange_side from, struct slice s, bool fin);

/* `side` takes no more bytes for now / again. exchange_stopped(x, side): whether it said so; a sender asks after each
 * exchange_data. */
void exchange_stop(struct exchange *x, enum exchange_side side);
void exchange_go(struct exchange *x, enum exchange_side side);
bool exchange_stopped(const struct exchange *x, enum exchange_side side);

/* How many of the bytes the front pushed were not written to the worker's socket: so far, or ever once the back has
 * left. */
size_t exchange_unwritten(const struct exchange *x);

/* Whether EXCHANGE_SURE_BYTES, pushed by the front now, are surely written whole to the worker's socket before the push
 * returns. */
#define EXCHANGE_SURE_BYTES 4096
bool exchange_sure(const struct exchange *x);

/* The end goes; the other end's over(why) is called (or, with no back yet, the holder's dropped(), which takes x out of
 * its list). Not from inside an op that the other end's call runs, but for over(). x may be freed on return. */
void exchange_leave(struct exchange *x, enum exchange_side side, enum exchange_why why);

/* For holders and back ends that never joined: sets the refusal (message is taken over, mem_ memory) and ends the
 * exchange towards the front with EXCHANGE_REFUSED. The exchange must be in no list. */
void exchange_refuse(struct exchange *x, unsigned status, const char *group, const char *code, char *message,
		     uint32_t retry_after_s);

/* Open exchanges, for metrics and drain. */
size_t exchange_count(void);

/* What those that are over came to, by actor type, and how long they took. */
void exchange_metrics(struct metric_out *out);
