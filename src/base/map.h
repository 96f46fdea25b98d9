/* Bounded hash map with byte-string keys, SipHash-2-4 with a random key per
 * process, because the keys come from strangers. Intrusive: the node lives in
 * the owner's struct and the key bytes are borrowed from it; both must stay
 * put while the node is in the map. */
#pragma once

#include "base/slice.h"

struct map_node {
	struct map_node *next;
	uint64_t hash;
	struct slice key;
};

struct map {
	struct map_node **slots;
	size_t n_slots; /* a power of two, or 0 */
	size_t count;
	size_t max;
};

enum map_outcome {
	MAP_FULL = 1, /* max entries are in */
	MAP_TAKEN,    /* the key is in already */
};

/* At most max entries. No memory is taken yet. */
void map_init(struct map *m, size_t max);

/* The map must be empty; frees the slots. */
void map_done(struct map *m);

/* 0, MAP_FULL or MAP_TAKEN. */
int map_put(struct map *m, struct map_node *node, struct slice key) MUST_CHECK;

/* The node, or NULL. */
struct map_node *map_get(const struct map *m, struct slice key);

/* The node must be in the map. */
void map_remove(struct map *m, struct map_node *node);

/* Any node, or NULL when empty; for tearing down. */
struct map_node *map_any(const struct map *m);

/* Calls fn for each node in no order. fn may remove the node it is given and
 * no other; it must not add. */
void map_each(struct map *m, void (*fn)(struct map_node *node, void *arg), void *arg);

/* SipHash-2-4 of s under key[2]; for tests and stable hashes. */
uint64_t map_siphash(const uint64_t key[2], struct slice s);
