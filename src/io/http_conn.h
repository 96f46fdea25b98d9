/* Server side of one HTTP/1.1 connection: one request at a time, pipelined
 * ones wait their turn in a bounded stash (RFC 9112 9.3.2).
 *
 * The user is told of a request, answers it with head, data and end in order,
 * and is told when the client has gone. Between `request` and the end of the
 * answer the user may keep a pointer to the connection; `gone` ends that. */
#pragma once

#include "codec/http_head.h"
#include "io/stream.h"

struct http_conn;
struct http_server;

struct http_conn_events {
	/* A request begins. The head dies on return. The user must answer it, now or
	 * later (http_conn_reply or http_conn_head...). Body bytes follow through body();
	 * its last call has fin and an empty slice, also for a request without a body.
	 * None comes once the answer is complete or the connection upgraded. A client
	 * that waits for "100 Continue" gets it when the body is wanted: not while
	 * paused, and not once it is answered. */
	void (*request)(void *arg, struct http_conn *c, const struct http_head *h);
	void (*body)(void *arg, struct http_conn *c, struct slice s, bool fin);
	/* The client takes bytes again (the answer's queue had been above high water). */
	void (*writable)(void *arg, struct http_conn *c);
	/* After http_conn_upgrade: raw bytes. */
	void (*raw)(void *arg, struct http_conn *c, struct slice s);
	/* After http_conn_upgrade: the client closed its sending side; no more raw(). */
	void (*raw_eof)(void *arg, struct http_conn *c);
	/* The exchange cannot be completed: the client left (a reset, or LIMIT_HTTP_HALF_CLOSE_MS without a byte for it
	 * after its FIN) or broke HTTP in the body, the server is being closed, or the answer ran over the stream's
	 * bound. Last call for this request. Not called once the answer is complete, nor after http_conn_abort or
	 * http_conn_raw_close. What the user says between the cause and this call is dropped. */
	void (*gone)(void *arg, struct http_conn *c);
};

struct http_server_options {
	const char *name;       /* "api", "admin", "runtime", "control": for log and metrics */
	size_t target_max;      /* longest request target; a longer one is answered 414 */
	bool target_is_content; /* or 413 as for a body, because keys are in it */
	size_t conns_max;       /* more are refused with 503 and closed */
	const struct http_conn_events *events;
	void *arg; /* given to every event */
};

/* A set of connections fed by one listener. `events`, `name` must outlive it. */
struct http_server *http_server_new(struct loop *l, const struct http_server_options *o);
/* A descriptor to serve; taken over (closed when it cannot be served). */
void http_server_give(struct http_server *s, int fd);
size_t http_server_count(const struct http_server *s);
/* Idle connections are closed now, busy ones after their answer ("connection: close" in it). */
void http_server_drain(struct http_server *s);
/* Cuts all connections; closed() later, when none is left; then the server is freed. */
void http_server_close(struct http_server *s, void (*closed)(void *arg), void *arg);

/* The user's pointer for the request at hand; NULL at each `request`. */
void http_conn_set_user(struct http_conn *c, void *user);
void *http_conn_user(const struct http_conn *c);

/* The client's address as text; lives as long as the connection. */
const char *http_conn_peer(const struct http_conn *c);

/* While paused no body or raw event comes; up to 64 KiB are stashed, so that a client that leaves is still noticed. */
void http_conn_pause(struct http_conn *c, bool stop);

/* Each answer says in its head whether the connection lives on: not when the client or draining forbids it, for an
 * answer framed by its end, for a refused upgrade, for an unanswered "Expect: 100-continue", or when more than
 * LIMIT_HTTP_DRAIN_BYTES of the request's body are still to come. */

/* Whole answer. `fields` is bytes of complete field lines ("name: value\r\n"...) or empty; content-length, date and
 * connection are added. If the request's body was not read it is drained or the connection closed after the answer. */
void http_conn_reply(struct http_conn *c, unsigned status, struct slice fields, struct slice body);

/* A streamed answer: head, any data, end. framing LENGTH needs length; CHUNKED turns into end-of-connection for
 * HTTP/1.0 clients; NONE for 204, 304 (a content-length given in fields is kept) and answers to HEAD (data is
 * then ignored). `fields` as above without framing, connection or date fields. */
void http_conn_head(struct http_conn *c, unsigned status, struct slice fields, enum http_framing framing,
		    uint64_t length);
/* True: go on; false: above high water, stop until writable(). */
bool http_conn_data(struct http_conn *c, struct slice s);
/* The answer must be as long as its LENGTH said before the end. */
void http_conn_end(struct http_conn *c);

/* Cuts the connection so that the answer cannot be taken for complete (RST when bytes are owed). */
void http_conn_abort(struct http_conn *c);

/* Sends a 101 with these fields (upgrade, connection and sec-websocket-accept are added) and turns to raw bytes. */
void http_conn_upgrade(struct http_conn *c, struct slice fields);
/* True: go on; false: above high water. */
bool http_conn_raw(struct http_conn *c, struct slice s);
/* Ends an upgraded connection after what is queued has gone, waiting for the peer's FIN at most LIMIT_WS_CLOSE_MS. */
void http_conn_raw_close(struct http_conn *c);
