/* Runner protocol: what both directions share.
 *
 * Lists are checked by reading every element once when the message is decoded;
 * walking reads them again, over bytes that are known to be good. A map is a
 * list of pairs in which no key may come twice: a small set of hashes tells
 * which keys can have been there before, and only for those the pairs read so
 * far are read again. */
#include "codec/runner_inner.h"

#include "base/limits.h"

/* ---- reading ---- */

struct runner_list runner_list_read(struct bare_reader *r, size_t element_min, runner_element *element)
{
	size_t n = bare_count(r, element_min);
	const uint8_t *p = r->p;
	for (size_t i = 0; i < n && r->outcome == 0; i++)
		element(r);
	if (r->outcome != 0)
		return (struct runner_list){0};
	return runner_list_of(slice_of(p, (size_t)(r->p - p)), n);
}

static bool has_key(struct slice pairs, size_t n, struct slice key)
{
	struct runner_walk w = runner_walk_of(runner_list_of(pairs, n));
	struct slice other, value;
	while (runner_pair_next(&w, &other, &value)) {
		if (slice_eq(other, key))
			return true;
	}
	return false;
}

/* One of 256; keys of strangers may well collide, which costs time within LIMIT_BARE_MAP_KEYS. */
static unsigned hash_of(struct slice key)
{
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < key.n; i++)
		h = (h ^ key.p[i]) * 16777619u;
	return (h ^ h >> 8 ^ h >> 16 ^ h >> 24) & 255;
}

struct runner_list runner_pairs_read(struct bare_reader *r)
{
	uint64_t seen[4] = {0};
	size_t n = bare_count(r, 2);
	const uint8_t *p = r->p;
	if (n > LIMIT_BARE_MAP_KEYS)
		bare_fail(r, BARE_MANY);
	for (size_t i = 0; i < n && r->outcome == 0; i++) {
		size_t before = (size_t)(r->p - p);
		struct slice key = bare_str(r);
		unsigned hash = hash_of(key);
		uint64_t bit = (uint64_t)1 << (hash & 63);
		if ((seen[hash / 64] & bit) != 0 && has_key(slice_of(p, before), i, key))
			bare_fail(r, BARE_TWICE);
		seen[hash / 64] |= bit;
		bare_str(r);
	}
	if (r->outcome != 0)
		return (struct runner_list){0};
	return runner_list_of(slice_of(p, (size_t)(r->p - p)), n);
}

static void skip_bytes(struct bare_reader *r)
{
	bare_data(r);
}

struct runner_list runner_bytes_read(struct bare_reader *r)
{
	return runner_list_read(r, 1, skip_bytes);
}

struct runner_checkpoint runner_checkpoint_read(struct bare_reader *r)
{
	struct runner_checkpoint c;
	c.actor_id = bare_str(r);
	c.generation = bare_u32(r);
	c.index = bare_i64(r);
	return c;
}

static void skip_checkpoint(struct bare_reader *r)
{
	runner_checkpoint_read(r);
}

struct runner_list runner_checkpoints_read(struct bare_reader *r)
{
	return runner_list_read(r, 1 + 4 + 8, skip_checkpoint);
}

static void skip_socket_id(struct bare_reader *r)
{
	bare_fixed(r, 8);
}

struct runner_list runner_socket_ids_read(struct bare_reader *r)
{
	return runner_list_read(r, 8, skip_socket_id);
}

static struct runner_kv_metadata read_kv_metadata(struct bare_reader *r)
{
	struct runner_kv_metadata m;
	m.version = bare_data(r);
	m.update_ms = bare_i64(r);
	return m;
}

static void skip_kv_metadata(struct bare_reader *r)
{
	read_kv_metadata(r);
}

struct runner_list runner_kv_metadata_read(struct bare_reader *r)
{
	return runner_list_read(r, 1 + 8, skip_kv_metadata);
}

struct runner_message_id runner_message_id_read(struct bare_reader *r)
{
	struct runner_message_id id = {.index = 0};
	const uint8_t *p = bare_fixed(r, 8);
	if (p != NULL) {
		memcpy(id.gateway, p, 4);
		memcpy(id.request, p + 4, 4);
	}
	id.index = bare_u16(r);
	return id;
}

struct slice runner_optional_data_read(struct bare_reader *r, bool *ret_has)
{
	*ret_has = bare_bool(r);
	return *ret_has ? bare_data(r) : SLICE_NONE;
}

struct slice runner_optional_str_read(struct bare_reader *r, bool *ret_has)
{
	*ret_has = bare_bool(r);
	return *ret_has ? bare_str(r) : SLICE_NONE;
}

