/* The REST API over a real server and a real store; the driver is played here:
 * it notes what it is asked and answers what the test says. */
#include "local/local_api.h"

#include "lib/io_loop.h"
#include "store/store_kv.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ID "tlf0xcg1buacno4zofgpr7isbeal00"
#define NS "namespace=default"
#define JSON "content-type: application/json\r\n"
#define CREATE "{\"name\":\"probe\",\"key\":\"k\",\"runner_name_selector\":\"default\",\"crash_policy\":\"sleep\"}"
#define ORIGIN "origin: http://localhost:3000\r\n"

static struct site {
	struct local l;
	struct loop *loop;
	struct store *store;
	struct actor_types *types;
	struct http_server *server;
	char dir[64];
	int closed;
	struct buf answer;
	/* the driver */
	enum local_call_outcome outcome;
	bool hold; /* answers when told to */
	struct loop_task answers;
	local_call_done *done;
	void *arg;
	char asked[512]; /* what it was asked last */
	struct store_actor actor, *record;
} site;

/* ---- what local.c and local_driver.c do in the daemon ---- */

void local_request_init(struct local_request *r, const struct local_request_ops *ops, struct local *l,
			struct http_conn *c, const struct http_head *h)
{
	const struct http_field *origin = http_head_get(h, HTTP_F_ORIGIN);
	r->ops = ops;
	r->local = l;
	r->conn = c;
	list_init(&r->node);
	list_push_back(&l->requests, &r->node);
	snprintf(r->ray, sizeof(r->ray), "ray1");
	r->origin = origin == NULL ? NULL : slice_dup(origin->value);
	r->wants_cors = true;
	http_conn_set_user(c, r);
}

void local_request_done(struct local_request *r)
{
	if (r->conn != NULL)
		http_conn_set_user(r->conn, NULL);
	list_remove(&r->node);
	mem_free(r->origin);
}

struct actor_table *local_actors(struct local *l)
{
	(void)l;
	return NULL;
}

size_t actor_table_count(const struct actor_table *t)
{
	(void)t;
	return 3;
}

void local_address(const struct local *l, char ret[80])
{
	(void)l;
	snprintf(ret, 80, "127.0.0.1:6420");
}

static void on_answers(void *arg)
{
	struct store_actor *actor = &site.actor;
	(void)arg;
	site.done(site.arg, site.outcome, actor);
}

static void PRINTF_LIKE(3, 4) ask_driver(local_call_done *done, void *arg, const char *fmt, ...)
{
	va_list list;
	va_start(list, fmt);
	vsnprintf(site.asked, sizeof(site.asked), fmt, list);
	va_end(list);
	site.done = done;
	site.arg = arg;
	if (!site.hold)
		loop_post(site.loop, &site.answers);
}

void local_driver_create(struct local_driver *d, const struct local_key *k, bool get_or_create, local_call_done *done,
			 void *arg)
{
	(void)d;
	ask_driver(done, arg, "%s %s %s %s %s %s %s%.*s", get_or_create ? "put" : "post", k->namespace_name, k->name,
		   k->key == NULL ? "-" : k->key, k->pool, local_json_crash_policy(k->crash_policy),
		   k->has_input ? "input=" : "none", SLICE_FMT(k->input));
}

void local_driver_destroy(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			  void *arg)
{
	(void)d;
	ask_driver(done, arg, "destroy %s %s", namespace_name, id);
}

void local_driver_sleep(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
			void *arg)
{
	(void)d;
	ask_driver(done, arg, "sleep %s %s", namespace_name, id);
}

void local_driver_wake(struct local_driver *d, const char *namespace_name, const char *id, local_call_done *done,
		       void *arg)
{
	(void)d;
	ask_driver(done, arg, "wake %s %s", namespace_name, id);
}

const struct store_actor *local_driver_record(const struct local_driver *d, const char *id)
{
	(void)d;
	return site.record != NULL && strcmp(site.record->id, id) == 0 ? site.record : NULL;
}

char *local_driver_not_registered(const struct local_driver *d, const char *name)
{
	(void)d;
	return mem_printf("no type \"%s\"; there are: probe", name);
}

/* ---- the site ---- */

static void on_request(void *arg, struct http_conn *c, const struct http_head *h)
{
	(void)arg;
	local_api_request(&site.l, c, h, NULL);
}

static void on_body(void *arg, struct http_conn *c, struct slice s, bool fin)
{
	struct local_request *r = http_conn_user(c);
	(void)arg;
	if (r != NULL)
		r->ops->body(r, s, fin);
}

static void on_writable(void *arg, struct http_conn *c)
{
	(void)arg, (void)c;
}

static void on_gone(void *arg, struct http_conn *c)
{
	struct local_request *r = http_conn_user(c);
	(void)arg;
	if (r == NULL)
		return;
	r->conn = NULL;
	r->ops->gone(r);
}

static const struct http_conn_events conn_events = {
    .request = on_request, .body = on_body, .writable = on_writable, .gone = on_gone};

static void on_notify(void *arg)
{
	loop_wake(arg);
}

static void on_wake(void *arg)
{
	(void)arg;
	while (site.store != NULL && store_deliver(site.store))
		;
}

static void on_closed(void *arg)
{
	(void)arg;
	site.closed++;
}

