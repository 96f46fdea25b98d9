/* Owns: the thread that copies, from its start to its join.
 *
 * VACUUM INTO reads one snapshot and writes a fresh file, so writers go on; the
 * log only cannot be begun anew meanwhile. The copy loses its name as soon as
 * it is whole: nothing is left behind by a client that leaves, and a copy cut
 * off by a crash is removed by the next.
 *
 * Failures: no room for the copy, a store that is closing. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store_backup.h"
#include "store/store_private.h"

#define LOOK_OPERATIONS 10000 /* of SQLite's machine between two looks at `closing` */

struct backup_run {
	struct store *store;
	struct store_backup *backup;
	char *path;
};

static int look(void *arg)
{
	struct store *s = arg;
	pthread_mutex_lock(&s->mutex);
	bool closing = s->closing;
	pthread_mutex_unlock(&s->mutex);
	return closing ? 1 : 0;
}

static int vacuum(struct store_db *db, const char *path)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->handle, "VACUUM INTO ?1", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_text(st, 1, path, -1, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	sqlite3_finalize(st);
	if (rc == SQLITE_DONE)
		return 0;
	return rc == SQLITE_INTERRUPT ? -ECANCELED : store_db_errno(db, rc);
}

static int copy(struct store *s, const char *path)
{
	struct store_db *db = NULL;
	int result = store_db_open(s->path, STORE_DB_COPIES, &s->doomed, &db, NULL);
	if (result < 0)
		return result;
	(void)unlink(path);
	sqlite3_progress_handler(db->handle, LOOK_OPERATIONS, look, s);
	errno = 0;
	result = vacuum(db, path);
	store_db_close(db);
	return result;
}

static int open_copy(struct store_backup *b, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0) {
		int why = errno;
		close(fd);
		return -why;
	}
	b->fd = fd;
	b->size = (uint64_t)st.st_size;
	return 0;
}

static void *backup_main(void *arg)
{
	struct backup_run *run = arg;
	struct store *s = run->store;
	struct store_backup *b = run->backup;
	struct list jobs;
	b->job.result = copy(s, run->path);
	if (b->job.result == 0)
		b->job.result = open_copy(b, run->path);
	(void)unlink(run->path);
	mem_free(run->path);
	mem_free(run);
	pthread_mutex_lock(&s->mutex);
	s->backup = STORE_BACKUP_ENDED;
	pthread_mutex_unlock(&s->mutex);
	list_init(&jobs);
	list_push_back(&jobs, &b->job.node);
	store_finish(s, &jobs);
	return NULL;
}

/* -errno: there is no thread. */
static int start(struct store *s, struct store_backup *b)
{
	if (s->closing)
		return -ECANCELED;
	if (s->backup == STORE_BACKUP_RUNS)
		return -EBUSY;
	if (s->backup == STORE_BACKUP_ENDED)
		CHECK(pthread_join(s->backup_thread, NULL) == 0);
	s->backup = STORE_BACKUP_NONE;
	struct backup_run *run = mem_zalloc(sizeof(*run));
	*run = (struct backup_run){.store = s, .backup = b, .path = mem_printf("%s.backup-part", s->path)};
	int result = store_thread_start(&s->backup_thread, backup_main, "store-backup", run);
	if (result < 0) {
		mem_free(run->path);
		mem_free(run);
		return result;
	}
	s->backup = STORE_BACKUP_RUNS;
	return 0;
}

void store_backup(struct store *s, struct store_backup *b)
{
	struct list failed;
	list_init(&failed);
	list_init(&b->job.node);
	b->fd = -1;
	b->job.write = false;
	pthread_mutex_lock(&s->mutex);
	s->n_queued++;
	int result = start(s, b);
	if (result < 0) { /* else the job is the thread's */
		b->job.result = result;
		list_push_back(&failed, &b->job.node);
	}
	pthread_mutex_unlock(&s->mutex);
	if (!list_empty(&failed))
		store_finish(s, &failed);
}
