/* Requests of the runtime API to struct runtime_call: targets, queries, bodies.
 *
 * Strict: what is not understood is refused, and a limit that was hit is
 * named. Owns nothing: what it decodes goes to the request's memory, which is
 * reserved once so that slices into it stay put. */
#include "worker/runtime_private.h"

#include "codec/json_field.h"

#include <stdio.h>

bool runtime_refuse(struct runtime_error *e, unsigned status, const char *group, const char *code, const char *fmt, ...)
{
	va_list ap;
	*e = (struct runtime_error){.status = status, .group = group, .code = code};
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return false;
}

static bool malformed(struct runtime_error *e, const char *what)
{
	return runtime_refuse(e, 400, "request", "malformed", "%s", what);
}

/* ---- small things ---- */

static bool digits(struct slice s, int64_t max, int64_t *ret)
{
	int64_t v = 0;
	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9' || v > (max - (s.p[i] - '0')) / 10)
			return false;
		v = v * 10 + (s.p[i] - '0');
	}
	*ret = v;
	return true;
}

bool runtime_parse_duration(struct slice text, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"min", 60000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	size_t n = 0;
	int64_t v;
	while (n < text.n && text.p[n] >= '0' && text.p[n] <= '9')
		n++;
	if (!digits(slice_head(text, n), INT64_MAX / 4, &v))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (!slice_is(slice_from(text, n), units[i].name))
			continue;
		if (v > ((int64_t)1 << 53) / units[i].ms)
			return false;
		*ret_ms = v * units[i].ms;
		return true;
	}
	return false;
}

static bool check_key(struct slice key, struct runtime_error *e)
{
	if (key.n == 0)
		return malformed(e, "a key must not be empty");
	if (key.n > LIMIT_KV_KEY_BYTES)
		return runtime_refuse(e, 413, "kv", "key_too_large", "the key is longer than %d bytes",
				      LIMIT_KV_KEY_BYTES);
	if (key.p[0] == 0)
		return runtime_refuse(e, 403, "kv", "key_reserved", "keys that begin with byte 0x00 are reserved");
	return true;
}

/* Decodes into the request's memory. */
static bool decode(struct runtime_request *q, struct slice in, struct slice *ret, struct runtime_error *e)
{
	size_t at = buf_len(&q->memory);
	if (!http_percent_decode(in, false, &q->memory))
		return malformed(e, "a percent escape is malformed");
	CHECK(!q->memory.over);
	*ret = slice_from(buf_slice(&q->memory), at);
	return true;
}

/* ---- queries ---- */

struct range {
	struct slice prefix, start, end;
	bool has_prefix, has_start, has_end, exclusive, reverse, all;
	int64_t limit;
};

static bool read_bool(struct slice value, bool *ret, const char *name, struct runtime_error *e)
{
	if (!slice_is(value, "true") && !slice_is(value, "false"))
		return runtime_refuse(e, 400, "request", "malformed", "%s must be true or false", name);
	*ret = slice_is(value, "true");
	return true;
}

static bool read_bound(struct runtime_request *q, struct slice value, struct slice *ret, bool *ret_has,
		       struct runtime_error *e)
{
	if (*ret_has)
		return malformed(e, "a query parameter is given twice");
	*ret_has = true;
	if (!decode(q, value, ret, e))
		return false;
	if (ret->n > LIMIT_KV_KEY_BYTES)
		return runtime_refuse(e, 413, "kv", "key_too_large", "a bound is longer than a key may be, %d bytes",
				      LIMIT_KV_KEY_BYTES);
	return true;
}

static bool read_encoding(struct slice value, bool *ret_utf8, struct runtime_error *e)
{
	if (!slice_is(value, "base64") && !slice_is(value, "utf8"))
		return malformed(e, "encoding must be base64 or utf8");
	*ret_utf8 = slice_is(value, "utf8");
	return true;
}

static bool read_limit(struct slice value, int64_t *ret, struct runtime_error *e)
{
	if (!digits(value, INT32_MAX, ret) || *ret < 1)
		return malformed(e, "limit must be a number, 1 or more");
	if (*ret > LIMIT_KV_LIST_ENTRIES)
		return runtime_refuse(e, 413, "kv", "limit_too_large", "limit is more than %d entries",
				      LIMIT_KV_LIST_ENTRIES);
	return true;
}

