/* Messages of the runner protocol as JSON, the form of tests/data/runner-v7-vectors.json:
 * unions {"tag", "val"}, void and absent null, i64 and u64 decimal strings, data hex strings, maps objects. */
#pragma once

#include <jansson.h>

#include "codec/runner_msg.h"

/* Decodes the frame of a runner (to_server) or an engine. NULL with *ret_outcome (enum bare_outcome) when it is none.
 * The caller owns the value. */
json_t *runner_json_of(bool to_server, struct slice frame, int *ret_outcome);

/* Appends the encoded message. False when the value has not its form, or does not fit: *ret_why, which dies with the
 * next call. */
bool runner_json_put(bool to_server, const json_t *value, struct buf *out, const char **ret_why);

/* Lower-case hex. */
void runner_json_hex(struct slice bytes, struct buf *out);
/* Appends the bytes; false when the text is no hex. */
bool runner_json_unhex(const char *text, struct buf *out);