static int set_up(void **state)
{
	struct actor_type **types = mem_zalloc(3 * sizeof(*types));
	for (size_t i = 0; i < 2; i++) {
		types[i] = mem_zalloc(sizeof(**types));
		types[i]->name = mem_strdup(i == 0 ? "probe" : "beta");
	}
	static char actor_id[] = ID, namespace_name[] = "default", name[] = "probe", key[] = "k", pool[] = "default";
	struct err e = {0};
	(void)state;
	site = (struct site){.loop = io_loop_open(), .types = actor_types_new(types)};
	snprintf(site.dir, sizeof(site.dir), "/tmp/test_local_api.XXXXXX");
	assert_non_null(mkdtemp(site.dir));
	loop_on_wake(site.loop, on_wake, NULL);
	assert_int_equal(store_open(site.dir, on_notify, site.loop, &site.store, &e), 0);
	site.server = http_server_new(site.loop, &(struct http_server_options){.name = "api",
									       .target_max = LIMIT_HTTP_TARGET_BYTES,
									       .conns_max = 10,
									       .events = &conn_events});
	site.l.o =
	    (struct local_options){.loop = site.loop, .store = site.store, .types = site.types, .version = "1.2.3"};
	site.l.started_wall_ms = 1000;
	snprintf(site.l.id, sizeof(site.l.id), "%s", ID);
	list_init(&site.l.requests);
	loop_task_init(&site.answers, on_answers, NULL);
	buf_init(&site.answer, 32 * 1024 * 1024);
	site.actor = (struct store_actor){.id = actor_id,
					  .namespace_name = namespace_name,
					  .name = name,
					  .key = key,
					  .runner_name_selector = pool,
					  .create_ts = 5};
	return 0;
}

