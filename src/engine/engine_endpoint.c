/* Splits a URL (RFC 3986) with the few parts an engine's address may have; all
 * else is an error, because what is left out of account in silence is what one
 * searches for longest. No sentence shows user information: it may be a token. */
#include "engine/engine_endpoint.h"

#include "codec/http_head.h"
#include "codec/ws_frame.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>

#define FORM "http(s)://[namespace[:token]@]host[:port][/path]"
#define HOST_MAX 253 /* RFC 1035 2.3.4, as text */
#define TEXT_MAX ((size_t)8 * 1024)

static int wrong(struct err *e, const char *what)
{
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s; the engine's URL has the form " FORM, what);
}

/* Percent-decoded text of its own; NULL: a bad escape, NUL or bytes that are not UTF-8. */
static char *decode(struct slice s)
{
	struct buf b;
	char *ret = NULL;
	buf_init(&b, TEXT_MAX);
	if (http_percent_decode(s, false, &b) && !b.over && ws_utf8_valid(buf_slice(&b)) &&
	    memchr(buf_text(&b), '\0', buf_len(&b)) == NULL)
		ret = slice_dup(buf_slice(&b));
	buf_done(&b);
	return ret;
}

static int take_scheme(struct slice *s, struct engine_endpoint *ep, struct err *e)
{
	if (s->n >= 8 && strncasecmp((const char *)s->p, "https://", 8) == 0)
		ep->tls = true;
	else if (s->n < 7 || strncasecmp((const char *)s->p, "http://", 7) != 0)
		return wrong(e, "it does not begin with http:// or https://");
	*s = slice_from(*s, ep->tls ? 8 : 7);
	ep->port = ep->tls ? 443 : 80;
	return 0;
}

static int take_user(struct slice *authority, struct engine_endpoint *ep, struct err *e)
{
	size_t at = authority->n;
	for (size_t i = 0; i < authority->n; i++) {
		if (authority->p[i] == '@')
			at = i;
	}
	if (at == authority->n)
		return 0;
	struct slice user = slice_head(*authority, at);
	*authority = slice_from(*authority, at + 1);
	size_t colon = slice_find(user, ':');
	if (colon == 0 && user.n > 1)
		return wrong(e, "the token before the @ has no namespace before it");
	if (colon > 0 && (ep->namespace_name = decode(slice_head(user, colon))) == NULL)
		return wrong(e, "the namespace before the @ is not well-formed percent-encoded UTF-8");
	if (colon + 1 < user.n && (ep->token = decode(slice_from(user, colon + 1))) == NULL)
		return wrong(e, "the token before the @ is not well-formed percent-encoded UTF-8");
	return 0;
}

static int take_port(struct slice text, struct engine_endpoint *ep, struct err *e)
{
	unsigned port = 0;
	if (text.n == 0)
		return 0; /* "host:" is allowed and means the default (RFC 3986 3.2.3) */
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9' || text.n > 5)
			return wrong(e, "the port is not a number from 1 to 65535");
		port = port * 10 + (unsigned)(text.p[i] - '0');
	}
	if (port == 0 || port > UINT16_MAX)
		return wrong(e, "the port is not a number from 1 to 65535");
	ep->port = (uint16_t)port;
	return 0;
}

static bool is_host_name(struct slice s)
{
	if (s.n == 0 || s.n > HOST_MAX)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!isalnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '.' && s.p[i] != '_')
			return false;
	}
	return s.p[0] != '.' && s.p[0] != '-';
}

static int take_host(struct slice authority, struct engine_endpoint *ep, struct err *e)
{
	struct slice host, port;
	struct in6_addr six;
	if (authority.n > 0 && authority.p[0] == '[') {
		size_t close = slice_find(authority, ']');
		if (close == authority.n)
			return wrong(e, "the [ of an IPv6 address has no ]");
		host = slice_head(slice_from(authority, 1), close - 1);
		port = slice_from(authority, close + 1);
		ep->host = slice_dup(host);
		if (inet_pton(AF_INET6, ep->host, &six) != 1)
			return wrong(e, "what stands between [ and ] is no IPv6 address");
		if (port.n > 0 && port.p[0] != ':')
			return wrong(e, "something other than a port follows the IPv6 address");
	} else {
		size_t colon = slice_find(authority, ':');
		host = slice_head(authority, colon);
		port = slice_from(authority, colon);
		if (!is_host_name(host))
			return wrong(e, host.n == 0 ? "it names no host" : "the host name is malformed");
		ep->host = slice_dup(host);
		for (char *c = ep->host; *c != '\0'; c++)
			*c = (char)tolower((unsigned char)*c);
	}
	return take_port(port.n > 0 ? slice_from(port, 1) : port, ep, e);
}

static int take_path(struct slice path, struct engine_endpoint *ep, struct err *e)
{
	if (slice_find(path, '?') < path.n || slice_find(path, '#') < path.n)
		return wrong(e, "it has a query or fragment, which mean nothing here");
	for (size_t i = 0; i < path.n; i++) {
		if (path.p[i] <= ' ' || path.p[i] >= 0x7f)
			return wrong(e, "the path holds a character that must be percent-encoded");
	}
	while (path.n > 0 && path.p[path.n - 1] == '/')
		path = slice_head(path, path.n - 1);
	ep->path = slice_dup(path);
	return 0;
}

int engine_endpoint_parse(const char *url, struct engine_endpoint *ret, struct err *e)
{
	struct engine_endpoint ep = {0};
	struct slice rest = slice_str(url);
	if (rest.n > TEXT_MAX)
		return wrong(e, "it is over 8 KiB long");
	int r = take_scheme(&rest, &ep, e);
	if (r == 0) {
		size_t end = 0;
		while (end < rest.n && rest.p[end] != '/' && rest.p[end] != '?' && rest.p[end] != '#')
			end++;
		struct slice authority = slice_head(rest, end);
		r = take_user(&authority, &ep, e);
		if (r == 0)
			r = take_host(authority, &ep, e);
		if (r == 0)
			r = take_path(slice_from(rest, end), &ep, e);
	}
	if (r == 0 && ep.token != NULL)
		r = engine_endpoint_token_check(ep.token, e);
	if (r < 0)
		engine_endpoint_done(&ep);
	else
		*ret = ep;
	return r;
}

void engine_endpoint_done(struct engine_endpoint *ep)
{
	mem_free(ep->host);
	mem_free(ep->path);
	mem_free(ep->namespace_name);
	mem_free(ep->token);
	*ep = (struct engine_endpoint){0};
}

char *engine_endpoint_text(const struct engine_endpoint *ep)
{
	bool six = strchr(ep->host, ':') != NULL;
	return mem_printf("%s://%s%s%s:%u%s", ep->tls ? "https" : "http", six ? "[" : "", ep->host, six ? "]" : "",
			  ep->port, ep->path);
}

int engine_endpoint_token_check(const char *token, struct err *e)
{
	for (const char *c = token; *c != '\0'; c++) {
		if (!isalnum((unsigned char)*c) && strchr("!#$%&'*+-.^_`|~", *c) == NULL)
			return err_set(e, EINVAL, EXIT_CODE_CONFIG,
				       "the engine's token holds a character that cannot be sent in a WebSocket "
				       "handshake; letters, digits and !#$%%&'*+-.^_`|~ can");
	}
	return 0;
}
