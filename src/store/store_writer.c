/* Owns: the writer thread and the group commit.
 *
 * Everything queued becomes one transaction: the jobs run in order of
 * submission, one commit syncs the log, then all of them are finished. What
 * comes in meanwhile gathers for the next one. Between two batches the writer
 * deletes a little of what destroyed actors left and keeps the log short.
 *
 * A job refuses (positive outcome) before it writes anything, so a transaction
 * only fails as a whole: full disk, failed disk. Then it is rolled back, every
 * write of it gets the error, and the reads of it run again alone; the next
 * batch tries afresh. After a failed sync no write is tried any more. */
#include "store/store_private.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"

#define PURGE_RETRY_MS 1000 /* after a failure, when nothing else writes */

struct writer {
	struct store *store;
	struct store_db *db;
	int64_t purge_at_mono_ms; /* not before */
};

static struct store_job *job_of(struct list *node)
{
	return CONTAINER_OF(node, struct store_job, node);
}

static bool purge_due(const struct writer *w)
{
	return atomic_load(&w->store->doomed) && !atomic_load(&w->store->failed) &&
	       clock_mono_ms() >= w->purge_at_mono_ms;
}

static void wait_a_while(struct store *s, pthread_cond_t *cond, int64_t ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	pthread_cond_timedwait(cond, &s->mutex, &until);
}

/* Moves the next batch into `batch`. False at the end. Comes back with an empty batch when there is other work. */
static bool take_batch(struct writer *w, struct list *batch)
{
	struct store *s = w->store;
	size_t n = 0, bytes = 0;
	pthread_mutex_lock(&s->mutex);
	while (list_empty(&s->writes_queue) && !s->closing && s->checkpoint != STORE_CHECKPOINT_COPIED &&
	       !purge_due(w)) {
		s->writer_waits = true;
		if (atomic_load(&s->doomed) && !atomic_load(&s->failed))
			wait_a_while(s, &s->writer_wakes, PURGE_RETRY_MS);
		else
			pthread_cond_wait(&s->writer_wakes, &s->mutex);
		s->writer_waits = false;
	}
	while (!list_empty(&s->writes_queue) && n < LIMIT_STORE_BATCH) {
		struct store_job *job = job_of(s->writes_queue.next);
		if (n > 0 && job->bytes > LIMIT_STORE_BATCH_BYTES - bytes)
			break;
		bytes += job->bytes < LIMIT_STORE_BATCH_BYTES - bytes ? job->bytes : LIMIT_STORE_BATCH_BYTES - bytes;
		n++;
		list_push_back(batch, list_pop(&s->writes_queue));
	}
	bool on = !s->closing || n > 0;
	pthread_mutex_unlock(&s->mutex);
	return on;
}

/* Runs the jobs of a batch in one transaction. 0, or -errno with nothing written. */
static int transact(struct store_db *db, struct list *batch)
{
	bool begun = false;
	int result = 0;
	LIST_FOR (batch, node) {
		struct store_job *job = job_of(node);
		if (job->write && !begun) {
			result = store_db_run(db, store_db_use(db, SQL_BEGIN));
			begun = result == 0;
		}
		if (result == 0)
			job->result = job->run(db, job);
		if (job->result < 0)
			result = job->result;
		if (result < 0)
			break;
	}
	if (begun && result == 0)
		result = store_db_run(db, store_db_use(db, SQL_COMMIT));
	/* Some errors have rolled it back already. */
	if (result < 0 && !sqlite3_get_autocommit(db->handle))
		(void)store_db_run(db, store_db_use(db, SQL_ROLLBACK));
	return result;
}

static void give_up_writes(struct store_db *db, struct list *batch, int result)
{
	LIST_FOR (batch, node) {
		struct store_job *job = job_of(node);
		job->result = job->write ? result : job->run(db, job);
	}
}

static void count(struct store *s, const struct list *batch, bool committed, int64_t us)
{
	uint64_t writes = 0, reads = 0;
	LIST_FOR (batch, node) {
		if (job_of(node)->write)
			writes++;
		else
			reads++;
	}
	atomic_fetch_add_explicit(&s->reads, reads, memory_order_relaxed);
	atomic_fetch_add_explicit(committed ? &s->writes : &s->failures, writes, memory_order_relaxed);
	if (committed && writes > 0) {
		atomic_fetch_add_explicit(&s->commits, 1, memory_order_relaxed);
		metric_observe(&s->commit_time, us);
	}
}

static void run_batch(struct writer *w, struct list *batch)
{
	struct store *s = w->store;
	int64_t start_us = clock_mono_us();
	int result = atomic_load(&s->failed) ? -EIO : transact(w->db, batch);
	if (w->db->sync_failed)
		atomic_store(&s->failed, true);
	if (result < 0)
		give_up_writes(w->db, batch, result);
	count(s, batch, result == 0, clock_mono_us() - start_us);
	store_finish(s, batch);
}

/* The others first: the last connection to be closed empties and removes the log. */
static void end_others(struct store *s)
{
	if (s->reader_runs)
		CHECK(pthread_join(s->reader, NULL) == 0);
	if (s->checkpointer_runs)
		CHECK(pthread_join(s->checkpointer, NULL) == 0);
	pthread_mutex_lock(&s->mutex);
	bool backup = s->backup != STORE_BACKUP_NONE; /* none begins any more */
	pthread_mutex_unlock(&s->mutex);
	if (backup)
		CHECK(pthread_join(s->backup_thread, NULL) == 0);
}

void *store_writer_main(void *arg)
{
	struct store *s = CAST(struct store, arg, STORE_MAGIC);
	struct writer w = {.store = s, .db = s->db};
	struct list batch;
	list_init(&batch);
	store_checkpoint_reserve(s);
	while (take_batch(&w, &batch)) {
		if (!list_empty(&batch))
			run_batch(&w, &batch);
		if (purge_due(&w) && store_doomed_step(w.db) < 0)
			w.purge_at_mono_ms = clock_mono_ms() + PURGE_RETRY_MS;
		if (w.db->sync_failed)
			atomic_store(&s->failed, true);
		store_checkpoint_turn(s);
	}
	end_others(s);
	if (atomic_load(&s->failed)) /* what is in the log stays there for a disk that can be trusted */
		sqlite3_db_config(s->db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	store_db_close(TAKE(s->db));
	pthread_mutex_lock(&s->mutex);
	s->writer_ended = true;
	bool wake = !s->notified;
	s->notified = true;
	pthread_mutex_unlock(&s->mutex);
	if (wake)
		s->notify(s->notify_arg);
	return NULL;
}
