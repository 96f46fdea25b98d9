/* Owns one client connection: its stream, parser, stash and the corked output.
 *
 * Happy path: IDLE; a head comes in: BUSY, the user is told and answers; the
 * request's body is told as it comes; with the answer complete and the body
 * read the connection is IDLE again. Input behind the request at hand waits in
 * the stash and is taken up by the pump, a posted task, so that a user who
 * answers from inside an event never sees the next request inside that call.
 *
 * The other ways: a body nobody read is dropped up to a bound (DRAIN); an
 * answer that ends the connection, or a refusal, sends FIN and reads on for a
 * while, so that no reset destroys what the client has not read (LINGER); an
 * upgrade turns to RAW. A client that leaves during an exchange, and a stream
 * whose bound is hit, end as CUT: the user is told `gone` when the stream has
 * closed. One timer serves head, idle, drain, half-close and linger times. */
#include "io/http_conn_private.h"

#include "codec/ws_frame.h"

#include <stdio.h>

#define CONN_MAGIC 0x68636f6eu
#define STASH_KEPT_BYTES ((size_t)4 * 1024) /* memory an idle connection may keep */

/* ---- ends ---- */

static bool owes_gone(const struct http_conn *c)
{
	return (c->state == CONN_BUSY && c->req.answer != ANSWER_DONE) || c->state == CONN_RAW || c->state == CONN_CUT;
}

/* From here on nothing but the close of the stream comes. */
static void quiesce(struct http_conn *c, enum conn_state state)
{
	c->state = (uint8_t)state;
	if (c->feeding)
		http_parser_pause(c->parser);
	loop_cancel(&c->pump);
	timer_disarm(&c->deadline);
	cork_done(&c->out);
}

/* The client gets what is queued and sees an end. */
static void close_quietly(struct http_conn *c)
{
	cork_flush(&c->out);
	quiesce(c, CONN_GONE);
	stream_close_flushed(c->stream, LIMIT_HTTP_IDLE_MS);
}

static void close_now(struct http_conn *c)
{
	quiesce(c, CONN_GONE);
	stream_close(c->stream);
}

void http_conn_cut(struct http_conn *c)
{
	if (c->state == CONN_GONE)
		return;
	quiesce(c, owes_gone(c) ? CONN_CUT : CONN_GONE);
	stream_abort(c->stream);
}

void http_conn_abort(struct http_conn *c)
{
	CHECK(owes_gone(c));
	cork_flush(&c->out); /* the client gets what came before the cut */
	quiesce(c, CONN_GONE);
	stream_abort(c->stream);
}

static void arm_linger(struct http_conn *c, int64_t linger_ms)
{
	c->queued_before = stream_queued(c->stream);
	timer_arm(&c->deadline, c->queued_before > 0 ? LIMIT_HTTP_IDLE_MS : linger_ms);
}

/* Changes with every byte of the answer that leaves, and with every one that comes. */
static uint64_t answer_progress(const struct http_conn *c)
{
	return 2 * c->req.sent - stream_queued(c->stream);
}

static void arm_half_close(struct http_conn *c)
{
	c->sent_before = answer_progress(c);
	timer_arm(&c->deadline, LIMIT_HTTP_HALF_CLOSE_MS);
}

void http_conn_linger(struct http_conn *c, int64_t linger_ms)
{
	if (c->eof) {
		close_quietly(c);
		return;
	}
	c->state = CONN_LINGER;
	loop_cancel(&c->pump);
	cork_flush(&c->out);
	stream_shutdown(c->stream);
	stream_read_start(c->stream);
	arm_linger(c, linger_ms);
}

/* An answer of this connection itself, the last one. */
static void answer_error(struct http_conn *c, unsigned status, const char *code, const char *text)
{
	CHECK(strpbrk(text, "\"\\") == NULL);
	static const char form[] = "{\"group\":\"api\",\"code\":\"%s\",\"message\":\"%s\",\"metadata\":null}";
	struct buf *b = cork_buf(&c->out);
	int length = snprintf(NULL, 0, form, code, text);
	http_put_status_line(b, status);
	http_put_field_str(b, "content-type", "application/json");
	http_put_field_u64(b, "content-length", (uint64_t)length);
	http_put_date(b, clock_wall_ms());
	http_put_field_str(b, "connection", "close");
	http_put_end(b);
	buf_addf(b, form, code, text);
	http_conn_linger(c, LIMIT_HTTP_LINGER_MS);
}

