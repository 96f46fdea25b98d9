/* What the user of a connection says: answers, whole or streamed, the upgrade
 * and the raw bytes after it. Owns nothing; the connection is http_conn.c's.
 *
 * A head is composed in the cork and leaves together with the first bytes of
 * the body. Whether the connection lives on is decided with the head, because
 * the head says it. A user who speaks after the client has left is not told
 * here: nothing is sent, and `gone` is on its way. */
#include "io/http_conn_private.h"

/* Never has a body, whatever the method (RFC 9110 15.3.5, 15.4.5). */
static bool is_bodiless(unsigned status)
{
	return status == 204 || status == 304;
}

static bool keeps(const struct http_conn *c, enum http_framing framing)
{
	const struct request *q = &c->req;
	return q->client_keeps && framing != HTTP_FRAMING_EOF && !c->server->draining && !q->upgrade &&
	       !q->continue_due && q->body_left <= LIMIT_HTTP_DRAIN_BYTES;
}

/* The head waits in the cork for the body's first bytes. */
static void compose(struct http_conn *c, unsigned status, struct slice fields, enum http_framing framing,
		    uint64_t length)
{
	struct request *q = &c->req;
	struct buf *b = cork_buf(&c->out);
	if (is_bodiless(status))
		framing = HTTP_FRAMING_NONE;
	else if (framing == HTTP_FRAMING_CHUNKED && q->old)
		framing = HTTP_FRAMING_EOF;
	CHECK(framing != HTTP_FRAMING_NONE || is_bodiless(status) || q->is_head);
	q->keep = keeps(c, framing);
	http_put_status_line(b, status);
	buf_add(b, fields);
	http_put_date(b, clock_wall_ms());
	if (framing == HTTP_FRAMING_LENGTH)
		http_put_field_u64(b, "content-length", length);
	else if (framing == HTTP_FRAMING_CHUNKED)
		http_put_field_str(b, "transfer-encoding", "chunked");
	if (!q->keep)
		http_put_field_str(b, "connection", "close");
	else if (q->old)
		http_put_field_str(b, "connection", "keep-alive");
	http_put_end(b);
	if (q->is_head)
		framing = HTTP_FRAMING_NONE;
	q->framing = (uint8_t)framing;
	q->answer_left = length;
	q->answer = ANSWER_BEGUN;
	c->out.chunked = framing == HTTP_FRAMING_CHUNKED;
}

void http_conn_head(struct http_conn *c, unsigned status, struct slice fields, enum http_framing framing,
		    uint64_t length)
{
	if (c->state == CONN_CUT)
		return;
	CHECK(c->state == CONN_BUSY && c->req.answer == ANSWER_NONE && status >= 200);
	compose(c, status, fields, framing, length);
	cork_post(&c->out);
}

bool http_conn_data(struct http_conn *c, struct slice s)
{
	if (c->state == CONN_CUT)
		return true;
	struct request *q = &c->req;
	CHECK(c->state == CONN_BUSY && q->answer == ANSWER_BEGUN);
	if (q->framing == HTTP_FRAMING_NONE)
		return true;
	q->sent += s.n;
	if (q->framing == HTTP_FRAMING_LENGTH) {
		CHECK(s.n <= q->answer_left);
		q->answer_left -= s.n;
	}
	cork_write(&c->out, s, q->framing == HTTP_FRAMING_LENGTH && q->answer_left == 0);
	return stream_queued(c->stream) <= LIMIT_STREAM_QUEUE_HIGH;
}

void http_conn_end(struct http_conn *c)
{
	if (c->state == CONN_CUT) {
		c->state = CONN_GONE;
		return;
	}
	struct request *q = &c->req;
	CHECK(c->state == CONN_BUSY && q->answer == ANSWER_BEGUN);
	CHECK(q->framing != HTTP_FRAMING_LENGTH || q->answer_left == 0);
	if (q->framing == HTTP_FRAMING_CHUNKED)
		http_put_last_chunk(cork_buf(&c->out));
	cork_flush(&c->out);
	q->answer = ANSWER_DONE;
	http_conn_settle(c);
}

void http_conn_reply(struct http_conn *c, unsigned status, struct slice fields, struct slice body)
{
	CHECK(!is_bodiless(status) || body.n == 0);
	if (c->state != CONN_CUT) {
		CHECK(c->state == CONN_BUSY && c->req.answer == ANSWER_NONE && status >= 200);
		compose(c, status, fields, HTTP_FRAMING_LENGTH, body.n);
		http_conn_data(c, body);
	}
	http_conn_end(c);
}

void http_conn_upgrade(struct http_conn *c, struct slice fields)
{
	if (c->state == CONN_CUT)
		return;
	CHECK(c->state == CONN_BUSY && c->req.answer == ANSWER_NONE && c->req.upgrade);
	struct buf *b = cork_buf(&c->out);
	http_put_status_line(b, 101);
	http_put_field_str(b, "upgrade", "websocket");
	http_put_field_str(b, "connection", "Upgrade");
	http_put_field_str(b, "sec-websocket-accept", c->req.accept);
	buf_add(b, fields);
	http_put_end(b);
	cork_flush(&c->out);
	c->state = CONN_RAW;
	c->req.body_done = false;   /* from now on: raw_eof was told */
	c->req.parser_held = false; /* what follows the head is not for the parser, though it may not have ended */
	timer_disarm(&c->deadline);
	loop_post(c->server->loop, &c->pump);
}

bool http_conn_raw(struct http_conn *c, struct slice s)
{
	if (c->state == CONN_CUT)
		return true;
	CHECK(c->state == CONN_RAW);
	(void)stream_write(c->stream, s); /* a failure comes as an event */
	return stream_queued(c->stream) <= LIMIT_STREAM_QUEUE_HIGH;
}

void http_conn_raw_close(struct http_conn *c)
{
	if (c->state == CONN_CUT) {
		c->state = CONN_GONE;
		return;
	}
	CHECK(c->state == CONN_RAW);
	http_conn_linger(c, LIMIT_WS_CLOSE_MS);
}
