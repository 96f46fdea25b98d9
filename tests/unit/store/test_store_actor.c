/* Actor records: keys have one living owner, records come back as they went
 * in, destroying takes everything along, also millions of keys. */
#include "store/store_actor.h"
#include "codec/actor_id.h"
#include "lib/store_fixture.h"
#include "store/store_kv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <sqlite3.h>

#include <cmocka.h>

static int create(struct store_fixture *f, struct store_actor_create *c)
{
	c->job.done = store_fixture_on_done;
	store_actor_create(f->store, c);
	return store_fixture_wait(f, &c->job);
}

static struct store_actor_create full(const char *name, const char *key)
{
	struct actor_id id = actor_id_new();
	return (struct store_actor_create){.actor = {.id = mem_strdup(id.text),
						     .namespace_name = mem_strdup("default"),
						     .name = mem_strdup(name),
						     .key = mem_strdup(key),
						     .runner_name_selector = mem_strdup("pool"),
						     .crash_policy = CRASH_RESTART,
						     .running = true,
						     .wake_wanted = true,
						     .crashes = 200,
						     .generation = -1,
						     .create_ts = 1000,
						     .start_ts = 1,
						     .connectable_ts = 2,
						     .sleep_ts = 3,
						     .reschedule_ts = 4,
						     .pending_allocation_ts = 5,
						     .error_json = mem_strdup("\"no_capacity\"")}};
}

static int find(struct store_fixture *f, const char *id, const char *name, const char *key, struct store_actor *ret)
{
	struct store_actor_find q = {.id = mem_strdup(id), .name = mem_strdup(name), .key = mem_strdup(key)};
	q.namespace_name = mem_strdup("default");
	q.job.done = store_fixture_on_done;
	store_actor_find(f->store, &q);
	int result = store_fixture_wait(f, &q.job);
	if (result == 0 && ret != NULL)
		store_actor_copy(ret, &q.actor);
	store_actor_find_clear(&q);
	return result;
}

static int save(struct store_fixture *f, const struct store_actor *a, bool destroy)
{
	struct store_actor_save v = {.destroy = destroy};
	store_actor_copy(&v.actor, a);
	v.job.done = store_fixture_on_done;
	store_actor_save(f->store, &v);
	int result = store_fixture_wait(f, &v.job);
	store_actor_save_clear(&v);
	return result;
}

/* "number," for each; clears the query. */
static const char *listed(struct store_fixture *f, struct store_actor_list q, char out[512])
{
	size_t at = 0;
	q.limit = q.limit == 0 ? 100 : q.limit;
	q.job.done = store_fixture_on_done;
	store_actor_list(f->store, &q);
	assert_int_equal(store_fixture_wait(f, &q.job), 0);
	out[0] = '\0';
	for (size_t i = 0; i < q.n; i++)
		at += (size_t)snprintf(out + at, 512 - at, "%d,", (int)q.actors[i].number);
	store_actor_list_clear(&q);
	return out;
}

static struct store_actor_list of_default(const char *name)
{
	return (struct store_actor_list){.namespace_name = mem_strdup("default"), .name = mem_strdup(name)};
}

static void assert_same(const struct store_actor *a, const struct store_actor *b)
{
	assert_int_equal(a->number, b->number);
	assert_string_equal(a->id, b->id);
	assert_string_equal(a->namespace_name, b->namespace_name);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->runner_name_selector, b->runner_name_selector);
	assert_string_equal(a->error_json, b->error_json);
	assert_int_equal(a->key == NULL, b->key == NULL);
	if (a->key != NULL)
		assert_string_equal(a->key, b->key);
	assert_int_equal(a->crash_policy, b->crash_policy);
	assert_int_equal(a->has_input, b->has_input);
	assert_int_equal(a->running, b->running);
	assert_int_equal(a->wake_wanted, b->wake_wanted);
	assert_int_equal(a->crashes, b->crashes);
	assert_int_equal(a->generation, b->generation);
	assert_int_equal(a->create_ts, b->create_ts);
	assert_int_equal(a->start_ts, b->start_ts);
	assert_int_equal(a->connectable_ts, b->connectable_ts);
	assert_int_equal(a->sleep_ts, b->sleep_ts);
	assert_int_equal(a->reschedule_ts, b->reschedule_ts);
	assert_int_equal(a->destroy_ts, b->destroy_ts);
	assert_int_equal(a->pending_allocation_ts, b->pending_allocation_ts);
	assert_int_equal(a->alarm_at_wall_ms, b->alarm_at_wall_ms);
}