static int on_entry(const char *path, const struct stat *st, int flag, struct FTW *at)
{
	(void)st, (void)flag, (void)at;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	http_server_close(site.server, on_closed, NULL);
	IO_UNTIL(site.loop, site.closed == 1);
	assert_true(list_empty(&site.l.requests));
	store_close(site.store, on_closed, NULL);
	IO_UNTIL(site.loop, site.closed == 2);
	site.store = NULL;
	buf_done(&site.answer);
	actor_types_free(site.types);
	io_loop_done(site.loop);
	return nftw(site.dir, on_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- a client ---- */

/* A connection with a request on it; what it does not take before the answer is not sent. */
static void begin(struct io_peer *p, const char *line, const char *fields, struct slice body)
{
	int fds[2];
	io_pair(IO_PAIR_TCP, fds);
	http_server_give(site.server, fds[0]);
	io_peer_open(p, fds[1]);
	MEM_AUTO char *head = body.p == NULL
				  ? mem_printf("%s HTTP/1.1\r\nhost: a\r\nconnection: close\r\n%s\r\n", line, fields)
				  : mem_printf("%s HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
					       "content-length: %zu\r\n%s\r\n",
					       line, body.n, fields);
	io_peer_send(p, head);
	while (body.n > 0) {
		ssize_t n = send(p->fd, body.p, body.n, MSG_NOSIGNAL);
		if (n < 0 && io_peer_over(p))
			return;
		body = slice_from(body, n < 0 ? 0 : (size_t)n);
		io_loop_turn(site.loop, 1);
	}
}

/* The whole answer to one request. */
static const char *ask(const char *line, const char *fields, const char *body)
{
	struct io_peer p;
	begin(&p, line, fields, slice_str(body));
	IO_UNTIL(site.loop, io_peer_over(&p));
	buf_reset(&site.answer);
	buf_add(&site.answer, buf_slice(&p.got));
	io_peer_done(&p);
	return buf_text(&site.answer);
}

static unsigned status_of(const char *answer)
{
	unsigned status = 0;
	assert_int_equal(sscanf(answer, "HTTP/1.1 %u ", &status), 1);
	return status;
}

static const char *body_of(const char *answer)
{
	const char *end = strstr(answer, "\r\n\r\n");
	assert_non_null(end);
	return end + 4;
}

static void expect(const char *line, const char *body, unsigned status, const char *want)
{
	const char *answer = ask(line, body == NULL ? "" : JSON, body);
	assert_string_equal(body_of(answer), want);
	assert_int_equal(status_of(answer), status);
}

/* group and code, whatever the sentence. */
static void expect_error(const char *line, const char *body, unsigned status, const char *group, const char *code)
{
	const char *answer = ask(line, body == NULL ? "" : JSON, body);
	MEM_AUTO char *want = mem_printf("{\"group\":\"%s\",\"code\":\"%s\",\"message\":\"", group, code);
	if (strncmp(body_of(answer), want, strlen(want)) != 0)
		fail_msg("%s: %s", line, body_of(answer));
	assert_int_equal(status_of(answer), status);
	assert_null(strstr(answer, "x-rivet-error"));
}

/* ---- the common rules ---- */

static void test_health(void **state)
{
	(void)state;
	expect("GET /health?any=thing", NULL, 200, "{\"runtime\":\"engine\",\"status\":\"ok\",\"version\":\"1.2.3\"}");
	expect("GET /metadata?namespace=x", NULL, 200, "{\"runtime\":\"engine\",\"version\":\"1.2.3\"}");
	expect("HEAD /health", NULL, 200, "");
	assert_non_null(strstr(ask("GET /", "", NULL), "rivet-runnerd"));
}

static void test_fields(void **state)
{
	(void)state;
	const char *answer = ask("GET /health", ORIGIN, NULL);
	assert_non_null(strstr(answer, "\r\ncontent-type: application/json\r\nx-rivet-ray-id: ray1\r\n"
				       "access-control-allow-origin: http://localhost:3000\r\n"
				       "access-control-allow-credentials: true\r\naccess-control-expose-headers: *\r\n"
				       "vary: Origin\r\n"));
	answer = ask("GET /nothing", "", NULL);
	assert_non_null(strstr(answer, "\r\nx-rivet-ray-id: ray1\r\naccess-control-allow-origin: *\r\n"));
}

static void test_paths(void **state)
{
	(void)state;
	expect_error("GET /nothing", NULL, 404, "api", "not_found");
	expect_error("GET /actors/", NULL, 404, "api", "not_found");
	expect_error("GET /actors//sleep", NULL, 404, "api", "not_found");
	expect_error("DELETE /actors/%ff?" NS, NULL, 400, "api", "bad_request");
	static const char *const rows[][2] = {{"GET /actors/x", "DELETE"},
					      {"PATCH /actors", "GET, HEAD, PUT, POST"},
					      {"POST /health", "GET, HEAD"},
					      {"DELETE /actors/names", "GET, HEAD"},
					      {"PUT /runner-configs/serverless-health-check", "POST"},
					      {"GET /runner-configs/x", "PUT, DELETE"}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *answer = ask(rows[i][0], "", NULL);
		MEM_AUTO char *want = mem_printf("\r\nallow: %s\r\n", rows[i][1]);
		assert_int_equal(status_of(answer), 405);
		assert_string_equal(body_of(answer), "");
		assert_non_null(strstr(answer, want));
	}
}

static void test_token(void **state)
{
	(void)state;
	site.l.access.token = "s3cret";
	expect_error("GET /namespaces", NULL, 403, "api", "forbidden");
	expect_error("GET /nothing", NULL, 403, "api", "forbidden");
	expect_error("PATCH /actors", NULL, 403, "api", "forbidden");
	expect_error("PUT /actors?" NS, CREATE, 403, "api", "forbidden");
	assert_int_equal(status_of(ask("GET /health", "", NULL)), 200);
	assert_int_equal(status_of(ask("GET /metadata", "", NULL)), 200);
	assert_int_equal(status_of(ask("GET /namespaces", "authorization: Bearer s3cret\r\n", NULL)), 200);
}

static void test_query(void **state)
{
	(void)state;
	expect("GET /datacenters?colour=red", NULL, 400,
	       "{\"group\":\"api\",\"code\":\"bad_request\",\"message\":\"Request is invalid: unknown query parameter "
	       "`colour`\",\"metadata\":{\"reason\":\"unknown query parameter `colour`\"}}");
	expect_error("GET /actors/names?" NS "&" NS, NULL, 400, "api", "bad_request");
	expect_error("GET /actors/names?" NS "&limit=%zz", NULL, 400, "api", "bad_request");
	expect_error("GET /actors/names?" NS "&cursor=%00", NULL, 400, "api", "bad_request");
	expect_error("GET /actors/names", NULL, 400, "api", "bad_request");
	expect_error("GET /actors/names?namespace=nope", NULL, 400, "namespace", "not_found");
	static const char *const limits[] = {"x", "-1", "1x", "1234567890123456789", "12345678901234567890"};
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		MEM_AUTO char *line = mem_printf("GET /actors/names?" NS "&limit=%s", limits[i]);
		expect_error(line, NULL, 400, "api", "bad_request");
	}
	assert_int_equal(status_of(ask("GET /actors/names?" NS "&limit=123456789012345678", "", NULL)), 200);
	/* What is empty was not said. */
	assert_int_equal(status_of(ask("GET /actors/names?" NS "&limit=&cursor=", "", NULL)), 200);
	expect_error("GET /actors/names?namespace=", NULL, 400, "api", "bad_request");
}

/* ---- actors ---- */

#define ACTOR(id_, key_)                                                                                            \
	"{\"actor_id\":\"" id_ "\",\"name\":\"probe\",\"key\":\"" key_ "\",\"namespace_id\":\"%s\",\"datacenter\":" \
	"\"default\",\"runner_name_selector\":\"default\",\"crash_policy\":\"sleep\",\"create_ts\":5,\"start_ts\":" \
	"null,\"pending_allocation_ts\":null,\"connectable_ts\":null,\"sleep_ts\":null,\"reschedule_ts\":null,"     \
	"\"destroy_ts\":null}"

/* The id of namespace default. */
static void namespace_id(char ret[ACTOR_ID_TEXT + 1])
{
	const char *answer = ask("GET /namespaces?name=default", "", NULL);
	const char *at = strstr(answer, "{\"namespace_id\":\"");
	assert_non_null(at);
	memcpy(ret, at + strlen("{\"namespace_id\":\""), ACTOR_ID_TEXT);
	ret[ACTOR_ID_TEXT] = '\0';
}

static void test_create(void **state)
{
	char ns[ACTOR_ID_TEXT + 1];
	(void)state;
	namespace_id(ns);
	MEM_AUTO char *posted = mem_printf("{\"actor\":" ACTOR(ID, "k") "}", ns);
	expect("POST /actors?" NS, CREATE, 200, posted);
	assert_string_equal(site.asked, "post default probe k default sleep none");
	MEM_AUTO char *found = mem_printf("{\"actor\":" ACTOR(ID, "k") ",\"created\":false}", ns);
	expect("PUT /actors?" NS, CREATE, 200, found);
	assert_string_equal(site.asked, "put default probe k default sleep none");
	site.outcome = LOCAL_CALL_CREATED;
	MEM_AUTO char *created = mem_printf("{\"actor\":" ACTOR(ID, "k") ",\"created\":true}", ns);
	expect("PUT /actors?" NS, CREATE, 200, created);
	/* What is in memory is newer. */
	struct store_actor newer = site.actor;
	newer.key = mem_strdup("newer");
	site.record = &newer;
	MEM_AUTO char *shown = mem_printf("{\"actor\":" ACTOR(ID, "newer") "}", ns);
	expect("POST /actors?" NS, CREATE, 200, shown);
	mem_free(newer.key);
}

static void test_create_fields(void **state)
{
	(void)state;
	static const char rest[] = "\"name\":\"n\",\"runner_name_selector\":\"p\"";
	MEM_AUTO char *all = mem_printf("{\"datacenter\":\"default\",%s,\"crash_policy\":\"restart\","
					"\"key\":null,\"input\":\"aGk=\"}",
					rest);
	assert_int_equal(status_of(ask("POST /actors?" NS, "content-type: Application/JSON ; charset=utf-8\r\n", all)),
			 200);
	assert_string_equal(site.asked, "post default n - p restart input=hi");
	MEM_AUTO char *no_base64 = mem_printf("{%s,\"crash_policy\":\"destroy\",\"input\":\"***\"}", rest);
	assert_int_equal(status_of(ask("POST /actors?" NS, JSON, no_base64)), 200);
	assert_string_equal(site.asked, "post default n - p destroy none");
	MEM_AUTO char *empty = mem_printf("{%s,\"crash_policy\":\"destroy\",\"input\":\"\"}", rest);
	assert_int_equal(status_of(ask("POST /actors?" NS, JSON, empty)), 200);
	assert_string_equal(site.asked, "post default n - p destroy input=");
}

#define BODY(more) "{\"name\":\"n\",\"runner_name_selector\":\"p\",\"crash_policy\":\"sleep\"" more "}"

static void test_create_refuses(void **state)
{
	static const char *const bad[] = {
	    "",
	    "{",
	    "[]",
	    "5",
	    "{}",
	    BODY(",\"colour\":1"),
	    BODY(",\"key\":5"),
	    BODY(",\"key\":\"a\\u0000b\""),
	    BODY(",\"name\":\"twice\""),
	    BODY(",\"input\":5"),
	    BODY(",\"datacenter\":5"),
	    "{\"name\":null,\"runner_name_selector\":\"p\",\"crash_policy\":\"sleep\"}",
	    "{\"name\":\"n\",\"runner_name_selector\":\"p\",\"crash_policy\":\"explode\"}",
	    "{\"name\":\"n\",\"runner_name_selector\":\"p\"}",
	    "{\"name\":\"n\",\"crash_policy\":\"sleep\"}"};
	char key[1100];
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		expect_error("POST /actors?" NS, bad[i], 400, "api", "bad_request");
	expect_error("PUT /actors?" NS, BODY(), 400, "api", "bad_request");
	expect_error("POST /actors?" NS, BODY(",\"key\":\"\""), 400, "actor", "empty_key");
	expect_error("POST /actors?" NS, BODY(",\"datacenter\":\"mars\""), 400, "datacenter", "not_found");
	expect_error("POST /actors", CREATE, 400, "api", "bad_request");
	expect_error("POST /actors?namespace=nope", CREATE, 400, "namespace", "not_found");
	memset(key, 'k', sizeof(key));
	MEM_AUTO char *over = mem_printf(BODY(",\"key\":\"%.1025s\""), key);
	const char *answer = ask("POST /actors?" NS, JSON, over);
	assert_int_equal(status_of(answer), 400);
	assert_non_null(strstr(answer, "\"code\":\"key_too_large\""));
	assert_non_null(strstr(answer, "\"metadata\":{\"max_size\":1024,\"key_preview\":\"kkk"));
	assert_string_equal(site.asked, "");
	MEM_AUTO char *fits = mem_printf(BODY(",\"key\":\"%.1024s\""), key);
	assert_int_equal(status_of(ask("POST /actors?" NS, JSON, fits)), 200);
}

static void test_content_type(void **state)
{
	static const char *const wrong[] = {"", "content-type: text/plain\r\n", "content-type: application/jsonp\r\n",
					    "content-type:\r\n"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *answer = ask("POST /actors?" NS, wrong[i], CREATE);
		assert_int_equal(status_of(answer), 400);
		assert_non_null(strstr(answer, "\"code\":\"bad_request\""));
	}
}

static void test_body_bound(void **state)
{
	size_t n = LIMIT_API_BODY_BYTES + 1;
	char *body = mem_alloc(n + 1);
	(void)state;
	memset(body, ' ', n);
	body[n] = '\0';
	memcpy(body, CREATE, strlen(CREATE));
	expect_error("POST /actors?" NS, body, 400, "api", "bad_request");
	body[n - 1] = '\0';
	assert_int_equal(status_of(ask("POST /actors?" NS, JSON, body)), 200);
	mem_free(body);
}

static void test_chunked_body(void **state)
{
	(void)state;
	MEM_AUTO char *body = mem_printf("%zx\r\n%s\r\n0\r\n\r\n", strlen(CREATE), CREATE);
	struct io_peer p;
	int fds[2];
	io_pair(IO_PAIR_TCP, fds);
	http_server_give(site.server, fds[0]);
	io_peer_open(&p, fds[1]);
	io_peer_send(&p, "PUT /actors?" NS " HTTP/1.1\r\nhost: a\r\n" JSON "transfer-encoding: chunked\r\n\r\n");
	io_loop_settle(site.loop);
	for (size_t i = 0; body[i] != '\0'; i++) {
		io_peer_send(&p, (char[]){body[i], '\0'});
		io_loop_turn(site.loop, 0);
	}
	IO_UNTIL(site.loop, io_peer_has(&p, "\"created\":false}"));
	io_peer_done(&p);
	io_loop_settle(site.loop);
}

static void test_outcomes(void **state)
{
	static const struct {
		enum local_call_outcome outcome;
		unsigned status;
		const char *group, *code;
	} rows[] = {
	    {LOCAL_CALL_NO_NAMESPACE, 400, "namespace", "not_found"},
	    {LOCAL_CALL_NOT_REGISTERED, 400, "actor", "not_registered"},
	    {LOCAL_CALL_DISK_FULL, 507, "store", "disk_full"},
	    {LOCAL_CALL_DISK_FAILED, 500, "core", "internal_error"},
	    {LOCAL_CALL_STOPPING, 503, "guard", "service_unavailable"},
	    {LOCAL_CALL_OVERLOADED, 503, "actor", "overloaded"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		site.outcome = rows[i].outcome;
		expect_error("PUT /actors?" NS, CREATE, rows[i].status, rows[i].group, rows[i].code);
	}
	assert_non_null(strstr(ask("PUT /actors?" NS, JSON, CREATE), "\r\nretry-after: 1\r\n"));
	site.outcome = LOCAL_CALL_KEY_TAKEN;
	expect(
	    "POST /actors?" NS, CREATE, 400,
	    "{\"group\":\"actor\",\"code\":\"duplicate_key\",\"message\":\"Actor key 'k' already in use for actor '" ID
	    "'\",\"metadata\":{\"existing_actor_id\":\"" ID "\",\"key\":\"k\"}}");
	site.outcome = LOCAL_CALL_NOT_FOUND;
	expect_error("DELETE /actors/" ID "?" NS, NULL, 400, "actor", "not_found");
}

static void test_commands(void **state)
{
	(void)state;
	expect("DELETE /actors/TLF0XCG1BUACNO4ZOFGPR7ISBEAL00?" NS, NULL, 200, "{}");
	assert_string_equal(site.asked, "destroy default " ID);
	expect("POST /actors/" ID "/sleep?" NS, "{}", 200, "{}");
	assert_string_equal(site.asked, "sleep default " ID);
	expect("POST /actors/" ID "/reschedule?" NS, "{}", 200, "{}");
	assert_string_equal(site.asked, "wake default " ID);
	expect_error("POST /actors/" ID "/sleep?" NS, NULL, 400, "api", "bad_request");
	expect_error("POST /actors/" ID "/sleep?" NS, "{\"a\":1}", 400, "api", "bad_request");
	expect_error("POST /actors/nonsense/sleep?" NS, "{}", 400, "api", "bad_request");
	expect_error("DELETE /actors/nonsense?" NS, NULL, 400, "api", "bad_request");
	expect_error("DELETE /actors/" ID, NULL, 400, "api", "bad_request");
	uint8_t zeros[16] = {0};
	MEM_AUTO char *elsewhere = mem_printf("DELETE /actors/%s?" NS, actor_id_from(zeros, 2).text);
	expect_error(elsewhere, NULL, 400, "datacenter", "not_found");
}

/* ---- what the store holds ---- */

static void on_job(struct store_job *job)
{
	(void)job;
	site.closed = -1;
}

static void wait_job(void)
{
	IO_UNTIL(site.loop, site.closed == -1);
	site.closed = 0;
}

static uint64_t store_one(const char *id, const char *name, const char *key, int64_t create_ts)
{
	struct store_actor_create c = {.job.done = on_job};
	c.actor = (struct store_actor){.id = mem_strdup(id),
				       .namespace_name = mem_strdup("default"),
				       .name = mem_strdup(name),
				       .key = mem_strdup(key),
				       .runner_name_selector = mem_strdup("default"),
				       .create_ts = create_ts,
				       .generation = -1};
	store_actor_create(site.store, &c);
	wait_job();
	assert_int_equal(c.job.result, 0);
	uint64_t number = c.actor.number;
	store_actor_create_clear(&c);
	return number;
}

/* The keys of the actors listed, in order, and the cursor. */
static void expect_list(const char *query, const char *want)
{
	MEM_AUTO char *line = mem_printf("GET /actors?" NS "%s", query);
	const char *answer = ask(line, "", NULL);
	struct buf got;
	buf_init(&got, 4096);
	assert_int_equal(status_of(answer), 200);
	json_t *body = json_loads(body_of(answer), 0, NULL);
	size_t i;
	json_t *one;
	json_array_foreach(json_object_get(body, "actors"), i, one)
	    buf_addf(&got, "%s ", json_string_value(json_object_get(one, "key")));
	const char *cursor = json_string_value(json_object_get(json_object_get(body, "pagination"), "cursor"));
	buf_addf(&got, "@%s", cursor == NULL ? "null" : cursor);
	assert_string_equal(buf_text(&got), want);
	json_decref(body);
	buf_done(&got);
}

static void test_list(void **state)
{
	char ids[4][ACTOR_ID_TEXT + 1];
	(void)state;
	for (int i = 0; i < 4; i++) {
		MEM_AUTO char *key = mem_printf("k%d", i);
		memcpy(ids[i], actor_id_new().text, sizeof(ids[i]));
		store_one(ids[i], i == 3 ? "other" : "probe", key, 10 + i);
	}
	expect_list("&name=probe", "k2 k1 k0 @10");
	expect_list("&name=probe&limit=2", "k2 k1 @11");
	expect_list("&name=probe&limit=2&cursor=11", "k0 @10");
	expect_list("&name=probe&cursor=10", "@null");
	expect_list("&name=probe&limit=0", "@null");
	expect_list("&name=probe&key=&cursor=&limit=&include_destroyed=", "k2 k1 k0 @10");
	expect_list("&name=probe&key=k1", "k1 @11");
	expect_list("&name=other&key=k1", "@null");
	MEM_AUTO char *many = mem_printf("&actor_ids=nonsense,%s,,%s,%s", ids[0], ids[3], ids[0]);
	expect_list(many, "k3 k0 @10");
	MEM_AUTO char *repeated = mem_printf("&actor_id=%s&actor_id=%s", ids[1], ids[2]);
	expect_list(repeated, "k2 k1 @11");
	/* Well formed, and of nobody here. */
	uint8_t zeros[16] = {0};
	MEM_AUTO char *elsewhere = mem_printf("&actor_ids=%s", actor_id_from(zeros, 2).text);
	expect_list(elsewhere, "@null");
	/* What is in memory is newer. */
	struct store_actor newer = site.actor;
	newer.id = ids[1];
	newer.key = mem_strdup("newer");
	site.record = &newer;
	expect_list("&name=probe", "k2 newer k0 @10");
	mem_free(newer.key);
}

static void test_list_refuses(void **state)
{
	struct buf ids;
	(void)state;
	expect("GET /actors?" NS, NULL, 400,
	       "{\"group\":\"validation\",\"code\":\"invalid_input\",\"message\":\"Name is required when not using "
	       "actor_ids.\",\"metadata\":{\"message\":\"Name is required when not using actor_ids.\"}}");
	expect_error("GET /actors?" NS "&name=", NULL, 400, "validation", "invalid_input");
	expect_error("GET /actors?" NS "&key=k", NULL, 400, "validation", "invalid_input");
	expect_error("GET /actors?" NS "&actor_ids=nonsense", NULL, 400, "validation", "invalid_input");
	expect_error("GET /actors?" NS "&name=n&actor_ids=" ID, NULL, 400, "validation", "invalid_input");
	expect_error("GET /actors?" NS "&actor_id=nonsense", NULL, 400, "api", "bad_request");
	expect_error("GET /actors?" NS "&name=n&limit=x", NULL, 400, "api", "bad_request");
	expect_error("GET /actors?" NS "&name=n&cursor=x", NULL, 400, "api", "bad_request");
	expect_error("GET /actors?" NS "&name=n&include_destroyed=1", NULL, 400, "api", "bad_request");
	buf_init(&ids, 4096);
	for (int i = 0; i < 33; i++)
		buf_addf(&ids, "%s" ID, i == 0 ? "GET /actors?" NS "&actor_ids=" : ",");
	const char *answer = ask(buf_text(&ids), "", NULL);
	assert_int_equal(status_of(answer), 400);
	assert_non_null(strstr(answer, "\"code\":\"too_many_actor_ids\""));
	assert_non_null(strstr(answer, "\"metadata\":{\"max\":32,\"count\":33}"));
	/* What cannot be read is dropped before anything is counted. */
	buf_reset(&ids);
	for (int i = 0; i < 33; i++)
		buf_addf(&ids, "%s%d", i == 0 ? "GET /actors?" NS "&actor_ids=" : ",", i);
	expect_error(buf_text(&ids), NULL, 400, "validation", "invalid_input");
	buf_done(&ids);
}

static void test_names(void **state)
{
	(void)state;
	store_one(actor_id_new().text, "gone", "k", 10);
	store_one(actor_id_new().text, "probe", "k", 11);
	expect("GET /actors/names?" NS, NULL, 200,
	       "{\"names\":{\"beta\":{\"metadata\":{}},\"gone\":{\"metadata\":{}},\"probe\":{\"metadata\":{}}},"
	       "\"pagination\":{\"cursor\":\"probe\"}}");
	expect("GET /actors/names?" NS "&limit=1", NULL, 200,
	       "{\"names\":{\"beta\":{\"metadata\":{}}},\"pagination\":{\"cursor\":\"beta\"}}");
	expect("GET /actors/names?" NS "&limit=1&cursor=beta", NULL, 200,
	       "{\"names\":{\"gone\":{\"metadata\":{}}},\"pagination\":{\"cursor\":\"gone\"}}");
	expect("GET /actors/names?" NS "&limit=0", NULL, 200, "{\"names\":{},\"pagination\":{\"cursor\":null}}");
	expect("GET /actors/names?" NS "&cursor=probe", NULL, 200, "{\"names\":{},\"pagination\":{\"cursor\":null}}");
}

static void test_value(void **state)
{
	(void)state;
	uint64_t number = store_one(ID, "probe", "k", 10);
	struct store_kv put = {.job.done = on_job, .job.order = number, .actor_number = number, .kind = STORE_KV_PUT};
	put.n_pairs = 1;
	put.pairs = mem_zalloc(sizeof(*put.pairs));
	put.pairs[0] = (struct store_kv_pair){
	    .key = (uint8_t *)mem_strdup("\3"), .key_len = 1, .value = (uint8_t *)mem_strdup("hi"), .value_len = 2};
	store_kv(site.store, &put);
	wait_job();
	assert_int_equal(put.job.result, 0);
	store_kv_clear(&put);
	const char *answer = ask("GET /actors/" ID "/kv/keys/Aw==?" NS, "", NULL);
	assert_int_equal(status_of(answer), 200);
	assert_int_equal(strncmp(body_of(answer), "{\"value\":\"aGk=\",\"update_ts\":1", 29), 0);
	expect_error("GET /actors/" ID "/kv/keys/BA%3D%3D?" NS, NULL, 400, "actor", "kv_key_not_found");
	expect_error("GET /actors/" ID "/kv/keys/AA==?" NS, NULL, 400, "actor", "kv_key_not_found");
	expect_error("GET /actors/" ID "/kv/keys/Aw?" NS, NULL, 500, "core", "internal_error");
	MEM_AUTO char *unknown = mem_printf("GET /actors/%s/kv/keys/Aw==?" NS, actor_id_new().text);
	expect_error(unknown, NULL, 400, "actor", "not_found");
	assert_int_equal(status_of(ask("POST /namespaces", JSON, "{\"name\":\"b\",\"display_name\":\"B\"}")), 200);
	expect_error("GET /actors/" ID "/kv/keys/Aw==?namespace=b", NULL, 400, "actor", "not_found");
}

static void test_namespaces(void **state)
{
	static const char *const bad[] = {"", "Upper", "-a", "a-", "a--b", "a_b", "a b", "\\u0000"};
	char name[66];
	(void)state;
	const char *answer = ask("POST /namespaces", JSON, "{\"name\":\"research\",\"display_name\":\"Research\"}");
	assert_int_equal(status_of(answer), 200);
	assert_non_null(strstr(answer, ",\"name\":\"research\",\"display_name\":\"Research\",\"create_ts\":1"));
	MEM_AUTO char *made = mem_strndup(strstr(answer, "_id\":\"") + 6, ACTOR_ID_TEXT);
	expect_error("POST /namespaces", "{\"name\":\"research\",\"display_name\":\"x\"}", 400, "namespace",
		     "name_not_unique");
	MEM_AUTO char *by_ids = mem_printf("GET /namespaces?namespace_ids=" ID ",%s", made);
	MEM_AUTO char *by_id = mem_printf("GET /namespaces?namespace_id=" ID "&namespace_id=%s", made);
	const char *const lines[] = {"GET /namespaces?name=research", "GET /namespaces?limit=1", by_ids, by_id};
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		answer = body_of(ask(lines[i], "", NULL));
		assert_int_equal(strncmp(answer, "{\"namespaces\":[{\"namespace_id\":\"", 32), 0);
		assert_int_equal(strncmp(answer + 32, made, ACTOR_ID_TEXT), 0);
		assert_null(strstr(answer, "},{"));
	}
	expect("GET /namespaces?name=nope", NULL, 200, "{\"namespaces\":[],\"pagination\":{\"cursor\":null}}");
	expect("GET /namespaces?cursor=1", NULL, 200, "{\"namespaces\":[],\"pagination\":{\"cursor\":null}}");
	expect("GET /namespaces?limit=0", NULL, 200, "{\"namespaces\":[],\"pagination\":{\"cursor\":null}}");
	expect_error("GET /namespaces?namespace_ids=" ID ",x", NULL, 400, "api", "bad_request");
	expect_error("GET /namespaces?namespace_id=x", NULL, 400, "api", "bad_request");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		MEM_AUTO char *body = mem_printf("{\"name\":\"%s\",\"display_name\":\"x\"}", bad[i]);
		expect_error("POST /namespaces", body, 400, "namespace", "failed_to_create");
	}
	memset(name, 'n', sizeof(name));
	MEM_AUTO char *over = mem_printf("{\"name\":\"%.65s\",\"display_name\":\"x\"}", name);
	MEM_AUTO char *fits = mem_printf("{\"name\":\"%.64s\",\"display_name\":\"x\"}", name);
	expect_error("POST /namespaces", over, 400, "namespace", "failed_to_create");
	assert_int_equal(status_of(ask("POST /namespaces", JSON, fits)), 200);
	expect("POST /namespaces", "{\"name\":\"a\",\"display_name\":\"\"}", 400,
	       "{\"group\":\"namespace\",\"code\":\"failed_to_create\",\"message\":\"the namespace cannot be created: "
	       "display name too short\",\"metadata\":{\"reason\":\"display name too short\"}}");
	expect_error("POST /namespaces", "{\"name\":\"a\"}", 400, "api", "bad_request");
}

