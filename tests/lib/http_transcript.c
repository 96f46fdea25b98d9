/* One parser, one input, one way to cut it. Body pieces are joined, because where they are cut is the only thing that
 * may depend on the input's cuts. */
#include "lib/http_transcript.h"

struct run {
	const struct http_transcript_ask *ask;
	struct http_parser *parser;
	struct buf *out;
	bool in_body;
};

static void on_head(void *arg, const struct http_head *h)
{
	static const char *const framings[] = {"none", "len", "chunked", "eof"};
	struct run *r = arg;
	CHECK(h->n_fields <= LIMIT_HTTP_FIELDS && h->minor <= 1 && h->target.n <= r->ask->target_max);
	if (r->ask->kind == HTTP_REQUEST) {
		buf_add(r->out, h->method);
		buf_add_byte(r->out, ' ');
		buf_add(r->out, h->target);
	} else {
		buf_add_u64(r->out, h->status);
		buf_add_byte(r->out, ' ');
		buf_add(r->out, h->reason);
	}
	buf_addf(r->out, " 1.%d %s", h->minor, framings[h->framing]);
	if (h->framing == HTTP_FRAMING_LENGTH)
		buf_addf(r->out, "=%llu", (unsigned long long)h->length);
	buf_addf(r->out, "%s%s%s;", h->keep_alive ? " keep" : " close", h->upgrade ? " upgrade" : "",
		 h->expect_continue ? " expect" : "");
	for (size_t i = 0; r->ask->fields && i < h->n_fields; i++) {
		const struct http_field *f = &h->fields[i];
		buf_add(r->out, f->name);
		buf_add_byte(r->out, '=');
		buf_add(r->out, f->value);
		buf_addf(r->out, "[%d%s];", f->id, f->hop ? " hop" : "");
	}
	if (r->ask->pause)
		http_parser_pause(r->parser);
}

static void on_body(void *arg, struct slice s)
{
	struct run *r = arg;
	CHECK(s.n > 0);
	if (!r->in_body)
		buf_add_str(r->out, "body ");
	r->in_body = true;
	buf_add(r->out, s);
	if (r->ask->pause)
		http_parser_pause(r->parser);
}

static void end_body(struct run *r)
{
	if (r->in_body)
		buf_add_byte(r->out, ';');
	r->in_body = false;
}

static void put_bad(struct run *r)
{
	const char *text;
	unsigned status = http_parser_error(r->parser, &text);
	CHECK(status >= 400 && status <= 505 && text[0] != '\0');
	end_body(r);
	buf_addf(r->out, "bad %u;", status);
	if (r->ask->fields)
		buf_add_str(r->out, text);
}

/* One piece. True when the run goes on. */
static bool feed(struct run *r, struct slice piece, size_t behind)
{
	while (true) {
		size_t used = SIZE_MAX;
		int outcome = http_parser_feed(r->parser, piece, &used);
		CHECK(used <= piece.n);
		piece = slice_from(piece, used);
		switch (outcome) {
		case 0:
			CHECK(piece.n == 0);
			return true;
		case HTTP_PAUSED:
			CHECK(r->ask->pause);
			break;
		case HTTP_MESSAGE_DONE:
			end_body(r);
			buf_add_str(r->out, "done;");
			http_parser_reset(r->parser, r->ask->head_request, r->ask->upgrade_asked);
			CHECK(!http_parser_begun(r->parser));
			if (piece.n == 0)
				return true;
			break;
		case HTTP_UPGRADED:
			buf_addf(r->out, "upgraded+%zu;", piece.n + behind);
			return false;
		case HTTP_BAD:
			put_bad(r);
			CHECK(http_parser_feed(r->parser, piece, &used) == HTTP_BAD && used == 0);
			return false;
		default:
			IMPOSSIBLE("outcome of http_parser_feed");
		}
	}
}

void http_transcript(const struct http_transcript_ask *ask, struct slice in, size_t first, size_t then, struct buf *out)
{
	static const struct http_parser_events events = {.head = on_head, .body = on_body};
	struct run r = {.ask = ask, .out = out};
	bool go_on = true;
	CHECK(then > 0);
	r.parser = http_parser_new(ask->kind, ask->target_max, &events, &r);
	http_parser_reset(r.parser, ask->head_request, ask->upgrade_asked);
	for (size_t at = 0, n = first; go_on && at < in.n; n = then) {
		if (n > in.n - at)
			n = in.n - at;
		go_on = feed(&r, slice_of(in.p + at, n), in.n - at - n);
		at += n;
	}
	if (go_on) {
		switch (http_parser_eof(r.parser)) {
		case 0:
			buf_add_str(out, "eof;");
			break;
		case HTTP_MESSAGE_DONE:
			end_body(&r);
			buf_add_str(out, "eof done;");
			break;
		default:
			put_bad(&r);
		}
	}
	http_parser_free(r.parser);
}
