/* The stream of messages on one connection: finds where heads end, proves their
 * line structure in one scan, takes bodies out of their framing, and tells the
 * owner, in any split of the input the same.
 *
 * Happy path: the first input holds the whole head: it is scanned and read in
 * place (http_head.c); then body pieces are handed on as slices of the input.
 * A head that comes in pieces is gathered first, at most LIMIT_HTTP_HEAD_BYTES.
 * Failure: ST_BAD is final until reset; the refusal says why. Line ends are CR
 * LF everywhere and no other control character passes but tabs in fields, so
 * that nobody behind us can see other lines than we do. */
#include "codec/http_inner.h"

enum state {
	ST_HEAD,
	ST_LENGTH,   /* left bytes of body */
	ST_EOF,      /* body until the connection ends */
	ST_SIZE,     /* first digit of a chunk size */
	ST_SIZE_ON,  /* more digits */
	ST_SIZE_GAP, /* white space before an extension */
	ST_EXTENSION,
	ST_SIZE_LF,
	ST_CHUNK, /* left bytes of chunk */
	ST_CHUNK_CR,
	ST_CHUNK_LF,
	ST_TRAILER, /* start of a line behind the last chunk */
	ST_TRAILER_NAME,
	ST_TRAILER_VALUE,
	ST_TRAILER_LF,
	ST_LAST_LF,
	ST_DONE,
	ST_UPGRADED,
	ST_BAD,
};

/* From a step: no outcome yet. */
enum { STEP_AGAIN = -1, STEP_MORE = 0 };

struct http_parser {
	struct http_rules rules;
	const struct http_parser_events *events;
	void *arg;
	enum state state;
	bool paused;
	uint8_t empty_lines; /* skipped before the head */
	uint8_t interim;     /* 1xx answers swallowed */
	struct buf gather;   /* a head that came in pieces */
	size_t scan_at;      /* scanned so far, from the head's beginning */
	size_t line_at;      /* beginning of the line being scanned */
	uint64_t left;       /* of the body or chunk */
	size_t line_n;       /* bytes of the chunk line, then of the trailers */
	struct http_refusal why;
};

struct http_parser *http_parser_new(enum http_kind kind, size_t target_max, const struct http_parser_events *events,
				    void *arg)
{
	struct http_parser *p = mem_zalloc(sizeof(*p));
	p->rules = (struct http_rules){.kind = kind, .target_max = target_max};
	p->events = events;
	p->arg = arg;
	buf_init(&p->gather, LIMIT_HTTP_HEAD_BYTES);
	return p;
}

void http_parser_free(struct http_parser *p)
{
	if (p == NULL)
		return;
	buf_done(&p->gather);
	mem_free(p);
}

static void expect_head(struct http_parser *p)
{
	p->state = ST_HEAD;
	p->scan_at = p->line_at = 0;
	buf_done(&p->gather);
}

void http_parser_reset(struct http_parser *p, bool head_request, bool upgrade_asked)
{
	expect_head(p);
	p->rules.head_request = head_request;
	p->rules.upgrade_asked = upgrade_asked;
	p->empty_lines = p->interim = 0;
	p->why = (struct http_refusal){0};
}

void http_parser_pause(struct http_parser *p)
{
	p->paused = true;
}

bool http_parser_begun(const struct http_parser *p)
{
	return p->state != ST_HEAD || buf_len(&p->gather) > 0 || p->interim > 0;
}

unsigned http_parser_error(const struct http_parser *p, const char **ret_text)
{
	*ret_text = p->why.text == NULL ? "" : p->why.text;
	return p->why.status;
}

static int bad(struct http_parser *p)
{
	p->state = ST_BAD;
	return HTTP_BAD;
}

static int refuse(struct http_parser *p, unsigned status, const char *text)
{
	http_refuse(&p->why, status, text);
	return bad(p);
}

/* ---- heads ---- */

enum scan { SCAN_MORE, SCAN_END, SCAN_BAD };

