/* BARE primitives. Reading never goes beyond the input: each length and count
 * is compared with what is left before it is used. A failed reader has nothing
 * left, so that every later read fails the same way; a failed writer writes on
 * and is cut back at its end. */
#include "codec/bare.h"

#include "codec/ws_frame.h"

#define VARINT_MAX 10

const char *bare_why(int outcome)
{
	static const char *const texts[] = {
	    [0] = "no failure",
	    [BARE_SHORT] = "a value that reaches beyond the end of the message",
	    [BARE_BAD] = "a truth value or number that is none",
	    [BARE_BAD_TAG] = "a kind of value that this protocol version does not have",
	    [BARE_BAD_TEXT] = "text that is not UTF-8",
	    [BARE_TWICE] = "a map with the same key twice",
	    [BARE_MANY] = "a map with too many keys",
	    [BARE_FULL] = "more bytes than there is room for",
	};
	return outcome >= 0 && (size_t)outcome < ARRAY_SIZE(texts) ? texts[outcome] : "an unknown failure";
}

/* ---- reading ---- */

void bare_fail(struct bare_reader *r, enum bare_outcome outcome)
{
	if (r->outcome == 0)
		r->outcome = (int)outcome;
	r->p = r->end;
}

/* n <= 8 bytes, little end first. */
static uint64_t fixed_uint(struct bare_reader *r, size_t n)
{
	const uint8_t *p = bare_fixed(r, n);
	uint64_t v = 0;
	for (size_t i = 0; p != NULL && i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t bare_u8(struct bare_reader *r)
{
	return (uint8_t)fixed_uint(r, 1);
}

uint16_t bare_u16(struct bare_reader *r)
{
	return (uint16_t)fixed_uint(r, 2);
}

uint32_t bare_u32(struct bare_reader *r)
{
	return (uint32_t)fixed_uint(r, 4);
}

uint64_t bare_u64(struct bare_reader *r)
{
	return fixed_uint(r, 8);
}

int64_t bare_i64(struct bare_reader *r)
{
	return (int64_t)fixed_uint(r, 8);
}

bool bare_bool(struct bare_reader *r)
{
	uint8_t v = bare_u8(r);
	if (v > 1)
		bare_fail(r, BARE_BAD);
	return v == 1;
}

uint64_t bare_uint(struct bare_reader *r)
{
	uint64_t v = 0;
	if (r->p < r->end && *r->p < 0x80)
		return *r->p++; /* as nearly all lengths */
	for (unsigned i = 0; i < VARINT_MAX; i++) {
		const uint8_t *p = bare_fixed(r, 1);
		if (p == NULL)
			return 0;
		if (i == VARINT_MAX - 1 && *p > 1)
			break;
		v |= (uint64_t)(*p & 0x7f) << (7 * i);
		if (*p < 0x80)
			return v;
	}
	bare_fail(r, BARE_BAD);
	return 0;
}

unsigned bare_tag(struct bare_reader *r, unsigned n_tags)
{
	uint64_t tag = bare_uint(r);
	if (tag >= n_tags) {
		bare_fail(r, BARE_BAD_TAG);
		return 0;
	}
	return (unsigned)tag;
}

size_t bare_count(struct bare_reader *r, size_t element_min)
{
	CHECK(element_min > 0);
	uint64_t n = bare_uint(r);
	if (n > bare_left(r) / element_min) {
		bare_fail(r, BARE_SHORT);
		return 0;
	}
	return (size_t)n;
}

struct slice bare_data(struct bare_reader *r)
{
	size_t n = bare_count(r, 1);
	if (r->outcome != 0)
		return SLICE_NONE;
	struct slice bytes = slice_of(r->p, n);
	r->p += n;
	return bytes;
}

struct slice bare_str(struct bare_reader *r)
{
	struct slice text = bare_data(r);
	if (!ws_utf8_valid(text)) {
		bare_fail(r, BARE_BAD_TEXT);
		return SLICE_NONE;
	}
	return text;
}

/* ---- writing ---- */

struct bare_writer bare_start(struct buf *out)
{
	struct bare_writer w = {.out = out, .start = buf_len(out), .over = out->over};
	out->over = false;
	return w;
}

int bare_end(struct bare_writer *w)
{
	struct buf *out = w->out;
	if (w->outcome == 0 && out->over)
		w->outcome = BARE_FULL;
	if (w->outcome != 0)
		out->end = out->at + w->start;
	out->over = w->over;
	return w->outcome;
}

static void put_fixed(struct bare_writer *w, uint64_t v, size_t n)
{
	uint8_t bytes[8];
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(v >> (8 * i));
	buf_add(w->out, slice_of(bytes, n));
}

void bare_put_u8(struct bare_writer *w, uint8_t v)
{
	put_fixed(w, v, 1);
}

void bare_put_u16(struct bare_writer *w, uint16_t v)
{
	put_fixed(w, v, 2);
}

void bare_put_u32(struct bare_writer *w, uint32_t v)
{
	put_fixed(w, v, 4);
}

void bare_put_u64(struct bare_writer *w, uint64_t v)
{
	put_fixed(w, v, 8);
}

void bare_put_i64(struct bare_writer *w, int64_t v)
{
	put_fixed(w, (uint64_t)v, 8);
}

void bare_put_bool(struct bare_writer *w, bool v)
{
	put_fixed(w, v ? 1 : 0, 1);
}

void bare_put_uint(struct bare_writer *w, uint64_t v)
{
	uint8_t bytes[VARINT_MAX];
	size_t n = 0;
	for (; v >= 0x80; v >>= 7)
		bytes[n++] = (uint8_t)(v | 0x80);
	bytes[n++] = (uint8_t)v;
	buf_add(w->out, slice_of(bytes, n));
}

void bare_put_raw(struct bare_writer *w, struct slice bytes)
{
	buf_add(w->out, bytes);
}

void bare_put_data(struct bare_writer *w, struct slice bytes)
{
	bare_put_uint(w, bytes.n);
	buf_add(w->out, bytes);
}

void bare_put_str(struct bare_writer *w, struct slice text)
{
	if (!ws_utf8_valid(text) && w->outcome == 0)
		w->outcome = BARE_BAD_TEXT;
	bare_put_data(w, text);
}