static void test_runners(void **state)
{
	(void)state;
	const char *answer = ask("GET /runners?" NS, "", NULL);
	assert_non_null(strstr(answer, "{\"runners\":[{\"runner_id\":\"" ID "\",\"namespace_id\":\""));
	assert_non_null(strstr(answer,
			       "\",\"datacenter\":\"default\",\"name\":\"default\",\"key\":\"" ID
			       "\",\"version\":1,\"total_slots\":16384,\"remaining_slots\":16381,\"create_ts\":1000,"
			       "\"drain_ts\":null,\"stop_ts\":null,\"last_ping_ts\":1"));
	assert_non_null(strstr(answer, ",\"last_connected_ts\":1000,\"last_rtt\":0,\"metadata\":{}}],"
				       "\"pagination\":{\"cursor\":\"1000\"}}"));
	static const char none[] = "{\"runners\":[],\"pagination\":{\"cursor\":null}}";
	expect("GET /runners?" NS "&name=other", NULL, 200, none);
	expect("GET /runners?" NS "&cursor=1000", NULL, 200, none);
	expect("GET /runners?" NS "&limit=0", NULL, 200, none);
	expect("GET /runners?" NS "&runner_ids=5jt21rdxb03thvkfbgaxtejo3edl00", NULL, 200, none);
	expect_error("GET /runners?" NS "&runner_ids=x", NULL, 400, "api", "bad_request");
	expect_error("GET /runners?" NS "&runner_id=x", NULL, 400, "api", "bad_request");
	assert_non_null(strstr(ask("GET /runners?" NS "&runner_id=" ID "&name=default", "", NULL), "remaining_slots"));
	expect("GET /runners/names?" NS, NULL, 200,
	       "{\"names\":[\"default\"],\"pagination\":{\"cursor\":\"default\"}}");
	expect("GET /runners/names?" NS "&cursor=default", NULL, 200,
	       "{\"names\":[],\"pagination\":{\"cursor\":null}}");
	expect("GET /envoys?" NS, NULL, 200, "{\"envoys\":[],\"pagination\":{\"cursor\":null}}");
	expect("GET /datacenters", NULL, 200,
	       "{\"datacenters\":[{\"label\":1,\"name\":\"default\",\"url\":\"http://127.0.0.1:6420\"}],"
	       "\"pagination\":{\"cursor\":null}}");
	expect(
	    "GET /health/fanout", NULL, 200,
	    "{\"datacenters\":[{\"datacenter_label\":1,\"datacenter_name\":\"default\",\"status\":\"ok\",\"rtt_ms\":0,"
	    "\"response\":{\"runtime\":\"engine\",\"status\":\"ok\",\"version\":\"1.2.3\"},\"error\":null}]}");
}

