/* Precedence, types, and the sentence of every refusal. */
#include "app/config.h"
#include "app/config_value.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char file_path[64];

static void write_file(const char *text)
{
	strcpy(file_path, "/tmp/test_config.XXXXXX");
	int fd = mkstemp(file_path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static int load(struct config *c, const char *const *words, const char *const *env, struct err *e)
{
	char *argv[32] = {(char *)(uintptr_t) "rivet-runnerd"};
	char *none[] = {NULL};
	int argc = 1;
	for (; *words != NULL; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	*e = (struct err){0};
	return config_load(c, argc, argv, env == NULL ? none : (char *const *)(uintptr_t)env, e);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void refused(const char *const *words, const char *const *env, int exit_code, const char *part)
{
	struct config c;
	struct err e;
	assert_true(load(&c, words, env, &e) < 0);
	if (strstr(e.text, part) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", part, e.text);
	assert_int_equal(e.exit_code, exit_code);
	config_free(&c);
}

static void file_refused(const char *text, const char *part)
{
	write_file(text);
	refused(WORDS("--config", file_path), NULL, EXIT_CODE_CONFIG, part);
	unlink(file_path);
}

static void test_defaults(void **state)
{
	struct config c;
	struct err e;
	(void)state;
	assert_int_equal(load(&c, WORDS("--foreground"), NULL, &e), 0);
	assert_string_equal(config_get(&c, CONFIG_LISTEN), "127.0.0.1:6420");
	assert_int_equal(c.drain_timeout_ms, 25000);
	assert_int_equal(c.log_level, LOG_LEVEL_INFO);
	assert_true(c.starts_max >= 2);
	assert_null(c.token);
	assert_null(c.types[0]);
	assert_true(strstr(config_get(&c, CONFIG_DATA_DIR), "/.rivet-runnerd") != NULL);
	assert_true(config_get(&c, CONFIG_DATA_DIR)[0] == '/');
	assert_int_equal(strncmp(config_get(&c, CONFIG_RUNTIME_DIR), "/tmp/rivet-runnerd-", 19), 0);
	config_free(&c);
}

static void test_precedence(void **state)
{
	struct config c;
	struct err e;
	(void)state;
	write_file("{\"listen\": \"127.0.0.1:1\", \"drain_timeout\": \"1s\", \"log\": {\"level\": \"debug\"}}");
	const char *const env[] = {"RIVET_LISTEN=127.0.0.1:2", "RIVET_DRAIN_TIMEOUT=2s", "RIVET_LOG_LEVEL=", NULL};
	assert_int_equal(load(&c, WORDS("-c", file_path, "--listen=127.0.0.1:3"), env, &e), 0);
	assert_string_equal(config_get(&c, CONFIG_LISTEN), "127.0.0.1:3");
	assert_string_equal(c.values[CONFIG_LISTEN].source, "option --listen");
	assert_int_equal(c.drain_timeout_ms, 2000);
	assert_string_equal(c.values[CONFIG_DRAIN_TIMEOUT].source, "environment RIVET_DRAIN_TIMEOUT");
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG); /* an empty variable counts as unset */
	config_free(&c);
	unlink(file_path);
}

static void test_actor_of_the_command_line(void **state)
{
	struct config c;
	struct err e;
	const char *const env[] = {"SECRET=1", "RIVET_TOKEN_X=no", "RIVET_TOKEN=t0k", NULL};
	(void)state;
	assert_int_equal(
	    load(&c,
		 WORDS("-f", "--pass-env", "SECRET", "--pass-env", "RIVET_TOKEN_X", "-a", "n", "--", "cmd", "--listen"),
		 env, &e),
	    0);
	assert_string_equal(c.types[0]->name, "n");
	assert_string_equal(c.types[0]->argv[0], "cmd");
	assert_string_equal(c.types[0]->argv[1], "--listen");
	assert_null(c.types[0]->argv[2]);
	assert_string_equal(c.types[0]->environment[0], "SECRET=1");
	assert_null(c.types[0]->environment[1]);
	assert_int_equal(c.types[0]->workers_max, 256);
	assert_string_equal(c.token, "t0k");
	config_free(&c);
}

static void test_actor_settings(void **state)
{
	struct config c;
	struct err e;
	(void)state;
	write_file(
	    "{\"actors\": {\"n\": {\"command\": [\"a\", \"b\"], \"isolation\": \"shared\", \"serve\": \"tcp\", "
	    "\"ready\": "
	    "\"/up\",\n \"sleep_after\": \"never\", \"requests_max\": 1, \"environment\": {\"A\": \"1\"}, \"limits\": "
	    "{\"open_files\": 64, \"address_space\": \"1G\"}}}}");
	assert_int_equal(load(&c, WORDS("-c", file_path), NULL, &e), 0);
	const struct actor_type *t = c.types[0];
	assert_int_equal(t->isolation, ISOLATION_SHARED);
	assert_int_equal(t->serve, SERVE_TCP);
	assert_int_equal(t->ready, READY_PATH);
	assert_string_equal(t->ready_path, "/up");
	assert_int_equal(t->sleep_after_ms, -1);
	assert_int_equal(t->workers_max, 4);
	assert_int_equal(t->requests_max, 1);
	assert_int_equal(t->n_rlimits, 2);
	assert_int_equal(t->rlimits[1].value, 1 << 30);
	struct buf out;
	buf_init(&out, 100000);
	config_print(&c, &out);
	assert_non_null(strstr(buf_text(&out), ":2)"));
	assert_null(strstr(buf_text(&out), "A=1"));
	buf_done(&out);
	config_free(&c);
	unlink(file_path);
}

static void test_usage(void **state)
{
	(void)state;
	refused(WORDS("--lisen", "x"), NULL, 64, "did you mean --listen?");
	refused(WORDS("--listen"), NULL, 64, "--listen needs a value");
	refused(WORDS("word"), NULL, 64, "unexpected word");
	refused(WORDS("-x"), NULL, 64, "unknown option -x");
	refused(WORDS("--", "cmd"), NULL, 64, "--actor NAME");
	refused(WORDS("-a", "n"), NULL, 64, "needs its command");
	refused(WORDS("-a", "n", "--"), NULL, 64, "no command");
}

static void test_bad_values(void **state)
{
	(void)state;
	refused(WORDS("--listen", "6420"), NULL, 78, "is not an address");
	refused(WORDS("--listen", "0.0.0.0:1"), NULL, 78, "no token is set");
	refused(WORDS("--drain-timeout", "25"), NULL, 78, "is not a time");
	refused(WORDS("--log-level", "loud"), NULL, 78, "not one of: error, warn");
	refused(WORDS("-c", "/nonexistent.json"), NULL, 78, "/nonexistent.json: No such file");
	refused(WORDS("-f"), (const char *const[]){"RIVET_TOKEN_FILE=/nonexistent", NULL}, 78,
		"token file /nonexistent");
}

static void test_bad_files(void **state)
{
	(void)state;
	file_refused("{\n\"listen\": \"127.0.0.1:1\",\n}", "line 3");
	file_refused("{\n\"lisen\": \"127.0.0.1:1\"\n}", ":2: unknown key \"lisen\"; did you mean \"listen\"?");
	file_refused("{\n\"log\": {\n\"levle\": \"info\"}}",
		     ":3: unknown key \"log.levle\"; did you mean \"log.level\"?");
	file_refused("{\"listen\": 1}", "must be a text");
	file_refused("{\"actors\": {\"n\": {\n\"comand\": []}}}",
		     ":2: actors.n.comand: unknown actor setting; did you mean \"command\"?");
	file_refused("{\"actors\": {\"n\": {}}}", "has no command");
	file_refused("{\"actors\": {\"n\": {\"command\": []}}}", "list of words");
	file_refused("{\"actors\": {\"n\": {\"command\": [\"x\"], \"sleep_after\": 5}}}", "with its unit");
	file_refused("{\"actors\": {\"n\": {\"command\": [\"x\"], \"user\": \"no-such-user\"}}}",
		     "no user \"no-such-user\"");
	file_refused("{\"actors\": {\"n\": {\"command\": [\"x\"], \"limits\": {\"memory\": \"64K\"}}}}", "at least 1M");
	file_refused("{\"actors\": {\"n\": {\"command\": [\"x\"], \"limits\": {\"cpu\": 0}}}}", "from 0.01");
	file_refused("{\"listen\": \"a\", \"listen\": \"b\"}", "duplicate");
	file_refused("[]", "must be a JSON object");
}

static void test_comments(void **state)
{
	struct config c;
	struct err e;
	(void)state;
	write_file("// a sample\n{\n\t // \"listen\": \"x\",\n  \"listen\": \"127.0.0.1:1\"\n}\n// end");
	assert_int_equal(load(&c, WORDS("-c", file_path), NULL, &e), 0);
	assert_string_equal(config_get(&c, CONFIG_LISTEN), "127.0.0.1:1");
	assert_non_null(strstr(c.values[CONFIG_LISTEN].source, ":4"));
	config_free(&c);
	unlink(file_path);
	file_refused("// one\n{ \"listen\": }", "line 2, column 13");
	file_refused("// one\n{\"levle\": \"//\"}", ":2: unknown key");
	file_refused("{ // behind something\n}", "line 1");
	file_refused("{\"listen\": \"a\n// b\"}", "line 1"); /* no string goes over a line */
	file_refused("/ {}", "line 1");
	file_refused("//", "line 1");
}

static void test_durations(void **state)
{
	int64_t ms = 0;
	(void)state;
	assert_int_equal(config_duration("x", "250ms", false, &ms, NULL), 0);
	assert_int_equal(ms, 250);
	assert_int_equal(config_duration("x", "5min", false, &ms, NULL), 0);
	assert_int_equal(ms, 300000);
	assert_true(config_duration("x", "never", false, &ms, NULL) < 0);
	assert_true(config_duration("x", "-1s", false, &ms, NULL) < 0);
	assert_true(config_duration("x", "99999999999999999999s", false, &ms, NULL) < 0);
	assert_true(config_duration("x", "", false, &ms, NULL) < 0);
	assert_int_equal(ms, 300000);
}

static void test_addresses(void **state)
{
	(void)state;
	assert_int_equal(config_address("x", "[::1]:0", NULL), 0);
	assert_int_equal(config_address("x", "localhost:65535", NULL), 0);
	assert_true(config_address("x", "127.0.0.1:65536", NULL) < 0);
	assert_true(config_address("x", "::1:80", NULL) < 0);
	assert_true(config_address("x", "example.org:80", NULL) < 0);
	assert_true(config_address_is_loopback("127.1.2.3:1"));
	assert_true(config_address_is_loopback("[::1]:1"));
	assert_false(config_address_is_loopback("10.0.0.1:1"));
	assert_false(config_address_is_loopback("[::]:1"));
}

static void test_engine(void **state)
{
	struct config c;
	struct err e;
	(void)state;
	assert_int_equal(
	    load(&c, WORDS("--foreground", "--engine", "https://staging:s3cret@engine.example/x"), NULL, &e), 0);
	assert_true(c.engine_mode && c.endpoint.tls);
	assert_string_equal(config_get(&c, CONFIG_NAMESPACE), "staging");
	assert_string_equal(c.token, "s3cret");
	assert_int_equal(c.total_slots, 1000);
	assert_int_equal(c.runner_version, 1);
	config_free(&c);
	assert_int_equal(load(&c,
			      WORDS("-f", "-e", "http://h:1", "--total-slots", "4294967", "--runner-version",
				    "4294967295", "-l", "127.0.0.1:1"),
			      NULL, &e),
			 0);
	assert_int_equal(c.total_slots, 4294967);
	assert_non_null(strstr(c.warnings[0], "listen has no effect"));
	config_free(&c);
	/* Beyond loopback without a token: it is not listened on. */
	assert_int_equal(load(&c, WORDS("-f", "-e", "http://h:1", "-l", "0.0.0.0:1"), NULL, &e), 0);
	config_free(&c);
}

static void test_engine_refusals(void **state)
{
	(void)state;
	refused(WORDS("-e", "ftp://x"), NULL, EXIT_CODE_CONFIG, "engine.endpoint");
	refused(WORDS("-e", "http://h", "--total-slots", "4294968"), NULL, EXIT_CODE_CONFIG, "total_slots");
	refused(WORDS("-e", "http://h", "--total-slots", "0"), NULL, EXIT_CODE_CONFIG, "total_slots");
	refused(WORDS("-e", "http://h", "--runner-version", "4294967296"), NULL, EXIT_CODE_CONFIG, "version");
	refused(WORDS("-e", "http://a@h", "-n", "b"), NULL, EXIT_CODE_CONFIG, "say it once");
	refused(WORDS("-e", "http://a:one@h"), WORDS("RIVET_TOKEN=two"), EXIT_CODE_CONFIG, "say it once");
	refused(WORDS("-e", "http://h"), WORDS("RIVET_TOKEN=a/b"), EXIT_CODE_CONFIG, "token");
	refused(WORDS("-e", "http://h", "--runner", "\xff"), NULL, EXIT_CODE_CONFIG, "UTF-8");
	write_file("{\"engine\": {\"endpoint\": \"http://h\"}, \"actors\": {\"a\": {\"command\": [\"/bin/true\"], "
		   "\"start_timeout\": \"26s\"}}}");
	refused(WORDS("--config", file_path), NULL, EXIT_CODE_CONFIG, "start_timeout");
	unlink(file_path);
	write_file("{\"engine\": {\"endpoint\": \"http://h\"}, \"actors\": {\"a\": {\"command\": [\"/bin/true\"], "
		   "\"request_timeout\": \"291s\"}}}");
	refused(WORDS("--config", file_path), NULL, EXIT_CODE_CONFIG, "request_timeout");
	unlink(file_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_engine),
	    cmocka_unit_test(test_engine_refusals),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_precedence),
	    cmocka_unit_test(test_actor_of_the_command_line),
	    cmocka_unit_test(test_actor_settings),
	    cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_bad_values),
	    cmocka_unit_test(test_bad_files),
	    cmocka_unit_test(test_comments),
	    cmocka_unit_test(test_durations),
	    cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
