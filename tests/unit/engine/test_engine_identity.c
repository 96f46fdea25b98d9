#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/engine_identity.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW ((int64_t)1700000000000)
#define MINUTE ((int64_t)60000)

static char dir[64];

static int set_up(void **state)
{
	(void)state;
	memcpy(dir, "/tmp/test_engine_identity.XXXXXX", 33);
	return mkdtemp(dir) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"lock", "runner-key", "evicted"};
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char path[128];
		(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
	return rmdir(dir); /* nothing else is left there */
}

static void test_key_is_kept(void **state)
{
	(void)state;
	struct err e = {0};
	char *first = NULL, *second = NULL;
	assert_int_equal(engine_identity_key(dir, &first, &e), 0);
	assert_int_equal(engine_identity_key(dir, &second, &e), 0);
	assert_string_equal(first, second);
	assert_int_equal(strlen(first), 32);
	mem_free(first);
	mem_free(second);
}

static void test_key_not_kept(void **state)
{
	(void)state;
	struct err e = {0};
	char *key = NULL;
	assert_true(engine_identity_key("/nowhere/at/all", &key, &e) < 0);
	assert_int_equal(e.exit_code, EXIT_CODE_DATA_DIR);
	assert_non_null(strstr(e.text, "/nowhere/at/all"));
}

static void test_eviction_is_remembered(void **state)
{
	(void)state;
	int64_t age = -1;
	assert_false(engine_identity_evicted(dir, "k1", NOW, &age));
	assert_int_equal(engine_identity_note(dir, "k1", NOW), 0);
	assert_int_equal(engine_identity_note(dir, "k 2/\n", NOW + MINUTE), 0);
	assert_true(engine_identity_evicted(dir, "k1", NOW + 9 * MINUTE, &age));
	assert_true(age == 9 * MINUTE);
	assert_false(engine_identity_evicted(dir, "k1", NOW + 10 * MINUTE, &age));
	assert_true(engine_identity_evicted(dir, "k 2/\n", NOW + 10 * MINUTE, &age));
	assert_false(engine_identity_evicted(dir, "k", NOW, &age));
	/* A clock set back a little. */
	assert_true(engine_identity_evicted(dir, "k1", NOW - MINUTE, &age));
	assert_true(age == 0);
}

static void test_eviction_is_forgotten(void **state)
{
	(void)state;
	int64_t age, now = clock_wall_ms();
	assert_int_equal(engine_identity_note(dir, "k1", now), 0);
	assert_int_equal(engine_identity_note(dir, "k2", now), 0);
	assert_int_equal(engine_identity_forget(dir, "k1"), 0);
	assert_false(engine_identity_evicted(dir, "k1", now, &age));
	assert_true(engine_identity_evicted(dir, "k2", now, &age));
	assert_int_equal(engine_identity_forget(dir, "never"), 0);
}

static void test_bound_and_rubbish(void **state)
{
	(void)state;
	int64_t age;
	char path[128], key[16];
	for (int i = 0; i < 40; i++) {
		(void)snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(engine_identity_note(dir, key, NOW), 0);
	}
	assert_true(engine_identity_evicted(dir, "k39", NOW, &age));
	assert_true(engine_identity_evicted(dir, "k24", NOW, &age));
	assert_false(engine_identity_evicted(dir, "k0", NOW, &age));
	(void)snprintf(path, sizeof(path), "%s/evicted", dir);
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	static const char rubbish[] = "\n \nxyz\n123456789012345678901234567890 6b\n-5 6b\n17 6b";
	assert_int_equal(write(fd, rubbish, sizeof(rubbish)), sizeof(rubbish));
	close(fd);
	assert_false(engine_identity_evicted(dir, "k", NOW, &age));
	assert_int_equal(engine_identity_note(dir, "k", NOW), 0);
	assert_true(engine_identity_evicted(dir, "k", NOW, &age));
}

static void test_lock(void **state)
{
	(void)state;
	struct err e = {0};
	int fd = -1, second = -1;
	assert_int_equal(engine_identity_lock(dir, &fd, &e), 0);
	assert_true(engine_identity_lock(dir, &second, &e) < 0);
	assert_int_equal(e.exit_code, EXIT_CODE_DATA_DIR);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_key_is_kept, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_key_not_kept, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_eviction_is_remembered, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_eviction_is_forgotten, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_bound_and_rubbish, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_lock, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
