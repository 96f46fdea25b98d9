/* Client side of one HTTP/1.1 connection to a worker: one request at a time.
 *
 * The owner gives canonical request heads made with codec/http_head and gets
 * the parsed answer. Answers are read with the same suspicion as requests. */
#pragma once

#include "codec/http_head.h"
#include "io/stream.h"

struct http_client;

enum http_client_why {
	HTTP_CLIENT_DONE = 0,      /* the answer is complete */
	HTTP_CLIENT_CUT = 1,       /* the worker closed or failed before the answer was complete */
	HTTP_CLIENT_MALFORMED = 2, /* the worker's answer broke HTTP; http_client_error says how */
};

struct http_client_events {
	void (*head)(void *arg, const struct http_head *h); /* final answer (or 101); the head dies on return */
	void (*body)(void *arg, struct slice s);
	void (*writable)(void *arg); /* request bytes are taken again */
	/* The request is over. `reusable`: the connection may carry another one, from inside this call on. Else it is
	 * dead and must be closed; further body bytes are dropped. answered: some byte of an answer had arrived.
	 * Not called after a 101. */
	void (*over)(void *arg, enum http_client_why why, bool answered, bool reusable);
	void (*raw)(void *arg, struct slice s); /* after a 101 */
	void (*raw_eof)(void *arg);             /* after a 101: the worker closed or failed */
	void (*idle_closed)(void *arg);         /* closed by the worker between requests */
	void (*closed)(void *arg);              /* http_client_close is complete; memory is gone */
};

/* Adopts a connected descriptor. -errno: the fd stays the caller's. */
int http_client_open(struct loop *l, int fd, const struct http_client_events *events, void *arg,
		     struct http_client **ret);

/* Changes who gets the events (a pooled connection given to another exchange). Only between requests. */
void http_client_set_arg(struct http_client *c, void *arg);

/* Sends a request head (ending with the empty line). chunked: http_client_body adds chunk framing.
 * has_body: http_client_body(fin) will follow. */
void http_client_request(struct http_client *c, struct slice head, bool head_request, bool upgrade_asked, bool has_body,
			 bool chunked);
/* True: go on; false: above high water, wait for writable(). */
bool http_client_body(struct http_client *c, struct slice s, bool fin);
/* While paused no body or raw events come. */
void http_client_pause(struct http_client *c, bool stop);
/* Raw bytes after a 101. True: go on. */
bool http_client_raw(struct http_client *c, struct slice s);
/* Bytes given to it that the kernel has not taken. */
size_t http_client_queued(const struct http_client *c);
/* Whether the kernel takes STREAM_SURE_BYTES more of it whole, now. */
bool http_client_sure(const struct http_client *c);
/* Half-closes an upgraded connection after what is queued. */
void http_client_raw_shutdown(struct http_client *c);

/* What was wrong after HTTP_CLIENT_MALFORMED; static text. */
const char *http_client_error(const struct http_client *c);
/* When the current idle time began. */
int64_t http_client_idle_since_ms(const struct http_client *c);
/* Idempotent; only closed() follows. */
void http_client_close(struct http_client *c);
