/* From a method and a target to a call: a table of patterns, in which "*" is an
 * actor's id and "**" the rest of the path, a key. */
#include "app/control_private.h"

#define PARTS_MAX 6

static const struct route {
	const char *method, *path;
	void (*run)(struct control_call *call);
	int detail; /* enum mode_verb or enum mode_kv_kind */
} routes[] = {
    {"GET", "/v1/status", control_status, 0},
    {"GET", "/v1/actors", control_list, 0},
    {"GET", "/v1/actors/*", control_actor, 0},
    {"POST", "/v1/actors/*/wake", control_command, MODE_WAKE},
    {"POST", "/v1/actors/*/sleep", control_command, MODE_SLEEP},
    {"POST", "/v1/actors/*/restart", control_command, MODE_RESTART},
    {"POST", "/v1/actors/*/destroy", control_command, MODE_DESTROY},
    {"GET", "/v1/actors/*/kv", control_kv, MODE_KV_LIST},
    {"GET", "/v1/actors/*/kv/**", control_kv, MODE_KV_GET},
    {"PUT", "/v1/actors/*/kv/**", control_kv, MODE_KV_PUT},
    {"DELETE", "/v1/actors/*/kv/**", control_kv, MODE_KV_DELETE},
    {"GET", "/v1/workers", control_workers, 0},
    {"GET", "/v1/logs", control_logs, 0},
    {"GET", "/v1/backup", control_backup, 0},
    {"POST", "/v1/drain", control_drain, 0},
    {"POST", "/v1/reload", control_reload, 0},
};

static struct slice next_part(struct slice *rest)
{
	if (rest->n > 0 && rest->p[0] == '/')
		*rest = slice_from(*rest, 1);
	size_t n = slice_find(*rest, '/');
	struct slice part = slice_head(*rest, n);
	*rest = slice_from(*rest, n);
	return part;
}

/* The wildcards' parts, still percent-encoded. */
static bool matches(const char *pattern, struct slice path, struct slice *ret_id, struct slice *ret_key)
{
	struct slice want = slice_str(pattern);
	for (int i = 0; i < PARTS_MAX && want.n > 0; i++) {
		struct slice part = next_part(&want);
		if (slice_is(part, "**")) {
			if (path.n == 0 || path.p[0] != '/')
				return false;
			*ret_key = slice_from(path, 1);
			return true;
		}
		struct slice have = next_part(&path);
		if (slice_is(part, "*") && have.n > 0)
			*ret_id = have;
		else if (!slice_eq(part, have))
			return false;
	}
	return path.n == 0;
}

static bool read_query(struct control_call *call, struct slice query)
{
	struct slice name, value, whole;
	for (size_t at = 0; http_query_next(query, &at, &name, &value, &whole);) {
		if (slice_is(name, "name") || slice_is(name, "prefix")) {
			call->has_key = value.n > 0;
			if (!http_percent_decode(value, true, &call->key))
				return false;
		} else if (slice_is(name, "actor")) {
			mem_free(call->id);
			call->id = value.n == 0 ? NULL : slice_dup(value);
		} else if (slice_is(name, "follow")) {
			call->follow = slice_is(value, "true");
		} else {
			return false;
		}
	}
	return true;
}

bool control_route(struct control_call *call, const struct http_head *h, unsigned *ret_status, const char **ret_why)
{
	struct slice path, query;
	bool has_query;
	http_target_split(h->target, &path, &query, &has_query);
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		struct slice id = SLICE_NONE, key = SLICE_NONE;
		if (!matches(routes[i].path, path, &id, &key))
			continue;
		*ret_status = 405;
		*ret_why = "that path takes another method";
		if (!slice_is(h->method, routes[i].method))
			continue;
		call->run = routes[i].run;
		call->verb = (enum mode_verb)routes[i].detail;
		call->kv = (enum mode_kv_kind)routes[i].detail;
		call->id = id.p == NULL ? NULL : slice_dup(id);
		*ret_status = 400;
		*ret_why = "the target is malformed: an unknown query member or a bad percent-encoding";
		return (key.p == NULL || http_percent_decode(key, false, &call->key)) && read_query(call, query);
	}
	return false;
}
