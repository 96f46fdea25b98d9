/* Host and Origin rules, the token, CORS and preflight fields. */
#include "local/local_access.h"

#include "lib/local_head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static char *const own_hosts[] = {(char[]){"my.example"}, (char[]){"[fe80::1]"}, NULL};
static char *const one_origin[] = {(char[]){"https://app.example"}, NULL};
static char *const any_origin[] = {(char[]){"*"}, NULL};
static char *const no_origin[] = {NULL};

static const struct local_access open_here = {0};
static const struct local_access with_hosts = {.hosts = own_hosts};
static const struct local_access with_token = {.token = "s3cret"};
static const struct local_access for_all = {.auth_none = true};

static unsigned judge(const struct local_access *a, const char *fields)
{
	MEM_AUTO char *text = mem_printf("GET / HTTP/1.1\n%s", fields);
	MEM_AUTO struct http_head *h = local_head(text);
	return local_access_origin(a, h);
}

static unsigned judge_host(const struct local_access *a, const char *host)
{
	MEM_AUTO char *field = mem_printf("Host: %s\n", host);
	return judge(a, field);
}

static unsigned judge_origin(const struct local_access *a, const char *origin)
{
	MEM_AUTO char *fields = mem_printf("Host: localhost:6420\nOrigin: %s\n", origin);
	return judge(a, fields);
}

static void test_loopback_hosts(void **state)
{
	static const char *const in[] = {"localhost",         "LocalHost:80", "app.localhost", "127.0.0.1",
					 "127.0.0.1:6420",    "127.255.0.9",  "[::1]",         "[::1]:6420",
					 "[0:0:0:0:0:0:0:1]", "localhost:"};
	static const char *const out[] = {"evil.example",
					  "localhost.evil.example",
					  "127.0.0.1.evil.example",
					  "10.0.0.1",
					  "2130706433",
					  "0x7f.0.0.1",
					  "127.1",
					  "127.0.0.01",
					  "localhost:80:80",
					  "localhost:8x",
					  "localhost:123456",
					  "[::1",
					  "[::2]",
					  "[127.0.0.1]",
					  "[::1]x",
					  "::1",
					  ".localhost",
					  "evillocalhost",
					  "localhost.",
					  "[]",
					  ":80",
					  "",
					  "my.example"};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		assert_int_equal(judge_host(&open_here, in[i]), 0);
	for (size_t i = 0; i < ARRAY_SIZE(out); i++)
		assert_int_equal(judge_host(&open_here, out[i]), 421);
}

static void test_configured_hosts(void **state)
{
	(void)state;
	assert_int_equal(judge_host(&with_hosts, "my.example"), 0);
	assert_int_equal(judge_host(&with_hosts, "MY.Example:8080"), 0);
	assert_int_equal(judge_host(&with_hosts, "[fe80::1]:80"), 0);
	assert_int_equal(judge_host(&with_hosts, "localhost"), 0);
	assert_int_equal(judge_host(&with_hosts, "not.my.example"), 421);
	assert_int_equal(judge_host(&with_hosts, "my.example.evil"), 421);
}

static void test_host_check_off(void **state)
{
	(void)state;
	assert_int_equal(judge_host(&with_token, "evil.example"), 0);
	assert_int_equal(judge_host(&for_all, "evil.example"), 0);
	MEM_AUTO struct http_head *old = local_head("GET / HTTP/1.0\n");
	assert_int_equal(local_access_origin(&open_here, old), 0);
}

