/* WebSocket frames: building them, following them, reading messages.
 *
 * Follower and reader share one header reader, which judges each header byte
 * as it arrives, so that any split of the input ends the same. The follower
 * keeps no payload but that of a close frame; the reader gathers messages up
 * to its bound. Failure: the first broken rule is the outcome of that feed and
 * of every later one. */
#include "codec/ws_frame.h"

#include "base/entropy.h"
#include "codec/json_field.h"
#include "codec/sha1.h"
#include "codec/utf8.h"

#define FIN 0x80
#define RESERVED 0x70
#define MASKED 0x80
#define CONTROL 0x08 /* in an opcode */
#define CONTROL_MAX 125

/* ---- handshake (RFC 6455 4) ---- */

static void base64_text(struct slice bytes, char *ret, size_t n)
{
	struct buf text;
	buf_init(&text, n);
	base64_put(&text, bytes, false);
	CHECK(!text.over && buf_len(&text) == n);
	memcpy(ret, text.mem + text.at, n);
	ret[n] = '\0';
	buf_done(&text);
}

void ws_accept(struct slice key, char ret[29])
{
	uint8_t digest[SHA1_BYTES];
	sha1_of(key, SLICE_LIT("258EAFA5-E914-47DA-95CA-C5AB0DC85B11"), digest);
	base64_text(slice_of(digest, sizeof(digest)), ret, 28);
}

void ws_key(char ret[25])
{
	uint8_t nonce[16];
	entropy_take(nonce, sizeof(nonce));
	base64_text(slice_of(nonce, sizeof(nonce)), ret, 24);
}

/* ---- building ---- */

/* to = from ^ mask, the mask's first byte being byte `at` & 3 of it. */
static void apply_mask(uint8_t *to, const uint8_t *from, size_t n, const uint8_t mask[4], uint32_t at)
{
	uint8_t turned[8];
	uint64_t wide;
	size_t i = 0;
	for (size_t j = 0; j < 8; j++)
		turned[j] = mask[(at + j) & 3];
	memcpy(&wide, turned, 8);
	for (; i + 8 <= n; i += 8) {
		uint64_t w;
		memcpy(&w, from + i, 8);
		w ^= wide;
		memcpy(to + i, &w, 8);
	}
	for (; i < n; i++)
		to[i] = from[i] ^ turned[i & 7];
}

void ws_put_frame(struct buf *out, enum ws_opcode op, bool fin, bool masked, struct slice payload)
{
	uint8_t head[14];
	size_t n = 2;
	head[0] = (uint8_t)(op | (fin ? FIN : 0));
	head[1] = masked ? MASKED : 0;
	if (payload.n <= 125) {
		head[1] |= (uint8_t)payload.n;
	} else {
		bool wide = payload.n > UINT16_MAX;
		head[1] |= wide ? 127 : 126;
		for (int shift = wide ? 56 : 8; shift >= 0; shift -= 8)
			head[n++] = (uint8_t)((uint64_t)payload.n >> shift);
	}
	uint8_t *mask = head + n;
	if (masked) {
		entropy_take(mask, 4);
		n += 4;
	}
	uint8_t *to = payload.n > out->cap ? NULL : buf_reserve(out, n + payload.n);
	if (to == NULL) {
		out->over = true;
		return;
	}
	memcpy(to, head, n);
	if (masked)
		apply_mask(to + n, payload.p, payload.n, mask, 0);
	else if (payload.n > 0)
		memcpy(to + n, payload.p, payload.n);
	buf_claim(out, n + payload.n);
}

void ws_put_close(struct buf *out, unsigned code, struct slice reason, bool masked)
{
	uint8_t payload[CONTROL_MAX];
	size_t n = 0;
	if (code != WS_CLOSE_NONE) {
		CHECK(code >= 1000 && code <= 4999);
		size_t cut = reason.n;
		if (cut > WS_REASON_MAX) {
			cut = WS_REASON_MAX;
			/* Not inside a character: its continuation bytes are 10xxxxxx. */
			while (cut > 0 && (reason.p[cut] & 0xc0) == 0x80)
				cut--;
		}
		payload[n++] = (uint8_t)(code >> 8);
		payload[n++] = (uint8_t)code;
		if (cut > 0)
			memcpy(payload + n, reason.p, cut);
		n += cut;
	}
	ws_put_frame(out, WS_CLOSE, true, masked, slice_of(payload, n));
}

/* ---- following ---- */

void ws_tracker_init(struct ws_tracker *t, bool want_mask)
{
	*t = (struct ws_tracker){.want_mask = want_mask, .head_need = 2};
}

static bool is_control(const struct ws_tracker *t)
{
	return (t->opcode & CONTROL) != 0;
}

/* FIN, reserved bits and opcode (RFC 6455 5.2, 5.4). */
static int judge_first_byte(struct ws_tracker *t, uint8_t c)
{
	t->fin = (c & FIN) != 0;
	t->opcode = c & 0x0f;
	if ((c & RESERVED) != 0)
		return WS_BAD;
	if (is_control(t))
		return t->opcode <= WS_PONG && t->fin ? 0 : WS_BAD;
	if (t->opcode > WS_BINARY || (t->opcode == WS_CONTINUATION) != t->in_message)
		return WS_BAD;
	if (t->opcode != WS_CONTINUATION)
		t->message_bytes = 0;
	return 0;
}

