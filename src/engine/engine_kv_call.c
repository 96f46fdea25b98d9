/* A worker's state call as requests to the engine.
 *
 * Get, put and delete are one request each, a batch that gets and writes one after
 * the other: the engine has nothing for both. A list is read in pages, because
 * the engine works on nothing else meanwhile: always as a range (its prefix
 * query misses keys), upwards with values; downwards it is asked for the keys
 * only, and their values are fetched by name (it cuts long values then). The
 * range never reaches down to the reserved keys. Deleting everything is a
 * range and the one key no end can lie behind.
 *
 * Failure paths: an answer of another kind, or lists of different length, ends
 * the call as unavailable; an actor that is not this runner's any more is a
 * stale incarnation. */
#include "engine/engine_kv_private.h"

#include <stdio.h>

#define PAGE_FIRST 32 /* values of the largest size, and the page is still 4 MiB */
#define PAGE_MOST 256

struct call {
	struct engine_kv *kv;
	struct runtime_call *call;
	char actor_id[64];
	engine_kv_answered *answered;
	void (*over)(void *arg);
	void *arg;
	bool partly; /* a write of several requests, some of them done */
	/* Lists. */
	struct buf from, to;
	bool to_excluded;
	size_t page; /* entries asked for */
	size_t bytes, room;
	struct runtime_kv_pair *entries; /* own memory, one allocation for key and value of each; also what a batch that
					    writes has got */
	size_t n;
	uint8_t *next;
	size_t next_len;
	struct buf keys; /* the page's, going down */
	size_t n_keys;
};

static const uint8_t first_key[] = {1};

static void last_key(struct buf *b)
{
	buf_reset(b);
	uint8_t *p = buf_reserve(b, LIMIT_KV_KEY_BYTES);
	CHECK(p != NULL);
	memset(p, 0xff, LIMIT_KV_KEY_BYTES);
	buf_claim(b, LIMIT_KV_KEY_BYTES);
}

static void release(struct call *c)
{
	for (size_t i = 0; i < c->n; i++)
		mem_free((void *)(uintptr_t)c->entries[i].key.p);
	mem_free(c->entries);
	mem_free(c->next);
	buf_done(&c->from);
	buf_done(&c->to);
	buf_done(&c->keys);
	mem_free(c);
}

static void answer(struct call *c, enum runtime_outcome outcome)
{
	void (*over)(void *) = c->over;
	void *arg = c->arg;
	c->answered(c->call, outcome);
	release(c);
	over(arg);
}

static bool writes(const struct runtime_call *call)
{
	return call->kind == RUNTIME_KV_PUT || call->kind == RUNTIME_KV_DELETE || call->kind == RUNTIME_KV_DELETE_RANGE;
}

static bool says(struct slice text, const char *words)
{
	return memmem(text.p, text.n, words, strlen(words)) != NULL;
}

static void answer_refused(struct call *c, struct slice words)
{
	MEM_AUTO char *text = NULL;
	if (words.n > 0 && (says(words, "does not belong") || says(words, "does not exist"))) {
		c->call->message = "the engine has given this actor to another incarnation, or destroyed it";
		engine_disowned(engine_kv_engine(c->kv), c->actor_id);
		answer(c, RUNTIME_STALE);
		return;
	}
	if (words.n > 0 && says(words, "quota_exceeded")) {
		c->call->message = "the actor's storage in the engine is full; nothing was written";
		answer(c, RUNTIME_DISK_FULL);
		return;
	}
	text = mem_printf("the engine refused: %.*s", SLICE_FMT(slice_head(words, words.n < 200 ? words.n : 200)));
	c->call->message = text;
	c->call->indeterminate = c->partly;
	answer(c, RUNTIME_UNAVAILABLE);
}

/* Anything but an answer of the kind wanted. False: there is one, go on. */
static bool failed(struct call *c, enum engine_kv_outcome outcome, const struct runner_kv_response *r,
		   enum runner_kv_answer wanted)
{
	switch (outcome) {
	case ENGINE_KV_OK:
		if (r->answer == wanted && r->keys.count == r->values.count && r->keys.count == r->metadata.count)
			return false;
		c->call->message = "the engine's answer made no sense";
		c->call->indeterminate = writes(c->call);
		answer(c, RUNTIME_UNAVAILABLE);
		return true;
	case ENGINE_KV_REFUSED:
		answer_refused(c, r->error);
		return true;
	case ENGINE_KV_UNSENT:
		c->call->indeterminate = c->partly;
		c->call->message = c->partly ? "the engine cannot be reached any more; a part was deleted"
					     : "the engine cannot be reached; nothing was written";
		answer(c, RUNTIME_UNAVAILABLE);
		return true;
	case ENGINE_KV_UNKNOWN:
		c->call->indeterminate = writes(c->call);
		c->call->message = c->call->indeterminate
				       ? "the engine did not answer; the write may or may not have been done"
				       : "the engine did not answer";
		answer(c, RUNTIME_UNAVAILABLE);
		return true;
	}
	IMPOSSIBLE("engine_kv_outcome");
}

