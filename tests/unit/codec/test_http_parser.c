/* Streams of bytes and what the parser makes of them. Every case is fed whole, cut in two at every byte, byte by byte,
 * and with a pause at every event, and must read the same. */
#include "lib/http_transcript.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct stream {
	const char *name;
	struct slice in;
	const char *want;
};

#define IN(lit)                                         \
	{                                               \
		(const uint8_t *)(lit), sizeof(lit) - 1 \
	}
#define HOST "Host: a\r\n"

static struct http_transcript_ask request = {.kind = HTTP_REQUEST, .target_max = 100};
static struct http_transcript_ask answer = {.kind = HTTP_RESPONSE};

static void run(struct http_transcript_ask ask, struct slice in, size_t first, size_t then, struct buf *out)
{
	buf_reset(out);
	http_transcript(&ask, in, first, then, out);
	assert_false(out->over);
}

static void check_stream(struct http_transcript_ask ask, const struct stream *s)
{
	struct buf want, got;
	buf_init(&want, 1 << 20);
	buf_init(&got, 1 << 20);
	run(ask, s->in, s->in.n, 1, &want);
	if (strcmp(buf_text(&want), s->want) != 0)
		print_error("%s\n", s->name);
	assert_string_equal(buf_text(&want), s->want);
	ask.fields = true;
	run(ask, s->in, s->in.n, 1, &want);
	for (int pause = 0; pause < 2; pause++) {
		ask.pause = pause;
		for (size_t first = 0; first <= s->in.n; first++) {
			run(ask, s->in, first, s->in.n + 1, &got);
			assert_string_equal(buf_text(&got), buf_text(&want));
		}
		run(ask, s->in, 1, 1, &got);
		assert_string_equal(buf_text(&got), buf_text(&want));
	}
	buf_done(&want);
	buf_done(&got);
}

static void check_streams(struct http_transcript_ask ask, const struct stream *streams, size_t n)
{
	for (size_t i = 0; i < n; i++)
		check_stream(ask, &streams[i]);
}

