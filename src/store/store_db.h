/* One SQLite connection with its prepared statements; used by one thread at a
 * time. Private to store/, the only folder that sees sqlite3.h. */
#pragma once

#include <sqlite3.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/err.h"

enum store_sql {
#define SQL(name, text) SQL_##name,
#include "store/store_sql.def"
	SQL_COUNT
};

struct store_db {
	sqlite3 *handle;
	sqlite3_stmt *st[SQL_COUNT];
	int failed_rc;    /* why the last statement could not be prepared */
	bool sync_failed; /* a sync failed on this connection: never reset */
	int wal_frames;   /* in the log after the last commit of this connection */
	/* Actors are waiting for their keys to be deleted (store_doomed.c). Shared by all connections. */
	atomic_bool *doomed;
};

enum store_db_role {
	STORE_DB_WRITES, /* creates the file when it is missing */
	STORE_DB_READS,  /* SQLite refuses it every change */
	STORE_DB_COPIES, /* the log into the file */
};

/* Opens a connection; 0 or -errno with a sentence in e (NULL allowed). */
int store_db_open(const char *path, enum store_db_role role, atomic_bool *doomed, struct store_db **ret, struct err *e);
void store_db_close(struct store_db *db); /* NULL allowed */

/* The statement, ready to bind, or NULL when it could not be prepared: bind and step cope with NULL, and
 * store_db_step() then returns the reason. */
sqlite3_stmt *store_db_use(struct store_db *db, enum store_sql name);

#define STORE_DB_ROW 1
/* STORE_DB_ROW: columns can be read and the statement goes on (or is given up by store_db_end). 0: done. -errno:
 * failed. The statement is reset and its bindings cleared in the last two. */
int store_db_step(struct store_db *db, sqlite3_stmt *st);
void store_db_end(sqlite3_stmt *st);

/* For statements without rows: 0 or -errno. */
int store_db_run(struct store_db *db, sqlite3_stmt *st);
/* The first column of the only row into *ret. 0, 1 without a row, or -errno. */
int store_db_number(struct store_db *db, sqlite3_stmt *st, int64_t *ret);

/* -errno for a result code of this connection: -ENOSPC, -EROFS, -EBUSY, -ENOMEM, else -EIO. */
int store_db_errno(struct store_db *db, int rc);

/* The sentence for a database that cannot be used; returns -errno. */
int store_db_refuse(struct store_db *db, int rc, const char *path, struct err *e);

/* Borrowed until the statement is reset. NULL text is SQL NULL; NULL bytes are the empty blob. */
void store_db_bind_text(sqlite3_stmt *st, int at, const char *text);
void store_db_bind_bytes(sqlite3_stmt *st, int at, const void *p, size_t n);
void store_db_bind_int(sqlite3_stmt *st, int at, int64_t v);
/* Owned copies; NULL only for SQL NULL. */
char *store_db_text(sqlite3_stmt *st, int column);
uint8_t *store_db_bytes(sqlite3_stmt *st, int column, size_t *n);

/* store_schema.c: brings a fresh file to the current format, or checks the one that is there. */
int store_schema_open(struct store_db *db, const char *path, struct err *e);

/* store_doomed.c: deleting an actor's keys in bounded steps. */
int store_doomed_add(struct store_db *db, uint64_t actor_number); /* inside the writer's transaction; 0 or -errno */
/* One step, a transaction of its own. 0, or -errno. Clears *db->doomed when nothing is left. */
int store_doomed_step(struct store_db *db);
/* Whether reads must find the actor empty. 1, 0 or -errno. */
int store_doomed_is(struct store_db *db, uint64_t actor_number);
