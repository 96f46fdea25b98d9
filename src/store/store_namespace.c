/* Owns: namespaces, and what belongs to one: pool configurations and the names
 * of actors ever created. */
#include "base/limits.h"
#include "store/store_record.h"

static void submit(struct store *s, struct store_job *job, int (*run)(struct store_db *, struct store_job *),
		   bool write)
{
	job->run = run;
	job->write = write;
	job->order = STORE_ORDER_API;
	store_submit(s, job);
}

static void drop_names(struct store_actor_names *q)
{
	for (size_t i = 0; i < q->n; i++)
		mem_free(q->names[i]);
	mem_free(TAKE(q->names));
	q->n = 0;
}

static int on_names(struct store_db *db, struct store_job *job)
{
	struct store_actor_names *q = CONTAINER_OF(job, struct store_actor_names, job);
	int64_t namespace_number;
	size_t room = 0;
	drop_names(q);
	int result = store_record_namespace(db, q->namespace_name, &namespace_number);
	if (result != 0)
		return result;
	sqlite3_stmt *st = store_db_use(db, q->after == NULL ? SQL_NAME_LIST : SQL_NAME_LIST_AFTER);
	store_db_bind_int(st, 1, namespace_number);
	store_db_bind_int(st, 2, (int64_t)q->limit);
	if (q->after != NULL)
		store_db_bind_text(st, 3, q->after);
	while ((result = store_db_step(db, st)) == STORE_DB_ROW) {
		if (q->n == room) {
			room = room == 0 ? 16 : room * 2;
			q->names = mem_realloc(q->names, room * sizeof(*q->names));
		}
		q->names[q->n++] = store_db_text(st, 0);
	}
	return result;
}

void store_actor_names(struct store *s, struct store_actor_names *q)
{
	CHECK(q->namespace_name != NULL && q->limit <= INT32_MAX);
	submit(s, &q->job, on_names, false);
}

void store_actor_names_clear(struct store_actor_names *q)
{
	drop_names(q);
	mem_free(TAKE(q->namespace_name));
	mem_free(TAKE(q->after));
}

static void clear_namespace(struct store_namespace *n)
{
	mem_free(n->id);
	mem_free(n->name);
	mem_free(n->display_name);
	*n = (struct store_namespace){0};
}

static void drop_namespaces(struct store_namespaces *q)
{
	for (size_t i = 0; i < q->n; i++)
		clear_namespace(&q->all[i]);
	mem_free(TAKE(q->all));
	q->n = 0;
}

static int on_namespace_create(struct store_db *db, struct store_job *job)
{
	const struct store_namespace *n = &CONTAINER_OF(job, struct store_namespaces, job)->create;
	int64_t number, count;
	int result = store_record_namespace(db, n->name, &number);
	if (result <= 0)
		return result == 0 ? STORE_NAMESPACE_TAKEN : result;
	result = store_db_number(db, store_db_use(db, SQL_NAMESPACE_COUNT), &count);
	if (result < 0)
		return result;
	if (count >= LIMIT_NAMESPACES)
		return STORE_NAMESPACE_FULL;
	sqlite3_stmt *st = store_db_use(db, SQL_NAMESPACE_ADD);
	store_db_bind_text(st, 1, n->id);
	store_db_bind_text(st, 2, n->name);
	store_db_bind_text(st, 3, n->display_name);
	store_db_bind_int(st, 4, n->create_ts);
	return store_db_run(db, st);
}

static int on_namespace_list(struct store_db *db, struct store_job *job)
{
	struct store_namespaces *q = CONTAINER_OF(job, struct store_namespaces, job);
	sqlite3_stmt *st = store_db_use(db, SQL_NAMESPACE_LIST);
	size_t room = 0;
	int result;
	drop_namespaces(q);
	while ((result = store_db_step(db, st)) == STORE_DB_ROW) {
		if (q->n == room) {
			room = room == 0 ? 16 : room * 2;
			q->all = mem_realloc(q->all, room * sizeof(*q->all));
		}
		q->all[q->n++] = (struct store_namespace){
		    .id = store_db_text(st, 0),
		    .name = store_db_text(st, 1),
		    .display_name = store_db_text(st, 2),
		    .create_ts = sqlite3_column_int64(st, 3),
		};
	}
	return result;
}

void store_namespaces(struct store *s, struct store_namespaces *q)
{
	bool create = q->create.name != NULL;
	CHECK(!create || (q->create.id != NULL && q->create.display_name != NULL));
	submit(s, &q->job, create ? on_namespace_create : on_namespace_list, create);
}

void store_namespaces_clear(struct store_namespaces *q)
{
	clear_namespace(&q->create);
	drop_namespaces(q);
}

static void drop_pools(struct store_pools *q)
{
	for (size_t i = 0; i < q->n; i++) {
		mem_free(q->all[i].name);
		mem_free(q->all[i].config_json);
	}
	mem_free(TAKE(q->all));
	q->n = 0;
}

static int pool_put(struct store_db *db, const struct store_pools *q, int64_t namespace_number)
{
	int64_t others;
	sqlite3_stmt *st = store_db_use(db, SQL_POOL_COUNT);
	store_db_bind_int(st, 1, namespace_number);
	store_db_bind_text(st, 2, q->name);
	int result = store_db_number(db, st, &others);
	if (result < 0)
		return result;
	if (others >= LIMIT_POOLS)
		return STORE_POOLS_FULL;
	st = store_db_use(db, SQL_POOL_PUT);
	store_db_bind_int(st, 1, namespace_number);
	store_db_bind_text(st, 2, q->name);
	store_db_bind_text(st, 3, q->config_json);
	return store_db_run(db, st);
}

static int on_pool_change(struct store_db *db, struct store_job *job)
{
	struct store_pools *q = CONTAINER_OF(job, struct store_pools, job);
	int64_t namespace_number;
	int result = store_record_namespace(db, q->namespace_name, &namespace_number);
	if (result != 0)
		return result;
	if (!q->remove)
		return pool_put(db, q, namespace_number);
	sqlite3_stmt *st = store_db_use(db, SQL_POOL_REMOVE);
	store_db_bind_int(st, 1, namespace_number);
	store_db_bind_text(st, 2, q->name);
	return store_db_run(db, st);
}

static int on_pool_list(struct store_db *db, struct store_job *job)
{
	struct store_pools *q = CONTAINER_OF(job, struct store_pools, job);
	int64_t namespace_number;
	size_t room = 0;
	drop_pools(q);
	int result = store_record_namespace(db, q->namespace_name, &namespace_number);
	if (result != 0)
		return result;
	sqlite3_stmt *st = store_db_use(db, SQL_POOL_LIST);
	store_db_bind_int(st, 1, namespace_number);
	store_db_bind_text(st, 2, q->name);
	while ((result = store_db_step(db, st)) == STORE_DB_ROW) {
		if (q->n == room) {
			room = room == 0 ? 16 : room * 2;
			q->all = mem_realloc(q->all, room * sizeof(*q->all));
		}
		q->all[q->n++] = (struct store_pool){store_db_text(st, 0), store_db_text(st, 1)};
	}
	return result;
}

void store_pools(struct store *s, struct store_pools *q)
{
	bool change = q->remove || q->config_json != NULL;
	CHECK(q->namespace_name != NULL && (!change || q->name != NULL));
	submit(s, &q->job, change ? on_pool_change : on_pool_list, change);
}

void store_pools_clear(struct store_pools *q)
{
	drop_pools(q);
	mem_free(TAKE(q->namespace_name));
	mem_free(TAKE(q->name));
	mem_free(TAKE(q->config_json));
}
