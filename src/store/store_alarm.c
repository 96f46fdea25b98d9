/* Owns: the alarms as jobs. One row per actor; the row goes with the actor.
 * All of them are ordered with the actor records, so that a look at the next
 * alarms, or at a record, sees every alarm set before it. */
#include "store/store_alarm.h"

#include "codec/actor_id.h"
#include "store/store_db.h"

static enum store_sql statement_for(const struct store_alarm *a)
{
	if (a->due_wall_ms == 0)
		return a->only_if_due_wall_ms == 0 ? SQL_ALARM_CLEAR : SQL_ALARM_CLEAR_IF;
	return a->only_if_due_wall_ms == 0 ? SQL_ALARM_SET : SQL_ALARM_SET_IF;
}

static int on_alarm(struct store_db *db, struct store_job *job)
{
	struct store_alarm *a = CONTAINER_OF(job, struct store_alarm, job);
	enum store_sql name = statement_for(a);
	sqlite3_stmt *st = store_db_use(db, name);
	store_db_bind_int(st, 1, (int64_t)a->actor_number);
	if (name == SQL_ALARM_CLEAR_IF) {
		store_db_bind_int(st, 2, a->only_if_due_wall_ms);
	} else if (name != SQL_ALARM_CLEAR) {
		store_db_bind_int(st, 2, a->due_wall_ms);
		store_db_bind_int(st, 3, name == SQL_ALARM_SET_IF ? a->attempts : 0);
	}
	if (name == SQL_ALARM_SET_IF)
		store_db_bind_int(st, 4, a->only_if_due_wall_ms);
	int result = store_db_run(db, st);
	if (result < 0 || name == SQL_ALARM_CLEAR || sqlite3_changes(db->handle) > 0)
		return result;
	return name == SQL_ALARM_SET ? STORE_ALARM_NO_ACTOR : STORE_ALARM_CHANGED;
}

void store_alarm(struct store *s, struct store_alarm *a)
{
	CHECK(a->due_wall_ms >= 0 && a->attempts >= 0);
	a->job.run = on_alarm;
	a->job.write = true;
	a->job.order = STORE_ORDER_API;
	store_submit(s, &a->job);
}

static int on_alarm_next(struct store_db *db, struct store_job *job)
{
	struct store_alarm_next *q = CONTAINER_OF(job, struct store_alarm_next, job);
	sqlite3_stmt *st = store_db_use(db, SQL_ALARM_NEXT);
	int result;
	q->n = 0;
	store_db_bind_int(st, 1, q->after_due_wall_ms);
	store_db_bind_int(st, 2, (int64_t)q->after_number);
	store_db_bind_int(st, 3, (int64_t)q->limit);
	while ((result = store_db_step(db, st)) == STORE_DB_ROW) {
		struct store_alarm_row *row = &q->rows[q->n++];
		const char *id = (const char *)sqlite3_column_text(st, 1);
		row->actor_number = (uint64_t)sqlite3_column_int64(st, 0);
		memset(row->actor_id, 0, sizeof(row->actor_id));
		memcpy(row->actor_id, id, strnlen(id, sizeof(row->actor_id) - 1));
		row->due_wall_ms = sqlite3_column_int64(st, 2);
		row->attempts = sqlite3_column_int(st, 3);
	}
	return result;
}

void store_alarm_next(struct store *s, struct store_alarm_next *q)
{
	_Static_assert(sizeof(q->rows[0].actor_id) == ACTOR_ID_TEXT + 1, "room for an id");
	CHECK(q->limit >= 1 && q->limit <= ARRAY_SIZE(q->rows));
	q->job.run = on_alarm_next;
	q->job.write = false;
	q->job.order = STORE_ORDER_API;
	store_submit(s, &q->job);
}