static void test_origins(void **state)
{
	static const char *const in[] = {"http://localhost:3000", "https://localhost", "http://127.0.0.1:1",
					 "http://[::1]:1", "HTTP://x.localhost"};
	static const char *const out[] = {"http://evil.example",
					  "null",
					  "file://",
					  "ftp://localhost",
					  "localhost",
					  "http:localhost",
					  "http://localhost.evil.example",
					  "http://localhost/",
					  "http://",
					  "http://user@localhost",
					  ""};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(in); i++) {
		assert_int_equal(judge_origin(&open_here, in[i]), 0);
		assert_int_equal(judge_origin(&for_all, in[i]), 0);
		assert_true(local_access_cors(&open_here, slice_str(in[i])));
	}
	for (size_t i = 0; i < ARRAY_SIZE(out); i++) {
		assert_int_equal(judge_origin(&open_here, out[i]), 403);
		assert_int_equal(judge_origin(&for_all, out[i]), 403);
		assert_int_equal(judge_origin(&with_token, out[i]), 0);
		assert_false(local_access_cors(&open_here, slice_str(out[i])));
	}
	/* The second of two is looked at too. */
	assert_int_equal(judge_origin(&open_here, "http://localhost\nOrigin: http://evil.example"), 403);
}

static void test_configured_origins(void **state)
{
	const struct local_access one = {.cors_origins = one_origin}, any = {.cors_origins = any_origin};
	const struct local_access none = {.cors_origins = no_origin};
	(void)state;
	assert_int_equal(judge_origin(&one, "https://app.example"), 0);
	assert_int_equal(judge_origin(&one, "http://app.example"), 403);
	assert_int_equal(judge_origin(&one, "http://localhost:3000"), 403);
	assert_int_equal(judge_origin(&any, "null"), 0);
	assert_int_equal(judge_origin(&none, "http://localhost:3000"), 403);
	const struct local_access token_and_one = {.token = "t", .cors_origins = one_origin};
	assert_int_equal(judge_origin(&token_and_one, "https://other.example"), 403);
}

/* A page may call the host it came from, but gets no CORS fields for it. */
static void test_own_host(void **state)
{
	const struct local_access none = {.hosts = own_hosts, .cors_origins = no_origin};
	(void)state;
	assert_int_equal(judge(&none, "Host: my.example\nOrigin: http://my.example\n"), 0);
	assert_int_equal(judge(&none, "Host: my.example\nOrigin: https://MY.example\n"), 0);
	assert_int_equal(judge(&none, "Host: my.example:80\nOrigin: http://my.example\n"), 0);
	assert_int_equal(judge(&none, "Host: my.example:443\nOrigin: https://my.example\n"), 0);
	assert_int_equal(judge(&none, "Host: my.example\nOrigin: http://my.example:80\n"), 0);
	assert_int_equal(judge(&none, "Host: my.example:8080\nOrigin: http://my.example:8080\n"), 0);
	assert_int_equal(judge(&none, "Host: my.example:80\nOrigin: https://my.example\n"), 403);
	assert_int_equal(judge(&none, "Host: my.example:8080\nOrigin: http://my.example:8081\n"), 403);
	assert_int_equal(judge(&none, "Host: my.example\nOrigin: ws://my.example\n"), 403);
	assert_false(local_access_cors(&none, SLICE_LIT("http://my.example")));
}

