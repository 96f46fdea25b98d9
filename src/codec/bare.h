/* BARE values (the encoding of runner protocol v7, section 2.2), memory only.
 *
 * The reader borrows the bytes it reads and gives slices into them. The writer
 * appends to a buf. Both keep their first failure: whoever reads or writes a
 * message checks once, at the end. */
#pragma once

#include "base/buf.h"

enum bare_outcome {
	BARE_SHORT = 1, /* decoding: a value, length or count reaches beyond the end */
	BARE_BAD,       /* decoding: a bool other than 00 and 01, or a number over 64 bits */
	BARE_BAD_TAG,   /* decoding: a union member this version does not have */
	BARE_BAD_TEXT,  /* both ways: a str that is not UTF-8 */
	BARE_TWICE,     /* decoding: a map with the same key twice */
	BARE_MANY,      /* decoding: a map with more keys than LIMIT_BARE_MAP_KEYS */
	BARE_FULL,      /* encoding: the cap of the buf */
};

/* What an outcome means, for a log line: "text that is not UTF-8". */
const char *bare_why(int outcome);

/* ---- reading ---- */

struct bare_reader {
	const uint8_t *p; /* next byte; within the borrowed input */
	const uint8_t *end;
	int outcome; /* enum bare_outcome of the first failure, else 0 */
};

static inline struct bare_reader bare_reader_of(struct slice in)
{
	return (struct bare_reader){.p = in.p, .end = in.p == NULL ? NULL : in.p + in.n};
}

/* Remembers the first failure and leaves nothing to read. */
void bare_fail(struct bare_reader *r, enum bare_outcome outcome);

static inline size_t bare_left(const struct bare_reader *r)
{
	return (size_t)(r->end - r->p);
}

/* data[n]: the next n bytes, or NULL (BARE_SHORT). */
static inline const uint8_t *bare_fixed(struct bare_reader *r, size_t n)
{
	if (bare_left(r) < n || n == 0) {
		bare_fail(r, BARE_SHORT);
		return NULL;
	}
	const uint8_t *p = r->p;
	r->p += n;
	return p;
}

/* After a failure all of these give zero, false or an empty slice. */
uint8_t bare_u8(struct bare_reader *r);
uint16_t bare_u16(struct bare_reader *r);
uint32_t bare_u32(struct bare_reader *r);
uint64_t bare_u64(struct bare_reader *r);
int64_t bare_i64(struct bare_reader *r);
bool bare_bool(struct bare_reader *r); /* also: is the optional there */
/* LEB128 of at most 10 bytes; forms longer than needed are taken, as the engine takes them. */
uint64_t bare_uint(struct bare_reader *r);
/* A tag below n_tags. */
unsigned bare_tag(struct bare_reader *r, unsigned n_tags);
/* A count of elements of at least element_min > 0 bytes each: never more than can still follow. */
size_t bare_count(struct bare_reader *r, size_t element_min);
struct slice bare_data(struct bare_reader *r);
struct slice bare_str(struct bare_reader *r);

/* ---- writing ---- */

struct bare_writer {
	struct buf *out;
	size_t start; /* length of out before the message */
	bool over;    /* as out->over was */
	int outcome;
};

/* Until bare_end nobody else may change out. */
struct bare_writer bare_start(struct buf *out);

/* 0, or the first failure, in which case out is as it was at bare_start. */
MUST_CHECK int bare_end(struct bare_writer *w);

void bare_put_u8(struct bare_writer *w, uint8_t v);
void bare_put_u16(struct bare_writer *w, uint16_t v);
void bare_put_u32(struct bare_writer *w, uint32_t v);
void bare_put_u64(struct bare_writer *w, uint64_t v);
void bare_put_i64(struct bare_writer *w, int64_t v);
void bare_put_bool(struct bare_writer *w, bool v);
void bare_put_uint(struct bare_writer *w, uint64_t v);        /* in its shortest form */
void bare_put_raw(struct bare_writer *w, struct slice bytes); /* data[n] */
void bare_put_data(struct bare_writer *w, struct slice bytes);
void bare_put_str(struct bare_writer *w, struct slice text);