static void test_record_round_trip(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	store_fixture_init(&f);
	for (int i = 0; i < 2; i++) {
		struct store_actor_create c = full("", i == 0 ? "k/1" : NULL);
		struct store_actor got = {0};
		assert_int_equal(create(&f, &c), 0);
		store_fixture_close(&f);
		assert_int_equal(store_fixture_open(&f, &e), 0);
		assert_int_equal(find(&f, c.actor.id, NULL, NULL, &got), 0);
		assert_same(&c.actor, &got);
		store_actor_clear(&got);
		assert_int_equal(find(&f, NULL, "", "k/1", i == 0 ? &got : NULL), 0);
		store_actor_clear(&got);
		store_actor_create_clear(&c);
	}
	assert_int_equal(find(&f, "no such id", NULL, NULL, NULL), STORE_ACTOR_ABSENT);
	assert_int_equal(find(&f, NULL, "", "k", NULL), STORE_ACTOR_ABSENT);
	assert_int_equal(find(&f, NULL, "other", "k/1", NULL), STORE_ACTOR_ABSENT);
	store_fixture_done(&f);
}

static void test_key_has_one_owner(void **state)
{
	(void)state;
	struct store_fixture f;
	store_fixture_init(&f);
	struct store_actor_create first = full("t", "k"), again = full("t", "k"), get = full("t", "k"),
				  other = full("u", "k"), nowhere = full("t", "k"), keyless = full("t", NULL),
				  keyless2 = full("t", NULL);
	get.get_or_create = true;
	nowhere.actor.namespace_name[0] = 'X';
	assert_int_equal(create(&f, &first), 0);
	assert_int_equal(create(&f, &again), STORE_ACTOR_KEY_TAKEN);
	assert_same(&first.actor, &again.actor);
	assert_int_equal(create(&f, &get), STORE_ACTOR_EXISTED);
	assert_same(&first.actor, &get.actor);
	assert_int_equal(create(&f, &other), 0);
	assert_int_equal(create(&f, &keyless), 0);
	assert_int_equal(create(&f, &keyless2), 0);
	assert_int_equal(create(&f, &nowhere), STORE_NAMESPACE_ABSENT);
	/* Destroyed: the key is free, the record stays to be found by id. */
	struct store_actor gone = {0};
	assert_int_equal(save(&f, &first.actor, true), 0);
	assert_int_equal(find(&f, NULL, "t", "k", NULL), STORE_ACTOR_ABSENT);
	assert_int_equal(find(&f, first.actor.id, NULL, NULL, &gone), 0);
	assert_true(gone.destroy_ts > 0 && !gone.running && !gone.wake_wanted);
	assert_int_equal(save(&f, &gone, false), STORE_ACTOR_ABSENT);
	assert_int_equal(save(&f, &gone, true), STORE_ACTOR_ABSENT);
	store_actor_create_clear(&again);
	again = full("t", "k");
	assert_int_equal(create(&f, &again), 0);
	assert_true(again.actor.number > keyless2.actor.number);
	store_actor_clear(&gone);
	struct store_actor_create *all[] = {&first, &again, &get, &other, &nowhere, &keyless, &keyless2};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		store_actor_create_clear(all[i]);
	store_fixture_done(&f);
}