/* Attacks on proxies, and a few honest neighbours of theirs. */
static const struct stream attacks[] = {
    {"CL+TE", IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
     "bad 400;"},
    {"TE+CL", IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG"),
     "bad 400;"},
    {"dup CL differ", IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nAB"), "bad 400;"},
    {"CL list 1,1", IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1,1\r\n\r\nA"), "bad 400;"},
    {"CL empty", IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\nGET /x HTTP/1.1\r\n\r\n"), "bad 400;"},
    {"CL '1 2'", IN("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 2\r\n\r\nAB"), "bad 400;"},
    {"TE chunked, identity", IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
     "bad 400;"},
    {"TE xchunked", IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\nABC"), "bad 501;"},
    {"space before colon", IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
     "bad 400;"},
    {"bare CR between headers (CVE-2023-30589)",
     IN("GET / HTTP/1.1\r\nHost: a\r\nDummy: x\rContent-Length: 23\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"), "bad 400;"},
    {"empty header CR (CVE-2023-30589)",
     IN("GET / HTTP/1.1\r\nHost: a\r\nX-Abc:\rxTransfer-Encoding: chunked\r\n\r\n1\r\nA\r\n0\r\n\r\n"), "bad 400;"},
    {"obs-fold CL (CVE-2024-27982)",
     IN("POST / HTTP/1.1\r\nHost: a\r\n Content-Length: 5\r\n\r\nGET /x HTTP/1.1\r\n\r\n"), "bad 400;"},
    {"obs-fold value", IN("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n"), "bad 400;"},
    {"chunk ext bare LF", IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nA\r\n0\r\n\r\n"),
     "POST / 1.1 chunked keep;bad 400;"},
    {"chunk data no CRLF", IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nAXX0\r\n\r\n"),
     "POST / 1.1 chunked keep;body A;bad 400;"},
    {"NUL in value",
     IN("GET / HTTP/1.1\r\nHost: a\x00"
	"b\r\n\r\n"),
     "bad 400;"},
    {"no Host", IN("GET / HTTP/1.1\r\n\r\n"), "bad 400;"},
    {"two Host", IN("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), "bad 400;"},
    {"HTTP/9.9", IN("GET / HTTP/9.9\r\nHost: a\r\n\r\n"), "bad 505;"},
    {"HTTP/0.9 simple", IN("GET /\r\n\r\n"), "bad 400;"},
    {"absolute-form vs Host", IN("GET http://evil/ HTTP/1.1\r\nHost: a\r\n\r\n"), "bad 400;"},
    {"URL ctl/8bit", IN("GET /\x01\xff HTTP/1.1\r\nHost: a\r\n\r\n"), "bad 400;"},
    {"URL tab", IN("GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"), "bad 400;"},
    {"CL with upgrade",
     IN("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nABCGET /x "
	"HTTP/1.1\r\n\r\n"),
     "bad 400;"},
    {"GET with CL body", IN("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nABC"),
     "GET / 1.1 len=3 keep;body ABC;done;eof;"},
    {"CL leading LF lines", IN("\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), "bad 400;"},
    {"trailer CL",
     IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\nHost: evil\r\n\r\n"),
     "POST / 1.1 chunked keep;done;eof;"},
    {"data after Connection: close",
     IN("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /x HTTP/1.1\r\n\r\n"),
     "GET / 1.1 none close;done;bad 400;"},
    {"header VT/FF",
     IN("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0b"
	"chunked\r\n\r\n0\r\n\r\n"),
     "bad 400;"},
    {"TE tab chunked", IN("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n"),
     "POST / 1.1 chunked keep;done;eof;"},
    {"method source (PRI)", IN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "bad 505;"},
    {"CONNECT", IN("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nXX"), "bad 405;"},
};

static void test_attacks(void **state)
{
	(void)state;
	check_streams(request, attacks, ARRAY_SIZE(attacks));
}

static const struct stream requests[] = {
    {"plain", IN("GET / HTTP/1.1\r\n" HOST "\r\n"), "GET / 1.1 none keep;done;eof;"},
    {"nothing", IN(""), "eof;"},
    {"cut in the first line", IN("GET"), "bad 400;"},
    {"cut before the last line end", IN("GET / HTTP/1.1\r\n" HOST "\r"), "bad 400;"},
    {"pipelined",
     IN("GET /1 HTTP/1.1\r\n" HOST "\r\nPOST /2 HTTP/1.1\r\n" HOST
	"Content-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\n" HOST "\r\n"),
     "GET /1 1.1 none keep;done;POST /2 1.1 len=3 keep;body abc;done;GET /3 1.1 none keep;done;eof;"},
    {"pipelined chunks",
     IN("POST /1 HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0b;x=\"y z\"\r\n, wide worl\r\n1 "
	"\t\r\nd\r\n000\r\n\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n"),
     "POST /1 1.1 chunked keep;body hello, wide world;done;GET /2 1.1 none keep;done;eof;"},
    {"empty lines before", IN("\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"),
     "GET / 1.1 none keep;done;GET / 1.1 none keep;done;eof;"},
    {"empty lines without end", IN("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"length 0", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"), "POST / 1.1 len=0 keep;done;eof;"},
    {"length cut", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc"),
     "POST / 1.1 len=5 keep;body abc;bad 400;"},
    {"length of 18 digits", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: 999999999999999999\r\n\r\n"),
     "POST / 1.1 len=999999999999999999 keep;bad 400;"},
    {"length of 19 digits", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: 1000000000000000000\r\n\r\n"), "bad 400;"},
    {"length over 64 bits", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551617\r\n\r\n"), "bad 400;"},
    {"length signed", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\na"), "bad 400;"},
    {"length negative", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\na"), "bad 400;"},
    {"length twice the same", IN("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
     "bad 400;"},
    {"length with an underscore", IN("POST / HTTP/1.1\r\n" HOST "Content_Length: 1\r\n\r\na"), "bad 400;"},
    {"coding with an underscore", IN("POST / HTTP/1.1\r\n" HOST "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n"),
     "bad 400;"},
    {"coding twice",
     IN("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     "bad 400;"},
    {"coding after chunked", IN("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n"), "bad 400;"},
    {"coding before chunked", IN("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"), "bad 400;"},
    {"coding unknown", IN("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"), "bad 501;"},
    {"coding empty", IN("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"), "bad 501;"},
    {"coding in 1.0", IN("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "bad 400;"},
    {"1.0", IN("GET / HTTP/1.0\r\n\r\n"), "GET / 1.0 none close;done;eof;"},
    {"1.0 keep-alive", IN("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), "GET / 1.0 none keep;done;eof;"},
    {"1.0 two Host", IN("GET / HTTP/1.0\r\n" HOST HOST "\r\n"), "bad 400;"},
    {"close among others", IN("GET / HTTP/1.1\r\n" HOST "Connection: x,, CLOSE ,keep-alive\r\n\r\n"),
     "GET / 1.1 none close;done;eof;"},
    {"1.2", IN("GET / HTTP/1.2\r\n" HOST "\r\n"), "bad 505;"},
    {"2.0", IN("GET / HTTP/2.0\r\n" HOST "\r\n"), "bad 505;"},
    {"01.1", IN("GET / HTTP/01.1\r\n" HOST "\r\n"), "bad 400;"},
    {"lower-case version", IN("GET / http/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"no target", IN("GET HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"empty target", IN("GET  HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"space in the target", IN("GET /a b HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"two spaces before the version", IN("GET /  HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"space behind the version", IN("GET / HTTP/1.1 \r\n" HOST "\r\n"), "bad 400;"},
    {"space before the method", IN(" GET / HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"fragment", IN("GET /a#b HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"raw UTF-8 target", IN("GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"relative target", IN("GET a HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"query", IN("GET /a?b=/c?d&%20 HTTP/1.1\r\n" HOST "\r\n"), "GET /a?b=/c?d&%20 1.1 none keep;done;eof;"},
    {"lower-case method", IN("get / HTTP/1.1\r\n" HOST "\r\n"), "bad 501;"},
    {"malformed method", IN("G@T / HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"unknown method", IN("BREW / HTTP/1.1\r\n" HOST "\r\n"), "bad 501;"},
    {"longer method", IN("GETS / HTTP/1.1\r\n" HOST "\r\n"), "bad 501;"},
    {"method with a dash", IN("M-SEARCH / HTTP/1.1\r\n" HOST "\r\n"), "M-SEARCH / 1.1 none keep;done;eof;"},
    {"absolute", IN("GET http://A/x?y HTTP/1.1\r\n" HOST "\r\n"), "GET /x?y 1.1 none keep;done;eof;"},
    {"absolute, field first", IN("GET HTTPS://a:8/ HTTP/1.1\r\nX: y\r\nhost:a:8\r\n\r\n"),
     "GET / 1.1 none keep;done;eof;"},
    {"absolute without a path", IN("GET http://a HTTP/1.1\r\n" HOST "\r\n"), "GET / 1.1 none keep;done;eof;"},
    {"absolute OPTIONS without a path", IN("OPTIONS http://a HTTP/1.1\r\n" HOST "\r\n"),
     "OPTIONS * 1.1 none keep;done;eof;"},
    {"absolute with a query alone", IN("GET http://a?x HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"absolute, other port", IN("GET http://a:81/ HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"absolute, user", IN("GET http://a@b/ HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"absolute, longer host", IN("GET http://aa/ HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"absolute, other scheme", IN("GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"absolute without authority", IN("GET http:///x HTTP/1.1\r\nHost:\r\n\r\n"), "bad 400;"},
    {"absolute in 1.0 without Host", IN("GET http://a/ HTTP/1.0\r\n\r\n"), "bad 400;"},
    {"star", IN("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS * 1.1 none keep;done;eof;"},
    {"star with GET", IN("GET * HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"star and more", IN("OPTIONS *a HTTP/1.1\r\n" HOST "\r\n"), "bad 400;"},
    {"Host empty", IN("GET / HTTP/1.1\r\nHost:\r\n\r\n"), "GET / 1.1 none keep;done;eof;"},
    {"Host IPv6", IN("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), "GET / 1.1 none keep;done;eof;"},
    {"Host list", IN("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), "bad 400;"},
    {"Host with a path", IN("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), "bad 400;"},
    {"Host with a user", IN("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"), "bad 400;"},
    {"Host with 8 bits", IN("GET / HTTP/1.1\r\nHost: \xe4\r\n\r\n"), "bad 400;"},
    {"no colon", IN("GET / HTTP/1.1\r\n" HOST "X\r\n\r\n"), "bad 400;"},
    {"no name", IN("GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n"), "bad 400;"},
    {"no name, first field", IN("GET / HTTP/1.1\r\n: x\r\n" HOST "\r\n"), "bad 400;"},
    {"space in a name", IN("GET / HTTP/1.1\r\n" HOST "X Y: z\r\n\r\n"), "bad 400;"},
    {"8 bits in a name", IN("GET / HTTP/1.1\r\n" HOST "X\xe4: z\r\n\r\n"), "bad 400;"},
    {"8 bits in a value", IN("GET / HTTP/1.1\r\n" HOST "X: \xe4\xff\x80\r\n\r\n"), "GET / 1.1 none keep;done;eof;"},
    {"tabs in a value", IN("GET / HTTP/1.1\r\n" HOST "X:\t\ta\tb \t\r\nY:\t\r\n\r\n"), "GET / 1.1 none keep;done;eof;"},
    {"DEL in a value", IN("GET / HTTP/1.1\r\n" HOST "X: \x7f\r\n\r\n"), "bad 400;"},
    {"ESC in a value", IN("GET / HTTP/1.1\r\n" HOST "X: \x1b[2J\r\n\r\n"), "bad 400;"},
    {"folded, tab", IN("GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n"), "bad 400;"},
    {"LF alone ends the line", IN("GET / HTTP/1.1\n" HOST "\r\n"), "bad 400;"},
    {"LF alone ends a field", IN("GET / HTTP/1.1\r\nHost: a\n\r\n"), "bad 400;"},
    {"LF alone ends the head", IN("GET / HTTP/1.1\r\n" HOST "\nX: y\r\n\r\n"), "bad 400;"},
    {"two CR", IN("GET / HTTP/1.1\r\n" HOST "\r\r\n"), "bad 400;"},
    {"TLS on a plain port", IN("\x16\x03\x01\x02"), "bad 400;"},
    {"expect", IN("POST / HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\na"),
     "POST / 1.1 len=1 keep expect;body a;done;eof;"},
    {"expect without a body", IN("GET / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"),
     "GET / 1.1 none keep;done;eof;"},
    {"expect in 1.0", IN("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na"),
     "POST / 1.0 len=1 close;body a;done;eof;"},
    {"expect something else", IN("POST / HTTP/1.1\r\n" HOST "Expect: wonders\r\nContent-Length: 1\r\n\r\na"),
     "POST / 1.1 len=1 keep;body a;done;eof;"},
};

static void test_requests(void **state)
{
	(void)state;
	check_streams(request, requests, ARRAY_SIZE(requests));
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

static const struct stream chunks[] = {
    {"cut in a size", IN(CHUNKED "1"), "POST / 1.1 chunked keep;bad 400;"},
    {"cut in a chunk", IN(CHUNKED "5\r\nab"), "POST / 1.1 chunked keep;body ab;bad 400;"},
    {"cut behind a chunk", IN(CHUNKED "2\r\nab\r\n"), "POST / 1.1 chunked keep;body ab;bad 400;"},
    {"cut in the last line", IN(CHUNKED "0\r\n\r"), "POST / 1.1 chunked keep;bad 400;"},
    {"size empty", IN(CHUNKED "\r\nab\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size not hex", IN(CHUNKED "g\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size 0x", IN(CHUNKED "0x1\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size signed", IN(CHUNKED "+1\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size with a space before", IN(CHUNKED " 1\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size with a space inside", IN(CHUNKED "1 1\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size of 64 bits", IN(CHUNKED "fffffffffffffffF\r\na"), "POST / 1.1 chunked keep;body a;bad 400;"},
    {"size over 64 bits", IN(CHUNKED "10000000000000000\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size over 64 bits, wrapping to 1", IN(CHUNKED "f0000000000000001\r\na\r\n0\r\n\r\n"),
     "POST / 1.1 chunked keep;bad 400;"},
    {"size with zeros before", IN(CHUNKED "00000000000000000000001\r\na\r\n0\r\n\r\n"),
     "POST / 1.1 chunked keep;body a;done;eof;"},
    {"size line ends with LF", IN(CHUNKED "1\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"size line ends with CR CR", IN(CHUNKED "1\r\ra\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"chunk longer", IN(CHUNKED "1\r\nab\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;body a;bad 400;"},
    {"chunk shorter", IN(CHUNKED "3\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;body a\r\n;bad 400;"},
    {"chunk ends with LF", IN(CHUNKED "1\r\na\n0\r\n\r\n"), "POST / 1.1 chunked keep;body a;bad 400;"},
    {"extension", IN(CHUNKED "1 ; a = \"b\\\"\" \t;c\r\na\r\n0;last\r\n\r\n"),
     "POST / 1.1 chunked keep;body a;done;eof;"},
    {"extension with a control character", IN(CHUNKED "1;\x01\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"extension with CR", IN(CHUNKED "1;a\rb\r\na\r\n0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailers", IN(CHUNKED "0\r\nX-1:y\r\nX-2: \t\xe4\r\nX-3:\r\n\r\n"), "POST / 1.1 chunked keep;done;eof;"},
    {"trailer folded", IN(CHUNKED "0\r\nX: y\r\n z\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailer without a colon", IN(CHUNKED "0\r\nX\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailer without a name", IN(CHUNKED "0\r\n: x\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailer with a space before the colon", IN(CHUNKED "0\r\nX : y\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailer with LF", IN(CHUNKED "0\r\nX: y\nZ: z\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailer with CR", IN(CHUNKED "0\r\nX: y\rZ: z\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailer with NUL", IN(CHUNKED "0\r\nX: \0\r\n\r\n"), "POST / 1.1 chunked keep;bad 400;"},
    {"trailers end with CR CR", IN(CHUNKED "0\r\n\r\r\n"), "POST / 1.1 chunked keep;bad 400;"},
};

static void test_chunks(void **state)
{
	(void)state;
	check_streams(request, chunks, ARRAY_SIZE(chunks));
}

#define WS "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
#define WS_13 "Sec-WebSocket-Version: 13\r\n"
#define WS_KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static const struct stream upgrades[] = {
    {"websocket", IN(WS WS_13 WS_KEY "\r\n\x81\x00"), "GET /ws 1.1 none keep upgrade;upgraded+2;"},
    {"two protocols",
     IN("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n" WS_13 WS_KEY "\r\n"),
     "GET / 1.1 none keep upgrade;upgraded+0;"},
    {"no key", IN(WS WS_13 "\r\n"), "bad 400;"},
    {"two keys", IN(WS WS_13 WS_KEY WS_KEY "\r\n"), "bad 400;"},
    {"key short", IN(WS WS_13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n\r\n"), "bad 400;"},
    {"key long", IN(WS WS_13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==AAAA\r\n\r\n"), "bad 400;"},
    {"key not base64", IN(WS WS_13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25-ZQ==\r\n\r\n"), "bad 400;"},
    {"key with stray bits", IN(WS WS_13 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n\r\n"), "bad 400;"},
    {"key with an underscore", IN(WS WS_13 "Sec_WebSocket_Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), "bad 400;"},
    {"no version", IN(WS WS_KEY "\r\n"), "bad 400;"},
    {"version 8", IN(WS WS_KEY "Sec-WebSocket-Version: 8\r\n\r\n"), "bad 400;"},
    {"POST", IN("POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" WS_13 WS_KEY "\r\n"),
     "bad 400;"},
    {"with length 0", IN(WS WS_13 WS_KEY "Content-Length: 0\r\n\r\n"), "bad 400;"},
    {"with chunks", IN(WS WS_13 WS_KEY "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "bad 400;"},
    {"no Connection",
     IN("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" WS_13 WS_KEY "\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
     "GET / 1.1 none keep;done;GET /2 1.1 none keep;done;eof;"},
    {"no Upgrade",
     IN("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n" WS_13 WS_KEY "\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
     "GET / 1.1 none keep;done;GET /2 1.1 none keep;done;eof;"},
    {"h2c",
     IN("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
	"AAMAAABkAARAAAAAAAIAAAAA\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
     "GET / 1.1 none keep;done;GET /2 1.1 none keep;done;eof;"},
    {"h2c with a body",
     IN("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nxGET /2 "
	"HTTP/1.1\r\nHost: a\r\n\r\n"),
     "POST / 1.1 len=1 keep;body x;done;GET /2 1.1 none keep;done;eof;"},
    {"in 1.0", IN("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" WS_13 WS_KEY "\r\n"),
     "GET / 1.0 none close;done;eof;"},
    {"TLS", IN("OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n"),
     "OPTIONS * 1.1 none keep;done;eof;"},
};

static void test_upgrades(void **state)
{
	(void)state;
	check_streams(request, upgrades, ARRAY_SIZE(upgrades));
}

static const struct stream answers[] = {
    {"length", IN("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"), "200 OK 1.1 len=3 keep;body abc;done;eof;"},
    {"chunks", IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n"),
     "200 OK 1.1 chunked keep;body abc;done;eof;"},
    {"until the end", IN("HTTP/1.1 200 OK\r\n\r\nabc"), "200 OK 1.1 eof close;body abc;eof done;"},
    {"until the end, nothing", IN("HTTP/1.1 200 OK\r\n\r\n"), "200 OK 1.1 eof close;eof done;"},
    {"until the end, 1.0", IN("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nabc"),
     "200 OK 1.0 eof close;body abc;eof done;"},
    {"1.0 keep-alive", IN("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na"),
     "200 OK 1.0 len=1 keep;body a;done;eof;"},
    {"1.0", IN("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"), "200 OK 1.0 len=1 close;body a;done;eof;"},
    {"close", IN("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\na"),
     "200 OK 1.1 len=1 close;body a;done;eof;"},
    {"no reason", IN("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"), "200  1.1 len=0 keep;done;eof;"},
    {"no reason, no space", IN("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), "200  1.1 len=0 keep;done;eof;"},
    {"reason with 8 bits", IN("HTTP/1.1 404 Weg \xe4\r\nContent-Length: 0\r\n\r\n"),
     "404 Weg \xe4 1.1 len=0 keep;done;eof;"},
    {"reason with a tab", IN("HTTP/1.1 200 a\tb\r\nContent-Length: 0\r\n\r\n"), "200 a\tb 1.1 len=0 keep;done;eof;"},
    {"204", IN("HTTP/1.1 204 No Content\r\n\r\n"), "204 No Content 1.1 none keep;done;eof;"},
    {"204 with length 0", IN("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
     "204 No Content 1.1 none keep;done;eof;"},
    {"204 with a length", IN("HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n"),
     "204 No Content 1.1 none close;done;eof;"},
    {"204 with chunks", IN("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
     "204 No Content 1.1 none close;done;eof;"},
    {"304 with a length", IN("HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"),
     "304 Not Modified 1.1 none keep;done;eof;"},
    {"both lengths", IN("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
     "bad 400;"},
    {"two lengths", IN("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"), "bad 400;"},
    {"chunks in 1.0", IN("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "bad 400;"},
    {"other coding", IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"), "bad 501;"},
    {"cut head", IN("HTTP/1.1 200 OK\r\nContent-"), "bad 400;"},
    {"cut length", IN("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"), "200 OK 1.1 len=3 keep;body ab;bad 400;"},
    {"cut chunks", IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"),
     "200 OK 1.1 chunked keep;body ab;bad 400;"},
    {"nothing", IN(""), "eof;"},
    {"100 before",
     IN("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
	"1\r\n\r\na"),
     "200 OK 1.1 len=1 keep;body a;done;eof;"},
    {"100 alone", IN("HTTP/1.1 100 Continue\r\n\r\n"), "bad 400;"},
    {"101 not asked for",
     IN("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "
	"x\r\n\r\n"),
     "bad 400;"},
    {"empty line before", IN("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"0.9", IN("hello\r\n\r\n"), "bad 400;"},
    {"2.0", IN("HTTP/2.0 200 OK\r\n\r\n"), "bad 505;"},
    {"other protocol", IN("ICY 200 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"a request", IN("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "bad 400;"},
    {"status of two digits", IN("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"status of four digits", IN("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"status 099", IN("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"status 600", IN("HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"status of no number", IN("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"two spaces", IN("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"folded", IN("HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"split by CR", IN("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"), "bad 400;"},
    {"LF alone", IN("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), "bad 400;"},
    {"two answers",
     IN("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
     "200 OK 1.1 len=1 keep;body a;done;404 Not Found 1.1 len=0 keep;done;eof;"},
    {"upgrade told of, not done",
     IN("HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n"),
     "426 Upgrade Required 1.1 len=0 keep;done;eof;"},
};

static void test_answers(void **state)
{
	(void)state;
	check_streams(answer, answers, ARRAY_SIZE(answers));
}

/* Answers to HEAD have no body, whatever they say. */
static const struct stream head_answers[] = {
    {"length", IN("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
     "200 OK 1.1 none keep;done;200 OK 1.1 none keep;done;eof;"},
    {"chunks", IN("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), "200 OK 1.1 none keep;done;eof;"},
    {"no length", IN("HTTP/1.1 200 OK\r\n\r\n"), "200 OK 1.1 none keep;done;eof;"},
    {"both lengths", IN("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), "bad 400;"},
};

static void test_head_answers(void **state)
{
	(void)state;
	struct http_transcript_ask ask = answer;
	ask.head_request = true;
	check_streams(ask, head_answers, ARRAY_SIZE(head_answers));
}

#define SWITCHING "HTTP/1.1 101 Switching Protocols\r\n"
#define TO_WS "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static const struct stream upgrade_answers[] = {
    {"accepted", IN(SWITCHING TO_WS ACCEPT "\r\n\x81\x01x"),
     "101 Switching Protocols 1.1 none keep upgrade;upgraded+3;"},
    {"100 before", IN("HTTP/1.1 100 Continue\r\n\r\n" SWITCHING TO_WS ACCEPT "\r\n"),
     "101 Switching Protocols 1.1 none keep upgrade;upgraded+0;"},
    {"with length 0", IN(SWITCHING TO_WS ACCEPT "Content-Length: 0\r\n\r\n"),
     "101 Switching Protocols 1.1 none keep upgrade;upgraded+0;"},
    {"refused", IN("HTTP/1.1 403 Forbidden\r\nContent-Length: 1\r\n\r\nx"),
     "403 Forbidden 1.1 len=1 keep;body x;done;eof;"},
    {"no accept", IN(SWITCHING TO_WS "\r\n"), "bad 400;"},
    {"no Connection", IN(SWITCHING "Upgrade: websocket\r\n" ACCEPT "\r\n"), "bad 400;"},
    {"no Upgrade", IN(SWITCHING "Connection: upgrade\r\n" ACCEPT "\r\n"), "bad 400;"},
    {"other protocol", IN(SWITCHING "Connection: upgrade\r\nUpgrade: h2c\r\n" ACCEPT "\r\n"), "bad 400;"},
    {"with a length", IN(SWITCHING TO_WS ACCEPT "Content-Length: 1\r\n\r\nx"), "bad 400;"},
    {"with chunks", IN(SWITCHING TO_WS ACCEPT "Transfer-Encoding: chunked\r\n\r\n"), "bad 400;"},
    {"in 1.0", IN("HTTP/1.0 101 Switching Protocols\r\n" TO_WS ACCEPT "\r\n"), "bad 400;"},
};

static void test_upgrade_answers(void **state)
{
	(void)state;
	struct http_transcript_ask ask = answer;
	ask.upgrade_asked = true;
	check_streams(ask, upgrade_answers, ARRAY_SIZE(upgrade_answers));
}

/* ---- bounds: too long for every cut; some cuts will do ---- */

static void check_bound(struct http_transcript_ask ask, struct buf *in, const char *want)
{
	struct buf got;
	struct slice s = buf_slice(in);
	const size_t cuts[] = {0,  1, 17, 4095, 4096, 8192, 16384, LIMIT_HTTP_HEAD_BYTES - 1, LIMIT_HTTP_HEAD_BYTES,
			       s.n};
	buf_init(&got, 1 << 20);
	for (size_t i = 0; i < ARRAY_SIZE(cuts); i++) {
		run(ask, s, cuts[i], s.n + 1, &got);
		assert_string_equal(buf_text(&got), want);
	}
	run(ask, s, 1, 1, &got);
	assert_string_equal(buf_text(&got), want);
	buf_done(&got);
	buf_reset(in);
}

static void pad(struct buf *b, size_t upto)
{
	while (buf_len(b) < upto)
		buf_add_byte(b, 'x');
}

static void test_bounds(void **state)
{
	(void)state;
	struct buf in;
	buf_init(&in, 1 << 20);
	/* A head of exactly the bound, and one byte more. */
	for (size_t more = 0; more < 2; more++) {
		buf_add_str(&in, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
		pad(&in, LIMIT_HTTP_HEAD_BYTES - 4 + more);
		buf_add_str(&in, "\r\n\r\n");
		check_bound(request, &in, more == 0 ? "GET / 1.1 none keep;done;eof;" : "bad 431;");
	}
	/* Without any end in sight, in a field and in the first line. */
	buf_add_str(&in, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
	pad(&in, 100000);
	check_bound(request, &in, "bad 431;");
	buf_add_str(&in, "GET /");
	pad(&in, 100000);
	check_bound(request, &in, "bad 414;");
	buf_add_str(&in, "HTTP/1.1 200 ");
	pad(&in, 100000);
	check_bound(answer, &in, "bad 400;");
	/* Targets. */
	for (size_t more = 0; more < 2; more++) {
		buf_add_str(&in, "GET /");
		pad(&in, 4 + request.target_max + more);
		buf_add_str(&in, " HTTP/1.1\r\nHost: a\r\n\r\n");
		char want[200];
		snprintf(want, sizeof(want), "GET /%.*s 1.1 none keep;done;eof;", (int)request.target_max - 1,
			 (const char *)in.mem + 5);
		check_bound(request, &in, more == 0 ? want : "bad 414;");
	}
	buf_done(&in);
}

static void test_counts(void **state)
{
	(void)state;
	struct buf in;
	buf_init(&in, 1 << 20);
	for (int fields = LIMIT_HTTP_FIELDS; fields <= LIMIT_HTTP_FIELDS + 1; fields++) {
		buf_add_str(&in, "GET / HTTP/1.1\r\nHost: a\r\n");
		for (int i = 1; i < fields; i++)
			buf_add_str(&in, "X: y\r\n");
		buf_add_str(&in, "\r\n");
		check_bound(request, &in, fields == LIMIT_HTTP_FIELDS ? "GET / 1.1 none keep;done;eof;" : "bad 431;");
	}
	for (int names = LIMIT_HTTP_CONNECTION_NAMES; names <= LIMIT_HTTP_CONNECTION_NAMES + 1; names++) {
		buf_add_str(&in, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, keep-alive, upgrade");
		for (int i = 0; i < names; i++)
			buf_add_str(&in, i == 20 ? "\r\nConnection: x" : ",x");
		buf_add_str(&in, "\r\n\r\n");
		check_bound(request, &in,
			    names == LIMIT_HTTP_CONNECTION_NAMES ? "GET / 1.1 none close;done;eof;" : "bad 400;");
	}
	for (int interim = LIMIT_HTTP_INTERIM; interim <= LIMIT_HTTP_INTERIM + 1; interim++) {
		for (int i = 0; i < interim; i++)
			buf_add_str(&in, "HTTP/1.1 102 Processing\r\n\r\n");
		buf_add_str(&in, "HTTP/1.1 204 No Content\r\n\r\n");
		check_bound(answer, &in,
			    interim == LIMIT_HTTP_INTERIM ? "204 No Content 1.1 none keep;done;eof;" : "bad 400;");
	}
	for (size_t more = 0; more < 2; more++) {
		buf_add_str(&in, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		size_t begin = buf_len(&in);
		buf_add_str(&in, "1;");
		pad(&in, begin + LIMIT_HTTP_CHUNK_LINE_BYTES - 2 + more);
		buf_add_str(&in, "\r\na\r\n0\r\n\r\n");
		check_bound(answer, &in,
			    more == 0 ? "200 OK 1.1 chunked keep;body a;done;eof;"
				      : "200 OK 1.1 chunked keep;bad 400;");
	}
	for (size_t more = 0; more < 2; more++) {
		buf_add_str(&in, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n");
		size_t begin = buf_len(&in);
		buf_add_str(&in, "X:");
		pad(&in, begin + LIMIT_HTTP_TRAILER_BYTES - 4 + more);
		buf_add_str(&in, "\r\n\r\n");
		check_bound(answer, &in,
			    more == 0 ? "200 OK 1.1 chunked keep;done;eof;" : "200 OK 1.1 chunked keep;bad 431;");
	}
	buf_done(&in);
}

/* ---- the rest of the interface ---- */

static void ignore_head(void *arg, const struct http_head *h)
{
	(void)arg;
	(void)h;
}

static void ignore_body(void *arg, struct slice s)
{
	(void)arg;
	(void)s;
}

static const struct http_parser_events ignore = {.head = ignore_head, .body = ignore_body};

static void test_begun(void **state)
{
	(void)state;
	struct http_parser *p = http_parser_new(HTTP_RESPONSE, 0, &ignore, NULL);
	const char *text;
	size_t used;
	assert_false(http_parser_begun(p));
	assert_int_equal(http_parser_feed(p, SLICE_NONE, &used), 0);
	assert_false(http_parser_begun(p));
	assert_int_equal(http_parser_feed(p, SLICE_LIT("H"), &used), 0);
	assert_true(http_parser_begun(p));
	http_parser_reset(p, false, false);
	assert_false(http_parser_begun(p));
	/* A swallowed interim answer counts. */
	assert_int_equal(http_parser_feed(p, SLICE_LIT("HTTP/1.1 100 Continue\r\n\r\n"), &used), 0);
	assert_true(http_parser_begun(p));
	assert_int_equal(http_parser_eof(p), HTTP_BAD);
	assert_int_equal(http_parser_error(p, &text), 400);
	http_parser_reset(p, false, false);
	assert_int_equal(http_parser_error(p, &text), 0);
	assert_string_equal(text, "");
	assert_int_equal(http_parser_eof(p), 0);
	http_parser_free(p);
	http_parser_free(NULL);
}

/* The end of one message is where feeding stops, also with nothing behind it, and again when asked again. */
static void test_stops_at_the_end(void **state)
{
	(void)state;
	struct http_parser *p = http_parser_new(HTTP_REQUEST, 10, &ignore, NULL);
	struct slice in = SLICE_LIT("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nxGET / HTTP/1.0\r\n\r\n");
	size_t used;
	assert_int_equal(http_parser_feed(p, in, &used), HTTP_MESSAGE_DONE);
	assert_int_equal(used, 39);
	assert_int_equal(http_parser_feed(p, slice_from(in, used), &used), HTTP_MESSAGE_DONE);
	assert_int_equal(used, 0);
	assert_int_equal(http_parser_eof(p), HTTP_MESSAGE_DONE);
	http_parser_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_attacks),          cmocka_unit_test(test_requests),
	    cmocka_unit_test(test_chunks),           cmocka_unit_test(test_upgrades),
	    cmocka_unit_test(test_answers),          cmocka_unit_test(test_head_answers),
	    cmocka_unit_test(test_upgrade_answers),  cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_counts),           cmocka_unit_test(test_begun),
	    cmocka_unit_test(test_stops_at_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
