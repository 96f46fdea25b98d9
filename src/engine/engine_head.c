/* The map of fields an engine sends becomes a head that is held against the same
 * guards as any client's (codec/http_head). Left out beforehand: what speaks of
 * framing, which is no longer the client's, and the engine's token. */
#include "engine/engine_head.h"

#include "codec/ws_frame.h"
#include "traffic/answer.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- requests ---- */

#define FIELDS_OF_OURS 2 /* host, and one of framing */

static bool is_framing(const struct http_field *f)
{
	return f->id == HTTP_F_CONTENT_LENGTH || f->id == HTTP_F_TRANSFER_ENCODING;
}

static bool is_left_out(const struct http_field *f)
{
	switch (f->id) {
	case HTTP_F_CONTENT_LENGTH:
	case HTTP_F_TRANSFER_ENCODING:
	case HTTP_F_UPGRADE:
	case HTTP_F_EXPECT:
	case HTTP_F_HTTP2_SETTINGS:
	case HTTP_F_SEC_WEBSOCKET_KEY:
	case HTTP_F_SEC_WEBSOCKET_VERSION:
	case HTTP_F_SEC_WEBSOCKET_EXTENSIONS:
		return true;
	default:
		return false;
	}
}

static bool is_secret(const struct http_field *f, const char *token)
{
	static const char scheme[] = "bearer ";
	size_t n = sizeof(scheme) - 1;
	struct slice value = f->value;
	if (token == NULL || f->id != HTTP_F_AUTHORIZATION || value.n < n ||
	    !slice_is_nocase(slice_head(value, n), scheme))
		return false;
	value = slice_from(value, n);
	while (value.n > 0 && value.p[0] == ' ')
		value = slice_from(value, 1);
	return slice_is(value, token);
}

/* The fields that pass, with ours. `digits` is where a content-length is written. Returns their number; what is above
 * LIMIT_HTTP_FIELDS is counted, as a refusal of it, and not stored. */
static size_t take_fields(const struct engine_head_in *in, struct http_field *fields, char digits[static 21])
{
	struct slice name, value;
	size_t n = 0;
	bool host = false, sized = false;
	for (struct runner_walk w = runner_walk_of(in->headers);
	     n < LIMIT_HTTP_FIELDS + 1 && runner_pair_next(&w, &name, &value);) {
		struct http_field f = http_field_of(name, value);
		sized |= is_framing(&f);
		host |= f.id == HTTP_F_HOST;
		if (!is_left_out(&f) && !is_secret(&f, in->token))
			fields[n++] = f;
	}
	if (!host)
		fields[n++] = http_field_of(SLICE_LIT("host"), SLICE_LIT("localhost"));
	if (in->streamed) {
		fields[n++] = http_field_of(SLICE_LIT("transfer-encoding"), SLICE_LIT("chunked"));
	} else if (sized || in->body_bytes > 0) {
		int len = snprintf(digits, 21, "%" PRIu64, in->body_bytes);
		fields[n++] = http_field_of(SLICE_LIT("content-length"), slice_of(digits, (size_t)len));
	}
	return n;
}

unsigned engine_head_request(const struct engine_head_in *in, struct http_head **ret, const char **ret_why)
{
	struct http_field fields[LIMIT_HTTP_FIELDS + 1 + FIELDS_OF_OURS];
	char digits[21];
	struct http_head h;
	const struct http_parts parts = {
	    .method = in->method, .target = in->path, .fields = fields, .n_fields = take_fields(in, fields, digits)};
	if (in->path.n == 0 || in->path.p[0] != '/') {
		*ret_why = "the engine sent a path that is no request target";
		return 400;
	}
	unsigned status = http_parts_judge(&parts, LIMIT_HTTP_TARGET_BYTES, &h, ret_why);
	if (status == 0)
		*ret = http_head_copy(&h);
	return status;
}

/* ---- answers ---- */

