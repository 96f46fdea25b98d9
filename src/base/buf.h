/* Owned bytes that grow at the end and are consumed at the front.
 *
 * A buf has a cap. Going over it sets `over` and drops the addition whole;
 * the writer checks once at the end (sticky error) instead of at each step. */
#pragma once

#include <stdarg.h>

#include "base/slice.h"

struct buf {
	uint8_t *mem;
	size_t at;   /* first unread byte */
	size_t end;  /* first free byte */
	size_t room; /* allocated bytes */
	size_t cap;  /* most unread bytes */
	bool over;   /* something did not fit since buf_init or buf_reset */
};

/* An empty buf that holds at most cap bytes. No memory is taken yet. */
void buf_init(struct buf *b, size_t cap);

/* Frees the memory; the buf is empty and usable again with the same cap. */
void buf_done(struct buf *b);

/* Forgets the content and `over`, keeps the memory. */
void buf_reset(struct buf *b);

/* Appends; without room under the cap sets `over` and appends nothing. */
void buf_add(struct buf *b, struct slice s);
void buf_add_str(struct buf *b, const char *s);
void buf_add_byte(struct buf *b, uint8_t c);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Room for n more bytes at the end, uninitialised, to be claimed with
 * buf_claim(b, used <= n). NULL (and `over`) when the cap forbids it. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_claim(struct buf *b, size_t used);

/* Drops n unread bytes at the front. An emptied buf over 64 KiB gives its memory back. */
void buf_drop(struct buf *b, size_t n);

/* The unread bytes; dies with the next change of the buf. */
static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){b->mem == NULL ? NULL : b->mem + b->at, b->end - b->at};
}

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->at;
}

/* Appends a NUL that is not counted in the length and returns the text. */
const char *buf_text(struct buf *b);
