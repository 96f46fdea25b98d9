/* Owns the parser that judges what an engine says a client sent.
 *
 * The map is written out as a head again and parsed, so that a request is held
 * against one set of guards, whichever way it came. Left out beforehand: what
 * speaks of framing, which is no longer the client's, and the engine's token.
 *
 * Failure paths: what cannot even be written out as a line, and what the parser
 * refuses, is a status and a sentence. */
#include "engine/engine_head.h"

#include "codec/ws_frame.h"
#include "traffic/answer.h"

static void on_head(void *arg, const struct http_head *h)
{
	struct engine_head *e = arg;
	e->taken = http_head_copy(h);
}

static void on_body(void *arg, struct slice s)
{
	(void)arg;
	(void)s;
}

static const struct http_parser_events events = {.head = on_head, .body = on_body};

void engine_head_init(struct engine_head *e)
{
	*e = (struct engine_head){0};
	e->parser = http_parser_new(HTTP_REQUEST, LIMIT_HTTP_TARGET_BYTES, &events, e);
	buf_init(&e->text, 2 * LIMIT_HTTP_HEAD_BYTES);
}

void engine_head_done(struct engine_head *e)
{
	http_parser_free(e->parser);
	buf_done(&e->text);
}

/* ---- requests ---- */

/* As names are compared everywhere: case folded, '_' read as '-'. */
static bool is_name(struct slice s, const char *name)
{
	if (s.n != strlen(name))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i] == '_' ? '-' : s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i];
		if (c != (uint8_t)name[i])
			return false;
	}
	return true;
}

static bool is_left_out(struct slice name)
{
	static const char *const names[] = {"content-length",
					    "transfer-encoding",
					    "upgrade",
					    "expect",
					    "http2-settings",
					    "sec-websocket-key",
					    "sec-websocket-version",
					    "sec-websocket-extensions"};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (is_name(name, names[i]))
			return true;
	}
	return false;
}

static bool is_secret(struct slice name, struct slice value, const char *token)
{
	static const char scheme[] = "bearer ";
	size_t n = sizeof(scheme) - 1;
	if (token == NULL || !is_name(name, "authorization") || value.n < n ||
	    !slice_is_nocase(slice_head(value, n), scheme))
		return false;
	value = slice_from(value, n);
	while (value.n > 0 && value.p[0] == ' ')
		value = slice_from(value, 1);
	return slice_is(value, token);
}

static bool put_fields(struct buf *text, const struct engine_head_in *in, bool *ret_sized)
{
	struct slice name, value;
	bool host = false;
	for (struct runner_walk w = runner_walk_of(in->headers); runner_pair_next(&w, &name, &value);) {
		if (!http_is_one_line(name) || !http_is_one_line(value) || slice_find(name, ':') < name.n)
			return false;
		*ret_sized |= is_name(name, "content-length") || is_name(name, "transfer-encoding");
		host |= is_name(name, "host");
		if (!is_left_out(name) && !is_secret(name, value, in->token))
			http_put_field(text, name, value);
	}
	if (!host)
		http_put_field_str(text, "host", "localhost");
	return true;
}

/* NULL, or what is wrong with it. */
static const char *put_text(struct buf *text, const struct engine_head_in *in)
{
	bool sized = false;
	if (in->path.n == 0 || in->path.p[0] != '/' || !http_is_one_line(in->path) ||
	    slice_find(in->path, ' ') < in->path.n)
		return "the engine sent a path that is no request target";
	if (in->method.n == 0 || !http_is_one_line(in->method) || slice_find(in->method, ' ') < in->method.n)
		return "the engine sent a method that is none";
	http_put_request_line(text, in->method, in->path);
	if (!put_fields(text, in, &sized))
		return "the engine sent a field that is no header line";
	if (in->streamed)
		buf_add(text, SLICE_LIT("transfer-encoding: chunked\r\n"));
	else if (sized || in->body_bytes > 0)
		http_put_field_u64(text, "content-length", in->body_bytes);
	http_put_end(text);
	return NULL;
}

unsigned engine_head_request(struct engine_head *e, const struct engine_head_in *in, struct http_head **ret,
			     const char **ret_why)
{
	size_t used;
	buf_reset(&e->text);
	*ret_why = put_text(&e->text, in);
	if (*ret_why != NULL)
		return 400;
	if (e->text.over) {
		*ret_why = "the request's head is longer than 32 KiB";
		return 431;
	}
	http_parser_reset(e->parser, false, false);
	int r = http_parser_feed(e->parser, buf_slice(&e->text), &used);
	struct http_head *h = TAKE(e->taken);
	if (h != NULL && r != HTTP_BAD) {
		*ret = h;
		return 0;
	}
	mem_free(h);
	return http_parser_error(e->parser, ret_why);
}

struct slice engine_head_find(struct runner_list headers, const char *name)
{
	struct slice key, value;
	for (struct runner_walk w = runner_walk_of(headers); runner_pair_next(&w, &key, &value);) {
		if (is_name(key, name))
			return value;
	}
	return SLICE_NONE;
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

/* The name in small letters, but for those whose bit in `variant` is set. */
static void put_variant(struct slice name, size_t variant, struct buf *out)
{
	size_t bit = 0;
	for (size_t i = 0; i < name.n; i++) {
		uint8_t c = name.p[i];
		if (is_letter(c)) {
			c = (uint8_t)(bit < VARIANT_LETTERS && (variant >> bit & 1) != 0 ? c & 0xdf : c | 0x20);
			bit++;
		}
		buf_add_byte(out, c);
	}
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

/* The value, with all that follow under this name when no further key is left for them. */
static void put_value(struct putting *p, uint16_t at, bool last)
{
	buf_reset(&p->value);
	buf_add(&p->value, p->h->fields[at].value);
	for (uint16_t i = (uint16_t)(at + 1); last && i < p->h->n_fields; i++) {
		if (!same_name(&p->h->fields[i], &p->h->fields[at]) || !is_fit(p, &p->h->fields[i]))
			continue;
		buf_add(&p->value, SLICE_LIT(", "));
		buf_add(&p->value, p->h->fields[i].value);
	}
}

static bool put_field(struct putting *p, uint16_t at)
{
	const struct http_field *f = &p->h->fields[at];
	size_t variants = variants_of(f->name), n = occurrence(p, at);
	if (n >= variants)
		return false;
	buf_reset(&p->name);
	put_variant(f->name, n, &p->name);
	put_value(p, at, n + 1 == variants);
	return runner_pair_put(p->pairs, buf_slice(&p->name), buf_slice(&p->value)) == 0;
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
