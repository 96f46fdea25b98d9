/* Who may come in. Owns nothing: borrows heads and the settings, answers with
 * numbers and field lines.
 *
 * The order in which a listener asks: Host and Origin first, since they stand
 * for the browser of somebody who means no harm; then the token. Host names are
 * compared without their port: a page that rebinds its own name to 127.0.0.1
 * cannot choose another name for itself. */
#include "local/local_access.h"

#include <arpa/inet.h>

/* host [ ":" port ], the host with its brackets. */
struct authority {
	struct slice host, port; /* port: SLICE_NONE when there is none */
};

static bool is_port(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	}
	return s.n <= 5;
}

static bool split_authority(struct slice s, struct authority *ret)
{
	size_t host_n = slice_find(s, ':');
	if (slice_starts(s, "[")) {
		size_t bracket = slice_find(s, ']');
		host_n = bracket == s.n ? s.n : bracket + 1;
	}
	struct slice rest = slice_from(s, host_n);
	if (host_n == 0 || (rest.n > 0 && rest.p[0] != ':'))
		return false;
	ret->host = slice_head(s, host_n);
	ret->port = rest.n == 0 ? SLICE_NONE : slice_from(rest, 1);
	return is_port(ret->port);
}

static bool same_nocase(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp((const char *)a.p, (const char *)b.p, a.n) == 0);
}

/* An address is loopback only in the forms browsers send it in. */
static bool is_loopback(struct slice host)
{
	static const struct slice domain = {(const uint8_t *)".localhost", 10};
	char text[INET6_ADDRSTRLEN];
	struct in_addr v4;
	struct in6_addr v6;
	if (slice_is_nocase(host, "localhost") ||
	    (host.n > domain.n && same_nocase(slice_from(host, host.n - domain.n), domain)))
		return true;
	bool bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
	if (bracketed)
		host = slice_of(host.p + 1, host.n - 2);
	if (host.n == 0 || host.n >= sizeof(text))
		return false;
	memcpy(text, host.p, host.n);
	text[host.n] = '\0';
	if (bracketed)
		return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
	return inet_pton(AF_INET, text, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool asks_token(const struct local_access *a)
{
	return a->token != NULL && !a->auth_none;
}

/* ---- Host ---- */

static bool host_is_ours(const struct local_access *a, struct slice value)
{
	struct authority own;
	if (!split_authority(value, &own))
		return false;
	if (is_loopback(own.host))
		return true;
	for (char *const *host = a->hosts; host != NULL && *host != NULL; host++) {
		if (slice_is_nocase(own.host, *host))
			return true;
	}
	return false;
}

/* ---- Origin ---- */

/* scheme "://" authority, nothing behind it (RFC 6454 6.2). */
static bool split_origin(struct slice origin, struct slice *ret_scheme, struct authority *ret)
{
	size_t scheme_n = slice_find(origin, ':');
	struct slice rest = slice_from(origin, scheme_n);
	if (!slice_starts(rest, "://"))
		return false;
	*ret_scheme = slice_head(origin, scheme_n);
	if (!slice_is_nocase(*ret_scheme, "http") && !slice_is_nocase(*ret_scheme, "https"))
		return false;
	return split_authority(slice_from(rest, 3), ret);
}

static struct slice port_or(struct slice port, struct slice scheme)
{
	if (port.n > 0)
		return port;
	return slice_is_nocase(scheme, "https") ? SLICE_LIT("443") : SLICE_LIT("80");
}

static bool origin_is_host(struct slice origin, struct slice host_value)
{
	struct slice scheme;
	struct authority from, own;
	return split_origin(origin, &scheme, &from) && split_authority(host_value, &own) &&
	       same_nocase(from.host, own.host) && slice_eq(port_or(from.port, scheme), port_or(own.port, scheme));
}

bool local_access_cors(const struct local_access *a, struct slice origin)
{
	struct slice scheme;
	struct authority from;
	if (a->cors_origins == NULL)
		return asks_token(a) || (split_origin(origin, &scheme, &from) && is_loopback(from.host));
	for (char *const *allowed = a->cors_origins; *allowed != NULL; allowed++) {
		if (strcmp(*allowed, "*") == 0 || slice_is_nocase(origin, *allowed))
			return true;
	}
	return false;
}

unsigned local_access_origin(const struct local_access *a, const struct http_head *h)
{
	const struct http_field *host = http_head_get(h, HTTP_F_HOST);
	/* Only HTTP/1.0 may leave it out, and no browser speaks that. */
	if (host != NULL && !a->auth_none && a->token == NULL && !host_is_ours(a, host->value))
		return 421;
	for (size_t i = 0; i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];
		if (f->id == HTTP_F_ORIGIN && !local_access_cors(a, f->value) &&
		    (host == NULL || !origin_is_host(f->value, host->value)))
			return 403;
	}
	return 0;
}

/* ---- token ---- */

bool local_access_token(const struct local_access *a, struct slice token)
{
	if (!asks_token(a))
		return true;
	struct slice want = slice_str(a->token);
	if (token.n != want.n)
		return false;
	volatile uint8_t differs = 0;
	for (size_t i = 0; i < want.n; i++)
		differs = (uint8_t)(differs | (token.p[i] ^ want.p[i]));
	return differs == 0;
}

/* What follows "Bearer" (RFC 6750 2.1), or nothing. */
static struct slice bearer_of(struct slice value)
{
	size_t scheme_n = slice_find(value, ' ');
	if (!slice_is_nocase(slice_head(value, scheme_n), "bearer"))
		return SLICE_NONE;
	struct slice token = slice_from(value, scheme_n);
	while (token.n > 0 && token.p[0] == ' ')
		token = slice_from(token, 1);
	return token;
}

bool local_access_api(const struct local_access *a, const struct http_head *h)
{
	const struct http_field *f = http_head_get(h, HTTP_F_AUTHORIZATION);
	return local_access_token(a, f == NULL ? SLICE_NONE : bearer_of(f->value));
}

bool local_access_is_secret(const struct local_access *a, const struct http_field *f)
{
	return f->id == HTTP_F_AUTHORIZATION && asks_token(a) && local_access_token(a, bearer_of(f->value));
}

/* ---- fields ---- */

void local_access_put_cors(struct slice origin, struct buf *out)
{
	http_put_field(out, SLICE_LIT("access-control-allow-origin"), origin.n > 0 ? origin : SLICE_LIT("*"));
	http_put_field_str(out, "access-control-allow-credentials", "true");
	http_put_field_str(out, "access-control-expose-headers", "*");
	if (origin.n > 0)
		http_put_field_str(out, "vary", "Origin");
}

void local_access_put_preflight(const struct http_head *h, struct slice origin, bool mirror_method, struct buf *out)
{
	const struct http_field *method = http_head_get(h, HTTP_F_ACR_METHOD);
	const struct http_field *names = http_head_get(h, HTTP_F_ACR_HEADERS);
	bool mirrored = mirror_method && method != NULL && method->value.n > 0;
	local_access_put_cors(origin, out);
	http_put_field(out, SLICE_LIT("access-control-allow-methods"),
		       mirrored ? method->value : SLICE_LIT("GET, POST, PUT, DELETE, OPTIONS, PATCH"));
	http_put_field(out, SLICE_LIT("access-control-allow-headers"),
		       names != NULL && names->value.n > 0 ? names->value : SLICE_LIT("*"));
	http_put_field_str(out, "access-control-max-age", "86400");
}
