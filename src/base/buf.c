/* Growing bytes: doubling, bounded, moved down when the front is mostly read. */
#include "base/buf.h"

#include <stdio.h>

#define BUF_KEEP ((size_t)64 * 1024)
#define BUF_FIRST ((size_t)256)

void buf_init(struct buf *b, size_t cap)
{
	CHECK(cap > 0 && cap < SIZE_MAX / 4);
	*b = (struct buf){.cap = cap};
}

void buf_done(struct buf *b)
{
	mem_free(b->mem);
	*b = (struct buf){.cap = b->cap};
}

void buf_reset(struct buf *b)
{
	b->at = b->end = 0;
	b->over = false;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
	size_t len = buf_len(b);
	if (n > b->cap || len > b->cap - n) {
		b->over = true;
		return NULL;
	}
	if (b->room - b->end >= n && b->mem != NULL)
		return b->mem + b->end;
	if (b->at > 0) {
		if (len > 0)
			memmove(b->mem, b->mem + b->at, len);
		b->at = 0;
		b->end = len;
	}
	if (b->room - b->end < n || b->mem == NULL) {
		size_t room = b->room == 0 ? BUF_FIRST : b->room;
		while (room < len + n)
			room *= 2;
		b->mem = mem_realloc(b->mem, room);
		b->room = room;
	}
	return b->mem + b->end;
}

void buf_claim(struct buf *b, size_t used)
{
	CHECK(used <= b->room - b->end);
	b->end += used;
}

void buf_add(struct buf *b, struct slice s)
{
	if (s.n == 0)
		return;
	uint8_t *to = buf_reserve(b, s.n);
	if (to == NULL)
		return;
	memcpy(to, s.p, s.n);
	b->end += s.n;
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, slice_str(s));
}

void buf_add_byte(struct buf *b, uint8_t c)
{
	buf_add(b, slice_of(&c, 1));
}

void buf_add_u64(struct buf *b, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);
	do {
		text[--at] = (char)('0' + v % 10);
		v /= 10;
	} while (v > 0);
	buf_add(b, slice_of(text + at, sizeof(text) - at));
}

/* Room for n bytes, which fit, and a NUL, which does not count against the cap. */
static uint8_t *reserve_with_nul(struct buf *b, size_t n)
{
	b->cap++;
	uint8_t *to = buf_reserve(b, n + 1);
	b->cap--;
	CHECK(to != NULL);
	return to;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	CHECK(n >= 0);
	if ((size_t)n > b->cap || buf_len(b) > b->cap - (size_t)n) {
		b->over = true;
		return;
	}
	char *to = (char *)reserve_with_nul(b, (size_t)n);
	va_start(ap, fmt);
	vsnprintf(to, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->end += (size_t)n;
}

void buf_drop(struct buf *b, size_t n)
{
	CHECK(n <= buf_len(b));
	b->at += n;
	if (b->at < b->end)
		return;
	b->at = b->end = 0;
	if (b->room > BUF_KEEP) {
		mem_free(b->mem);
		b->mem = NULL;
		b->room = 0;
	}
}

const char *buf_text(struct buf *b)
{
	*reserve_with_nul(b, 0) = '\0';
	return (const char *)b->mem + b->at;
}
