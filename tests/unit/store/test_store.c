/* Opening and closing: directory, lock, format; settings; what happens to jobs
 * that cannot be taken; reads behind writes. */
#include "store/store.h"
#include "lib/store_fixture.h"
#include "base/limits.h"
#include "store/store_db.h"
#include "store/store_kv.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void shell_sql(const struct store_fixture *f, const char *sql)
{
	char path[128];
	sqlite3 *db;
	snprintf(path, sizeof(path), "%s/store.db", f->dir);
	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void assert_refused(struct store_fixture *f, const char *part)
{
	struct err e = {0};
	assert_true(store_fixture_open(f, &e) < 0);
	assert_int_equal(e.exit_code, EXIT_CODE_DATA_DIR);
	if (strstr(e.text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	f->store = NULL;
}

static void test_files_are_private(void **state)
{
	(void)state;
	static const char *const names[] = {".", "lock", "store.db", "store.db-wal"};
	struct store_fixture f;
	store_fixture_init(&f);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];
		struct stat st;
		snprintf(path, sizeof(path), "%s/%s", f.dir, names[i]);
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, i == 0 ? 0700 : 0600);
	}
	store_fixture_done(&f);
}

static void on_nothing(void *arg)
{
	(void)arg;
}

static void test_makes_missing_directories(void **state)
{
	(void)state;
	struct store_fixture outer, inner = {.wake_fd = eventfd(0, EFD_CLOEXEC)};
	struct store *s;
	struct err e = {0};
	char path[128];
	store_fixture_init(&outer);
	snprintf(path, sizeof(path), "%s/a", outer.dir);
	snprintf(inner.dir, sizeof(inner.dir), "%.50s/a/b", outer.dir);
	assert_int_equal(store_fixture_open(&inner, &e), 0);
	assert_int_equal(store_fixture_put(&inner, 1, "k", "v"), 0);
	store_fixture_done(&inner);
	assert_int_equal(rmdir(path), 0);
	store_fixture_done(&outer);
	/* A file in the way. */
	assert_true(store_open("/dev/null/data", on_nothing, NULL, &s, &e) < 0);
	assert_int_equal(e.exit_code, EXIT_CODE_DATA_DIR);
}

static void test_second_daemon_is_told_the_pid(void **state)
{
	(void)state;
	struct store_fixture f, other;
	char pid[32];
	store_fixture_init(&f);
	other = f;
	snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
	assert_refused(&other, pid);
	/* The one that has it goes on. */
	assert_int_equal(store_fixture_put(&f, 1, "k", "v"), 0);
	store_fixture_done(&f);
}

static void test_lock_of_the_dead_is_waited_for(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	char path[128], pid[16];
	int go[2];
	store_fixture_init(&f);
	store_fixture_close(&f);
	/* A process that inherited the lock's descriptor outlives the daemon named in the file. */
	snprintf(path, sizeof(path), "%s/lock", f.dir);
	assert_int_equal(pipe(go), 0);
	pid_t dead = fork();
	if (dead == 0)
		_exit(0);
	assert_int_equal(waitpid(dead, NULL, 0), dead);
	pid_t heir = fork();
	if (heir == 0) {
		int fd = open(path, O_RDWR);
		int n = snprintf(pid, sizeof(pid), "%d\n", (int)dead);
		if (flock(fd, LOCK_EX) < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) != n)
			_exit(1);
		if (write(go[1], "x", 1) != 1)
			_exit(1);
		usleep(150 * 1000);
		_exit(0);
	}
	assert_int_equal(read(go[0], pid, 1), 1);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_int_equal(waitpid(heir, NULL, 0), heir);
	close(go[0]);
	close(go[1]);
	store_fixture_done(&f);
}

static void test_newer_format_is_refused(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	store_fixture_init(&f);
	store_fixture_close(&f);
	shell_sql(&f, "PRAGMA user_version=7");
	assert_refused(&f, "has format 7, this program knows up to 1");
	shell_sql(&f, "PRAGMA user_version=1");
	assert_int_equal(store_fixture_open(&f, &e), 0);
	store_fixture_done(&f);
}

static void test_other_and_damaged_files_are_refused(void **state)
{
	(void)state;
	struct store_fixture f;
	char path[128];
	store_fixture_init(&f);
	store_fixture_close(&f);
	snprintf(path, sizeof(path), "%s/store.db", f.dir);
	assert_int_equal(unlink(path), 0);
	shell_sql(&f, "CREATE TABLE mine(x)");
	assert_refused(&f, "another program");
	FILE *file = fopen(path, "w");
	for (int i = 0; i < 3000; i++)
		fputs("not a database ", file);
	fclose(file);
	assert_refused(&f, "damaged or not ours");
	store_fixture_done(&f);
}

static void test_settings(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	char *value = NULL;
	store_fixture_init(&f);
	assert_int_equal(store_setting_get(f.store, "runner_key", &value), 1);
	assert_null(value);
	assert_int_equal(store_setting_put(f.store, "runner_key", "one"), 0);
	assert_int_equal(store_setting_put(f.store, "runner_key", "two"), 0);
	store_fixture_close(&f);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_int_equal(store_setting_get(f.store, "runner_key", &value), 0);
	assert_string_equal(value, "two");
	mem_free(value);
	store_fixture_done(&f);
}

/* A job that holds its thread until let go. */
struct gate {
	struct store_job job;
	sem_t go;
};

