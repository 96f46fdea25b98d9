/* The query of an API call: which parameters there are, and their values.
 * Owns nothing; the query is kept as sent and decoded when asked for. A stranger
 * among the parameters, a repeated one or a value that cannot be read ends the
 * call with 400 before its endpoint runs. */
#include "local/local_api.h"

/* Place of the name among those the endpoint knows, or -1. */
static int known_at(const struct api_endpoint *p, const char *name, bool *ret_repeatable)
{
	size_t n = strlen(name);
	for (int i = 0; p->query[i] != NULL; i++) {
		size_t have_n = strlen(p->query[i]);
		*ret_repeatable = p->query[i][have_n - 1] == '*';
		have_n -= *ret_repeatable;
		if (n == have_n && memcmp(name, p->query[i], n) == 0)
			return i;
	}
	return -1;
}

static bool bad_parameter(struct api_call *c, const char *what, const char *name)
{
	MEM_AUTO char *reason = mem_printf("%s query parameter `%.64s`", what, name);
	api_call_bad(c, slice_str(reason));
	return false;
}

bool local_api_query_check(struct api_call *c)
{
	struct slice raw_name, raw_value, whole;
	uint64_t seen = 0;
	for (size_t at = 0; http_query_next(slice_str(c->query), &at, &raw_name, &raw_value, &whole);) {
		MEM_AUTO char *name = local_route_decode(raw_name, true);
		MEM_AUTO char *value = local_route_decode(raw_value, true);
		bool repeatable = false;
		if (name == NULL || value == NULL)
			return bad_parameter(c, "badly encoded", name == NULL ? "?" : name);
		int i = known_at(c->endpoint, name, &repeatable);
		if (i < 0)
			return bad_parameter(c, "unknown", name);
		CHECK(i < 64);
		if (!repeatable && (seen & (uint64_t)1 << i) != 0)
			return bad_parameter(c, "repeated", name);
		seen |= (uint64_t)1 << i;
	}
	return true;
}

char *local_api_query_next(const struct api_call *c, const char *name, size_t *at)
{
	struct slice raw_name, raw_value, whole;
	while (http_query_next(slice_str(c->query), at, &raw_name, &raw_value, &whole)) {
		MEM_AUTO char *have = local_route_decode(raw_name, true);
		if (have != NULL && strcmp(have, name) == 0)
			return local_route_decode(raw_value, true);
	}
	return NULL;
}

char *local_api_query_text(const struct api_call *c, const char *name)
{
	size_t at = 0;
	char *text = local_api_query_next(c, name, &at);
	if (text != NULL && *text == '\0')
		mem_free(TAKE(text));
	return text;
}

bool local_api_query_piece(struct slice *list, struct slice *ret)
{
	while (list->n > 0) {
		size_t n = slice_find(*list, ',');
		*ret = slice_head(*list, n);
		*list = slice_from(*list, n + (n < list->n));
		if (ret->n > 0)
			return true;
	}
	return false;
}

bool local_api_query_selects(const struct api_call *c, const char *one, const char *many, const char *value)
{
	MEM_AUTO char *list = local_api_query_text(c, many);
	struct slice left = slice_str(list), piece;
	bool asked = list != NULL, found = false;
	while (!found && local_api_query_piece(&left, &piece))
		found = slice_is(piece, value);
	for (size_t at = 0; !found;) {
		MEM_AUTO char *single = local_api_query_next(c, one, &at);
		if (single == NULL)
			break;
		asked = true;
		found = strcmp(single, value) == 0;
	}
	return found || !asked;
}

bool local_api_query_ids(struct api_call *c, const char *one, const char *many)
{
	MEM_AUTO char *list = local_api_query_text(c, many);
	struct slice left = slice_str(list), piece;
	struct actor_id id;
	while (local_api_query_piece(&left, &piece)) {
		if (actor_id_parse(piece, &id) == ACTOR_ID_MALFORMED)
			return bad_parameter(c, "not a list of ids:", many);
	}
	for (size_t at = 0;;) {
		MEM_AUTO char *single = local_api_query_next(c, one, &at);
		if (single == NULL)
			return true;
		if (actor_id_parse(slice_str(single), &id) == ACTOR_ID_MALFORMED)
			return bad_parameter(c, "not an id:", one);
	}
}

/* Decimal digits, at most 18 of them. */
static bool query_number(struct api_call *c, const char *name, int64_t *ret)
{
	MEM_AUTO char *text = local_api_query_text(c, name);
	int64_t v = 0;
	if (text == NULL)
		return true;
	size_t n = strlen(text);
	for (size_t i = 0; i < n && i < 19; i++) {
		if (text[i] < '0' || text[i] > '9')
			n = 0;
		v = v * 10 + (i < 18 ? text[i] - '0' : 0);
	}
	if (n == 0 || n > 18)
		return bad_parameter(c, "not a number:", name);
	*ret = v;
	return true;
}

bool local_api_query_limit(struct api_call *c, size_t *ret)
{
	int64_t limit = API_LIMIT_DEFAULT;
	if (!query_number(c, "limit", &limit))
		return false;
	*ret = limit > API_LIMIT_MAX ? API_LIMIT_MAX : (size_t)limit;
	return true;
}

bool local_api_query_cursor(struct api_call *c, int64_t *ret)
{
	return query_number(c, "cursor", ret);
}

bool local_api_query_bool(struct api_call *c, const char *name, bool *ret)
{
	MEM_AUTO char *text = local_api_query_text(c, name);
	if (text == NULL)
		return true;
	*ret = strcmp(text, "true") == 0;
	return *ret || strcmp(text, "false") == 0 || bad_parameter(c, "neither true nor false:", name);
}

void api_call_put_cursor(struct api_call *c, const char *cursor)
{
	buf_add_str(&c->out, ",\"pagination\":{\"cursor\":");
	if (cursor == NULL)
		buf_add_str(&c->out, "null");
	else
		json_put_str(&c->out, slice_str(cursor));
	buf_add_str(&c->out, "}}");
}

void api_call_put_cursor_ts(struct api_call *c, int64_t create_ts)
{
	MEM_AUTO char *text = create_ts == 0 ? NULL : mem_printf("%lld", (long long)create_ts);
	api_call_put_cursor(c, text);
}