/* list: also what only lists have; else also `all`. */
static bool read_query(struct runtime_request *q, struct slice query, bool list, struct range *r,
		       struct runtime_error *e)
{
	struct slice name, value, whole;
	for (size_t at = 0; http_query_next(query, &at, &name, &value, &whole);) {
		bool ok;
		if (slice_is(name, "start"))
			ok = read_bound(q, value, &r->start, &r->has_start, e);
		else if (slice_is(name, "end"))
			ok = read_bound(q, value, &r->end, &r->has_end, e);
		else if (!list && slice_is(name, "all"))
			ok = read_bool(value, &r->all, "all", e);
		else if (list && slice_is(name, "prefix"))
			ok = read_bound(q, value, &r->prefix, &r->has_prefix, e);
		else if (list && slice_is(name, "exclusive"))
			ok = read_bool(value, &r->exclusive, "exclusive", e);
		else if (list && slice_is(name, "reverse"))
			ok = read_bool(value, &r->reverse, "reverse", e);
		else if (list && slice_is(name, "limit"))
			ok = read_limit(value, &r->limit, e);
		else if (list && slice_is(name, "encoding"))
			ok = read_encoding(value, &q->call.utf8, e);
		else
			ok = malformed(e, "a query parameter is unknown");
		if (!ok)
			return false;
	}
	return true;
}

static int compare(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n == 0 ? 0 : memcmp(a.p, b.p, n);
	return r != 0 ? r : (a.n > b.n) - (a.n < b.n);
}

/* The first key behind all that begin with the prefix, in the request's memory; empty: there is none. */
static struct slice behind_prefix(struct runtime_request *q, struct slice prefix)
{
	size_t n = prefix.n, at = buf_len(&q->memory);
	while (n > 0 && prefix.p[n - 1] == 0xff)
		n--;
	if (n == 0)
		return SLICE_NONE;
	buf_add(&q->memory, slice_head(prefix, n - 1));
	buf_add_byte(&q->memory, (uint8_t)(prefix.p[n - 1] + 1));
	CHECK(!q->memory.over);
	return slice_from(buf_slice(&q->memory), at);
}

static bool take_list(struct runtime_request *q, struct slice query, struct runtime_error *e)
{
	struct range r = {.limit = LIMIT_KV_LIST_ENTRIES};
	struct runtime_call *c = &q->call;
	if (!read_query(q, query, true, &r, e))
		return false;
	if (r.has_prefix && r.prefix.n > 0) {
		struct slice behind = behind_prefix(q, r.prefix);
		if (!r.has_start || compare(r.start, r.prefix) < 0)
			r.start = r.prefix;
		r.has_start = true;
		if (behind.n > 0 && (!r.has_end || compare(behind, r.end) <= 0)) {
			r.end = behind;
			r.has_end = r.exclusive = true;
		}
	}
	c->kind = RUNTIME_KV_LIST;
	c->start = r.start;
	c->end = r.end;
	c->has_start = r.has_start;
	c->has_end = r.has_end;
	c->end_exclusive = r.exclusive;
	c->reverse = r.reverse;
	c->limit = (size_t)r.limit;
	return true;
}

static bool take_delete_range(struct runtime_request *q, struct slice query, struct runtime_error *e)
{
	struct range r = {0};
	struct runtime_call *c = &q->call;
	if (!read_query(q, query, false, &r, e))
		return false;
	if (r.all == (r.has_start || r.has_end) || r.has_start != r.has_end)
		return malformed(e, "say what to delete: start and end, or all=true");
	c->kind = RUNTIME_KV_DELETE_RANGE;
	c->start = r.start;
	c->end = r.end;
	c->has_start = c->has_end = r.has_start;
	c->end_exclusive = true;
	return true;
}

/* ---- targets ---- */

static bool not_found(struct runtime_error *e)
{
	return runtime_refuse(e, 404, "request", "not_found", "there is no such call");
}

static bool not_allowed(struct runtime_error *e)
{
	return runtime_refuse(e, 405, "request", "method_not_allowed", "this path has no such method");
}

static bool wants_body(struct runtime_request *q, size_t max, const char *limit)
{
	q->body_max = max;
	q->body_limit = limit;
	return true;
}

