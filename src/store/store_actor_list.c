/* Owns: lists of actor records as jobs, newest first, each off an index that
 * has the order already; no state of an actor is touched. Lists by id or key
 * are single look-ups, put in order here. */
#include <stdlib.h>

#include "base/limits.h"
#include "store/store_record.h"

#define LIST_MAX 1000

static void drop(struct store_actor_list *q)
{
	for (size_t i = 0; i < q->n; i++)
		store_actor_clear(&q->actors[i]);
	mem_free(TAKE(q->actors));
	q->n = 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct store_actor *x = a, *y = b;
	if (x->create_ts != y->create_ts)
		return x->create_ts < y->create_ts ? 1 : -1;
	return x->number < y->number ? 1 : x->number > y->number ? -1 : 0;
}

static bool behind_cursor(const struct store_actor_list *q, const struct store_actor *a)
{
	if (q->before_create_ts == 0 || a->create_ts < q->before_create_ts)
		return true;
	return a->create_ts == q->before_create_ts && a->number < q->before_number;
}

/* Keeps the record when it belongs to the list, else frees it. */
static void keep(struct store_actor_list *q, struct store_actor *a)
{
	bool ours = q->namespace_name == NULL || strcmp(a->namespace_name, q->namespace_name) == 0;
	if (ours && behind_cursor(q, a))
		q->actors[q->n++] = *a;
	else
		store_actor_clear(a);
}

static int by_ids(struct store_db *db, struct store_actor_list *q)
{
	q->actors = mem_zalloc((q->n_ids + 1) * sizeof(*q->actors));
	for (size_t i = 0; i < q->n_ids; i++) {
		struct store_actor a = {0};
		int result = store_record_by_id(db, q->ids[i], &a);
		if (result < 0)
			return result;
		if (result == 0)
			keep(q, &a);
	}
	qsort(q->actors, q->n, sizeof(*q->actors), newest_first);
	for (; q->n > q->limit; q->n--)
		store_actor_clear(&q->actors[q->n - 1]);
	return 0;
}

static int by_key(struct store_db *db, struct store_actor_list *q)
{
	struct store_actor a = {0};
	q->actors = mem_zalloc(sizeof(*q->actors));
	int result = store_record_by_key(db, q->namespace_name, q->name, q->key, &a);
	if (result == 0)
		keep(q, &a);
	return result < 0 ? result : 0;
}

static sqlite3_stmt *use_index(struct store_db *db, const struct store_actor_list *q)
{
	enum store_sql name = q->only_wanted         ? SQL_ACTOR_LIST_WANTED
			      : q->every_namespace   ? SQL_ACTOR_LIST_EVERY
			      : q->name == NULL      ? (q->include_destroyed ? SQL_ACTOR_LIST_ALL : SQL_ACTOR_LIST)
			      : q->include_destroyed ? SQL_ACTOR_LIST_NAME_ALL
						     : SQL_ACTOR_LIST_NAME;
	sqlite3_stmt *st = store_db_use(db, name);
	bool from_newest = q->before_create_ts == 0;
	if (!q->only_wanted && !q->every_namespace)
		store_db_bind_text(st, 1, q->namespace_name);
	if (!q->every_namespace)
		store_db_bind_int(st, 2, from_newest ? INT64_MAX : q->before_create_ts);
	store_db_bind_int(st, 3, from_newest ? INT64_MAX : (int64_t)q->before_number);
	store_db_bind_int(st, 4, (int64_t)q->limit);
	if (!q->only_wanted && q->name != NULL)
		store_db_bind_text(st, 5, q->name);
	return st;
}

static int by_index(struct store_db *db, struct store_actor_list *q)
{
	sqlite3_stmt *st = use_index(db, q);
	size_t room = 0;
	int result;
	while ((result = store_db_step(db, st)) == STORE_DB_ROW) {
		if (q->n == room) {
			room = room == 0 ? 16 : room * 2;
			q->actors = mem_realloc(q->actors, room * sizeof(*q->actors));
		}
		q->actors[q->n] = (struct store_actor){0};
		store_record_read(st, &q->actors[q->n++]);
	}
	return result;
}

static int on_list(struct store_db *db, struct store_job *job)
{
	struct store_actor_list *q = CONTAINER_OF(job, struct store_actor_list, job);
	drop(q);
	if (q->ids != NULL)
		return by_ids(db, q);
	if (!q->only_wanted && q->key != NULL)
		return by_key(db, q);
	return by_index(db, q);
}

void store_actor_list(struct store *s, struct store_actor_list *q)
{
	CHECK(q->limit >= 1 && q->limit <= LIST_MAX && q->n_ids <= LIST_MAX);
	CHECK(q->ids != NULL || q->only_wanted || q->every_namespace || q->namespace_name != NULL);
	CHECK(q->key == NULL || q->name != NULL);
	q->job.run = on_list;
	q->job.write = false;
	q->job.order = STORE_ORDER_API;
	store_submit(s, &q->job);
}

void store_actor_list_clear(struct store_actor_list *q)
{
	drop(q);
	for (size_t i = 0; i < q->n_ids; i++)
		mem_free(q->ids[i]);
	mem_free(TAKE(q->ids));
	q->n_ids = 0;
	mem_free(TAKE(q->namespace_name));
	mem_free(TAKE(q->name));
	mem_free(TAKE(q->key));
}
