/* WebSocket streams. First byte: whose stream and its bound; second: how to cut it; the rest is the stream. Properties:
 * - follower and reader end the same for every cut;
 * - what the reader takes, the follower takes;
 * - no message exceeds the bound; each, sent anew, arrives the same. */
#include "codec/ws_frame.h"
#include "fuzz/fuzz.h"

struct reading {
	struct buf text;
	size_t message_max;
	bool resend;
};

static const struct ws_reader_events events;

static void put(struct reading *r, char what, unsigned code, struct slice payload)
{
	buf_addf(&r->text, "%c%u %zu ", what, code, payload.n);
	buf_add(&r->text, payload);
}

static int read_cut(struct reading *r, bool want_mask, struct slice in, size_t first, size_t then)
{
	struct ws_reader *reader = ws_reader_new(want_mask, r->message_max, &events, r);
	int outcome = 0;
	for (size_t at = 0, n = first; at < in.n; at += n, n = then) {
		n = n < in.n - at ? n : in.n - at;
		outcome = ws_reader_feed(reader, slice_of(in.p + at, n));
	}
	ws_reader_free(reader);
	return outcome;
}

static void on_message(void *arg, bool binary, struct slice payload)
{
	struct reading *r = arg;
	CHECK(payload.n <= r->message_max && (binary || ws_utf8_valid(payload)));
	put(r, binary ? 'b' : 't', 0, payload);
	if (!r->resend)
		return;
	struct reading again = {.message_max = r->message_max};
	struct buf frame, want;
	buf_init(&again.text, payload.n + 100);
	buf_init(&frame, payload.n + 100);
	buf_init(&want, payload.n + 100);
	ws_put_frame(&frame, binary ? WS_BINARY : WS_TEXT, true, true, payload);
	CHECK(read_cut(&again, true, buf_slice(&frame), 1, 7) == 0);
	buf_addf(&want, "%c0 %zu ", binary ? 'b' : 't', payload.n);
	buf_add(&want, payload);
	CHECK(slice_eq(buf_slice(&again.text), buf_slice(&want)));
	buf_done(&again.text);
	buf_done(&frame);
	buf_done(&want);
}

static void on_ping(void *arg, struct slice payload)
{
	put(arg, 'i', 0, payload);
}

static void on_pong(void *arg, struct slice payload)
{
	put(arg, 'o', 0, payload);
}

static void on_close(void *arg, unsigned code, struct slice reason)
{
	CHECK(reason.n <= WS_REASON_MAX && ws_utf8_valid(reason));
	put(arg, 'c', code, reason);
}

static const struct ws_reader_events events = {
    .message = on_message, .ping = on_ping, .pong = on_pong, .close = on_close};

/* Bytes that may be forwarded, in all; -outcome when it ended badly. */
static int64_t track_cut(bool want_mask, struct slice in, size_t first, size_t then)
{
	struct ws_tracker t;
	size_t good = 0;
	ws_tracker_init(&t, want_mask);
	for (size_t at = 0, n = first; at < in.n; at += n, n = then) {
		size_t used;
		n = n < in.n - at ? n : in.n - at;
		int outcome = ws_tracker_feed(&t, slice_of(in.p + at, n), &used);
		CHECK(used <= n);
		if (outcome != 0)
			return -outcome;
		CHECK(used == n || t.close_seen);
		good += used;
	}
	return (int64_t)good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > 100000)
		return 0;
	bool want_mask = data[0] & 1;
	struct slice in = slice_of(data + 2, size - 2);
	struct reading whole = {.message_max = data[0] & 2 ? 64 : LIMIT_WS_MESSAGE_BYTES, .resend = true};
	const size_t cuts[][2] = {{1, 1}, {data[1], in.n + 1}, {in.n / 2, data[1] + (size_t)1}};
	buf_init(&whole.text, size * 40 + 100);
	int outcome = read_cut(&whole, want_mask, in, in.n, 1);
	int64_t good = track_cut(want_mask, in, in.n, 1);
	CHECK(!whole.text.over);
	CHECK(outcome != 0 || good >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		struct reading other = {.message_max = whole.message_max};
		buf_init(&other.text, size * 40 + 100);
		CHECK(read_cut(&other, want_mask, in, cuts[i][0], cuts[i][1]) == outcome);
		CHECK(slice_eq(buf_slice(&other.text), buf_slice(&whole.text)));
		CHECK(track_cut(want_mask, in, cuts[i][0], cuts[i][1]) == good);
		buf_done(&other.text);
	}
	buf_done(&whole.text);
	return 0;
}