uint16_t runner_optional_u16_read(struct bare_reader *r, bool *ret_has)
{
	*ret_has = bare_bool(r);
	return *ret_has ? bare_u16(r) : 0;
}

int64_t runner_optional_i64_read(struct bare_reader *r, bool *ret_has)
{
	*ret_has = bare_bool(r);
	return *ret_has ? bare_i64(r) : 0;
}

/* ---- walking ---- */

struct runner_walk runner_walk_of(struct runner_list list)
{
	return (struct runner_walk){.r = bare_reader_of(list.bytes), .left = list.count};
}

/* False when there is no further element. */
static bool step(struct runner_walk *w)
{
	if (w->left == 0)
		return false;
	w->left--;
	return true;
}

bool runner_checkpoint_next(struct runner_walk *w, struct runner_checkpoint *ret)
{
	if (!step(w))
		return false;
	*ret = runner_checkpoint_read(&w->r);
	CHECK(w->r.outcome == 0);
	return true;
}

bool runner_pair_next(struct runner_walk *w, struct slice *ret_key, struct slice *ret_value)
{
	if (!step(w))
		return false;
	*ret_key = bare_data(&w->r);
	*ret_value = bare_data(&w->r);
	CHECK(w->r.outcome == 0);
	return true;
}

bool runner_bytes_next(struct runner_walk *w, struct slice *ret)
{
	if (!step(w))
		return false;
	*ret = bare_data(&w->r);
	CHECK(w->r.outcome == 0);
	return true;
}

bool runner_socket_id_next(struct runner_walk *w, struct runner_socket_id *ret)
{
	if (!step(w))
		return false;
	const uint8_t *p = bare_fixed(&w->r, 8);
	CHECK(p != NULL);
	memcpy(ret->gateway, p, 4);
	memcpy(ret->request, p + 4, 4);
	return true;
}

bool runner_kv_metadata_next(struct runner_walk *w, struct runner_kv_metadata *ret)
{
	if (!step(w))
		return false;
	*ret = read_kv_metadata(&w->r);
	CHECK(w->r.outcome == 0);
	return true;
}

/* ---- writing ---- */

void runner_list_write(struct bare_writer *w, struct runner_list list)
{
	bare_put_uint(w, list.count);
	bare_put_raw(w, list.bytes);
}

void runner_checkpoint_write(struct bare_writer *w, const struct runner_checkpoint *c)
{
	bare_put_str(w, c->actor_id);
	bare_put_u32(w, c->generation);
	bare_put_i64(w, c->index);
}

void runner_message_id_write(struct bare_writer *w, const struct runner_message_id *id)
{
	bare_put_raw(w, slice_of(id->gateway, 4));
	bare_put_raw(w, slice_of(id->request, 4));
	bare_put_u16(w, id->index);
}

void runner_optional_data_write(struct bare_writer *w, bool has, struct slice bytes)
{
	bare_put_bool(w, has);
	if (has)
		bare_put_data(w, bytes);
}

void runner_optional_str_write(struct bare_writer *w, bool has, struct slice text)
{
	bare_put_bool(w, has);
	if (has)
		bare_put_str(w, text);
}

void runner_optional_u16_write(struct bare_writer *w, bool has, uint16_t v)
{
	bare_put_bool(w, has);
	if (has)
		bare_put_u16(w, v);
}

void runner_optional_i64_write(struct bare_writer *w, bool has, int64_t v)
{
	bare_put_bool(w, has);
	if (has)
		bare_put_i64(w, v);
}

int runner_checkpoint_put(struct buf *elements, const struct runner_checkpoint *c)
{
	struct bare_writer w = bare_start(elements);
	runner_checkpoint_write(&w, c);
	return bare_end(&w);
}

int runner_pair_put(struct buf *elements, struct slice key, struct slice value)
{
	struct bare_writer w = bare_start(elements);
	bare_put_str(&w, key);
	bare_put_str(&w, value);
	return bare_end(&w);
}

int runner_bytes_put(struct buf *elements, struct slice bytes)
{
	struct bare_writer w = bare_start(elements);
	bare_put_data(&w, bytes);
	return bare_end(&w);
}

int runner_socket_id_put(struct buf *elements, const struct runner_socket_id *id)
{
	struct bare_writer w = bare_start(elements);
	bare_put_raw(&w, slice_of(id->gateway, 4));
	bare_put_raw(&w, slice_of(id->request, 4));
	return bare_end(&w);
}

int runner_kv_metadata_put(struct buf *elements, const struct runner_kv_metadata *m)
{
	struct bare_writer w = bare_start(elements);
	bare_put_data(&w, m->version);
	bare_put_i64(&w, m->update_ms);
	return bare_end(&w);
}
