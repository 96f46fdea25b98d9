/* JSON, strings and base64. Properties:
 * - JSON that is taken, written and taken again is equal;
 * - any bytes written as a string are JSON, and the same bytes if they were UTF-8;
 * - base64 that is taken is the one text of its bytes; any bytes survive it. */
#include "codec/json_field.h"
#include "codec/ws_frame.h"
#include "fuzz/fuzz.h"

#define INPUT_MAX ((size_t)64 * 1024)

static void get_fields(const json_t *value)
{
	static const char *const known[] = {"a", "b", NULL};
	struct err e;
	struct slice s;
	int64_t i;
	bool b;
	(void)json_field_only(value, known, &e);
	for (size_t k = 0; known[k] != NULL; k++) {
		int got = (json_field_str(value, known[k], true, &s, &e) == 0) +
			  (json_field_i64(value, known[k], true, &i, &e) == 0) +
			  (json_field_bool(value, known[k], true, &b, &e) == 0);
		CHECK(got <= 1);
	}
}

static void as_json(struct slice in)
{
	struct err e = {0};
	struct buf out;
	json_t *value = json_field_parse(in, &e);
	CHECK((value == NULL) == (e.text[0] != '\0'));
	if (value == NULL)
		return;
	get_fields(value);
	buf_init(&out, in.n * 30 + 100);
	json_put(&out, value);
	CHECK(!out.over);
	json_t *again = json_field_parse(buf_slice(&out), NULL);
	CHECK(again != NULL && json_equal(value, again));
	json_decref(again);
	json_decref(value);
	buf_done(&out);
}

static void as_string(struct slice in)
{
	struct buf out;
	buf_init(&out, in.n * 6 + 2);
	json_put_str(&out, in);
	CHECK(!out.over);
	json_t *value = json_field_parse(buf_slice(&out), NULL);
	CHECK(json_is_string(value));
	struct slice got = slice_of(json_string_value(value), json_string_length(value));
	CHECK(ws_utf8_valid(got) && slice_eq(got, in) == ws_utf8_valid(in));
	json_decref(value);
	buf_done(&out);
}

static void as_base64(struct slice in, bool url)
{
	struct buf bytes, text;
	buf_init(&bytes, in.n + 1);
	buf_init(&text, in.n * 2 + 4);
	if (base64_get(&bytes, in, url)) {
		base64_put(&text, buf_slice(&bytes), url);
		CHECK(slice_eq(buf_slice(&text), in));
	}
	buf_reset(&bytes);
	buf_reset(&text);
	base64_put(&text, in, url);
	CHECK(base64_get(&bytes, buf_slice(&text), url) && !bytes.over && !text.over);
	CHECK(slice_eq(buf_slice(&bytes), in));
	buf_done(&bytes);
	buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	if (size > INPUT_MAX)
		return 0;
	as_json(in);
	as_string(in);
	as_base64(in, false);
	as_base64(in, true);
	return 0;
}
