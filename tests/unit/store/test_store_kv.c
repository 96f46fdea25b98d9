/* Keys and values: order, ranges, pages, reserved keys, and that nothing about
 * absent or empty things is special. */
#include "store/store_kv.h"
#include "base/clock.h"
#include "base/limits.h"
#include "lib/store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ACTOR 7

static int run(struct store_fixture *f, struct store_kv *op)
{
	op->actor_number = op->actor_number == 0 ? ACTOR : op->actor_number;
	op->job.done = store_fixture_on_done;
	store_kv(f->store, op);
	return store_fixture_wait(f, &op->job);
}

static uint8_t *bytes(const void *p, size_t n)
{
	uint8_t *copy = mem_alloc(n + 1);
	if (n > 0)
		memcpy(copy, p, n);
	return copy;
}

static struct store_kv with_keys(enum store_kv_kind kind, const char *const *keys, size_t n)
{
	struct store_kv op = {.kind = kind, .n_pairs = n, .pairs = mem_zalloc(n * sizeof(struct store_kv_pair))};
	for (size_t i = 0; i < n; i++) {
		op.pairs[i].key = bytes(keys[i], strlen(keys[i]));
		op.pairs[i].key_len = strlen(keys[i]);
		if (kind == STORE_KV_PUT) {
			op.pairs[i].value = bytes(keys[i], strlen(keys[i]));
			op.pairs[i].value_len = strlen(keys[i]);
		}
	}
	return op;
}

static void put_all(struct store_fixture *f, const char *const *keys, size_t n)
{
	struct store_kv op = with_keys(STORE_KV_PUT, keys, n);
	assert_int_equal(run(f, &op), 0);
	store_kv_clear(&op);
}

static struct store_kv range(enum store_kv_kind kind, const char *start, const char *end)
{
	struct store_kv op = {.kind = kind, .limit = 100, .bytes_max = 1 << 20};
	if (start != NULL) {
		op.start = bytes(start, strlen(start));
		op.start_len = strlen(start);
	}
	if (end != NULL) {
		op.end = bytes(end, strlen(end));
		op.end_len = strlen(end);
	}
	return op;
}

/* The keys of a list joined by commas, ">" and next_key behind. Clears op. */
static const char *listed(struct store_fixture *f, struct store_kv op, char out[256])
{
	size_t at = 0;
	out[0] = '\0';
	assert_int_equal(run(f, &op), 0);
	for (size_t i = 0; i < op.n_entries; i++)
		at += (size_t)snprintf(out + at, 256 - at, "%s%.*s", i == 0 ? "" : ",", (int)op.entries[i].key_len,
				       (const char *)op.entries[i].key);
	if (op.next_key != NULL)
		snprintf(out + at, 256 - at, ">%.*s", (int)op.next_key_len, (const char *)op.next_key);
	store_kv_clear(&op);
	return out;
}

static const char *const abc[] = {"a", "aa", "b", "c", "d"};

static void test_get_in_the_order_asked(void **state)
{
	(void)state;
	static const char *const ask[] = {"d", "nope", "a", "d"};
	struct store_fixture f;
	store_fixture_init(&f);
	int64_t before_ms = clock_wall_ms();
	put_all(&f, abc, 5);
	struct store_kv op = with_keys(STORE_KV_GET, ask, 4);
	assert_int_equal(run(&f, &op), 0);
	assert_int_equal(op.n_entries, 3);
	assert_memory_equal(op.entries[0].key, "d", 1);
	assert_memory_equal(op.entries[1].key, "a", 1);
	assert_memory_equal(op.entries[2].value, "d", 1);
	assert_true(op.entries[0].updated_wall_ms >= before_ms && op.entries[0].updated_wall_ms <= clock_wall_ms());
	store_kv_clear(&op);
	store_fixture_done(&f);
}

static void test_put_replaces_and_delete_is_idempotent(void **state)
{
	(void)state;
	static const char *const gone[] = {"k", "never"};
	struct store_fixture f;
	char out[64];
	store_fixture_init(&f);
	assert_int_equal(store_fixture_put(&f, ACTOR, "k", "1"), 0);
	assert_int_equal(store_fixture_put(&f, ACTOR, "k", "22"), 0);
	assert_int_equal(store_fixture_put(&f, ACTOR + 1, "k", "other"), 0);
	assert_string_equal(store_fixture_get(&f, ACTOR, "k", out), "22");
	for (int i = 0; i < 2; i++) {
		struct store_kv op = with_keys(STORE_KV_DELETE, gone, 2);
		assert_int_equal(run(&f, &op), 0);
		store_kv_clear(&op);
	}
	assert_string_equal(store_fixture_get(&f, ACTOR, "k", out), "-");
	assert_string_equal(store_fixture_get(&f, ACTOR + 1, "k", out), "other");
	store_fixture_done(&f);
}

static bool yes(const struct store_kv *op)
{
	return op->n_entries == 1;
}

static bool no(const struct store_kv *op)
{
	(void)op;
	return false;
}

