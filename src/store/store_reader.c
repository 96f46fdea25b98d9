/* Owns: the reader thread, started by the first read, and its connection.
 *
 * Reads run against the last commit, beside the writer. Failure: a connection
 * that cannot be opened fails the reads at hand and is tried again by the next. */
#include "store/store_private.h"

#define READER_BATCH 64 /* finished together: one lock, one wake-up */

static bool take_reads(struct store *s, struct list *batch)
{
	size_t n = 0;
	pthread_mutex_lock(&s->mutex);
	while (list_empty(&s->reads_queue) && !s->closing) {
		s->reader_waits = true;
		pthread_cond_wait(&s->reader_wakes, &s->mutex);
		s->reader_waits = false;
	}
	for (; n < READER_BATCH && !list_empty(&s->reads_queue); n++)
		list_push_back(batch, list_pop(&s->reads_queue));
	pthread_mutex_unlock(&s->mutex);
	atomic_fetch_add_explicit(&s->reads, n, memory_order_relaxed);
	return n > 0;
}

void *store_reader_main(void *arg)
{
	struct store *s = CAST(struct store, arg, STORE_MAGIC);
	struct store_db *db = NULL;
	struct list batch;
	list_init(&batch);
	while (take_reads(s, &batch)) {
		int result = db != NULL ? 0 : store_db_open(s->path, STORE_DB_READS, &s->doomed, &db, NULL);
		LIST_FOR (&batch, node) {
			struct store_job *job = CONTAINER_OF(node, struct store_job, node);
			job->result = result < 0 ? result : job->run(db, job);
		}
		store_finish(s, &batch);
	}
	store_db_close(db);
	return NULL;
}
