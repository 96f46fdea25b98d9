/* Namespaces, their pools and the names of actors ever created. */
#include "codec/actor_id.h"
#include "lib/store_fixture.h"
#include "store/store_actor.h"
#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static int create(struct store_fixture *f, const char *name)
{
	struct actor_id id = actor_id_new();
	struct store_namespaces q = {.create = {.id = mem_strdup(id.text),
						.name = mem_strdup(name),
						.display_name = mem_strdup("Display"),
						.create_ts = 42}};
	q.job.done = store_fixture_on_done;
	store_namespaces(f->store, &q);
	int result = store_fixture_wait(f, &q.job);
	store_namespaces_clear(&q);
	return result;
}

static void test_namespaces(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	store_fixture_init(&f);
	assert_int_equal(create(&f, "default"), STORE_NAMESPACE_TAKEN);
	assert_int_equal(create(&f, "research"), 0);
	assert_int_equal(create(&f, "research"), STORE_NAMESPACE_TAKEN);
	store_fixture_close(&f);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	struct store_namespaces q = {.n = 0};
	q.job.done = store_fixture_on_done;
	store_namespaces(f.store, &q);
	assert_int_equal(store_fixture_wait(&f, &q.job), 0);
	assert_int_equal(q.n, 2);
	struct actor_id id;
	assert_string_equal(q.all[0].name, "default");
	assert_int_equal(actor_id_parse(slice_str(q.all[0].id), &id), 0);
	assert_true(q.all[0].create_ts > 0);
	assert_string_equal(q.all[1].name, "research");
	assert_string_equal(q.all[1].display_name, "Display");
	assert_int_equal(q.all[1].create_ts, 42);
	store_namespaces_clear(&q);
	store_fixture_done(&f);
}

static void test_namespaces_are_bounded(void **state)
{
	(void)state;
	struct store_fixture f;
	char name[16];
	store_fixture_init(&f);
	for (int i = 1; i < LIMIT_NAMESPACES; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(create(&f, name), 0);
	}
	assert_int_equal(create(&f, "one-more"), STORE_NAMESPACE_FULL);
	assert_int_equal(create(&f, "n1"), STORE_NAMESPACE_TAKEN);
	store_fixture_done(&f);
}

static int pool(struct store_fixture *f, const char *in, const char *name, const char *config, bool remove)
{
	struct store_pools q = {.namespace_name = mem_strdup(in),
				.name = mem_strdup(name),
				.config_json = mem_strdup(config),
				.remove = remove};
	q.job.done = store_fixture_on_done;
	store_pools(f->store, &q);
	int result = store_fixture_wait(f, &q.job);
	store_pools_clear(&q);
	return result;
}

/* "name=config;" for each. */
static const char *pools(struct store_fixture *f, const char *in, const char *name, char out[256])
{
	struct store_pools q = {.namespace_name = mem_strdup(in), .name = mem_strdup(name)};
	size_t at = 0;
	q.job.done = store_fixture_on_done;
	store_pools(f->store, &q);
	assert_int_equal(store_fixture_wait(f, &q.job), 0);
	out[0] = '\0';
	for (size_t i = 0; i < q.n; i++)
		at += (size_t)snprintf(out + at, 256 - at, "%s=%s;", q.all[i].name, q.all[i].config_json);
	store_pools_clear(&q);
	return out;
}

static void test_pools(void **state)
{
	(void)state;
	struct store_fixture f;
	char out[256];
	store_fixture_init(&f);
	assert_string_equal(pools(&f, "default", NULL, out), "default={\"normal\":{}};");
	assert_int_equal(pool(&f, "default", "a", "1", false), 0);
	assert_int_equal(pool(&f, "default", "a", "2", false), 0);
	assert_string_equal(pools(&f, "default", NULL, out), "a=2;default={\"normal\":{}};");
	assert_string_equal(pools(&f, "default", "a", out), "a=2;");
	assert_string_equal(pools(&f, "default", "b", out), "");
	for (int i = 0; i < 2; i++)
		assert_int_equal(pool(&f, "default", "default", NULL, true), 0);
	assert_string_equal(pools(&f, "default", NULL, out), "a=2;");
	assert_int_equal(pool(&f, "nowhere", "a", "1", false), STORE_NAMESPACE_ABSENT);
	assert_int_equal(pool(&f, "nowhere", "a", NULL, true), STORE_NAMESPACE_ABSENT);
	assert_int_equal(create(&f, "research"), 0);
	assert_string_equal(pools(&f, "research", NULL, out), "");
	store_fixture_done(&f);
}

static void test_pools_are_bounded(void **state)
{
	(void)state;
	struct store_fixture f;
	char name[16];
	store_fixture_init(&f);
	for (int i = 1; i < LIMIT_POOLS; i++) {
		snprintf(name, sizeof(name), "p%d", i);
		assert_int_equal(pool(&f, "default", name, "{}", false), 0);
	}
	assert_int_equal(pool(&f, "default", "one-more", "{}", false), STORE_POOLS_FULL);
	assert_int_equal(pool(&f, "default", "p1", "{}", false), 0);
	store_fixture_done(&f);
}

static int names(struct store_fixture *f, const char *in, const char *after, size_t limit, char out[256])
{
	struct store_actor_names q = {.namespace_name = mem_strdup(in), .after = mem_strdup(after), .limit = limit};
	size_t at = 0;
	q.job.done = store_fixture_on_done;
	store_actor_names(f->store, &q);
	int result = store_fixture_wait(f, &q.job);
	out[0] = '\0';
	for (size_t i = 0; i < q.n; i++)
		at += (size_t)snprintf(out + at, 256 - at, "[%s]", q.names[i]);
	store_actor_names_clear(&q);
	return result;
}

static void test_names(void **state)
{
	(void)state;
	static const char *const made[] = {"b", "a", "", "b", "\xc3\xa4"};
	struct store_fixture f;
	char out[256];
	store_fixture_init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		store_fixture_actor(&f, made[i], NULL);
	assert_int_equal(names(&f, "default", NULL, 100, out), 0);
	assert_string_equal(out, "[][a][b][\xc3\xa4]");
	assert_int_equal(names(&f, "default", "", 2, out), 0);
	assert_string_equal(out, "[a][b]");
	assert_int_equal(names(&f, "default", "b", 2, out), 0);
	assert_string_equal(out, "[\xc3\xa4]");
	assert_int_equal(names(&f, "nowhere", NULL, 2, out), STORE_NAMESPACE_ABSENT);
	/* Names stay when the last actor of the name is gone. */
	struct store_actor_save v = {.actor = {.number = 2}, .destroy = true};
	v.job.done = store_fixture_on_done;
	store_actor_save(f.store, &v);
	assert_int_equal(store_fixture_wait(&f, &v.job), 0);
	assert_int_equal(names(&f, "default", "", 1, out), 0);
	assert_string_equal(out, "[a]");
	store_fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_namespaces), cmocka_unit_test(test_namespaces_are_bounded),
	    cmocka_unit_test(test_pools),      cmocka_unit_test(test_pools_are_bounded),
	    cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
