/* Heads: llhttp cuts them into fields, the guards here decide what they mean;
 * a request that comes in fields (http_parts) is only decided on.
 *
 * A head is read in one go, on the stack, in place: the stream (http_parser.c)
 * hands over all of it, its line structure already proved. Happy path: llhttp
 * calls back for each field, which gets its id and is noted if it bears on the
 * message; after the last one the notes are judged together and the framing is
 * decided. Framing is decided here and nowhere else; llhttp never sees a body.
 * Failure: the first objection, of a guard or of llhttp, becomes the refusal.
 *
 * Works with llhttp 8.1 built strict and with llhttp 9; no lenient flag is set. */
#include "codec/http_inner.h"

/* llhttp.h has enumerators of these names. */
#define HTTP_REQUEST LLHTTP_REQUEST
#define HTTP_RESPONSE LLHTTP_RESPONSE
#include <llhttp.h>
#undef HTTP_REQUEST
#undef HTTP_RESPONSE

#define FIELD_BIT(id) ((uint64_t)1 << (id))
_Static_assert(HTTP_F_X_RIVET_OTHER < 64, "field ids fit a 64-bit set");

static const uint64_t hop_by_hop = FIELD_BIT(HTTP_F_CONNECTION) | FIELD_BIT(HTTP_F_KEEP_ALIVE) |
				   FIELD_BIT(HTTP_F_PROXY_CONNECTION) | FIELD_BIT(HTTP_F_PROXY_AUTHENTICATE) |
				   FIELD_BIT(HTTP_F_PROXY_AUTHORIZATION) | FIELD_BIT(HTTP_F_TE) |
				   FIELD_BIT(HTTP_F_TRAILER) | FIELD_BIT(HTTP_F_TRANSFER_ENCODING) |
				   FIELD_BIT(HTTP_F_UPGRADE) | FIELD_BIT(HTTP_F_HTTP2_SETTINGS);

/* A head being read. */
struct reading {
	const struct http_rules *rules;
	struct http_field *fields;
	struct http_head *h;
	struct slice name, value; /* of the field that llhttp is at */
	struct http_refusal why;
	uint64_t seen; /* FIELD_BIT of each id that has come */
	struct slice host;
	bool complete; /* llhttp reached the end of the head */
	bool chunked, wants_websocket;
	bool option_close, option_keep_alive, option_upgrade; /* of Connection */
	bool version_13, key_sound;                           /* of Sec-WebSocket-* */
};

