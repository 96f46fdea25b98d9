/* HTTP/1 messages: bytes to heads and bodies, heads to bytes.
 *
 * An adapter over llhttp with guards above it (RFC 9112; the parser alone
 * accepts request smuggling). No sockets. Used for clients' requests and for
 * workers' answers with the same suspicion. The only file that includes
 * llhttp.h is http_head.c. */
#pragma once

#include "base/buf.h"
#include "base/limits.h"

/* Names this program treats specially; everything else is HTTP_F_OTHER.
 * Looked up once while parsing, case folded and with '_' read as '-' (WSGI
 * servers cannot tell them apart, so neither may a filter). */
enum http_field_id {
	HTTP_F_OTHER,
	HTTP_F_HOST,
	HTTP_F_CONNECTION,
	HTTP_F_KEEP_ALIVE,
	HTTP_F_PROXY_CONNECTION,
	HTTP_F_PROXY_AUTHENTICATE,
	HTTP_F_PROXY_AUTHORIZATION,
	HTTP_F_TE,
	HTTP_F_TRAILER,
	HTTP_F_TRANSFER_ENCODING,
	HTTP_F_HTTP2_SETTINGS,
	HTTP_F_CONTENT_LENGTH,
	HTTP_F_CONTENT_TYPE,
	HTTP_F_UPGRADE,
	HTTP_F_EXPECT,
	HTTP_F_DATE,
	HTTP_F_SERVER,
	HTTP_F_ORIGIN,
	HTTP_F_VARY,
	HTTP_F_AUTHORIZATION,
	HTTP_F_ACCESS_CONTROL, /* any access-control-allow-/expose-/max-age field of an answer */
	HTTP_F_ACR_METHOD,     /* access-control-request-method */
	HTTP_F_ACR_HEADERS,    /* access-control-request-headers */
	HTTP_F_FORWARDED,      /* x-forwarded-for, -host, -proto */
	HTTP_F_SEC_WEBSOCKET_KEY,
	HTTP_F_SEC_WEBSOCKET_VERSION,
	HTTP_F_SEC_WEBSOCKET_ACCEPT,
	HTTP_F_SEC_WEBSOCKET_PROTOCOL,
	HTTP_F_SEC_WEBSOCKET_EXTENSIONS,
	HTTP_F_X_RIVET_TARGET,
	HTTP_F_X_RIVET_ACTOR,
	HTTP_F_X_RIVET_TOKEN,
	HTTP_F_X_RIVET_SKIP_READY_WAIT,
	HTTP_F_X_RIVET_ENCODING,
	HTTP_F_X_RIVET_CONN_PARAMS,
	HTTP_F_X_RIVET_RAY_ID,
	HTTP_F_X_RIVET_ERROR,
	HTTP_F_X_RIVET_HIBERNATE,
	HTTP_F_X_RIVET_ACTOR_GENERATION,
	HTTP_F_X_RIVET_OTHER, /* any other x-rivet-* */
};

struct http_field {
	struct slice name;  /* as sent */
	struct slice value; /* outer white space removed */
	uint16_t id;        /* enum http_field_id */
	bool hop;           /* hop-by-hop: one of RFC 9110 7.6.1, or named in Connection */
};

enum http_framing {
	HTTP_FRAMING_NONE,   /* no body */
	HTTP_FRAMING_LENGTH, /* content-length */
	HTTP_FRAMING_CHUNKED,
	HTTP_FRAMING_EOF, /* an answer that ends with its connection */
};

struct http_head {
	struct slice method, target; /* requests; the method in capitals as sent */
	uint16_t status;             /* answers */
	struct slice reason;         /* answers; may be empty */
	uint8_t minor;               /* HTTP/1.minor: 0 or 1 */
	uint8_t framing;             /* enum http_framing */
	bool keep_alive;             /* the sender lets the connection live */
	bool upgrade;                /* requests: asks for websocket correctly (version 13, key); answers: 101 */
	bool expect_continue;
	uint64_t length; /* with HTTP_FRAMING_LENGTH */
	uint16_t n_fields;
	const struct http_field *fields;
};

/* First field with this id, or NULL. */
const struct http_field *http_head_get(const struct http_head *h, enum http_field_id id);

/* First field with this lower-case name (case folded compare), or NULL. */
const struct http_field *http_head_find(const struct http_head *h, const char *name);

/* True when a comma-separated field (all lines with that id) holds the token, case folded. */
bool http_head_has_token(const struct http_head *h, enum http_field_id id, const char *token);

/* A deep copy in one allocation, for a request that has to wait. Caller frees with mem_free. */
struct http_head *http_head_copy(const struct http_head *h);

/* ---- reading ---- */

enum http_kind { HTTP_REQUEST, HTTP_RESPONSE };

/* What http_parser_feed stops for. 0 means: everything was consumed, give more. */
enum http_outcome {
	HTTP_MESSAGE_DONE = 1, /* the message is complete; the rest of the input was not touched */
	HTTP_PAUSED,           /* an event asked to stop by http_parser_pause */
	HTTP_UPGRADED,         /* head() was told of an upgrade and the head is done; the rest is raw bytes */
	HTTP_BAD,              /* malformed; http_parser_error tells the status and the sentence */
};

