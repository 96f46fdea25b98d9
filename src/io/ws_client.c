/* Owns the connection, TLS, the reader of frames, and frames on their way out.
 *
 * Happy path: ws_client_dial.c leads to OPEN; frames sent are gathered in `out`
 * and written once a turn (at once when they are many); what comes in goes
 * through TLS, if any, to the reader and up. ws_client_close: CLOSING until the
 * peer's close frame.
 *
 * A peer with Nagle's algorithm on sends a small frame only when all before it
 * are acknowledged, and the kernel delays that by 40 ms for want of something
 * to send. So an acknowledgement waits LIMIT_WS_ACK_MS for a frame of ours.
 *
 * Every failure is ENDED, by ws_client_end alone, told from a task; reading
 * stops. The peer's close frame is one such end, answered (RFC 6455 5.5.1) and
 * flushed. ws_client_abort closes what there is; the memory goes when the
 * stream has closed, or in a task when there is none. */
#include "io/ws_client_private.h"

#include "base/limits.h"

#include <stdarg.h>
#include <uv.h>

#define FLUSH_BYTES ((size_t)64 * 1024)  /* sent without waiting for the end of the turn */
#define KEPT_BYTES ((size_t)256 * 1024)  /* of an empty buffer; there is one busy client, not thousands */
#define RECORD_BYTES ((size_t)16 * 1024) /* of plain text at a time (RFC 8446 5.1) */
#define LAST_WORDS_MS 500                /* for our close frame to leave */

/* ---- ends ---- */

void ws_client_end(struct ws_client *c, enum ws_client_why why, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	CHECK(c->state < WS_CLIENT_ENDED);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_addf(&c->end_text, "%s: %s", c->place, text);
	c->state = WS_CLIENT_ENDED;
	c->end.why = why;
	timer_disarm(&c->timer);
	timer_disarm(&c->ack);
	loop_cancel(&c->flush);
	if (c->stream != NULL)
		stream_read_stop(c->stream);
	loop_post(c->loop, &c->step);
}

static void free_all(struct ws_client *c)
{
	const struct ws_client_events *events = c->events;
	void *arg = c->arg;
	tls_free(c->tls);
	http_parser_free(c->parser);
	ws_reader_free(c->reader);
	buf_done(&c->out);
	buf_done(&c->head);
	buf_done(&c->end_text);
	buf_done(&c->end_reason);
	mem_free(c->host);
	mem_free(c->subprotocols);
	mem_free(c->place);
	c->magic = 0;
	mem_free(c);
	events->closed(arg);
}

static void on_step(void *arg)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (c->state == WS_CLIENT_GONE) {
		free_all(c);
		return;
	}
	c->end.text = buf_text(&c->end_text);
	c->end.reason = buf_slice(&c->end_reason);
	c->events->ended(c->arg, &c->end);
}

void ws_client_abort(struct ws_client *c)
{
	if (c->state == WS_CLIENT_GONE)
		return;
	c->state = WS_CLIENT_GONE;
	timer_disarm(&c->timer);
	timer_disarm(&c->ack);
	loop_cancel(&c->step);
	loop_cancel(&c->flush);
	if (c->resolve != NULL)
		resolve_close(TAKE(c->resolve));
	if (c->stream == NULL)
		loop_post(c->loop, &c->step);
	else if (c->last_words)
		stream_close_flushed(c->stream, LAST_WORDS_MS);
	else
		stream_close(c->stream);
}

static void on_timer(void *arg)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (c->state == WS_CLIENT_CLOSING)
		ws_client_end(c, WS_CLIENT_TIMEOUT, "it did not answer the close frame in time");
	else
		ws_client_dial_timeout(c);
}

static void on_ack(void *arg)
{
	stream_ack(CAST(struct ws_client, arg, WS_CLIENT_MAGIC)->stream);
}

/* ---- out ---- */

/* A failure comes as an event. */
static void put(struct ws_client *c, struct slice s)
{
	timer_disarm(&c->ack); /* it rides along */
	(void)stream_write(c->stream, s);
}

void ws_client_push_tls(struct ws_client *c)
{
	struct slice s = tls_out(c->tls);
	if (s.n > 0)
		put(c, s);
	tls_out_drop(c->tls);
}

void ws_client_write(struct ws_client *c, struct slice plain)
{
	if (c->tls == NULL) {
		put(c, plain);
		return;
	}
	for (size_t at = 0; at < plain.n; at += RECORD_BYTES) {
		struct slice rest = slice_from(plain, at);
		if (tls_write(c->tls, rest.n < RECORD_BYTES ? rest : slice_head(rest, RECORD_BYTES)) != 0)
			return; /* reading will find it broken too */
		ws_client_push_tls(c);
	}
}

