/* The REST API: from a request to its endpoint and back. Owns struct api_call.
 *
 * Happy path: the endpoint is looked up in the tables while the head is there,
 * access and query are checked, the body is collected, the namespace looked up
 * in the store, and the endpoint runs and ends the call. Failure: an error body
 * with the engine's group and code; the status is 400 unless the engine has
 * another. The client may leave at any time: a call with a job under way lives
 * on until the job ends, and says nothing. */
#include "local/local_api.h"

#include "traffic/answer.h"

#include <errno.h>

#define ANSWER_MAX ((size_t)16 * 1024 * 1024) /* twice what a list stops at */
#define FIELDS_MAX ((size_t)2 * LIMIT_HTTP_HEAD_BYTES)
#define RETRY_AFTER_S 1

static const struct api_endpoint *const tables[] = {local_api_actors, local_api_misc};

static struct api_call *call_of(struct local_request *r)
{
	struct api_call *c = CONTAINER_OF(r, struct api_call, r);
	CHECK(c->magic == LOCAL_API_MAGIC);
	return c;
}

/* ---- the end of a call ---- */

static void end(struct api_call *c)
{
	CHECK(!c->busy);
	local_request_done(&c->r);
	mem_free(c->query);
	for (size_t i = 0; i < API_ARGS_MAX; i++)
		mem_free(c->args[i]);
	for (size_t i = 0; i < ARRAY_SIZE(c->texts); i++)
		mem_free(c->texts[i]);
	mem_free(c->ns.id);
	mem_free(c->ns.name);
	mem_free(c->ns.display_name);
	json_decref(c->json);
	buf_done(&c->body);
	buf_done(&c->input);
	buf_done(&c->out);
	c->magic = 0;
	mem_free(c);
}

/* Answers, if the client is still there, and ends the call. */
static void reply(struct api_call *c, unsigned status, const char *name, struct slice value, struct slice body)
{
	struct http_conn *conn = TAKE(c->r.conn);
	if (conn != NULL) {
		struct buf fields;
		buf_init(&fields, FIELDS_MAX);
		if (name != NULL)
			http_put_field(&fields, slice_str(name), value);
		local_request_fields(&c->r, &fields);
		CHECK(!fields.over);
		http_conn_set_user(conn, NULL);
		http_conn_reply(conn, status, buf_slice(&fields), body);
		buf_done(&fields);
	}
	end(c);
}

static void fail(struct api_call *c, unsigned status, const char *group, const char *code, struct slice message,
		 const char *metadata_json, uint32_t retry_after_s)
{
	if (message.n == 0)
		message = slice_str(answer_sentence(group, code));
	local_reply_error(&c->r, status, group, code, message, metadata_json, false, retry_after_s);
	end(c);
}

void api_call_done(struct api_call *c)
{
	if (c->out.over)
		fail(c, 500, "core", "internal_error", SLICE_LIT("the answer is too long; ask for less"), NULL, 0);
	else
		reply(c, 200, "content-type", SLICE_LIT("application/json"), buf_slice(&c->out));
}

void api_call_text(struct api_call *c, struct slice text)
{
	reply(c, 200, "content-type", SLICE_LIT("text/plain; charset=utf-8"), text);
}

void api_call_fail(struct api_call *c, unsigned status, const char *group, const char *code, struct slice message,
		   const char *metadata_json)
{
	fail(c, status, group, code, message, metadata_json, 0);
}

void api_call_refuse(struct api_call *c, const char *group, const char *code)
{
	fail(c, 400, group, code, SLICE_NONE, NULL, 0);
}

void api_call_unavailable(struct api_call *c, const char *group, const char *code)
{
	fail(c, 503, group, code, SLICE_NONE, NULL, RETRY_AFTER_S);
}

void api_call_bad(struct api_call *c, struct slice reason)
{
	MEM_AUTO char *message = mem_printf("Request is invalid: %.*s", SLICE_FMT(reason));
	MEM_AUTO char *metadata = local_json_strings("reason", reason, NULL, SLICE_NONE);
	fail(c, 400, "api", "bad_request", slice_str(message), metadata, 0);
}

