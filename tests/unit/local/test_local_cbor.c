/* One well-formed item and nothing else (RFC 8949 appendices A and F). */
#include "local/local_cbor.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void expect(const char *hex, bool want)
{
	uint8_t bytes[256];
	size_t n = strlen(hex) / 2;
	for (size_t i = 0; i < n; i++) {
		unsigned v;
		assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
		bytes[i] = (uint8_t)v;
	}
	/* Of its very size, so that a read behind it is seen. */
	uint8_t *exact = mem_alloc(n + 1);
	memcpy(exact, bytes, n);
	exact = mem_realloc(exact, n == 0 ? 1 : n);
	bool got = local_cbor_is_one(slice_of(exact, n));
	mem_free(exact);
	if (got != want)
		fail_msg("%s", hex);
}

static void test_good(void **state)
{
	static const char *const good[] = {
	    "00",
	    "17",
	    "1818",
	    "1903e8",
	    "1a000f4240",
	    "1bffffffffffffffff",
	    "20",
	    "3bffffffffffffffff",
	    "f4",
	    "f7",
	    "f0",
	    "f8ff",
	    "f93c00",
	    "fa47c35000",
	    "fb3ff199999999999a",
	    "40",
	    "4401020304",
	    "6161",
	    "80",
	    "83010203",
	    "a0",
	    "a201020304",
	    "a1617801",
	    "c074323031332d30332d32315432303a30343a30305a",
	    "d74401020304",
	    "d818456449455446",
	    "c1c101",
	    "5f42010243030405ff",
	    "7f657374726561646d696e67ff",
	    "5fff",
	    "9fff",
	    "9f018202039f0405ffff",
	    "bfff",
	    "bf61610161629f0203ffff",
	    "b90001617801",
	    "9fc101ff",
	    "d84040",
	    "82c10102",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		expect(good[i], true);
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
	    "",
	    "18",
	    "19ff",
	    "1aff",
	    "1b00", /* cut arguments */
	    "0000",
	    "8000",
	    "a00001", /* more than one */
	    "41",
	    "61",
	    "5affffffff00",
	    "5bffffffffffffffff00", /* strings longer than what is there */
	    "81",
	    "8200",
	    "a1",
	    "a100",
	    "9bffffffffffffffff",
	    "bbffffffffffffffff",
	    "bb8000000000000000",
	    "1c",
	    "1d",
	    "1e",
	    "1f",
	    "3f",
	    "df", /* reserved */
	    "fc",
	    "fd",
	    "fe",
	    "ff",
	    "f800",
	    "f81f",
	    "9f",
	    "9f00",
	    "bf",
	    "bf00",
	    "bf0000",
	    "5f",
	    "5f00ff",
	    "5f6161ff",
	    "7f4100ff",
	    "5f5f4100ffff",
	    "bf00ff",
	    "81ff",
	    "82ff00",
	    "c1ff",
	    "9fc1ff",
	    "c1",
	    "d8",
	    "a1ff",
	    "5fc14100ff",
	    "81c1",
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect(bad[i], false);
}

static void test_depth(void **state)
{
	uint8_t deep[LIMIT_JSON_DEPTH + 2];
	(void)state;
	memset(deep, 0x81, sizeof(deep));
	deep[LIMIT_JSON_DEPTH] = 0;
	assert_true(local_cbor_is_one(slice_of(deep, LIMIT_JSON_DEPTH + 1)));
	deep[LIMIT_JSON_DEPTH] = 0x81;
	deep[LIMIT_JSON_DEPTH + 1] = 0;
	assert_false(local_cbor_is_one(slice_of(deep, LIMIT_JSON_DEPTH + 2)));
	/* Tags nest nothing that is kept. */
	memset(deep, 0xc1, sizeof(deep));
	deep[LIMIT_JSON_DEPTH + 1] = 0;
	assert_true(local_cbor_is_one(slice_of(deep, LIMIT_JSON_DEPTH + 2)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_depth),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