static void submit(struct call *c, struct runner_kv_request *q, engine_kv_done *done)
{
	q->actor_id = slice_str(c->actor_id);
	engine_kv_submit(c->kv, q, done, c);
}

/* ---- get, put, delete ---- */

/* In memory of its own, which begins at the key. */
static struct runtime_kv_pair own(struct slice key, struct slice value, int64_t updated_wall_ms)
{
	uint8_t *p = mem_alloc(key.n + value.n + 1);
	if (key.n > 0)
		memcpy(p, key.p, key.n);
	if (value.n > 0)
		memcpy(p + key.n, value.p, value.n);
	return (struct runtime_kv_pair){
	    .key = slice_of(p, key.n), .value = slice_of(p + key.n, value.n), .updated_wall_ms = updated_wall_ms};
}

/* Finds a key in a Get or List answer. */
static bool find_value(const struct runner_kv_response *r, struct slice key, struct runtime_kv_pair *ret)
{
	struct runner_walk keys = runner_walk_of(r->keys), values = runner_walk_of(r->values),
			   metadata = runner_walk_of(r->metadata);
	struct slice k, v;
	struct runner_kv_metadata m;
	while (runner_bytes_next(&keys, &k) && runner_bytes_next(&values, &v) &&
	       runner_kv_metadata_next(&metadata, &m)) {
		if (!slice_eq(k, key))
			continue;
		*ret = (struct runtime_kv_pair){.key = key, .value = v, .updated_wall_ms = m.update_ms};
		return true;
	}
	return false;
}

static void on_got(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	struct runtime_call *call = c->call;
	if (failed(c, outcome, r, RUNNER_KV_ANSWER_GET))
		return;
	struct runtime_kv_pair found[LIMIT_KV_BATCH_KEYS];
	size_t n = 0;
	for (size_t i = 0; i < call->n_pairs; i++)
		n += find_value(r, call->pairs[i].key, &found[n]);
	call->entries = found;
	call->n_entries = n;
	answer(c, RUNTIME_OK);
}

/* With what a batch has got. */
static void answer_got(struct call *c)
{
	c->call->entries = c->entries;
	c->call->n_entries = c->n;
	answer(c, RUNTIME_OK);
}

static void on_put(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	if (!failed(c, outcome, r, RUNNER_KV_ANSWER_PUT))
		answer_got(c);
}

static void on_deleted(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	if (!failed(c, outcome, r, RUNNER_KV_ANSWER_DELETE))
		answer_got(c);
}

static void submit_pairs(struct call *c, enum runner_kv_op op, const struct runtime_kv_pair *pairs, size_t n,
			 engine_kv_done *done)
{
	struct buf keys, values;
	buf_init(&keys, LIMIT_ENGINE_KV_FRAME_BYTES);
	buf_init(&values, LIMIT_ENGINE_KV_FRAME_BYTES);
	CHECK(n <= LIMIT_KV_BATCH_KEYS);
	for (size_t i = 0; i < n; i++) {
		CHECK(runner_bytes_put(&keys, pairs[i].key) == 0);
		if (op == RUNNER_KV_PUT)
			CHECK(runner_bytes_put(&values, pairs[i].value) == 0);
	}
	struct runner_kv_request q = {.op = op, .keys = runner_list_of(buf_slice(&keys), n)};
	if (op == RUNNER_KV_PUT)
		q.values = runner_list_of(buf_slice(&values), n);
	submit(c, &q, done);
	buf_done(&keys);
	buf_done(&values);
}

static void submit_write(struct call *c)
{
	bool put = c->call->kind == RUNTIME_KV_PUT;
	submit_pairs(c, put ? RUNNER_KV_PUT : RUNNER_KV_DELETE, c->call->pairs, c->call->n_pairs,
		     put ? on_put : on_deleted);
}

