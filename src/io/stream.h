/* A connected byte stream (TCP or Unix) with a bounded write queue.
 *
 * The adopter owns it until stream_close(); the memory goes by itself after
 * closed(). No event comes from inside a call of the adopter. */
#pragma once

#include "io/loop.h"

struct stream;

struct stream_events {
	void (*data)(void *arg, struct slice s); /* n > 0; the slice dies on return */
	void (*eof)(void *arg);                  /* the peer closed its sending side; once */
	void (*drained)(void *arg); /* the queue fell below LIMIT_STREAM_QUEUE_LOW after having been above HIGH */
	/* The stream failed (why < 0: -errno, e.g. -ECONNRESET, -EPIPE) and must be closed; or stream_close is
	 * complete (why as given there). `failed` first, if at all; `closed` always last. */
	void (*failed)(void *arg, int why);
	void (*closed)(void *arg);
};

enum stream_outcome {
	STREAM_FULL = 1, /* over LIMIT_STREAM_QUEUE_MAX: the writer ignored the high mark; nothing was queued */
	STREAM_CLOSING,  /* after stream_close or a failure; nothing was queued */
};

/* Adopts a connected, close-on-exec descriptor (made non-blocking here). On failure (-errno) the fd stays the
 * caller's. Reading is stopped at first. */
int stream_open(struct loop *l, int fd, const struct stream_events *events, void *arg, struct stream **ret);

/* Connects to 127.0.0.1-style TCP addresses; `connected` tells 0 or -errno, later. The stream is owned as above from
 * the call on. */
int stream_connect_tcp(struct loop *l, const char *address, uint16_t port, void (*connected)(void *arg, int why),
		       const struct stream_events *events, void *arg, struct stream **ret);

/* Idempotent both. */
void stream_read_start(struct stream *s);
void stream_read_stop(struct stream *s);

/* Writes at once what the kernel takes and queues a copy of the rest. 0 or enum stream_outcome. */
int stream_write(struct stream *s, struct slice bytes);
int stream_write2(struct stream *s, struct slice a, struct slice b);

/* Bytes queued and not yet taken by the kernel. Above LIMIT_STREAM_QUEUE_HIGH the adopter stops its source. */
size_t stream_queued(const struct stream *s);

/* Sends FIN when the queue is empty. */
void stream_shutdown(struct stream *s);

/* Idempotent. Queued bytes are dropped: use stream_close_flushed to send them first (at most flush_ms). */
void stream_close(struct stream *s);
void stream_close_flushed(struct stream *s, int64_t flush_ms);

/* The peer's address as text ("127.0.0.1", "::1", "unix"); the caller's buffer. */
void stream_peer(const struct stream *s, char ret[64]);
