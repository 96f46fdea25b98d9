/* BARE primitives. First byte: how many of the next say what to read; the rest is read so. Properties:
 * - what is read lies within the input; after a failure there is nothing more;
 * - the values written anew are not longer, and read the same. */
#include "codec/bare.h"
#include "fuzz/fuzz.h"

enum what { U8, U16, U32, U64, I64, BOOL, UINT, TAG, COUNT, DATA, STR, FIXED, WHATS };

struct value {
	enum what what;
	uint64_t number;
	struct slice bytes;
};

static struct value take(struct bare_reader *r, enum what what)
{
	struct value v = {.what = what, .bytes = SLICE_NONE};
	switch (what) {
	case U8:
		v.number = bare_u8(r);
		break;
	case U16:
		v.number = bare_u16(r);
		break;
	case U32:
		v.number = bare_u32(r);
		break;
	case U64:
		v.number = bare_u64(r);
		break;
	case I64:
		v.number = (uint64_t)bare_i64(r);
		break;
	case BOOL:
		v.number = bare_bool(r);
		break;
	case UINT:
		v.number = bare_uint(r);
		break;
	case TAG:
		v.number = bare_tag(r, 200);
		CHECK(v.number < 200);
		break;
	case COUNT:
		v.number = bare_count(r, 3);
		CHECK(v.number <= bare_left(r) / 3);
		break;
	case DATA:
		v.bytes = bare_data(r);
		break;
	case STR:
		v.bytes = bare_str(r);
		break;
	case FIXED:
	case WHATS:
		v.bytes = slice_of(bare_fixed(r, 5), 5);
		break;
	}
	return v;
}

static void put(struct bare_writer *w, const struct value *v)
{
	switch (v->what) {
	case U8:
		bare_put_u8(w, (uint8_t)v->number);
		break;
	case U16:
		bare_put_u16(w, (uint16_t)v->number);
		break;
	case U32:
		bare_put_u32(w, (uint32_t)v->number);
		break;
	case U64:
		bare_put_u64(w, v->number);
		break;
	case I64:
		bare_put_i64(w, (int64_t)v->number);
		break;
	case BOOL:
		bare_put_bool(w, v->number != 0);
		break;
	case UINT:
	case TAG:
	case COUNT:
		bare_put_uint(w, v->number);
		break;
	case DATA:
		bare_put_data(w, v->bytes);
		break;
	case STR:
		bare_put_str(w, v->bytes);
		break;
	case FIXED:
	case WHATS:
		bare_put_raw(w, v->bytes);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct value values[64];
	if (size < 1 || size > 10000 || data[0] > ARRAY_SIZE(values) || data[0] >= size)
		return 0;
	size_t n = data[0], good = 0;
	struct slice in = slice_of(data + 1 + n, size - 1 - n);
	struct bare_reader r = bare_reader_of(in);
	for (; good < n; good++) {
		values[good] = take(&r, (enum what)(data[1 + good] % WHATS));
		CHECK(r.p >= in.p && r.end == in.p + in.n && r.p <= r.end);
		if (r.outcome != 0)
			break;
	}
	if (r.outcome != 0)
		CHECK(bare_left(&r) == 0 && bare_fixed(&r, 1) == NULL);

	struct buf out;
	buf_init(&out, size + 1);
	struct bare_writer w = bare_start(&out);
	for (size_t i = 0; i < good; i++)
		put(&w, &values[i]);
	CHECK(bare_end(&w) == 0);
	CHECK(buf_len(&out) <= in.n);
	/* A count is held against what follows, here as there. */
	r = bare_reader_of(buf_slice(&out));
	for (size_t i = 0; i < good && values[i].what != COUNT; i++) {
		struct value again = take(&r, values[i].what);
		CHECK(r.outcome == 0 && again.number == values[i].number && slice_eq(again.bytes, values[i].bytes));
	}
	buf_done(&out);
	return 0;
}
