/* Frames and handshake: the RFC's examples, every rule broken once, every input cut at every byte. */
#include "codec/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void test_handshake(void **state)
{
	(void)state;
	char accept[29], one[25], two[25];
	ws_accept(SLICE_LIT("dGhlIHNhbXBsZSBub25jZQ=="), accept);
	assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	ws_key(one);
	ws_key(two);
	assert_int_equal(strlen(one), 24);
	assert_string_equal(one + 22, "==");
	assert_string_not_equal(one, two);
}

/* ---- what follower and reader make of an input, as text ---- */

struct seen {
	struct buf text;
};

static void put_payload(struct seen *s, const char *what, struct slice payload)
{
	buf_add_str(&s->text, what);
	buf_add_byte(&s->text, ' ');
	if (payload.n > 200)
		buf_addf(&s->text, "(%zu)", payload.n);
	else
		buf_add(&s->text, payload);
	buf_add_byte(&s->text, ';');
}

static void on_message(void *arg, bool binary, struct slice payload)
{
	put_payload(arg, binary ? "binary" : "text", payload);
}

static void on_ping(void *arg, struct slice payload)
{
	put_payload(arg, "ping", payload);
}

static void on_pong(void *arg, struct slice payload)
{
	put_payload(arg, "pong", payload);
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	struct seen *s = arg;
	buf_addf(&s->text, "%u ", code);
	put_payload(arg, "close", reason);
}

static const struct ws_reader_events events = {
    .message = on_message, .ping = on_ping, .pong = on_pong, .close = on_close};

static void put_outcome(struct seen *s, int outcome)
{
	static const char *const names[] = {"", "BAD", "TOO BIG", "BAD TEXT"};
	buf_add_str(&s->text, names[outcome]);
}

static void read_cut(struct seen *s, bool want_mask, size_t message_max, struct slice in, size_t first, size_t then)
{
	struct ws_reader *r = ws_reader_new(want_mask, message_max, &events, s);
	int outcome = 0;
	buf_reset(&s->text);
	for (size_t at = 0, n = first; at < in.n; at += n, n = then) {
		n = n < in.n - at ? n : in.n - at;
		outcome = ws_reader_feed(r, slice_of(in.p + at, n));
	}
	put_outcome(s, outcome);
	ws_reader_free(r);
}

/* Follows; the text is: bytes good in all, whether at a boundary, close, outcome. */
static void track_cut(struct seen *s, bool want_mask, struct slice in, size_t first, size_t then)
{
	struct ws_tracker t;
	size_t good = 0, used = 0;
	int outcome = 0;
	ws_tracker_init(&t, want_mask);
	buf_reset(&s->text);
	for (size_t at = 0, n = first; at < in.n && outcome == 0; at += n, n = then) {
		n = n < in.n - at ? n : in.n - at;
		outcome = ws_tracker_feed(&t, slice_of(in.p + at, n), &used);
		assert_true(used <= n && (used == n || outcome != 0 || t.close_seen));
		good += used;
	}
	if (outcome != 0) {
		assert_int_equal(ws_tracker_feed(&t, in, &used), outcome);
		assert_int_equal(used, 0);
	} else {
		buf_addf(&s->text, "%zu%s", good, ws_tracker_at_boundary(&t) ? "" : " inside");
	}
	if (t.close_seen) {
		struct slice reason;
		buf_addf(&s->text, " %u ", ws_tracker_close(&t, &reason));
		put_payload(s, "close", reason);
	}
	put_outcome(s, outcome);
}

struct sample {
	const char *name;
	bool want_mask;
	struct slice in;
	const char *read, *tracked;
};

#define IN(lit)                                         \
	{                                               \
		(const uint8_t *)(lit), sizeof(lit) - 1 \
	}
#define MASK "\x37\xfa\x21\x3d"

