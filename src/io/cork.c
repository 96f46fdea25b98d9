/* Owns the held bytes and the task that flushes them. What a write comes to is
 * no business of the writer: a stream that fails, also because its bound is
 * hit, tells its owner by itself. */
#include "io/cork.h"

#include "base/limits.h"
#include "codec/http_head.h"

#define HELD_BYTES ((size_t)16 * 1024)               /* copying that much is cheaper than one more system call */
#define HELD_MAX ((size_t)4 * LIMIT_HTTP_HEAD_BYTES) /* our own promise: a head that was read, with our additions */
#define KEPT_BYTES ((size_t)4 * 1024)                /* memory an idle connection may keep */

static void on_flush(void *arg)
{
	cork_flush(arg);
}

void cork_init(struct cork *c, struct loop *l, struct stream *s)
{
	*c = (struct cork){.loop = l, .stream = s};
	buf_init(&c->held, HELD_MAX);
	loop_task_init(&c->flush, on_flush, c);
}

void cork_done(struct cork *c)
{
	loop_cancel(&c->flush);
	buf_done(&c->held);
}

struct buf *cork_buf(struct cork *c)
{
	return &c->held;
}

void cork_post(struct cork *c)
{
	loop_post(c->loop, &c->flush);
}

/* Sends the held bytes and the parts behind them. */
static void send(struct cork *c, const struct slice *parts, size_t n)
{
	struct slice all[STREAM_PARTS_MAX];
	CHECK(n < STREAM_PARTS_MAX);
	all[0] = buf_slice(&c->held);
	for (size_t i = 0; i < n; i++)
		all[i + 1] = parts[i];
	CHECK(!c->held.over);
	(void)stream_writev(c->stream, all, n + 1);
	if (c->held.room > KEPT_BYTES)
		buf_done(&c->held);
	else
		buf_reset(&c->held);
	loop_cancel(&c->flush);
}

void cork_flush(struct cork *c)
{
	if (buf_len(&c->held) > 0)
		send(c, NULL, 0);
}

void cork_write(struct cork *c, struct slice s, bool last)
{
	if (s.n == 0) {
		if (last)
			cork_flush(c);
		return;
	}
	if (!last && buf_len(&c->held) + s.n <= HELD_BYTES) {
		if (c->chunked)
			http_put_chunk(&c->held, s);
		else
			buf_add(&c->held, s);
		cork_post(c);
		return;
	}
	if (!c->chunked) {
		send(c, &s, 1);
		return;
	}
	buf_addf(&c->held, "%zx\r\n", s.n);
	const struct slice parts[2] = {s, SLICE_LIT("\r\n")};
	send(c, parts, 2);
}