#define NORMAL                                                                                                     \
	"{\"datacenters\":{\"default\":{\"normal\":{\"drain_on_version_upgrade\":true,\"actor_eviction_delay\":0," \
	"\"actor_eviction_period\":0,\"actor_eviction_rate\":1.0},\"protocol_version\":null}}}"

static void test_configs(void **state)
{
	(void)state;
	expect("GET /runner-configs?" NS, NULL, 200,
	       "{\"runner_configs\":{\"default\":" NORMAL "},\"pagination\":{\"cursor\":null}}");
	expect("PUT /runner-configs/a%2Fb?" NS,
	       "{\"datacenters\":{\"default\":{\"normal\":{\"actor_eviction_delay\":7}}}}", 200,
	       "{\"endpoint_config_changed\":true}");
	const char *answer = body_of(ask("GET /runner-configs?" NS "&runner_name=a%2Fb", "", NULL));
	assert_int_equal(strncmp(answer, "{\"runner_configs\":{\"a/b\":{", 26), 0);
	assert_non_null(strstr(answer, "\"actor_eviction_delay\":7,"));
	expect("GET /runner-configs?" NS "&limit=1&cursor=a%2Fb", NULL, 200,
	       "{\"runner_configs\":{\"default\":" NORMAL "},\"pagination\":{\"cursor\":\"default\"}}");
	expect("GET /runner-configs?" NS "&variant=serverless", NULL, 200,
	       "{\"runner_configs\":{},\"pagination\":{\"cursor\":null}}");
	expect_error("GET /runner-configs?" NS "&variant=other", NULL, 400, "api", "bad_request");
	expect("DELETE /runner-configs/a%2Fb?" NS, NULL, 200, "{}");
	expect("DELETE /runner-configs/a%2Fb?" NS, NULL, 200, "{}");
	expect("GET /runner-configs?" NS "&runner_names=x,a%2Fb", NULL, 200,
	       "{\"runner_configs\":{},\"pagination\":{\"cursor\":null}}");
}

