/* Ids and keys. An id is a 152-bit number, its 19 bytes read least significant
 * first, in base 36, also least significant digit first. Arithmetic is done
 * in 32-bit words and six digits (36^6 < 2^32) at a time. */
#include "codec/actor_id.h"

#include "base/entropy.h"

#define ID_BYTES 19
#define ID_WORDS 5 /* 160 bits */
#define DIGITS_AT_ONCE 6
#define BASE_AT_ONCE 2176782336u /* 36^6 */
#define ID_VERSION 1

_Static_assert(ACTOR_ID_TEXT % DIGITS_AT_ONCE == 0, "whole groups of digits");

static void words_of(const uint8_t bytes[ID_BYTES], uint32_t words[ID_WORDS])
{
	memset(words, 0, ID_WORDS * sizeof(*words));
	for (size_t i = 0; i < ID_BYTES; i++)
		words[i / 4] |= (uint32_t)bytes[i] << (i % 4 * 8);
}

static uint8_t byte_of(const uint32_t words[ID_WORDS], size_t i)
{
	return (uint8_t)(words[i / 4] >> (i % 4 * 8));
}

static struct actor_id text_of(uint32_t words[ID_WORDS])
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	struct actor_id id;
	for (size_t at = 0; at < ACTOR_ID_TEXT; at += DIGITS_AT_ONCE) {
		uint64_t rest = 0;
		for (size_t w = ID_WORDS; w-- > 0;) {
			rest = rest << 32 | words[w];
			words[w] = (uint32_t)(rest / BASE_AT_ONCE);
			rest %= BASE_AT_ONCE;
		}
		for (size_t i = 0; i < DIGITS_AT_ONCE; i++) {
			id.text[at + i] = digits[rest % 36];
			rest /= 36;
		}
	}
	id.text[ACTOR_ID_TEXT] = '\0';
	return id;
}

struct actor_id actor_id_from(const uint8_t random[16], uint16_t label)
{
	uint8_t bytes[ID_BYTES];
	uint32_t words[ID_WORDS];
	bytes[0] = ID_VERSION;
	memcpy(bytes + 1, random, 16);
	bytes[17] = (uint8_t)(label >> 8);
	bytes[18] = (uint8_t)label;
	words_of(bytes, words);
	return text_of(words);
}

struct actor_id actor_id_new(void)
{
	uint8_t random[16];
	entropy_take(random, sizeof(random));
	random[6] = (random[6] & 0x0f) | 0x40; /* UUIDv4 (RFC 9562 5.4) */
	random[8] = (random[8] & 0x3f) | 0x80;
	return actor_id_from(random, ACTOR_ID_LABEL);
}

/* words = words * 36^6 + group; false when that needs more than 160 bits. */
static bool push_group(uint32_t words[ID_WORDS], uint32_t group)
{
	uint64_t carry = group;
	for (size_t w = 0; w < ID_WORDS; w++) {
		carry += (uint64_t)words[w] * BASE_AT_ONCE;
		words[w] = (uint32_t)carry;
		carry >>= 32;
	}
	return carry == 0;
}

int actor_id_parse(struct slice text, struct actor_id *ret)
{
	uint32_t words[ID_WORDS] = {0};
	struct actor_id id;
	if (text.n != ACTOR_ID_TEXT)
		return ACTOR_ID_MALFORMED;
	for (size_t at = ACTOR_ID_TEXT; at > 0; at -= DIGITS_AT_ONCE) {
		uint32_t group = 0;
		for (size_t i = 1; i <= DIGITS_AT_ONCE; i++) {
			uint8_t c = text.p[at - i];
			if (c >= 'A' && c <= 'Z')
				c |= 0x20;
			if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z'))
				return ACTOR_ID_MALFORMED;
			group = group * 36 + (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
			id.text[at - i] = (char)c;
		}
		if (!push_group(words, group))
			return ACTOR_ID_MALFORMED;
	}
	if (words[4] >> 24 != 0 || byte_of(words, 0) != ID_VERSION)
		return ACTOR_ID_MALFORMED;
	id.text[ACTOR_ID_TEXT] = '\0';
	*ret = id;
	bool ours = byte_of(words, 17) == ACTOR_ID_LABEL >> 8 && byte_of(words, 18) == (ACTOR_ID_LABEL & 0xff);
	return ours ? 0 : ACTOR_ID_OTHER_DATACENTER;
}

void actor_key_join(const struct slice *parts, size_t n, struct buf *out)
{
	if (n == 0)
		buf_add_byte(out, '/');
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_add_byte(out, '/');
		if (parts[i].n == 0)
			buf_add_str(out, "\\0");
		for (size_t j = 0; j < parts[i].n; j++) {
			uint8_t c = parts[i].p[j];
			if (c == '\\' || c == '/')
				buf_add_byte(out, '\\');
			buf_add_byte(out, c);
		}
	}
}
