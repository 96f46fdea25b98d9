/* Actor records as rows. Private to store/. */
#pragma once

#include "store/store_actor.h"
#include "store/store_db.h"

/* The row at which an ACTOR_... statement stands, as an owned record. */
void store_record_read(sqlite3_stmt *st, struct store_actor *ret);

/* Life cycle fields, parameters 8 to 18 of ACTOR_ADD and ACTOR_SAVE. */
void store_record_bind(sqlite3_stmt *st, const struct store_actor *a);

/* One record of a bound statement into *ret (replaced): 0, STORE_ACTOR_ABSENT or -errno. */
int store_record_one(struct store_db *db, sqlite3_stmt *st, struct store_actor *ret);

/* The living actor with this key; as store_record_one. */
int store_record_by_key(struct store_db *db, const char *namespace_name, const char *name, const char *key,
			struct store_actor *ret);
int store_record_by_id(struct store_db *db, const char *id, struct store_actor *ret);

/* Number of a namespace: 0, STORE_NAMESPACE_ABSENT or -errno. */
int store_record_namespace(struct store_db *db, const char *name, int64_t *ret);