/* Masking and the short length; from here the header's size is known. */
static int judge_second_byte(struct ws_tracker *t, uint8_t c)
{
	uint8_t length = c & 0x7f;
	if (((c & MASKED) != 0) != t->want_mask || (is_control(t) && length > CONTROL_MAX))
		return WS_BAD;
	t->head_need = (uint8_t)(2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + (t->want_mask ? 4 : 0));
	return 0;
}

/* The header is whole: the length, in its shortest form, and its bound. */
static int begin_payload(struct ws_tracker *t, uint64_t message_max)
{
	uint8_t length_n = (uint8_t)(t->head_need - 2 - (t->want_mask ? 4 : 0));
	uint64_t length = t->head[1] & 0x7f;
	if (length_n > 0) {
		length = 0;
		for (uint8_t i = 0; i < length_n; i++)
			length = length << 8 | t->head[2 + i];
		if (length <= (length_n == 2 ? CONTROL_MAX : UINT16_MAX) || length > INT64_MAX)
			return WS_BAD;
	}
	if (!is_control(t)) {
		if (length > message_max || t->message_bytes > message_max - length)
			return WS_TOO_BIG;
		t->message_bytes += length;
		t->in_message = !t->fin;
	}
	t->left = length;
	t->mask_at = 0;
	return 0;
}

/* Takes header bytes from in at *at. 0 also when more are needed. */
static int take_header(struct ws_tracker *t, struct slice in, size_t *at, uint64_t message_max)
{
	while (*at < in.n && t->head_have < t->head_need) {
		uint8_t c = in.p[(*at)++];
		t->head[t->head_have++] = c;
		int r = t->head_have == 1 ? judge_first_byte(t, c) : t->head_have == 2 ? judge_second_byte(t, c) : 0;
		if (r == 0 && t->head_have == t->head_need)
			r = begin_payload(t, message_max);
		if (r != 0)
			return r;
	}
	return 0;
}

static bool in_payload(const struct ws_tracker *t)
{
	return t->head_have == t->head_need;
}

static void end_frame(struct ws_tracker *t)
{
	t->head_have = 0;
	t->head_need = 2;
}

/* The payload's bytes of in, from *at on, without their mask to `to` (which has room, or is NULL). Returns how many. */
static size_t take_payload(struct ws_tracker *t, struct slice in, size_t *at, uint8_t *to)
{
	size_t n = in.n - *at < t->left ? in.n - *at : (size_t)t->left;
	if (to != NULL && n > 0) {
		if (t->want_mask)
			apply_mask(to, in.p + *at, n, t->head + t->head_need - 4, t->mask_at);
		else
			memcpy(to, in.p + *at, n);
	}
	t->mask_at = (t->mask_at + (uint32_t)n) & 3;
	t->left -= n;
	*at += n;
	return n;
}

/* A code that may be on the wire (RFC 6455 7.4, IANA registry). */
static bool is_close_code(unsigned code)
{
	if (code == 1004 || code == WS_CLOSE_NONE || code == WS_CLOSE_ABNORMAL)
		return false;
	return (code >= 1000 && code <= 1014) || (code >= 3000 && code <= 4999);
}

static unsigned close_code(struct slice payload)
{
	return payload.n < 2 ? WS_CLOSE_NONE : (unsigned)payload.p[0] << 8 | payload.p[1];
}

static struct slice close_reason(struct slice payload)
{
	return payload.n < 2 ? SLICE_NONE : slice_from(payload, 2);
}

static bool close_is_sound(struct slice payload)
{
	return payload.n == 0 ||
	       (payload.n >= 2 && is_close_code(close_code(payload)) && ws_utf8_valid(close_reason(payload)));
}

static struct slice close_payload(const struct ws_tracker *t)
{
	return slice_of(t->close_payload, t->close_len);
}

int ws_tracker_feed(struct ws_tracker *t, struct slice in, size_t *ret_used)
{
	size_t at = 0;
	*ret_used = 0;
	if (t->broken != 0)
		return t->broken;
	while (at < in.n && !t->close_seen) {
		t->broken = (uint8_t)take_header(t, in, &at, LIMIT_WS_MESSAGE_BYTES);
		if (t->broken != 0)
			return t->broken;
		if (!in_payload(t))
			break;
		if (t->opcode == WS_CLOSE)
			t->close_len += (uint8_t)take_payload(t, in, &at, t->close_payload + t->close_len);
		else
			take_payload(t, in, &at, NULL);
		if (t->left > 0)
			break;
		if (t->opcode == WS_CLOSE && !close_is_sound(close_payload(t)))
			return t->broken = WS_BAD;
		t->close_seen = t->opcode == WS_CLOSE;
		end_frame(t);
		*ret_used = at;
	}
	*ret_used = at;
	return 0;
}