static void test_save_keeps_identity_and_alarm(void **state)
{
	(void)state;
	struct store_fixture f;
	struct store_actor got = {0};
	store_fixture_init(&f);
	struct store_actor_create c = full("t", "k");
	assert_int_equal(create(&f, &c), 0);
	struct store_actor changed = {.number = c.actor.number,
				      .generation = 3,
				      .crashes = 1,
				      .sleep_ts = 77,
				      .destroy_ts = 88, /* without destroy it is not written */
				      .create_ts = 99,
				      .name = mem_strdup("renamed")};
	assert_int_equal(save(&f, &changed, false), 0);
	assert_int_equal(find(&f, c.actor.id, NULL, NULL, &got), 0);
	assert_string_equal(got.name, "t");
	assert_int_equal(got.create_ts, 1000);
	assert_int_equal(got.destroy_ts, 0);
	assert_int_equal(got.generation, 3);
	assert_int_equal(got.crashes, 1);
	assert_int_equal(got.sleep_ts, 77);
	assert_int_equal(got.start_ts, 0);
	assert_false(got.running || got.wake_wanted);
	assert_null(got.error_json);
	store_actor_clear(&got);
	store_actor_clear(&changed);
	store_actor_create_clear(&c);
	store_fixture_done(&f);
}

/* Bytes this process has given to write(2) and its kin. */
static int64_t written(void)
{
	long long n = 0;
	FILE *io = fopen("/proc/self/io", "re");
	assert_non_null(io);
	assert_int_equal(fscanf(io, "rchar: %*d wchar: %lld", &n), 1);
	fclose(io);
	return n;
}

/* The record's page and that of the actors to be woken, but none of the indexes that list the living. */
static void test_save_writes_two_pages(void **state)
{
	enum { SAVES = 20, PAGE = 4096 };
	(void)state;
	struct store_fixture f;
	store_fixture_init(&f);
	struct store_actor_create c = full("t", "k");
	assert_int_equal(create(&f, &c), 0);
	struct store_actor changed = {.number = c.actor.number};
	assert_int_equal(save(&f, &changed, false), 0);
	int64_t before = written();
	for (int64_t i = 1; i <= SAVES; i++) {
		changed.generation = i;
		changed.running = i % 2 == 1;
		assert_int_equal(save(&f, &changed, false), 0);
	}
	assert_in_range(written() - before, SAVES * PAGE, SAVES * 2 * (PAGE + 64));
	store_actor_create_clear(&c);
	store_fixture_done(&f);
}

static void test_lists(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[512];
	store_fixture_init(&f);
	for (int i = 1; i <= 6; i++) { /* even ones are u */
		char key[8];
		snprintf(key, sizeof(key), "k%d", i);
		struct store_actor_create c = full(i % 2 == 0 ? "u" : "t", key);
		c.actor.create_ts = 1000 + i;
		c.actor.running = i == 2;
		c.actor.wake_wanted = i == 5;
		assert_int_equal(create(&f, &c), 0);
		assert_int_equal(c.actor.number, i);
		if (i == 3)
			assert_int_equal(save(&f, &c.actor, true), 0);
		store_actor_create_clear(&c);
	}
	assert_string_equal(listed(&f, of_default(NULL), out), "6,5,4,2,1,");
	assert_string_equal(listed(&f, of_default("t"), out), "5,1,");
	assert_string_equal(listed(&f, of_default("none"), out), "");
	struct store_actor_list q = of_default(NULL);
	q.include_destroyed = true;
	assert_string_equal(listed(&f, q, out), "6,5,4,3,2,1,");
	q = of_default("t");
	q.include_destroyed = true;
	q.limit = 2;
	assert_string_equal(listed(&f, q, out), "5,3,");
	q = of_default(NULL);
	q.before_create_ts = 1003;
	assert_string_equal(listed(&f, q, out), "2,1,");
	q = of_default(NULL);
	q.before_create_ts = 1006;
	q.before_number = 6;
	assert_string_equal(listed(&f, q, out), "5,4,2,1,");
	q = of_default("u");
	q.key = mem_strdup("k4");
	assert_string_equal(listed(&f, q, out), "4,");
	q = of_default("t");
	q.key = mem_strdup("k3"); /* destroyed */
	assert_string_equal(listed(&f, q, out), "");
	q = (struct store_actor_list){.only_wanted = true};
	assert_string_equal(listed(&f, q, out), "5,2,");
	q = (struct store_actor_list){.only_wanted = true, .before_create_ts = 1003};
	assert_string_equal(listed(&f, q, out), "2,");
	q = (struct store_actor_list){.namespace_name = mem_strdup("elsewhere")};
	assert_string_equal(listed(&f, q, out), "");
	store_fixture_done(&f);
}

