/* Runner protocol: the page's byte examples, elements of lists, and everything a decoder must refuse.
 * (All message kinds, byte for byte: tests/check-vectors.c.) */
#include "base/limits.h"
#include "codec/runner_msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct slice bytes_of(const char *hex, struct buf *scratch)
{
	buf_reset(scratch);
	for (const char *p = hex; *p != '\0';) {
		unsigned byte;
		if (*p == ' ') {
			p++;
			continue;
		}
		assert_int_equal(sscanf(p, "%2x", &byte), 1);
		buf_add_byte(scratch, (uint8_t)byte);
		p += 2;
	}
	return buf_slice(scratch);
}

static void check_up(const struct runner_to_server *m, const char *hex)
{
	struct buf out, want;
	buf_init(&out, 1000);
	buf_init(&want, 1000);
	assert_int_equal(runner_to_server_put(&out, m), 0);
	assert_true(slice_eq(buf_slice(&out), bytes_of(hex, &want)));
	buf_done(&out);
	buf_done(&want);
}

static void test_page_examples(void **state)
{
	(void)state;
	struct runner_message_id id = {.gateway = {0x80, 0x3d, 0x27, 0x2a}, .request = {0x57, 0x42, 0x68, 0xbb}};
	check_up(
	    &(struct runner_to_server){.tag = RUNNER_TO_SERVER_INIT,
				       .init = {.name = SLICE_LIT("worker-01"), .version = 1, .total_slots = 1000}},
	    "00 09776f726b65722d3031 01000000 e8030000 00 00");
	check_up(&(struct runner_to_server){.tag = RUNNER_TO_SERVER_STOPPING}, "03");
	check_up(&(struct runner_to_server){.tag = RUNNER_TO_SERVER_PONG, .pong_ts = 1795454038911},
		 "04 7f736609a2010000");
	id.index = 5;
	check_up(&(struct runner_to_server){.tag = RUNNER_TO_SERVER_TUNNEL,
					    .tunnel = {.id = id, .kind = RUNNER_UP_WS_ACK, .ack_index = 256}},
		 "06 803d272a 574268bb 0500 05 0001");
	id.index = 7;
	check_up(&(struct runner_to_server){.tag = RUNNER_TO_SERVER_TUNNEL,
					    .tunnel = {.id = id, .kind = RUNNER_UP_WS_CLOSE, .close.hibernate = true}},
		 "06 803d272a 574268bb 0700 06 00 00 01");

	struct buf scratch;
	struct runner_to_client m;
	buf_init(&scratch, 1000);
	assert_int_equal(runner_to_client_decode(bytes_of("05 7f736609a2010000", &scratch), &m), 0);
	assert_int_equal(m.tag, RUNNER_TO_CLIENT_PING);
	assert_true(m.ping_ts == 1795454038911);
	assert_int_equal(runner_to_client_decode(bytes_of("03 09000000 03", &scratch), &m), 0);
	assert_int_equal(m.tag, RUNNER_TO_CLIENT_KV_RESPONSE);
	assert_int_equal(m.kv.request_id, 9);
	assert_int_equal(m.kv.answer, RUNNER_KV_ANSWER_PUT);
	buf_done(&scratch);
}

/* Elements put into a list come out of the decoded message in their order. */
static void test_lists(void **state)
{
	(void)state;
	struct buf elements, out;
	buf_init(&elements, 1000);
	buf_init(&out, 1000);
	assert_int_equal(runner_pair_put(&elements, SLICE_LIT("set-cookie"), SLICE_LIT("a=1")), 0);
	assert_int_equal(runner_pair_put(&elements, SLICE_LIT("Set-Cookie"), SLICE_LIT("")), 0);
	/* Refused: nothing is added. */
	assert_int_equal(runner_pair_put(&elements, SLICE_LIT("x"), SLICE_LIT("\xe4")), BARE_BAD_TEXT);
	struct runner_to_server m = {
	    .tag = RUNNER_TO_SERVER_TUNNEL,
	    .tunnel = {.kind = RUNNER_UP_RESPONSE_START,
		       .response = {.status = 200, .headers = runner_list_of(buf_slice(&elements), 2)}}};
	assert_int_equal(runner_to_server_put(&out, &m), 0);

	struct runner_to_server got;
	struct slice key, value;
	assert_int_equal(runner_to_server_decode(buf_slice(&out), &got), 0);
	assert_int_equal(got.tunnel.response.status, 200);
	assert_false(got.tunnel.response.has_body);
	struct runner_walk w = runner_walk_of(got.tunnel.response.headers);
	assert_true(runner_pair_next(&w, &key, &value));
	assert_true(slice_is(key, "set-cookie") && slice_is(value, "a=1"));
	assert_true(runner_pair_next(&w, &key, &value));
	assert_true(slice_is(key, "Set-Cookie") && value.n == 0);
	assert_false(runner_pair_next(&w, &key, &value));

	/* Without room the buf stays as it was. */
	size_t n = buf_len(&out);
	out.cap = n + 3;
	assert_int_equal(runner_to_server_put(&out, &m), BARE_FULL);
	assert_int_equal(buf_len(&out), n);
	buf_done(&elements);
	buf_done(&out);
}