/* ---- the first line ---- */

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.0" or "HTTP/1.1" */
static bool judge_version(struct slice version, struct http_refusal *why)
{
	if (!slice_starts(version, "HTTP/") || !is_digit(version.p[5]) || version.p[6] != '.' ||
	    !is_digit(version.p[7]))
		return http_refuse(why, 400, "the first line is not of HTTP/1.1");
	if (version.p[5] != '1' || version.p[7] > '1')
		return http_refuse(why, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	return true;
}

/* Splits "METHOD target HTTP/1.x"; false when there are not two spaces with something around each. */
static bool split_request_line(struct slice line, struct slice *ret_method, struct slice *ret_target)
{
	size_t method_n = slice_find(line, ' ');
	if (method_n == 0 || line.n < method_n + 11 || line.p[line.n - 9] != ' ')
		return false;
	*ret_method = slice_head(line, method_n);
	*ret_target = slice_of(line.p + method_n + 1, line.n - 9 - method_n - 1);
	return true;
}

static bool judge_method_and_target(struct slice method, struct slice target, size_t target_max,
				    struct http_refusal *why)
{
	for (size_t i = 0; i < method.n; i++) {
		if (!http_is_token(method.p[i]))
			return http_refuse(why, 400, "the method is malformed");
	}
	if (slice_is(method, "CONNECT"))
		return http_refuse(why, 405, "CONNECT is not offered: this is no forward proxy");
	if (target.n > target_max)
		return http_refuse(why, 414, "the request target is too long");
	for (size_t i = 0; i < target.n; i++) {
		if (target.p[i] <= ' ' || target.p[i] >= 0x7f || target.p[i] == '#')
			return http_refuse(why, 400, "the request target holds a character that must be escaped");
	}
	return true;
}

static bool judge_request_line(const struct http_rules *rules, struct slice line, struct http_refusal *why)
{
	struct slice method, target;
	if (!split_request_line(line, &method, &target))
		return http_refuse(why, 400, "the request line is malformed");
	return judge_version(slice_from(line, line.n - 8), why) &&
	       judge_method_and_target(method, target, rules->target_max, why);
}

bool http_head_line(const struct http_rules *rules, struct slice line, struct http_refusal *why)
{
	if (rules->kind == HTTP_REQUEST)
		return judge_request_line(rules, line, why);
	if (line.n < 12)
		return http_refuse(why, 400, "the status line is malformed");
	return judge_version(slice_head(line, 8), why);
}

/* ---- fields ---- */

static bool is_space(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct slice trim(struct slice s)
{
	while (s.n > 0 && is_space(s.p[0]))
		s = slice_from(s, 1);
	while (s.n > 0 && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool http_list_next(struct slice list, size_t *at, struct slice *ret)
{
	while (*at < list.n) {
		struct slice rest = slice_from(list, *at);
		size_t n = slice_find(rest, ',');
		*at += n + (n < rest.n);
		*ret = trim(slice_head(rest, n));
		if (ret->n > 0)
			return true;
	}
	return false;
}

static bool list_has(struct slice list, const char *token)
{
	struct slice element;
	for (size_t at = 0; http_list_next(list, &at, &element);) {
		if (slice_is_nocase(element, token))
			return true;
	}
	return false;
}

static bool note_length(struct reading *r, struct slice value)
{
	uint64_t length = 0;
	if (r->seen & FIELD_BIT(HTTP_F_CONTENT_LENGTH))
		return http_refuse(&r->why, 400, "more than one Content-Length");
	/* 18 digits stay below 2^63 and are more bytes than there are. */
	if (value.n == 0 || value.n > 18)
		return http_refuse(&r->why, 400, "Content-Length is empty or out of range");
	for (size_t i = 0; i < value.n; i++) {
		if (!is_digit(value.p[i]))
			return http_refuse(&r->why, 400, "Content-Length is not a number");
		length = length * 10 + (uint64_t)(value.p[i] - '0');
	}
	r->h->length = length;
	return true;
}

static bool note_coding(struct reading *r, struct slice value)
{
	if (r->seen & FIELD_BIT(HTTP_F_TRANSFER_ENCODING))
		return http_refuse(&r->why, 400, "more than one Transfer-Encoding");
	if (list_has(value, "chunked") && !slice_is_nocase(value, "chunked"))
		return http_refuse(&r->why, 400, "Transfer-Encoding must be chunked alone");
	if (!slice_is_nocase(value, "chunked"))
		return http_refuse(&r->why, 501, "the only transfer coding here is chunked");
	r->chunked = true;
	return true;
}

/* uri-host [ ":" port ] (RFC 9110 7.2), of characters alone; no comma, which would fold two of them into one. */
static bool note_host(struct reading *r, struct slice value)
{
	if (r->rules->kind != HTTP_REQUEST)
		return true;
	if (r->seen & FIELD_BIT(HTTP_F_HOST))
		return http_refuse(&r->why, 400, "more than one Host");
	for (size_t i = 0; i < value.n; i++) {
		uint8_t c = value.p[i], low = c | 0x20;
		if (!(low >= 'a' && low <= 'z') && !is_digit(c) &&
		    (c == '\0' || strchr("-._~:[]%!$&'()*+;=", c) == NULL))
			return http_refuse(&r->why, 400, "Host is malformed");
	}
	r->host = value;
	return true;
}

/* 16 bytes in base64 (RFC 6455 4.1): 22 digits, the last of which carries two bits, and "==". */
static bool key_is_sound(struct slice key)
{
	if (key.n != 24 || key.p[22] != '=' || key.p[23] != '=' || slice_find(SLICE_LIT("AQgw"), key.p[21]) == 4)
		return false;
	for (size_t i = 0; i < 21; i++) {
		uint8_t c = key.p[i], low = c | 0x20;
		if (!(low >= 'a' && low <= 'z') && !is_digit(c) && c != '+' && c != '/')
			return false;
	}
	return true;
}

static bool note_key(struct reading *r, struct slice value)
{
	if (r->seen & FIELD_BIT(HTTP_F_SEC_WEBSOCKET_KEY))
		return http_refuse(&r->why, 400, "more than one Sec-WebSocket-Key");
	r->key_sound = key_is_sound(value);
	return true;
}

struct http_field http_field_of(struct slice name, struct slice value)
{
	enum http_field_id id = http_field_lookup(name);
	return (struct http_field){
	    .name = name, .value = trim(value), .id = (uint16_t)id, .hop = (hop_by_hop & FIELD_BIT(id)) != 0};
}

/* What a field that bears on the message itself says of it. */
static bool note_field(struct reading *r, const struct http_field *f)
{
	bool go_on = true;
	switch (f->id) {
	case HTTP_F_HOST:
		go_on = note_host(r, f->value);
		break;
	case HTTP_F_CONTENT_LENGTH:
		go_on = note_length(r, f->value);
		break;
	case HTTP_F_TRANSFER_ENCODING:
		go_on = note_coding(r, f->value);
		break;
	case HTTP_F_UPGRADE:
		r->wants_websocket |= list_has(f->value, "websocket");
		break;
	case HTTP_F_EXPECT:
		r->h->expect_continue |= list_has(f->value, "100-continue");
		break;
	case HTTP_F_SEC_WEBSOCKET_KEY:
		go_on = note_key(r, f->value);
		break;
	case HTTP_F_SEC_WEBSOCKET_VERSION:
		r->version_13 = slice_is(f->value, "13");
		break;
	default:
		r->seen |= FIELD_BIT(f->id);
		return true;
	}
	/* Somebody behind us may read Content_Length as the real one; we would not. */
	if (go_on && memchr(f->name.p, '_', f->name.n) != NULL)
		return http_refuse(&r->why, 400, "a field of the message's own is spelled with an underscore");
	r->seen |= FIELD_BIT(f->id);
	return go_on;
}

/* ---- llhttp's callbacks; -1 ends its run. A head in one piece gives each name and value in one piece. ---- */

static int on_field(llhttp_t *parser, const char *at, size_t n)
{
	struct reading *r = parser->data;
	if (r->h->n_fields == LIMIT_HTTP_FIELDS) {
		http_refuse(&r->why, 431, "too many fields");
		return -1;
	}
	r->name = slice_of(at, n);
	r->value = SLICE_NONE; /* an empty one is not told of */
	return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t n)
{
	struct reading *r = parser->data;
	r->value = slice_of(at, n);
	return 0;
}

static int on_value_complete(llhttp_t *parser)
{
	struct reading *r = parser->data;
	struct http_field *f = &r->fields[r->h->n_fields++];
	*f = http_field_of(r->name, r->value);
	return note_field(r, f) ? 0 : -1;
}

static int on_complete(llhttp_t *parser)
{
	struct reading *r = parser->data;
	r->complete = true;
	return 0;
}

/* Runs llhttp over the head. Its verdicts on upgrades and bodies do not matter: it gets no byte behind the head. */
static bool cut(struct reading *r, struct slice bytes)
{
	static const llhttp_settings_t settings = {
	    .on_header_field = on_field,
	    .on_header_value = on_value,
	    .on_header_value_complete = on_value_complete,
	    .on_headers_complete = on_complete,
	};
	llhttp_t parser;
	llhttp_init(&parser, r->rules->kind == HTTP_REQUEST ? LLHTTP_REQUEST : LLHTTP_RESPONSE, &settings);
	parser.data = r;
	llhttp_errno_t e = llhttp_execute(&parser, (const char *)bytes.p, bytes.n);
	if ((e == HPE_OK || e == HPE_PAUSED_UPGRADE) && r->complete) {
		if (r->rules->kind == HTTP_RESPONSE)
			r->h->status = parser.status_code;
		return true;
	}
	if (r->why.text != NULL)
		return false;
	if (e == HPE_INVALID_METHOD)
		return http_refuse(&r->why, 501, "the method is not known");
	if (e == HPE_INVALID_URL)
		return http_refuse(&r->why, 400, "the request target is malformed");
	if (e == HPE_INVALID_CONTENT_LENGTH || e == HPE_UNEXPECTED_CONTENT_LENGTH)
		return http_refuse(&r->why, 400, "Content-Length is malformed or not alone");
	if (e == HPE_INVALID_TRANSFER_ENCODING)
		return http_refuse(&r->why, 400, "Transfer-Encoding is malformed or not alone");
	return http_refuse(&r->why, 400, "the head is malformed");
}

/* ---- judging the whole ---- */

/* Marks the fields that one element of Connection names. Host stays: without it the message would be another. */
static void mark_named(struct reading *r, struct slice name)
{
	for (size_t i = 0; i < r->h->n_fields; i++) {
		struct http_field *f = &r->fields[i];
		if (f->name.n == name.n && f->id != HTTP_F_HOST &&
		    strncasecmp((const char *)f->name.p, (const char *)name.p, name.n) == 0)
			f->hop = true;
	}
}

static bool judge_connection(struct reading *r)
{
	size_t named = 0;
	if (!(r->seen & FIELD_BIT(HTTP_F_CONNECTION)))
		return true;
	for (size_t i = 0; i < r->h->n_fields; i++) {
		struct slice option;
		if (r->fields[i].id != HTTP_F_CONNECTION)
			continue;
		for (size_t at = 0; http_list_next(r->fields[i].value, &at, &option);) {
			if (slice_is_nocase(option, "close"))
				r->option_close = true;
			else if (slice_is_nocase(option, "keep-alive"))
				r->option_keep_alive = true;
			else if (slice_is_nocase(option, "upgrade"))
				r->option_upgrade = true;
			else if (++named > LIMIT_HTTP_CONNECTION_NAMES)
				return http_refuse(&r->why, 400, "Connection names too many fields");
			else
				mark_named(r, option);
		}
	}
	return true;
}

/* What both kinds have in common: framing and persistence (RFC 9112 6.3, 9.3). */
static bool judge_message(struct reading *r)
{
	struct http_head *h = r->h;
	bool has_length = (r->seen & FIELD_BIT(HTTP_F_CONTENT_LENGTH)) != 0;
	if (!judge_connection(r))
		return false;
	if (r->chunked && has_length)
		return http_refuse(&r->why, 400, "both Content-Length and Transfer-Encoding");
	if (r->chunked && h->minor == 0)
		return http_refuse(&r->why, 400, "Transfer-Encoding in HTTP/1.0");
	h->framing = r->chunked ? HTTP_FRAMING_CHUNKED : has_length ? HTTP_FRAMING_LENGTH : HTTP_FRAMING_NONE;
	h->keep_alive = !r->option_close && (h->minor == 1 || r->option_keep_alive);
	return true;
}

/* Brings the target to origin-form, or "*" (RFC 9112 3.2). */
static bool judge_target(struct reading *r)
{
	struct http_head *h = r->h;
	struct slice target = h->target;
	if (target.p[0] == '/')
		return true;
	if (slice_is(target, "*")) {
		if (!slice_is(h->method, "OPTIONS"))
			return http_refuse(&r->why, 400, "the target * is for OPTIONS alone");
		return true;
	}
	size_t scheme_n = slice_find(target, ':');
	struct slice scheme = slice_head(target, scheme_n), rest = slice_from(target, scheme_n);
	if ((!slice_is_nocase(scheme, "http") && !slice_is_nocase(scheme, "https")) || !slice_starts(rest, "://"))
		return http_refuse(&r->why, 400, "the request target is malformed");
	rest = slice_from(rest, 3);
	size_t authority_n = 0;
	while (authority_n < rest.n && rest.p[authority_n] != '/' && rest.p[authority_n] != '?')
		authority_n++;
	if (authority_n == 0 || authority_n != r->host.n ||
	    strncasecmp((const char *)rest.p, (const char *)r->host.p, authority_n) != 0)
		return http_refuse(&r->why, 400, "the target names another host than Host");
	h->target = slice_from(rest, authority_n);
	if (h->target.n == 0)
		h->target = slice_is(h->method, "OPTIONS") ? SLICE_LIT("*") : SLICE_LIT("/");
	else if (h->target.p[0] == '?')
		return http_refuse(&r->why, 400, "the request target has no path");
	return true;
}

static bool judge_request(struct reading *r)
{
	struct http_head *h = r->h;
	if (h->minor == 1 && !(r->seen & FIELD_BIT(HTTP_F_HOST)))
		return http_refuse(&r->why, 400, "Host is missing");
	if (!judge_target(r))
		return false;
	h->expect_continue = h->expect_continue && h->minor == 1 && h->framing != HTTP_FRAMING_NONE;
	if (h->minor == 0 || !r->option_upgrade || !r->wants_websocket)
		return true;
	if (h->framing != HTTP_FRAMING_NONE)
		return http_refuse(&r->why, 400, "an upgrade together with a body");
	if (!slice_is(h->method, "GET"))
		return http_refuse(&r->why, 400, "a WebSocket is asked for with GET");
	if (!r->version_13)
		return http_refuse(&r->why, 400, "the only WebSocket version here is 13");
	if (!r->key_sound)
		return http_refuse(&r->why, 400, "Sec-WebSocket-Key is missing or malformed");
	h->upgrade = true;
	return true;
}

static bool judge_answer(struct reading *r)
{
	struct http_head *h = r->h;
	bool says_body = r->chunked || h->length > 0;
	if (h->status < 100 || h->status > 599)
		return http_refuse(&r->why, 400, "the status is out of range");
	if (h->status == 101) {
		if (!r->rules->upgrade_asked)
			return http_refuse(&r->why, 400, "101 though no upgrade was asked for");
		if (h->minor == 0 || !r->option_upgrade || !r->wants_websocket || says_body ||
		    !(r->seen & FIELD_BIT(HTTP_F_SEC_WEBSOCKET_ACCEPT)))
			return http_refuse(&r->why, 400, "101 that does not answer a WebSocket handshake");
		h->upgrade = true;
		h->framing = HTTP_FRAMING_NONE;
		return true;
	}
	if (h->status < 200 || h->status == 204 || h->status == 304 || r->rules->head_request) {
		/* A body announced where none may be: should it come after all, nobody reads it as an answer. */
		if (says_body && h->status == 204)
			h->keep_alive = false;
		h->framing = HTTP_FRAMING_NONE;
		h->length = 0;
	} else if (h->framing == HTTP_FRAMING_NONE) {
		h->framing = HTTP_FRAMING_EOF;
		h->keep_alive = false;
	}
	return true;
}

bool http_head_read(const struct http_rules *rules, struct slice bytes, struct http_field *fields,
		    struct http_head *ret, struct http_refusal *why)
{
	struct reading r = {.rules = rules, .fields = fields, .h = ret};
	struct slice line = slice_head(bytes, slice_find(bytes, '\r'));
	*ret = (struct http_head){.fields = fields};
	bool ok = cut(&r, bytes);
	if (ok && rules->kind == HTTP_REQUEST) {
		CHECK(split_request_line(line, &ret->method, &ret->target));
		ret->minor = line.p[line.n - 1] == '1';
		ok = judge_message(&r) && judge_request(&r);
	} else if (ok) {
		ret->reason = line.n > 13 ? slice_from(line, 13) : SLICE_NONE;
		ret->minor = line.p[7] == '1';
		ok = judge_message(&r) && judge_answer(&r);
	}
	if (!ok)
		*why = r.why;
	return ok;
}

/* ---- a request in parts ---- */

/* One of the methods that llhttp takes. */
static bool is_known(struct slice method)
{
#define NAME(num, name, text) #text,
	static const char *const known[] = {HTTP_METHOD_MAP(NAME)};
#undef NAME
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (slice_is(method, known[i]))
			return true;
	}
	return false;
}

static bool is_sound(const struct http_field *f)
{
	struct slice value = f->value;
	if (f->name.n == 0)
		return false;
	for (size_t i = 0; i < f->name.n; i++) {
		if (!http_is_token(f->name.p[i]))
			return false;
	}
	for (size_t i = 0; i < value.n; i++) {
		i += http_plain_run(value.p + i, value.n - i);
		if (i < value.n && value.p[i] != '\t')
			return false;
	}
	return true;
}

static bool judge_parts(struct reading *r, const struct http_parts *parts)
{
	struct http_head *h = r->h;
	size_t bytes = parts->method.n + parts->target.n;
	if (parts->method.n == 0 || parts->target.n == 0)
		return http_refuse(&r->why, 400, "the request line is malformed");
	if (!judge_method_and_target(parts->method, parts->target, r->rules->target_max, &r->why))
		return false;
	if (!is_known(parts->method))
		return http_refuse(&r->why, 501, "the method is not known");
	if (parts->n_fields > LIMIT_HTTP_FIELDS)
		return http_refuse(&r->why, 431, "too many fields");
	for (size_t i = 0; i < parts->n_fields; i++) {
		const struct http_field *f = &parts->fields[i];
		bytes += f->name.n + f->value.n;
		if (bytes > LIMIT_HTTP_HEAD_BYTES)
			return http_refuse(&r->why, 431, "the head is too long");
		if (!is_sound(f))
			return http_refuse(&r->why, 400, "a field is malformed");
		if (!note_field(r, f))
			return false;
	}
	h->method = parts->method;
	h->target = parts->target;
	h->minor = 1;
	h->n_fields = (uint16_t)parts->n_fields;
	return judge_message(r) && judge_request(r);
}

unsigned http_parts_judge(const struct http_parts *parts, size_t target_max, struct http_head *ret,
			  const char **ret_text)
{
	const struct http_rules rules = {.kind = HTTP_REQUEST, .target_max = target_max};
	struct reading r = {.rules = &rules, .fields = parts->fields, .h = ret};
	*ret = (struct http_head){.fields = parts->fields};
	if (judge_parts(&r, parts))
		return 0;
	*ret_text = r.why.text;
	return r.why.status;
}

/* ---- looking into a head ---- */

const struct http_field *http_head_get(const struct http_head *h, enum http_field_id id)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == id)
			return &h->fields[i];
	}
	return NULL;
}