struct http_parser_events {
	/* A complete, guarded head. For answers 1xx (but 101) are swallowed by the
	 * parser and never seen here. The slices live until this call returns. */
	void (*head)(void *arg, const struct http_head *h);
	/* Body bytes, chunk framing removed, n > 0. Trailers are checked and dropped. */
	void (*body)(void *arg, struct slice s);
};

struct http_parser;

/* target_max: longest request target (LIMIT_HTTP_TARGET_BYTES or LIMIT_RUNTIME_TARGET_BYTES).
 * `events` must outlive the parser. Free with http_parser_free. */
struct http_parser *http_parser_new(enum http_kind kind, size_t target_max, const struct http_parser_events *events,
				    void *arg);
void http_parser_free(struct http_parser *p);

/* Ready for the next message on the same connection. For answers say what was
 * asked: the answer to HEAD has no body; answers 101 are refused unless an
 * upgrade was asked for. For requests both are ignored. */
void http_parser_reset(struct http_parser *p, bool head_request, bool upgrade_asked);

/* Consumes input; *ret_used is how much, also on an outcome. Returns 0 or enum
 * http_outcome. Feeding in any split gives the same events. A head that
 * arrives whole in one input is parsed in place, without a copy. After a pause feed again, if need be with no bytes.
 * An outcome other than HTTP_PAUSED stays until reset. No event may feed, reset or free the parser. */
int http_parser_feed(struct http_parser *p, struct slice in, size_t *ret_used);

/* From inside an event: feed returns HTTP_PAUSED after this event (after the
 * head, or after this body piece). Feed again to go on. */
void http_parser_pause(struct http_parser *p);

/* The connection ended. HTTP_MESSAGE_DONE when that completes an answer framed
 * by its end (or the message was complete already); 0 when nothing had begun; HTTP_BAD when a message was cut. */
int http_parser_eof(struct http_parser *p);

/* True when bytes of a message have been seen since reset. */
bool http_parser_begun(const struct http_parser *p);

/* After HTTP_BAD: the status to answer (400, 405, 413, 414, 431, 501, 505) and a sentence
 * (static text) that says what was wrong. */
unsigned http_parser_error(const struct http_parser *p, const char **ret_text);

/* ---- requests that come as parts ---- */

/* A field with its id, looked up, and the outer white space of its value removed; borrows both. */
struct http_field http_field_of(struct slice name, struct slice value);

/* A request that was never a text, as from a tunnel's map of fields: HTTP/1.1, its framing in its fields as ever. */
struct http_parts {
	struct slice method, target;
	struct http_field *fields; /* each by http_field_of */
	size_t n_fields;
};

/* Holds it against the guards that the parser has, the bounds too. Returns 0, and *ret borrows from all that `parts`
 * is made of; or the status to answer, and in *ret_text a sentence (static text). */
unsigned http_parts_judge(const struct http_parts *parts, size_t target_max, struct http_head *ret,
			  const char **ret_text);

/* ---- writing ---- */

/* No CR, LF or NUL: nothing that ends a line or a string early. What the functions below are given is so. */
bool http_is_one_line(struct slice s);

void http_put_request_line(struct buf *b, struct slice method, struct slice target);
/* The reason phrase is the standard one for the code. */
void http_put_status_line(struct buf *b, unsigned status);
const char *http_reason(unsigned status);
/* CHECKs that neither part holds CR, LF or NUL: parsed heads cannot, our own must not. */
void http_put_field(struct buf *b, struct slice name, struct slice value);
void http_put_field_str(struct buf *b, const char *name, const char *value);
void http_put_field_u64(struct buf *b, const char *name, uint64_t value);
/* date: of now, formatted once a second (RFC 9110 5.6.7). wall_ms is the caller's clock. */
void http_put_date(struct buf *b, int64_t wall_ms);
void http_put_end(struct buf *b);                   /* the empty line */
void http_put_chunk(struct buf *b, struct slice s); /* one chunk, n > 0 */
void http_put_last_chunk(struct buf *b);

/* ---- pieces of a target ---- */

/* Percent-decodes into out (appends). False on a bad escape, with nothing appended. plus_is_space for form queries.
 * What exceeds out's cap sets out->over. */
bool http_percent_decode(struct slice in, bool plus_is_space, struct buf *out);
/* Appends in with everything but unreserved characters (RFC 3986 2.3) as %XX. */
void http_percent_encode(struct slice in, struct buf *out);

/* Splits "path?query"; query excludes the '?', has_query tells "/a?" from "/a". */
void http_target_split(struct slice target, struct slice *ret_path, struct slice *ret_query, bool *ret_has_query);

/* Next "name=value" of a query; false at the end. Raw, not decoded. *at starts at 0.
 * *ret_whole is the pair as sent. A pair without '=' has an empty value. */
bool http_query_next(struct slice query, size_t *at, struct slice *ret_name, struct slice *ret_value,
		     struct slice *ret_whole);

/* True when the path, percent-decoded (repeatedly until it no longer changes), with backslash read as slash,
 * slashes merged, dot segments removed and case folded, is /.rivet or below /.rivet/. Such a path never
 * reaches a worker. */
bool http_path_is_reserved(struct slice path);
