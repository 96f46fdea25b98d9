/* What both gateways make of a worker's answer, or of none: which fields end at
 * the daemon, and what a client is told when there is no answer to pass on. */
#pragma once

#include "traffic/exchange.h"

/* What a client is told instead of an answer. Borrows from the exchange. */
struct answer_failure {
	unsigned status;
	const char *group, *code, *message;
	uint32_t retry_after_s; /* 0: none */
};

/* The exchange ended with `why` before its answer began. */
struct answer_failure answer_failure(const struct exchange *x, enum exchange_why why);

/* True for a field of a worker's answer that goes no further: hop-by-hop ones and the daemon's own. Framing
 * (content-length) is the caller's business. */
bool answer_ends_here(const struct http_field *f);

/* An event stream: an engine would never deliver it (runner protocol v7, section 6.3). */
bool answer_is_stream(const struct http_head *h);
/* What is said instead of an event stream, and instead of a body over LIMIT_ENGINE_BODY_BYTES. */
struct answer_failure answer_streaming_unsupported(void);
struct answer_failure answer_too_large(void);

/* Appends the body of an error answer: {"group","code","message"[,"metadata"]}; metadata_json may be NULL. */
void answer_put_error(struct buf *out, const char *group, const char *code, struct slice message,
		      const char *metadata_json);

/* The standard sentence of a group.code, for refusals without a message; never NULL. */
const char *answer_sentence(const char *group, const char *code);