static void test_token(void **state)
{
	(void)state;
	assert_true(local_access_token(&open_here, SLICE_NONE));
	assert_true(local_access_token(&with_token, SLICE_LIT("s3cret")));
	static const char *const wrong[] = {"", "s3cre", "s3crets", "S3cret", "t3cret", "s3creu"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(local_access_token(&with_token, slice_str(wrong[i])));
	const struct local_access open_with_token = {.token = "s3cret", .auth_none = true};
	assert_true(local_access_token(&open_with_token, SLICE_LIT("other")));
	assert_false(local_access_cors(&open_with_token, SLICE_LIT("http://evil.example")));
}

static bool api(const char *field)
{
	MEM_AUTO char *text = mem_printf("GET / HTTP/1.1\nHost: a\n%s", field);
	MEM_AUTO struct http_head *h = local_head(text);
	assert_true(local_access_api(&open_here, h));
	return local_access_api(&with_token, h);
}

static void test_bearer(void **state)
{
	(void)state;
	assert_true(api("Authorization: Bearer s3cret\n"));
	assert_true(api("authorization: bearer   s3cret\n"));
	static const char *const wrong[] = {"",
					    "Authorization: Bearer\n",
					    "Authorization: Bearer wrong\n",
					    "Authorization: s3cret\n",
					    "Authorization: Basic s3cret\n",
					    "Authorization: Bearers3cret\n",
					    "x-rivet-token: s3cret\n",
					    "Authorization: Bearer x\nAuthorization: Bearer s3cret\n"};
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_false(api(wrong[i]));
}

static bool secret(const struct local_access *a, const char *field)
{
	MEM_AUTO char *text = mem_printf("GET / HTTP/1.1\n%s\n", field);
	MEM_AUTO struct http_head *h = local_head(text);
	return local_access_is_secret(a, &h->fields[0]);
}

static void test_secret(void **state)
{
	const struct local_access open_with_token = {.token = "s3cret", .auth_none = true};
	(void)state;
	assert_true(secret(&with_token, "Authorization: Bearer s3cret\nHost: a"));
	assert_true(secret(&with_token, "authorization: BEARER  s3cret\nHost: a"));
	assert_false(secret(&with_token, "Authorization: Bearer own\nHost: a"));
	assert_false(secret(&with_token, "Authorization: Basic s3cret\nHost: a"));
	assert_false(secret(&with_token, "x-own: Bearer s3cret\nHost: a"));
	assert_false(secret(&open_here, "Authorization: Bearer s3cret\nHost: a"));
	assert_false(secret(&open_with_token, "Authorization: Bearer own\nHost: a"));
}

static void expect_preflight(const char *head, const char *origin, bool mirror, const char *want)
{
	struct buf out;
	MEM_AUTO struct http_head *h = local_head(head);
	buf_init(&out, 4096);
	local_access_put_preflight(h, slice_str(origin), mirror, &out);
	assert_string_equal(buf_text(&out), want);
	buf_done(&out);
}

#define ANY "access-control-allow-origin: *\r\n"
#define ORIGIN "access-control-allow-origin: http://localhost\r\n"
#define COMMON "access-control-allow-credentials: true\r\naccess-control-expose-headers: *\r\n"
#define METHODS "access-control-allow-methods: GET, POST, PUT, DELETE, OPTIONS, PATCH\r\n"
#define MAX_AGE "access-control-max-age: 86400\r\n"

static void test_preflight(void **state)
{
	(void)state;
	expect_preflight("OPTIONS / HTTP/1.1\nHost: a\n", "", false,
			 ANY COMMON METHODS "access-control-allow-headers: *\r\n" MAX_AGE);
	static const char asks[] = "OPTIONS / HTTP/1.1\nHost: a\nAccess-Control-Request-Method: PUT\n"
				   "Access-Control-Request-Headers: x-a,x-b\n";
	expect_preflight(asks, "http://localhost", false,
			 ORIGIN COMMON "vary: Origin\r\n" METHODS "access-control-allow-headers: x-a,x-b\r\n" MAX_AGE);
	expect_preflight(asks, "http://localhost", true,
			 ORIGIN COMMON "vary: Origin\r\naccess-control-allow-methods: PUT\r\n"
				       "access-control-allow-headers: x-a,x-b\r\n" MAX_AGE);
	expect_preflight("OPTIONS / HTTP/1.1\nHost: a\n", "", true,
			 ANY COMMON METHODS "access-control-allow-headers: *\r\n" MAX_AGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_loopback_hosts),
	    cmocka_unit_test(test_configured_hosts),
	    cmocka_unit_test(test_host_check_off),
	    cmocka_unit_test(test_origins),
	    cmocka_unit_test(test_configured_origins),
	    cmocka_unit_test(test_own_host),
	    cmocka_unit_test(test_token),
	    cmocka_unit_test(test_bearer),
	    cmocka_unit_test(test_secret),
	    cmocka_unit_test(test_preflight),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
