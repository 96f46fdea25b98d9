/* What the files of local/ know of each other. */
#pragma once

#include "base/map.h"
#include "codec/actor_id.h"
#include "io/http_conn.h"
#include "io/listener.h"
#include "io/timer.h"
#include "local/local.h"
#include "local/local_access.h"
#include "local/local_alarm.h"
#include "local/local_driver.h"
#include "local/local_route.h"

#define LOCAL_MAGIC 0x6c6f6361u

struct local_counters {
	uint64_t refused, api_calls;
	uint64_t restarts[LIMIT_METRIC_TYPES]; /* by actor type: wakes after a failure */
};

struct local {
	uint32_t magic;
	struct local_options o;
	struct http_server *server;
	struct listener *listener;
	struct local_driver *driver;
	struct local_alarm *alarm;
	struct local_access access;
	struct local_counters counters;
	char id[ACTOR_ID_TEXT + 1]; /* of this daemon, as the one runner */
	int64_t started_wall_ms;
	bool draining, drained_told;
	bool *warned;       /* by type: an answer was told that an engine would refuse */
	struct buf scratch; /* head fields of the answer at hand */
	struct loop_task finish;
	struct list requests; /* struct local_request: gateway requests and API calls under way */
	struct map sleepers;  /* of local_hibernation.c, by actor */
	size_t n_departed;    /* of these, whose clients left */
	void (*drained)(void *arg);
	void *drained_arg;
	int parts_open; /* while closing */
	void (*closed)(void *arg);
	void *closed_arg;
};

/* What hangs on an http_conn: the first member of every request's struct. */
struct local_request;
struct local_request_ops {
	void (*body)(struct local_request *r, struct slice s, bool fin);
	void (*writable)(struct local_request *r);
	void (*raw)(struct local_request *r, struct slice s);
	void (*raw_eof)(struct local_request *r);
	void (*gone)(struct local_request *r); /* the connection is no more; r->conn is NULL */
};
struct local_request {
	const struct local_request_ops *ops;
	struct local *local;
	struct http_conn *conn; /* NULL once it has gone or the answer is complete */
	struct list node;
	char ray[64];
	char *origin;    /* the request's Origin when it gets CORS fields, or NULL */
	bool wants_cors; /* the answer carries CORS fields ("*" without an Origin) */
};

/* Fills the common part and hangs it on the connection. */
void local_request_init(struct local_request *r, const struct local_request_ops *ops, struct local *l,
			struct http_conn *c, const struct http_head *h);
/* Another struct takes its place. */
void local_request_move(struct local_request *to, struct local_request *from, const struct local_request_ops *ops);
/* Takes it off the connection and frees the common part (not r). */
void local_request_done(struct local_request *r);

/* Appends "x-rivet-ray-id" and, where due, the CORS fields of an answer. */
void local_request_fields(const struct local_request *r, struct buf *out);

/* Answers an error body {"group","code","message","metadata"}; metadata_json may be NULL. `gateway`: adds
 * x-rivet-error. With retry_after_s > 0 adds Retry-After. The connection's request is over then. */
void local_reply_error(struct local_request *r, unsigned status, const char *group, const char *code,
		       struct slice message, const char *metadata_json, bool gateway, uint32_t retry_after_s);

/* The HTTP front end of an exchange. `body_follows` per the head's framing. */
void local_gateway_request(struct local *l, struct http_conn *c, const struct http_head *h,
			   const struct local_route *route);
/* The WebSocket front end. */
void local_websocket_request(struct local *l, struct http_conn *c, const struct http_head *h,
			     const struct local_route *route);
/* An upgrade that is refused before any actor: 101, then close 1011 "group.code#ray". */
void local_websocket_refuse(struct local *l, struct http_conn *c, const struct http_head *h, const char *group,
			    const char *code);

/* The REST API: answers every request given to it. */
void local_api_request(struct local *l, struct http_conn *c, const struct http_head *h,
		       const struct local_route *route);

/* The type with this name, or NULL. */
const struct actor_type *local_type(const struct local *l, struct slice name);
