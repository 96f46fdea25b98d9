/* Chained hash table; doubles at load one, never shrinks below what it has
 * grown to (the bound limits it). */
#include "base/map.h"

#include <sys/random.h>

static uint64_t map_key[2];

static uint64_t rotl(uint64_t v, int by)
{
	return (v << by) | (v >> (64 - by));
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

uint64_t map_siphash(const uint64_t key[2], struct slice s)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
			 key[1] ^ 0x7465646279746573u};
	size_t i = 0;
	uint64_t word;
	for (; i + 8 <= s.n; i += 8) {
		memcpy(&word, s.p + i, 8);
		v[3] ^= word;
		sip_round(v);
		sip_round(v);
		v[0] ^= word;
	}
	word = (uint64_t)(s.n & 0xff) << 56;
	for (size_t j = 0; i + j < s.n; j++)
		word |= (uint64_t)s.p[i + j] << (8 * j);
	v[3] ^= word;
	sip_round(v);
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int r = 0; r < 4; r++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m, size_t max)
{
	CHECK(max > 0);
	while (map_key[0] == 0)
		CHECK(getrandom(map_key, sizeof(map_key), 0) == (ssize_t)sizeof(map_key));
	*m = (struct map){.max = max};
}

void map_done(struct map *m)
{
	CHECK(m->count == 0);
	mem_free(m->slots);
	*m = (struct map){.max = m->max};
}

static struct map_node **slot_of(const struct map *m, uint64_t hash)
{
	return &m->slots[hash & (m->n_slots - 1)];
}

static void grow(struct map *m)
{
	struct map old = *m;
	m->n_slots = old.n_slots == 0 ? 16 : old.n_slots * 2;
	/* An array of pointers is meant. NOLINTNEXTLINE(bugprone-sizeof-expression) */
	m->slots = mem_zalloc(m->n_slots * sizeof(*m->slots));
	for (size_t i = 0; i < old.n_slots; i++) {
		for (struct map_node *node = old.slots[i], *next; node != NULL; node = next) {
			next = node->next;
			struct map_node **slot = slot_of(m, node->hash);
			node->next = *slot;
			*slot = node;
		}
	}
	mem_free(old.slots);
}

static struct map_node *lookup(const struct map *m, uint64_t hash, struct slice key)
{
	if (m->count == 0)
		return NULL;
	for (struct map_node *node = *slot_of(m, hash); node != NULL; node = node->next) {
		if (node->hash == hash && slice_eq(node->key, key))
			return node;
	}
	return NULL;
}

int map_put(struct map *m, struct map_node *node, struct slice key)
{
	uint64_t hash = map_siphash(map_key, key);
	if (lookup(m, hash, key) != NULL)
		return MAP_TAKEN;
	if (m->count >= m->max)
		return MAP_FULL;
	if (m->count >= m->n_slots)
		grow(m);
	struct map_node **slot = slot_of(m, hash);
	*node = (struct map_node){.next = *slot, .hash = hash, .key = key};
	*slot = node;
	m->count++;
	return 0;
}

struct map_node *map_get(const struct map *m, struct slice key)
{
	return lookup(m, map_siphash(map_key, key), key);
}

void map_remove(struct map *m, struct map_node *node)
{
	CHECK(m->n_slots > 0);
	struct map_node **at = slot_of(m, node->hash);
	while (*at != node) {
		CHECK(*at != NULL);
		at = &(*at)->next;
	}
	*at = node->next;
	node->next = NULL;
	m->count--;
}

struct map_node *map_any(const struct map *m)
{
	for (size_t i = 0; i < m->n_slots; i++) {
		if (m->slots[i] != NULL)
			return m->slots[i];
	}
	return NULL;
}

void map_each(struct map *m, void (*fn)(struct map_node *node, void *arg), void *arg)
{
	for (size_t i = 0; i < m->n_slots; i++) {
		for (struct map_node *node = m->slots[i], *next; node != NULL; node = next) {
			next = node->next;
			fn(node, arg);
		}
	}
}