static void send_out(struct ws_client *c)
{
	loop_cancel(&c->flush);
	if (buf_len(&c->out) == 0)
		return;
	CHECK(!c->out.over);
	ws_client_write(c, buf_slice(&c->out));
	if (c->out.room > KEPT_BYTES)
		buf_done(&c->out);
	else
		buf_reset(&c->out);
}

static void tell_drained(struct ws_client *c)
{
	if (!c->above_high || ws_client_queued(c) > LIMIT_STREAM_QUEUE_HIGH || c->state != WS_CLIENT_OPEN)
		return;
	c->above_high = false;
	c->events->drained(c->arg);
}

static void on_flush(void *arg)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	send_out(c);
	tell_drained(c);
}

size_t ws_client_queued(const struct ws_client *c)
{
	return buf_len(&c->out) + (c->stream == NULL ? 0 : stream_queued(c->stream));
}

int ws_client_send(struct ws_client *c, enum ws_opcode op, struct slice payload)
{
	if (c->state != WS_CLIENT_OPEN)
		return WS_CLIENT_ENDING;
	if (payload.n > LIMIT_WS_CLIENT_QUEUE_BYTES || ws_client_queued(c) > LIMIT_WS_CLIENT_QUEUE_BYTES - payload.n)
		return WS_CLIENT_FULL;
	ws_put_frame(&c->out, op, true, true, payload);
	if (buf_len(&c->out) >= FLUSH_BYTES)
		send_out(c);
	if (ws_client_queued(c) > LIMIT_STREAM_QUEUE_HIGH)
		c->above_high = true;
	if (buf_len(&c->out) > 0 || c->above_high)
		loop_post(c->loop, &c->flush);
	return 0;
}

bool ws_client_flush(struct ws_client *c)
{
	if (c->state != WS_CLIENT_OPEN)
		return false;
	send_out(c);
	if (c->above_high)
		loop_post(c->loop, &c->flush); /* drained() is owed */
	return ws_client_queued(c) == 0;
}

/* The last frame we send. */
static void send_close(struct ws_client *c, unsigned code, struct slice reason)
{
	ws_put_close(&c->out, code, reason, true);
	send_out(c);
	c->last_words = true;
}

void ws_client_close(struct ws_client *c, unsigned code, struct slice reason)
{
	if (c->state != WS_CLIENT_OPEN)
		return;
	send_close(c, code, reason);
	c->state = WS_CLIENT_CLOSING;
	timer_arm(&c->timer, LIMIT_WS_CLOSE_MS);
}

/* ---- in: frames ---- */

static bool is_reading(const struct ws_client *c)
{
	return c->state == WS_CLIENT_OPEN || c->state == WS_CLIENT_CLOSING;
}

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (is_reading(c))
		c->events->message(c->arg, binary, payload);
}

static void on_ping(void *arg, struct slice payload)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	(void)ws_client_send(c, WS_PONG, payload); /* a full queue: it reads nothing anyway */
}

static void on_pong(void *arg, struct slice payload)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (!is_reading(c))
		return;
	if (timer_armed(&c->ack))
		timer_arm(&c->ack, 0); /* it asks for nothing, so nothing may come to ride on */
	c->events->pong(c->arg, payload);
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (!is_reading(c))
		return;
	if (c->state == WS_CLIENT_OPEN)
		send_close(c, code, SLICE_NONE);
	c->end.code = code;
	buf_add(&c->end_reason, reason);
	ws_client_end(c, WS_CLIENT_CLOSED, "it closed the WebSocket: %u %.*s", code, SLICE_FMT(reason));
}

static const struct ws_reader_events reader_events = {
    .message = on_message,
    .ping = on_ping,
    .pong = on_pong,
    .close = on_close,
};

static void take_frames(struct ws_client *c, struct slice s)
{
	int r = ws_reader_feed(c->reader, s);
	if (r == 0 || !is_reading(c))
		return;
	unsigned code = r == WS_TOO_BIG ? WS_CLOSE_TOO_BIG : r == WS_BAD_TEXT ? WS_CLOSE_BAD_DATA : WS_CLOSE_PROTOCOL;
	if (c->state == WS_CLIENT_OPEN)
		send_close(c, code, SLICE_NONE);
	ws_client_end(c, WS_CLIENT_PROTOCOL, "it broke the WebSocket protocol: %s",
		      r == WS_TOO_BIG    ? "a message over our bound"
		      : r == WS_BAD_TEXT ? "text that is not UTF-8"
					 : "a malformed frame");
}