bool ws_tracker_at_boundary(const struct ws_tracker *t)
{
	return t->head_have == 0;
}

unsigned ws_tracker_close(const struct ws_tracker *t, struct slice *ret_reason)
{
	*ret_reason = close_reason(close_payload(t));
	return close_code(close_payload(t));
}

/* ---- reading ---- */

struct ws_reader {
	struct ws_tracker t;
	const struct ws_reader_events *events;
	void *arg;
	size_t message_max;
	bool binary;        /* the message being gathered */
	struct buf message; /* so far */
	uint8_t control[CONTROL_MAX];
	uint8_t control_n;
};

struct ws_reader *ws_reader_new(bool want_mask, size_t message_max, const struct ws_reader_events *events, void *arg)
{
	CHECK(message_max > 0 && message_max <= LIMIT_WS_ENGINE_MESSAGE_BYTES);
	struct ws_reader *r = mem_zalloc(sizeof(*r));
	ws_tracker_init(&r->t, want_mask);
	r->events = events;
	r->arg = arg;
	r->message_max = message_max;
	buf_init(&r->message, message_max);
	return r;
}

void ws_reader_free(struct ws_reader *r)
{
	if (r == NULL)
		return;
	buf_done(&r->message);
	mem_free(r);
}

static int end_control(struct ws_reader *r)
{
	struct slice payload = slice_of(r->control, r->control_n);
	r->control_n = 0;
	if (r->t.opcode == WS_PING) {
		r->events->ping(r->arg, payload);
	} else if (r->t.opcode == WS_PONG) {
		r->events->pong(r->arg, payload);
	} else {
		if (!close_is_sound(payload))
			return WS_BAD;
		r->t.close_seen = true;
		r->events->close(r->arg, close_code(payload), close_reason(payload));
	}
	return 0;
}

static int end_message(struct ws_reader *r, struct slice whole)
{
	if (!r->binary && !ws_utf8_valid(whole))
		return WS_BAD_TEXT;
	r->events->message(r->arg, r->binary, whole);
	return 0;
}

static int end_data(struct ws_reader *r)
{
	if (!r->t.fin)
		return 0;
	struct slice whole = buf_slice(&r->message);
	int outcome = end_message(r, whole);
	buf_drop(&r->message, whole.n);
	return outcome;
}

/* A message in one frame, unmasked, and all of it here: told in place, not copied. */
static bool is_whole(const struct ws_reader *r, struct slice in, size_t at)
{
	return r->t.fin && !r->t.want_mask && r->t.opcode != WS_CONTINUATION && !is_control(&r->t) &&
	       buf_len(&r->message) == 0 && in.n - at >= r->t.left;
}

static int read_whole(struct ws_reader *r, struct slice in, size_t *at)
{
	struct slice whole = slice_head(slice_from(in, *at), (size_t)r->t.left);
	*at += whole.n;
	r->t.left = 0;
	r->binary = r->t.opcode == WS_BINARY;
	end_frame(&r->t);
	return end_message(r, whole);
}

/* What there is of the current frame's payload. */
static int read_payload(struct ws_reader *r, struct slice in, size_t *at)
{
	bool control = is_control(&r->t);
	if (is_whole(r, in, *at))
		return read_whole(r, in, at);
	if (control) {
		r->control_n += (uint8_t)take_payload(&r->t, in, at, r->control + r->control_n);
	} else {
		size_t n = in.n - *at < r->t.left ? in.n - *at : (size_t)r->t.left;
		uint8_t *to = buf_reserve(&r->message, n);
		CHECK(to != NULL);
		buf_claim(&r->message, take_payload(&r->t, in, at, to));
		if (r->t.opcode != WS_CONTINUATION)
			r->binary = r->t.opcode == WS_BINARY;
	}
	if (r->t.left > 0)
		return 0;
	end_frame(&r->t);
	return control ? end_control(r) : end_data(r);
}

int ws_reader_feed(struct ws_reader *r, struct slice in)
{
	size_t at = 0;
	while (r->t.broken == 0 && at < in.n && !r->t.close_seen) {
		r->t.broken = (uint8_t)take_header(&r->t, in, &at, r->message_max);
		if (r->t.broken == 0 && in_payload(&r->t))
			r->t.broken = (uint8_t)read_payload(r, in, &at);
	}
	return r->t.broken;
}

static bool is_ascii_word(const uint8_t *p)
{
	uint64_t word;
	memcpy(&word, p, 8);
	return (word & 0x8080808080808080u) == 0;
}

bool ws_utf8_valid(struct slice s)
{
	for (size_t i = 0; i < s.n;) {
		/* Most text is ASCII. */
		if (s.n - i >= 8 && is_ascii_word(s.p + i)) {
			i += 8;
			continue;
		}
		if (s.n >= 8 && s.n - i < 8 && is_ascii_word(s.p + s.n - 8))
			return true; /* the last eight, some of them again */
		size_t n = utf8_length(s.p + i, s.n - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}