void api_call_store_failed(struct api_call *c, int result)
{
	if (result == -ENOSPC)
		fail(c, 507, "store", "disk_full", SLICE_NONE, NULL, 0);
	else if (result == -EBUSY || result == -ECANCELED)
		api_call_unavailable(c, "guard", "service_unavailable");
	else
		fail(c, 500, "core", "internal_error", SLICE_LIT("the disk failed"), NULL, 0);
}

/* ---- the namespace ---- */

static void on_namespaces(struct store_job *job)
{
	struct store_namespaces *q = CONTAINER_OF(job, struct store_namespaces, job);
	struct api_call *c = q->user;
	MEM_AUTO char *name = local_api_query_text(c, "namespace");
	c->busy = false;
	for (size_t i = 0; i < q->n && c->ns.id == NULL; i++) {
		if (strcmp(q->all[i].name, name) == 0) {
			c->ns = q->all[i];
			q->all[i] = (struct store_namespace){0};
		}
	}
	int result = q->job.result;
	store_namespaces_clear(q);
	mem_free(q);
	if (result < 0)
		api_call_store_failed(c, result);
	else if (c->ns.id == NULL)
		api_call_refuse(c, "namespace", "not_found");
	else
		c->endpoint->run(c);
}

static void look_up_namespace(struct api_call *c)
{
	MEM_AUTO char *name = local_api_query_text(c, "namespace");
	if (name == NULL) {
		api_call_bad(c, SLICE_LIT("query parameter `namespace` is missing"));
		return;
	}
	struct store_namespaces *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = on_namespaces;
	c->busy = true;
	store_namespaces(c->r.local->o.store, q);
}

/* ---- the body ---- */

static bool parse_body(struct api_call *c)
{
	struct err e = {0};
	if (!c->json_type) {
		api_call_bad(c, SLICE_LIT("expected a body with content-type application/json"));
		return false;
	}
	c->json = json_field_parse(buf_slice(&c->body), &e);
	buf_done(&c->body);
	if (c->json == NULL || !json_is_object(c->json)) {
		api_call_bad(c, slice_str(c->json == NULL ? e.text : "expected an object"));
		return false;
	}
	return true;
}

/* Everything of the request is there. */
static void proceed(struct api_call *c)
{
	const struct api_endpoint *p = c->endpoint;
	c->running = true;
	if ((p->body && !parse_body(c)) || (p->check != NULL && !p->check(c)))
		return;
	if (p->scoped)
		look_up_namespace(c);
	else
		p->run(c);
}

static void on_body(struct local_request *r, struct slice s, bool fin)
{
	struct api_call *c = call_of(r);
	if (c->running)
		return;
	buf_add(&c->body, s);
	if (c->body.over)
		api_call_bad(c, SLICE_LIT("length limit exceeded: a body has at most 2 MiB"));
	else if (fin)
		proceed(c);
}

static void on_writable(struct local_request *r)
{
	(void)r; /* the answer went out in one piece */
}

static void on_gone(struct local_request *r)
{
	struct api_call *c = call_of(r);
	if (!c->busy)
		end(c);
}

static const struct local_request_ops request_ops = {.body = on_body, .writable = on_writable, .gone = on_gone};

/* ---- which endpoint ---- */

static struct slice take_segment(struct slice *path)
{
	struct slice rest = slice_from(*path, 1);
	struct slice segment = slice_head(rest, slice_find(rest, '/'));
	*path = slice_from(rest, segment.n);
	return segment;
}

/* Both begin with '/', or the path does not match. */
static bool matches(const char *pattern, struct slice path, struct slice args[API_ARGS_MAX])
{
	struct slice left = slice_str(pattern);
	size_t n = 0;
	while (left.n > 0 && path.n > 0 && path.p[0] == '/') {
		struct slice want = take_segment(&left), have = take_segment(&path);
		if (!slice_is(want, "{}")) {
			if (!slice_eq(want, have))
				return false;
			continue;
		}
		CHECK(n < API_ARGS_MAX);
		if (have.n == 0)
			return false;
		args[n++] = have;
	}
	return left.n == 0 && path.n == 0;
}

