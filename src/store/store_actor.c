/* Owns: making, finding, saving and destroying actor records as jobs.
 *
 * A key belongs to one living actor of a namespace and name: looked up and
 * taken inside the writer's transaction, so two creates never both get it. */
#include "store/store_actor.h"

#include "base/clock.h"
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

/* Lists go on behind a create_ts: two actors of one time could be parted by a page's end, and the second never seen. A
 * clock that was set back is not waited for. */
static int make_time_unique(struct store_db *db, struct store_actor *a, int64_t namespace_number)
{
	int64_t last;
	sqlite3_stmt *st = store_db_use(db, SQL_ACTOR_LAST_CREATED);
	store_db_bind_int(st, 1, namespace_number);
	int result = store_db_number(db, st, &last);
	if (result != 0)
		return result;
	if (last >= a->create_ts && last - a->create_ts < LIMIT_CREATE_AHEAD_MS)
		a->create_ts = last + 1;
	return 0;
}

static int insert(struct store_db *db, struct store_actor_create *c, int64_t namespace_number)
{
	const struct store_actor *a = &c->actor;
	sqlite3_stmt *st = store_db_use(db, SQL_ACTOR_ADD);
	store_db_bind_text(st, 1, a->id);
	store_db_bind_int(st, 2, namespace_number);
	store_db_bind_text(st, 3, a->name);
	store_db_bind_text(st, 4, a->key);
	store_db_bind_text(st, 5, a->runner_name_selector);
	store_db_bind_int(st, 6, a->crash_policy);
	store_db_bind_int(st, 7, c->input != NULL);
	store_db_bind_int(st, 12, a->create_ts);
	store_record_bind(st, a);
	return store_db_run(db, st);
}

static int insert_input(struct store_db *db, const struct store_actor_create *c)
{
	if (c->input == NULL)
		return 0;
	sqlite3_stmt *st = store_db_use(db, SQL_INPUT_PUT);
	store_db_bind_int(st, 1, (int64_t)c->actor.number);
	store_db_bind_bytes(st, 2, c->input, c->input_len);
	return store_db_run(db, st);
}

static int remember_name(struct store_db *db, int64_t namespace_number, const char *name)
{
	sqlite3_stmt *st = store_db_use(db, SQL_NAME_ADD);
	store_db_bind_int(st, 1, namespace_number);
	store_db_bind_text(st, 2, name);
	return store_db_run(db, st);
}

static int on_create(struct store_db *db, struct store_job *job)
{
	struct store_actor_create *c = CONTAINER_OF(job, struct store_actor_create, job);
	struct store_actor *a = &c->actor;
	int64_t namespace_number;
	int result = store_record_namespace(db, a->namespace_name, &namespace_number);
	if (result != 0)
		return result;
	if (a->key != NULL) {
		struct store_actor found = {0};
		result = store_record_by_key(db, a->namespace_name, a->name, a->key, &found);
		if (result == 0) {
			store_actor_clear(a);
			*a = found;
			return c->get_or_create ? STORE_ACTOR_EXISTED : STORE_ACTOR_KEY_TAKEN;
		}
		if (result < 0)
			return result;
	}
	result = make_time_unique(db, a, namespace_number);
	if (result == 0)
		result = insert(db, c, namespace_number);
	if (result < 0)
		return result;
	a->number = (uint64_t)sqlite3_last_insert_rowid(db->handle);
	a->has_input = c->input != NULL;
	result = insert_input(db, c);
	return result < 0 ? result : remember_name(db, namespace_number, a->name);
}

void store_actor_create(struct store *s, struct store_actor_create *c)
{
	CHECK(c->actor.id != NULL && c->actor.namespace_name != NULL && c->actor.name != NULL);
	CHECK(c->actor.destroy_ts == 0);
	c->job.bytes = c->input_len;
	submit(s, &c->job, on_create, true);
}

void store_actor_create_clear(struct store_actor_create *c)
{
	store_actor_clear(&c->actor);
	mem_free(TAKE(c->input));
	c->input_len = 0;
}

static int on_find(struct store_db *db, struct store_job *job)
{
	struct store_actor_find *f = CONTAINER_OF(job, struct store_actor_find, job);
	int64_t namespace_number;
	store_actor_clear(&f->actor);
	if (f->id != NULL)
		return store_record_by_id(db, f->id, &f->actor);
	int result = store_record_by_key(db, f->namespace_name, f->name, f->key, &f->actor);
	if (result != STORE_ACTOR_ABSENT)
		return result;
	result = store_record_namespace(db, f->namespace_name, &namespace_number);
	return result == 0 ? STORE_ACTOR_ABSENT : result;
}

void store_actor_find(struct store *s, struct store_actor_find *f)
{
	CHECK(f->id != NULL || (f->namespace_name != NULL && f->name != NULL && f->key != NULL));
	submit(s, &f->job, on_find, false);
}

void store_actor_find_clear(struct store_actor_find *f)
{
	store_actor_clear(&f->actor);
	mem_free(TAKE(f->id));
	mem_free(TAKE(f->namespace_name));
	mem_free(TAKE(f->name));
	mem_free(TAKE(f->key));
}

static int delete_state(struct store_db *db, uint64_t number)
{
	static const enum store_sql deletes[] = {SQL_ALARM_CLEAR, SQL_INPUT_DELETE};
	for (size_t i = 0; i < ARRAY_SIZE(deletes); i++) {
		sqlite3_stmt *st = store_db_use(db, deletes[i]);
		store_db_bind_int(st, 1, (int64_t)number);
		int result = store_db_run(db, st);
		if (result < 0)
			return result;
	}
	return store_doomed_add(db, number);
}

static int on_save(struct store_db *db, struct store_job *job)
{
	struct store_actor_save *v = CONTAINER_OF(job, struct store_actor_save, job);
	sqlite3_stmt *st = store_db_use(db, v->destroy ? SQL_ACTOR_DESTROY : SQL_ACTOR_SAVE);
	store_record_bind(st, &v->actor);
	if (v->destroy)
		store_db_bind_int(st, 19, v->actor.destroy_ts);
	store_db_bind_int(st, 20, (int64_t)v->actor.number);
	int result = store_db_run(db, st);
	if (result < 0)
		return result;
	if (sqlite3_changes(db->handle) == 0)
		return STORE_ACTOR_ABSENT;
	return v->destroy ? delete_state(db, v->actor.number) : 0;
}

void store_actor_save(struct store *s, struct store_actor_save *v)
{
	if (v->destroy) {
		if (v->actor.destroy_ts == 0)
			v->actor.destroy_ts = clock_wall_ms();
		v->actor.running = v->actor.wake_wanted = false;
	}
	submit(s, &v->job, on_save, true);
}

void store_actor_save_clear(struct store_actor_save *v)
{
	store_actor_clear(&v->actor);
}

static int on_input(struct store_db *db, struct store_job *job)
{
	struct store_actor_input *q = CONTAINER_OF(job, struct store_actor_input, job);
	mem_free(TAKE(q->input));
	q->input_len = 0;
	sqlite3_stmt *st = store_db_use(db, SQL_INPUT_GET);
	store_db_bind_int(st, 1, (int64_t)q->number);
	int result = store_db_step(db, st);
	if (result != STORE_DB_ROW)
		return result;
	q->input = store_db_bytes(st, 0, &q->input_len);
	store_db_end(st);
	return 0;
}

void store_actor_input(struct store *s, struct store_actor_input *q)
{
	submit(s, &q->job, on_input, false);
}

void store_actor_input_clear(struct store_actor_input *q)
{
	mem_free(TAKE(q->input));
	q->input_len = 0;
}
