/* Renders JSON values as text. Pure: out of jansson, into a buf. Everything
 * shown came through the daemon from strangers (keys, log text), so control
 * characters never reach the terminal. */
#include "ctl/ctl_table.h"

#include "base/clock.h"
#include "codec/json_field.h"

#include <stdio.h>
#include <time.h>

#define CELL_MAX ((size_t)4096)
#define COLUMNS_MAX 16
#define LIST_DEPTH_MAX 4

static void put_clean(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_add_byte(b, s.p[i] < 0x20 || s.p[i] == 0x7f ? '?' : s.p[i]);
}

static void put_age(struct buf *b, int64_t ms)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} steps[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}};
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (ms >= steps[i].ms) {
			buf_addf(b, "%lld%s", (long long)(ms / steps[i].ms), steps[i].unit);
			return;
		}
	}
	buf_addf(b, "%lldms", (long long)(ms < 0 ? 0 : ms));
}

static void put_size(struct buf *b, int64_t bytes)
{
	static const char units[] = {'K', 'M', 'G', 'T'};
	double n = (double)bytes;
	size_t i = 0;
	if (bytes < 1024) {
		buf_addf(b, "%lld", (long long)bytes);
		return;
	}
	for (n /= 1024; n >= 1024 && i + 1 < sizeof(units); i++)
		n /= 1024;
	buf_addf(b, "%.1f%c", n, units[i]);
}

static void put_time(struct buf *b, int64_t wall_ms)
{
	char text[32];
	struct tm tm;
	time_t seconds = (time_t)(wall_ms / 1000);
	gmtime_r(&seconds, &tm);
	size_t n = strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
	buf_add(b, slice_of(text, n));
}

static void put_value(struct buf *b, const json_t *value, int kind)
{
	bool number = json_is_integer(value);
	if (number && kind == CTL_AGE)
		put_age(b, json_integer_value(value));
	else if (number && kind == CTL_SIZE)
		put_size(b, json_integer_value(value));
	else if (number && kind == CTL_TIME)
		put_time(b, json_integer_value(value));
	else if (json_is_string(value))
		put_clean(b, slice_of(json_string_value(value), json_string_length(value)));
	else if (value == NULL || json_is_null(value))
		buf_add_byte(b, '-');
	else
		json_put(b, value);
}

/* Characters, near enough: continuation bytes take no room. */
static size_t width(struct slice s)
{
	size_t n = 0;
	for (size_t i = 0; i < s.n; i++)
		n += (s.p[i] & 0xc0) != 0x80;
	return n;
}

static void put_cell(struct buf *out, struct slice text, size_t room, bool right, bool last)
{
	size_t pad = room - width(text);
	for (size_t i = 0; right && i < pad; i++)
		buf_add_byte(out, ' ');
	buf_add(out, text);
	for (size_t i = 0; !right && !last && i < pad; i++)
		buf_add_byte(out, ' ');
	buf_add_str(out, last ? "\n" : "  ");
}

static struct slice cell(struct buf *b, const json_t *row, const struct ctl_column *c)
{
	buf_reset(b);
	put_value(b, json_object_get(row, c->key), (int)c->kind);
	return buf_slice(b);
}

void ctl_table(struct buf *out, const json_t *rows, const struct ctl_column *columns)
{
	size_t widths[COLUMNS_MAX], n = 0;
	struct buf b;
	buf_init(&b, CELL_MAX);
	for (; columns[n].title != NULL; n++) {
		CHECK(n < COLUMNS_MAX);
		widths[n] = strlen(columns[n].title);
	}
	for (size_t r = 0; r < json_array_size(rows); r++) {
		for (size_t i = 0; i < n; i++) {
			size_t w = width(cell(&b, json_array_get(rows, r), &columns[i]));
			widths[i] = w > widths[i] ? w : widths[i];
		}
	}
	for (size_t i = 0; i < n; i++)
		put_cell(out, slice_str(columns[i].title), widths[i], columns[i].kind == CTL_NUMBER, i + 1 == n);
	for (size_t r = 0; r < json_array_size(rows); r++) {
		for (size_t i = 0; i < n; i++)
			put_cell(out, cell(&b, json_array_get(rows, r), &columns[i]), widths[i],
				 columns[i].kind == CTL_NUMBER, i + 1 == n);
	}
	buf_done(&b);
}

/* What a member's name says of its value. */
static int kind_of(const char *key)
{
	size_t n = strlen(key);
	if (n > 3 && strcmp(key + n - 3, "_at") == 0)
		return CTL_TIME;
	if (n > 6 && strcmp(key + n - 6, "_bytes") == 0)
		return CTL_SIZE;
	if (n > 3 && strcmp(key + n - 3, "_ms") == 0)
		return CTL_AGE;
	return CTL_TEXT;
}

/* Nesting is the daemon's own and shallow; a stack of levels instead of recursion. */
void ctl_list(struct buf *out, const json_t *object)
{
	struct {
		json_t *object;
		void *at;
	} levels[LIST_DEPTH_MAX];
	size_t depth = 0;
	levels[0].object = (json_t *)(uintptr_t)object; /* jansson's iterators want it so; nothing is changed */
	levels[0].at = json_object_iter(levels[0].object);
	for (;;) {
		void *at = levels[depth].at;
		if (at == NULL) {
			if (depth == 0)
				return;
			depth--;
			continue;
		}
		const char *key = json_object_iter_key(at);
		json_t *value = json_object_iter_value(at);
		levels[depth].at = json_object_iter_next(levels[depth].object, at);
		buf_addf(out, "%*s%s:", (int)depth * 2, "", key);
		if (json_is_object(value) && depth + 1 < LIST_DEPTH_MAX) {
			buf_add_byte(out, '\n');
			depth++;
			levels[depth].object = value;
			levels[depth].at = json_object_iter(value);
			continue;
		}
		buf_add_byte(out, ' ');
		put_value(out, value, kind_of(key));
		buf_add_byte(out, '\n');
	}
}

void ctl_log_line(struct buf *out, struct slice line)
{
	json_t *record = json_loadb((const char *)line.p, line.n, 0, NULL);
	const char *ts = json_string_value(json_object_get(record, "ts"));
	const char *level = json_string_value(json_object_get(record, "level"));
	const char *msg = json_string_value(json_object_get(record, "msg"));
	if (ts == NULL || level == NULL || msg == NULL) {
		put_clean(out, line);
		buf_add_byte(out, '\n');
		json_decref(record);
		return;
	}
	buf_addf(out, "%s %-5s ", ts, level);
	put_clean(out, slice_str(msg));
	for (void *at = json_object_iter(record); at != NULL; at = json_object_iter_next(record, at)) {
		const char *key = json_object_iter_key(at);
		if (strcmp(key, "ts") == 0 || strcmp(key, "level") == 0 || strcmp(key, "msg") == 0)
			continue;
		buf_addf(out, " %s=", key);
		put_value(out, json_object_iter_value(at), CTL_TEXT);
	}
	buf_add_byte(out, '\n');
	json_decref(record);
}
