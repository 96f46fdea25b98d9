/* Writes the head a worker gets: the client's, made canonical.
 *
 * End-to-end fields pass in order with their repeats; hop-by-hop ones, framing
 * and everything that only the daemon may say is left out and written fresh. */
#include "worker/worker_private.h"

/* Fields that never pass as the client sent them. Names named in Connection are hop-by-hop by their flag; that a Host
 * is named there takes nothing away. */
static bool is_dropped(const struct http_field *f, const struct exchange *x)
{
	bool upgrade = x->kind == EXCHANGE_WEBSOCKET;
	if (f->hop)
		return f->id != HTTP_F_HOST;
	switch ((enum http_field_id)f->id) {
	case HTTP_F_CONNECTION:
	case HTTP_F_KEEP_ALIVE:
	case HTTP_F_PROXY_CONNECTION:
	case HTTP_F_PROXY_AUTHORIZATION:
	case HTTP_F_TE:
	case HTTP_F_TRAILER:
	case HTTP_F_TRANSFER_ENCODING:
	case HTTP_F_HTTP2_SETTINGS:
	case HTTP_F_CONTENT_LENGTH:
	case HTTP_F_UPGRADE:
	case HTTP_F_EXPECT:
	case HTTP_F_X_RIVET_TARGET:
	case HTTP_F_X_RIVET_ACTOR:
	case HTTP_F_X_RIVET_TOKEN:
	case HTTP_F_X_RIVET_SKIP_READY_WAIT:
	case HTTP_F_X_RIVET_ERROR:
	case HTTP_F_X_RIVET_HIBERNATE:
	case HTTP_F_X_RIVET_ACTOR_GENERATION:
	case HTTP_F_X_RIVET_OTHER:
		return true;
	case HTTP_F_FORWARDED:
		return x->forwarded_for != NULL;
	case HTTP_F_SEC_WEBSOCKET_PROTOCOL: /* means nothing without an upgrade, but may name a token */
		return upgrade || memmem(f->value.p, f->value.n, "rivet_", 6) != NULL;
	case HTTP_F_SEC_WEBSOCKET_KEY:
	case HTTP_F_SEC_WEBSOCKET_VERSION:
	case HTTP_F_SEC_WEBSOCKET_EXTENSIONS:
		return upgrade;
	case HTTP_F_OTHER:
	case HTTP_F_HOST:
	case HTTP_F_PROXY_AUTHENTICATE:
	case HTTP_F_CONTENT_TYPE:
	case HTTP_F_DATE:
	case HTTP_F_SERVER:
	case HTTP_F_ORIGIN:
	case HTTP_F_VARY:
	case HTTP_F_AUTHORIZATION:
	case HTTP_F_ACCESS_CONTROL:
	case HTTP_F_ACR_METHOD:
	case HTTP_F_ACR_HEADERS:
	case HTTP_F_SEC_WEBSOCKET_ACCEPT:
	case HTTP_F_X_RIVET_ENCODING:
	case HTTP_F_X_RIVET_CONN_PARAMS:
	case HTTP_F_X_RIVET_RAY_ID:
		return false;
	}
	return true;
}

static void put_upgrade(struct buf *out, const struct exchange *x, char accept[29])
{
	char fresh[25];
	const struct http_field *key = http_head_get(x->head, HTTP_F_SEC_WEBSOCKET_KEY);
	struct slice text = key == NULL ? SLICE_NONE : key->value;
	if (text.n == 0) {
		ws_key(fresh);
		text = slice_str(fresh);
	}
	ws_accept(text, accept);
	buf_add(out, SLICE_LIT("connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"));
	http_put_field(out, SLICE_LIT("sec-websocket-key"), text);
	if (x->subprotocols != NULL)
		http_put_field_str(out, "sec-websocket-protocol", x->subprotocols);
}

static void put_framing(struct buf *out, const struct exchange *x, bool *ret_has_body, bool *ret_chunked)
{
	const struct http_head *h = x->head;
	*ret_has_body = !x->no_body && h->framing != HTTP_FRAMING_NONE;
	*ret_chunked = *ret_has_body && h->framing != HTTP_FRAMING_LENGTH;
	if (*ret_chunked)
		buf_add(out, SLICE_LIT("transfer-encoding: chunked\r\n"));
	else if (h->framing == HTTP_FRAMING_LENGTH)
		http_put_field_u64(out, "content-length", *ret_has_body ? h->length : 0);
}

void worker_head_put(struct buf *out, const struct exchange *x, struct slice fields, bool *ret_has_body,
		     bool *ret_chunked, char accept[29])
{
	const struct http_head *h = x->head;
	CHECK(h != NULL && x->target != NULL);
	http_put_request_line(out, h->method, slice_str(x->target));
	if (http_head_get(h, HTTP_F_HOST) == NULL)
		buf_add(out, SLICE_LIT("host: localhost\r\n"));
	for (uint16_t i = 0; i < h->n_fields; i++)
		if (!is_dropped(&h->fields[i], x))
			http_put_field(out, h->fields[i].name, h->fields[i].value);
	buf_add(out, fields);
	http_put_field_str(out, "x-rivet-request-id", x->request_id);
	if (x->forwarded_for != NULL)
		http_put_field_str(out, "x-forwarded-for", x->forwarded_for);
	if (x->forwarded_for != NULL && x->forwarded_proto != NULL)
		http_put_field_str(out, "x-forwarded-proto", x->forwarded_proto);
	if (x->forwarded_for != NULL && x->forwarded_host != NULL)
		http_put_field_str(out, "x-forwarded-host", x->forwarded_host);
	accept[0] = '\0';
	if (x->kind == EXCHANGE_WEBSOCKET) {
		*ret_has_body = *ret_chunked = false;
		if (x->connection_id[0] != '\0')
			http_put_field_str(out, "x-rivet-connection-id", x->connection_id);
		if (x->reopens)
			buf_add(out, SLICE_LIT("x-rivet-hibernated: true\r\n"));
		put_upgrade(out, x, accept);
	} else {
		put_framing(out, x, ret_has_body, ret_chunked);
	}
	http_put_end(out);
}

void worker_head_put_actor(struct buf *out, const struct place_actor *a)
{
	http_put_field_str(out, "x-rivet-actor-id", a->actor_id);
	http_put_field_str(out, "x-rivet-actor-name", a->name);
	if (a->key != NULL) {
		buf_add(out, SLICE_LIT("x-rivet-actor-key: "));
		http_percent_encode(slice_str(a->key), out);
		buf_add(out, SLICE_LIT("\r\n"));
	}
	buf_addf(out, "x-rivet-actor-generation: %lld\r\n", (long long)a->generation);
}
