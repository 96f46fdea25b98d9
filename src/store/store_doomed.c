/* Owns: the table of destroyed actors whose keys are still to be deleted.
 *
 * Deleting millions of keys in one transaction would hold up every other
 * writer, so destroying an actor deletes a bounded part at once; what is left
 * goes in steps of a few milliseconds between batches. A crash in between
 * loses nothing: the table is read again at the next start. Meanwhile reads
 * find the actor empty. */
#include "store/store_db.h"

#include "base/clock.h"

#define STEP_KEYS 64 /* of up to LIMIT_KV_VALUE_BYTES each */
#define STEP_US 5000

/* Deletes up to STEP_KEYS keys. 1: more may be left, 0: none is, or -errno. */
static int delete_some(struct store_db *db, uint64_t actor_number)
{
	sqlite3_stmt *st = store_db_use(db, SQL_DOOMED_SOME);
	store_db_bind_int(st, 1, (int64_t)actor_number);
	store_db_bind_int(st, 2, STEP_KEYS - 1);
	int result = store_db_run(db, st);
	if (result < 0)
		return result;
	if (sqlite3_changes(db->handle) > 0)
		return 1;
	st = store_db_use(db, SQL_DOOMED_REST); /* fewer than STEP_KEYS */
	store_db_bind_int(st, 1, (int64_t)actor_number);
	return store_db_run(db, st);
}

static int number_run(struct store_db *db, enum store_sql name, uint64_t actor_number)
{
	sqlite3_stmt *st = store_db_use(db, name);
	store_db_bind_int(st, 1, (int64_t)actor_number);
	return store_db_run(db, st);
}

int store_doomed_add(struct store_db *db, uint64_t actor_number)
{
	int result = delete_some(db, actor_number);
	if (result != 1)
		return result;
	atomic_store(db->doomed, true);
	return number_run(db, SQL_DOOMED_ADD, actor_number);
}

int store_doomed_is(struct store_db *db, uint64_t actor_number)
{
	int64_t one;
	if (!atomic_load(db->doomed))
		return 0;
	sqlite3_stmt *st = store_db_use(db, SQL_DOOMED_IS);
	store_db_bind_int(st, 1, (int64_t)actor_number);
	int result = store_db_number(db, st, &one);
	return result < 0 ? result : result == 0;
}

/* Deletes until the time is up. 1: more is left, 0: nothing, or -errno. */
static int delete_for_a_while(struct store_db *db)
{
	int64_t until_us = clock_mono_us() + STEP_US, actor;
	do {
		int result = store_db_number(db, store_db_use(db, SQL_DOOMED_ANY), &actor);
		if (result != 0)
			return result < 0 ? result : 0;
		result = delete_some(db, (uint64_t)actor);
		if (result == 0)
			result = number_run(db, SQL_DOOMED_DONE, (uint64_t)actor);
		if (result < 0)
			return result;
	} while (clock_mono_us() < until_us);
	return 1;
}

int store_doomed_step(struct store_db *db)
{
	int result = store_db_run(db, store_db_use(db, SQL_BEGIN));
	if (result < 0)
		return result;
	int more = delete_for_a_while(db);
	result = more < 0 ? more : store_db_run(db, store_db_use(db, SQL_COMMIT));
	if (result < 0) {
		if (!sqlite3_get_autocommit(db->handle))
			(void)store_db_run(db, store_db_use(db, SQL_ROLLBACK));
		return result;
	}
	/* Only the writer adds, and it is the one that runs here. */
	if (more == 0)
		atomic_store(db->doomed, false);
	return 0;
}