/* ---- from one request to the next ---- */

static void begin_idle(struct http_conn *c)
{
	c->state = CONN_IDLE;
	c->req = (struct request){.user = NULL};
	if (c->server->draining) {
		http_conn_linger(c, LIMIT_HTTP_LINGER_MS);
		return;
	}
	http_parser_reset(c->parser, false, false);
	timer_arm(&c->deadline, LIMIT_HTTP_IDLE_MS);
	if (buf_len(&c->stash) > 0 || c->eof)
		loop_post(c->server->loop, &c->pump);
}

void http_conn_settle(struct http_conn *c)
{
	bool answered = c->state == CONN_DRAIN || (c->state == CONN_BUSY && c->req.answer == ANSWER_DONE);
	if (c->feeding || !answered)
		return;
	if (!c->req.keep || c->req.dropped > LIMIT_HTTP_DRAIN_BYTES) {
		http_conn_linger(c, LIMIT_HTTP_LINGER_MS);
	} else if (c->req.body_done) {
		begin_idle(c);
	} else if (c->state == CONN_BUSY) {
		c->state = CONN_DRAIN;
		c->req.paused = false;
		timer_arm(&c->deadline, LIMIT_HTTP_LINGER_MS);
		loop_post(c->server->loop, &c->pump);
	}
}

/* ---- the parser's events ---- */

static void on_head(void *arg, const struct http_head *h)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	const struct http_server_options *o = &c->server->options;
	c->state = CONN_BUSY;
	c->req = (struct request){
	    .old = h->minor == 0,
	    .is_head = slice_is(h->method, "HEAD"),
	    .upgrade = h->upgrade,
	    .client_keeps = h->keep_alive,
	    .body_left = h->framing == HTTP_FRAMING_LENGTH ? h->length : 0,
	    .continue_due =
		h->expect_continue && h->minor > 0 &&
		(h->framing == HTTP_FRAMING_CHUNKED || (h->framing == HTTP_FRAMING_LENGTH && h->length > 0)),
	};
	if (h->upgrade)
		ws_accept(http_head_get(h, HTTP_F_SEC_WEBSOCKET_KEY)->value, c->req.accept);
	if (c->eof)
		arm_half_close(c);
	else
		timer_disarm(&c->deadline);
	o->events->request(o->arg, c, h);
}

static void on_body(void *arg, struct slice s)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	const struct http_server_options *o = &c->server->options;
	c->req.body_left -= s.n < c->req.body_left ? s.n : c->req.body_left;
	if (c->state == CONN_BUSY && c->req.answer != ANSWER_DONE) {
		o->events->body(o->arg, c, s, false);
		return;
	}
	c->req.dropped += s.n;
	if (c->req.dropped > LIMIT_HTTP_DRAIN_BYTES)
		http_parser_pause(c->parser);
}

static const struct http_parser_events parser_events = {.head = on_head, .body = on_body};

static void message_done(struct http_conn *c)
{
	const struct http_server_options *o = &c->server->options;
	c->req.body_done = true;
	if (c->state == CONN_BUSY && c->req.answer != ANSWER_DONE)
		o->events->body(o->arg, c, SLICE_NONE, true);
}

/* The client broke HTTP. */
static void refuse(struct http_conn *c)
{
	const struct http_server_options *o = &c->server->options;
	const char *text;
	char limit[64];
	unsigned status = http_parser_error(c->parser, &text);
	const char *code = "bad_request";
	bool told = owes_gone(c);
	if (status == 414) {
		(void)snprintf(limit, sizeof(limit), "the request target is longer than %zu bytes", o->target_max);
		text = limit;
	}
	if (status == 414 && o->target_is_content) {
		status = 413;
		code = "too_large";
	}
	if (c->req.answer == ANSWER_DONE) {
		http_conn_linger(c, LIMIT_HTTP_LINGER_MS);
	} else if (c->req.answer == ANSWER_BEGUN) {
		http_conn_cut(c);
	} else {
		answer_error(c, status, code, text);
		if (told)
			o->events->gone(o->arg, c);
	}
}

/* ---- input ---- */

