/* Who may come in: token, Host and Origin rules, CORS. Pure: looks at heads, answers with numbers. */
#pragma once

#include "base/buf.h"
#include "codec/http_head.h"

struct local_access {
	const char *token; /* NULL: none asked */
	bool auth_none;
	char *const *hosts;        /* NULL-terminated */
	char *const *cors_origins; /* NULL-terminated, or NULL: loopback origins (all with a token) */
};

/* Host and Origin: 0; 421 for a Host that is not ours (DNS rebinding; off with a token or auth none); 403 for an Origin
 * that is neither allowed nor the request's own host (RFC 6454; compared with scheme http or https and the Host field).
 */
unsigned local_access_origin(const struct local_access *a, const struct http_head *h);

/* True when the token matches (or none is asked). Constant time for tokens of equal length. */
bool local_access_token(const struct local_access *a, struct slice token);

/* The API's token: Authorization: Bearer. */
bool local_access_api(const struct local_access *a, const struct http_head *h);

/* True for a field that carries the token itself: it must not reach a worker. */
bool local_access_is_secret(const struct local_access *a, const struct http_field *f);

/* True when this Origin may read answers: gets CORS fields. */
bool local_access_cors(const struct local_access *a, struct slice origin);

/* Appends access-control-allow-origin (origin, or "*" when empty), -allow-credentials, -expose-headers, vary. */
void local_access_put_cors(struct slice origin, struct buf *out);

/* Appends the fields of a preflight answer of the gateway (204): the above and methods, headers (requested list or
 * "*"), max-age. mirror_method: the REST flavour mirrors the requested method instead of the list. */
void local_access_put_preflight(const struct http_head *h, struct slice origin, bool mirror_method, struct buf *out);
