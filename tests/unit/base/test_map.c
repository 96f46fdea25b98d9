/* The map against a plain array, its outcomes, and SipHash-2-4 against its authors' vectors. */
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* Some of the 64 outputs for key 00..0f and inputs of 0, 1, 2... bytes 00, 01, 02... */
static void test_siphash(void **state)
{
	(void)state;
	static const struct {
		size_t n;
		uint8_t want[8];
	} vectors[] = {
	    {0, {0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72}},
	    {1, {0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74}},
	    {2, {0x5a, 0x4f, 0xa9, 0xd9, 0x09, 0x80, 0x6c, 0x0d}},
	    {3, {0x2d, 0x7e, 0xfb, 0xd7, 0x96, 0x66, 0x67, 0x85}},
	    {4, {0xb7, 0x87, 0x71, 0x27, 0xe0, 0x94, 0x27, 0xcf}},
	    {5, {0x8d, 0xa6, 0x99, 0xcd, 0x64, 0x55, 0x76, 0x18}},
	    {6, {0xce, 0xe3, 0xfe, 0x58, 0x6e, 0x46, 0xc9, 0xcb}},
	    {7, {0x37, 0xd1, 0x01, 0x8b, 0xf5, 0x00, 0x02, 0xab}},
	    {8, {0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93}},
	    {15, {0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1}},
	    {62, {0x57, 0x5f, 0xf2, 0x8e, 0x60, 0x38, 0x1b, 0xe5}},
	    {63, {0x72, 0x45, 0x06, 0xeb, 0x4c, 0x32, 0x8a, 0x95}},
	};
	const uint64_t key[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
	uint8_t in[64];
	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		uint64_t want = 0;
		for (size_t j = 8; j-- > 0;)
			want = want << 8 | vectors[i].want[j];
		assert_true(map_siphash(key, slice_of(in, vectors[i].n)) == want);
	}
}

struct entry {
	struct map_node node;
	char key[16];
	bool in;
	int visits;
};

#define ENTRIES 1000

static struct entry entries[ENTRIES];

static struct slice key_of(struct entry *e)
{
	return slice_str(e->key);
}

static int setup(void **state)
{
	(void)state;
	memset(entries, 0, sizeof(entries));
	for (int i = 0; i < ENTRIES; i++)
		snprintf(entries[i].key, sizeof(entries[i].key), "key-%d", i);
	return 0;
}

/* Random puts and removals; at any time the map holds what the array says. */
static void test_against_array(void **state)
{
	(void)state;
	struct map m;
	uint32_t seed = 7;
	size_t count = 0;
	map_init(&m, ENTRIES);
	for (int round = 0; round < 50000; round++) {
		seed = seed * 1664525 + 1013904223;
		struct entry *e = &entries[(seed >> 16) % ENTRIES];
		assert_int_equal(map_get(&m, key_of(e)) != NULL, e->in);
		if (e->in) {
			assert_ptr_equal(map_get(&m, key_of(e)), &e->node);
			map_remove(&m, &e->node);
			count--;
		} else {
			assert_int_equal(map_put(&m, &e->node, key_of(e)), 0);
			count++;
		}
		e->in = !e->in;
		assert_int_equal(m.count, count);
	}
	for (int i = 0; i < ENTRIES; i++)
		assert_int_equal(map_get(&m, key_of(&entries[i])) != NULL, entries[i].in);
	for (struct map_node *node; (node = map_any(&m)) != NULL;)
		map_remove(&m, node);
	map_done(&m);
}

static void test_outcomes(void **state)
{
	(void)state;
	struct map m;
	map_init(&m, 2);
	assert_null(map_get(&m, SLICE_LIT("a")));
	assert_null(map_any(&m));
	assert_int_equal(map_put(&m, &entries[0].node, SLICE_LIT("a")), 0);
	assert_int_equal(map_put(&m, &entries[1].node, SLICE_LIT("a")), MAP_TAKEN);
	assert_int_equal(map_put(&m, &entries[1].node, SLICE_NONE), 0);
	assert_int_equal(map_put(&m, &entries[2].node, SLICE_LIT("b")), MAP_FULL);
	/* Taken is told before full. */
	assert_int_equal(map_put(&m, &entries[2].node, SLICE_LIT("a")), MAP_TAKEN);
	assert_ptr_equal(map_get(&m, SLICE_NONE), &entries[1].node);
	assert_null(map_get(&m, SLICE_LIT("a\0")));
	map_remove(&m, &entries[0].node);
	assert_int_equal(map_put(&m, &entries[2].node, SLICE_LIT("b")), 0);
	map_remove(&m, &entries[1].node);
	map_remove(&m, &entries[2].node);
	map_done(&m);
	/* Done is as good as new. */
	assert_int_equal(map_put(&m, &entries[0].node, SLICE_LIT("a")), 0);
	map_remove(&m, &entries[0].node);
	map_done(&m);
}

static void visit(struct map_node *node, void *arg)
{
	struct entry *e = CONTAINER_OF(node, struct entry, node);
	struct map *removing_from = arg;
	e->visits++;
	if (removing_from != NULL)
		map_remove(removing_from, node);
}

static void test_each(void **state)
{
	(void)state;
	struct map m;
	map_init(&m, ENTRIES);
	for (int i = 0; i < ENTRIES; i++)
		assert_int_equal(map_put(&m, &entries[i].node, key_of(&entries[i])), 0);
	map_each(&m, visit, NULL);
	map_each(&m, visit, &m);
	for (int i = 0; i < ENTRIES; i++)
		assert_int_equal(entries[i].visits, 2);
	assert_int_equal(m.count, 0);
	map_each(&m, visit, NULL);
	map_done(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_siphash),
	    cmocka_unit_test_setup(test_against_array, setup),
	    cmocka_unit_test_setup(test_outcomes, setup),
	    cmocka_unit_test_setup(test_each, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