/* At the start of a line: neither folded (RFC 9112 5.2) nor without a name. */
static bool line_starts_well(struct http_parser *p, uint8_t c)
{
	if (c != ' ' && c != '\t' && c != ':')
		return true;
	return http_refuse(&p->why, 400, p->line_at > 0 && c != ':' ? "a folded field" : "a line without a beginning");
}

/* Goes on where it stopped. SCAN_END: bytes up to scan_at are a whole head. */
static enum scan scan_head(struct http_parser *p, struct slice s)
{
	while (true) {
		if (p->scan_at == p->line_at && p->scan_at < s.n && !line_starts_well(p, s.p[p->scan_at]))
			return SCAN_BAD;
		p->scan_at += http_plain_run(s.p + p->scan_at, s.n - p->scan_at);
		if (p->scan_at == s.n)
			return SCAN_MORE;
		if (s.p[p->scan_at] == '\t' && (p->line_at > 0 || p->rules.kind == HTTP_RESPONSE)) {
			p->scan_at++;
			continue;
		}
		if (s.p[p->scan_at] != '\r') {
			http_refuse(&p->why, 400, "a control character, or a line end that is not CR LF, in the head");
			return SCAN_BAD;
		}
		if (p->scan_at + 1 == s.n)
			return SCAN_MORE;
		if (s.p[p->scan_at + 1] != '\n') {
			http_refuse(&p->why, 400, "a carriage return inside a line of the head");
			return SCAN_BAD;
		}
		struct slice line = slice_of(s.p + p->line_at, p->scan_at - p->line_at);
		if (p->line_at == 0 && !http_head_line(&p->rules, line, &p->why))
			return SCAN_BAD;
		p->scan_at += 2;
		p->line_at = p->scan_at;
		if (line.n == 0)
			return SCAN_END;
	}
}

/* The head is whole: read it, tell it, and turn to what follows it. */
static int take_head(struct http_parser *p, struct slice bytes)
{
	struct http_field fields[LIMIT_HTTP_FIELDS];
	struct http_head h;
	if (!http_head_read(&p->rules, bytes, fields, &h, &p->why))
		return bad(p);
	if (h.status > 0 && h.status < 200 && h.status != 101) {
		if (p->interim == LIMIT_HTTP_INTERIM)
			return refuse(p, 400, "too many interim answers");
		p->interim++;
		expect_head(p);
		return STEP_AGAIN;
	}
	switch ((enum http_framing)h.framing) {
	case HTTP_FRAMING_NONE:
		p->state = h.upgrade ? ST_UPGRADED : ST_DONE;
		break;
	case HTTP_FRAMING_LENGTH:
		p->state = h.length > 0 ? ST_LENGTH : ST_DONE;
		p->left = h.length;
		break;
	case HTTP_FRAMING_CHUNKED:
		p->state = ST_SIZE;
		p->line_n = 0;
		p->left = 0;
		break;
	case HTTP_FRAMING_EOF:
		p->state = ST_EOF;
		break;
	}
	p->events->head(p->arg, &h);
	buf_done(&p->gather);
	return p->paused ? HTTP_PAUSED : STEP_AGAIN;
}

/* Empty lines before a request line are skipped (RFC 9112 2.2), a few of them. True when one was. */
static bool skip_empty_line(struct http_parser *p, struct slice head)
{
	if (p->rules.kind != HTTP_REQUEST || p->scan_at > 0 || p->empty_lines == LIMIT_HTTP_EMPTY_LINES)
		return false;
	if (head.n < 2 || head.p[0] != '\r' || head.p[1] != '\n')
		return false;
	p->empty_lines++;
	return true;
}

/* The part of `head` that may be looked at was scanned without finding its end. */
static int head_goes_on(struct http_parser *p, struct slice head)
{
	if (head.n < LIMIT_HTTP_HEAD_BYTES)
		return STEP_MORE;
	if (p->line_at == 0)
		return refuse(p, p->rules.kind == HTTP_REQUEST ? 414 : 400, "the first line is too long");
	return refuse(p, 431, "the head is too long");
}

static size_t at_most(size_t n, size_t max)
{
	return n < max ? n : max;
}