#define VARIANT_LETTERS 9 /* 512 lines of one name, more than a head has fields */

static bool is_letter(uint8_t c)
{
	uint8_t low = c | 0x20;
	return low >= 'a' && low <= 'z';
}

/* How many keys can stand for this name. */
static size_t variants_of(struct slice name)
{
	size_t letters = 0;
	for (size_t i = 0; i < name.n && letters < VARIANT_LETTERS; i++)
		letters += is_letter(name.p[i]);
	return (size_t)1 << letters;
}

/* The name in small letters, but for those whose bit in `variant` is set. Lives until the next. */
static struct slice variant_of(struct slice name, size_t variant, struct buf *out)
{
	size_t bit = 0;
	buf_reset(out);
	uint8_t *to = buf_reserve(out, name.n);
	CHECK(to != NULL); /* it is part of a head */
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];
		if (is_letter(c)) {
			c = (uint8_t)(bit < VARIANT_LETTERS && (variant >> bit & 1) != 0 ? c & 0xdf : c | 0x20);
			bit++;
		}
		to[i] = c;
	}
	buf_claim(out, name.n);
	return buf_slice(out);
}

static bool same_name(const struct http_field *a, const struct http_field *b)
{
	return a->name.n == b->name.n && strncasecmp((const char *)a->name.p, (const char *)b->name.p, a->name.n) == 0;
}

static bool passes(const struct http_field *f, bool keep_length)
{
	return f->id == HTTP_F_CONTENT_LENGTH ? keep_length : !answer_ends_here(f);
}

struct putting {
	const struct http_head *h;
	bool keep_length, unfit;
	struct buf name, value;
	struct buf *pairs;
};

static bool is_fit(struct putting *p, const struct http_field *f)
{
	if (!passes(f, p->keep_length))
		return false;
	bool fit = ws_utf8_valid(f->value);
	p->unfit |= !fit;
	return fit;
}

/* Which one of its name it is. */
static size_t occurrence(struct putting *p, uint16_t at)
{
	size_t n = 0;
	for (uint16_t i = 0; i < at; i++)
		n += same_name(&p->h->fields[i], &p->h->fields[at]) && is_fit(p, &p->h->fields[i]);
	return n;
}

/* The value and all that follow under this name, no further key being left for them. Lives until the next. */
static struct slice joined(struct putting *p, uint16_t at)
{
	buf_reset(&p->value);
	buf_add(&p->value, p->h->fields[at].value);
	for (uint16_t i = (uint16_t)(at + 1); i < p->h->n_fields; i++) {
		if (!same_name(&p->h->fields[i], &p->h->fields[at]) || !is_fit(p, &p->h->fields[i]))
			continue;
		buf_add(&p->value, SLICE_LIT(", "));
		buf_add(&p->value, p->h->fields[i].value);
	}
	return buf_slice(&p->value);
}

static bool put_field(struct putting *p, uint16_t at)
{
	const struct http_field *f = &p->h->fields[at];
	size_t variants = variants_of(f->name), n = occurrence(p, at);
	if (n >= variants)
		return false;
	struct slice value = n + 1 == variants ? joined(p, at) : f->value;
	return runner_pair_put(p->pairs, variant_of(f->name, n, &p->name), value) == 0;
}

size_t engine_head_answer(const struct http_head *h, bool keep_length, struct buf *pairs, bool *ret_unfit)
{
	struct putting p = {.h = h, .keep_length = keep_length, .pairs = pairs};
	size_t n = 0;
	buf_init(&p.name, LIMIT_HTTP_HEAD_BYTES);
	buf_init(&p.value, 2 * LIMIT_HTTP_HEAD_BYTES);
	for (uint16_t i = 0; i < h->n_fields; i++) {
		if (is_fit(&p, &h->fields[i]))
			n += put_field(&p, i);
	}
	buf_done(&p.name);
	buf_done(&p.value);
	*ret_unfit = p.unfit;
	return n;
}
