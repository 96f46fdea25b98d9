/* An actor's key-value state. Keys are ordered by bytes (memcmp). Limits and reserved keys are the caller's business.
 */
#pragma once

#include "base/buf.h"
#include "store/store.h"

enum store_kv_kind {
	STORE_KV_GET,          /* keys[] -> entries, absent ones left out, in the order asked */
	STORE_KV_PUT,          /* keys[], values[]; and gets[] -> entries, as they were before */
	STORE_KV_DELETE,       /* keys[]; likewise */
	STORE_KV_LIST,         /* range -> entries; more: next_key set */
	STORE_KV_DELETE_RANGE, /* range; keys beginning with byte 0 are always kept */
};

/* Outcome of a job: may_write said no. */
#define STORE_KV_HELD 1

struct store_kv_pair {
	uint8_t *key, *value; /* in: value NULL for GET and DELETE; out: never NULL */
	size_t key_len, value_len;
	int64_t updated_wall_ms; /* PUT: 0 means now */
};

/* Owned memory throughout: freed by store_kv_clear. */
struct store_kv {
	struct store_job job;
	uint64_t actor_number;
	enum store_kv_kind kind;
	struct store_kv_pair *pairs; /* in */
	size_t n_pairs;
	struct store_kv_pair *gets; /* in: keys, of PUT and DELETE */
	size_t n_gets;
	/* NULL, or asked on the store's thread once the gets are there: false, and nothing is written (STORE_KV_HELD).
	 */
	bool (*may_write)(const struct store_kv *op);
	/* LIST and DELETE_RANGE; NULL: unbounded. start included, end included unless end_exclusive. */
	uint8_t *start, *end;
	size_t start_len, end_len;
	bool end_exclusive, reverse;
	bool with_reserved;            /* LIST: also keys that begin with byte 0 */
	size_t limit, bytes_max;       /* LIST */
	struct store_kv_pair *entries; /* out */
	size_t n_entries;
	uint8_t
	    *next_key; /* out: first key a cut list left out: the next `start`, in reverse the next `end` (included) */
	size_t next_key_len;
	void *user;
};

void store_kv(struct store *s, struct store_kv *op);
void store_kv_clear(struct store_kv *op);
