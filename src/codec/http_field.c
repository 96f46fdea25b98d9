/* Field names to ids: one switch on the length, then at most four
 * comparisons, each of which ends at the first byte that differs. */
#include "codec/http_inner.h"

static uint8_t fold(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c | 0x20;
	return c == '_' ? '-' : c;
}

static bool same(const uint8_t *p, const char *name, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (fold(p[i]) != (uint8_t)name[i])
			return false;
	}
	return true;
}

#define SAME(lit) same(p, lit, sizeof(lit) - 1)

/* Whole names. The case labels are their lengths; SAME trusts them. */
static enum http_field_id lookup_name(const uint8_t *p, size_t n)
{
	switch (n) {
	case 2:
		return SAME("te") ? HTTP_F_TE : HTTP_F_OTHER;
	case 4:
		return SAME("host")   ? HTTP_F_HOST
		       : SAME("date") ? HTTP_F_DATE
		       : SAME("vary") ? HTTP_F_VARY
				      : HTTP_F_OTHER;
	case 6:
		return SAME("expect")   ? HTTP_F_EXPECT
		       : SAME("server") ? HTTP_F_SERVER
		       : SAME("origin") ? HTTP_F_ORIGIN
					: HTTP_F_OTHER;
	case 7:
		return SAME("upgrade") ? HTTP_F_UPGRADE : SAME("trailer") ? HTTP_F_TRAILER : HTTP_F_OTHER;
	case 10:
		return SAME("connection") ? HTTP_F_CONNECTION : SAME("keep-alive") ? HTTP_F_KEEP_ALIVE : HTTP_F_OTHER;
	case 12:
		return SAME("content-type") ? HTTP_F_CONTENT_TYPE : HTTP_F_OTHER;
	case 13:
		return SAME("authorization")   ? HTTP_F_AUTHORIZATION
		       : SAME("x-rivet-token") ? HTTP_F_X_RIVET_TOKEN
		       : SAME("x-rivet-actor") ? HTTP_F_X_RIVET_ACTOR
		       : SAME("x-rivet-error") ? HTTP_F_X_RIVET_ERROR
					       : HTTP_F_OTHER;
	case 14:
		return SAME("content-length")   ? HTTP_F_CONTENT_LENGTH
		       : SAME("x-rivet-target") ? HTTP_F_X_RIVET_TARGET
		       : SAME("x-rivet-ray-id") ? HTTP_F_X_RIVET_RAY_ID
		       : SAME("http2-settings") ? HTTP_F_HTTP2_SETTINGS
						: HTTP_F_OTHER;
	case 15:
		return SAME("x-forwarded-for") ? HTTP_F_FORWARDED : HTTP_F_OTHER;
	case 16:
		return SAME("proxy-connection")   ? HTTP_F_PROXY_CONNECTION
		       : SAME("x-forwarded-host") ? HTTP_F_FORWARDED
		       : SAME("x-rivet-encoding") ? HTTP_F_X_RIVET_ENCODING
						  : HTTP_F_OTHER;
	case 17:
		return SAME("transfer-encoding")   ? HTTP_F_TRANSFER_ENCODING
		       : SAME("sec-websocket-key") ? HTTP_F_SEC_WEBSOCKET_KEY
		       : SAME("x-forwarded-proto") ? HTTP_F_FORWARDED
		       : SAME("x-rivet-hibernate") ? HTTP_F_X_RIVET_HIBERNATE
						   : HTTP_F_OTHER;
	case 18:
		return SAME("proxy-authenticate") ? HTTP_F_PROXY_AUTHENTICATE : HTTP_F_OTHER;
	case 19:
		return SAME("proxy-authorization")   ? HTTP_F_PROXY_AUTHORIZATION
		       : SAME("x-rivet-conn-params") ? HTTP_F_X_RIVET_CONN_PARAMS
						     : HTTP_F_OTHER;
	case 20:
		return SAME("sec-websocket-accept") ? HTTP_F_SEC_WEBSOCKET_ACCEPT : HTTP_F_OTHER;
	case 21:
		return SAME("sec-websocket-version") ? HTTP_F_SEC_WEBSOCKET_VERSION : HTTP_F_OTHER;
	case 22:
		return SAME("sec-websocket-protocol") ? HTTP_F_SEC_WEBSOCKET_PROTOCOL : HTTP_F_OTHER;
	case 23:
		return SAME("x-rivet-skip-ready-wait") ? HTTP_F_X_RIVET_SKIP_READY_WAIT : HTTP_F_OTHER;
	case 24:
		return SAME("sec-websocket-extensions")   ? HTTP_F_SEC_WEBSOCKET_EXTENSIONS
		       : SAME("x-rivet-actor-generation") ? HTTP_F_X_RIVET_ACTOR_GENERATION
							  : HTTP_F_OTHER;
	case 29:
		return SAME("access-control-request-method") ? HTTP_F_ACR_METHOD : HTTP_F_OTHER;
	case 30:
		return SAME("access-control-request-headers") ? HTTP_F_ACR_HEADERS : HTTP_F_OTHER;
	default:
		return HTTP_F_OTHER;
	}
}

/* Families of names, by what they begin with. */
static enum http_field_id lookup_family(const uint8_t *p, size_t n)
{
	if (n >= 8 && SAME("x-rivet-"))
		return HTTP_F_X_RIVET_OTHER;
	if (n > 15 && SAME("access-control-")) {
		p += 15;
		n -= 15;
		if ((n > 6 && SAME("allow-")) || (n > 7 && SAME("expose-")) || (n == 7 && SAME("max-age")))
			return HTTP_F_ACCESS_CONTROL;
	}
	return HTTP_F_OTHER;
}

enum http_field_id http_field_lookup(struct slice name)
{
	enum http_field_id id = lookup_name(name.p, name.n);
	return id != HTTP_F_OTHER ? id : lookup_family(name.p, name.n);
}
