/* Every way to an actor, and every way to get it wrong. */
#include "local/local_route.h"

#include "lib/local_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define ID "tlf0xcg1buacno4zofgpr7isbeal00"
#define WS                                          \
	"Connection: Upgrade\nUpgrade: websocket\n" \
	"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n"
#define GOC "rvt-namespace=default&rvt-method=getOrCreate&rvt-runner=default"
#define GET "rvt-namespace=default&rvt-method=get"

static struct local_route route(const char *target, const char *fields)
{
	struct local_route r;
	MEM_AUTO char *text = mem_printf("GET %s HTTP/1.1\nHost: localhost\n%s", target, fields);
	struct http_head *h = local_head(text);
	local_route_parse(h, &r);
	/* Nothing of the route may point into the head. */
	mem_free(h);
	return r;
}

static void expect_api(const char *target, const char *fields)
{
	struct local_route r = route(target, fields);
	if (r.kind != ROUTE_API)
		fail_msg("%s", target);
	local_route_clear(&r);
}

static void expect_id(const char *target, const char *fields, const char *want_target, const char *want_token)
{
	struct local_route r = route(target, fields);
	if (r.kind != ROUTE_ACTOR_ID)
		fail_msg("%s: %s.%s", target, r.group, r.code);
	assert_string_equal(r.id.text, ID);
	assert_string_equal(r.target, want_target);
	if (want_token == NULL)
		assert_null(r.token);
	else
		assert_string_equal(r.token, want_token);
	local_route_clear(&r);
}

static void expect_bad(const char *target, const char *fields, unsigned status, const char *want,
		       const char *metadata_json)
{
	struct local_route r = route(target, fields);
	if (r.kind != ROUTE_BAD)
		fail_msg("%s", target);
	MEM_AUTO char *code = mem_printf("%s.%s", r.group, r.code);
	assert_string_equal(code, want);
	assert_int_equal(r.status, status);
	assert_true(r.gateway);
	if (metadata_json == NULL)
		assert_null(r.metadata_json);
	else
		assert_string_equal(r.metadata_json, metadata_json);
	local_route_clear(&r);
}