static int on_gate(struct store_db *db, struct store_job *job)
{
	(void)db;
	while (sem_wait(&CONTAINER_OF(job, struct gate, job)->go) != 0)
		;
	return 0;
}

static void gate_submit(struct store_fixture *f, struct gate *g, uint64_t order)
{
	g->job = (struct store_job){
	    .run = on_gate, .done = store_fixture_on_done, .order = order, .write = true, .result = 99};
	sem_init(&g->go, 0, 0);
	store_submit(f->store, &g->job);
}

static void test_too_many_jobs(void **state)
{
	(void)state;
	enum { N = LIMIT_STORE_QUEUE + 10 };
	struct store_fixture f;
	struct gate g;
	struct store_kv *ops = mem_zalloc(N * sizeof(*ops));
	struct store_stats stats;
	int refused = 0;
	store_fixture_init(&f);
	gate_submit(&f, &g, 1);
	for (size_t i = 0; i < N; i++) {
		ops[i] = (struct store_kv){.kind = STORE_KV_DELETE, .actor_number = 1};
		ops[i].job.done = store_fixture_on_done;
		store_kv(f.store, &ops[i]);
	}
	store_stats(f.store, &stats);
	assert_int_equal(stats.queued, LIMIT_STORE_QUEUE);
	sem_post(&g.go);
	for (size_t i = 0; i < N; i++) {
		int result = store_fixture_wait(&f, &ops[i].job);
		assert_true(result == 0 || result == -EBUSY);
		refused += result != 0;
	}
	assert_int_equal(refused, 11); /* the gate was one of those taken */
	store_stats(f.store, &stats);
	assert_int_equal(stats.queued, 0);
	assert_true(stats.commits < 200); /* LIMIT_STORE_BATCH in one */
	store_fixture_done(&f);
	mem_free(ops);
}

static void on_close_done(void *arg)
{
	struct store_fixture *f = arg;
	f->closed = true;
	f->store = NULL;
}

static void test_close_runs_what_is_queued(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	struct gate g;
	char out[64];
	store_fixture_init(&f);
	gate_submit(&f, &g, 1);
	struct store_kv_pair pair = {
	    .key = (uint8_t *)mem_strdup("k"), .value = (uint8_t *)mem_strdup("v"), .key_len = 1, .value_len = 1};
	struct store_kv before = {.kind = STORE_KV_PUT, .actor_number = 1, .pairs = &pair, .n_pairs = 1},
			after = before;
	before.job.done = after.job.done = store_fixture_on_done;
	store_kv(f.store, &before);
	store_close(f.store, on_close_done, &f);
	store_kv(f.store, &after);
	assert_int_equal(store_fixture_wait(&f, &after.job), -ECANCELED);
	sem_post(&g.go);
	assert_int_equal(store_fixture_wait(&f, &before.job), 0);
	while (!f.closed)
		store_fixture_turn(&f);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_string_equal(store_fixture_get(&f, 1, "k", out), "v");
	store_fixture_done(&f);
	mem_free(pair.key);
	mem_free(pair.value);
}

/* A read waits for the write of its order that was submitted before it, and not for those of others. */
static void test_reads_behind_writes(void **state)
{
	(void)state;
	struct store_fixture f;
	struct gate g;
	char out[64];
	store_fixture_init(&f);
	assert_int_equal(store_fixture_put(&f, 1, "k", "old"), 0);
	assert_int_equal(store_fixture_put(&f, 2, "k", "other"), 0);
	gate_submit(&f, &g, 1);
	struct store_kv_pair pair = {
	    .key = (uint8_t *)mem_strdup("k"), .value = (uint8_t *)mem_strdup("new"), .key_len = 1, .value_len = 3};
	struct store_kv put = {.kind = STORE_KV_PUT, .actor_number = 1, .pairs = &pair, .n_pairs = 1};
	struct store_kv get = {.kind = STORE_KV_GET, .actor_number = 1, .pairs = &pair, .n_pairs = 1};
	put.job.done = get.job.done = store_fixture_on_done;
	store_kv(f.store, &put);
	store_kv(f.store, &get);
	/* The writer stands still; the other actor is answered by the reader. */
	assert_string_equal(store_fixture_get(&f, 2, "k", out), "other");
	assert_false(store_fixture_is_done(&get.job));
	sem_post(&g.go);
	assert_int_equal(store_fixture_wait(&f, &get.job), 0);
	assert_int_equal(get.n_entries, 1);
	assert_memory_equal(get.entries[0].value, "new", 3);
	assert_int_equal(store_fixture_wait(&f, &put.job), 0);
	get.pairs = NULL;
	get.n_pairs = 0;
	store_kv_clear(&get);
	mem_free(pair.key);
	mem_free(pair.value);
	store_fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_files_are_private),
	    cmocka_unit_test(test_makes_missing_directories),
	    cmocka_unit_test(test_second_daemon_is_told_the_pid),
	    cmocka_unit_test(test_lock_of_the_dead_is_waited_for),
	    cmocka_unit_test(test_newer_format_is_refused),
	    cmocka_unit_test(test_other_and_damaged_files_are_refused),
	    cmocka_unit_test(test_settings),
	    cmocka_unit_test(test_too_many_jobs),
	    cmocka_unit_test(test_close_runs_what_is_queued),
	    cmocka_unit_test(test_reads_behind_writes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
