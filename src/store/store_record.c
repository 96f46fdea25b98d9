/* Owns: the mapping between rows of the table `actor` and struct store_actor. */
#include "store/store_record.h"

void store_actor_clear(struct store_actor *a)
{
	mem_free(a->id);
	mem_free(a->namespace_name);
	mem_free(a->name);
	mem_free(a->key);
	mem_free(a->runner_name_selector);
	mem_free(a->error_json);
	*a = (struct store_actor){0};
}

void store_actor_copy(struct store_actor *to, const struct store_actor *from)
{
	*to = *from;
	to->id = mem_strdup(from->id);
	to->namespace_name = mem_strdup(from->namespace_name);
	to->name = mem_strdup(from->name);
	to->key = mem_strdup(from->key);
	to->runner_name_selector = mem_strdup(from->runner_name_selector);
	to->error_json = mem_strdup(from->error_json);
}

/* In the order of ACTOR_COLUMNS. */
void store_record_read(sqlite3_stmt *st, struct store_actor *ret)
{
	int at = 0;
	ret->number = (uint64_t)sqlite3_column_int64(st, at++);
	ret->id = store_db_text(st, at++);
	ret->namespace_name = store_db_text(st, at++);
	ret->name = store_db_text(st, at++);
	ret->key = store_db_text(st, at++);
	ret->runner_name_selector = store_db_text(st, at++);
	ret->crash_policy = (uint8_t)sqlite3_column_int(st, at++);
	ret->has_input = sqlite3_column_int(st, at++) != 0;
	ret->running = sqlite3_column_int(st, at++) != 0;
	ret->wake_wanted = sqlite3_column_int(st, at++) != 0;
	ret->crashes = (uint8_t)sqlite3_column_int(st, at++);
	ret->generation = sqlite3_column_int64(st, at++);
	ret->create_ts = sqlite3_column_int64(st, at++);
	ret->start_ts = sqlite3_column_int64(st, at++);
	ret->connectable_ts = sqlite3_column_int64(st, at++);
	ret->sleep_ts = sqlite3_column_int64(st, at++);
	ret->reschedule_ts = sqlite3_column_int64(st, at++);
	ret->destroy_ts = sqlite3_column_int64(st, at++);
	ret->pending_allocation_ts = sqlite3_column_int64(st, at++);
	ret->error_json = store_db_text(st, at++);
	ret->alarm_at_wall_ms = sqlite3_column_int64(st, at++);
}

void store_record_bind(sqlite3_stmt *st, const struct store_actor *a)
{
	store_db_bind_int(st, 8, a->running);
	store_db_bind_int(st, 9, a->wake_wanted);
	store_db_bind_int(st, 10, a->crashes);
	store_db_bind_int(st, 11, a->generation);
	store_db_bind_int(st, 13, a->start_ts);
	store_db_bind_int(st, 14, a->connectable_ts);
	store_db_bind_int(st, 15, a->sleep_ts);
	store_db_bind_int(st, 16, a->reschedule_ts);
	store_db_bind_int(st, 17, a->pending_allocation_ts);
	store_db_bind_text(st, 18, a->error_json);
}

int store_record_one(struct store_db *db, sqlite3_stmt *st, struct store_actor *ret)
{
	int result = store_db_step(db, st);
	if (result != STORE_DB_ROW)
		return result == 0 ? STORE_ACTOR_ABSENT : result;
	store_actor_clear(ret);
	store_record_read(st, ret);
	store_db_end(st);
	return 0;
}

int store_record_by_key(struct store_db *db, const char *namespace_name, const char *name, const char *key,
			struct store_actor *ret)
{
	sqlite3_stmt *st = store_db_use(db, SQL_ACTOR_BY_KEY);
	store_db_bind_text(st, 1, namespace_name);
	store_db_bind_text(st, 2, name);
	store_db_bind_text(st, 3, key);
	return store_record_one(db, st, ret);
}

int store_record_by_id(struct store_db *db, const char *id, struct store_actor *ret)
{
	sqlite3_stmt *st = store_db_use(db, SQL_ACTOR_BY_ID);
	store_db_bind_text(st, 1, id);
	return store_record_one(db, st, ret);
}

int store_record_namespace(struct store_db *db, const char *name, int64_t *ret)
{
	sqlite3_stmt *st = store_db_use(db, SQL_NAMESPACE_NUMBER);
	store_db_bind_text(st, 1, name);
	int result = store_db_number(db, st, ret);
	return result == 1 ? STORE_NAMESPACE_ABSENT : result;
}
