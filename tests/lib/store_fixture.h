/* A store in a directory of its own, driven without a loop; and one whose disk
 * fails on demand. */
#pragma once

#include <stdatomic.h>

#include "store/store.h"

struct store_fixture {
	char dir[64];
	struct store *store;
	int wake_fd;
	bool closed;
};

/* A fresh directory under $TMPDIR, with an open store. */
void store_fixture_init(struct store_fixture *f);
/* Closes the store if it is open and removes the directory. */
void store_fixture_done(struct store_fixture *f);

/* Opens and closes the store in f->dir; open returns what store_open returns. */
int store_fixture_open(struct store_fixture *f, struct err *e);
void store_fixture_close(struct store_fixture *f);

/* For job->done: marks the job as done. */
void store_fixture_on_done(struct store_job *job);
bool store_fixture_is_done(const struct store_job *job);

/* Waits for one delivery; for a job, whose result it returns. */
void store_fixture_turn(struct store_fixture *f);
int store_fixture_wait(struct store_fixture *f, struct store_job *job);

/* One key of an actor. put returns the result. get: the value as text in out, "-" when absent. */
int store_fixture_put(struct store_fixture *f, uint64_t actor, const char *key, const char *value);
const char *store_fixture_get(struct store_fixture *f, uint64_t actor, const char *key, char out[64]);

/* A living actor of namespace "default"; its number. key may be NULL. */
uint64_t store_fixture_actor(struct store_fixture *f, const char *name, const char *key);

/* A disk that fails, for every store opened after the call. What fails is set at any time:
 * a result code of SQLite (0: nothing) and, where that is an input or output error, the errno behind it. */
struct store_faults {
	atomic_int write_rc, sync_rc, system_errno;
};
extern struct store_faults store_faults;
void store_faults_install(void);
