/* Every name that has an id, in every spelling, and the neighbours of each that have none. */
#include "codec/http_inner.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const struct {
	const char *name;
	enum http_field_id id;
} known[] = {
    {"host", HTTP_F_HOST},
    {"connection", HTTP_F_CONNECTION},
    {"keep-alive", HTTP_F_KEEP_ALIVE},
    {"proxy-connection", HTTP_F_PROXY_CONNECTION},
    {"proxy-authenticate", HTTP_F_PROXY_AUTHENTICATE},
    {"proxy-authorization", HTTP_F_PROXY_AUTHORIZATION},
    {"te", HTTP_F_TE},
    {"trailer", HTTP_F_TRAILER},
    {"transfer-encoding", HTTP_F_TRANSFER_ENCODING},
    {"content-length", HTTP_F_CONTENT_LENGTH},
    {"content-type", HTTP_F_CONTENT_TYPE},
    {"upgrade", HTTP_F_UPGRADE},
    {"expect", HTTP_F_EXPECT},
    {"date", HTTP_F_DATE},
    {"server", HTTP_F_SERVER},
    {"origin", HTTP_F_ORIGIN},
    {"vary", HTTP_F_VARY},
    {"authorization", HTTP_F_AUTHORIZATION},
    {"access-control-allow-origin", HTTP_F_ACCESS_CONTROL},
    {"access-control-allow-credentials", HTTP_F_ACCESS_CONTROL},
    {"access-control-expose-headers", HTTP_F_ACCESS_CONTROL},
    {"access-control-max-age", HTTP_F_ACCESS_CONTROL},
    {"access-control-request-method", HTTP_F_ACR_METHOD},
    {"access-control-request-headers", HTTP_F_ACR_HEADERS},
    {"x-forwarded-host", HTTP_F_FORWARDED},
    {"x-forwarded-for", HTTP_F_FORWARDED},
    {"x-forwarded-proto", HTTP_F_FORWARDED},
    {"sec-websocket-key", HTTP_F_SEC_WEBSOCKET_KEY},
    {"sec-websocket-version", HTTP_F_SEC_WEBSOCKET_VERSION},
    {"sec-websocket-accept", HTTP_F_SEC_WEBSOCKET_ACCEPT},
    {"sec-websocket-protocol", HTTP_F_SEC_WEBSOCKET_PROTOCOL},
    {"sec-websocket-extensions", HTTP_F_SEC_WEBSOCKET_EXTENSIONS},
    {"x-rivet-target", HTTP_F_X_RIVET_TARGET},
    {"x-rivet-actor", HTTP_F_X_RIVET_ACTOR},
    {"x-rivet-token", HTTP_F_X_RIVET_TOKEN},
    {"x-rivet-skip-ready-wait", HTTP_F_X_RIVET_SKIP_READY_WAIT},
    {"x-rivet-encoding", HTTP_F_X_RIVET_ENCODING},
    {"x-rivet-conn-params", HTTP_F_X_RIVET_CONN_PARAMS},
    {"x-rivet-ray-id", HTTP_F_X_RIVET_RAY_ID},
    {"x-rivet-error", HTTP_F_X_RIVET_ERROR},
    {"x-rivet-hibernate", HTTP_F_X_RIVET_HIBERNATE},
    {"x-rivet-actor-generation", HTTP_F_X_RIVET_ACTOR_GENERATION},
    {"x-rivet-", HTTP_F_X_RIVET_OTHER},
    {"x-rivet-lifecycle", HTTP_F_X_RIVET_OTHER},
    {"x-rivet-actor-key", HTTP_F_X_RIVET_OTHER},
};

static bool is_family(enum http_field_id id)
{
	return id == HTTP_F_ACCESS_CONTROL || id == HTTP_F_X_RIVET_OTHER;
}

static void test_every_spelling(void **state)
{
	(void)state;
	char text[64];
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t n = strlen(known[i].name);
		assert_int_equal(http_field_lookup(slice_str(known[i].name)), known[i].id);
		for (size_t j = 0; j < n; j++)
			text[j] = (char)(known[i].name[j] == '-' ? '_' : toupper(known[i].name[j]));
		assert_int_equal(http_field_lookup(slice_of(text, n)), known[i].id);
	}
}

static void test_neighbours(void **state)
{
	(void)state;
	char text[64];
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t n = strlen(known[i].name);
		if (is_family(known[i].id))
			continue;
		memcpy(text, known[i].name, n);
		text[n] = 'x';
		assert_int_not_equal(http_field_lookup(slice_of(text, n + 1)), known[i].id);
		assert_int_not_equal(http_field_lookup(slice_of(text, n - 1)), known[i].id);
		for (size_t j = 0; j < n; j++) {
			text[j] = '~';
			assert_int_not_equal(http_field_lookup(slice_of(text, n)), known[i].id);
			text[j] = known[i].name[j];
		}
	}
	static const char *const others[] = {"x",
					     "x-rivet",
					     "x-rivets-a",
					     "x-forwarded",
					     "x-forwarded-",
					     "cookie",
					     "access-control-max-ages",
					     "access-control-",
					     "access-control-allow-",
					     "accept"};
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_int_equal(http_field_lookup(slice_str(others[i])), HTTP_F_OTHER);
}

/* The fast run against the plain rule, at every offset of every byte, and at every length. */
static void test_plain_run(void **state)
{
	(void)state;
	uint8_t text[40];
	for (unsigned c = 0; c < 256; c++) {
		bool plain = c >= 0x20 && c != 0x7f;
		for (size_t at = 0; at < sizeof(text); at++) {
			memset(text, 0xff, sizeof(text));
			text[at] = (uint8_t)c;
			assert_int_equal(http_plain_run(text, sizeof(text)), plain ? sizeof(text) : at);
			memset(text, ' ', sizeof(text));
			text[at] = (uint8_t)c;
			assert_int_equal(http_plain_run(text, sizeof(text)), plain ? sizeof(text) : at);
			for (size_t n = at + 1; c == 0x7f && n <= sizeof(text); n++)
				assert_int_equal(http_plain_run(text, n), at);
		}
	}
	memset(text, 'a', sizeof(text));
	for (size_t n = 0; n <= sizeof(text); n++)
		assert_int_equal(http_plain_run(text, n), n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_spelling),
	    cmocka_unit_test(test_neighbours),
	    cmocka_unit_test(test_plain_run),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