static void test_hostile(void **state)
{
	(void)state;
	static const struct {
		const char *hex;
		int to_client, to_server;
	} cases[] = {
	    {"", BARE_SHORT, BARE_SHORT},
	    {"06", BARE_BAD_TAG, BARE_SHORT},
	    {"07", BARE_BAD_TAG, BARE_BAD_TAG},
	    {"ff", BARE_SHORT, BARE_SHORT},
	    {"8100 00", 0, 0}, /* a tag in a longer form than needed: an empty list */
	    {"04 00", BARE_SHORT, BARE_SHORT},
	    {"05 00", BARE_SHORT, BARE_SHORT},
	    {"00 ffffffff0f", BARE_SHORT, BARE_SHORT},
	    {"00 ffffffffffffffffff01", BARE_SHORT, BARE_SHORT},
	    {"01 ffffffffffffffffff01", BARE_SHORT, BARE_SHORT},
	    {"02 ffffffffffffffffff01", BARE_SHORT, BARE_SHORT},
	    {"02 8080808080808080808001", BARE_BAD, BARE_BAD},
	    {"02 ffffffffffffffffff7f", BARE_BAD, BARE_BAD},
	    {"02 01 02fffe 00000000 0000000000000000", BARE_BAD_TEXT, BARE_BAD_TEXT},
	    /* ToServerInit: names optional 02; the same name twice. ToClientInit: drain grace optional 02. */
	    {"00 00 00000000 00000000 02 00", BARE_SHORT, BARE_BAD},
	    {"00 00 00000000 00000000 01 02 0161 00 0161 00 00", 0, BARE_TWICE},
	    {"00 00 0000000000000000 0000000000000000 02", BARE_BAD, 0},
	    /* Stopped with code 2, intent 2, event 3. */
	    {"01 01 00 00000000 0000000000000000 01 01 02 00", 0, BARE_BAD_TAG},
	    {"01 01 00 00000000 0000000000000000 00 02", BARE_SHORT, BARE_BAD_TAG},
	    {"01 01 00 00000000 0000000000000000 03 00", BARE_BAD_TAG, BARE_BAD_TAG},
	    /* KV: an answer of kind 6; an operation of kind 6; a query of kind 3. */
	    {"03 00000000 06", BARE_BAD_TAG, 0},
	    {"05 00 00000000 06 00 00", 0, BARE_BAD_TAG},
	    {"05 00 00000000 01 03 00 00", 0, BARE_BAD_TAG},
	    /* Tunnel: kinds one too high; a message that is neither binary nor text. */
	    {"04 00000000 00000000 0000 06", BARE_BAD_TAG, 0},
	    {"06 00000000 00000000 0000 07", BARE_BAD_TAG, BARE_BAD_TAG},
	    {"04 00000000 00000000 0000 04 00 02", BARE_BAD, 0},
	    /* The same header twice. */
	    {"04 00000000 00000000 0000 03 00 00 02 0161 0162 0161 0163", BARE_TWICE, 0},
	    /* Bytes behind the message. */
	    {"03 00000000 03 ffff", 0, 0},
	};
	struct buf scratch;
	buf_init(&scratch, 1000);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct runner_to_client to_client;
		struct runner_to_server to_server;
		/* To its exact size, so that a sanitizer sees a read past the end. */
		struct slice in = bytes_of(cases[i].hex, &scratch);
		uint8_t *exact = mem_alloc(in.n > 0 ? in.n : 1);
		if (in.n > 0)
			memcpy(exact, in.p, in.n);
		if (runner_to_client_decode(slice_of(exact, in.n), &to_client) != cases[i].to_client)
			fail_msg("to client: %s", cases[i].hex);
		if (runner_to_server_decode(slice_of(exact, in.n), &to_server) != cases[i].to_server)
			fail_msg("to server: %s", cases[i].hex);
		mem_free(exact);
	}
	buf_done(&scratch);
}

/* One key too many, and as many as there may be of which all hash alike. */
static void test_large_maps(void **state)
{
	(void)state;
	struct buf elements, out;
	struct runner_to_client got;
	buf_init(&elements, 1000000);
	buf_init(&out, 1000000);
	for (unsigned i = 0; i <= LIMIT_BARE_MAP_KEYS; i++) {
		char key[16];
		snprintf(key, sizeof(key), "%u", i);
		assert_int_equal(runner_pair_put(&elements, slice_str(key), SLICE_NONE), 0);
	}
	struct runner_to_client m = {.tag = RUNNER_TO_CLIENT_TUNNEL, .tunnel.kind = RUNNER_DOWN_WS_OPEN};
	m.tunnel.open.headers = runner_list_of(buf_slice(&elements), LIMIT_BARE_MAP_KEYS);
	assert_int_equal(runner_to_client_put(&out, &m), 0);
	assert_int_equal(runner_to_client_decode(buf_slice(&out), &got), 0);
	assert_int_equal(got.tunnel.open.headers.count, LIMIT_BARE_MAP_KEYS);

	buf_reset(&out);
	m.tunnel.open.headers.count++;
	assert_int_equal(runner_to_client_put(&out, &m), 0);
	assert_int_equal(runner_to_client_decode(buf_slice(&out), &got), BARE_MANY);
	buf_done(&elements);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_page_examples),
	    cmocka_unit_test(test_lists),
	    cmocka_unit_test(test_hostile),
	    cmocka_unit_test(test_large_maps),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
