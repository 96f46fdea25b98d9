/* HTTP streams. First byte: which kind of stream; second: how to cut it; the rest is the stream. Properties:
 * - every cut, with and without pauses, reads the same;
 * - a head that passed, written anew, passes again and says the same;
 * - where llhttp, left alone with the stream, also takes the first message, it sees the same body and the same end. */
#include "fuzz/fuzz.h"
#include "lib/http_transcript.h"

#define HTTP_REQUEST LLHTTP_REQUEST
#define HTTP_RESPONSE LLHTTP_RESPONSE
#include <llhttp.h>
#undef HTTP_REQUEST
#undef HTTP_RESPONSE

#define INPUT_MAX ((size_t)48 * 1024)

static void same_however_cut(struct http_transcript_ask ask, struct slice in, uint8_t cut)
{
	struct buf whole, other;
	const size_t cuts[][2] = {{1, 1}, {cut, in.n + 1}, {in.n / 2, cut + (size_t)1}};
	buf_init(&whole, 64 * INPUT_MAX);
	buf_init(&other, 64 * INPUT_MAX);
	http_transcript(&ask, in, in.n, 1, &whole);
	CHECK(!whole.over);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		buf_reset(&other);
		ask.pause = !ask.pause;
		http_transcript(&ask, in, cuts[i][0], cuts[i][1], &other);
		CHECK(slice_eq(buf_slice(&whole), buf_slice(&other)));
	}
	buf_done(&whole);
	buf_done(&other);
}

/* The first message of a stream, as one of the two readers sees it. */
struct first {
	const struct http_transcript_ask *ask;
	struct http_head *head;
	struct buf body;
	bool done;
	size_t end;
};

static void on_head(void *arg, const struct http_head *h)
{
	struct first *f = arg;
	f->head = http_head_copy(h);
}

static void on_body(void *arg, struct slice s)
{
	struct first *f = arg;
	buf_add(&f->body, s);
}

static struct first read_ours(const struct http_transcript_ask *ask, struct slice in)
{
	static const struct http_parser_events events = {.head = on_head, .body = on_body};
	struct first f = {0};
	buf_init(&f.body, INPUT_MAX);
	struct http_parser *p = http_parser_new(ask->kind, ask->target_max, &events, &f);
	http_parser_reset(p, ask->head_request, ask->upgrade_asked);
	f.done = http_parser_feed(p, in, &f.end) == HTTP_MESSAGE_DONE;
	http_parser_free(p);
	return f;
}

static int on_their_body(llhttp_t *parser, const char *at, size_t n)
{
	struct first *f = parser->data;
	buf_add(&f->body, slice_of(at, n));
	return 0;
}

static bool is_interim(const llhttp_t *parser)
{
	return parser->type == LLHTTP_RESPONSE && parser->status_code / 100 == 1 && parser->status_code != 101;
}

/* llhttp leaves it to its caller to say which answers have no body; 1 says so. */
static int on_their_head(llhttp_t *parser)
{
	const struct first *f = parser->data;
	return parser->type == LLHTTP_RESPONSE &&
	       (f->ask->head_request || is_interim(parser) || parser->status_code == 204 || parser->status_code == 304);
}

static int on_their_end(llhttp_t *parser)
{
	struct first *f = parser->data;
	/* Interim answers are messages to llhttp. */
	if (is_interim(parser))
		return 0;
	f->done = true;
	return HPE_PAUSED;
}

static struct first read_theirs(const struct http_transcript_ask *ask, struct slice in)
{
	static const llhttp_settings_t settings = {
	    .on_headers_complete = on_their_head, .on_body = on_their_body, .on_message_complete = on_their_end};
	struct first f = {.ask = ask};
	llhttp_t parser;
	buf_init(&f.body, INPUT_MAX);
	llhttp_init(&parser, ask->kind == HTTP_REQUEST ? LLHTTP_REQUEST : LLHTTP_RESPONSE, &settings);
	parser.data = &f;
	llhttp_errno_t e = llhttp_execute(&parser, (const char *)in.p, in.n);
	if (e != HPE_PAUSED)
		f.done = false;
	if (f.done)
		f.end = (size_t)(llhttp_get_error_pos(&parser) - (const char *)in.p);
	return f;
}

static void same_as_llhttp(const struct first *ours, const struct first *theirs)
{
	if (!ours->done || !theirs->done)
		return;
	CHECK(ours->end == theirs->end);
	CHECK(slice_eq(buf_slice(&ours->body), buf_slice(&theirs->body)));
}

/* Writes the head as parsed, reads that, and compares. Of the answers those with a body of their own length. */
static void same_when_written(const struct http_transcript_ask *ask, const struct http_head *h)
{
	struct buf text;
	bool request = ask->kind == HTTP_REQUEST;
	if (h->minor == 0 || (!request && h->status != 200))
		return;
	buf_init(&text, INPUT_MAX * 2);
	if (request)
		http_put_request_line(&text, h->method, h->target);
	else
		http_put_status_line(&text, h->status);
	for (size_t i = 0; i < h->n_fields; i++)
		http_put_field(&text, h->fields[i].name, h->fields[i].value);
	http_put_end(&text);
	/* White space and a target's authority are gone, an empty value's colon has gained a space. */
	if (buf_len(&text) <= LIMIT_HTTP_HEAD_BYTES) {
		struct first again = read_ours(ask, buf_slice(&text));
		CHECK(again.head != NULL && again.head->n_fields == h->n_fields);
		CHECK(again.head->framing == h->framing && again.head->length == h->length);
		CHECK(again.head->keep_alive == h->keep_alive && again.head->upgrade == h->upgrade);
		CHECK(slice_eq(again.head->target, h->target));
		for (size_t i = 0; i < h->n_fields; i++) {
			CHECK(slice_eq(again.head->fields[i].name, h->fields[i].name));
			CHECK(slice_eq(again.head->fields[i].value, h->fields[i].value));
			CHECK(again.head->fields[i].hop == h->fields[i].hop);
		}
		mem_free(again.head);
		buf_done(&again.body);
	}
	buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3 || size > INPUT_MAX)
		return 0;
	struct http_transcript_ask ask = {
	    .kind = data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST,
	    .target_max = data[0] & 8 ? 100 : LIMIT_HTTP_TARGET_BYTES,
	    .head_request = data[0] & 2,
	    .upgrade_asked = data[0] & 4,
	    .fields = true,
	};
	struct slice in = slice_of(data + 2, size - 2);
	same_however_cut(ask, in, data[1]);
	struct first ours = read_ours(&ask, in), theirs = read_theirs(&ask, in);
	same_as_llhttp(&ours, &theirs);
	if (ours.head != NULL)
		same_when_written(&ask, ours.head);
	mem_free(ours.head);
	buf_done(&ours.body);
	buf_done(&theirs.body);
	return 0;
}
