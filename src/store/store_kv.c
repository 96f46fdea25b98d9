/* Owns: an actor's key-value state as jobs.
 *
 * A put or delete of many keys is one statement per key inside the writer's
 * transaction. Lists walk the table in its own order, both ways, and stop at
 * a bound with the key to go on with. A read starts by dropping what an earlier
 * run of it left: the writer runs reads again when a transaction failed. */
#include "store/store_kv.h"

#include "base/clock.h"
#include "store/store_db.h"

/* Keys below are the reserved ones: those that begin with byte 0. */
static const uint8_t first_open_key[] = {1};

static void free_pairs(struct store_kv_pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		mem_free(pairs[i].key);
		mem_free(pairs[i].value);
	}
	mem_free(pairs);
}

static void drop_entries(struct store_kv *op)
{
	free_pairs(TAKE(op->entries), op->n_entries);
	op->n_entries = 0;
	mem_free(TAKE(op->next_key));
	op->next_key_len = 0;
}

static int get(struct store_db *db, struct store_kv *op, const struct store_kv_pair *wanted, size_t n)
{
	op->entries = mem_zalloc((n + 1) * sizeof(*op->entries));
	for (size_t i = 0; i < n; i++) {
		const struct store_kv_pair *pair = &wanted[i];
		sqlite3_stmt *st = store_db_use(db, SQL_KV_GET);
		store_db_bind_int(st, 1, (int64_t)op->actor_number);
		store_db_bind_bytes(st, 2, pair->key, pair->key_len);
		int result = store_db_step(db, st);
		if (result < 0)
			return result;
		if (result != STORE_DB_ROW)
			continue;
		struct store_kv_pair *entry = &op->entries[op->n_entries++];
		entry->key = memcpy(mem_alloc(pair->key_len + 1), pair->key, pair->key_len);
		entry->key_len = pair->key_len;
		entry->value = store_db_bytes(st, 0, &entry->value_len);
		entry->updated_wall_ms = sqlite3_column_int64(st, 1);
		store_db_end(st);
	}
	return 0;
}

static int put(struct store_db *db, struct store_kv *op)
{
	int64_t now_wall_ms = clock_wall_ms();
	for (size_t i = 0; i < op->n_pairs; i++) {
		const struct store_kv_pair *pair = &op->pairs[i];
		sqlite3_stmt *st = store_db_use(db, SQL_KV_PUT);
		store_db_bind_int(st, 1, (int64_t)op->actor_number);
		store_db_bind_bytes(st, 2, pair->key, pair->key_len);
		store_db_bind_bytes(st, 3, pair->value, pair->value_len);
		store_db_bind_int(st, 4, pair->updated_wall_ms != 0 ? pair->updated_wall_ms : now_wall_ms);
		int result = store_db_run(db, st);
		if (result < 0)
			return result;
	}
	return 0;
}

static int delete (struct store_db *db, struct store_kv *op)
{
	for (size_t i = 0; i < op->n_pairs; i++) {
		sqlite3_stmt *st = store_db_use(db, SQL_KV_DELETE);
		store_db_bind_int(st, 1, (int64_t)op->actor_number);
		store_db_bind_bytes(st, 2, op->pairs[i].key, op->pairs[i].key_len);
		int result = store_db_run(db, st);
		if (result < 0)
			return result;
	}
	return 0;
}

/* The start of a range, moved behind the reserved keys unless they are wanted. */
static struct slice lower_bound(const struct store_kv *op, bool with_reserved)
{
	struct slice start = slice_of(op->start, op->start == NULL ? 0 : op->start_len);
	if (!with_reserved && (start.n == 0 || start.p[0] == 0))
		return slice_of(first_open_key, sizeof(first_open_key));
	return start;
}

static sqlite3_stmt *use_range(struct store_db *db, const struct store_kv *op, enum store_sql open,
			       enum store_sql included, enum store_sql excluded, bool with_reserved)
{
	struct slice from = lower_bound(op, with_reserved);
	sqlite3_stmt *st = store_db_use(db, op->end == NULL ? open : op->end_exclusive ? excluded : included);
	store_db_bind_int(st, 1, (int64_t)op->actor_number);
	store_db_bind_bytes(st, 2, from.p, from.n);
	if (op->end != NULL)
		store_db_bind_bytes(st, 3, op->end, op->end_len);
	return st;
}

