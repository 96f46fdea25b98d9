/* Owns: a connection and its statements. Statements are prepared when first
 * used and stay; every use ends in a reset, so that no statement pins a
 * snapshot and keeps the log from being reused.
 *
 * Failure: SQLite's result code and, for input and output errors, the errno
 * below it become one -errno. A failed sync is remembered: the kernel may have
 * dropped the pages, so nothing written later could be promised. */
#include "store/store_db.h"

#include <errno.h>

#define BUSY_MS 5000 /* an administrator's sqlite3 shell holds the write lock */
#define LOOKASIDE_SLOT_BYTES 128
#define LOOKASIDE_SLOTS 64

static const char *const sql_text[SQL_COUNT] = {
#define SQL(name, text) [SQL_##name] = text,
#include "store/store_sql.def"
};

static int on_wal(void *arg, sqlite3 *handle, const char *schema, int frames)
{
	struct store_db *db = arg;
	(void)handle;
	(void)schema;
	db->wal_frames = frames;
	return SQLITE_OK;
}

/* The log is bounded by store_checkpoint.c. A cache of a mebibyte holds what one batch usually touches; what does not
 * fit is spilled to the log. */
static int configure(struct store_db *db, enum store_db_role role)
{
	static const char common[] = "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY;"
				     "PRAGMA mmap_size=0; PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF;";
	static const char *const special[] = {
	    [STORE_DB_WRITES] = "PRAGMA cache_size=-1024; PRAGMA journal_size_limit=67108864;",
	    [STORE_DB_READS] = "PRAGMA cache_size=-512; PRAGMA query_only=ON;",
	    [STORE_DB_COPIES] = "PRAGMA cache_size=-16;",
	};
	int rc = sqlite3_exec(db->handle, common, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db->handle, special[role], NULL, NULL, NULL);
	return rc;
}

int store_db_open(const char *path, enum store_db_role role, atomic_bool *doomed, struct store_db **ret, struct err *e)
{
	struct store_db *db = mem_zalloc(sizeof(*db));
	db->doomed = doomed;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (role == STORE_DB_WRITES ? SQLITE_OPEN_CREATE : 0);
	errno = 0;
	int rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_extended_result_codes(db->handle, 1);
		sqlite3_db_config(db->handle, SQLITE_DBCONFIG_LOOKASIDE, NULL, LOOKASIDE_SLOT_BYTES, LOOKASIDE_SLOTS);
		sqlite3_busy_timeout(db->handle, BUSY_MS);
		rc = configure(db, role);
		/* Behind configure(): setting wal_autocheckpoint takes the hook away. */
		sqlite3_wal_hook(db->handle, on_wal, db);
	}
	if (rc != SQLITE_OK) {
		int result = store_db_refuse(db, rc, path, e);
		store_db_close(db);
		return result;
	}
	*ret = db;
	return 0;
}

void store_db_close(struct store_db *db)
{
	if (db == NULL)
		return;
	for (size_t i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(db->st[i]);
	CHECK(sqlite3_close(db->handle) == SQLITE_OK);
	mem_free(db);
}

sqlite3_stmt *store_db_use(struct store_db *db, enum store_sql name)
{
	if (db->st[name] == NULL) {
		int rc =
		    sqlite3_prepare_v3(db->handle, sql_text[name], -1, SQLITE_PREPARE_PERSISTENT, &db->st[name], NULL);
		if (rc != SQLITE_OK)
			db->failed_rc = rc;
	}
	return db->st[name];
}

int store_db_errno(struct store_db *db, int rc)
{
	/* SQLite keeps it for some of its calls only (not for COMMIT); errno still holds it, as only failures set it.
	 */
	int system_errno = errno;
	if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC) {
		db->sync_failed = true;
		return -EIO;
	}
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		if (system_errno == ENOSPC || system_errno == EDQUOT)
			return -ENOSPC;
		return system_errno == EROFS ? -EROFS : -EIO;
	default:
		return -EIO;
	}
}

int store_db_refuse(struct store_db *db, int rc, const char *path, struct err *e)
{
	int result = store_db_errno(db, rc), primary = rc & 0xff;
	const char *advice = "";
	if (primary == SQLITE_NOTADB || primary == SQLITE_CORRUPT)
		advice = "; it is damaged or not ours: restore a backup or move it away";
	else if (result == -ENOSPC)
		advice = "; the disk is full";
	else if (result == -EROFS)
		advice = "; the file system is read-only";
	return err_set(e, -result, EXIT_CODE_DATA_DIR, "cannot use the database %s: %s%s", path, sqlite3_errstr(rc),
		       advice);
}

void store_db_end(sqlite3_stmt *st)
{
	if (st == NULL)
		return;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
}

int store_db_step(struct store_db *db, sqlite3_stmt *st)
{
	if (st == NULL)
		return store_db_errno(db, db->failed_rc);
	errno = 0;
	int rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		return STORE_DB_ROW;
	/* The reason before the reset: resetting touches the connection's error. */
	int result = rc == SQLITE_DONE ? 0 : store_db_errno(db, rc);
	store_db_end(st);
	return result;
}

int store_db_run(struct store_db *db, sqlite3_stmt *st)
{
	int result = store_db_step(db, st);
	CHECK(result != STORE_DB_ROW);
	return result;
}

int store_db_number(struct store_db *db, sqlite3_stmt *st, int64_t *ret)
{
	int result = store_db_step(db, st);
	if (result != STORE_DB_ROW)
		return result == 0 ? 1 : result;
	*ret = sqlite3_column_int64(st, 0);
	store_db_end(st);
	return 0;
}

/* A bind fails only for a number that is not in the statement, or for bytes over SQLite's gigabyte. */
static void bound(sqlite3_stmt *st, int rc)
{
	CHECK(st == NULL || rc == SQLITE_OK);
}

void store_db_bind_text(sqlite3_stmt *st, int at, const char *text)
{
	bound(st, sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC));
}

void store_db_bind_bytes(sqlite3_stmt *st, int at, const void *p, size_t n)
{
	bound(st, sqlite3_bind_blob64(st, at, p == NULL ? "" : p, n, SQLITE_STATIC));
}

void store_db_bind_int(sqlite3_stmt *st, int at, int64_t v)
{
	bound(st, sqlite3_bind_int64(st, at, v));
}

char *store_db_text(sqlite3_stmt *st, int column)
{
	return mem_strdup((const char *)sqlite3_column_text(st, column));
}

uint8_t *store_db_bytes(sqlite3_stmt *st, int column, size_t *n)
{
	const void *p = sqlite3_column_blob(st, column);
	*n = (size_t)sqlite3_column_bytes(st, column);
	if (sqlite3_column_type(st, column) == SQLITE_NULL)
		return NULL;
	uint8_t *copy = mem_alloc(*n + 1);
	if (*n > 0)
		memcpy(copy, p, *n);
	return copy;
}
