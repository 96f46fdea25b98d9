/* What the end of a connection to the engine means and what to do about it
 * (runner protocol v7, section 1.6). The reason text decides, not the code:
 * an eviction comes with 1000. Pure. */
#pragma once

#include "io/ws_client.h"

enum engine_verdict {
	ENGINE_RETRY,       /* with the usual back-off */
	ENGINE_RETRY_SLOW,  /* somebody has to change something first: LIMIT_LINK_SLOW_MS */
	ENGINE_EVICTED,     /* the runner key is another's: never again */
	ENGINE_UNSUPPORTED, /* no protocol version in common: never again */
};

struct engine_reason {
	enum engine_verdict verdict;
	const char *advice; /* what it means or what to do; NULL: the sentence of the end says it all */
};

/* welcomed: the engine had sent its Init on this connection. */
const struct engine_reason *engine_reason_of(const struct ws_client_end *end, bool welcomed);

/* The part of a close reason that is the same each time: without "#" and the ray id. */
struct slice engine_reason_code(struct slice reason);