static void test_a_write_gets_what_was_before(void **state)
{
	(void)state;
	static const char *const key[] = {"k"};
	static const struct {
		bool (*may_write)(const struct store_kv *op);
		int result;
		const char *after;
	} cases[] = {{NULL, 0, "k"}, {yes, 0, "k"}, {no, STORE_KV_HELD, "old"}};
	struct store_fixture f;
	char out[64];
	store_fixture_init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(store_fixture_put(&f, ACTOR, "k", "old"), 0);
		struct store_kv op = with_keys(STORE_KV_PUT, key, 1), get = with_keys(STORE_KV_GET, key, 1);
		op.gets = TAKE(get.pairs);
		op.n_gets = 1;
		op.may_write = cases[i].may_write;
		assert_int_equal(run(&f, &op), cases[i].result);
		assert_int_equal(op.n_entries, 1);
		assert_memory_equal(op.entries[0].value, "old", 3);
		store_kv_clear(&op);
		assert_string_equal(store_fixture_get(&f, ACTOR, "k", out), cases[i].after);
	}
	store_fixture_done(&f);
}

static void test_sizes(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 4096, LIMIT_KV_VALUE_BYTES};
	struct store_fixture f;
	store_fixture_init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct store_kv put = {.kind = STORE_KV_PUT, .n_pairs = 1, .pairs = mem_zalloc(sizeof(*put.pairs))};
		put.pairs->key_len = LIMIT_KV_KEY_BYTES;
		put.pairs->key = mem_zalloc(LIMIT_KV_KEY_BYTES);
		memset(put.pairs->key, 'k', LIMIT_KV_KEY_BYTES);
		put.pairs->value_len = sizes[i];
		put.pairs->value = sizes[i] == 0 ? NULL : mem_zalloc(sizes[i]);
		put.pairs->updated_wall_ms = 12345;
		assert_int_equal(run(&f, &put), 0);
		struct store_kv get = put;
		get.kind = STORE_KV_GET;
		assert_int_equal(run(&f, &get), 0);
		assert_int_equal(get.n_entries, 1);
		assert_int_equal(get.entries[0].value_len, sizes[i]);
		assert_non_null(get.entries[0].value);
		assert_int_equal(get.entries[0].updated_wall_ms, 12345);
		if (sizes[i] > 0)
			assert_memory_equal(get.entries[0].value, put.pairs->value, sizes[i]);
		store_kv_clear(&get);
	}
	store_fixture_done(&f);
}

static void test_list_ranges(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[256];
	store_fixture_init(&f);
	put_all(&f, abc, 5);
	assert_string_equal(listed(&f, range(STORE_KV_LIST, NULL, NULL), out), "a,aa,b,c,d");
	assert_string_equal(listed(&f, range(STORE_KV_LIST, "aa", "c"), out), "aa,b,c");
	assert_string_equal(listed(&f, range(STORE_KV_LIST, "ab", "bz"), out), "b");
	assert_string_equal(listed(&f, range(STORE_KV_LIST, "d", "a"), out), "");
	struct store_kv op = range(STORE_KV_LIST, "aa", "c");
	op.end_exclusive = true;
	assert_string_equal(listed(&f, op, out), "aa,b");
	op = range(STORE_KV_LIST, "aa", "c");
	op.reverse = true;
	assert_string_equal(listed(&f, op, out), "c,b,aa");
	op = range(STORE_KV_LIST, "aa", "c");
	op.reverse = op.end_exclusive = true;
	assert_string_equal(listed(&f, op, out), "b,aa");
	op = range(STORE_KV_LIST, NULL, NULL);
	op.reverse = true;
	assert_string_equal(listed(&f, op, out), "d,c,b,aa,a");
	op = range(STORE_KV_LIST, NULL, NULL);
	op.actor_number = ACTOR + 1;
	assert_string_equal(listed(&f, op, out), "");
	store_fixture_done(&f);
}

static void test_list_pages(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[256];
	store_fixture_init(&f);
	put_all(&f, abc, 5);
	struct store_kv op = range(STORE_KV_LIST, NULL, NULL);
	op.limit = 2;
	assert_string_equal(listed(&f, op, out), "a,aa>b");
	op = range(STORE_KV_LIST, "b", NULL);
	op.limit = 2;
	assert_string_equal(listed(&f, op, out), "b,c>d");
	op = range(STORE_KV_LIST, "d", NULL);
	op.limit = 1;
	assert_string_equal(listed(&f, op, out), "d");
	op = range(STORE_KV_LIST, NULL, NULL);
	op.reverse = true;
	op.limit = 2;
	assert_string_equal(listed(&f, op, out), "d,c>b");
	op = range(STORE_KV_LIST, NULL, "b");
	op.reverse = true;
	op.limit = 5;
	assert_string_equal(listed(&f, op, out), "b,aa,a");
	/* By bytes: keys and values count; the first is given whatever its size. */
	op = range(STORE_KV_LIST, NULL, NULL);
	op.bytes_max = 6;
	assert_string_equal(listed(&f, op, out), "a,aa>b");
	op = range(STORE_KV_LIST, "aa", NULL);
	op.bytes_max = 1;
	assert_string_equal(listed(&f, op, out), "aa>b");
	store_fixture_done(&f);
}