static int64_t created_at(struct store_fixture *f, int64_t create_ts)
{
	struct store_actor_create c = full("t", NULL);
	c.actor.create_ts = create_ts;
	assert_int_equal(create(f, &c), 0);
	create_ts = c.actor.create_ts;
	store_actor_create_clear(&c);
	return create_ts;
}

/* A list's cursor is a time: no two actors may have the same. */
static void test_times_differ(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[512];
	store_fixture_init(&f);
	assert_int_equal(created_at(&f, 1000), 1000);
	assert_int_equal(created_at(&f, 1000), 1001);
	assert_int_equal(created_at(&f, 1000), 1002);
	assert_int_equal(created_at(&f, 1001), 1003);
	assert_int_equal(created_at(&f, 5000), 5000);
	/* The clock was set back. */
	assert_int_equal(created_at(&f, 1000), 1000);
	struct store_actor_list q = of_default("t");
	q.before_create_ts = 1002;
	q.limit = 1;
	assert_string_equal(listed(&f, q, out), "2,");
	store_fixture_done(&f);
}

static void test_list_by_ids(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[512];
	char *ids[3];
	store_fixture_init(&f);
	for (int i = 0; i < 3; i++) {
		struct store_actor_create c = full("t", NULL);
		c.actor.create_ts = 1000 + i;
		assert_int_equal(create(&f, &c), 0);
		ids[i] = mem_strdup(c.actor.id);
		if (i == 1)
			assert_int_equal(save(&f, &c.actor, true), 0);
		store_actor_create_clear(&c);
	}
	for (int foreign = 0; foreign < 2; foreign++) {
		struct store_actor_list q = {.n_ids = 4, .ids = mem_zalloc(4 * sizeof(char *))};
		for (int i = 0; i < 3; i++)
			q.ids[i] = mem_strdup(ids[i]);
		q.ids[3] = mem_strdup("absent");
		q.namespace_name = mem_strdup(foreign ? "elsewhere" : "default");
		q.limit = 2;
		assert_string_equal(listed(&f, q, out), foreign ? "" : "3,2,");
	}
	for (int i = 0; i < 3; i++)
		mem_free(ids[i]);
	store_fixture_done(&f);
}

static size_t input_of(struct store_fixture *f, uint64_t number, uint8_t **ret)
{
	struct store_actor_input q = {.number = number};
	q.job.done = store_fixture_on_done;
	store_actor_input(f->store, &q);
	assert_int_equal(store_fixture_wait(f, &q.job), 0);
	size_t n = q.input_len;
	*ret = TAKE(q.input);
	store_actor_input_clear(&q);
	return n;
}

