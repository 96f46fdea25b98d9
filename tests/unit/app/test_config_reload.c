/* Which values a reload takes over, and which it names. */
#include "app/config_reload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static void load(struct config *c, const char *const *words, const char *const *env)
{
	char *argv[32] = {(char *)(uintptr_t) "rivet-runnerd"}, *none[] = {NULL};
	struct err e = {0};
	int argc = 1;
	for (; *words != NULL; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	if (config_load(c, argc, argv, env == NULL ? none : (char *const *)(uintptr_t)env, &e) < 0)
		fail_msg("%s", e.text);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void on_kept(void *arg, const char *key)
{
	char *said = arg;
	(void)snprintf(said + strlen(said), 200 - strlen(said), "%s ", key);
}

static const char *kept(const struct config *c, const struct config *next)
{
	static char said[200];
	said[0] = '\0';
	config_reload_each_kept(c, next, on_kept, said);
	return said;
}

static void test_live_values_move(void **state)
{
	struct config c, next;
	(void)state;
	load(&c, WORDS("--drain-timeout", "1s", "--host", "a", "--log-level", "warn"), WORDS("RIVET_TOKEN=one"));
	load(
	    &next,
	    WORDS("--drain-timeout", "2s", "--host", "b", "--log-level", "debug", "--auth", "none", "--log-file", "/f"),
	    WORDS("RIVET_TOKEN=two", "RIVET_STARTS_MAX=7", "RIVET_ENGINE_LIMITS=true", "RIVET_CORS_ORIGINS=*"));
	config_reload_swap(&c, &next);
	assert_string_equal(kept(&c, &next), "");
	assert_int_equal(c.drain_timeout_ms, 2000);
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(c.hosts[0], "b");
	assert_string_equal(c.cors_origins[0], "*");
	assert_string_equal(c.token, "two");
	assert_string_equal(next.token, "one");
	assert_string_equal(config_get(&c, CONFIG_LOG_FILE), "/f");
	assert_int_equal(c.starts_max, 7);
	assert_true(c.auth_none && c.engine_limits);
	config_free(&next);
	config_free(&c);
}

static void test_the_rest_is_named_and_stays(void **state)
{
	struct config c, next;
	(void)state;
	load(&c, WORDS("--listen", "127.0.0.1:1", "--data-dir", "/a"), NULL);
	load(&next, WORDS("--listen", "127.0.0.1:2", "--data-dir", "/a", "--admin-listen", "127.0.0.1:3"), NULL);
	config_reload_swap(&c, &next);
	assert_string_equal(kept(&c, &next), "listen admin_listen ");
	assert_string_equal(config_get(&c, CONFIG_LISTEN), "127.0.0.1:1");
	config_free(&next);
	config_free(&c);
}

static void test_the_token_of_an_engine_stays(void **state)
{
	struct config c, next;
	(void)state;
	load(&c, WORDS("--engine", "http://a:1"), WORDS("RIVET_TOKEN=one"));
	load(&next, WORDS("--engine", "http://a:1"), WORDS("RIVET_TOKEN=two"));
	assert_int_equal(config_reload_check(&c, &next, NULL), 0);
	config_reload_swap(&c, &next);
	assert_string_equal(kept(&c, &next), "engine.token_file ");
	assert_string_equal(c.token, "one");
	config_free(&next);
	config_free(&c);
}

static void test_the_mode_stays(void **state)
{
	struct config c, next;
	struct err e = {0};
	(void)state;
	load(&c, WORDS("--listen", "127.0.0.1:1"), NULL);
	load(&next, WORDS("--engine", "http://a:1"), NULL);
	assert_true(config_reload_check(&c, &next, &e) < 0);
	assert_non_null(strstr(e.text, "option --engine: engine.endpoint"));
	assert_true(config_reload_check(&next, &c, &e) < 0);
	assert_int_equal(config_reload_check(&c, &c, &e), 0);
	config_free(&next);
	config_free(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_live_values_move),
	    cmocka_unit_test(test_the_rest_is_named_and_stays),
	    cmocka_unit_test(test_the_token_of_an_engine_stays),
	    cmocka_unit_test(test_the_mode_stays),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