static void test_api(void **state)
{
	static const char *const targets[] = {"/",
					      "/actors?namespace=x",
					      "/gateway",
					      "/gateway/",
					      "/gateway//x",
					      "/gateway/?a=1",
					      "/gateways/" ID,
					      "/Gateway/" ID "/x",
					      "/gateway/@t/",
					      "/gateway/" ID "@/x",
					      "//gateway/" ID "/x",
					      "/gateway/" ID "//x",
					      "/gateway/" ID "/a//b?c=d",
					      "/gateway/" ID "/a//",
					      "/gateway/n//x?" GET,
					      "/gatewayx?rvt-key=a",
					      "/x?rvt-key=a",
					      "/gateway//?rvt-key=a"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		expect_api(targets[i], "");
	expect_api("/actors", "x-rivet-target: api-public\n");
	/* Words are for upgrades. */
	expect_api("/request/x", "Sec-WebSocket-Protocol: rivet_target.actor, rivet_actor." ID "\n");
}

static void test_by_id(void **state)
{
	(void)state;
	expect_id("/gateway/" ID, "", "/", NULL);
	expect_id("/gateway/" ID "/", "", "/", NULL);
	expect_id("/gateway/" ID "?", "", "/?", NULL);
	expect_id("/gateway/" ID "?a=1", "", "/?a=1", NULL);
	expect_id("/gateway/" ID "/a/%2F/b/%2F../c?x=//%20&&rvtx=1&y", "", "/a/%2F/b/%2F../c?x=//%20&&rvtx=1&y", NULL);
	expect_id("/gateway/TLF0XCG1BUACNO4ZOFGPR7ISBEAL00/x", "", "/x", NULL);
	expect_id("/gateway/%74lf0xcg1buacno4zofgpr7isbeal00/x", "", "/x", NULL);
	/* The path has the last word. */
	expect_id("/gateway/" ID "/x", "x-rivet-target: runner\nx-rivet-actor: other\n", "/x", NULL);
}

static void test_by_id_bad(void **state)
{
	(void)state;
	expect_bad("/gateway/nonsense/x", "", 404, "actor.not_found", NULL);
	expect_bad("/gateway/" ID "0/x", "", 404, "actor.not_found", NULL);
	expect_bad("/gateway/%00/x", "", 404, "actor.not_found", NULL);
	expect_bad("/gateway/%zz/x", "", 404, "actor.not_found", NULL);
	uint8_t zeros[16] = {0};
	struct actor_id elsewhere = actor_id_from(zeros, 2);
	MEM_AUTO char *target = mem_printf("/gateway/%s/x", elsewhere.text);
	expect_bad(target, "", 400, "datacenter.not_found", NULL);
}

static void test_tokens(void **state)
{
	(void)state;
	expect_id("/gateway/" ID "@t%2Fo@k/x", "x-rivet-token: other\n", "/x", "t/o@k");
	expect_id("/gateway/" ID "@%zz/x", "", "/x", "%zz");
	expect_id("/gateway/" ID "/x", "X-Rivet-Token: tok\n", "/x", "tok");
	expect_id("/gateway/" ID "/x", WS "Sec-WebSocket-Protocol: rivet_token.a%2Bb\n", "/x", "a+b");
	expect_id("/gateway/" ID "/x", WS "Sec-WebSocket-Protocol: rivet_token.a%\n", "/x", "a%");
	expect_id("/gateway/" ID "/x", WS "x-rivet-token: field\nSec-WebSocket-Protocol: rivet_token.word\n", "/x",
		  "field");
	struct local_route r = route("/gateway/n/x?" GET "&rvt-token=a%20b", "x-rivet-token: field\n");
	assert_string_equal(r.token, "a b");
	local_route_clear(&r);
	r = route("/gateway/n/x?" GET, "x-rivet-token: field\n");
	assert_string_equal(r.token, "field");
	local_route_clear(&r);
}

static void test_by_header(void **state)
{
	static const char fields[] = "x-rivet-target: actor\nx-rivet-actor: " ID "\nx-rivet-token: t\n";
	(void)state;
	expect_id("/request", fields, "/request", "t");
	expect_id("/request?a=1", fields, "/request?a=1", "t");
	expect_id("/request/a?rvt-key=1", fields, "/request/a?rvt-key=1", "t");
	expect_bad("/requests", fields, 404, "guard.no_route", NULL);
	expect_bad("/", fields, 404, "guard.no_route", NULL);
	expect_bad("/request/a", "x-rivet-target: runner\n", 404, "guard.no_route", NULL);
	expect_bad("/request/a", "x-rivet-target: actor\n", 400, "guard.missing_header",
		   "{\"header\":\"x-rivet-actor\"}");
	expect_bad("/request/a", "x-rivet-target: actor\nx-rivet-actor: x\n", 404, "actor.not_found", NULL);
}

static void test_by_subprotocol(void **state)
{
	(void)state;
	static const char words[] =
	    WS "Sec-WebSocket-Protocol: rivet, rivet_target.actor, rivet_actor." ID "\n"
	       "Sec-WebSocket-Protocol:rivet_token.t ,own,, rivet_skip_ready_wait,rivet_encoding.json\n";
	struct local_route r = route("/connect?a=1", words);
	assert_int_equal(r.kind, ROUTE_ACTOR_ID);
	assert_string_equal(r.target, "/connect?a=1");
	assert_string_equal(r.token, "t");
	assert_string_equal(r.subprotocols, "rivet, own, rivet_encoding.json");
	assert_true(r.offered_rivet);
	assert_true(r.skip_ready_wait);
	local_route_clear(&r);
	expect_bad("/x", WS "Sec-WebSocket-Protocol: rivet_target.actor\n", 400, "guard.missing_header",
		   "{\"header\":\"x-rivet-actor\"}");
	expect_bad("/x", WS "Sec-WebSocket-Protocol: rivet_target.envoy\n", 404, "guard.no_route", NULL);
	/* The header form of an upgrade takes any path. */
	expect_id("/x", WS "x-rivet-target: actor\nx-rivet-actor: " ID "\n", "/x", NULL);
	r = route("/gateway/" ID "/x", WS "Sec-WebSocket-Protocol: rivet_token.t\n");
	assert_null(r.subprotocols);
	assert_false(r.offered_rivet);
	local_route_clear(&r);
	r = route("/gateway/" ID "/x", WS);
	assert_null(r.subprotocols);
	local_route_clear(&r);
}

static void test_skip_ready_wait(void **state)
{
	static const struct {
		const char *target, *fields;
		bool want;
	} rows[] = {
	    {"/gateway/" ID "/x", "", false},
	    {"/gateway/" ID "/x", "x-rivet-skip-ready-wait: 1\n", true},
	    {"/gateway/" ID "/x", "x-rivet-skip-ready-wait: false\n", false},
	    {"/gateway/n/x?" GET "&rvt-skip-ready-wait=true", "", true},
	    {"/gateway/n/x?" GET "&rvt-skip-ready-wait=0", "", false},
	    {"/gateway/n/x?" GET "&rvt-skip-ready-wait=0", "x-rivet-skip-ready-wait: true\n", true},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct local_route r = route(rows[i].target, rows[i].fields);
		assert_int_not_equal(r.kind, ROUTE_BAD);
		assert_int_equal(r.skip_ready_wait, rows[i].want);
		local_route_clear(&r);
	}
	expect_bad("/gateway/" ID "/x", "x-rivet-skip-ready-wait: yes\n", 400, "guard.invalid_header",
		   "{\"header\":\"x-rivet-skip-ready-wait\"}");
	expect_bad("/gateway/n/x?" GET "&rvt-skip-ready-wait=yes", "", 400, "guard.query_invalid_params",
		   "{\"detail\":\"rvt-skip-ready-wait must be true, 1, false or 0\"}");
}

static void test_by_query(void **state)
{
	(void)state;
	struct local_route r =
	    route("/gateway/co%20unter/action/x?a=1&" GOC "&b=%2f&rvt-key=A%2Ca%2Fb&rvt-input=uQABYXgB"
		  "&rvt-crash-policy=restart&c&&rvt-pool=own+pool&rvt-region=default",
		  "");
	static const uint8_t input[] = {0xb9, 0, 1, 0x61, 0x78, 1};
	assert_int_equal(r.kind, ROUTE_ACTOR_KEY);
	assert_string_equal(r.name, "co unter");
	assert_string_equal(r.namespace_name, "default");
	assert_string_equal(r.key, "A/a\\/b");
	assert_string_equal(r.pool, "own pool");
	assert_string_equal(r.target, "/action/x?a=1&b=%2f&c&");
	assert_true(r.create);
	assert_int_equal(r.crash_policy, CRASH_RESTART);
	assert_int_equal(r.input_len, sizeof(input));
	assert_memory_equal(r.input, input, sizeof(input));
	local_route_clear(&r);
	r = route("/gateway/n?" GET "&rvt-pool=p&", "");
	assert_int_equal(r.kind, ROUTE_ACTOR_KEY);
	assert_string_equal(r.target, "/");
	assert_string_equal(r.key, "/");
	assert_false(r.create);
	assert_int_equal(r.crash_policy, CRASH_SLEEP);
	assert_null(r.input);
	local_route_clear(&r);
}

static void test_keys(void **state)
{
	static const char *const rows[][2] = {
	    {"", "/"},        {"a", "a"},      {"a,b", "a/b"},        {"a%2Cb", "a/b"},
	    {",", "\\0/\\0"}, {"a,", "a/\\0"}, {"%5C%2F", "\\\\\\/"}, {"+", " "}};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		MEM_AUTO char *target = mem_printf("/gateway/n/x?" GET "&rvt-key=%s", rows[i][0]);
		struct local_route r = route(target, "");
		assert_int_equal(r.kind, ROUTE_ACTOR_KEY);
		assert_string_equal(r.key, rows[i][1]);
		local_route_clear(&r);
	}
}

