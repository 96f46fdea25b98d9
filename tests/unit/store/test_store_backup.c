/* A copy of the store beside its writer: whole, one at a time, cut short by a
 * close, refused by a full disk, and nothing left in the directory. */
#include "store/store_backup.h"
#include "lib/store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

/* A backup has no such step; the fixture sees by it that the job is not done. */
static int unused(struct store_db *db, struct store_job *job)
{
	(void)db;
	(void)job;
	return -1;
}

static void begin(struct store_fixture *f, struct store_backup *b)
{
	*b = (struct store_backup){.job = {.run = unused, .done = store_fixture_on_done}};
	store_backup(f->store, b);
}

static void assert_nothing_left(const struct store_fixture *f)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/store.db.backup-part", f->dir);
	assert_int_equal(access(path, F_OK), -1);
}

/* Writes the copy as the store of a directory of its own. */
static void restore(const struct store_backup *b, struct store_fixture *to)
{
	char path[128], piece[4096];
	uint64_t size = 0;
	snprintf(path, sizeof(path), "%s/store.db", to->dir);
	store_fixture_close(to);
	assert_int_equal(unlink(path), 0);
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	for (ssize_t n; (n = read(b->fd, piece, sizeof(piece))) > 0; size += (uint64_t)n)
		assert_int_equal(write(fd, piece, (size_t)n), n);
	assert_int_equal(size, b->size);
	close(fd);
}

static void test_a_copy_is_a_store(void **state)
{
	(void)state;
	struct store_fixture f, other;
	struct store_backup b;
	struct err e = {0};
	char value[64];
	store_fixture_init(&f);
	store_fixture_init(&other);
	uint64_t actor = store_fixture_actor(&f, "t", "a");
	assert_int_equal(store_fixture_put(&f, actor, "k", "before"), 0);
	begin(&f, &b);
	assert_int_equal(store_fixture_wait(&f, &b.job), 0);
	assert_int_equal(store_fixture_put(&f, actor, "k", "after"), 0);
	assert_nothing_left(&f);
	restore(&b, &other);
	close(b.fd);
	assert_int_equal(store_fixture_open(&other, &e), 0);
	assert_string_equal(store_fixture_get(&other, actor, "k", value), "before");
	assert_string_equal(store_fixture_get(&f, actor, "k", value), "after");
	store_fixture_done(&other);
	store_fixture_done(&f);
}

static void test_one_at_a_time_and_again_later(void **state)
{
	(void)state;
	struct store_fixture f;
	struct store_backup a, b;
	store_fixture_init(&f);
	begin(&f, &a);
	begin(&f, &b);
	int second = store_fixture_wait(&f, &b.job);
	assert_int_equal(store_fixture_wait(&f, &a.job), 0);
	close(a.fd);
	if (second == 0)
		close(b.fd); /* the first was quick */
	else
		assert_int_equal(second, -EBUSY);
	begin(&f, &a);
	assert_int_equal(store_fixture_wait(&f, &a.job), 0);
	close(a.fd);
	store_fixture_done(&f);
}

/* Whatever the moment, the close comes to an end and nothing stays behind. */
static void test_a_close_ends_it(void **state)
{
	(void)state;
	static char value[100000];
	for (int i = 0; i < 8; i++) {
		struct store_fixture f;
		struct store_backup b;
		store_fixture_init(&f);
		uint64_t actor = store_fixture_actor(&f, "t", "a");
		memset(value, 'x', sizeof(value) - 1);
		for (int k = 0; k < 40; k++) {
			char key[16];
			snprintf(key, sizeof(key), "k%d", k);
			assert_int_equal(store_fixture_put(&f, actor, key, value), 0);
		}
		begin(&f, &b);
		usleep((useconds_t)(i * 2000));
		store_fixture_close(&f);
		assert_true(store_fixture_is_done(&b.job));
		assert_true(b.job.result == 0 || b.job.result == -ECANCELED);
		if (b.job.result == 0)
			close(b.fd);
		assert_nothing_left(&f);
		store_fixture_done(&f);
	}
}

static void test_a_full_disk_refuses_the_copy_alone(void **state)
{
	(void)state;
	struct store_fixture f;
	struct store_backup b;
	char value[64];
	store_faults_install();
	store_fixture_init(&f);
	uint64_t actor = store_fixture_actor(&f, "t", "a");
	assert_int_equal(store_fixture_put(&f, actor, "k", "v"), 0);
	atomic_store(&store_faults.write_rc, 13); /* SQLITE_FULL */
	begin(&f, &b);
	assert_int_equal(store_fixture_wait(&f, &b.job), -ENOSPC);
	assert_int_equal(b.fd, -1);
	atomic_store(&store_faults.write_rc, 0);
	assert_nothing_left(&f);
	assert_string_equal(store_fixture_get(&f, actor, "k", value), "v");
	begin(&f, &b);
	assert_int_equal(store_fixture_wait(&f, &b.job), 0);
	close(b.fd);
	store_fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_copy_is_a_store),
	    cmocka_unit_test(test_one_at_a_time_and_again_later),
	    cmocka_unit_test(test_a_close_ends_it),
	    cmocka_unit_test(test_a_full_disk_refuses_the_copy_alone),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
