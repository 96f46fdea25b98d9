/* Which actor does a request mean? Reads the head and nothing else; the route
 * owns what it found.
 *
 * Tried in this order: the gateway's paths (by query as soon as one name begins
 * with "rvt-", else by id), then the target header, for an upgrade also the
 * target subprotocol; everything else is the API's. Failure: the route becomes
 * ROUTE_BAD with the gateway's status, code and, where it helps, metadata. */
#include "local/local_route.h"

#include "codec/route_words.h"
#include "codec/ws_frame.h"
#include "local/local_cbor.h"
#include "local/local_json.h"

struct parse {
	const struct http_head *h;
	struct local_route *r;
	struct slice path, query;
	bool has_query;
	struct route_words words;
};

static void fail(struct local_route *r, unsigned status, const char *group, const char *code, char *metadata_json)
{
	r->kind = ROUTE_BAD;
	r->gateway = true;
	r->status = status;
	r->group = group;
	r->code = code;
	r->metadata_json = metadata_json;
}

static void fail_params(struct local_route *r, const char *detail)
{
	fail(r, 400, "guard", "query_invalid_params",
	     local_json_strings("detail", slice_str(detail), NULL, SLICE_NONE));
}

char *local_route_decode(struct slice s, bool form)
{
	struct buf b;
	char *text = NULL;
	buf_init(&b, s.n + 1);
	if (http_percent_decode(s, form, &b) && slice_find(buf_slice(&b), '\0') == buf_len(&b) &&
	    ws_utf8_valid(buf_slice(&b)))
		text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}

/* true, 1, false, 0 */
static bool flag_of(struct slice s, bool *ret)
{
	bool yes = slice_is(s, "true") || slice_is(s, "1");
	if (!yes && !slice_is(s, "false") && !slice_is(s, "0"))
		return false;
	*ret = yes;
	return true;
}

static void take_words(struct parse *p)
{
	struct buf kept;
	buf_init(&kept, 2 * LIMIT_HTTP_HEAD_BYTES);
	route_words_take(p->h, &p->words, &kept);
	p->r->offered_rivet = p->words.offered_rivet;
	if (buf_len(&kept) > 0)
		p->r->subprotocols = slice_dup(buf_slice(&kept));
	buf_done(&kept);
}

/* ---- what all ways share ---- */

static void set_id(struct local_route *r, struct slice text)
{
	switch (actor_id_parse(text, &r->id)) {
	case 0:
		r->kind = ROUTE_ACTOR_ID;
		return;
	case ACTOR_ID_OTHER_DATACENTER:
		fail(r, 400, "datacenter", "not_found", NULL);
		return;
	default:
		fail(r, 404, "actor", "not_found", NULL);
	}
}

/* Token and flag from where every way may have them; the path and the query came first. */
static void finish(struct parse *p)
{
	struct local_route *r = p->r;
	const struct http_field *token = http_head_get(p->h, HTTP_F_X_RIVET_TOKEN);
	const struct http_field *skip = http_head_get(p->h, HTTP_F_X_RIVET_SKIP_READY_WAIT);
	bool skip_field = false;
	if (r->token == NULL && token != NULL)
		r->token = slice_dup(token->value);
	if (r->token == NULL && p->words.token.n > 0) {
		r->token = local_route_decode(p->words.token, false);
		if (r->token == NULL)
			r->token = slice_dup(p->words.token);
	}
	if (skip != NULL && !flag_of(skip->value, &skip_field)) {
		fail(r, 400, "guard", "invalid_header",
		     local_json_strings("header", SLICE_LIT("x-rivet-skip-ready-wait"), NULL, SLICE_NONE));
		return;
	}
	r->skip_ready_wait |= skip_field || p->words.skip_ready_wait;
}

/* ---- by query ---- */

enum param {
	PARAM_NAMESPACE,
	PARAM_METHOD,
	PARAM_KEY,
	PARAM_POOL,
	PARAM_RUNNER,
	PARAM_INPUT,
	PARAM_REGION,
	PARAM_CRASH_POLICY,
	PARAM_TOKEN,
	PARAM_SKIP_READY_WAIT,
	PARAM_COUNT,
};

