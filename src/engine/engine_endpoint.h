/* Where the engine is: http(s)://[namespace[:token]@]host[:port][/path]. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

struct engine_endpoint {
	bool tls;
	char *host; /* a name in lower case, or an address without brackets */
	uint16_t port;
	char *path;           /* what stands before the engine's own paths; "" or "/a/b" */
	char *namespace_name; /* NULL: not given */
	char *token;          /* likewise */
};

/* -EINVAL with a sentence (EXIT_CODE_CONFIG) that begins with what is wrong and never shows user information. On
 * success *ret owns its text: engine_endpoint_done. */
int engine_endpoint_parse(const char *url, struct engine_endpoint *ret, struct err *e);
void engine_endpoint_done(struct engine_endpoint *ep);

/* The URL without user information, for the log: "https://host:6420/path"; the caller frees. */
char *engine_endpoint_text(const struct engine_endpoint *ep);

/* Whether a token can be sent: RFC 9110 token characters only, because it travels as a WebSocket subprotocol (runner
 * protocol v7, section 1.3). -EINVAL with a sentence (EXIT_CODE_CONFIG) that does not show it. */
int engine_endpoint_token_check(const char *token, struct err *e);
