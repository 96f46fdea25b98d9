/* What the store's threads share. Private to store/. */
#pragma once

#include <pthread.h>

#include "base/limits.h"
#include "base/metric.h"
#include "store/store.h"
#include "store/store_db.h"
#include "store/store_lock.h"

#define STORE_MAGIC 0x53746f72u
#define STORE_ORDER_SLOTS 1024 /* power of two; two orders in one slot only cost a read its parallelism */

enum store_checkpoint_state {
	STORE_CHECKPOINT_IDLE,
	STORE_CHECKPOINT_COPYING, /* the checkpointer copies the log beside the writer */
	STORE_CHECKPOINT_COPIED,  /* the writer has to copy what came meanwhile */
};

enum store_backup_state {
	STORE_BACKUP_NONE,
	STORE_BACKUP_RUNS,
	STORE_BACKUP_ENDED, /* its thread is to be joined */
};

struct store {
	uint32_t magic;
	void (*notify)(void *arg);
	void *notify_arg;
	void (*closed)(void *arg);
	void *closed_arg;
	char *path;
	int lock_fd;
	pthread_t writer, reader, checkpointer, backup_thread;
	struct store_db *db;      /* the writer's; store_open's before that thread runs */
	int checkpoint_at_frames; /* the writer's: length of the log to be shortened next */
	atomic_bool doomed;
	atomic_bool failed;
	atomic_uint_fast64_t commits, writes, reads, failures, queued;
	struct metric_histogram commit_time; /* the writer adds */

	pthread_mutex_t mutex; /* guards everything below */
	pthread_cond_t writer_wakes, reader_wakes, checkpointer_wakes, settled;
	struct list writes_queue, reads_queue; /* jobs for the writer and the reader */
	struct list finished;                  /* for store_deliver */
	size_t n_queued;                       /* taken and not finished */
	uint32_t writes_of[STORE_ORDER_SLOTS]; /* writes not finished, by slot of `order` */
	enum store_checkpoint_state checkpoint;
	enum store_backup_state backup;
	bool reader_runs, checkpointer_runs; /* threads that were started */
	bool writer_waits, reader_waits;     /* asleep: a signal is needed */
	bool notified;                       /* notify() was called and store_deliver was not yet */
	bool closing, writer_ended;
};

static inline uint32_t *store_writes_of(struct store *s, uint64_t order)
{
	return &s->writes_of[order % STORE_ORDER_SLOTS];
}

/* Starts a thread with a small stack that takes no signals. 0 or -errno. */
int store_thread_start(pthread_t *ret, void *(*main)(void *arg), const char *name, void *arg);

/* Hands finished jobs over to store_deliver, in this order; `jobs` is emptied. Any thread, mutex not held. */
void store_finish(struct store *s, struct list *jobs);

/* store_writer.c, store_reader.c, store_checkpoint.c: the three threads. */
void *store_writer_main(void *arg);
void *store_reader_main(void *arg);
/* By the writer: gives the log its blocks at the start, keeps it bounded after each commit. */
void store_checkpoint_reserve(struct store *s);
void store_checkpoint_turn(struct store *s);
void *store_checkpointer_main(void *arg);
