/* The promise: what was acknowledged is there after a kill, what failed left
 * nothing, a full disk is an interlude and a failed sync is the end of writing. */
#include "lib/store_fixture.h"
#include "store/store_actor.h"
#include "store/store_kv.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

/* Holds the writer, so that what is submitted behind it becomes one batch. */
struct gate {
	struct store_job job;
	sem_t entered, go;
};

static int on_gate(struct store_db *db, struct store_job *job)
{
	struct gate *g = CONTAINER_OF(job, struct gate, job);
	(void)db;
	sem_post(&g->entered);
	while (sem_wait(&g->go) != 0)
		;
	return 0;
}

static void gate_close(struct store_fixture *f, struct gate *g)
{
	*g = (struct gate){.job = {.run = on_gate, .done = store_fixture_on_done, .order = 12345, .write = true}};
	sem_init(&g->entered, 0, 0);
	sem_init(&g->go, 0, 0);
	store_submit(f->store, &g->job);
	while (sem_wait(&g->entered) != 0)
		;
}

static void gate_open(struct store_fixture *f, struct gate *g)
{
	sem_post(&g->go);
	assert_int_equal(store_fixture_wait(f, &g->job), 0);
}

static void submit(struct store_fixture *f, struct store_kv *op, enum store_kv_kind kind, uint64_t actor, size_t n,
		   const char *value)
{
	*op = (struct store_kv){.actor_number = actor, .kind = kind, .n_pairs = n};
	op->pairs = mem_zalloc(n * sizeof(*op->pairs));
	for (size_t i = 0; i < n; i++) {
		op->pairs[i].key = (uint8_t *)mem_printf("k%zu", i);
		op->pairs[i].key_len = strlen((char *)op->pairs[i].key);
		if (kind == STORE_KV_PUT) {
			op->pairs[i].value = (uint8_t *)mem_strdup(value);
			op->pairs[i].value_len = strlen(value);
		}
	}
	op->job.done = store_fixture_on_done;
	store_kv(f->store, op);
}

static int finish(struct store_fixture *f, struct store_kv *op)
{
	int result = store_fixture_wait(f, &op->job);
	store_kv_clear(op);
	return result;
}

static int on_broken(struct store_db *db, struct store_job *job)
{
	(void)db;
	(void)job;
	return -EIO;
}

/* One job that fails takes its transaction along; the reads of it are answered all the same. */
static void test_batch_is_all_or_nothing(void **state)
{
	(void)state;
	struct store_fixture f;
	struct gate g;
	struct store_kv one, two, get;
	char out[64];
	struct store_job broken = {.run = on_broken, .done = store_fixture_on_done, .write = true, .order = 3};
	store_fixture_init(&f);
	assert_int_equal(store_fixture_put(&f, 1, "k0", "old"), 0);
	gate_close(&f, &g);
	submit(&f, &one, STORE_KV_PUT, 1, 3, "new");
	submit(&f, &get, STORE_KV_GET, 1, 3, NULL);
	store_submit(f.store, &broken);
	submit(&f, &two, STORE_KV_PUT, 2, 1, "new");
	gate_open(&f, &g);
	assert_int_equal(finish(&f, &one), -EIO);
	assert_int_equal(finish(&f, &two), -EIO);
	assert_int_equal(store_fixture_wait(&f, &broken), -EIO);
	assert_int_equal(store_fixture_wait(&f, &get.job), 0);
	assert_int_equal(get.n_entries, 1);
	assert_memory_equal(get.entries[0].value, "old", 3);
	store_kv_clear(&get);
	assert_string_equal(store_fixture_get(&f, 1, "k1", out), "-");
	assert_string_equal(store_fixture_get(&f, 2, "k0", out), "-");
	assert_int_equal(store_fixture_put(&f, 2, "k0", "later"), 0);
	assert_string_equal(store_fixture_get(&f, 2, "k0", out), "later");
	store_fixture_done(&f);
}

