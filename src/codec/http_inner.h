/* What the http_*.c files of this folder share and nobody else sees. */
#pragma once

#include "codec/http_head.h"

/* Why a message was refused. */
struct http_refusal {
	unsigned status;  /* to answer a client with; no meaning for an answer of a worker */
	const char *text; /* a sentence, static */
};

/* Stores the refusal; always false, so that `return http_refuse(...)` reads well. */
static inline bool http_refuse(struct http_refusal *why, unsigned status, const char *text)
{
	*why = (struct http_refusal){status, text};
	return false;
}

/* What a head is held against. */
struct http_rules {
	enum http_kind kind;
	size_t target_max;
	bool head_request;  /* answers: HEAD was asked */
	bool upgrade_asked; /* answers: 101 is allowed */
};

/* The id of a name, case folded and with '_' read as '-'. */
enum http_field_id http_field_lookup(struct slice name);

/* Judges the first line as soon as it is there (without its CR LF): version, method, form of the target. False with
 * `why` set. */
bool http_head_line(const struct http_rules *rules, struct slice line, struct http_refusal *why);

/* Reads a whole head, from its first line (already judged) to its empty line; every line must end with CR LF and hold
 * no other control character but tabs. `fields` has room for LIMIT_HTTP_FIELDS; *ret borrows from it and from `bytes`.
 * False with `why` set. */
bool http_head_read(const struct http_rules *rules, struct slice bytes, struct http_field *fields,
		    struct http_head *ret, struct http_refusal *why);

/* Next element of a comma-separated list, white space trimmed, never empty; false at the end. *at starts at 0. */
bool http_list_next(struct slice list, size_t *at, struct slice *ret);

/* What methods and field names are made of (RFC 9110 5.6.2): letters, digits, !#$%&'*+-.^_`|~ */
static inline bool http_is_token(uint8_t c)
{
	static const uint64_t chars[2] = {0x03ff6cfa00000000u, 0x57ffffffc7fffffeu};
	return c < 128 && (chars[c / 64] >> (c % 64) & 1) != 0;
}

/* Whether eight bytes are neither below space nor DEL. */
static inline bool http_is_plain_word(const uint8_t *s)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t w;
	memcpy(&w, s, 8);
	uint64_t del = w ^ (ones * 0x7f);
	return ((((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & (ones * 0x80)) == 0;
}

/* How many bytes at the front are neither below space nor DEL. Eight at a time: every byte of every head passes here.
 */
static inline size_t http_plain_run(const uint8_t *s, size_t n)
{
	size_t i = 0;
	while (i + 8 <= n && http_is_plain_word(s + i))
		i += 8;
	if (n >= 8 && i + 8 > n && http_is_plain_word(s + n - 8))
		return n; /* the last eight, some of them again */
	while (i < n && s[i] >= 0x20 && s[i] != 0x7f)
		i++;
	return i;
}