static void test_reserved_keys(void **state)
{
	(void)state;
	static const uint8_t reserved[] = {0, 'x'};
	struct store_fixture f;
	char out[256];
	store_fixture_init(&f);
	put_all(&f, abc, 2);
	struct store_kv put = {.kind = STORE_KV_PUT, .n_pairs = 1, .pairs = mem_zalloc(sizeof(*put.pairs))};
	put.pairs->key = bytes(reserved, 2);
	put.pairs->key_len = 2;
	assert_int_equal(run(&f, &put), 0);
	store_kv_clear(&put);
	assert_string_equal(listed(&f, range(STORE_KV_LIST, NULL, NULL), out), "a,aa");
	struct store_kv op = range(STORE_KV_LIST, "", NULL);
	op.reverse = true;
	assert_string_equal(listed(&f, op, out), "aa,a");
	op = range(STORE_KV_DELETE_RANGE, NULL, NULL);
	assert_int_equal(run(&f, &op), 0);
	store_kv_clear(&op);
	op = range(STORE_KV_LIST, NULL, NULL);
	op.with_reserved = true;
	assert_int_equal(run(&f, &op), 0);
	assert_int_equal(op.n_entries, 1);
	assert_memory_equal(op.entries[0].key, reserved, 2);
	store_kv_clear(&op);
	store_fixture_done(&f);
}

static void test_delete_range(void **state)
{
	(void)state;
	static const struct {
		const char *start, *end, *left;
		bool exclusive;
	} cases[] = {
	    {"aa", "c", "a,c,d", true}, {"aa", "c", "a,d", false}, {"b", NULL, "a,aa", false},
	    {NULL, "b", "b,c,d", true}, {NULL, NULL, "", false},   {"x", "z", "a,aa,b,c,d", false},
	};
	struct store_fixture f;
	char out[256];
	store_fixture_init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_all(&f, abc, 5);
		struct store_kv op = range(STORE_KV_DELETE_RANGE, cases[i].start, cases[i].end);
		op.end_exclusive = cases[i].exclusive;
		assert_int_equal(run(&f, &op), 0);
		store_kv_clear(&op);
		assert_string_equal(listed(&f, range(STORE_KV_LIST, NULL, NULL), out), cases[i].left);
	}
	store_fixture_done(&f);
}

/* Against a sorted copy in memory: bytes of every value, random pages both ways. */
static void test_random_keys_list_in_order(void **state)
{
	(void)state;
	enum { N = 500 };
	struct store_fixture f;
	store_fixture_init(&f);
	struct store_kv put = {.kind = STORE_KV_PUT, .n_pairs = N, .pairs = mem_zalloc(N * sizeof(*put.pairs))};
	srandom(4711);
	for (size_t i = 0; i < N; i++) {
		put.pairs[i].key_len = (size_t)random() % 6 + 1;
		put.pairs[i].key = mem_zalloc(8);
		for (size_t k = 0; k < put.pairs[i].key_len; k++)
			put.pairs[i].key[k] = (uint8_t)(random() % 4 == 0 ? 255 : random());
	}
	assert_int_equal(run(&f, &put), 0);
	store_kv_clear(&put);
	for (int reverse = 0; reverse < 2; reverse++) {
		struct store_kv op = {.kind = STORE_KV_LIST, .limit = 7, .bytes_max = 1 << 20, .reverse = reverse != 0};
		uint8_t last[8];
		size_t last_len = 0, seen = 0;
		for (;;) {
			assert_int_equal(run(&f, &op), 0);
			for (size_t i = 0; i < op.n_entries; i++, seen++) {
				size_t n = op.entries[i].key_len;
				int order =
				    seen == 0 ? -1 : memcmp(last, op.entries[i].key, n < last_len ? n : last_len);
				if (order == 0)
					order = last_len < n ? -1 : 1;
				assert_true(seen == 0 || (reverse ? order > 0 : order < 0));
				assert_int_not_equal(op.entries[i].key[0], 0);
				memcpy(last, op.entries[i].key, n);
				last_len = n;
			}
			if (op.next_key == NULL)
				break;
			struct store_kv next = op;
			next.entries = NULL;
			next.next_key = NULL;
			next.n_entries = 0;
			*(reverse ? &next.end : &next.start) = bytes(op.next_key, op.next_key_len);
			*(reverse ? &next.end_len : &next.start_len) = op.next_key_len;
			store_kv_clear(&op);
			op = next;
		}
		store_kv_clear(&op);
		assert_true(seen > N * 9 / 10);
	}
	store_fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_get_in_the_order_asked),
	    cmocka_unit_test(test_put_replaces_and_delete_is_idempotent),
	    cmocka_unit_test(test_a_write_gets_what_was_before),
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_list_ranges),
	    cmocka_unit_test(test_list_pages),
	    cmocka_unit_test(test_reserved_keys),
	    cmocka_unit_test(test_delete_range),
	    cmocka_unit_test(test_random_keys_list_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
