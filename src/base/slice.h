/* Borrowed bytes. A slice given to a callback dies when the callback returns;
 * to keep it, copy it (slice_dup, buf_add). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

struct slice {
	const uint8_t *p;
	size_t n;
};

#define SLICE_NONE ((struct slice){NULL, 0})
#define SLICE_LIT(lit) ((struct slice){(const uint8_t *)("" lit), sizeof(lit) - 1})
/* For "%.*s": SLICE_FMT(s) expands to length and pointer. */
#define SLICE_FMT(s) (int)(s).n, (const char *)((s).p == NULL ? (const uint8_t *)"" : (s).p)

static inline struct slice slice_of(const void *p, size_t n)
{
	return (struct slice){p, n};
}

/* NULL gives an empty slice. */
static inline struct slice slice_str(const char *s)
{
	return (struct slice){(const uint8_t *)s, s == NULL ? 0 : strlen(s)};
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool slice_is(struct slice a, const char *s)
{
	return slice_eq(a, slice_str(s));
}

/* ASCII case folded. */
static inline bool slice_is_nocase(struct slice a, const char *s)
{
	return a.n == strlen(s) && (a.n == 0 || strncasecmp((const char *)a.p, s, a.n) == 0);
}

static inline bool slice_starts(struct slice a, const char *prefix)
{
	size_t n = strlen(prefix);
	return a.n >= n && (n == 0 || memcmp(a.p, prefix, n) == 0);
}

static inline struct slice slice_from(struct slice a, size_t at)
{
	CHECK(at <= a.n);
	return (struct slice){a.p == NULL ? NULL : a.p + at, a.n - at};
}

static inline struct slice slice_head(struct slice a, size_t n)
{
	CHECK(n <= a.n);
	return (struct slice){a.p, n};
}

/* Position of byte c, or a.n. */
static inline size_t slice_find(struct slice a, uint8_t c)
{
	const uint8_t *hit = a.n == 0 ? NULL : memchr(a.p, c, a.n);
	return hit == NULL ? a.n : (size_t)(hit - a.p);
}

/* A NUL-terminated copy; the caller owns it. */
static inline char *slice_dup(struct slice a)
{
	char *s = mem_alloc(a.n + 1);
	if (a.n > 0)
		memcpy(s, a.p, a.n);
	s[a.n] = '\0';
	return s;
}