static const struct sample samples[] = {
    /* RFC 6455 5.7 */
    {"text", false, IN("\x81\x05Hello"), "text Hello;", "7"},
    {"masked text", true, IN("\x81\x85" MASK "\x7f\x9f\x4d\x51\x58"), "text Hello;", "11"},
    {"fragments", false, IN("\x01\x03Hel\x80\x02lo"), "text Hello;", "9"},
    {"ping", false, IN("\x89\x05Hello"), "ping Hello;", "7"},
    {"masked pong", true, IN("\x8a\x85" MASK "\x7f\x9f\x4d\x51\x58"), "pong Hello;", "11"},
    {"nothing", false, IN(""), "", "0"},
    {"empty messages", false, IN("\x81\x00\x82\x00\x89\x00\x8a\x00"), "text ;binary ;ping ;pong ;", "8"},
    {"empty masked", true, IN("\x82\x80" MASK), "binary ;", "6"},
    {"ping between fragments", false,
     IN("\x02\x01"
	"a\x89\x01p\x00\x00\x80\x01"
	"b"),
     "ping p;binary ab;", "11"},
    {"UTF-8 across fragments", false, IN("\x01\x01\xc3\x80\x01\xa4"), "text \xc3\xa4;", "6"},
    {"half a header", false, IN("\x81"), "", "1 inside"},
    {"half a payload", false, IN("\x81\x02x"), "", "3 inside"},
    {"half a message", false, IN("\x01\x01x"), "", "3"},
    /* Closing: what follows is ignored. */
    {"close", false, IN("\x88\x00\x81\x01x"), "1005 close ;", "2 1005 close ;"},
    {"close with code", false, IN("\x88\x02\x03\xe8"), "1000 close ;", "4 1000 close ;"},
    {"close with reason", false,
     IN("\x88\x05\x0f\xa0"
	"bye\xff"),
     "4000 close bye;", "7 4000 close bye;"},
    {"masked close", true, IN("\x88\x85" MASK "\x38\x5a\x43\x44\x52"), "4000 close bye;", "11 4000 close bye;"},
    {"close inside a message", false, IN("\x01\x01x\x88\x00"), "1005 close ;", "5 1005 close ;"},
    /* Broken rules. */
    {"reserved bit 1", false, IN("\xc1\x00"), "BAD", "BAD"},
    {"reserved bit 2", false, IN("\xa1\x00"), "BAD", "BAD"},
    {"reserved bit 3", false, IN("\x91\x00"), "BAD", "BAD"},
    {"opcode 3", false, IN("\x83\x00"), "BAD", "BAD"},
    {"opcode 7", false, IN("\x87\x00"), "BAD", "BAD"},
    {"opcode 11", false, IN("\x8b\x00"), "BAD", "BAD"},
    {"opcode 15", false, IN("\x8f\x00"), "BAD", "BAD"},
    {"mask missing", true, IN("\x81\x01x"), "BAD", "BAD"},
    {"mask unwanted", false, IN("\x81\x81" MASK "x"), "BAD", "BAD"},
    {"continuation of nothing", false, IN("\x80\x00"), "BAD", "BAD"},
    {"continuation after the end", false, IN("\x81\x00\x80\x00"), "text ;BAD", "BAD"},
    {"text inside a message", false, IN("\x01\x00\x81\x00"), "BAD", "BAD"},
    {"fragmented ping", false, IN("\x09\x00"), "BAD", "BAD"},
    {"fragmented close", false, IN("\x08\x00"), "BAD", "BAD"},
    {"ping of 126", false, IN("\x89\x7e\x00\x7e"), "BAD", "BAD"},
    {"length 125 in 16 bits", false, IN("\x82\x7e\x00\x7d"), "BAD", "BAD"},
    {"length 65535 in 64 bits", false, IN("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"), "BAD", "BAD"},
    {"length with the top bit", false, IN("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), "BAD", "BAD"},
    {"length too big", false, IN("\x82\x7f\x00\x00\x00\x00\x02\x00\x00\x01"), "TOO BIG", "TOO BIG"},
    {"length huge", false, IN("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), "TOO BIG", "TOO BIG"},
    {"sum too big", false, IN("\x02\x01x\x80\x7f\x00\x00\x00\x00\x02\x00\x00\x00"), "TOO BIG", "TOO BIG"},
    {"close of one byte", false, IN("\x88\x01\x03"), "BAD", "BAD"},
    {"close 999", false, IN("\x88\x02\x03\xe7"), "BAD", "BAD"},
    {"close 1004", false, IN("\x88\x02\x03\xec"), "BAD", "BAD"},
    {"close 1005", false, IN("\x88\x02\x03\xed"), "BAD", "BAD"},
    {"close 1006", false, IN("\x88\x02\x03\xee"), "BAD", "BAD"},
    {"close 1014", false, IN("\x88\x02\x03\xf6"), "1014 close ;", "4 1014 close ;"},
    {"close 1015", false, IN("\x88\x02\x03\xf7"), "BAD", "BAD"},
    {"close 2999", false, IN("\x88\x02\x0b\xb7"), "BAD", "BAD"},
    {"close 3000", false, IN("\x88\x02\x0b\xb8"), "3000 close ;", "4 3000 close ;"},
    {"close 4999", false, IN("\x88\x02\x13\x87"), "4999 close ;", "4 4999 close ;"},
    {"close 5000", false, IN("\x88\x02\x13\x88"), "BAD", "BAD"},
    {"close reason not UTF-8", false, IN("\x88\x03\x03\xe8\xff"), "BAD", "BAD"},
    {"close reason half a character", false,
     IN("\x88\x04\x03\xe8"
	"a\xc3"),
     "BAD", "BAD"},
    /* The follower passes text on; its reader judges it. */
    {"text not UTF-8", false, IN("\x81\x01\xff"), "BAD TEXT", "3"},
    {"text half a character", false, IN("\x81\x01\xc3\x81\x01x"), "BAD TEXT", "6"},
    {"text surrogate", false, IN("\x81\x03\xed\xa0\x80"), "BAD TEXT", "5"},
};

static void check_sample(const struct sample *s, struct seen *seen)
{
	for (size_t first = 0; first <= s->in.n; first++) {
		for (size_t then = 1; then <= s->in.n + 2; then += s->in.n + 1) {
			read_cut(seen, s->want_mask, LIMIT_WS_MESSAGE_BYTES, s->in, first, then);
			if (strcmp(buf_text(&seen->text), s->read) != 0)
				print_error("%s\n", s->name);
			assert_string_equal(buf_text(&seen->text), s->read);
			track_cut(seen, s->want_mask, s->in, first, then);
			if (strcmp(buf_text(&seen->text), s->tracked) != 0)
				print_error("%s\n", s->name);
			assert_string_equal(buf_text(&seen->text), s->tracked);
		}
	}
}

static void test_samples(void **state)
{
	(void)state;
	struct seen seen;
	buf_init(&seen.text, 10000);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		check_sample(&samples[i], &seen);
	buf_done(&seen.text);
}

/* On a broken frame the whole frames before it are good. */
static void test_good_before_bad(void **state)
{
	(void)state;
	struct ws_tracker t;
	size_t used;
	ws_tracker_init(&t, false);
	assert_int_equal(ws_tracker_feed(&t, SLICE_LIT("\x81\x01x\x82\x00\x83\x00"), &used), WS_BAD);
	assert_int_equal(used, 5);
	ws_tracker_init(&t, false);
	assert_int_equal(ws_tracker_feed(&t, SLICE_LIT("\x81\x01x\x88\x01x"), &used), WS_BAD);
	assert_int_equal(used, 3);
	assert_false(t.close_seen);
	/* Begun in an earlier piece: nothing of this piece is. */
	ws_tracker_init(&t, false);
	assert_int_equal(ws_tracker_feed(&t, SLICE_LIT("\x88\x03\x03"), &used), 0);
	assert_int_equal(used, 3);
	assert_int_equal(ws_tracker_feed(&t, SLICE_LIT("\xe8\xff"), &used), WS_BAD);
	assert_int_equal(used, 0);
}

static void test_after_close(void **state)
{
	(void)state;
	struct ws_tracker t;
	struct slice reason;
	size_t used;
	ws_tracker_init(&t, false);
	assert_int_equal(ws_tracker_feed(&t, SLICE_LIT("\x88\x00\x81\x01x"), &used), 0);
	assert_int_equal(used, 2);
	assert_true(t.close_seen);
	assert_int_equal(ws_tracker_feed(&t, SLICE_LIT("\x81\x01x"), &used), 0);
	assert_int_equal(used, 0);
	assert_int_equal(ws_tracker_close(&t, &reason), WS_CLOSE_NONE);
	assert_int_equal(reason.n, 0);
}

/* ---- what we build, our own reader reads ---- */

static void test_frame_bytes(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 100000);
	ws_put_frame(&out, WS_TEXT, true, false, SLICE_LIT("Hello"));
	ws_put_frame(&out, WS_BINARY, false, false, SLICE_NONE);
	ws_put_close(&out, 1000, SLICE_LIT("x"), false);
	ws_put_close(&out, WS_CLOSE_NONE, SLICE_LIT("ignored"), false);
	assert_int_equal(buf_len(&out), 7 + 2 + 5 + 2);
	assert_memory_equal(out.mem, "\x81\x05Hello\x02\x00\x88\x03\x03\xe8x\x88\x00", 16);
	buf_done(&out);
}

static void test_round_trip(void **state)
{
	(void)state;
	static const size_t lengths[] = {0, 1, 125, 126, 127, 128, 200, 65535, 65536, 70000};
	static uint8_t payload[70000];
	struct buf frame;
	struct seen seen;
	char want[300];
	buf_init(&frame, 100000);
	buf_init(&seen.text, 10000);
	memset(payload, 'p', sizeof(payload));
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (int masked = 0; masked < 2; masked++) {
			size_t n = lengths[i];
			buf_reset(&frame);
			ws_put_frame(&frame, WS_BINARY, true, masked, slice_of(payload, n));
			assert_int_equal(buf_len(&frame), n + 2 + (n > 65535 ? 8 : n > 125 ? 2 : 0) + (masked ? 4 : 0));
			if (n > 200)
				snprintf(want, sizeof(want), "binary (%zu);", n);
			else
				snprintf(want, sizeof(want), "binary %.*s;", (int)n, (const char *)payload);
			read_cut(&seen, masked, 70000, buf_slice(&frame), 3, 1000);
			assert_string_equal(buf_text(&seen.text), want);
			assert_true((frame.mem[1] & 0x80) == (masked ? 0x80 : 0));
		}
	}
	buf_done(&frame);
	buf_done(&seen.text);
}

/* Each masked frame has a mask of its own (RFC 6455 10.3). */
static void test_masks_differ(void **state)
{
	(void)state;
	struct buf one, two;
	buf_init(&one, 100);
	buf_init(&two, 100);
	ws_put_frame(&one, WS_TEXT, true, true, SLICE_LIT("same"));
	ws_put_frame(&two, WS_TEXT, true, true, SLICE_LIT("same"));
	assert_int_equal(buf_len(&one), 10);
	assert_memory_not_equal(one.mem + 2, two.mem + 2, 8);
	buf_done(&one);
	buf_done(&two);
}

/* A masked payload comes out right wherever it is cut. */
static void test_unmask_anywhere(void **state)
{
	(void)state;
	struct buf frame;
	struct seen seen;
	buf_init(&frame, 1000);
	buf_init(&seen.text, 1000);
	ws_put_frame(&frame, WS_TEXT, true, true, SLICE_LIT("The quick brown fox jumps over the lazy dog."));
	for (size_t first = 0; first <= buf_len(&frame); first++) {
		for (size_t then = 1; then < 20; then++) {
			read_cut(&seen, true, 100, buf_slice(&frame), first, then);
			assert_string_equal(buf_text(&seen.text), "text The quick brown fox jumps over the lazy dog.;");
		}
	}
	buf_done(&frame);
	buf_done(&seen.text);
}

static void test_message_max(void **state)
{
	(void)state;
	struct seen seen;
	buf_init(&seen.text, 1000);
	read_cut(&seen, false, 3,
		 (struct slice)IN("\x82\x03"
				  "abc\x02\x02"
				  "ab\x80\x01"
				  "c"),
		 100, 1);
	assert_string_equal(buf_text(&seen.text), "binary abc;binary abc;");
	read_cut(&seen, false, 3,
		 (struct slice)IN("\x82\x04"
				  "abcd"),
		 100, 1);
	assert_string_equal(buf_text(&seen.text), "TOO BIG");
	read_cut(&seen, false, 3,
		 (struct slice)IN("\x02\x02"
				  "ab\x80\x02"
				  "cd"),
		 100, 1);
	assert_string_equal(buf_text(&seen.text), "TOO BIG");
	/* Control frames do not count. */
	read_cut(&seen, false, 1,
		 (struct slice)IN("\x02\x01"
				  "a\x89\x05Hello\x80\x00"),
		 100, 1);
	assert_string_equal(buf_text(&seen.text), "ping Hello;binary a;");
	buf_done(&seen.text);
}

static void expect_reason(const char *reason, size_t want_n)
{
	struct buf frame;
	struct ws_tracker t;
	struct slice got;
	size_t used;
	buf_init(&frame, 1000);
	ws_put_close(&frame, WS_CLOSE_ERROR, slice_str(reason), true);
	ws_tracker_init(&t, true);
	assert_int_equal(ws_tracker_feed(&t, buf_slice(&frame), &used), 0);
	assert_true(t.close_seen);
	assert_int_equal(ws_tracker_close(&t, &got), WS_CLOSE_ERROR);
	assert_int_equal(got.n, want_n);
	assert_memory_equal(got.p, reason, want_n);
	buf_done(&frame);
}

static void test_reason_cut(void **state)
{
	(void)state;
	char text[200] = {0};
	memset(text, 'r', 150);
	expect_reason(text, 123);
	text[123] = '\0';
	expect_reason(text, 123);
	/* A character of two, three and four bytes across the edge, and one that ends at it. */
	static const struct {
		size_t at;
		const char *character;
		size_t want_n;
	} edges[] = {
	    {122, "\xc3\xa4", 122},
	    {121, "\xe2\x82\xac", 121},
	    {120, "\xe2\x82\xac", 123},
	    {120, "\xf0\x9f\x98\x80", 120},
	};
	for (size_t i = 0; i < ARRAY_SIZE(edges); i++) {
		memset(text, 'r', 150);
		memcpy(text + edges[i].at, edges[i].character, strlen(edges[i].character));
		expect_reason(text, edges[i].want_n);
	}
}

static void test_bound(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 8);
	ws_put_frame(&out, WS_TEXT, true, false, SLICE_LIT("1234567"));
	assert_true(out.over);
	assert_int_equal(buf_len(&out), 0);
	buf_reset(&out);
	ws_put_frame(&out, WS_TEXT, true, false, SLICE_LIT("123456"));
	assert_false(out.over);
	buf_done(&out);
}

static void test_utf8(void **state)
{
	(void)state;
	static const char *const good[] = {"",
					   "a",
					   "\x7f",
					   "\xc2\x80",
					   "\xdf\xbf",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xef\xbf\xbf",
					   "\xf0\x90\x80\x80",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",
					  "\xbf",
					  "\xc0\x80",
					  "\xc1\xbf",
					  "\xc2",
					  "\xc2\x41",
					  "\xe0\x9f\xbf",
					  "\xe0\xa0",
					  "\xed\xa0\x80",
					  "\xed\xbf\xbf",
					  "\xf0\x8f\xbf\xbf",
					  "\xf0\x90\x80",
					  "\xf4\x90\x80\x80",
					  "\xf5\x80\x80\x80",
					  "\xff",
					  "a\xfe"};
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(ws_utf8_valid(slice_str(good[i])));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(ws_utf8_valid(slice_str(bad[i])));
	/* At every place of texts of every length. */
	for (size_t n = 2; n < 30; n++) {
		for (size_t at = 0; at + 1 < n; at++) {
			uint8_t text[30];
			memset(text, 'a', sizeof(text));
			assert_true(ws_utf8_valid(slice_of(text, n)));
			text[at] = 0xc3;
			assert_false(ws_utf8_valid(slice_of(text, n)));
			text[at + 1] = 0xa9;
			assert_true(ws_utf8_valid(slice_of(text, n)));
			text[at] = 'a';
			assert_false(ws_utf8_valid(slice_of(text, n)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_handshake),       cmocka_unit_test(test_samples),
	    cmocka_unit_test(test_good_before_bad), cmocka_unit_test(test_after_close),
	    cmocka_unit_test(test_frame_bytes),     cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_masks_differ),    cmocka_unit_test(test_unmask_anywhere),
	    cmocka_unit_test(test_message_max),     cmocka_unit_test(test_reason_cut),
	    cmocka_unit_test(test_bound),           cmocka_unit_test(test_utf8),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
