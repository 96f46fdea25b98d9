/* Strict reading of JSON that others wrote, and plain writing of ours.
 *
 * Happy path: json_field_parse, then one getter per field. Failure: a sentence
 * in struct err that names the line or the field; exit code 78 where the text
 * was a configuration, of no meaning elsewhere. */
#include "codec/json_field.h"

#include <errno.h>

#include "base/limits.h"
#include "codec/utf8.h"

/* Brackets deeper than allowed? Looked at before jansson does, because it descends by recursion. */
static bool too_deep(struct slice text)
{
	size_t depth = 0;
	bool in_string = false;
	for (size_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];
		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (!in_string && (c == '{' || c == '['))
			depth++;
		else if (!in_string && (c == '}' || c == ']'))
			depth -= depth > 0;
		if (depth > LIMIT_JSON_DEPTH)
			return true;
	}
	return false;
}

json_t *json_field_parse(struct slice text, struct err *e)
{
	json_error_t why;
	if (text.n > LIMIT_JSON_BYTES) {
		err_set(e, EINVAL, EXIT_CODE_CONFIG, "JSON of %zu bytes is too long (at most %d)", text.n,
			LIMIT_JSON_BYTES);
		return NULL;
	}
	if (too_deep(text)) {
		err_set(e, EINVAL, EXIT_CODE_CONFIG, "JSON is nested too deep (at most %d)", LIMIT_JSON_DEPTH);
		return NULL;
	}
	json_t *value = json_loadb(text.n == 0 ? "" : (const char *)text.p, text.n,
				   JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
	if (value == NULL)
		err_set(e, EINVAL, EXIT_CODE_CONFIG, "line %d, column %d: %s", why.line, why.column, why.text);
	return value;
}

int json_field_only(const json_t *object, const char *const *known, struct err *e)
{
	if (!json_is_object(object))
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "expected an object");
	/* jansson's iterators take no const, and change nothing. */
	json_t *it_of = (json_t *)(uintptr_t)object;
	for (void *it = json_object_iter(it_of); it != NULL; it = json_object_iter_next(it_of, it)) {
		const char *key = json_object_iter_key(it);
		size_t i = 0;
		while (known[i] != NULL && strcmp(known[i], key) != 0)
			i++;
		if (known[i] == NULL)
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "unknown field \"%.64s\"", key);
	}
	return 0;
}

static const char *type_name(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "an integer";
	case JSON_REAL:
		return "a number with a fraction or exponent";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		return "null";
	}
	IMPOSSIBLE("JSON type");
}

/* The field's value in *ret, NULL when it is absent or null and need not be there. */
static int find(const json_t *object, const char *key, bool need, const json_t **ret, struct err *e)
{
	if (!json_is_object(object))
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "expected an object with field \"%s\"", key);
	const json_t *value = json_object_get(object, key);
	if (json_is_null(value))
		value = NULL;
	if (value == NULL && need)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "field \"%s\" is missing", key);
	*ret = value;
	return 0;
}

static int wrong_type(const char *key, const char *want, const json_t *value, struct err *e)
{
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "field \"%s\" must be %s, not %s", key, want, type_name(value));
}

int json_field_str(const json_t *object, const char *key, bool need, struct slice *ret, struct err *e)
{
	const json_t *value = NULL;
	int r = find(object, key, need, &value, e);
	if (r < 0 || value == NULL)
		return r;
	if (!json_is_string(value))
		return wrong_type(key, "a string", value, e);
	*ret = slice_of(json_string_value(value), json_string_length(value));
	return 0;
}

int json_field_i64(const json_t *object, const char *key, bool need, int64_t *ret, struct err *e)
{
	_Static_assert(sizeof(json_int_t) == sizeof(int64_t), "jansson's integers have 64 bits");
	const json_t *value = NULL;
	int r = find(object, key, need, &value, e);
	if (r < 0 || value == NULL)
		return r;
	if (!json_is_integer(value))
		return wrong_type(key, "an integer", value, e);
	*ret = json_integer_value(value);
	return 0;
}

int json_field_bool(const json_t *object, const char *key, bool need, bool *ret, struct err *e)
{
	const json_t *value = NULL;
	int r = find(object, key, need, &value, e);
	if (r < 0 || value == NULL)
		return r;
	if (!json_is_boolean(value))
		return wrong_type(key, "true or false", value, e);
	*ret = json_is_true(value);
	return 0;
}

/* ---- writing ---- */

static void put_escape(struct buf *out, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	const char *brief = c == '"'    ? "\\\""
			    : c == '\\' ? "\\\\"
			    : c == '\n' ? "\\n"
			    : c == '\r' ? "\\r"
			    : c == '\t' ? "\\t"
					: NULL;
	const char full[] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
	buf_add(out, brief != NULL ? slice_str(brief) : slice_of(full, sizeof(full)));
}

