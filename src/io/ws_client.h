/* The client side of one WebSocket (RFC 6455), over TCP or TLS.
 *
 * Looks up the host, tries its addresses, shakes hands, then whole messages
 * pass both ways; pings are answered here. Frames sent in one turn of the loop
 * leave in one system call. It reads always: a peer that is not heard cannot
 * be answered in time. No event comes from inside a call of the owner. */
#pragma once

#include "codec/http_head.h"
#include "codec/ws_frame.h"
#include "io/loop.h"

struct ws_client;
struct tls_context;

/* Why it ended. */
enum ws_client_why {
	WS_CLIENT_RESOLVE,     /* the host name has no address */
	WS_CLIENT_CONNECT,     /* no address accepts connections */
	WS_CLIENT_TLS,         /* the other side speaks no TLS, or none that we speak */
	WS_CLIENT_CERTIFICATE, /* its certificate is not good for this host */
	WS_CLIENT_UPGRADE,     /* what answers is no WebSocket endpoint */
	WS_CLIENT_PROTOCOL,    /* it broke RFC 6455, or sent a message over message_max */
	WS_CLIENT_TIMEOUT,     /* it did not answer in time, connecting or closing */
	WS_CLIENT_CLOSED,      /* its close frame came */
	WS_CLIENT_LOST,        /* the connection ended without one */
};

struct ws_client_end {
	enum ws_client_why why;
	unsigned code;       /* WS_CLIENT_CLOSED: of its close frame, WS_CLOSE_NONE when it had none */
	struct slice reason; /* likewise; UTF-8 */
	unsigned status;     /* WS_CLIENT_UPGRADE: the HTTP status, 0 without an HTTP answer */
	const char *text;    /* what happened, with host and port; no full stop, no newline */
};

struct ws_client_events {
	/* The handshake is done; sending may begin, also from inside. The answer's fields die on return. */
	void (*open)(void *arg, const struct http_head *answer);
	void (*message)(void *arg, bool binary, struct slice payload); /* the slice dies on return */
	void (*pong)(void *arg, struct slice payload);
	/* ws_client_queued was above LIMIT_STREAM_QUEUE_HIGH after a send, and is no longer. */
	void (*drained)(void *arg);
	/* Once, unless ws_client_abort came first; whatever arrived before has been told. The owner then calls
	 * ws_client_abort. Nothing more can be sent. */
	void (*ended)(void *arg, const struct ws_client_end *end);
	void (*closed)(void *arg); /* ws_client_abort is complete; the memory is gone. Always last */
};

/* Copied, but for tls. */
struct ws_client_options {
	const char *host; /* a name, or an address without brackets */
	uint16_t port;
	const struct tls_context *tls; /* NULL: plain TCP. Outlives the client */
	const char *target;            /* origin-form (RFC 9112 3.2.1) */
	const char *subprotocols;      /* as in Sec-WebSocket-Protocol; NULL: none */
	size_t message_max;            /* of what comes in; at most LIMIT_WS_ENGINE_MESSAGE_BYTES */
	int64_t connect_ms;            /* for host name and TCP, all addresses together */
	int64_t upgrade_ms;            /* for TLS and HTTP after that */
};

enum ws_client_outcome {
	WS_CLIENT_FULL = 1, /* would go over LIMIT_WS_CLIENT_QUEUE_BYTES; nothing was queued */
	WS_CLIENT_ENDING,   /* not open, or no longer; nothing was queued */
};

/* Failures come as ended(). */
struct ws_client *ws_client_open(struct loop *l, const struct ws_client_options *o,
				 const struct ws_client_events *events, void *arg);

/* Sends one message (WS_TEXT, WS_BINARY) or a WS_PING (at most 125 bytes) as one frame; copies. 0 or enum
 * ws_client_outcome. */
int ws_client_send(struct ws_client *c, enum ws_opcode op, struct slice payload);

/* Bytes on their way out that the kernel has not taken. */
size_t ws_client_queued(const struct ws_client *c);

/* Hands what is queued to the kernel now, not at the end of the turn. Whether it has taken all of it: what it has is
 * sent also when this process is killed. */
bool ws_client_flush(struct ws_client *c);

/* Sends what is queued and a close frame (RFC 6455 7.1.2); ended() tells how the peer took it, within
 * LIMIT_WS_CLOSE_MS. Without an open handshake it does nothing: that is what ws_client_abort is for. The code is one
 * that may be sent; the reason is cut to WS_REASON_MAX. */
void ws_client_close(struct ws_client *c, unsigned code, struct slice reason);

/* Idempotent. Ends at once; only closed() follows. */
void ws_client_abort(struct ws_client *c);