static const char *const param_names[PARAM_COUNT] = {
    "rvt-namespace", "rvt-method", "rvt-key",          "rvt-pool",  "rvt-runner",
    "rvt-input",     "rvt-region", "rvt-crash-policy", "rvt-token", "rvt-skip-ready-wait",
};

static bool has_routing_pair(struct slice query)
{
	struct slice name, value, whole;
	for (size_t at = 0; http_query_next(query, &at, &name, &value, &whole);) {
		if (slice_starts(name, "rvt-"))
			return true;
	}
	return false;
}

/* One routing pair into values[]; false when the route has failed. */
static bool take_pair(struct local_route *r, struct slice name, struct slice value, bool has_equals, char **values)
{
	size_t i = 0;
	while (i < PARAM_COUNT && !slice_is(name, param_names[i]))
		i++;
	if (i == PARAM_COUNT) {
		MEM_AUTO char *detail = mem_printf("unknown parameter %.*s", SLICE_FMT(name));
		fail_params(r, detail);
		return false;
	}
	const char *code = values[i] != NULL ? "query_duplicate_param"
			   : !has_equals     ? "query_param_missing_equals"
					     : NULL;
	if (code == NULL) {
		values[i] = local_route_decode(value, true);
		if (values[i] != NULL)
			return true;
		code = "query_invalid_percent_encoding";
	}
	fail(r, 400, "guard", code, local_json_strings("name", name, NULL, SLICE_NONE));
	return false;
}

/* Reads the routing pairs into values[] and leaves the target without them, byte for byte. */
static bool take_pairs(struct parse *p, struct slice rest, char **values)
{
	struct slice left = p->query;
	struct buf target;
	bool going = true, kept = false;
	buf_init(&target, p->h->target.n + 2);
	buf_add(&target, rest.n > 0 ? rest : SLICE_LIT("/"));
	for (bool more = true; more && going;) {
		size_t n = slice_find(left, '&');
		struct slice pair = slice_head(left, n);
		size_t equals = slice_find(pair, '=');
		struct slice name = slice_head(pair, equals);
		more = n < left.n;
		left = slice_from(left, n + (n < left.n));
		if (slice_starts(name, "rvt-")) {
			struct slice value = slice_from(pair, equals + (equals < pair.n));
			going = take_pair(p->r, name, value, equals < pair.n, values);
			continue;
		}
		if (pair.n == 0 && !kept)
			continue;
		buf_add_byte(&target, kept ? '&' : '?');
		buf_add(&target, pair);
		kept = true;
	}
	if (going)
		p->r->target = slice_dup(buf_slice(&target));
	buf_done(&target);
	return going;
}

/* Components joined by commas, as the clients send them, to the API's key string. */
static bool set_key(struct local_route *r, const char *value)
{
	struct slice left = slice_str(value);
	size_t n = 0, parts_max = 1;
	for (size_t i = 0; i < left.n; i++)
		parts_max += left.p[i] == ',';
	MEM_AUTO struct slice *parts = mem_alloc(parts_max * sizeof(*parts));
	for (bool more = left.n > 0; more;) {
		size_t part_n = slice_find(left, ',');
		more = part_n < left.n;
		parts[n++] = slice_head(left, part_n);
		left = slice_from(left, part_n + more);
	}
	struct buf key;
	buf_init(&key, 4 * LIMIT_HTTP_TARGET_BYTES);
	actor_key_join(parts, n, &key);
	CHECK(!key.over);
	r->key = slice_dup(buf_slice(&key));
	buf_done(&key);
	if (strlen(r->key) <= LIMIT_ACTOR_KEY_BYTES)
		return true;
	fail(r, 400, "actor", "key_too_large", local_json_key_too_large(slice_str(r->key)));
	return false;
}