void json_put_str(struct buf *out, struct slice s)
{
	size_t plain_at = 0;
	buf_add_byte(out, '"');
	for (size_t i = 0; i < s.n;) {
		size_t n = utf8_length(s.p + i, s.n - i);
		if (n > 1 || (n == 1 && s.p[i] >= 0x20 && s.p[i] != '"' && s.p[i] != '\\')) {
			i += n;
			continue;
		}
		buf_add(out, slice_of(s.p + plain_at, i - plain_at));
		if (n == 1)
			put_escape(out, s.p[i]);
		else
			buf_add_str(out, "\xef\xbf\xbd");
		plain_at = ++i;
	}
	if (plain_at < s.n)
		buf_add(out, slice_from(s, plain_at));
	buf_add_byte(out, '"');
}

/* 15 digits are what every double holds, 17 what tells each from its neighbours; 0.2 with 17 is 0.20000000000000001. */
#define DIGITS_MIN 15
#define DIGITS_MAX 17

static int on_dumped(const char *bytes, size_t n, void *arg)
{
	buf_add(arg, slice_of(bytes, n));
	return 0;
}

static bool reads_back(struct slice text, const json_t *value)
{
	json_t *back = json_loadb((const char *)text.p, text.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	bool same = back != NULL && json_equal(back, value);
	json_decref(back);
	return same;
}

void json_put(struct buf *out, const json_t *value)
{
	struct buf text;
	buf_init(&text, out->cap);
	for (unsigned digits = DIGITS_MIN; digits <= DIGITS_MAX; digits++) {
		size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits);
		buf_reset(&text);
		CHECK(json_dump_callback(value, on_dumped, &text, flags) == 0);
		if (text.over || reads_back(buf_slice(&text), value))
			break;
	}
	buf_add(out, buf_slice(&text));
	out->over |= text.over;
	buf_done(&text);
}

/* ---- base64 (RFC 4648 4 and 5) ---- */

static const char alphabet[2][65] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};

void base64_put(struct buf *out, struct slice s, bool url)
{
	const char *digits = alphabet[url];
	if (s.n > out->cap) {
		out->over = true;
		return;
	}
	size_t tail = s.n % 3, n = 0, i = 0;
	uint8_t *to = buf_reserve(out, s.n / 3 * 4 + (tail == 0 ? 0 : url ? tail + 1 : 4));
	if (to == NULL)
		return;
	for (; i + 3 <= s.n; i += 3) {
		uint32_t v = (uint32_t)s.p[i] << 16 | (uint32_t)s.p[i + 1] << 8 | s.p[i + 2];
		to[n++] = (uint8_t)digits[v >> 18];
		to[n++] = (uint8_t)digits[v >> 12 & 63];
		to[n++] = (uint8_t)digits[v >> 6 & 63];
		to[n++] = (uint8_t)digits[v & 63];
	}
	if (tail > 0) {
		uint32_t v = (uint32_t)s.p[i] << 16 | (tail == 2 ? (uint32_t)s.p[i + 1] << 8 : 0);
		to[n++] = (uint8_t)digits[v >> 18];
		to[n++] = (uint8_t)digits[v >> 12 & 63];
		if (tail == 2)
			to[n++] = (uint8_t)digits[v >> 6 & 63];
		while (!url && n % 4 != 0)
			to[n++] = '=';
	}
	buf_claim(out, n);
}

static int digit_value(uint8_t c, bool url)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == (url ? '-' : '+') ? 62 : c == (url ? '_' : '/') ? 63 : -1;
}

bool base64_get(struct buf *out, struct slice text, bool url)
{
	struct slice digits = text;
	while (!url && digits.n > 0 && text.n - digits.n < 2 && digits.p[digits.n - 1] == '=')
		digits.n--;
	if (digits.n % 4 == 1 || (!url && text.n % 4 != 0))
		return false;
	uint8_t *to = buf_reserve(out, digits.n / 4 * 3 + digits.n % 4 * 3 / 4);
	uint32_t bits = 0;
	size_t n = 0;
	if (to == NULL)
		return true;
	for (size_t i = 0; i < digits.n; i++) {
		int v = digit_value(digits.p[i], url);
		if (v < 0)
			return false;
		bits = bits << 6 | (uint32_t)v;
		if (i % 4 > 0)
			to[n++] = (uint8_t)(bits >> (6 - i % 4 * 2));
	}
	/* Bits behind the last byte must be zero, else two texts would mean the same bytes. */
	if ((digits.n % 4 == 2 && (bits & 15) != 0) || (digits.n % 4 == 3 && (bits & 3) != 0))
		return false;
	buf_claim(out, n);
	return true;
}
