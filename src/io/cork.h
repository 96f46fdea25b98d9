/* Small pieces of one HTTP message gathered so that they leave in one system
 * call: a head waits for the first bytes of its body, small chunks for each
 * other, at most until the tick of the same turn.
 *
 * Embedded in a connection, which owns the stream. */
#pragma once

#include "io/stream.h"

struct cork {
	struct loop *loop;
	struct stream *stream;
	struct buf held;
	struct loop_task flush;
	bool chunked; /* cork_write adds chunk framing (RFC 9112 7.1) */
};

void cork_init(struct cork *c, struct loop *l, struct stream *s);
/* Drops what is held. */
void cork_done(struct cork *c);

/* Where a head is composed; cork_post, cork_write or cork_flush sends it. */
struct buf *cork_buf(struct cork *c);
/* Flushes in the tick, unless something else does before. */
void cork_post(struct cork *c);

/* Sends body bytes behind what is held. Not `last`: small pieces are copied and held until the tick; others go out of
 * the caller's memory. A stream that does not take them tells its owner. */
void cork_write(struct cork *c, struct slice s, bool last);
void cork_flush(struct cork *c);
