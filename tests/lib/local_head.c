#include "lib/local_head.h"

static void on_head(void *arg, const struct http_head *h)
{
	*(struct http_head **)arg = http_head_copy(h);
}

static void on_body(void *arg, struct slice s)
{
	(void)arg, (void)s;
}

struct http_head *local_head(const char *text)
{
	static const struct http_parser_events events = {.head = on_head, .body = on_body};
	struct http_head *head = NULL;
	struct buf wire;
	size_t used;
	buf_init(&wire, LIMIT_HTTP_HEAD_BYTES);
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			buf_add_byte(&wire, '\r');
		buf_add_byte(&wire, (uint8_t)*text);
	}
	buf_add_str(&wire, "\r\n");
	struct http_parser *p = http_parser_new(HTTP_REQUEST, LIMIT_HTTP_TARGET_BYTES, &events, &head);
	(void)http_parser_feed(p, buf_slice(&wire), &used);
	CHECK(head != NULL);
	http_parser_free(p);
	buf_done(&wire);
	return head;
}