struct match {
	const char *pattern; /* NULL: there is nothing at this path */
	const struct api_endpoint *endpoint;
	struct slice args[API_ARGS_MAX];
	struct buf allow; /* the methods of the pattern */
};

/* The first pattern that matches decides; its other methods are behind it in the table. HEAD is GET. */
static void find_endpoint(struct slice method, struct slice path, struct match *m)
{
	if (slice_is(method, "HEAD"))
		method = SLICE_LIT("GET");
	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (const struct api_endpoint *p = tables[t]; p->method != NULL; p++) {
			struct slice args[API_ARGS_MAX] = {SLICE_NONE, SLICE_NONE};
			if ((m->pattern != NULL && strcmp(m->pattern, p->path) != 0) || !matches(p->path, path, args))
				continue;
			buf_add_str(&m->allow, m->pattern == NULL ? "" : ", ");
			buf_add_str(&m->allow, strcmp(p->method, "GET") == 0 ? "GET, HEAD" : p->method);
			m->pattern = p->path;
			if (slice_is(method, p->method)) {
				m->endpoint = p;
				memcpy(m->args, args, sizeof(args));
			}
		}
	}
}

static bool is_json(const struct http_head *h)
{
	const struct http_field *f = http_head_get(h, HTTP_F_CONTENT_TYPE);
	if (f == NULL)
		return false;
	struct slice type = slice_head(f->value, slice_find(f->value, ';'));
	while (type.n > 0 && (type.p[type.n - 1] == ' ' || type.p[type.n - 1] == '\t'))
		type.n--;
	return slice_is_nocase(type, "application/json");
}

static bool take_args(struct api_call *c, const struct slice args[API_ARGS_MAX])
{
	for (size_t i = 0; i < API_ARGS_MAX && args[i].n > 0; i++) {
		c->args[i] = local_route_decode(args[i], false);
		if (c->args[i] == NULL) {
			api_call_bad(c, SLICE_LIT("the path is not percent-encoded UTF-8"));
			return false;
		}
	}
	return true;
}

static void start(struct api_call *c, const struct http_head *h, const struct match *m)
{
	if ((m->endpoint == NULL || !m->endpoint->open) && !local_access_api(&c->r.local->access, h)) {
		api_call_fail(c, 403, "api", "forbidden", SLICE_NONE, NULL);
		return;
	}
	if (m->pattern == NULL) {
		api_call_fail(c, 404, "api", "not_found", SLICE_NONE, NULL);
		return;
	}
	if (m->endpoint == NULL) {
		reply(c, 405, "allow", buf_slice(&m->allow), SLICE_NONE);
		return;
	}
	c->endpoint = m->endpoint;
	c->json_type = is_json(h);
	if (take_args(c, m->args) && (m->endpoint->query == NULL || local_api_query_check(c)) && !m->endpoint->body)
		proceed(c);
}

void local_api_request(struct local *l, struct http_conn *conn, const struct http_head *h,
		       const struct local_route *route)
{
	struct api_call *c = mem_zalloc(sizeof(*c));
	struct match m = {0};
	struct slice path, query;
	bool has_query;
	(void)route;
	c->magic = LOCAL_API_MAGIC;
	local_request_init(&c->r, &request_ops, l, conn, h);
	l->counters.api_calls++;
	http_target_split(h->target, &path, &query, &has_query);
	c->query = slice_dup(query);
	buf_init(&c->body, LIMIT_API_BODY_BYTES);
	buf_init(&c->input, LIMIT_API_BODY_BYTES);
	buf_init(&c->out, ANSWER_MAX);
	buf_init(&m.allow, 128);
	find_endpoint(h->method, path, &m);
	start(c, h, &m);
	buf_done(&m.allow);
}
