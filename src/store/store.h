/* The durable store: one SQLite database in WAL mode with full sync, written by
 * one thread in group commits and read by another.
 *
 * Work is handed over as jobs. A write job runs inside the writer's next
 * transaction, in the order of submission, and its done() runs on the loop only
 * after the commit that made it survive a power cut. A read job runs on the
 * reader thread against the last commit, unless a write with the same `order`
 * key is still queued: then it takes its place behind that write on the writer
 * thread. A read may or may not see writes submitted after it.
 *
 * The only folder that includes sqlite3.h. */
#pragma once

#include "base/err.h"
#include "base/list.h"
#include "base/metric.h"
#include "base/slice.h"

struct store;
struct store_db; /* one SQLite connection with its prepared statements */

/* Results of a job: 0, a positive outcome of the typed call, or -errno:
 *   -ENOSPC     the disk is full; nothing was written; later writes may succeed again
 *   -EROFS      the file system became read-only
 *   -EIO        the disk failed; after a failed sync the store takes no write any more (store_failed)
 *   -ECANCELED  the store was closed before the job ran
 *   -EBUSY      LIMIT_STORE_QUEUE jobs were waiting already */
struct store_job {
	struct list node;
	/* On a store thread: does the work. Must touch nothing the loop touches. A write refuses (result > 0) before it
	 * writes anything; its < 0 fails every write of the transaction. A read may be run twice. */
	int (*run)(struct store_db *db, struct store_job *job);
	/* On the loop, once, with job->result set. The job belongs to the caller again and may be freed inside. */
	void (*done)(struct store_job *job);
	uint64_t order; /* what reads wait for writes of: the actor's number, or STORE_ORDER_API */
	size_t bytes;   /* payload, for the batch bound */
	int result;
	bool write;
};

#define STORE_ORDER_API ((uint64_t)0) /* actor records, names, namespaces, configs */

struct store_stats {
	uint64_t commits, writes, reads, queued, failed;
};

/* Creates the directory (0700) and database if missing, takes the lock, checks the format version. Starts both threads.
 * notify may be called from any thread and must only wake the loop. On failure -errno and
 * a sentence in e with exit code 73 (cannot create or write, locked by another daemon with its pid, newer format). */
int store_open(const char *data_dir, void (*notify)(void *arg), void *arg, struct store **ret, struct err *e);

/* On the loop, after notify() was called (from a store thread, at most once between two deliveries): calls done() of
 * what is finished, in order of completion, at most a budget; returns true when more is left (call again next tick). */
bool store_deliver(struct store *s);

/* Takes the job (embedded, caller-owned, unchanged until done()). Never fails at once: errors come through done(). */
void store_submit(struct store *s, struct store_job *job);

/* Runs what is queued, then closes and releases the lock; closed() comes out of store_deliver. */
void store_close(struct store *s, void (*closed)(void *arg), void *arg);

/* A sync failed: writes are refused with -EIO until a restart. */
bool store_failed(const struct store *s);
void store_stats(const struct store *s, struct store_stats *ret);
void store_metrics(const struct store *s, struct metric_out *out);

/* The daemon's own small settings in the database (runner key, ...). Synchronous, only before the loop runs.
 * 0, 1 when absent, or -errno. *ret is owned by the caller (mem_free). */
int store_setting_get(struct store *s, const char *name, char **ret);
int store_setting_put(struct store *s, const char *name, const char *value);
