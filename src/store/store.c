/* Owns: the store object, its queues and the way of a job through them.
 *
 * store_submit puts a job on the writer's or the reader's queue; the thread
 * runs it and hands it to `finished`; notify() wakes the loop, whose
 * store_deliver calls done(). One mutex guards the queues, held for pointer
 * moves only, never across a system call of the disk.
 *
 * Failure: a job that cannot be taken (too many, closing) goes to `finished`
 * at once, so done() is always called from store_deliver. */
#include "store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define DELIVER_BUDGET 256
#define THREAD_STACK_BYTES (256 * 1024)

static void configure_sqlite(void)
{
	/* Must precede the first use; without statistics an allocation takes no global lock. */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	CHECK(sqlite3_initialize() == SQLITE_OK);
}

int store_thread_start(pthread_t *ret, void *(*main)(void *arg), const char *name, void *arg)
{
	pthread_attr_t attr;
	sigset_t all, before;
	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES) == 0);
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	int code = pthread_create(ret, &attr, main, arg);
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	pthread_attr_destroy(&attr);
	if (code == 0)
		pthread_setname_np(*ret, name);
	return -code;
}

/* SQLite gives its other files the mode of this one. */
static int create_private(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		int code = errno;
		return err_set(e, code, EXIT_CODE_DATA_DIR, "cannot open the database %s: %s", path, strerror(code));
	}
	close(fd);
	return 0;
}

/* So that the files made by a first start survive a power cut. */
static int sync_directory(const char *data_dir, struct err *e)
{
	int fd = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0) {
		int code = errno;
		if (fd >= 0)
			close(fd);
		return err_set(e, code, EXIT_CODE_DATA_DIR, "cannot sync the data directory %s: %s", data_dir,
			       strerror(code));
	}
	close(fd);
	return 0;
}

static int open_database(struct store *s, const char *data_dir, struct err *e)
{
	int64_t actor;
	int result = create_private(s->path, e);
	if (result < 0)
		return result;
	result = store_db_open(s->path, STORE_DB_WRITES, &s->doomed, &s->db, e);
	if (result == 0)
		result = store_schema_open(s->db, s->path, e);
	if (result == 0)
		result = sync_directory(data_dir, e);
	if (result < 0)
		return result;
	result = store_db_number(s->db, store_db_use(s->db, SQL_DOOMED_ANY), &actor);
	if (result < 0)
		return store_db_refuse(s->db, sqlite3_extended_errcode(s->db->handle), s->path, e);
	s->doomed = result == 0;
	return 0;
}

static void store_free(struct store *s)
{
	store_db_close(s->db);
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	pthread_mutex_destroy(&s->mutex);
	pthread_cond_destroy(&s->writer_wakes);
	pthread_cond_destroy(&s->reader_wakes);
	pthread_cond_destroy(&s->checkpointer_wakes);
	pthread_cond_destroy(&s->settled);
	mem_free(s->path);
	s->magic = 0;
	mem_free(s);
}