static bool set_input(struct local_route *r, const char *value)
{
	struct buf input;
	buf_init(&input, LIMIT_HTTP_TARGET_BYTES);
	if (!base64_get(&input, slice_str(value), true)) {
		fail(r, 400, "guard", "query_invalid_base64_input", NULL);
	} else if (!local_cbor_is_one(buf_slice(&input))) {
		fail(r, 400, "guard", "query_invalid_cbor_input",
		     local_json_strings("detail", SLICE_LIT("not one CBOR value"), NULL, SLICE_NONE));
	} else {
		r->input_len = buf_len(&input);
		r->input = mem_alloc(r->input_len);
		memcpy(r->input, buf_slice(&input).p, r->input_len);
	}
	buf_done(&input);
	return r->kind != ROUTE_BAD;
}

/* What only one of the methods may or must have. */
static bool check_method(struct local_route *r, char **values)
{
	static const enum param create_only[] = {PARAM_RUNNER, PARAM_INPUT, PARAM_REGION, PARAM_CRASH_POLICY};
	if (values[PARAM_NAMESPACE] == NULL || values[PARAM_METHOD] == NULL) {
		fail_params(r, values[PARAM_NAMESPACE] == NULL ? "rvt-namespace is missing" : "rvt-method is missing");
		return false;
	}
	r->create = strcmp(values[PARAM_METHOD], "getOrCreate") == 0;
	if (r->create) {
		if (values[PARAM_POOL] != NULL || values[PARAM_RUNNER] != NULL)
			return true;
		fail(r, 400, "guard", "query_missing_pool", NULL);
		return false;
	}
	if (strcmp(values[PARAM_METHOD], "get") != 0) {
		fail_params(r, "rvt-method must be get or getOrCreate");
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(create_only); i++) {
		if (values[create_only[i]] == NULL)
			continue;
		fail(r, 400, "guard", "query_get_disallowed_params",
		     local_json_strings("name", slice_str(param_names[create_only[i]]), NULL, SLICE_NONE));
		return false;
	}
	return true;
}

static bool set_values(struct local_route *r, char **values)
{
	if (!check_method(r, values))
		return false;
	const char *policy = values[PARAM_CRASH_POLICY], *skip = values[PARAM_SKIP_READY_WAIT];
	if (policy != NULL && !local_json_crash_policy_parse(slice_str(policy), &r->crash_policy)) {
		fail_params(r, "rvt-crash-policy must be sleep, restart or destroy");
		return false;
	}
	if (skip != NULL && !flag_of(slice_str(skip), &r->skip_ready_wait)) {
		fail_params(r, "rvt-skip-ready-wait must be true, 1, false or 0");
		return false;
	}
	if (values[PARAM_REGION] != NULL && strcmp(values[PARAM_REGION], LOCAL_DATACENTER) != 0) {
		fail(r, 400, "datacenter", "not_found", NULL);
		return false;
	}
	r->namespace_name = TAKE(values[PARAM_NAMESPACE]);
	r->token = TAKE(values[PARAM_TOKEN]);
	r->pool = values[PARAM_POOL] != NULL ? TAKE(values[PARAM_POOL]) : TAKE(values[PARAM_RUNNER]);
	return set_key(r, values[PARAM_KEY]) && (values[PARAM_INPUT] == NULL || set_input(r, values[PARAM_INPUT]));
}

static void route_by_query(struct parse *p, struct slice segment, struct slice rest)
{
	struct local_route *r = p->r;
	char *values[PARAM_COUNT] = {NULL};
	if (segment.n == 0) {
		fail(r, 400, "guard", "query_empty_actor_name", NULL);
		return;
	}
	if (slice_find(segment, '@') < segment.n) {
		fail(r, 400, "guard", "query_path_token_syntax", NULL);
		return;
	}
	r->name = local_route_decode(segment, false);
	if (r->name == NULL) {
		fail(r, 400, "guard", "query_invalid_percent_encoding",
		     local_json_strings("name", SLICE_LIT("name"), NULL, SLICE_NONE));
		return;
	}
	if (take_pairs(p, rest, values) && set_values(r, values)) {
		r->kind = ROUTE_ACTOR_KEY;
		finish(p);
	}
	for (size_t i = 0; i < PARAM_COUNT; i++)
		mem_free(values[i]);
}