static bool take_key(struct runtime_request *q, struct slice method, struct slice key, struct runtime_error *e)
{
	if (slice_is(method, "POST") && slice_is(key, "batch")) {
		q->call.kind = RUNTIME_KV_BATCH_GET;
		q->batch = true;
		return wants_body(q, LIMIT_RUNTIME_BODY_BYTES, "body");
	}
	bool get = slice_is(method, "GET"), put = slice_is(method, "PUT");
	if (!get && !put && !slice_is(method, "DELETE"))
		return not_allowed(e);
	if (!decode(q, key, &q->one.key, e) || !check_key(q->one.key, e))
		return false;
	q->call.kind = get ? RUNTIME_KV_GET : put ? RUNTIME_KV_PUT : RUNTIME_KV_DELETE;
	q->call.pairs = &q->one;
	q->call.n_pairs = 1;
	return put ? wants_body(q, LIMIT_KV_VALUE_BYTES, "value") : true;
}

static bool take_alarm(struct runtime_request *q, struct slice method, struct runtime_error *e)
{
	q->call.kind = slice_is(method, "GET") ? RUNTIME_ALARM_GET : RUNTIME_ALARM_SET;
	if (slice_is(method, "PUT"))
		return wants_body(q, 4096, "body");
	return slice_is(method, "GET") || slice_is(method, "DELETE") ? true : not_allowed(e);
}

static bool take_lease_end(struct runtime_request *q, struct slice method, struct slice lease, struct runtime_error *e)
{
	if (!slice_is(method, "DELETE"))
		return not_allowed(e);
	if (lease.n == 0 || lease.n >= sizeof(q->call.lease) || slice_find(lease, '%') < lease.n)
		return runtime_refuse(e, 404, "actor", "lease_not_found", "there is no such lease");
	q->call.kind = RUNTIME_LEASE_END;
	memcpy(q->call.lease, lease.p, lease.n);
	q->call.lease[lease.n] = '\0';
	return true;
}

/* rest: what follows the actor's id, "" or beginning with a slash. */
static bool take_call(struct runtime_request *q, struct slice method, struct slice rest, struct slice query,
		      struct runtime_error *e)
{
	bool get = slice_is(method, "GET"), post = slice_is(method, "POST");
	if (slice_starts(rest, "/kv/"))
		return take_key(q, method, slice_from(rest, 4), e);
	if (slice_is(rest, "/kv"))
		return get                          ? take_list(q, query, e)
		       : slice_is(method, "DELETE") ? take_delete_range(q, query, e)
						    : not_allowed(e);
	if (slice_is(rest, "/alarm"))
		return take_alarm(q, method, e);
	if (slice_starts(rest, "/keep-awake/"))
		return take_lease_end(q, method, slice_from(rest, 12), e);
	if (slice_is(rest, "/keep-awake")) {
		q->call.kind = RUNTIME_KEEP_AWAKE;
		return post ? wants_body(q, 4096, "body") : not_allowed(e);
	}
	if (slice_is(rest, "") || slice_is(rest, "/input")) {
		q->call.kind = rest.n == 0 ? RUNTIME_INFO : RUNTIME_INPUT;
		return get ? true : not_allowed(e);
	}
	if (slice_is(rest, "/sleep") || slice_is(rest, "/destroy")) {
		q->call.kind = slice_is(rest, "/sleep") ? RUNTIME_SLEEP : RUNTIME_DESTROY;
		return post ? true : not_allowed(e);
	}
	return not_found(e);
}

bool runtime_parse_head(struct runtime_request *q, const struct http_head *h, struct runtime_error *e)
{
	static const char base[] = "/v1/actors/";
	struct slice path, query;
	bool has_query;
	const struct http_field *generation = http_head_get(h, HTTP_F_X_RIVET_ACTOR_GENERATION);
	http_target_split(h->target, &path, &query, &has_query);
	if (!slice_starts(path, base))
		return not_found(e);
	struct slice rest = slice_from(path, sizeof(base) - 1);
	struct slice id = slice_head(rest, slice_find(rest, '/'));
	if (id.n == 0 || id.n >= sizeof(q->actor_id))
		return not_found(e);
	memcpy(q->actor_id, id.p, id.n);
	q->actor_id[id.n] = '\0';
	q->generation = -1;
	if (generation != NULL && !digits(generation->value, INT64_MAX, &q->generation))
		return malformed(e, "x-rivet-actor-generation is no number");
	/* Decoding never grows, and a prefix is copied once at most. */
	CHECK(buf_reserve(&q->memory, h->target.n + LIMIT_KV_KEY_BYTES) != NULL);
	return take_call(q, h->method, slice_from(rest, id.n), query, e);
}

