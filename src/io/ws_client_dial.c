/* From a host name to an open WebSocket.
 *
 * Happy path: RESOLVING (skipped for an address), CONNECTING, SECURING (TLS
 * only), UPGRADING, OPEN. A failed or slow address gives way to the next; each
 * gets an equal share of the time that is left. From the TLS handshake on
 * there is one peer, and its failure is the end: another address of the same
 * name would most likely answer the same. */
#include "io/ws_client_private.h"

#include <errno.h>
#include <stdio.h>
#include <uv.h>

static const char *error_text(int why)
{
	return why == 0 ? "the connection was closed" : uv_strerror(why);
}

/* ---- looking up and connecting ---- */

static void on_connected(void *arg, int why);

static int64_t connect_left_ms(struct ws_client *c)
{
	int64_t left = c->connect_until_mono_ms - loop_mono_ms(c->loop);
	return left < 0 ? 0 : left;
}

void ws_client_dial_next(struct ws_client *c)
{
	size_t left = c->addresses.n - c->at_address;
	const char *address = c->addresses.address[c->at_address++];
	CHECK(left > 0);
	int r = stream_connect_tcp(c->loop, address, c->port, on_connected, &ws_client_stream_events, c, &c->stream);
	if (r < 0) { /* an address that is none: of the name service */
		ws_client_end(c, WS_CLIENT_CONNECT, "cannot connect to %s: %s", address, uv_strerror(r));
		return;
	}
	timer_arm(&c->timer, connect_left_ms(c) / (int64_t)left);
}

/* The address at hand is no good. */
static void address_failed(struct ws_client *c, enum ws_client_why why, const char *text)
{
	timer_disarm(&c->timer);
	if (c->at_address < c->addresses.n) {
		c->retry_asked = true;
		stream_close(c->stream); /* goes on in its closed() */
		return;
	}
	const char *address = c->addresses.address[c->at_address - 1];
	const char *more = c->addresses.n > 1 ? ", the last of its addresses" : "";
	if (resolve_is_address(c->host))
		ws_client_end(c, why, "%s", text);
	else
		ws_client_end(c, why, "%s (%s%s)", text, address, more);
}

static void start_connecting(struct ws_client *c)
{
	c->state = WS_CLIENT_CONNECTING;
	ws_client_dial_next(c);
}

static void on_resolved(void *arg, const struct resolve_answer *a)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	resolve_close(TAKE(c->resolve));
	if (a->n == 0) {
		ws_client_end(c, WS_CLIENT_RESOLVE, "the host name cannot be resolved: %s", a->error);
		return;
	}
	c->addresses = *a;
	start_connecting(c);
}

/* ---- the upgrade (RFC 6455 4.1) ---- */

static void send_upgrade(struct ws_client *c)
{
	c->state = WS_CLIENT_UPGRADING;
	ws_client_write(c, buf_slice(&c->head));
	buf_done(&c->head);
}

static void on_connected(void *arg, int why)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (why < 0) {
		address_failed(c, WS_CLIENT_CONNECT, uv_strerror(why));
		return;
	}
	timer_arm(&c->timer, c->upgrade_ms);
	stream_read_start(c->stream);
	if (c->tls_context == NULL) {
		send_upgrade(c);
		return;
	}
	c->state = WS_CLIENT_SECURING;
	c->tls = tls_new(c->tls_context, c->host);
	ws_client_dial_secure(c);
}

void ws_client_dial_secure(struct ws_client *c)
{
	int r = tls_handshake(c->tls);
	ws_client_push_tls(c);
	if (r == 0)
		send_upgrade(c);
	else if (r == TLS_UNTRUSTED)
		ws_client_end(c, WS_CLIENT_CERTIFICATE, "%s", tls_error(c->tls));
	else if (r != TLS_AGAIN)
		ws_client_end(c, WS_CLIENT_TLS, "%s", tls_error(c->tls));
}

/* Whether one of the comma-separated offers is the choice, which is a single token. */
static bool was_offered(const char *offers, struct slice choice)
{
	struct slice rest = slice_str(offers);
	while (rest.n > 0) {
		size_t n = slice_find(rest, ',');
		struct slice one = slice_head(rest, n);
		while (one.n > 0 && one.p[0] == ' ')
			one = slice_from(one, 1);
		if (slice_eq(one, choice))
			return true;
		rest = slice_from(rest, n < rest.n ? n + 1 : n);
	}
	return false;
}

/* What is wrong with a 101 that the parser has found sound; NULL: nothing. */
static const char *judge_101(const struct ws_client *c, const struct http_head *h)
{
	const struct http_field *accept = http_head_get(h, HTTP_F_SEC_WEBSOCKET_ACCEPT);
	const struct http_field *protocol = http_head_get(h, HTTP_F_SEC_WEBSOCKET_PROTOCOL);
	if (accept == NULL || !slice_is(accept->value, c->accept))
		return "accepted the WebSocket with a wrong Sec-WebSocket-Accept";
	if (http_head_get(h, HTTP_F_SEC_WEBSOCKET_EXTENSIONS) != NULL)
		return "accepted the WebSocket with an extension nobody asked for";
	if (protocol != NULL && !was_offered(c->subprotocols, protocol->value))
		return "accepted the WebSocket with a subprotocol nobody offered";
	return NULL;
}

