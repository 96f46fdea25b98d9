/* Strict typed getters over jansson: each names the field in its error. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

/* Parses one JSON value filling all of `text`; duplicates refused, depth and
 * size bounded (LIMIT_JSON_DEPTH, LIMIT_JSON_BYTES). Strings may hold NUL ("\u0000"), names may not.
 * NULL with the reason (line and column) in e. Caller json_decref()s. */
json_t *json_field_parse(struct slice text, struct err *e);

/* The object has no other key than those (NULL-terminated list). 0, or -EINVAL naming the stranger in e. */
int json_field_only(const json_t *object, const char *const *known, struct err *e);

/* Typed getters. `need`: absent or null is an error; else 0 with *ret untouched.
 * -EINVAL with a sentence naming the field. Borrowed from the object. */
int json_field_str(const json_t *object, const char *key, bool need, struct slice *ret, struct err *e);
int json_field_i64(const json_t *object, const char *key, bool need, int64_t *ret, struct err *e);
int json_field_bool(const json_t *object, const char *key, bool need, bool *ret, struct err *e);

/* Appends s as a JSON string with quotes. Bytes that are not UTF-8 become U+FFFD. */
void json_put_str(struct buf *out, struct slice s);
/* Appends a jansson value compactly, numbers in no more digits than it takes to read all of them back the same. */
void json_put(struct buf *out, const json_t *value);

/* Base64 (RFC 4648): with padding, or in the URL alphabet without any. decode: false on malformed input, of which
 * nothing is appended. What exceeds out's cap sets out->over. */
void base64_put(struct buf *out, struct slice s, bool url);
bool base64_get(struct buf *out, struct slice text, bool url);
