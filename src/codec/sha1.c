/* SHA-1 over two pieces, block by block on the stack. */
#include "codec/sha1.h"

#define BLOCK ((size_t)64)

static uint32_t rotl(uint32_t v, int by)
{
	return v << by | v >> (32 - by);
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void take_block(uint32_t h[5], const uint8_t block[BLOCK])
{
	uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
	for (int i = 0; i < 16; i++)
		w[i] = load32(block + 4 * i);
	for (int i = 16; i < 80; i++)
		w[i] = rotl(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
			     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
			     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
				      : (b ^ c ^ d) + 0xca62c1d6;
		uint32_t next = rotl(a, 5) + f + e + w[i];
		e = d;
		d = c;
		c = rotl(b, 30);
		b = a;
		a = next;
	}
	h[0] += a;
	h[1] += b;
	h[2] += c;
	h[3] += d;
	h[4] += e;
}

/* Appends s to the block begun with `have` bytes; returns how many are in it afterwards. */
static size_t take(uint32_t h[5], uint8_t block[BLOCK], size_t have, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		block[have++] = s.p[i];
		if (have == BLOCK) {
			take_block(h, block);
			have = 0;
		}
	}
	return have;
}

void sha1_of(struct slice a, struct slice b, uint8_t ret[SHA1_BYTES])
{
	uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	static const uint8_t zeros[BLOCK];
	uint8_t block[BLOCK], bits[8];
	uint64_t n_bits = ((uint64_t)a.n + b.n) * 8;
	for (int i = 0; i < 8; i++)
		bits[i] = (uint8_t)(n_bits >> (56 - 8 * i));
	size_t have = take(h, block, take(h, block, 0, a), b);
	have = take(h, block, have, SLICE_LIT("\x80"));
	have = take(h, block, have, slice_of(zeros, (BLOCK + 56 - have) % BLOCK));
	take(h, block, have, slice_of(bits, sizeof(bits)));
	for (int i = 0; i < SHA1_BYTES; i++)
		ret[i] = (uint8_t)(h[i / 4] >> (24 - i % 4 * 8));
}
