/* Heads and chunks to bytes. Each line is one reservation and a few copies;
 * what does not fit sets the buf's sticky `over` and is left out whole. */
#include "codec/http_inner.h"

#include <time.h>

static uint8_t *put(uint8_t *to, struct slice s)
{
	if (s.n > 0)
		memcpy(to, s.p, s.n);
	return to + s.n;
}

#define PUT_LIT(to, lit) put(to, SLICE_LIT(lit))

bool http_is_one_line(struct slice s)
{
	for (size_t i = http_plain_run(s.p, s.n); i < s.n; i += 1 + http_plain_run(s.p + i + 1, s.n - i - 1)) {
		if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
			return false;
	}
	return true;
}

void http_put_request_line(struct buf *b, struct slice method, struct slice target)
{
	CHECK(http_is_one_line(method) && http_is_one_line(target));
	uint8_t *to = buf_reserve(b, method.n + target.n + 12);
	if (to == NULL)
		return;
	to = put(to, method);
	*to++ = ' ';
	to = put(to, target);
	PUT_LIT(to, " HTTP/1.1\r\n");
	buf_claim(b, method.n + target.n + 12);
}

void http_put_status_line(struct buf *b, unsigned status)
{
	CHECK(status >= 100 && status <= 599);
	struct slice reason = slice_str(http_reason(status));
	uint8_t *to = buf_reserve(b, reason.n + 15);
	if (to == NULL)
		return;
	to = PUT_LIT(to, "HTTP/1.1 ");
	*to++ = (uint8_t)('0' + status / 100);
	*to++ = (uint8_t)('0' + status / 10 % 10);
	*to++ = (uint8_t)('0' + status % 10);
	*to++ = ' ';
	to = put(to, reason);
	PUT_LIT(to, "\r\n");
	buf_claim(b, reason.n + 15);
}

void http_put_field(struct buf *b, struct slice name, struct slice value)
{
	CHECK(http_is_one_line(name) && http_is_one_line(value));
	uint8_t *to = buf_reserve(b, name.n + value.n + 4);
	if (to == NULL)
		return;
	to = put(to, name);
	to = PUT_LIT(to, ": ");
	to = put(to, value);
	PUT_LIT(to, "\r\n");
	buf_claim(b, name.n + value.n + 4);
}

void http_put_field_str(struct buf *b, const char *name, const char *value)
{
	http_put_field(b, slice_str(name), slice_str(value));
}

void http_put_field_u64(struct buf *b, const char *name, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);
	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	http_put_field(b, slice_str(name), slice_of(digits + at, sizeof(digits) - at));
}

void http_put_date(struct buf *b, int64_t wall_ms)
{
	static _Thread_local int64_t formatted_s = -1;
	static _Thread_local char line[40];
	static _Thread_local size_t line_n;
	int64_t now_s = wall_ms / 1000;
	if (now_s != formatted_s) {
		struct tm tm;
		time_t t = (time_t)now_s;
		CHECK(gmtime_r(&t, &tm) != NULL);
		/* No locale is ever set, so these names are English. */
		line_n = strftime(line, sizeof(line), "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
		CHECK(line_n > 0);
		formatted_s = now_s;
	}
	buf_add(b, slice_of(line, line_n));
}

void http_put_end(struct buf *b)
{
	buf_add(b, SLICE_LIT("\r\n"));
}

void http_put_chunk(struct buf *b, struct slice s)
{
	CHECK(s.n > 0);
	char size[16];
	size_t at = sizeof(size);
	for (size_t n = s.n; n > 0; n >>= 4)
		size[--at] = "0123456789abcdef"[n & 15];
	size_t size_n = sizeof(size) - at;
	uint8_t *to = buf_reserve(b, size_n + s.n + 4);
	if (to == NULL)
		return;
	to = put(to, slice_of(size + at, size_n));
	to = PUT_LIT(to, "\r\n");
	to = put(to, s);
	PUT_LIT(to, "\r\n");
	buf_claim(b, size_n + s.n + 4);
}

void http_put_last_chunk(struct buf *b)
{
	buf_add(b, SLICE_LIT("0\r\n\r\n"));
}

const char *http_reason(unsigned status)
{
	static const char *const reasons[600] = {
	    [100] = "Continue",
	    [101] = "Switching Protocols",
	    [103] = "Early Hints",
	    [200] = "OK",
	    [201] = "Created",
	    [202] = "Accepted",
	    [203] = "Non-Authoritative Information",
	    [204] = "No Content",
	    [205] = "Reset Content",
	    [206] = "Partial Content",
	    [207] = "Multi-Status",
	    [300] = "Multiple Choices",
	    [301] = "Moved Permanently",
	    [302] = "Found",
	    [303] = "See Other",
	    [304] = "Not Modified",
	    [307] = "Temporary Redirect",
	    [308] = "Permanent Redirect",
	    [400] = "Bad Request",
	    [401] = "Unauthorized",
	    [402] = "Payment Required",
	    [403] = "Forbidden",
	    [404] = "Not Found",
	    [405] = "Method Not Allowed",
	    [406] = "Not Acceptable",
	    [408] = "Request Timeout",
	    [409] = "Conflict",
	    [410] = "Gone",
	    [411] = "Length Required",
	    [412] = "Precondition Failed",
	    [413] = "Content Too Large",
	    [414] = "URI Too Long",
	    [415] = "Unsupported Media Type",
	    [416] = "Range Not Satisfiable",
	    [417] = "Expectation Failed",
	    [418] = "I'm a teapot",
	    [421] = "Misdirected Request",
	    [422] = "Unprocessable Content",
	    [423] = "Locked",
	    [424] = "Failed Dependency",
	    [425] = "Too Early",
	    [426] = "Upgrade Required",
	    [428] = "Precondition Required",
	    [429] = "Too Many Requests",
	    [431] = "Request Header Fields Too Large",
	    [451] = "Unavailable For Legal Reasons",
	    [500] = "Internal Server Error",
	    [501] = "Not Implemented",
	    [502] = "Bad Gateway",
	    [503] = "Service Unavailable",
	    [504] = "Gateway Timeout",
	    [505] = "HTTP Version Not Supported",
	    [507] = "Insufficient Storage",
	    [511] = "Network Authentication Required",
	};
	const char *reason = status < ARRAY_SIZE(reasons) ? reasons[status] : NULL;
	return reason == NULL ? "Unknown" : reason;
}
