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
	/* The stream failed (-errno, e.g. -ECONNRESET, -EPIPE): the last event but closed; it must be closed. A peer
	 * that takes no more bytes may have sent some before it left: while reading is on, those come first. */
	void (*failed)(void *arg, int why);
	void (*closed)(void *arg); /* stream_close is complete; the memory is gone. Always last */
};

enum stream_outcome {
	/* Over LIMIT_STREAM_QUEUE_MAX: the writer ignored the high mark. Nothing was queued and the stream has failed
	 * (-ENOBUFS), because what would follow must not look whole. */
	STREAM_FULL = 1,
	STREAM_CLOSING, /* after stream_close, stream_shutdown or a failure; nothing was queued */
};

/* Adopts a connected, close-on-exec descriptor (made non-blocking here; TCP without Nagle's delay). On failure
 * (-errno) the fd stays the caller's. Reading is stopped at first. */
int stream_open(struct loop *l, int fd, const struct stream_events *events, void *arg, struct stream **ret);

/* Connects to 127.0.0.1-style TCP addresses; `connected` tells 0 or -errno, later. The stream is owned as above from
 * the call on; -errno: there is none. What is written before `connected` is queued. */
int stream_connect_tcp(struct loop *l, const char *address, uint16_t port, void (*connected)(void *arg, int why),
		       const struct stream_events *events, void *arg, struct stream **ret);

/* Idempotent both. */
void stream_read_start(struct stream *s);
void stream_read_stop(struct stream *s);

/* Writes at once what the kernel takes and queues a copy of the rest. 0 or enum stream_outcome. writev takes up to
 * STREAM_PARTS_MAX pieces and hands them to the kernel in one call. */
#define STREAM_PARTS_MAX 4
int stream_write(struct stream *s, struct slice bytes);
int stream_write2(struct stream *s, struct slice a, struct slice b);
int stream_writev(struct stream *s, const struct slice *parts, size_t n);

/* Bytes queued and not yet taken by the kernel. Above LIMIT_STREAM_QUEUE_HIGH the adopter stops its source. */
size_t stream_queued(const struct stream *s);

/* Whether the kernel takes STREAM_SURE_BYTES whole, now. A Unix socket is writable when three quarters of its buffer
 * are free, a TCP socket when a third is; either is far more. */
#define STREAM_SURE_BYTES 4096
bool stream_sure(const struct stream *s);

/* Tells a TCP peer now what has arrived; the kernel puts that off by 40 ms, for something to send along. */
void stream_ack(struct stream *s);

/* Sends FIN when the queue is empty. */
void stream_shutdown(struct stream *s);

/* Idempotent. Queued bytes are dropped: use stream_close_flushed to send them first (at most flush_ms).
 * stream_abort makes a TCP peer see a reset instead of an end. */
void stream_close(struct stream *s);
void stream_close_flushed(struct stream *s, int64_t flush_ms);
void stream_abort(struct stream *s);

/* The peer's address as text ("127.0.0.1", "::1", "unix"; "unknown" when it has left); the caller's buffer. */
void stream_peer(const struct stream *s, char ret[64]);
