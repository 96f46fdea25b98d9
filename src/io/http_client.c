/* Owns one connection to a worker: stream, parser, the stash of a paused
 * answer and the corked request.
 *
 * Happy path: IDLE; a request is sent: BUSY; head and body of the answer are
 * told as they come; the answer's end is `over`, and the connection is IDLE
 * again when both messages are whole and nothing is left over. A 101 turns it
 * to RAW.
 *
 * The worker's end comes in three forms, all taken up behind what it sent
 * before: between requests it is idle_closed; in an answer `over` with CUT,
 * unless the end is what completes it; after a 101 raw_eof. An answer that
 * breaks HTTP is `over` with MALFORMED. After each the connection is DEAD and
 * waits for its owner to close it. */
#include "io/http_client.h"

#include "io/cork.h"

#define CLIENT_MAGIC 0x68636c69u
#define STASH_KEPT_BYTES ((size_t)4 * 1024) /* memory an idle connection may keep */

enum client_state {
	CLIENT_IDLE,
	CLIENT_BUSY,
	CLIENT_RAW,
	CLIENT_DEAD,
	CLIENT_CLOSING,
};

/* How the worker's sending side ended. */
enum client_end { END_NOT, END_FIN, END_FAILED };

struct http_client {
	uint32_t magic;
	uint8_t state;     /* enum client_state */
	uint8_t end;       /* enum client_end */
	bool request_done; /* given to the stream to its last byte */
	bool keep;         /* the worker lets the connection live */
	bool answered;     /* some byte of the answer has come */
	bool upgraded;     /* the head told was a 101 */
	bool end_told;     /* raw_eof */
	bool paused;
	bool parser_held; /* the parser stopped for that */
	bool feeding;     /* inside http_parser_feed */
	struct loop *loop;
	struct stream *stream;
	struct http_parser *parser;
	struct cork out;
	struct buf stash;
	struct loop_task pump;
	int64_t idle_since_ms;
	const char *error;
	const struct http_client_events *events;
	void *arg;
};

/* ---- ends ---- */

static void die(struct http_client *c)
{
	c->state = CLIENT_DEAD;
	loop_cancel(&c->pump);
	loop_cancel(&c->out.flush);
	stream_read_stop(c->stream);
}

static void over(struct http_client *c, enum http_client_why why)
{
	bool reusable =
	    why == HTTP_CLIENT_DONE && c->keep && c->request_done && stream_queued(c->stream) == 0 && c->end == END_NOT;
	if (reusable) {
		c->state = CLIENT_IDLE;
		c->idle_since_ms = loop_mono_ms(c->loop);
	} else {
		die(c);
	}
	c->events->over(c->arg, why, c->answered, reusable);
}

static void idle_closed(struct http_client *c)
{
	die(c);
	c->events->idle_closed(c->arg);
}

/* ---- the answer ---- */

static void on_head(void *arg, const struct http_head *h)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	c->keep = h->keep_alive;
	c->upgraded = h->upgrade;
	c->events->head(c->arg, h);
}

static void on_body(void *arg, struct slice s)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	if (c->state == CLIENT_BUSY)
		c->events->body(c->arg, s);
}

static const struct http_parser_events parser_events = {.head = on_head, .body = on_body};

/* One step of the parser; *ret_used of `in` is consumed. */
static void feed(struct http_client *c, struct slice in, size_t *ret_used)
{
	c->answered = true;
	c->parser_held = false;
	c->feeding = true;
	int r = http_parser_feed(c->parser, in, ret_used);
	c->feeding = false;
	if (c->state != CLIENT_BUSY)
		return;
	const char *text;
	switch (r) {
	case HTTP_PAUSED:
		c->parser_held = true;
		break;
	case HTTP_UPGRADED:
		c->state = CLIENT_RAW;
		break;
	case HTTP_MESSAGE_DONE:
		if (*ret_used < in.n)
			c->keep = false; /* it speaks without being asked */
		over(c, HTTP_CLIENT_DONE);
		break;
	case HTTP_BAD:
		(void)http_parser_error(c->parser, &text);
		c->error = text;
		over(c, HTTP_CLIENT_MALFORMED);
		break;
	default:
		break;
	}
}

/* Takes what the state and the pause allow; returns how much that was. */
static size_t take_input(struct http_client *c, struct slice in)
{
	size_t at = 0, used = 0;
	while (c->state == CLIENT_BUSY && !c->paused && (at < in.n || c->parser_held)) {
		feed(c, slice_from(in, at), &used);
		at += used;
	}
	if (c->state == CLIENT_RAW && !c->paused && at < in.n) {
		c->events->raw(c->arg, slice_from(in, at));
		at = in.n;
	}
	return at;
}

/* The worker's end, behind all it sent. */
static void take_end(struct http_client *c)
{
	if (c->end == END_NOT)
		return;
	if (c->state == CLIENT_IDLE) {
		idle_closed(c);
	} else if (c->state == CLIENT_BUSY && !c->paused) {
		bool whole = c->end == END_FIN && http_parser_eof(c->parser) == HTTP_MESSAGE_DONE;
		over(c, whole ? HTTP_CLIENT_DONE : HTTP_CLIENT_CUT);
	} else if (c->state == CLIENT_RAW && !c->paused && !c->end_told) {
		c->end_told = true;
		c->events->raw_eof(c->arg);
	}
}

static void reading_apply(struct http_client *c)
{
	if (c->state >= CLIENT_DEAD)
		return;
	if (buf_len(&c->stash) >= LIMIT_HTTP_STASH_BYTES)
		stream_read_stop(c->stream);
	else
		stream_read_start(c->stream);
}