/* The head is wholly in the input. */
static int step_head_in_place(struct http_parser *p, struct slice in, size_t *used)
{
	if (skip_empty_line(p, in)) {
		*used = 2;
		return STEP_AGAIN;
	}
	struct slice head = slice_head(in, at_most(in.n, LIMIT_HTTP_HEAD_BYTES));
	switch (scan_head(p, head)) {
	case SCAN_BAD:
		return bad(p);
	case SCAN_END:
		*used = p->scan_at;
		return take_head(p, slice_head(in, p->scan_at));
	case SCAN_MORE:
		break;
	}
	if (head_goes_on(p, head) == HTTP_BAD)
		return HTTP_BAD;
	buf_add(&p->gather, in);
	*used = in.n;
	return STEP_MORE;
}

/* Its beginning was gathered before. */
static int step_head_gathered(struct http_parser *p, struct slice in, size_t *used)
{
	size_t before = buf_len(&p->gather);
	size_t n = at_most(in.n, LIMIT_HTTP_HEAD_BYTES - before);
	buf_add(&p->gather, slice_head(in, n));
	struct slice head = buf_slice(&p->gather);
	if (skip_empty_line(p, head)) {
		buf_done(&p->gather);
		*used = 2 - before;
		return STEP_AGAIN;
	}
	switch (scan_head(p, head)) {
	case SCAN_BAD:
		return bad(p);
	case SCAN_END:
		*used = p->scan_at - before;
		return take_head(p, slice_head(head, p->scan_at));
	case SCAN_MORE:
		break;
	}
	*used = n;
	return head_goes_on(p, head);
}

/* ---- bodies ---- */

static int tell_body(struct http_parser *p, struct slice s)
{
	p->events->body(p->arg, s);
	return p->paused ? HTTP_PAUSED : STEP_AGAIN;
}

/* Up to `left` bytes, then state `next`. */
static int step_counted(struct http_parser *p, struct slice in, size_t *used, enum state next)
{
	if (in.n == 0)
		return STEP_MORE;
	*used = in.n < p->left ? in.n : (size_t)p->left;
	p->left -= *used;
	if (p->left == 0)
		p->state = next;
	return tell_body(p, slice_head(in, *used));
}

