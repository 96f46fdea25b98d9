/* Vectors of FIPS 180 and every length around the block's edges, in every cut. */
#include "codec/sha1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void expect(struct slice a, struct slice b, const char *want)
{
	uint8_t digest[SHA1_BYTES];
	char hex[2 * SHA1_BYTES + 1];
	sha1_of(a, b, digest);
	for (size_t i = 0; i < SHA1_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(hex, want);
}

static void test_vectors(void **state)
{
	(void)state;
	expect(SLICE_NONE, SLICE_NONE, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	expect(SLICE_LIT("a"), SLICE_LIT("bc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
	expect(SLICE_LIT("abcdbcdecdefdefgefghfghighijhijk"), SLICE_LIT("ijkljklmklmnlmnomnopnopq"),
	       "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

static void test_million(void **state)
{
	(void)state;
	uint8_t *text = mem_alloc(1000000);
	memset(text, 'a', 1000000);
	expect(slice_of(text, 999), slice_of(text, 999001), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
	mem_free(text);
}

/* 55, 56 and 64 bytes are where padding takes another block. */
static void test_edges(void **state)
{
	(void)state;
	static const struct {
		size_t n;
		const char *want;
	} edges[] = {
	    {55, "c1c8bbdc22796e28c0e15163d20899b65621d65a"},  {56, "c2db330f6083854c99d4b5bfb6e8f29f201be699"},
	    {63, "03f09f5b158a7a8cdad920bddc29b81c18a551f5"},  {64, "0098ba824b5c16427bd7a1122a5a442a25ec644d"},
	    {65, "11655326c708d70319be2610e8a57d9a5b959d3b"},  {119, "ee971065aaa017e0632a8ca6c77bb3bf8b1dfc56"},
	    {120, "f34c1488385346a55709ba056ddd08280dd4c6d6"},
	};
	char text[128];
	memset(text, 'a', sizeof(text));
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		for (size_t cut = 0; cut <= edges[i].n; cut++)
			expect(slice_of(text, cut), slice_of(text, edges[i].n - cut), edges[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_vectors),
	    cmocka_unit_test(test_million),
	    cmocka_unit_test(test_edges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
