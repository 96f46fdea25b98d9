/* What http_server.c, http_conn.c and http_conn_answer.c know of each other. */
#pragma once

#include "io/cork.h"
#include "io/http_conn.h"
#include "io/timer.h"

struct http_server {
	uint32_t magic;
	struct loop *loop;
	struct http_server_options options;
	struct list conns; /* struct http_conn, by node */
	size_t n_conns;
	bool draining;
	bool closing;
	struct loop_task finish; /* closed() when there never was a connection to wait for */
	void (*closed)(void *arg);
	void *closed_arg;
};

enum conn_state {
	CONN_IDLE,   /* between requests */
	CONN_HEAD,   /* part of a head is there */
	CONN_BUSY,   /* the user has a request */
	CONN_DRAIN,  /* answered; the rest of the request's body is dropped */
	CONN_LINGER, /* FIN sent or on its way; waiting for the client's */
	CONN_RAW,    /* upgraded */
	CONN_CUT,    /* closing; the user will be told */
	CONN_GONE,   /* closing; there is nobody to tell */
};

enum answer { ANSWER_NONE, ANSWER_BEGUN, ANSWER_DONE };

/* The request at hand; a new one begins with zeros. */
struct request {
	void *user;
	uint8_t answer;       /* enum answer */
	uint8_t framing;      /* of the answer; HTTP_FRAMING_NONE: data is ignored */
	uint64_t answer_left; /* bytes of the answer still to come, with HTTP_FRAMING_LENGTH */
	uint64_t sent;        /* bytes of the answer so far */
	uint64_t body_left;   /* bytes of the request still to come, when its length is known */
	size_t dropped;       /* bytes of the body that came after the answer */
	bool body_done;       /* the request is read to its end */
	bool old;             /* HTTP/1.0 */
	bool is_head;
	bool upgrade;
	bool client_keeps; /* the client lets the connection live */
	bool keep;         /* so do we: decided with the answer's head */
	bool continue_due; /* the client waits for 100 */
	bool paused;       /* the user wants no body */
	bool parser_held;  /* the parser stopped for that */
	char accept[29];   /* Sec-WebSocket-Accept */
};

struct http_conn {
	uint32_t magic;
	uint8_t state; /* enum conn_state */
	bool feeding;  /* inside http_parser_feed */
	bool eof;      /* the client's FIN has come */
	struct list node;
	struct http_server *server;
	struct stream *stream;
	struct http_parser *parser;
	struct cork out;
	struct buf stash;
	struct timer deadline;
	struct loop_task pump;
	size_t queued_before; /* lingering: to see whether the client still takes bytes */
	uint64_t sent_before; /* after the client's FIN: to see whether its answer goes on */
	struct request req;
	char peer[64];
};

/* From answering to what comes next; does nothing before the answer is complete. */
void http_conn_settle(struct http_conn *c);
/* Nothing more will be sent: FIN after what is queued, then at most linger_ms for the client to close. */
void http_conn_linger(struct http_conn *c, int64_t linger_ms);

/* Serves fd, or with `refused` only says 503. On failure (-errno) the fd stays the caller's. */
int http_conn_open(struct http_server *s, int fd, bool refused);
/* The connection whose list node this is. */
struct http_conn *http_conn_of(struct list *node);
/* Closes it when it is between requests. */
void http_conn_drain(struct http_conn *c);
/* Closes it; a user is told `gone`, later. */
void http_conn_cut(struct http_conn *c);
/* From http_conn.c: the connection's memory is gone. */
void http_server_left(struct http_server *s);
