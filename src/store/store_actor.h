/* Actor records, namespaces and pool configurations as the engine's API shows them. */
#pragma once

#include "base/buf.h"
#include "store/store.h"

enum store_actor_outcome {
	STORE_ACTOR_ABSENT = 1, /* no such (living, where asked) actor */
	STORE_ACTOR_KEY_TAKEN,  /* a living actor of that namespace and name has the key */
	STORE_ACTOR_EXISTED,    /* get-or-create found one */
	STORE_NAMESPACE_ABSENT,
	STORE_NAMESPACE_TAKEN,
	STORE_NAMESPACE_FULL, /* LIMIT_NAMESPACES */
	STORE_POOLS_FULL,     /* LIMIT_POOLS in that namespace */
};

enum crash_policy { CRASH_SLEEP, CRASH_RESTART, CRASH_DESTROY };

/* One record. Text fields are owned by the record; NULL means null. Times are wall milliseconds; 0 means null. */
struct store_actor {
	uint64_t number; /* short internal number, key of the actor's state */
	char *id;        /* 30 characters */
	char *namespace_name;
	char *name;
	char *key; /* NULL: none */
	char *runner_name_selector;
	uint8_t crash_policy; /* enum crash_policy */
	bool has_input;
	bool running;       /* was started and not reported stopped: survives a crash of the daemon */
	bool wake_wanted;   /* to be started without a request (crash policy restart, created just now) */
	uint8_t crashes;    /* starts in a row without a minute of health, saturating */
	int64_t generation; /* of the latest start; -1 before the first */
	int64_t create_ts, start_ts, connectable_ts, sleep_ts, reschedule_ts, destroy_ts, pending_allocation_ts;
	char *error_json;         /* the API's `error` member, or NULL */
	int64_t alarm_at_wall_ms; /* 0: none */
};

void store_actor_clear(struct store_actor *a); /* frees the text, zeroes the struct */
void store_actor_copy(struct store_actor *to, const struct store_actor *from);

/* Create, or get-or-create by (namespace, name, key). In: `actor` filled but number; `input` (owned, may be NULL).
 * Out: result 0 with number set, and create_ts up to LIMIT_CREATE_AHEAD_MS later where that makes it unlike any other
 * of the namespace; STORE_ACTOR_KEY_TAKEN (create) or STORE_ACTOR_EXISTED (get_or_create) with `actor` replaced by the
 * one that is there; STORE_NAMESPACE_ABSENT. */
struct store_actor_create {
	struct store_job job;
	bool get_or_create;
	struct store_actor actor;
	uint8_t *input;
	size_t input_len;
	void *user;
};
void store_actor_create(struct store *s, struct store_actor_create *c);
void store_actor_create_clear(struct store_actor_create *c);

/* Find one living or destroyed actor by id, or one living by namespace, name and key. Out: `actor`; 0 or
 * STORE_ACTOR_ABSENT. */
struct store_actor_find {
	struct store_job job;
	char *id;                          /* either this (destroyed ones are found too) */
	char *namespace_name, *name, *key; /* or these */
	struct store_actor actor;
	void *user;
};
void store_actor_find(struct store *s, struct store_actor_find *f);
void store_actor_find_clear(struct store_actor_find *f);

/* Writes the life cycle fields of a record (everything but identity: generation, times, running, wake_wanted,
 * crashes, error_json; not the alarm, and destroy_ts only with `destroy`). destroy: also deletes its keys, alarm, input
 * and frees its key for others; destroy_ts 0 means now. Result 0, or STORE_ACTOR_ABSENT when it is destroyed already.
 */
struct store_actor_save {
	struct store_job job;
	struct store_actor actor;
	bool destroy;
	void *user;
};
void store_actor_save(struct store *s, struct store_actor_save *v);
void store_actor_save_clear(struct store_actor_save *v);

/* Lists, newest first. Out: actors[n] (cleared by _clear). With a key: the living actor that has it, or none. An
 * unknown namespace is an empty list. */
struct store_actor_list {
	struct store_job job;
	char *namespace_name;
	char *name, *key; /* NULL: any */
	char **ids;       /* NULL: any; else n_ids ids, which also finds destroyed ones */
	size_t n_ids;
	bool include_destroyed;
	bool every_namespace;     /* living ones of all namespaces, by name (NULL: any), newest first by number */
	bool only_wanted;         /* running or wake_wanted, all namespaces: what to restore when the daemon starts */
	int64_t before_create_ts; /* cursor; 0: none */
	uint64_t before_number;   /* with the cursor: rows of that very time below this number follow too; 0: none do */
	size_t limit;             /* 1 to 1000 */
	struct store_actor *actors;
	size_t n;
	void *user;
};
void store_actor_list(struct store *s, struct store_actor_list *q);
void store_actor_list_clear(struct store_actor_list *q);

/* The creation input. Out: input (owned by the job until cleared), NULL when none. */
struct store_actor_input {
	struct store_job job;
	uint64_t number;
	uint8_t *input;
	size_t input_len;
	void *user;
};
void store_actor_input(struct store *s, struct store_actor_input *q);
void store_actor_input_clear(struct store_actor_input *q);

/* Names ever created in a namespace, ordered, after `after` (NULL: from the start). Out: names[n]; 0 or
 * STORE_NAMESPACE_ABSENT. */
struct store_actor_names {
	struct store_job job;
	char *namespace_name, *after;
	size_t limit;
	char **names;
	size_t n;
	void *user;
};
void store_actor_names(struct store *s, struct store_actor_names *q);
void store_actor_names_clear(struct store_actor_names *q);

struct store_namespace {
	char *id, *name, *display_name;
	int64_t create_ts;
};

/* Create (create.name != NULL; result 0, STORE_NAMESPACE_TAKEN or STORE_NAMESPACE_FULL) or list all in order of
 * creation. `default` is made by store_open. */
struct store_namespaces {
	struct store_job job;
	struct store_namespace create;
	struct store_namespace *all;
	size_t n;
	void *user;
};
void store_namespaces(struct store *s, struct store_namespaces *q);
void store_namespaces_clear(struct store_namespaces *q);

/* Pool configurations: put (config_json != NULL), remove, or list one namespace (with a name: that pool or none).
 * `default` exists in namespace `default` with {"normal":{}}. Result 0, STORE_NAMESPACE_ABSENT or STORE_POOLS_FULL. */
struct store_pool {
	char *name, *config_json;
};
struct store_pools {
	struct store_job job;
	char *namespace_name, *name, *config_json;
	bool remove;
	struct store_pool *all;
	size_t n;
	void *user;
};
void store_pools(struct store *s, struct store_pools *q);
void store_pools_clear(struct store_pools *q);