static void test_one_commit_for_what_waits(void **state)
{
	(void)state;
	enum { N = 200 };
	struct store_fixture f;
	struct gate g;
	struct store_kv ops[N];
	struct store_stats before, after;
	store_fixture_init(&f);
	gate_close(&f, &g);
	for (size_t i = 0; i < N; i++)
		submit(&f, &ops[i], STORE_KV_PUT, i + 1, 1, "v");
	store_stats(f.store, &before);
	gate_open(&f, &g);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(finish(&f, &ops[i]), 0);
	store_stats(f.store, &after);
	assert_int_equal(after.commits - before.commits, 2); /* the gate's own and the batch */
	assert_int_equal(after.writes - before.writes, N + 1);
	store_fixture_done(&f);
}

static void fault(int write_rc, int sync_rc, int system_errno)
{
	atomic_store(&store_faults.write_rc, write_rc);
	atomic_store(&store_faults.sync_rc, sync_rc);
	atomic_store(&store_faults.system_errno, system_errno);
}

static void test_disk_full_and_back(void **state)
{
	(void)state;
	static const struct {
		int write_rc, system_errno, result;
	} cases[] = {
	    {SQLITE_FULL, 0, -ENOSPC},    {SQLITE_IOERR_WRITE, EDQUOT, -ENOSPC}, {SQLITE_IOERR_WRITE, EROFS, -EROFS},
	    {SQLITE_READONLY, 0, -EROFS}, {SQLITE_IOERR_WRITE, EIO, -EIO},
	};
	struct store_fixture f;
	struct store_kv put, get;
	char out[64];
	store_faults_install();
	store_fixture_init(&f);
	assert_int_equal(store_fixture_put(&f, 1, "k0", "old"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fault(cases[i].write_rc, 0, cases[i].system_errno);
		submit(&f, &put, STORE_KV_PUT, 1, 100, "new");
		submit(&f, &get, STORE_KV_GET, 1, 100, NULL); /* behind it */
		assert_int_equal(finish(&f, &put), cases[i].result);
		assert_int_equal(store_fixture_wait(&f, &get.job), 0);
		assert_int_equal(get.n_entries, 1);
		store_kv_clear(&get);
		assert_string_equal(store_fixture_get(&f, 1, "k0", out), "old"); /* beside it */
		assert_false(store_failed(f.store));
		fault(0, 0, 0);
		assert_int_equal(store_fixture_put(&f, 2, "k0", "written"), 0);
		assert_string_equal(store_fixture_get(&f, 2, "k0", out), "written");
	}
	struct store_stats stats;
	store_stats(f.store, &stats);
	assert_int_equal(stats.failed, ARRAY_SIZE(cases));
	store_fixture_done(&f);
}

static void test_failed_sync_ends_writing(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	char out[64];
	store_faults_install();
	store_fixture_init(&f);
	assert_int_equal(store_fixture_put(&f, 1, "k", "safe"), 0);
	fault(0, SQLITE_IOERR_FSYNC, EIO);
	assert_int_equal(store_fixture_put(&f, 1, "k", "lost"), -EIO);
	assert_true(store_failed(f.store));
	fault(0, 0, 0);
	assert_int_equal(store_fixture_put(&f, 1, "k", "refused"), -EIO);
	assert_int_equal(store_fixture_put(&f, 2, "k", "refused"), -EIO);
	assert_string_equal(store_fixture_get(&f, 1, "k", out), "safe");
	store_fixture_close(&f);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_false(store_failed(f.store));
	/* The commit whose sync failed may or may not be in the log; what came behind is not. */
	store_fixture_get(&f, 1, "k", out);
	assert_true(strcmp(out, "safe") == 0 || strcmp(out, "lost") == 0);
	assert_string_equal(store_fixture_get(&f, 2, "k", out), "-");
	assert_int_equal(store_fixture_put(&f, 2, "k", "again"), 0);
	store_fixture_done(&f);
}

static off_t size_of(const struct store_fixture *f, const char *name)
{
	char path[128];
	struct stat st;
	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* Many times the bound goes through the log, which is begun anew each time. */
static void test_log_stays_short(void **state)
{
	(void)state;
	struct store_fixture f;
	struct store_kv op;
	char *value = mem_alloc(16 * 1024 + 1);
	store_fixture_init(&f);
	memset(value, 'v', 16 * 1024);
	value[16 * 1024] = '\0';
	for (uint64_t i = 0; i < 100; i++) {
		submit(&f, &op, STORE_KV_PUT, i % 10 + 1, 60, value);
		assert_int_equal(finish(&f, &op), 0);
	}
	assert_in_range(size_of(&f, "store.db-wal"), 16 << 20, 40 << 20);
	assert_true(size_of(&f, "store.db") > 8 << 20);
	mem_free(value);
	store_fixture_done(&f);
}

/* A disk that is really full, where a file system may be mounted. */
static void test_small_disk(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	char path[128], out[64], *value = mem_zalloc(128 * 1024 + 1), chunk[65536] = {1};
	store_fixture_init(&f);
	store_fixture_close(&f);
	if (mount("tmpfs", f.dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=40m,mode=0700") < 0) {
		print_message("SKIPPED: cannot mount a small file system: %s\n", strerror(errno));
		mem_free(value);
		store_fixture_done(&f);
		skip();
	}
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_int_equal(store_fixture_put(&f, 1, "k", "old"), 0);
	snprintf(path, sizeof(path), "%s/filler", f.dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), result = 0;
	while (write(fd, chunk, sizeof(chunk)) > 0)
		;
	close(fd);
	memset(value, 'v', 128 * 1024);
	/* The log has blocks of its own; it takes some writes to use them up. */
	for (int i = 0; i < 1000 && result == 0; i++) {
		snprintf(out, sizeof(out), "%d", i);
		result = store_fixture_put(&f, 2, out, value);
	}
	assert_int_equal(result, -ENOSPC);
	assert_string_equal(store_fixture_get(&f, 1, "k", out), "old");
	assert_false(store_failed(f.store));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(store_fixture_put(&f, 2, "k", value), 0);
	assert_int_equal(store_fixture_put(&f, 1, "k", "new"), 0);
	store_fixture_close(&f);
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_string_equal(store_fixture_get(&f, 1, "k", out), "new");
	store_fixture_close(&f);
	assert_int_equal(umount(f.dir), 0);
	mem_free(value);
	store_fixture_done(&f);
}

/* A disk so small that not even the log's own blocks fit: it starts and works all the same. */
static void test_tiny_disk(void **state)
{
	(void)state;
	struct store_fixture f;
	struct err e = {0};
	char out[64];
	store_fixture_init(&f);
	store_fixture_close(&f);
	if (mount("tmpfs", f.dir, "tmpfs", MS_NOSUID | MS_NODEV, "size=2m,mode=0700") < 0) {
		print_message("SKIPPED: cannot mount a small file system: %s\n", strerror(errno));
		store_fixture_done(&f);
		skip();
	}
	assert_int_equal(store_fixture_open(&f, &e), 0);
	assert_int_equal(store_fixture_put(&f, 1, "k", "v"), 0);
	assert_string_equal(store_fixture_get(&f, 1, "k", out), "v");
	store_fixture_close(&f);
	assert_int_equal(umount(f.dir), 0);
	store_fixture_done(&f);
}

#define KILL_CLIENTS 8

struct killed_client {
	struct store_kv op;
	uint32_t turn, id;
};

static struct store_fixture *killed;
static int acks;

static void killed_put(struct killed_client *c)
{
	struct store_kv_pair *pairs = c->op.pairs;
	c->turn++;
	for (int i = 0; i < 2; i++) {
		mem_free(pairs[i].value);
		pairs[i].value = (uint8_t *)mem_printf("%u", c->turn);
		pairs[i].value_len = strlen((char *)pairs[i].value);
	}
	store_kv(killed->store, &c->op);
}

static void on_killed_done(struct store_job *job)
{
	struct killed_client *c = CONTAINER_OF(job, struct killed_client, op.job);
	uint32_t ack[2] = {c->id, c->turn};
	if (job->result != 0 || write(acks, ack, sizeof(ack)) != (ssize_t)sizeof(ack))
		_exit(1);
	killed_put(c);
}

/* Writes two keys of each client alike in one operation, again and again, and says which turns were acknowledged. */
static _Noreturn void be_killed(struct store_fixture *f, uint32_t first_turn)
{
	static struct killed_client clients[KILL_CLIENTS];
	struct err e = {0};
	killed = f;
	if (store_fixture_open(f, &e) < 0)
		_exit(1);
	for (uint32_t i = 0; i < KILL_CLIENTS; i++) {
		struct killed_client *c = &clients[i];
		c->op = (struct store_kv){.kind = STORE_KV_PUT, .actor_number = i + 1, .n_pairs = 2};
		c->op.pairs = mem_zalloc(2 * sizeof(*c->op.pairs));
		c->op.job.done = on_killed_done;
		c->turn = first_turn;
		c->id = i;
		for (int k = 0; k < 2; k++) {
			c->op.pairs[k].key = (uint8_t *)mem_strdup(k == 0 ? "a" : "z");
			c->op.pairs[k].key_len = 1;
		}
		killed_put(c);
	}
	for (;;)
		store_fixture_turn(f);
}

/* Runs a child until it is killed at a random moment; the last acknowledged turn of each client. */
static void kill_round(struct store_fixture *f, uint32_t acked[KILL_CLIENTS], uint32_t first_turn)
{
	int fds[2], status;
	uint32_t ack[2];
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		acks = fds[1];
		be_killed(f, first_turn);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], ack, sizeof(ack)), sizeof(ack));
	acked[ack[0]] = ack[1];
	usleep((useconds_t)(random() % 60000));
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (read(fds[0], ack, sizeof(ack)) == (ssize_t)sizeof(ack))
		acked[ack[0]] = ack[1];
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void test_killed_at_any_moment(void **state)
{
	(void)state;
	enum { ROUNDS = 20 };
	struct store_fixture f;
	struct err e = {0};
	uint32_t acked[KILL_CLIENTS] = {0}, turn = 0;
	char a[64], z[64];
	srandom(1);
	store_fixture_init(&f);
	store_fixture_close(&f);
	for (int round = 0; round < ROUNDS; round++) {
		kill_round(&f, acked, turn);
		assert_int_equal(store_fixture_open(&f, &e), 0);
		for (uint32_t i = 0; i < KILL_CLIENTS; i++) {
			store_fixture_get(&f, i + 1, "a", a);
			store_fixture_get(&f, i + 1, "z", z);
			assert_string_equal(a, z);
			uint32_t found = a[0] == '-' ? 0 : (uint32_t)strtoul(a, NULL, 10);
			/* The last one may have been committed without the word getting out. */
			assert_true(found >= acked[i]);
			turn = found > turn ? found : turn;
		}
		store_fixture_close(&f);
	}
	assert_true(turn > ROUNDS);
	store_fixture_done(&f);
}

/* Every kind of job at once, from all threads: for the thread sanitizer. */
static void test_mixed_load(void **state)
{
	(void)state;
	enum { N = 64, TURNS = 60 };
	struct store_fixture f;
	static struct store_kv ops[N];
	static struct store_actor_find finds[N];
	store_fixture_init(&f);
	for (int turn = 0; turn < TURNS; turn++) {
		for (size_t i = 0; i < N; i++) {
			uint64_t actor = (uint64_t)(random() % 16 + 1);
			if (i % 4 == 3) {
				finds[i] = (struct store_actor_find){.id = mem_strdup("x")};
				finds[i].job.done = store_fixture_on_done;
				store_actor_find(f.store, &finds[i]);
			} else {
				submit(&f, &ops[i], i % 2 == 0 ? STORE_KV_PUT : STORE_KV_GET, actor, 20, "some value");
			}
		}
		if (turn % 16 == 0)
			(void)store_fixture_actor(&f, "t", NULL);
		for (size_t i = 0; i < N; i++) {
			if (i % 4 == 3) {
				assert_int_equal(store_fixture_wait(&f, &finds[i].job), STORE_ACTOR_ABSENT);
				store_actor_find_clear(&finds[i]);
			} else {
				assert_int_equal(finish(&f, &ops[i]), 0);
			}
		}
	}
	store_fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_killed_at_any_moment), /* first: it forks */
	    cmocka_unit_test(test_batch_is_all_or_nothing),
	    cmocka_unit_test(test_one_commit_for_what_waits),
	    cmocka_unit_test(test_log_stays_short),
	    cmocka_unit_test(test_small_disk),
	    cmocka_unit_test(test_tiny_disk),
	    cmocka_unit_test(test_mixed_load),
	    cmocka_unit_test(test_disk_full_and_back), /* from here on with the faulty disk */
	    cmocka_unit_test(test_failed_sync_ends_writing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