static void on_got_before(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	struct runtime_call *call = c->call;
	struct runtime_kv_pair found;
	if (failed(c, outcome, r, RUNNER_KV_ANSWER_GET))
		return;
	c->entries = mem_zalloc(call->n_gets * sizeof(*c->entries));
	for (size_t i = 0; i < call->n_gets; i++) {
		if (find_value(r, call->gets[i].key, &found))
			c->entries[c->n++] = own(found.key, found.value, found.updated_wall_ms);
	}
	if (runtime_entries_fit(c->entries, c->n, call->utf8))
		submit_write(c);
	else
		answer_got(c); /* nothing is written, and the answer says why */
}

static void start_pairs(struct call *c)
{
	const struct runtime_call *call = c->call;
	if (call->n_gets > 0)
		submit_pairs(c, RUNNER_KV_GET, call->gets, call->n_gets, on_got_before);
	else if (writes(call))
		submit_write(c);
	else
		submit_pairs(c, RUNNER_KV_GET, call->pairs, call->n_pairs, on_got);
}

/* ---- ranges ---- */

static void set_bounds(struct call *c)
{
	const struct runtime_call *call = c->call;
	struct slice from = call->has_start ? call->start : SLICE_NONE;
	if (from.n == 0 || from.p[0] == 0)
		from = slice_of(first_key, sizeof(first_key));
	buf_add(&c->from, from);
	if (call->has_end)
		buf_add(&c->to, call->end);
	else
		last_key(&c->to);
	c->to_excluded = call->has_end && call->end_exclusive;
}

static void on_range_deleted(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	if (failed(c, outcome, r, RUNNER_KV_ANSWER_DELETE))
		return;
	if (c->call->has_end) {
		answer(c, RUNTIME_OK);
		return;
	}
	struct runner_kv_request q = {.op = RUNNER_KV_DELETE};
	c->partly = true;
	CHECK(runner_bytes_put(&c->keys, buf_slice(&c->to)) == 0);
	q.keys = runner_list_of(buf_slice(&c->keys), 1);
	submit(c, &q, on_deleted);
}

static void start_delete_range(struct call *c)
{
	set_bounds(c);
	submit(c,
	       &(struct runner_kv_request){
		   .op = RUNNER_KV_DELETE_RANGE, .start = buf_slice(&c->from), .end = buf_slice(&c->to)},
	       on_range_deleted);
}

/* ---- lists ---- */

static void ask_page(struct call *c);

static void list_done(struct call *c)
{
	struct runtime_call *call = c->call;
	call->entries = c->entries;
	call->n_entries = c->n;
	call->has_next = c->next != NULL;
	call->next = slice_of(c->next, c->next_len);
	answer(c, RUNTIME_OK);
}

/* Takes the entry, or leaves its key as the one to go on with: false. As the store of local mode does. */
static bool take_entry(struct call *c, struct slice key, struct slice value, int64_t updated_wall_ms)
{
	size_t row = key.n + value.n;
	if (c->n == c->call->limit ||
	    (c->n > 0 && (c->bytes > LIMIT_KV_LIST_BYTES || row > LIMIT_KV_LIST_BYTES - c->bytes))) {
		c->next = mem_alloc(key.n + 1);
		c->next_len = key.n;
		if (key.n > 0)
			memcpy(c->next, key.p, key.n);
		return false;
	}
	if (c->n == c->room) {
		c->room = c->room == 0 ? PAGE_FIRST : c->room * 2;
		c->entries = mem_realloc(c->entries, c->room * sizeof(*c->entries));
	}
	c->entries[c->n++] = own(key, value, updated_wall_ms);
	c->bytes += row;
	return true;
}

/* The lowest key above this one into `from`. False: there is none. */
static bool go_behind(struct call *c, struct slice key)
{
	size_t n = key.n;
	buf_reset(&c->from);
	if (n < LIMIT_KV_KEY_BYTES) {
		buf_add(&c->from, key);
		buf_add_byte(&c->from, 0);
		return true;
	}
	while (n > 0 && key.p[n - 1] == 0xff)
		n--;
	if (n == 0)
		return false;
	buf_add(&c->from, slice_head(key, n - 1));
	buf_add_byte(&c->from, (uint8_t)(key.p[n - 1] + 1));
	return true;
}

