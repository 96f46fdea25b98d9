/* The engine's URL, well-formed and not. */
#include "engine/engine_endpoint.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void accept(const char *url, const char *text, const char *namespace_name, const char *token)
{
	struct engine_endpoint ep;
	struct err e = {0};
	if (engine_endpoint_parse(url, &ep, &e) != 0)
		fail_msg("%s: %s", url, e.text);
	char *got = engine_endpoint_text(&ep);
	assert_string_equal(got, text);
	mem_free(got);
	assert_int_equal(ep.namespace_name == NULL, namespace_name == NULL);
	assert_int_equal(ep.token == NULL, token == NULL);
	if (namespace_name != NULL)
		assert_string_equal(ep.namespace_name, namespace_name);
	if (token != NULL)
		assert_string_equal(ep.token, token);
	engine_endpoint_done(&ep);
}

static void refuse(const char *url, const char *text)
{
	struct engine_endpoint ep = {0};
	struct err e = {0};
	assert_int_equal(engine_endpoint_parse(url, &ep, &e), -EINVAL);
	assert_int_equal(e.exit_code, EXIT_CODE_CONFIG);
	if (strstr(e.text, text) == NULL)
		fail_msg("%s: \"%s\" does not say \"%s\"", url, e.text, text);
	assert_null(strstr(e.text, "s3cret"));
	assert_null(ep.host);
}

static void test_well_formed(void **state)
{
	(void)state;
	accept("http://127.0.0.1:6420", "http://127.0.0.1:6420", NULL, NULL);
	accept("http://engine", "http://engine:80", NULL, NULL);
	accept("HTTPS://Engine.Example/", "https://engine.example:443", NULL, NULL);
	accept("https://engine.example:/a/b//", "https://engine.example:443/a/b", NULL, NULL);
	accept("http://[::1]:1", "http://[::1]:1", NULL, NULL);
	accept("http://[fe80::1]", "http://[fe80::1]:80", NULL, NULL);
	accept("https://prod:s3cret@host", "https://host:443", "prod", "s3cret");
	accept("https://prod@host:65535/x", "https://host:65535/x", "prod", NULL);
	accept("https://prod:@host", "https://host:443", "prod", NULL);
	accept("https://@host", "https://host:443", NULL, NULL);
	accept("https://a%20%C3%BC:x%7Ey@host", "https://host:443", "a \xc3\xbc", "x~y");
}

static void test_malformed(void **state)
{
	(void)state;
	refuse("", "does not begin with http://");
	refuse("engine:6420", "does not begin with http://");
	refuse("ws://s3cret@engine", "does not begin with http://");
	refuse("http://", "names no host");
	refuse("http:///path", "names no host");
	refuse("http://ns:s3cret@", "names no host");
	refuse("http://ho st", "host name is malformed");
	refuse("http://h%41", "host name is malformed");
	refuse("http://.h", "host name is malformed");
	refuse("http://h\r\nx: y", "host name is malformed");
	refuse("http://h:0", "port");
	refuse("http://h:65536", "port");
	refuse("http://h:99999999999999999999", "port");
	refuse("http://h:80a", "port");
	refuse("http://[::1", "has no ]");
	refuse("http://[::g]", "no IPv6 address");
	refuse("http://[]", "no IPv6 address");
	refuse("http://[::1]80", "other than a port");
	refuse("http://h?ns=a", "query or fragment");
	refuse("http://h/a#b", "query or fragment");
	refuse("http://h/a b", "percent-encoded");
	refuse("http://h/\xc3\xbc", "percent-encoded");
	refuse("https://:s3cret@host", "has no namespace");
	refuse("http://n%zz:s3cret@h", "the namespace before the @");
	refuse("http://n%00:s3cret@h", "the namespace before the @");
	refuse("http://n%ff:s3cret@h", "the namespace before the @");
	refuse("http://n:s3cret%@h", "the token before the @");
	refuse("http://n:s3cret%20b@h", "token holds a character");
	char longest[9000];
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	refuse(longest, "8 KiB");
	memcpy(longest, "http://", 7);
	longest[7 + 254] = '\0';
	refuse(longest, "host name is malformed");
}

static void test_tokens(void **state)
{
	(void)state;
	struct err e = {0};
	assert_int_equal(engine_endpoint_token_check("abcXYZ019!#$%&'*+-.^_`|~", &e), 0);
	assert_int_equal(engine_endpoint_token_check("s3cret=", &e), -EINVAL);
	assert_int_equal(engine_endpoint_token_check("s3cret\n", &e), -EINVAL);
	assert_int_equal(engine_endpoint_token_check("s3cr\xc3\xbct", &e), -EINVAL);
	assert_null(strstr(e.text, "s3cr"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_well_formed),
	    cmocka_unit_test(test_malformed),
	    cmocka_unit_test(test_tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