static int hex_value(uint8_t c)
{
	uint8_t low = c | 0x20;
	if (c >= '0' && c <= '9')
		return c - '0';
	return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static bool is_text(uint8_t c)
{
	return c == '\t' || (c >= ' ' && c != 0x7f);
}

/* One byte of a chunk-size line (RFC 9112 7.1); its extensions are dropped. */
static bool chunk_line_byte(struct http_parser *p, uint8_t c)
{
	int digit = hex_value(c);
	if (++p->line_n > LIMIT_HTTP_CHUNK_LINE_BYTES)
		return http_refuse(&p->why, 400, "a chunk's first line is too long");
	if ((p->state == ST_SIZE || p->state == ST_SIZE_ON) && digit >= 0) {
		if (p->left > UINT64_MAX >> 4)
			return http_refuse(&p->why, 400, "a chunk's size is out of range");
		p->left = p->left << 4 | (uint64_t)digit;
		p->state = ST_SIZE_ON;
		return true;
	}
	if (p->state == ST_SIZE_LF && c == '\n') {
		p->state = p->left > 0 ? ST_CHUNK : ST_TRAILER;
		p->line_n = 0;
		return true;
	}
	if (p->state == ST_EXTENSION && is_text(c))
		return true;
	if (p->state == ST_SIZE || p->state == ST_SIZE_LF || (c != '\r' && c != ';' && c != ' ' && c != '\t'))
		return http_refuse(&p->why, 400, "a chunk's first line is malformed");
	p->state = c == '\r' ? ST_SIZE_LF : c == ';' ? ST_EXTENSION : ST_SIZE_GAP;
	return true;
}

/* One byte of the trailer section: fields that are checked like those of a head and dropped. */
static bool trailer_byte(struct http_parser *p, uint8_t c)
{
	if (++p->line_n > LIMIT_HTTP_TRAILER_BYTES)
		return http_refuse(&p->why, 431, "the trailers are too long");
	if (p->state == ST_TRAILER && c == '\r')
		p->state = ST_LAST_LF;
	else if (p->state == ST_LAST_LF && c == '\n')
		p->state = ST_DONE;
	else if ((p->state == ST_TRAILER || p->state == ST_TRAILER_NAME) && http_is_token(c))
		p->state = ST_TRAILER_NAME;
	else if (p->state == ST_TRAILER_NAME && c == ':')
		p->state = ST_TRAILER_VALUE;
	else if (p->state == ST_TRAILER_VALUE && c == '\r')
		p->state = ST_TRAILER_LF;
	else if (p->state == ST_TRAILER_LF && c == '\n')
		p->state = ST_TRAILER;
	else if (p->state != ST_TRAILER_VALUE || !is_text(c))
		return http_refuse(&p->why, 400, "a trailer field is malformed");
	return true;
}

/* The CR LF behind a chunk's bytes. */
static bool chunk_end_byte(struct http_parser *p, uint8_t c)
{
	if (c != (p->state == ST_CHUNK_CR ? '\r' : '\n'))
		return http_refuse(&p->why, 400, "a chunk is longer than it says");
	p->state = p->state == ST_CHUNK_CR ? ST_CHUNK_LF : ST_SIZE;
	p->line_n = 0;
	return true;
}

/* Lines between chunks, byte by byte, until a chunk or the end of the message. */
static int step_lines(struct http_parser *p, struct slice in, size_t *used)
{
	while (*used < in.n) {
		uint8_t c = in.p[(*used)++];
		bool ok = p->state < ST_CHUNK     ? chunk_line_byte(p, c)
			  : p->state < ST_TRAILER ? chunk_end_byte(p, c)
						  : trailer_byte(p, c);
		if (!ok)
			return bad(p);
		if (p->state == ST_CHUNK || p->state == ST_DONE)
			return STEP_AGAIN;
	}
	return STEP_MORE;
}

/* ---- both ---- */

static int step(struct http_parser *p, struct slice in, size_t *used)
{
	switch (p->state) {
	case ST_HEAD:
		if (in.n == 0)
			return STEP_MORE;
		return buf_len(&p->gather) > 0 ? step_head_gathered(p, in, used) : step_head_in_place(p, in, used);
	case ST_LENGTH:
		return step_counted(p, in, used, ST_DONE);
	case ST_CHUNK:
		return step_counted(p, in, used, ST_CHUNK_CR);
	case ST_EOF:
		*used = in.n;
		return in.n == 0 ? STEP_MORE : tell_body(p, in);
	case ST_SIZE:
	case ST_SIZE_ON:
	case ST_SIZE_GAP:
	case ST_EXTENSION:
	case ST_SIZE_LF:
	case ST_CHUNK_CR:
	case ST_CHUNK_LF:
	case ST_TRAILER:
	case ST_TRAILER_NAME:
	case ST_TRAILER_VALUE:
	case ST_TRAILER_LF:
	case ST_LAST_LF:
		return step_lines(p, in, used);
	case ST_DONE:
		return HTTP_MESSAGE_DONE;
	case ST_UPGRADED:
		return HTTP_UPGRADED;
	case ST_BAD:
		return HTTP_BAD;
	}
	IMPOSSIBLE("state of an HTTP parser");
}

int http_parser_feed(struct http_parser *p, struct slice in, size_t *ret_used)
{
	size_t at = 0;
	int outcome;
	p->paused = false;
	do {
		size_t used = 0;
		outcome = step(p, slice_from(in, at), &used);
		at += used;
	} while (outcome == STEP_AGAIN);
	*ret_used = at;
	return outcome;
}

int http_parser_eof(struct http_parser *p)
{
	if (p->state == ST_HEAD && !http_parser_begun(p))
		return 0;
	if (p->state == ST_EOF)
		p->state = ST_DONE;
	if (p->state == ST_DONE)
		return HTTP_MESSAGE_DONE;
	if (p->state == ST_UPGRADED)
		return HTTP_UPGRADED;
	if (p->state == ST_BAD)
		return HTTP_BAD;
	return refuse(p, 400, "the connection ended inside a message");
}