static void test_input(void **state)
{
	(void)state;
	enum { BIG = 1 << 20 };
	struct store_fixture f;
	uint8_t *input;
	store_fixture_init(&f);
	struct store_actor_create with = full("t", "a"), empty = full("t", "b"), without = full("t", "c");
	with.input = mem_alloc(BIG);
	memset(with.input, 0xa5, BIG);
	with.input_len = BIG;
	empty.input = mem_alloc(1);
	assert_int_equal(create(&f, &with), 0);
	assert_int_equal(create(&f, &empty), 0);
	assert_int_equal(create(&f, &without), 0);
	assert_true(with.actor.has_input && empty.actor.has_input && !without.actor.has_input);
	assert_int_equal(input_of(&f, with.actor.number, &input), BIG);
	assert_memory_equal(input, with.input, BIG);
	mem_free(input);
	assert_int_equal(input_of(&f, empty.actor.number, &input), 0);
	assert_non_null(input);
	mem_free(input);
	assert_int_equal(input_of(&f, without.actor.number, &input), 0);
	assert_null(input);
	assert_int_equal(save(&f, &with.actor, true), 0);
	assert_int_equal(input_of(&f, with.actor.number, &input), 0);
	assert_null(input);
	store_actor_create_clear(&with);
	store_actor_create_clear(&empty);
	store_actor_create_clear(&without);
	store_fixture_done(&f);
}

static size_t keys_of(struct store_fixture *f, uint64_t number)
{
	struct store_kv op = {.actor_number = number, .kind = STORE_KV_LIST, .limit = 100000, .bytes_max = 1 << 30};
	op.with_reserved = true;
	op.job.done = store_fixture_on_done;
	store_kv(f->store, &op);
	assert_int_equal(store_fixture_wait(f, &op.job), 0);
	size_t n = op.n_entries;
	store_kv_clear(&op);
	return n;
}

static void put_many(struct store_fixture *f, uint64_t number, size_t n)
{
	struct store_kv op = {.actor_number = number, .kind = STORE_KV_PUT, .n_pairs = n};
	op.pairs = mem_zalloc(n * sizeof(*op.pairs));
	for (size_t i = 0; i < n; i++) {
		char *key = mem_printf("%c%08zu", i % 2 == 0 ? 'k' : 0, i);
		op.pairs[i] = (struct store_kv_pair){.key = (uint8_t *)key, .key_len = 9};
	}
	op.job.done = store_fixture_on_done;
	store_kv(f->store, &op);
	assert_int_equal(store_fixture_wait(f, &op.job), 0);
	store_kv_clear(&op);
}

static int64_t count_rows(const struct store_fixture *f, const char *sql)
{
	char path[128];
	sqlite3 *db;
	sqlite3_stmt *st;
	snprintf(path, sizeof(path), "%s/store.db", f->dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return n;
}

/* Big actors go in steps: at once empty for readers, in the end for the disk, also over a restart. */
static void test_destroy_takes_the_keys(void **state)
{
	(void)state;
	static const size_t sizes[] = {0, 1, 63, 64, 65, 30000};
	struct store_fixture f;
	struct err e = {0};
	char out[64];
	store_fixture_init(&f);
	uint64_t stays = store_fixture_actor(&f, "t", "stays");
	assert_int_equal(store_fixture_put(&f, stays, "k", "v"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct store_actor a = {.number = store_fixture_actor(&f, "t", NULL)};
		if (sizes[i] > 0)
			put_many(&f, a.number, sizes[i]);
		assert_int_equal(keys_of(&f, a.number), sizes[i]);
		assert_int_equal(save(&f, &a, true), 0);
		assert_int_equal(keys_of(&f, a.number), 0);
	}
	store_fixture_close(&f);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	for (int tries = 0; count_rows(&f, "SELECT count(*) FROM doomed") > 0 && tries < 1000; tries++)
		usleep(10000);
	assert_int_equal(count_rows(&f, "SELECT count(*) FROM kv"), 1);
	assert_string_equal(store_fixture_get(&f, stays, "k", out), "v");
	store_fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_record_round_trip),
	    cmocka_unit_test(test_key_has_one_owner),
	    cmocka_unit_test(test_save_keeps_identity_and_alarm),
	    cmocka_unit_test(test_save_writes_two_pages),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_times_differ),
	    cmocka_unit_test(test_list_by_ids),
	    cmocka_unit_test(test_input),
	    cmocka_unit_test(test_destroy_takes_the_keys),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