/* ---- by id ---- */

static void route_by_id(struct parse *p, struct slice id, struct slice token, struct slice rest)
{
	struct local_route *r = p->r;
	MEM_AUTO char *text = local_route_decode(id, false);
	if (token.n > 0) {
		r->token = local_route_decode(token, false);
		if (r->token == NULL)
			r->token = slice_dup(token);
	}
	set_id(r, slice_str(text));
	r->target = mem_printf("%s%.*s%s%.*s", rest.n == 0 ? "/" : "", SLICE_FMT(rest), p->has_query ? "?" : "",
			       SLICE_FMT(p->query));
	if (r->kind == ROUTE_ACTOR_ID)
		finish(p);
}

static bool has_empty_segment(struct slice path)
{
	for (size_t i = 1; i < path.n; i++) {
		if (path.p[i - 1] == '/' && path.p[i] == '/')
			return true;
	}
	return false;
}

/* /gateway/{segment}[/rest]; false when it is none. A path with "//" anywhere is none, as for an engine. */
static bool route_by_path(struct parse *p)
{
	if (!slice_is(p->path, "/gateway") && !slice_starts(p->path, "/gateway/"))
		return false;
	struct slice rest = slice_from(p->path, sizeof("/gateway") - 1);
	rest = slice_from(rest, rest.n > 0);
	if (has_empty_segment(p->path))
		return false;
	struct slice segment = slice_head(rest, slice_find(rest, '/'));
	rest = slice_from(rest, segment.n);
	if (has_routing_pair(p->query)) {
		route_by_query(p, segment, rest);
		return true;
	}
	size_t id_n = slice_find(segment, '@');
	if (id_n == 0 || id_n + 1 == segment.n)
		return false;
	route_by_id(p, slice_head(segment, id_n), slice_from(segment, id_n + (id_n < segment.n)), rest);
	return true;
}

/* ---- by header or subprotocol ---- */

static struct slice field_or(const struct http_head *h, enum http_field_id id, struct slice word)
{
	const struct http_field *f = http_head_get(h, id);
	return f != NULL ? f->value : word;
}

static void route_by_target(struct parse *p)
{
	struct local_route *r = p->r;
	struct slice target = field_or(p->h, HTTP_F_X_RIVET_TARGET, p->words.target);
	struct slice actor = field_or(p->h, HTTP_F_X_RIVET_ACTOR, p->words.actor);
	bool is_request = slice_is(p->path, "/request") || slice_starts(p->path, "/request/");
	if (target.n == 0 || slice_is(target, "api-public"))
		return;
	if (!slice_is(target, "actor") || (!p->h->upgrade && !is_request)) {
		fail(r, 404, "guard", "no_route", NULL);
		return;
	}
	if (actor.n == 0) {
		fail(r, 400, "guard", "missing_header",
		     local_json_strings("header", SLICE_LIT("x-rivet-actor"), NULL, SLICE_NONE));
		return;
	}
	set_id(r, actor);
	r->target = slice_dup(p->h->target);
	if (r->kind == ROUTE_ACTOR_ID)
		finish(p);
}

void local_route_parse(const struct http_head *h, struct local_route *ret)
{
	struct parse p = {.h = h, .r = ret};
	*ret = (struct local_route){.kind = ROUTE_API};
	http_target_split(h->target, &p.path, &p.query, &p.has_query);
	if (h->upgrade)
		take_words(&p);
	if (!route_by_path(&p))
		route_by_target(&p);
}

void local_route_clear(struct local_route *r)
{
	char *const text[] = {r->message, r->metadata_json, r->target, r->token,       r->namespace_name,
			      r->name,    r->key,           r->pool,   r->subprotocols};
	for (size_t i = 0; i < ARRAY_SIZE(text); i++)
		mem_free(text[i]);
	mem_free(r->input);
	*r = (struct local_route){0};
}
