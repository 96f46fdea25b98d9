/* A second, shallow walk over a valid JSON text that notes the line of each
 * object member. Members inside arrays are not noted: their array is. */
#include "app/config_lines.h"

#include "codec/json_field.h"

#define DEPTH_MAX 32

struct config_lines {
	struct line {
		char *path;
		unsigned line;
	} * lines;
	size_t n, room;
};

struct walk {
	struct slice text;
	size_t at;
	unsigned line;
	struct buf path;
	size_t marks[DEPTH_MAX]; /* path length of each open object */
	bool is_array[DEPTH_MAX];
	unsigned depth, arrays;
};

static void note(struct config_lines *l, struct walk *w)
{
	if (l->n == l->room) {
		l->room = l->room == 0 ? 32 : l->room * 2;
		l->lines = mem_realloc(l->lines, l->room * sizeof(*l->lines));
	}
	l->lines[l->n++] = (struct line){.path = slice_dup(buf_slice(&w->path)), .line = w->line};
}

/* At a '"': returns the raw content and steps behind the closing quote. */
static struct slice take_string(struct walk *w)
{
	size_t from = ++w->at;
	while (w->at < w->text.n && w->text.p[w->at] != '"')
		w->at += w->text.p[w->at] == '\\' ? 2 : 1;
	size_t end = w->at < w->text.n ? w->at : w->text.n;
	w->at = end + 1;
	return slice_of(w->text.p + from, end - from);
}

/* Appends a name with its escapes read. */
static void add_name(struct walk *w, struct slice raw)
{
	if (slice_find(raw, '\\') == raw.n) {
		buf_add(&w->path, raw);
		return;
	}
	/* With the quotes around it, it is a text of its own. */
	json_auto_t *name = json_field_parse(slice_of(raw.p - 1, raw.n + 2), NULL);
	CHECK(name != NULL);
	buf_add(&w->path, slice_of(json_string_value(name), json_string_length(name)));
}

static bool is_member_name(const struct walk *w)
{
	size_t i = w->at;
	while (i < w->text.n && strchr(" \t\r\n", w->text.p[i]) != NULL)
		i++;
	return i < w->text.n && w->text.p[i] == ':';
}

static void open_level(struct walk *w, bool array)
{
	if (w->depth < DEPTH_MAX) {
		w->marks[w->depth] = buf_len(&w->path);
		w->is_array[w->depth] = array;
	}
	w->depth++;
	w->arrays += array;
}

static void close_level(struct walk *w)
{
	if (w->depth == 0)
		return;
	w->depth--;
	if (w->depth < DEPTH_MAX) {
		w->path.end = w->path.at + w->marks[w->depth];
		w->arrays -= w->is_array[w->depth];
	}
}

struct config_lines *config_lines_new(struct slice text)
{
	struct config_lines *l = mem_zalloc(sizeof(*l));
	struct walk w = {.text = text, .line = 1};
	buf_init(&w.path, 64 * 1024);
	while (w.at < text.n) {
		uint8_t c = text.p[w.at];
		if (c == '"') {
			struct slice name = take_string(&w);
			if (!is_member_name(&w) || w.arrays > 0 || w.depth == 0 || w.depth > DEPTH_MAX)
				continue;
			w.path.end = w.path.at + w.marks[w.depth - 1];
			if (buf_len(&w.path) > 0)
				buf_add_byte(&w.path, '.');
			add_name(&w, name);
			note(l, &w);
			continue;
		}
		if (c == '\n')
			w.line++;
		else if (c == '{' || c == '[')
			open_level(&w, c == '[');
		else if (c == '}' || c == ']')
			close_level(&w);
		w.at++;
	}
	buf_done(&w.path);
	return l;
}

void config_lines_free(struct config_lines *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < l->n; i++)
		mem_free(l->lines[i].path);
	mem_free(l->lines);
	mem_free(l);
}

static unsigned line_of(const struct config_lines *l, const char *path, size_t n)
{
	for (size_t i = 0; i < l->n; i++) {
		if (strncmp(l->lines[i].path, path, n) == 0 && l->lines[i].path[n] == '\0')
			return l->lines[i].line;
	}
	return 0;
}

unsigned config_lines_get(const struct config_lines *l, const char *path)
{
	unsigned line = 0;
	for (size_t n = strlen(path); l != NULL && line == 0 && n > 0;) {
		line = line_of(l, path, n);
		while (n > 0 && path[--n] != '.')
			;
	}
	return line;
}

void config_lines_blank_comments(char *text)
{
	for (char *line = text; *line != '\0';) {
		char *first = line + strspn(line, " \t"), *end = line + strcspn(line, "\n");
		if (first[0] == '/' && first[1] == '/')
			memset(first, ' ', (size_t)(end - first));
		line = *end == '\0' ? end : end + 1;
	}
}