static void refuse_answer(struct ws_client *c, const struct http_head *h)
{
	const struct http_field *to = http_head_find(h, "location");
	c->end.status = h->status;
	if (h->status / 100 == 3 && to != NULL)
		ws_client_end(c, WS_CLIENT_UPGRADE,
			      "what answers is no WebSocket endpoint: HTTP %u, which points to %.*s", h->status,
			      SLICE_FMT(to->value));
	else
		ws_client_end(c, WS_CLIENT_UPGRADE, "what answers is no WebSocket endpoint: HTTP %u %s", h->status,
			      http_reason(h->status));
}

static void on_head(void *arg, const struct http_head *h)
{
	struct ws_client *c = CAST(struct ws_client, arg, WS_CLIENT_MAGIC);
	if (h->status != 101) {
		refuse_answer(c, h);
		return;
	}
	const char *wrong = judge_101(c, h);
	if (wrong != NULL) {
		ws_client_end(c, WS_CLIENT_UPGRADE, "%s", wrong);
		return;
	}
	timer_disarm(&c->timer);
	c->state = WS_CLIENT_OPEN;
	c->events->open(c->arg, h);
}

static void on_body(void *arg, struct slice s)
{
	(void)arg; /* of an answer that was no 101: its status says enough */
	(void)s;
}

static const struct http_parser_events parser_events = {.head = on_head, .body = on_body};

size_t ws_client_dial_answer(struct ws_client *c, struct slice s)
{
	size_t used = 0;
	const char *text;
	int r = http_parser_feed(c->parser, s, &used);
	if (r == HTTP_BAD && c->state == WS_CLIENT_UPGRADING) {
		(void)http_parser_error(c->parser, &text);
		ws_client_end(c, WS_CLIENT_UPGRADE, "what answers is no WebSocket endpoint: no valid HTTP (%s)", text);
	}
	return used;
}

void ws_client_dial_cut(struct ws_client *c, int why)
{
	if (c->state == WS_CLIENT_SECURING)
		ws_client_end(c, WS_CLIENT_TLS, "the TLS handshake was cut: %s; what answers may speak plain http",
			      error_text(why));
	else
		ws_client_end(c, WS_CLIENT_UPGRADE, "no answer to the WebSocket handshake: %s%s", error_text(why),
			      c->tls_context == NULL ? "; what answers may speak https" : "");
}

/* ---- time ---- */

void ws_client_dial_timeout(struct ws_client *c)
{
	switch (c->state) {
	case WS_CLIENT_RESOLVING:
		ws_client_end(c, WS_CLIENT_RESOLVE, "the host name cannot be resolved: no answer in time");
		break;
	case WS_CLIENT_CONNECTING:
		address_failed(c, WS_CLIENT_TIMEOUT, "it does not accept connections in time");
		break;
	case WS_CLIENT_SECURING:
		ws_client_end(c, WS_CLIENT_TIMEOUT,
			      "accepted the connection but did not finish the TLS handshake in time");
		break;
	case WS_CLIENT_UPGRADING:
		ws_client_end(c, WS_CLIENT_TIMEOUT,
			      "accepted the connection but did not answer the WebSocket handshake in time");
		break;
	default:
		IMPOSSIBLE("a dial timer behind the handshake");
	}
}

/* ---- start ---- */

static void put_head(struct ws_client *c, const char *target)
{
	struct buf *b = &c->head;
	char key[25];
	ws_key(key);
	ws_accept(slice_str(key), c->accept);
	http_put_request_line(b, SLICE_LIT("GET"), slice_str(target));
	http_put_field_str(b, "host", c->place);
	http_put_field_str(b, "upgrade", "websocket");
	http_put_field_str(b, "connection", "Upgrade");
	http_put_field_str(b, "sec-websocket-key", key);
	http_put_field_str(b, "sec-websocket-version", "13");
	if (c->subprotocols != NULL)
		http_put_field_str(b, "sec-websocket-protocol", c->subprotocols);
	http_put_end(b);
	CHECK(!b->over);
}

void ws_client_dial(struct ws_client *c, const struct ws_client_options *o)
{
	c->parser = http_parser_new(HTTP_RESPONSE, LIMIT_HTTP_TARGET_BYTES, &parser_events, c);
	http_parser_reset(c->parser, false, true);
	put_head(c, o->target);
	c->connect_until_mono_ms = loop_mono_ms(c->loop) + o->connect_ms;
	if (resolve_is_address(c->host)) {
		c->addresses.n = 1;
		(void)snprintf(c->addresses.address[0], RESOLVE_ADDRESS_BYTES, "%s", c->host);
		start_connecting(c);
		return;
	}
	c->state = WS_CLIENT_RESOLVING;
	timer_arm(&c->timer, o->connect_ms);
	int r = resolve_open(c->loop, c->host, on_resolved, c, &c->resolve);
	if (r == -EAGAIN)
		ws_client_end(c, WS_CLIENT_RESOLVE, "the name service still has not answered earlier look-ups");
	else if (r < 0)
		ws_client_end(c, WS_CLIENT_RESOLVE, "cannot look up the host name: %s", uv_strerror(r));
}