static bool wants_input(const struct http_conn *c)
{
	return c->state == CONN_IDLE || c->state == CONN_HEAD || c->state == CONN_DRAIN ||
	       (c->state == CONN_BUSY && !c->req.body_done && !c->req.paused);
}

static void send_continue(struct http_conn *c)
{
	if (!c->req.continue_due || c->state != CONN_BUSY || c->req.answer != ANSWER_NONE || c->req.paused)
		return;
	c->req.continue_due = false;
	buf_add_str(cork_buf(&c->out), "HTTP/1.1 100 Continue\r\n\r\n");
	cork_flush(&c->out);
}

/* Feeds the parser with as much as is wanted; returns how much that was. */
static size_t take_input(struct http_conn *c, struct slice in)
{
	size_t at = 0;
	while (wants_input(c) && (at < in.n || c->req.parser_held)) {
		size_t used = 0;
		c->req.parser_held = false;
		c->feeding = true;
		int r = http_parser_feed(c->parser, slice_from(in, at), &used);
		c->feeding = false;
		at += used;
		if (c->state >= CONN_LINGER)
			break;
		if (r == HTTP_PAUSED) {
			c->req.parser_held = true;
		} else if (r == HTTP_MESSAGE_DONE || r == HTTP_UPGRADED) {
			message_done(c);
		} else if (r == HTTP_BAD) {
			refuse(c);
		} else if (c->state == CONN_IDLE && http_parser_begun(c->parser)) {
			c->state = CONN_HEAD;
			timer_arm(&c->deadline, LIMIT_HTTP_HEAD_MS);
		}
		send_continue(c);
		http_conn_settle(c);
	}
	return at;
}

static void stash(struct http_conn *c, struct slice s)
{
	if (c->state == CONN_LINGER || c->state >= CONN_CUT)
		return;
	buf_add(&c->stash, s);
	CHECK(!c->stash.over);
}

static void unstash(struct http_conn *c, size_t used)
{
	buf_drop(&c->stash, used);
	if (buf_len(&c->stash) == 0 && c->stash.room > STASH_KEPT_BYTES)
		buf_done(&c->stash);
}

static void reading_apply(struct http_conn *c)
{
	if (c->state >= CONN_CUT)
		return;
	if (buf_len(&c->stash) >= LIMIT_HTTP_STASH_BYTES && c->state != CONN_LINGER)
		stream_read_stop(c->stream);
	else
		stream_read_start(c->stream);
}

/* The client's FIN, once all that came before it is taken as far as it can be. */
static void take_eof(struct http_conn *c)
{
	const struct http_server_options *o = &c->server->options;
	bool more = buf_len(&c->stash) > 0 || c->req.parser_held;
	switch ((enum conn_state)c->state) {
	case CONN_IDLE:
	case CONN_HEAD:
	case CONN_DRAIN:
		if (!more)
			close_quietly(c);
		break;
	case CONN_LINGER:
		close_quietly(c);
		break;
	case CONN_BUSY:
		if (!c->req.body_done && !c->req.paused && !more)
			http_conn_cut(c);
		else if (!timer_armed(&c->deadline))
			arm_half_close(c);
		break;
	case CONN_RAW:
		if (!c->req.paused && !more && !c->req.body_done) {
			c->req.body_done = true;
			o->events->raw_eof(o->arg, c);
		}
		break;
	case CONN_CUT:
	case CONN_GONE:
		break;
	}
}

/* Takes up what waits in the stash. */
static void on_pump(void *arg)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	const struct http_server_options *o = &c->server->options;
	size_t used = 0;
	send_continue(c);
	if (c->state == CONN_RAW) {
		used = c->req.paused ? 0 : buf_len(&c->stash);
		if (used > 0)
			o->events->raw(o->arg, c, buf_slice(&c->stash));
	} else {
		used = take_input(c, buf_slice(&c->stash));
	}
	unstash(c, used);
	if (c->eof)
		take_eof(c);
	reading_apply(c);
}

/* ---- the stream's events ---- */

static void on_stream_data(void *arg, struct slice s)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	const struct http_server_options *o = &c->server->options;
	if (buf_len(&c->stash) > 0) {
		stash(c, s);
	} else if (c->state == CONN_RAW && !c->req.paused) {
		o->events->raw(o->arg, c, s);
	} else {
		stash(c, slice_from(s, take_input(c, s)));
		if (c->state == CONN_RAW && buf_len(&c->stash) > 0)
			loop_post(c->server->loop, &c->pump);
	}
	reading_apply(c);
}