/* ---- bodies ---- */

static bool bad_field(struct runtime_error *e, const struct err *why)
{
	return runtime_refuse(e, 422, "request", "invalid", "%s", why->text);
}

/* A batch's text to bytes in the request's memory. */
static bool take_text(struct runtime_request *q, struct slice text, struct slice *ret, struct runtime_error *e)
{
	size_t at = buf_len(&q->memory);
	if (q->call.utf8)
		buf_add(&q->memory, text);
	else if (!base64_get(&q->memory, text, false))
		return runtime_refuse(e, 422, "request", "invalid",
				      "a key or value is not base64; or say \"encoding\": \"utf8\"");
	CHECK(!q->memory.over);
	*ret = slice_from(buf_slice(&q->memory), at);
	return true;
}

static bool take_pair(struct runtime_request *q, const json_t *item, bool put, struct runtime_kv_pair *ret,
		      struct runtime_error *e)
{
	static const char *const known[] = {"key", "value", NULL};
	struct slice key, value = SLICE_NONE;
	struct err why = {0};
	if (put) {
		if (!json_is_object(item))
			return runtime_refuse(e, 422, "request", "invalid", "an entry to put is no object");
		if (json_field_only(item, known, &why) < 0 || json_field_str(item, "key", true, &key, &why) < 0 ||
		    json_field_str(item, "value", true, &value, &why) < 0)
			return bad_field(e, &why);
	} else {
		if (!json_is_string(item))
			return runtime_refuse(e, 422, "request", "invalid", "a key is no string");
		key = slice_of(json_string_value(item), json_string_length(item));
	}
	if (!take_text(q, key, &ret->key, e) || !check_key(ret->key, e) || !take_text(q, value, &ret->value, e))
		return false;
	if (ret->value.n > LIMIT_KV_VALUE_BYTES)
		return runtime_refuse(e, 413, "kv", "value_too_large", "a value is larger than %d bytes",
				      LIMIT_KV_VALUE_BYTES);
	return true;
}

static bool take_pairs(struct runtime_request *q, const json_t *list, bool put, struct runtime_kv_pair **ret,
		       size_t *ret_n, struct runtime_error *e)
{
	size_t bytes = 0, n = json_array_size(list);
	if (!json_is_array(list))
		return runtime_refuse(e, 422, "request", "invalid", "get, put and delete are lists");
	if (n > LIMIT_KV_BATCH_KEYS)
		return runtime_refuse(e, 413, "kv", "batch_too_many_keys", "a batch has more than %d keys",
				      LIMIT_KV_BATCH_KEYS);
	if (n == 0)
		return true;
	*ret = mem_zalloc(n * sizeof(**ret));
	*ret_n = n;
	for (size_t i = 0; i < n; i++) {
		if (!take_pair(q, json_array_get(list, i), put, &(*ret)[i], e))
			return false;
		bytes += (*ret)[i].key.n + 2 + (*ret)[i].value.n;
	}
	if (bytes > LIMIT_KV_BATCH_BYTES)
		return runtime_refuse(e, 413, "kv", "batch_too_large",
				      "a batch is larger than %d bytes, each key counted with 2 more",
				      LIMIT_KV_BATCH_BYTES);
	return true;
}