static void test_configs_refuse(void **state)
{
	static const struct {
		const char *body, *group, *code;
	} rows[] = {
	    {"{}", "api", "bad_request"},
	    {"{\"datacenters\":[]}", "api", "bad_request"},
	    {"{\"datacenters\":{},\"x\":1}", "api", "bad_request"},
	    {"{\"datacenters\":{}}", "datacenter", "not_found"},
	    {"{\"datacenters\":{\"mars\":{\"normal\":{}}}}", "datacenter", "not_found"},
	    {"{\"datacenters\":{\"default\":{}}}", "runner_config", "invalid"},
	    {"{\"datacenters\":{\"default\":5}}", "runner_config", "invalid"},
	    {"{\"datacenters\":{\"default\":{\"normal\":5}}}", "runner_config", "invalid"},
	    {"{\"datacenters\":{\"default\":{\"normal\":{\"actor_eviction_rate\":\"x\"}}}}", "api", "bad_request"},
	    {"{\"datacenters\":{\"default\":{\"normal\":{\"actor_eviction_delay\":\"x\"}}}}", "api", "bad_request"},
	    {"{\"datacenters\":{\"default\":{\"normal\":{\"drain_on_version_upgrade\":1}}}}", "api", "bad_request"},
	    {"{\"datacenters\":{\"default\":{\"normal\":{},\"serverless\":{}}}}", "runner_config", "invalid"},
	    {"{\"datacenters\":{\"default\":{\"serverless\":{\"url\":\"http://x\"}}}}", "runner_config", "invalid"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_error("PUT /runner-configs/p?" NS, rows[i].body, 400, rows[i].group, rows[i].code);
	expect_error("POST /runner-configs/default/refresh-metadata?" NS, "{}", 500, "core", "internal_error");
	const char *answer = ask("POST /runner-configs/serverless-health-check?" NS, JSON, "{\"url\":\"http://x\"}");
	assert_int_equal(status_of(answer), 200);
	assert_int_equal(strncmp(body_of(answer), "{\"failure\":{\"error\":{\"message\":\"", 32), 0);
	expect_error("POST /runner-configs/serverless-health-check?" NS, "{}", 400, "api", "bad_request");
}

/* ---- clients that leave ---- */

/* While the driver works, while the store reads, in the middle of a body. */
static void test_client_leaves(void **state)
{
	struct io_peer p;
	(void)state;
	site.hold = true;
	begin(&p, "PUT /actors?" NS, JSON, SLICE_LIT(CREATE));
	IO_UNTIL(site.loop, site.done != NULL);
	io_peer_done(&p);
	IO_UNTIL(site.loop, http_server_count(site.server) == 0);
	assert_false(list_empty(&site.l.requests));
	site.done(site.arg, LOCAL_CALL_OK, &site.actor);
	assert_true(list_empty(&site.l.requests));

	begin(&p, "GET /actors?" NS "&name=probe", "", SLICE_NONE);
	io_loop_turn(site.loop, 1);
	io_peer_done(&p);
	IO_UNTIL(site.loop, http_server_count(site.server) == 0 && list_empty(&site.l.requests));

	begin(&p, "PUT /actors?" NS, JSON "content-length: 100\r\n", SLICE_NONE);
	io_peer_send(&p, "{\"name\"");
	IO_UNTIL(site.loop, !list_empty(&site.l.requests));
	io_peer_done(&p);
	IO_UNTIL(site.loop, http_server_count(site.server) == 0);
	assert_true(list_empty(&site.l.requests));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_health),         TEST(test_fields),        TEST(test_paths),         TEST(test_token),
	    TEST(test_query),          TEST(test_create),        TEST(test_create_fields), TEST(test_create_refuses),
	    TEST(test_content_type),   TEST(test_body_bound),    TEST(test_chunked_body),  TEST(test_outcomes),
	    TEST(test_commands),       TEST(test_list),          TEST(test_list_refuses),  TEST(test_names),
	    TEST(test_value),          TEST(test_namespaces),    TEST(test_runners),       TEST(test_configs),
	    TEST(test_configs_refuse), TEST(test_client_leaves),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