/* ---- in: bytes ---- */

static void take_plain(struct ws_client *c, struct slice s)
{
	if (c->state == WS_CLIENT_UPGRADING)
		s = slice_from(s, ws_client_dial_answer(c, s));
	if (s.n > 0 && is_reading(c))
		take_frames(c, s);
}

/* The connection ended behind all that came; why: 0 or -errno. */
static void cut(struct ws_client *c, int why)
{
	if (c->state >= WS_CLIENT_ENDED)
		return;
	if (!is_reading(c))
		ws_client_dial_cut(c, why);
	else
		ws_client_end(c, WS_CLIENT_LOST, "the connection was lost: %s",
			      why == 0 ? "it ended without a close frame" : uv_strerror(why));
}

static void take_cipher(struct ws_client *c, struct slice s)
{
	uint8_t plain[RECORD_BYTES];
	size_t n;
	int r = 0;
	tls_feed(c->tls, s);
	if (c->state == WS_CLIENT_SECURING)
		ws_client_dial_secure(c);
	if (c->state == WS_CLIENT_SECURING)
		return;
	while (c->state < WS_CLIENT_ENDED && (r = tls_read(c->tls, plain, sizeof(plain), &n)) == 0)
		take_plain(c, slice_of(plain, n));
	if (c->state >= WS_CLIENT_ENDED)
		return;
	ws_client_push_tls(c);
	if (r == TLS_END)
		cut(c, 0);
	else if (r != TLS_AGAIN)
		ws_client_end(c, is_reading(c) ? WS_CLIENT_LOST : WS_CLIENT_TLS, "%s", tls_error(c->tls));
}

static void on_stream_data(void *arg, struct slice s)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (c->state >= WS_CLIENT_ENDED)
		return;
	if (!timer_armed(&c->ack))
		timer_arm(&c->ack, LIMIT_WS_ACK_MS);
	if (c->tls != NULL)
		take_cipher(c, s);
	else
		take_plain(c, s);
}

static void on_stream_eof(void *arg)
{
	cut(CAST(struct ws_client, arg, WS_CLIENT_MAGIC), 0);
}

static void on_stream_failed(void *arg, int why)
{
	cut(CAST(struct ws_client, arg, WS_CLIENT_MAGIC), why);
}

static void on_stream_drained(void *arg)
{
	tell_drained(CAST(struct ws_client, arg, WS_CLIENT_MAGIC));
}

static void on_stream_closed(void *arg)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	bool retry = c->retry_asked && c->state == WS_CLIENT_CONNECTING;
	c->retry_asked = false;
	c->stream = NULL;
	if (c->state == WS_CLIENT_GONE)
		free_all(c);
	else if (retry)
		ws_client_dial_next(c);
}

const struct stream_events ws_client_stream_events = {
    .data = on_stream_data,
    .eof = on_stream_eof,
    .drained = on_stream_drained,
    .failed = on_stream_failed,
    .closed = on_stream_closed,
};

/* ---- opening ---- */

struct ws_client *ws_client_open(struct loop *l, const struct ws_client_options *o,
				 const struct ws_client_events *events, void *arg)
{
	struct ws_client *c = mem_zalloc(sizeof(*c));
	CHECK(o->message_max <= LIMIT_WS_ENGINE_MESSAGE_BYTES);
	*c = (struct ws_client){.magic = WS_CLIENT_MAGIC,
				.loop = l,
				.port = o->port,
				.tls_context = o->tls,
				.host = mem_strdup(o->host),
				.subprotocols = mem_strdup(o->subprotocols),
				.message_max = o->message_max,
				.upgrade_ms = o->upgrade_ms,
				.events = events,
				.arg = arg};
	bool six = strchr(o->host, ':') != NULL;
	c->place = mem_printf("%s%s%s:%u", six ? "[" : "", o->host, six ? "]" : "", o->port);
	timer_init(&c->timer, l, on_timer, c);
	timer_init(&c->ack, l, on_ack, c);
	loop_task_init(&c->step, on_step, c);
	loop_task_init(&c->flush, on_flush, c);
	buf_init(&c->out, LIMIT_WS_CLIENT_QUEUE_BYTES + 1024); /* a frame head and a close frame may come on top */
	buf_init(&c->head, LIMIT_HTTP_HEAD_BYTES);
	buf_init(&c->end_text, 2048);
	buf_init(&c->end_reason, WS_REASON_MAX);
	c->reader = ws_reader_new(false, o->message_max, &reader_events, c);
	ws_client_dial(c, o);
	return c;
}