const struct http_field *http_head_find(const struct http_head *h, const char *name)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (slice_is_nocase(h->fields[i].name, name))
			return &h->fields[i];
	}
	return NULL;
}

bool http_head_has_token(const struct http_head *h, enum http_field_id id, const char *token)
{
	for (size_t i = 0; i < h->n_fields; i++) {
		if (h->fields[i].id == id && list_has(h->fields[i].value, token))
			return true;
	}
	return false;
}

static struct slice move_into(uint8_t **at, struct slice s)
{
	struct slice moved = {*at, s.n};
	if (s.n > 0)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return moved;
}

struct http_head *http_head_copy(const struct http_head *h)
{
	size_t bytes = h->method.n + h->target.n + h->reason.n;
	for (size_t i = 0; i < h->n_fields; i++)
		bytes += h->fields[i].name.n + h->fields[i].value.n;
	struct http_head *copy = mem_alloc(sizeof(*copy) + h->n_fields * sizeof(struct http_field) + bytes);
	struct http_field *fields = (struct http_field *)(void *)(copy + 1);
	uint8_t *at = (uint8_t *)(fields + h->n_fields);
	*copy = *h;
	copy->method = move_into(&at, h->method);
	copy->target = move_into(&at, h->target);
	copy->reason = move_into(&at, h->reason);
	for (size_t i = 0; i < h->n_fields; i++) {
		fields[i] = h->fields[i];
		fields[i].name = move_into(&at, h->fields[i].name);
		fields[i].value = move_into(&at, h->fields[i].value);
	}
	copy->fields = fields;
	return copy;
}
