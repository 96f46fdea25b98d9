/* Pieces of a request target: escapes, path and query, the reserved path.
 * Bytes in, bytes out; nothing is kept. */
#include "codec/http_head.h"

static int hex_value(uint8_t c)
{
	uint8_t low = c | 0x20;
	if (c >= '0' && c <= '9')
		return c - '0';
	return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

bool http_percent_decode(struct slice in, bool plus_is_space, struct buf *out)
{
	size_t escapes = 0;
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] != '%')
			continue;
		if (in.n - i < 3 || hex_value(in.p[i + 1]) < 0 || hex_value(in.p[i + 2]) < 0)
			return false;
		escapes++;
		i += 2;
	}
	uint8_t *to = buf_reserve(out, in.n - 2 * escapes);
	if (to == NULL)
		return true;
	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		if (c == '%') {
			c = (uint8_t)(hex_value(in.p[i + 1]) << 4 | hex_value(in.p[i + 2]));
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		*to++ = c;
	}
	buf_claim(out, in.n - 2 * escapes);
	return true;
}

static bool is_unreserved(uint8_t c)
{
	uint8_t low = c | 0x20;
	return (low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
}

void http_percent_encode(struct slice in, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;
	for (size_t i = 0; i < in.n; i++)
		n += is_unreserved(in.p[i]) ? 1 : 3;
	uint8_t *to = buf_reserve(out, n);
	if (to == NULL)
		return;
	for (size_t i = 0; i < in.n; i++) {
		uint8_t c = in.p[i];
		if (is_unreserved(c)) {
			*to++ = c;
			continue;
		}
		*to++ = '%';
		*to++ = (uint8_t)hex[c >> 4];
		*to++ = (uint8_t)hex[c & 15];
	}
	buf_claim(out, n);
}

void http_target_split(struct slice target, struct slice *ret_path, struct slice *ret_query, bool *ret_has_query)
{
	size_t at = slice_find(target, '?');
	*ret_has_query = at < target.n;
	*ret_query = *ret_has_query ? slice_from(target, at + 1) : SLICE_NONE;
	*ret_path = slice_head(target, at);
}

bool http_query_next(struct slice query, size_t *at, struct slice *ret_name, struct slice *ret_value,
		     struct slice *ret_whole)
{
	while (*at < query.n) {
		struct slice rest = slice_from(query, *at);
		size_t n = slice_find(rest, '&');
		*at += n + (n < rest.n);
		if (n == 0)
			continue;
		*ret_whole = slice_head(rest, n);
		size_t equals = slice_find(*ret_whole, '=');
		*ret_name = slice_head(*ret_whole, equals);
		*ret_value = equals < n ? slice_from(*ret_whole, equals + 1) : SLICE_NONE;
		return true;
	}
	return false;
}

/* Decodes escapes until none is left. Going left to right, an escape that a
 * decoded byte completes is found at the end of what is already written, so one
 * pass does what repeating would: escapes cannot overlap. Returns the length. */
static size_t decode_fully(struct slice path, uint8_t *to)
{
	size_t n = 0;
	for (size_t i = 0; i < path.n; i++) {
		to[n++] = path.p[i];
		while (n >= 3 && to[n - 3] == '%' && hex_value(to[n - 2]) >= 0 && hex_value(to[n - 1]) >= 0) {
			to[n - 3] = (uint8_t)(hex_value(to[n - 2]) << 4 | hex_value(to[n - 1]));
			n -= 2;
		}
	}
	return n;
}

static bool is_slash(uint8_t c)
{
	return c == '/' || c == '\\';
}

/* Walks the segments: where does the path lead from the root? */
static bool leads_to_reserved(struct slice path)
{
	size_t depth = 0;
	bool reserved = false;
	for (size_t i = 0; i < path.n;) {
		size_t end = i;
		while (end < path.n && !is_slash(path.p[end]))
			end++;
		struct slice segment = slice_of(path.p + i, end - i);
		i = end + 1;
		if (segment.n == 0 || slice_is(segment, "."))
			continue;
		if (slice_is(segment, "..")) {
			depth -= depth > 0;
			continue;
		}
		if (depth++ == 0)
			reserved = slice_is_nocase(segment, ".rivet");
	}
	return depth > 0 && reserved;
}

bool http_path_is_reserved(struct slice path)
{
	/* Nearly every path ends here: it has neither a dot nor an escape that could become one. */
	if (slice_find(path, '.') == path.n && slice_find(path, '%') == path.n)
		return false;
	MEM_AUTO uint8_t *decoded = mem_alloc(path.n);
	return leads_to_reserved(slice_of(decoded, decode_fully(path, decoded)));
}