static void init_sharing(struct store *s)
{
	pthread_condattr_t mono;
	CHECK(pthread_condattr_init(&mono) == 0);
	CHECK(pthread_condattr_setclock(&mono, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_mutex_init(&s->mutex, NULL) == 0);
	CHECK(pthread_cond_init(&s->writer_wakes, &mono) == 0);
	CHECK(pthread_cond_init(&s->reader_wakes, &mono) == 0);
	CHECK(pthread_cond_init(&s->checkpointer_wakes, &mono) == 0);
	CHECK(pthread_cond_init(&s->settled, &mono) == 0);
	pthread_condattr_destroy(&mono);
	list_init(&s->writes_queue);
	list_init(&s->reads_queue);
	list_init(&s->finished);
}

int store_open(const char *data_dir, void (*notify)(void *arg), void *arg, struct store **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	CHECK(data_dir != NULL && notify != NULL);
	CHECK(pthread_once(&once, configure_sqlite) == 0);
	struct store *s = mem_zalloc(sizeof(*s));
	s->magic = STORE_MAGIC;
	s->notify = notify;
	s->notify_arg = arg;
	s->lock_fd = -1;
	s->path = mem_printf("%s/store.db", data_dir);
	init_sharing(s);
	int result = store_lock_take(data_dir, &s->lock_fd, e);
	if (result == 0)
		result = open_database(s, data_dir, e);
	if (result == 0) {
		result = store_thread_start(&s->writer, store_writer_main, "store-writer", s);
		if (result < 0)
			err_set(e, -result, EXIT_CODE_FAILED, "cannot start the store's thread: %s", strerror(-result));
	}
	if (result < 0) {
		store_free(s);
		return result;
	}
	*ret = s;
	return 0;
}

void store_finish(struct store *s, struct list *jobs)
{
	bool wake = false, settled = false;
	pthread_mutex_lock(&s->mutex);
	for (struct list *node; (node = list_pop(jobs)) != NULL;) {
		struct store_job *job = CONTAINER_OF(node, struct store_job, node);
		if (job->write)
			--*store_writes_of(s, job->order);
		s->n_queued--;
		if (job->done != NULL) {
			list_push_back(&s->finished, node);
			wake = true;
		} else {
			job->run = NULL; /* what setting() looks at */
			settled = true;
		}
	}
	atomic_store_explicit(&s->queued, s->n_queued, memory_order_relaxed);
	wake = wake && !s->notified;
	s->notified = s->notified || wake;
	if (settled)
		pthread_cond_broadcast(&s->settled);
	pthread_mutex_unlock(&s->mutex);
	if (wake)
		s->notify(s->notify_arg);
}

/* The reader takes the job unless a write it must see is under way, or there is no reader to be had. */
static bool for_reader(struct store *s, const struct store_job *job)
{
	if (job->write || *store_writes_of(s, job->order) > 0)
		return false;
	if (!s->reader_runs)
		s->reader_runs = store_thread_start(&s->reader, store_reader_main, "store-reader", s) == 0;
	return s->reader_runs;
}

static void enqueue(struct store *s, struct store_job *job)
{
	s->n_queued++;
	atomic_store_explicit(&s->queued, s->n_queued, memory_order_relaxed);
	if (for_reader(s, job)) {
		list_push_back(&s->reads_queue, &job->node);
		if (s->reader_waits)
			pthread_cond_signal(&s->reader_wakes);
		return;
	}
	if (job->write)
		++*store_writes_of(s, job->order);
	list_push_back(&s->writes_queue, &job->node);
	if (s->writer_waits)
		pthread_cond_signal(&s->writer_wakes);
}

void store_submit(struct store *s, struct store_job *job)
{
	CHECK(s->magic == STORE_MAGIC && job->run != NULL);
	bool wake = false;
	list_init(&job->node);
	pthread_mutex_lock(&s->mutex);
	job->result = s->closing ? -ECANCELED : s->n_queued >= LIMIT_STORE_QUEUE ? -EBUSY : 0;
	if (job->result == 0) {
		enqueue(s, job);
	} else {
		list_push_back(&s->finished, &job->node);
		wake = !s->notified;
		s->notified = true;
	}
	pthread_mutex_unlock(&s->mutex);
	if (wake)
		s->notify(s->notify_arg);
}

/* The writer was the last thread to go, and nothing waits for delivery. */
static void end(struct store *s)
{
	void (*closed)(void *arg) = s->closed;
	void *arg = s->closed_arg;
	CHECK(pthread_join(s->writer, NULL) == 0);
	store_free(s);
	closed(arg);
}

bool store_deliver(struct store *s)
{
	CHECK(s->magic == STORE_MAGIC);
	struct list jobs;
	list_init(&jobs);
	pthread_mutex_lock(&s->mutex);
	for (size_t i = 0; i < DELIVER_BUDGET && !list_empty(&s->finished); i++)
		list_push_back(&jobs, list_pop(&s->finished));
	/* While some are left the caller comes back by itself. */
	s->notified = !list_empty(&s->finished);
	pthread_mutex_unlock(&s->mutex);

	for (struct list *node; (node = list_pop(&jobs)) != NULL;) {
		struct store_job *job = CONTAINER_OF(node, struct store_job, node);
		job->done(job);
	}

	pthread_mutex_lock(&s->mutex);
	bool more = !list_empty(&s->finished), ended = s->writer_ended && !more;
	pthread_mutex_unlock(&s->mutex);
	if (ended)
		end(s);
	return more;
}

void store_close(struct store *s, void (*closed)(void *arg), void *arg)
{
	CHECK(s->magic == STORE_MAGIC && closed != NULL);
	pthread_mutex_lock(&s->mutex);
	CHECK(!s->closing);
	s->closing = true;
	s->closed = closed;
	s->closed_arg = arg;
	pthread_cond_signal(&s->writer_wakes);
	pthread_cond_signal(&s->reader_wakes);
	pthread_cond_signal(&s->checkpointer_wakes);
	pthread_mutex_unlock(&s->mutex);
}

bool store_failed(const struct store *s)
{
	return atomic_load(&s->failed);
}

void store_stats(const struct store *s, struct store_stats *ret)
{
	*ret = (struct store_stats){
	    .commits = atomic_load_explicit(&s->commits, memory_order_relaxed),
	    .writes = atomic_load_explicit(&s->writes, memory_order_relaxed),
	    .reads = atomic_load_explicit(&s->reads, memory_order_relaxed),
	    .queued = atomic_load_explicit(&s->queued, memory_order_relaxed),
	    .failed = atomic_load_explicit(&s->failures, memory_order_relaxed),
	};
}

void store_metrics(const struct store *s, struct metric_out *out)
{
	struct store_stats st;
	store_stats(s, &st);
	metric_put_histogram(out, METRIC_STORE_COMMIT_SECONDS, NULL, NULL, &s->commit_time);
	metric_put(out, METRIC_STORE_WRITES, NULL, NULL, st.writes);
	metric_put(out, METRIC_STORE_READS, NULL, NULL, st.reads);
	metric_put(out, METRIC_STORE_FAILED, NULL, NULL, st.failed);
	metric_put(out, METRIC_STORE_QUEUE, NULL, NULL, st.queued);
}

/* A job without done(): submitted and waited for. */
struct setting_op {
	struct store_job job;
	const char *name, *put;
	char *got;
};

static int on_setting(struct store_db *db, struct store_job *job)
{
	struct setting_op *op = CONTAINER_OF(job, struct setting_op, job);
	sqlite3_stmt *st = store_db_use(db, op->put != NULL ? SQL_SETTING_PUT : SQL_SETTING_GET);
	store_db_bind_text(st, 1, op->name);
	if (op->put != NULL) {
		store_db_bind_text(st, 2, op->put);
		return store_db_run(db, st);
	}
	int result = store_db_step(db, st);
	if (result != STORE_DB_ROW)
		return result == 0 ? 1 : result;
	op->got = store_db_text(st, 0);
	store_db_end(st);
	return 0;
}

/* Both go to the writer: a setting is no reason to start the reader. */
static int setting(struct store *s, struct setting_op *op)
{
	op->job = (struct store_job){.run = on_setting, .write = true, .order = STORE_ORDER_API};
	list_init(&op->job.node);
	pthread_mutex_lock(&s->mutex);
	CHECK(!s->closing);
	enqueue(s, &op->job);
	while (op->job.run != NULL)
		pthread_cond_wait(&s->settled, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
	return op->job.result;
}

int store_setting_get(struct store *s, const char *name, char **ret)
{
	struct setting_op op = {.name = name};
	int result = setting(s, &op);
	if (result == 0)
		*ret = op.got;
	return result;
}

int store_setting_put(struct store *s, const char *name, const char *value)
{
	CHECK(value != NULL);
	struct setting_op op = {.name = name, .put = value};
	return setting(s, &op);
}