/* Takes the row, or leaves only its key as the one to go on with: false. */
static bool take_row(struct store_kv *op, sqlite3_stmt *st, size_t *bytes, size_t *room)
{
	size_t row = (size_t)sqlite3_column_bytes(st, 0) + (size_t)sqlite3_column_bytes(st, 1);
	/* The first row is always given, or the list could not go on. */
	if (op->n_entries == op->limit ||
	    (op->n_entries > 0 && (*bytes > op->bytes_max || row > op->bytes_max - *bytes))) {
		op->next_key = store_db_bytes(st, 0, &op->next_key_len);
		return false;
	}
	if (op->n_entries == *room) {
		*room = *room == 0 ? 16 : *room * 2;
		op->entries = mem_realloc(op->entries, *room * sizeof(*op->entries));
	}
	struct store_kv_pair *entry = &op->entries[op->n_entries++];
	entry->key = store_db_bytes(st, 0, &entry->key_len);
	entry->value = store_db_bytes(st, 1, &entry->value_len);
	entry->updated_wall_ms = sqlite3_column_int64(st, 2);
	*bytes += row;
	return true;
}

static int list(struct store_db *db, struct store_kv *op)
{
	sqlite3_stmt *st =
	    op->reverse
		? use_range(db, op, SQL_KV_LIST_BACK, SQL_KV_LIST_BACK_TO, SQL_KV_LIST_BACK_BELOW, op->with_reserved)
		: use_range(db, op, SQL_KV_LIST, SQL_KV_LIST_TO, SQL_KV_LIST_BELOW, op->with_reserved);
	size_t bytes = 0, room = 0;
	int result;
	while ((result = store_db_step(db, st)) == STORE_DB_ROW) {
		if (!take_row(op, st, &bytes, &room)) {
			store_db_end(st);
			return 0;
		}
	}
	return result;
}

static int on_read(struct store_db *db, struct store_job *job)
{
	struct store_kv *op = CONTAINER_OF(job, struct store_kv, job);
	drop_entries(op);
	int doomed = store_doomed_is(db, op->actor_number);
	if (doomed != 0)
		return doomed < 0 ? doomed : 0;
	return op->kind == STORE_KV_GET ? get(db, op, op->pairs, op->n_pairs) : list(db, op);
}

/* A write and what was there before it, which nobody can come between: both are of one transaction. */
static int on_write(struct store_db *db, struct store_job *job)
{
	struct store_kv *op = CONTAINER_OF(job, struct store_kv, job);
	int result = op->n_gets == 0 ? 0 : get(db, op, op->gets, op->n_gets);
	if (result < 0)
		return result;
	if (op->may_write != NULL && !op->may_write(op))
		return STORE_KV_HELD;
	return op->kind == STORE_KV_PUT ? put(db, op) : delete (db, op);
}

static int on_delete_range(struct store_db *db, struct store_job *job)
{
	struct store_kv *op = CONTAINER_OF(job, struct store_kv, job);
	return store_db_run(db, use_range(db, op, SQL_KV_CLEAR, SQL_KV_CLEAR_TO, SQL_KV_CLEAR_BELOW, false));
}

void store_kv(struct store *s, struct store_kv *op)
{
	static int (*const runs[])(struct store_db *, struct store_job *) = {
	    [STORE_KV_GET] = on_read,
	    [STORE_KV_PUT] = on_write,
	    [STORE_KV_DELETE] = on_write,
	    [STORE_KV_LIST] = on_read,
	    [STORE_KV_DELETE_RANGE] = on_delete_range,
	};
	CHECK(op->kind < ARRAY_SIZE(runs));
	op->job.run = runs[op->kind];
	op->job.write = op->kind != STORE_KV_GET && op->kind != STORE_KV_LIST;
	op->job.order = op->actor_number;
	op->job.bytes = 0;
	for (size_t i = 0; i < op->n_pairs; i++)
		op->job.bytes += op->pairs[i].key_len + op->pairs[i].value_len;
	store_submit(s, &op->job);
}

void store_kv_clear(struct store_kv *op)
{
	drop_entries(op);
	free_pairs(TAKE(op->pairs), op->n_pairs);
	free_pairs(TAKE(op->gets), op->n_gets);
	op->n_pairs = op->n_gets = 0;
	mem_free(TAKE(op->start));
	mem_free(TAKE(op->end));
	op->start_len = op->end_len = 0;
}
