/* Owns: the length of the write-ahead log, and the thread that shortens it.
 *
 * The log gets its blocks at the start, as zeros that no recovery takes for a
 * frame: a sync of blocks that are there already costs half of one that has to
 * allocate them, and a disk that fills up later does not stop small writes at
 * once.
 *
 * When the log is over LIMIT_STORE_LOG_FRAMES, the checkpointer copies it into
 * the database file while the writer goes on appending. Then the writer copies
 * the little that came meanwhile, between two batches, and its next commit
 * begins the log anew. So no acknowledgement waits for more than that little.
 *
 * Failure: a full disk or a reader on an old snapshot leaves the log as it is;
 * it is tried again when the log has grown by a quarter more. A failed sync
 * fails the store, as one of the writer does. */
#include "store/store_private.h"

#define RESERVE_STEP_BYTES 65536
#define LOG_HEAD_BYTES 32
#define FRAME_BYTES (24 + 4096) /* SQLite file format, 4.1 */

void store_checkpoint_reserve(struct store *s)
{
	static const uint8_t zeros[RESERVE_STEP_BYTES];
	sqlite3_file *log = NULL;
	sqlite3_int64 size = 0, want = LOG_HEAD_BYTES + (sqlite3_int64)LIMIT_STORE_LOG_FRAMES * FRAME_BYTES;
	int rc = sqlite3_file_control(s->db->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (rc != SQLITE_OK || log == NULL || log->pMethods == NULL ||
	    log->pMethods->xFileSize(log, &size) != SQLITE_OK)
		return;
	for (sqlite3_int64 at = size; rc == SQLITE_OK && at < want; at += RESERVE_STEP_BYTES)
		rc = log->pMethods->xWrite(log, zeros, RESERVE_STEP_BYTES, at);
	/* It was only for speed: a full disk gets its blocks back. */
	if (rc == SQLITE_OK)
		rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
	else
		rc = log->pMethods->xTruncate(log, size);
	if (rc == SQLITE_IOERR_FSYNC)
		atomic_store(&s->failed, true);
}

/* Copies what is in the log; nothing waits for it. */
static void copy(struct store *s, struct store_db *db)
{
	int rc = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (rc != SQLITE_OK)
		(void)store_db_errno(db, rc);
	if (db->sync_failed)
		atomic_store(&s->failed, true);
}

static void wake_checkpointer(struct store *s)
{
	pthread_mutex_lock(&s->mutex);
	if (!s->checkpointer_runs)
		s->checkpointer_runs =
		    store_thread_start(&s->checkpointer, store_checkpointer_main, "store-copy", s) == 0;
	/* Without the thread the writer has to do it all. */
	s->checkpoint = s->checkpointer_runs ? STORE_CHECKPOINT_COPYING : STORE_CHECKPOINT_COPIED;
	pthread_cond_signal(&s->checkpointer_wakes);
	pthread_mutex_unlock(&s->mutex);
}

void store_checkpoint_turn(struct store *s)
{
	int frames = s->db->wal_frames;
	pthread_mutex_lock(&s->mutex);
	enum store_checkpoint_state state = s->checkpoint;
	pthread_mutex_unlock(&s->mutex);
	if (frames < LIMIT_STORE_LOG_FRAMES)
		s->checkpoint_at_frames = LIMIT_STORE_LOG_FRAMES;
	if (state == STORE_CHECKPOINT_IDLE && frames >= s->checkpoint_at_frames && !atomic_load(&s->failed))
		wake_checkpointer(s);
	if (state != STORE_CHECKPOINT_COPIED)
		return;
	copy(s, s->db);
	s->checkpoint_at_frames = frames + LIMIT_STORE_LOG_FRAMES / 4;
	pthread_mutex_lock(&s->mutex);
	s->checkpoint = STORE_CHECKPOINT_IDLE;
	pthread_mutex_unlock(&s->mutex);
}

static bool wait_for_copying(struct store *s)
{
	pthread_mutex_lock(&s->mutex);
	while (s->checkpoint != STORE_CHECKPOINT_COPYING && !s->closing)
		pthread_cond_wait(&s->checkpointer_wakes, &s->mutex);
	bool on = !s->closing;
	pthread_mutex_unlock(&s->mutex);
	return on;
}

void *store_checkpointer_main(void *arg)
{
	struct store *s = CAST(struct store, arg, STORE_MAGIC);
	struct store_db *db = NULL;
	while (wait_for_copying(s)) {
		if (db != NULL || store_db_open(s->path, STORE_DB_COPIES, &s->doomed, &db, NULL) == 0)
			copy(s, db);
		pthread_mutex_lock(&s->mutex);
		s->checkpoint = STORE_CHECKPOINT_COPIED;
		if (s->writer_waits)
			pthread_cond_signal(&s->writer_wakes);
		pthread_mutex_unlock(&s->mutex);
	}
	store_db_close(db);
	return NULL;
}
