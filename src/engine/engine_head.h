/* Heads of tunnelled messages: an engine's map of fields to a judged request
 * head, and a worker's answer to the map an engine takes. */
#pragma once

#include "codec/http_head.h"
#include "codec/runner_msg.h"

struct engine_head_in {
	struct slice method, path;
	struct runner_list headers; /* pairs */
	bool streamed;              /* the body comes in pieces, of unknown length */
	uint64_t body_bytes;
	const char *token; /* a field that carries it is left out; NULL: none */
};

/* Judges it like the head of any client: the same guards, the same bounds; framing is that of the body that is there.
 * 0 with a head to be freed by mem_free, or the status to answer with and a static sentence. */
unsigned engine_head_request(const struct engine_head_in *in, struct http_head **ret, const char **ret_why);

/* Appends the fields of a worker's answer as pairs and returns their number. Repeated names differ in the case of
 * their letters, because the map has unique keys and the engine makes lines of them again; where letters do not
 * suffice values are joined. Values that are not UTF-8 are left out: *ret_unfit. keep_length: content-length stays. */
size_t engine_head_answer(const struct http_head *h, bool keep_length, struct buf *pairs, bool *ret_unfit);
