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

/* No CR, LF or NUL: nothing that ends a line or a string early. */
static bool is_one_line(struct slice s)
{
	for (size_t i = http_plain_run(s.p, s.n); i < s.n; i += 1 + http_plain_run(s.p + i + 1, s.n - i - 1)) {
		if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
			return false;
	}
	return true;
}

void http_put_request_line(struct buf *b, struct slice method, struct slice target)
{
	CHECK(is_one_line(method) && is_one_line(target));
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
	CHECK(is_one_line(name) && is_one_line(value));
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
	switch (status) {
	case 100:
		return "Continue";
	case 101:
		return "Switching Protocols";
	case 103:
		return "Early Hints";
	case 200:
		return "OK";
	case 201:
		return "Created";
	case 202:
		return "Accepted";
	case 203:
		return "Non-Authoritative Information";
	case 204:
		return "No Content";
	case 205:
		return "Reset Content";
	case 206:
		return "Partial Content";
	case 207:
		return "Multi-Status";
	case 300:
		return "Multiple Choices";
	case 301:
		return "Moved Permanently";
	case 302:
		return "Found";
	case 303:
		return "See Other";
	case 304:
		return "Not Modified";
	case 307:
		return "Temporary Redirect";
	case 308:
		return "Permanent Redirect";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 402:
		return "Payment Required";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 406:
		return "Not Acceptable";
	case 408:
		return "Request Timeout";
	case 409:
		return "Conflict";
	case 410:
		return "Gone";
	case 411:
		return "Length Required";
	case 412:
		return "Precondition Failed";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 415:
		return "Unsupported Media Type";
	case 416:
		return "Range Not Satisfiable";
	case 417:
		return "Expectation Failed";
	case 418:
		return "I'm a teapot";
	case 421:
		return "Misdirected Request";
	case 422:
		return "Unprocessable Content";
	case 423:
		return "Locked";
	case 424:
		return "Failed Dependency";
	case 425:
		return "Too Early";
	case 426:
		return "Upgrade Required";
	case 428:
		return "Precondition Required";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 451:
		return "Unavailable For Legal Reasons";
	case 500:
		return "Internal Server Error";
	case 501:
		return "Not Implemented";
	case 502:
		return "Bad Gateway";
	case 503:
		return "Service Unavailable";
	case 504:
		return "Gateway Timeout";
	case 505:
		return "HTTP Version Not Supported";
	case 507:
		return "Insufficient Storage";
	case 511:
		return "Network Authentication Required";
	default:
		return "Unknown";
	}
}
