/* What the two files of a WebSocket client share. */
#pragma once

#include "io/resolve.h"
#include "io/stream.h"
#include "io/timer.h"
#include "io/tls.h"
#include "io/ws_client.h"

#define WS_CLIENT_MAGIC 0x77736374u

enum ws_client_state {
	WS_CLIENT_RESOLVING,
	WS_CLIENT_CONNECTING,
	WS_CLIENT_SECURING,  /* TLS handshake */
	WS_CLIENT_UPGRADING, /* HTTP */
	WS_CLIENT_OPEN,
	WS_CLIENT_CLOSING, /* our close frame is out, the peer's is not here */
	WS_CLIENT_ENDED,   /* ended() is posted or told */
	WS_CLIENT_GONE,    /* ws_client_abort was called */
};

struct ws_client {
	uint32_t magic;
	uint8_t state;    /* enum ws_client_state */
	bool above_high;  /* drained() is owed */
	bool last_words;  /* a close frame of ours may still be on its way out */
	bool retry_asked; /* the stream closes to make place for the next address */
	uint16_t port;
	struct loop *loop;
	struct timer timer;     /* of the state */
	struct timer ack;       /* the peer does not know yet that its last bytes have come */
	struct loop_task step;  /* tells what may not be told from inside a call: ended, closed */
	struct loop_task flush; /* sends `out` */
	struct resolve *resolve;
	struct stream *stream; /* NULL: none, or closed */
	const struct tls_context *tls_context;
	struct tls *tls;
	struct http_parser *parser; /* of the upgrade's answer */
	struct ws_reader *reader;
	struct buf out; /* plain frames, sent once a turn */
	char *host, *subprotocols;
	char *place;     /* "host:port" for sentences */
	struct buf head; /* the upgrade request; empty once sent */
	char accept[29];
	size_t message_max;
	int64_t connect_until_mono_ms, upgrade_ms;
	size_t at_address;
	struct resolve_answer addresses;
	struct ws_client_end end;
	struct buf end_text, end_reason;
	const struct ws_client_events *events;
	void *arg;
};

/* ws_client_dial.c: from the name to the open WebSocket. */

/* Starts looking up and connecting. */
void ws_client_dial(struct ws_client *c, const struct ws_client_options *o);
/* The next address, or the end when there is none. */
void ws_client_dial_next(struct ws_client *c);
/* The timer of a state before open. */
void ws_client_dial_timeout(struct ws_client *c);
/* More bytes of the TLS handshake have been fed. */
void ws_client_dial_secure(struct ws_client *c);
/* Bytes of the answer to the upgrade; returns how many of them were its. */
size_t ws_client_dial_answer(struct ws_client *c, struct slice s);
/* The connection ended before it was open; why: 0 or -errno. */
void ws_client_dial_cut(struct ws_client *c, int why);

/* ws_client.c: */

extern const struct stream_events ws_client_stream_events;

/* The one way to the state WS_CLIENT_ENDED. The sentence begins with host and port. */
void ws_client_end(struct ws_client *c, enum ws_client_why why, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Sends plain bytes, encrypted if need be. */
void ws_client_write(struct ws_client *c, struct slice plain);
/* Sends what TLS has made. */
void ws_client_push_tls(struct ws_client *c);
