/* Owns: the format of the database file. A fresh file gets everything in one
 * transaction, so a crash during the first start leaves a fresh file again.
 *
 * Failure, each with its sentence: a file of another program, of a newer
 * version, damaged, on a file system without shared memory. */
#include "store/store_db.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "codec/actor_id.h"

#define APPLICATION_ID 0x52697652 /* "RivR", at offset 68 of the file (see `file`) */
#define FORMAT 1

#define STR_(x) #x
#define STR(x) STR_(x)

/* The state of actors (kv, input) is kept apart from their records, so that listing sleeping actors reads records
 * only. Numbers are never used twice: records stay when an actor is destroyed. */
static const char schema[] =
    "CREATE TABLE setting(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE namespace(number INTEGER PRIMARY KEY, id TEXT NOT NULL, name TEXT NOT NULL UNIQUE,"
    " display_name TEXT NOT NULL, create_ts INTEGER NOT NULL);"
    "CREATE TABLE pool(namespace INTEGER NOT NULL, name TEXT NOT NULL, config_json TEXT NOT NULL,"
    " PRIMARY KEY(namespace,name)) WITHOUT ROWID;"
    "CREATE TABLE actor_name(namespace INTEGER NOT NULL, name TEXT NOT NULL,"
    " PRIMARY KEY(namespace,name)) WITHOUT ROWID;"
    "CREATE TABLE actor(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, namespace INTEGER NOT NULL,"
    " name TEXT NOT NULL, key TEXT, selector TEXT, crash_policy INTEGER NOT NULL, has_input INTEGER NOT NULL,"
    " running INTEGER NOT NULL, wake_wanted INTEGER NOT NULL, crashes INTEGER NOT NULL, generation INTEGER NOT NULL,"
    " create_ts INTEGER NOT NULL, start_ts INTEGER NOT NULL, connectable_ts INTEGER NOT NULL,"
    " sleep_ts INTEGER NOT NULL, reschedule_ts INTEGER NOT NULL, destroy_ts INTEGER NOT NULL,"
    " pending_ts INTEGER NOT NULL, error_json TEXT);"
    "CREATE UNIQUE INDEX actor_key ON actor(namespace,name,key) WHERE destroy_ts=0 AND key IS NOT NULL;"
    "CREATE INDEX actor_living ON actor(namespace,create_ts) WHERE destroy_ts=0;"
    "CREATE INDEX actor_any ON actor(namespace,create_ts);"
    "CREATE INDEX actor_named_living ON actor(namespace,name,create_ts) WHERE destroy_ts=0;"
    "CREATE INDEX actor_named ON actor(namespace,name,create_ts);"
    "CREATE INDEX actor_wanted ON actor(create_ts) WHERE running+wake_wanted>0;"
    "CREATE TABLE input(actor INTEGER PRIMARY KEY, bytes BLOB NOT NULL);"
    "CREATE TABLE alarm(actor INTEGER PRIMARY KEY, due INTEGER NOT NULL, attempts INTEGER NOT NULL);"
    "CREATE INDEX alarm_due ON alarm(due,actor);"
    "CREATE TABLE doomed(actor INTEGER PRIMARY KEY);"
    "CREATE TABLE kv(actor INTEGER NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, updated INTEGER NOT NULL,"
    " PRIMARY KEY(actor,key)) WITHOUT ROWID;"
    "PRAGMA application_id=" STR(APPLICATION_ID) "; PRAGMA user_version=" STR(FORMAT) ";";

static const char default_pool[] = "INSERT INTO pool(namespace,name,config_json)"
				   " SELECT number,'default','{\"normal\":{}}' FROM namespace WHERE name='default'";

static int pragma(struct store_db *db, const char *sql, int64_t *ret)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->handle, sql, -1, &st, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		*ret = sqlite3_column_int64(st, 0);
		rc = SQLITE_OK;
	}
	sqlite3_finalize(st);
	return rc;
}

static int wal_mode(struct store_db *db, const char *path, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db->handle, "PRAGMA journal_mode=WAL", -1, &st, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	bool on = rc == SQLITE_ROW && slice_is(slice_str((const char *)sqlite3_column_text(st, 0)), "wal");
	int result = 0;
	if (rc != SQLITE_ROW)
		result = store_db_refuse(db, rc, path, e);
	else if (!on)
		result = err_set(e, ENOTSUP, EXIT_CODE_DATA_DIR,
				 "the file system of %s cannot hold a write-ahead log; use a local disk", path);
	sqlite3_finalize(st);
	return result;
}

static int create(struct store_db *db)
{
	struct actor_id id = actor_id_new();
	int rc = sqlite3_exec(db->handle, schema, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return rc;
	sqlite3_stmt *st = store_db_use(db, SQL_NAMESPACE_ADD);
	store_db_bind_text(st, 1, id.text);
	store_db_bind_text(st, 2, "default");
	store_db_bind_text(st, 3, "Default");
	store_db_bind_int(st, 4, clock_wall_ms());
	int result = store_db_run(db, st);
	return result < 0 ? sqlite3_extended_errcode(db->handle)
			  : sqlite3_exec(db->handle, default_pool, NULL, NULL, NULL);
}

static int create_whole(struct store_db *db, const char *path, struct err *e)
{
	int rc = sqlite3_exec(db->handle, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = create(db);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db->handle, "COMMIT", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		return 0;
	int result = store_db_refuse(db, rc, path, e);
	if (!sqlite3_get_autocommit(db->handle))
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
	return result;
}

int store_schema_open(struct store_db *db, const char *path, struct err *e)
{
	int64_t tables = 0, application = 0, format = 0;
	int rc = sqlite3_exec(db->handle, "PRAGMA page_size=4096", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = pragma(db, "SELECT count(*) FROM sqlite_schema", &tables);
	if (rc == SQLITE_OK)
		rc = pragma(db, "PRAGMA application_id", &application);
	if (rc == SQLITE_OK)
		rc = pragma(db, "PRAGMA user_version", &format);
	if (rc != SQLITE_OK)
		return store_db_refuse(db, rc, path, e);
	bool fresh = tables == 0 && application == 0 && format == 0;
	if (!fresh && application != APPLICATION_ID)
		return err_set(e, EINVAL, EXIT_CODE_DATA_DIR,
			       "%s is a database of another program; choose another data directory", path);
	if (!fresh && (format < 1 || format > FORMAT))
		return err_set(e, EINVAL, EXIT_CODE_DATA_DIR,
			       "%s has format %" PRId64 ", this program knows up to %d; use the newer program", path,
			       format, FORMAT);
	int result = wal_mode(db, path, e);
	if (result == 0 && fresh)
		result = create_whole(db, path, e);
	return result;
}