/* As many as are likely to fit. */
static void size_next_page(struct call *c)
{
	size_t left = c->call->limit - c->n + 1, average = c->bytes / (c->n == 0 ? 1 : c->n) + 1;
	size_t fit = c->bytes >= LIMIT_KV_LIST_BYTES ? 1 : (LIMIT_KV_LIST_BYTES - c->bytes) / average + 1;
	c->page = c->page * 4 < PAGE_MOST ? c->page * 4 : PAGE_MOST;
	c->page = fit < c->page ? fit : c->page;
	c->page = left < c->page ? left : c->page;
}

static void on_page(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	if (failed(c, outcome, r, RUNNER_KV_ANSWER_LIST))
		return;
	struct runner_walk keys = runner_walk_of(r->keys), values = runner_walk_of(r->values),
			   metadata = runner_walk_of(r->metadata);
	struct slice key = SLICE_NONE, value;
	struct runner_kv_metadata m;
	bool more = r->keys.count >= c->page;
	while (runner_bytes_next(&keys, &key) && runner_bytes_next(&values, &value) &&
	       runner_kv_metadata_next(&metadata, &m)) {
		if (!take_entry(c, key, value, m.update_ms)) {
			list_done(c);
			return;
		}
	}
	if (!more || !go_behind(c, key)) {
		list_done(c);
		return;
	}
	size_next_page(c);
	ask_page(c);
}

static void on_values(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	if (failed(c, outcome, r, RUNNER_KV_ANSWER_GET))
		return;
	struct runner_walk keys = runner_walk_of(runner_list_of(buf_slice(&c->keys), c->n_keys));
	struct slice key = SLICE_NONE;
	struct runtime_kv_pair pair;
	while (runner_bytes_next(&keys, &key)) {
		if (find_value(r, key, &pair) && !take_entry(c, key, pair.value, pair.updated_wall_ms)) {
			list_done(c);
			return;
		}
	}
	if (c->n_keys < c->page) {
		list_done(c);
		return;
	}
	buf_reset(&c->to);
	buf_add(&c->to, key);
	c->to_excluded = true;
	ask_page(c);
}

static void on_keys_down(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct call *c = arg;
	if (failed(c, outcome, r, RUNNER_KV_ANSWER_LIST))
		return;
	if (r->keys.count == 0) {
		list_done(c);
		return;
	}
	if (r->keys.count > c->page) {
		c->call->message = "the engine's answer made no sense";
		answer(c, RUNTIME_UNAVAILABLE);
		return;
	}
	buf_reset(&c->keys);
	buf_add(&c->keys, r->keys.bytes);
	c->n_keys = r->keys.count;
	submit(c,
	       &(struct runner_kv_request){.op = RUNNER_KV_GET, .keys = runner_list_of(buf_slice(&c->keys), c->n_keys)},
	       on_values);
}

static void ask_page(struct call *c)
{
	bool down = c->call->reverse;
	submit(c,
	       &(struct runner_kv_request){.op = RUNNER_KV_LIST,
					   .query = RUNNER_KV_RANGE,
					   .start = buf_slice(&c->from),
					   .end = buf_slice(&c->to),
					   .exclusive = c->to_excluded,
					   .has_reverse = down,
					   .reverse = down,
					   .has_limit = true,
					   .limit = c->page},
	       down ? on_keys_down : on_page);
}

static void start_list(struct call *c)
{
	size_t wanted = c->call->limit + 1; /* the one behind the last is where the next list begins */
	set_bounds(c);
	c->page = wanted < PAGE_FIRST ? wanted : PAGE_FIRST;
	ask_page(c);
}

void engine_kv_call(struct engine_kv *kv, const char *actor_id, struct runtime_call *call, engine_kv_answered *answered,
		    void (*over)(void *arg), void *arg)
{
	struct call *c = mem_zalloc(sizeof(*c));
	c->kv = kv;
	c->call = call;
	c->answered = answered;
	c->over = over;
	c->arg = arg;
	(void)snprintf(c->actor_id, sizeof(c->actor_id), "%s", actor_id);
	buf_init(&c->from, LIMIT_KV_KEY_BYTES + 1);
	buf_init(&c->to, LIMIT_KV_KEY_BYTES + 1);
	buf_init(&c->keys, (size_t)PAGE_FIRST * (LIMIT_KV_KEY_BYTES + 16));
	if (call->kind == RUNTIME_KV_DELETE_RANGE)
		start_delete_range(c);
	else if (call->kind == RUNTIME_KV_LIST)
		start_list(c);
	else
		start_pairs(c);
}