static void on_stream_eof(void *arg)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	c->eof = true;
	take_eof(c);
}

static void on_stream_drained(void *arg)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	const struct http_server_options *o = &c->server->options;
	if ((c->state == CONN_BUSY && c->req.answer == ANSWER_BEGUN) || c->state == CONN_RAW)
		o->events->writable(o->arg, c);
}

static void on_stream_failed(void *arg, int why)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	(void)why;
	http_conn_cut(c);
}

static void on_stream_closed(void *arg)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	struct http_server *s = c->server;
	bool told = owes_gone(c);
	quiesce(c, CONN_GONE);
	if (told)
		s->options.events->gone(s->options.arg, c);
	list_remove(&c->node);
	http_parser_free(c->parser);
	buf_done(&c->stash);
	c->magic = 0;
	mem_free(c);
	http_server_left(s);
}

static const struct stream_events stream_events = {
    .data = on_stream_data,
    .eof = on_stream_eof,
    .drained = on_stream_drained,
    .failed = on_stream_failed,
    .closed = on_stream_closed,
};

static void on_deadline(void *arg)
{
	struct http_conn *c = CAST(struct http_conn, arg, CONN_MAGIC);
	switch ((enum conn_state)c->state) {
	case CONN_HEAD:
		answer_error(c, 408, "request_timeout", "the head of the request did not arrive in time");
		break;
	case CONN_DRAIN:
		http_conn_linger(c, LIMIT_HTTP_LINGER_MS);
		break;
	case CONN_LINGER:
		if (stream_queued(c->stream) == 0 || stream_queued(c->stream) == c->queued_before)
			close_now(c);
		else
			arm_linger(c, LIMIT_HTTP_LINGER_MS);
		break;
	case CONN_IDLE:
		close_now(c);
		break;
	case CONN_BUSY: /* after the client's FIN; one that has left answers the bytes it is sent with a reset */
		if (answer_progress(c) == c->sent_before)
			http_conn_cut(c);
		else
			arm_half_close(c);
		break;
	case CONN_RAW:
	case CONN_CUT:
	case CONN_GONE:
		IMPOSSIBLE("a deadline of a connection that has none");
	}
}

int http_conn_open(struct http_server *s, int fd, bool refused)
{
	struct http_conn *c = mem_zalloc(sizeof(*c));
	int r = stream_open(s->loop, fd, &stream_events, c, &c->stream);
	if (r < 0) {
		mem_free(c);
		return r;
	}
	c->magic = CONN_MAGIC;
	c->server = s;
	c->parser = http_parser_new(HTTP_REQUEST, s->options.target_max, &parser_events, c);
	cork_init(&c->out, s->loop, c->stream);
	buf_init(&c->stash, LIMIT_HTTP_STASH_BYTES + LIMIT_STREAM_READ_BYTES); /* one read may come on top */
	timer_init(&c->deadline, s->loop, on_deadline, c);
	loop_task_init(&c->pump, on_pump, c);
	stream_peer(c->stream, c->peer);
	list_init(&c->node);
	list_push_back(&s->conns, &c->node);
	s->n_conns++;
	stream_read_start(c->stream);
	if (refused)
		answer_error(c, 503, "overloaded", "too many connections");
	else
		timer_arm(&c->deadline, LIMIT_HTTP_HEAD_MS);
	return 0;
}

struct http_conn *http_conn_of(struct list *node)
{
	return CAST(struct http_conn, CONTAINER_OF(node, struct http_conn, node), CONN_MAGIC);
}

void http_conn_drain(struct http_conn *c)
{
	if (c->state == CONN_IDLE && buf_len(&c->stash) == 0)
		close_quietly(c);
}

/* ---- the user's side ---- */

void http_conn_set_user(struct http_conn *c, void *user)
{
	c->req.user = user;
}

void *http_conn_user(const struct http_conn *c)
{
	return c->req.user;
}

const char *http_conn_peer(const struct http_conn *c)
{
	return c->peer;
}

void http_conn_pause(struct http_conn *c, bool stop)
{
	if (c->req.paused == stop)
		return;
	c->req.paused = stop;
	if (!stop)
		loop_post(c->server->loop, &c->pump);
	else if (c->feeding)
		http_parser_pause(c->parser);
}