static void test_key_bound(void **state)
{
	char key[LIMIT_ACTOR_KEY_BYTES + 2];
	(void)state;
	memset(key, 'k', sizeof(key));
	key[LIMIT_ACTOR_KEY_BYTES] = '\0';
	MEM_AUTO char *fits = mem_printf("/gateway/n/x?" GET "&rvt-key=%s", key);
	struct local_route r = route(fits, "");
	assert_int_equal(r.kind, ROUTE_ACTOR_KEY);
	local_route_clear(&r);
	key[LIMIT_ACTOR_KEY_BYTES] = 'k';
	key[LIMIT_ACTOR_KEY_BYTES + 1] = '\0';
	MEM_AUTO char *over = mem_printf("/gateway/n/x?" GET "&rvt-key=%s", key);
	r = route(over, "");
	assert_int_equal(r.kind, ROUTE_BAD);
	assert_string_equal(r.code, "key_too_large");
	assert_int_equal(r.status, 400);
	local_route_clear(&r);
}

static void test_by_query_bad(void **state)
{
	static const struct {
		const char *target, *code, *metadata_json;
	} rows[] = {
	    {"/gateway/n/x?rvt-method=get", "guard.query_invalid_params", "{\"detail\":\"rvt-namespace is missing\"}"},
	    {"/gateway/n/x?rvt-namespace=default", "guard.query_invalid_params",
	     "{\"detail\":\"rvt-method is missing\"}"},
	    {"/gateway/n/x?rvt-namespace=d&rvt-method=steal", "guard.query_invalid_params",
	     "{\"detail\":\"rvt-method must be get or getOrCreate\"}"},
	    {"/gateway/n/x?" GET "&rvt-colour=red", "guard.query_invalid_params",
	     "{\"detail\":\"unknown parameter rvt-colour\"}"},
	    {"/gateway/n/x?" GOC "&rvt-crash-policy=explode", "guard.query_invalid_params",
	     "{\"detail\":\"rvt-crash-policy must be sleep, restart or destroy\"}"},
	    {"/gateway/n/x?" GET "&rvt-key=a&rvt-key=a", "guard.query_duplicate_param", "{\"name\":\"rvt-key\"}"},
	    {"/gateway/n/x?" GET "&rvt-key", "guard.query_param_missing_equals", "{\"name\":\"rvt-key\"}"},
	    {"/gateway/n/x?" GET "&rvt-key=%zz", "guard.query_invalid_percent_encoding", "{\"name\":\"rvt-key\"}"},
	    {"/gateway/n/x?" GET "&rvt-key=%00", "guard.query_invalid_percent_encoding", "{\"name\":\"rvt-key\"}"},
	    {"/gateway/n/x?" GET "&rvt-key=%ff", "guard.query_invalid_percent_encoding", "{\"name\":\"rvt-key\"}"},
	    {"/gateway/%ff/x?" GET, "guard.query_invalid_percent_encoding", "{\"name\":\"name\"}"},
	    {"/gateway/?" GET, "guard.query_empty_actor_name", NULL},
	    {"/gateway?" GET, "guard.query_empty_actor_name", NULL},
	    {"/gateway/n@t/x?" GET, "guard.query_path_token_syntax", NULL},
	    {"/gateway/n/x?rvt-namespace=d&rvt-method=getOrCreate", "guard.query_missing_pool", NULL},
	    {"/gateway/n/x?" GET "&rvt-runner=default", "guard.query_get_disallowed_params",
	     "{\"name\":\"rvt-runner\"}"},
	    {"/gateway/n/x?" GET "&rvt-input=AA", "guard.query_get_disallowed_params", "{\"name\":\"rvt-input\"}"},
	    {"/gateway/n/x?" GET "&rvt-region=default", "guard.query_get_disallowed_params",
	     "{\"name\":\"rvt-region\"}"},
	    {"/gateway/n/x?" GET "&rvt-crash-policy=sleep", "guard.query_get_disallowed_params",
	     "{\"name\":\"rvt-crash-policy\"}"},
	    {"/gateway/n/x?" GOC "&rvt-input=***", "guard.query_invalid_base64_input", NULL},
	    {"/gateway/n/x?" GOC "&rvt-input=gWFh-Q", "guard.query_invalid_cbor_input",
	     "{\"detail\":\"not one CBOR value\"}"},
	    {"/gateway/n/x?" GOC "&rvt-input=_w", "guard.query_invalid_cbor_input",
	     "{\"detail\":\"not one CBOR value\"}"},
	    {"/gateway/n/x?" GOC "&rvt-input=", "guard.query_invalid_cbor_input",
	     "{\"detail\":\"not one CBOR value\"}"},
	    {"/gateway/n/x?" GOC "&rvt-input=9g==", "guard.query_invalid_base64_input", NULL},
	    {"/gateway/n/x?" GOC "&rvt-region=mars", "datacenter.not_found", NULL},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		expect_bad(rows[i].target, "", 400, rows[i].code, rows[i].metadata_json);
}

static void test_upgrade_by_query(void **state)
{
	(void)state;
	struct local_route r = route("/gateway/n/connect?" GOC "&rvt-key=k", WS "Sec-WebSocket-Protocol: rivet\n");
	assert_int_equal(r.kind, ROUTE_ACTOR_KEY);
	assert_string_equal(r.target, "/connect");
	assert_string_equal(r.subprotocols, "rivet");
	assert_true(r.offered_rivet);
	local_route_clear(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_api),
	    cmocka_unit_test(test_by_id),
	    cmocka_unit_test(test_by_id_bad),
	    cmocka_unit_test(test_tokens),
	    cmocka_unit_test(test_by_header),
	    cmocka_unit_test(test_by_subprotocol),
	    cmocka_unit_test(test_skip_ready_wait),
	    cmocka_unit_test(test_by_query),
	    cmocka_unit_test(test_keys),
	    cmocka_unit_test(test_key_bound),
	    cmocka_unit_test(test_by_query_bad),
	    cmocka_unit_test(test_upgrade_by_query),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
