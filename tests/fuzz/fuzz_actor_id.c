/* Ids and keys. Properties:
 * - text that is an id is one in either case, and its canonical form is its own;
 * - any 18 bytes make an id that reads back;
 * - parts of a key can be got back from the key. */
#include "codec/actor_id.h"
#include "fuzz/fuzz.h"

static void as_text(struct slice text)
{
	struct actor_id id, again;
	int outcome = actor_id_parse(text, &id);
	if (outcome == ACTOR_ID_MALFORMED)
		return;
	CHECK(text.n == ACTOR_ID_TEXT && slice_is_nocase(text, id.text));
	CHECK(actor_id_parse(slice_str(id.text), &again) == outcome);
	CHECK(strcmp(id.text, again.text) == 0);
}

static void as_bytes(const uint8_t bytes[18])
{
	uint16_t label = (uint16_t)(bytes[16] << 8 | bytes[17]);
	struct actor_id id = actor_id_from(bytes, label), again;
	int outcome = actor_id_parse(slice_str(id.text), &again);
	CHECK(outcome == (label == ACTOR_ID_LABEL ? 0 : ACTOR_ID_OTHER_DATACENTER));
	CHECK(strcmp(id.text, again.text) == 0);
	/* Another byte is another id. */
	uint8_t other[16];
	memcpy(other, bytes, sizeof(other));
	other[bytes[17] & 15] ^= 1;
	CHECK(strcmp(actor_id_from(other, label).text, id.text) != 0);
}

/* Reads one part of a key from *at on into `part`; false at the end. */
static bool next_part(struct slice key, size_t *at, struct buf *part)
{
	buf_reset(part);
	if (*at > key.n)
		return false;
	for (; *at < key.n && key.p[*at] != '/'; (*at)++) {
		if (key.p[*at] != '\\') {
			buf_add_byte(part, key.p[*at]);
			continue;
		}
		CHECK(*at + 1 < key.n);
		if (key.p[++*at] != '0')
			buf_add_byte(part, key.p[*at]);
	}
	++*at;
	return true;
}

static void as_key(struct slice in)
{
	struct slice parts[64];
	struct buf key, part;
	size_t n = 0, at = 0;
	buf_init(&key, in.n * 2 + 100);
	buf_init(&part, in.n + 1);
	for (size_t i = 0; i < in.n && n < ARRAY_SIZE(parts);) {
		struct slice rest = slice_from(in, i);
		parts[n] = slice_head(rest, slice_find(rest, 0xff));
		i += parts[n++].n + 1;
	}
	actor_key_join(parts, n, &key);
	CHECK(!key.over);
	if (n == 0)
		CHECK(slice_is(buf_slice(&key), "/"));
	for (size_t i = 0; i < n; i++) {
		CHECK(next_part(buf_slice(&key), &at, &part));
		CHECK(slice_eq(buf_slice(&part), parts[i]));
	}
	CHECK(n == 0 || !next_part(buf_slice(&key), &at, &part));
	buf_done(&key);
	buf_done(&part);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 4096)
		return 0;
	as_text(slice_of(data, size));
	if (size >= 18)
		as_bytes(data);
	as_key(slice_of(data, size));
	return 0;
}