static bool take_batch(struct runtime_request *q, const json_t *o, struct runtime_error *e)
{
	static const char *const known[] = {"get", "put", "delete", "encoding", NULL};
	const json_t *get = json_object_get(o, "get"), *put = json_object_get(o, "put"),
		     *delete = json_object_get(o, "delete");
	struct slice encoding = SLICE_LIT("base64");
	struct err why = {0};
	if (json_field_only(o, known, &why) < 0 || json_field_str(o, "encoding", false, &encoding, &why) < 0)
		return bad_field(e, &why);
	if (!read_encoding(encoding, &q->call.utf8, e))
		return false;
	if (put != NULL && delete != NULL)
		return runtime_refuse(e, 422, "kv", "batch_mixed", "one batch cannot both put and delete");
	CHECK(buf_reserve(&q->memory, buf_len(&q->body)) != NULL);
	struct runtime_call *c = &q->call;
	if (get != NULL && !take_pairs(q, get, false, &c->gets, &c->n_gets, e))
		return false;
	if (put != NULL && !take_pairs(q, put, true, &c->pairs, &c->n_pairs, e))
		return false;
	if (delete != NULL && !take_pairs(q, delete, false, &c->pairs, &c->n_pairs, e))
		return false;
	if (c->n_pairs > 0) {
		c->kind = put != NULL ? RUNTIME_KV_PUT : RUNTIME_KV_DELETE;
	} else {
		c->pairs = TAKE(c->gets);
		c->n_pairs = c->n_gets;
		c->n_gets = 0;
	}
	return true;
}

static bool take_alarm_body(struct runtime_request *q, const json_t *o, int64_t now_wall_ms, struct runtime_error *e)
{
	static const char *const known[] = {"at", "after", NULL};
	struct slice after = SLICE_NONE;
	struct err why = {0};
	int64_t at = -1, ms = 0;
	if (json_field_only(o, known, &why) < 0 || json_field_i64(o, "at", false, &at, &why) < 0 ||
	    json_field_str(o, "after", false, &after, &why) < 0)
		return bad_field(e, &why);
	if ((json_object_get(o, "at") != NULL) == (json_object_get(o, "after") != NULL))
		return runtime_refuse(e, 422, "request", "invalid", "say either at or after");
	if (after.p != NULL && !runtime_parse_duration(after, &ms))
		return runtime_refuse(e, 422, "request", "invalid", "after is a duration such as \"30s\"");
	if (after.p != NULL)
		at = now_wall_ms + ms;
	if (at < 1 || at > ((int64_t)1 << 53))
		return runtime_refuse(e, 422, "request", "invalid", "at is no time in milliseconds");
	q->call.at_wall_ms = at;
	return true;
}

static bool take_keep_awake(struct runtime_request *q, const json_t *o, struct runtime_error *e)
{
	static const char *const known[] = {"ttl", "reason", NULL};
	struct slice ttl = SLICE_NONE, reason = SLICE_NONE;
	struct err why = {0};
	if (json_field_only(o, known, &why) < 0 || json_field_str(o, "ttl", true, &ttl, &why) < 0 ||
	    json_field_str(o, "reason", false, &reason, &why) < 0)
		return bad_field(e, &why);
	if (!runtime_parse_duration(ttl, &q->call.ttl_ms) || q->call.ttl_ms < 1)
		return runtime_refuse(e, 422, "request", "invalid", "ttl is a duration such as \"60s\"");
	if (q->call.ttl_ms > LIMIT_KEEP_AWAKE_MS)
		return runtime_refuse(e, 422, "request", "invalid", "ttl is more than 1h");
	if (reason.n > RUNTIME_REASON_MAX)
		return runtime_refuse(e, 413, "request", "reason_too_large", "reason is longer than %d bytes",
				      RUNTIME_REASON_MAX);
	buf_add(&q->memory, reason);
	q->call.reason = slice_head(buf_slice(&q->memory), reason.n);
	return true;
}

bool runtime_parse_body(struct runtime_request *q, int64_t now_wall_ms, struct runtime_error *e)
{
	struct err why = {0};
	if (q->body_max == 0)
		return true;
	if (q->call.kind == RUNTIME_KV_PUT) {
		q->one.value = buf_slice(&q->body);
		return true;
	}
	json_auto_t *o = json_field_parse(buf_slice(&q->body), &why);
	if (o == NULL)
		return malformed(e, why.text);
	if (!json_is_object(o))
		return malformed(e, "the body is no JSON object");
	if (q->batch)
		return take_batch(q, o, e);
	return q->call.kind == RUNTIME_ALARM_SET ? take_alarm_body(q, o, now_wall_ms, e) : take_keep_awake(q, o, e);
}