static void on_pump(void *arg)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	size_t used = take_input(c, buf_slice(&c->stash));
	buf_drop(&c->stash, used);
	if (buf_len(&c->stash) == 0 && c->stash.room > STASH_KEPT_BYTES)
		buf_done(&c->stash);
	take_end(c);
	reading_apply(c);
}

/* ---- the stream's events ---- */

static void on_stream_data(void *arg, struct slice s)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	if (c->state == CLIENT_IDLE) {
		idle_closed(c);
		return;
	}
	size_t used = buf_len(&c->stash) > 0 ? 0 : take_input(c, s);
	if (used < s.n && c->state <= CLIENT_RAW) {
		buf_add(&c->stash, slice_from(s, used));
		CHECK(!c->stash.over);
	}
	reading_apply(c);
}

static void on_stream_eof(void *arg)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	c->end = END_FIN;
	if (buf_len(&c->stash) == 0)
		take_end(c);
}

static void on_stream_failed(void *arg, int why)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	(void)why;
	c->end = END_FAILED;
	if (buf_len(&c->stash) == 0)
		take_end(c);
}

static void on_stream_drained(void *arg)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	if ((c->state == CLIENT_BUSY && !c->request_done) || c->state == CLIENT_RAW)
		c->events->writable(c->arg);
}

static void on_stream_closed(void *arg)
{
	struct http_client *c = CAST(struct http_client, arg, CLIENT_MAGIC);
	const struct http_client_events *events = c->events;
	void *user = c->arg;
	loop_cancel(&c->pump);
	cork_done(&c->out);
	http_parser_free(c->parser);
	buf_done(&c->stash);
	c->magic = 0;
	mem_free(c);
	events->closed(user);
}

static const struct stream_events stream_events = {
    .data = on_stream_data,
    .eof = on_stream_eof,
    .drained = on_stream_drained,
    .failed = on_stream_failed,
    .closed = on_stream_closed,
};

/* ---- the owner's side ---- */

int http_client_open(struct loop *l, int fd, const struct http_client_events *events, void *arg,
		     struct http_client **ret)
{
	struct http_client *c = mem_zalloc(sizeof(*c));
	int r = stream_open(l, fd, &stream_events, c, &c->stream);
	if (r < 0) {
		mem_free(c);
		return r;
	}
	c->magic = CLIENT_MAGIC;
	c->loop = l;
	c->events = events;
	c->arg = arg;
	c->error = "";
	c->idle_since_ms = loop_mono_ms(l);
	c->parser = http_parser_new(HTTP_RESPONSE, LIMIT_HTTP_TARGET_BYTES, &parser_events, c);
	cork_init(&c->out, l, c->stream);
	buf_init(&c->stash, LIMIT_HTTP_STASH_BYTES + LIMIT_STREAM_READ_BYTES); /* one read may come on top */
	loop_task_init(&c->pump, on_pump, c);
	stream_read_start(c->stream);
	*ret = c;
	return 0;
}

void http_client_set_arg(struct http_client *c, void *arg)
{
	CHECK(c->state != CLIENT_BUSY && c->state != CLIENT_RAW);
	c->arg = arg;
}

void http_client_request(struct http_client *c, struct slice head, bool head_request, bool upgrade_asked, bool has_body,
			 bool chunked)
{
	CHECK(c->state == CLIENT_IDLE);
	c->state = CLIENT_BUSY;
	c->answered = c->keep = c->upgraded = c->paused = c->parser_held = false;
	c->request_done = !has_body;
	c->out.chunked = has_body && chunked;
	http_parser_reset(c->parser, head_request, upgrade_asked);
	if (has_body) {
		buf_add(cork_buf(&c->out), head);
		cork_post(&c->out);
	} else {
		(void)stream_write(c->stream, head); /* a failure comes as an event */
	}
}

bool http_client_body(struct http_client *c, struct slice s, bool fin)
{
	if (c->state >= CLIENT_DEAD)
		return true; /* the answer did not wait for it */
	CHECK(c->state == CLIENT_BUSY && !c->request_done);
	cork_write(&c->out, s, fin && !c->out.chunked);
	if (fin) {
		if (c->out.chunked)
			http_put_last_chunk(cork_buf(&c->out));
		cork_flush(&c->out);
		c->request_done = true;
	}
	return stream_queued(c->stream) <= LIMIT_STREAM_QUEUE_HIGH;
}

void http_client_pause(struct http_client *c, bool stop)
{
	if (c->paused == stop)
		return;
	c->paused = stop;
	if (!stop)
		loop_post(c->loop, &c->pump);
	else if (c->feeding)
		http_parser_pause(c->parser);
}

bool http_client_raw(struct http_client *c, struct slice s)
{
	if (c->state >= CLIENT_DEAD)
		return true;
	CHECK(c->state == CLIENT_RAW || (c->state == CLIENT_BUSY && c->upgraded));
	(void)stream_write(c->stream, s);
	return stream_queued(c->stream) <= LIMIT_STREAM_QUEUE_HIGH;
}

size_t http_client_queued(const struct http_client *c)
{
	return stream_queued(c->stream);
}

bool http_client_sure(const struct http_client *c)
{
	return stream_sure(c->stream);
}

void http_client_raw_shutdown(struct http_client *c)
{
	stream_shutdown(c->stream);
}

const char *http_client_error(const struct http_client *c)
{
	return c->error;
}

int64_t http_client_idle_since_ms(const struct http_client *c)
{
	return c->idle_since_ms;
}

void http_client_close(struct http_client *c)
{
	if (c->state == CLIENT_CLOSING)
		return;
	c->state = CLIENT_CLOSING;
	if (c->feeding)
		http_parser_pause(c->parser);
	loop_cancel(&c->pump);
	cork_done(&c->out);
	stream_close(c->stream);
}
