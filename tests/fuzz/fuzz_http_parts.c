/* Requests in parts. Lines of the input: method, target, then names and values in turns. Property: the guards are one
 * set. What the parts say is what the same request says as a text, and either both pass or both are refused. */
#include "codec/http_head.h"
#include "fuzz/fuzz.h"

#define FIELDS_MAX (LIMIT_HTTP_FIELDS + 4)
#define INPUT_MAX ((size_t)LIMIT_HTTP_HEAD_BYTES)

static void on_head(void *arg, const struct http_head *h)
{
	struct http_head **ret = arg;
	*ret = http_head_copy(h);
}

static void on_body(void *arg, struct slice s)
{
	(void)arg;
	(void)s;
}

/* NULL when it is refused. */
static struct http_head *read_as_text(const struct http_parts *parts, size_t target_max)
{
	static const struct http_parser_events events = {.head = on_head, .body = on_body};
	struct http_head *h = NULL;
	struct buf text;
	size_t used;
	buf_init(&text, 2 * INPUT_MAX);
	http_put_request_line(&text, parts->method, parts->target);
	for (size_t i = 0; i < parts->n_fields; i++)
		http_put_field(&text, parts->fields[i].name, parts->fields[i].value);
	http_put_end(&text);
	struct http_parser *p = http_parser_new(HTTP_REQUEST, target_max, &events, &h);
	http_parser_reset(p, false, false);
	(void)http_parser_feed(p, buf_slice(&text), &used);
	http_parser_free(p);
	buf_done(&text);
	return h;
}

static void assert_same(const struct http_head *a, const struct http_head *b)
{
	CHECK(slice_eq(a->method, b->method) && slice_eq(a->target, b->target) && a->minor == b->minor);
	CHECK(a->framing == b->framing && a->length == b->length && a->keep_alive == b->keep_alive);
	CHECK(a->upgrade == b->upgrade && a->expect_continue == b->expect_continue && a->n_fields == b->n_fields);
	for (size_t i = 0; i < a->n_fields; i++) {
		const struct http_field *f = &a->fields[i], *g = &b->fields[i];
		CHECK(slice_eq(f->name, g->name) && slice_eq(f->value, g->value) && f->id == g->id && f->hop == g->hop);
	}
}

static struct slice next_line(struct slice *in)
{
	size_t n = slice_find(*in, '\n');
	struct slice line = slice_head(*in, n);
	*in = slice_from(*in, n < in->n ? n + 1 : n);
	return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	struct http_field fields[FIELDS_MAX];
	/* Without what ends a line, which nobody can write out, and short enough for colons and line ends. */
	if (size > INPUT_MAX - 1024 || memchr(data, '\r', size) != NULL || memchr(data, '\0', size) != NULL)
		return 0;
	struct http_parts parts = {.method = next_line(&in), .target = next_line(&in), .fields = fields};
	while (in.n > 0 && parts.n_fields < FIELDS_MAX) {
		struct slice name = next_line(&in);
		/* In a text it would be another name. */
		if (slice_find(name, ':') < name.n)
			return 0;
		fields[parts.n_fields++] = http_field_of(name, next_line(&in));
	}
	struct http_head h;
	const char *why = NULL;
	size_t target_max = size % 2 == 0 ? 100 : LIMIT_HTTP_TARGET_BYTES;
	unsigned status = http_parts_judge(&parts, target_max, &h, &why);
	struct http_head *as_text = read_as_text(&parts, target_max);
	CHECK((status == 0) == (as_text != NULL));
	CHECK(status == 0 || (status >= 400 && status <= 501 && why != NULL));
	if (status == 0)
		assert_same(&h, as_text);
	mem_free(as_text);
	return 0;
}
