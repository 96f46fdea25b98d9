/* The server's side of a WebSocket on a real socket, for tests: accepts,
 * answers the upgrade, says frames or anything else, notes what comes. */
#pragma once

#include "codec/ws_frame.h"
#include "lib/io_loop.h"
#include "lib/tls_server.h"

struct ws_peer {
	struct loop *loop;
	int listen_fd, fd; /* -1: none */
	uint16_t port;
	SSL_CTX *tls; /* NULL: plain. The test's */
	SSL *ssl;
	struct buf got;           /* plain bytes before the upgrade is answered: the request */
	struct ws_reader *reader; /* from then on */
	struct buf trace;         /* "text hi;" "binary xx;" "ping x;" "pong x;" "close 1000 why;" */
	size_t n_messages, message_bytes;
	bool quiet;    /* messages are counted, not traced */
	bool pongless; /* pings are not answered */
	bool over;     /* the other side has ended, somehow */
	bool broken;   /* the other side broke the rules of frames */
	bool closing;  /* its close frame has come */
	/* Instead of the trace; NULL: none. */
	void (*message)(struct ws_peer *p, struct slice payload);
};

/* On 127.0.0.1, or ::1. */
void ws_peer_listen(struct ws_peer *p, struct loop *l, SSL_CTX *tls);
void ws_peer_done(struct ws_peer *p);

/* Turns the loop until a connection is there; the TLS handshake goes on in ws_peer_read. */
void ws_peer_accept(struct ws_peer *p);
/* Drops the connection, if any, with FIN or with a reset. */
void ws_peer_drop(struct ws_peer *p, bool reset);
/* Reads what is there (also until the handshakes are done). */
void ws_peer_read(struct ws_peer *p);
/* Turns the loop until the whole request is there; it is in `got`. */
void ws_peer_request(struct ws_peer *p);
/* Accepts, reads the request, answers 101 with these further lines ("a: b\r\n"). Connections whose other side has left
 * meanwhile are passed over. */
void ws_peer_upgrade(struct ws_peer *p, const char *fields);
/* The 101 alone. */
void ws_peer_answer(struct ws_peer *p, const char *fields);

void ws_peer_put(struct ws_peer *p, struct slice bytes);
void ws_peer_say(struct ws_peer *p, enum ws_opcode op, struct slice payload);
void ws_peer_close(struct ws_peer *p, unsigned code, const char *reason);
const char *ws_peer_trace(struct ws_peer *p);
