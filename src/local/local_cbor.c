/* Walks CBOR without building anything: a stack of open containers with the
 * number of items each still wants. Owns nothing. What is not well-formed, or
 * nested too deep, is no item. */
#include "local/local_cbor.h"

#include "base/limits.h"

enum { MAJOR_BYTES = 2, MAJOR_TEXT, MAJOR_ARRAY, MAJOR_MAP, MAJOR_TAG, MAJOR_SIMPLE };

#define INDEFINITE 31

struct level {
	uint64_t left; /* items still to come; when open: items seen */
	bool open;     /* of indefinite length: ends with a break */
	uint8_t of;    /* its major type */
};

struct walk {
	struct slice rest;
	struct level levels[LIMIT_JSON_DEPTH];
	size_t depth;
	bool tagged; /* a tag waits for its item */
};

/* The argument behind an initial byte: false when bytes are missing or the form is reserved. */
static bool take_argument(struct walk *w, uint8_t info, uint64_t *ret)
{
	*ret = info;
	if (info < 24 || info == INDEFINITE)
		return true;
	if (info > 27)
		return false;
	size_t n = (size_t)1 << (info - 24);
	if (w->rest.n < n)
		return false;
	*ret = 0;
	for (size_t i = 0; i < n; i++)
		*ret = *ret << 8 | w->rest.p[i];
	w->rest = slice_from(w->rest, n);
	return true;
}

static bool push(struct walk *w, uint8_t major, bool open, uint64_t items)
{
	/* Each item has a byte at least: a greater number can never be met. */
	if (w->depth == LIMIT_JSON_DEPTH || (!open && items > w->rest.n))
		return false;
	w->levels[w->depth++] = (struct level){.left = open ? 0 : items, .open = open, .of = major};
	return true;
}

static bool skip(struct walk *w, uint64_t n)
{
	if (n > w->rest.n)
		return false;
	w->rest = slice_from(w->rest, (size_t)n);
	return true;
}

/* The break that ends an open container; a map must have its last value. */
static bool close_open(struct walk *w)
{
	if (w->depth == 0 || w->tagged)
		return false;
	const struct level *top = &w->levels[w->depth - 1];
	if (!top->open || (top->of == MAJOR_MAP && top->left % 2 != 0))
		return false;
	w->depth--;
	return true;
}

static bool take_item(struct walk *w, uint8_t major, uint8_t info, uint64_t argument)
{
	bool open = info == INDEFINITE;
	w->tagged = major == MAJOR_TAG;
	switch (major) {
	case MAJOR_BYTES:
	case MAJOR_TEXT:
		return open ? push(w, major, true, 0) : skip(w, argument);
	case MAJOR_ARRAY:
		return push(w, major, open, argument);
	case MAJOR_MAP:
		return argument <= UINT64_MAX / 2 && push(w, major, open, argument * 2);
	case MAJOR_SIMPLE:
		return !open && (info != 24 || argument >= 32);
	default: /* integers and tags */
		return !open;
	}
}

/* One item of the container on top, or its break. */
static bool step(struct walk *w)
{
	if (w->rest.n == 0)
		return false;
	uint8_t first = w->rest.p[0], major = first >> 5, info = first & 31;
	uint64_t argument;
	w->rest = slice_from(w->rest, 1);
	if (first == 0xff)
		return close_open(w);
	if (!take_argument(w, info, &argument))
		return false;
	if (w->depth > 0 && !w->tagged) {
		struct level *top = &w->levels[w->depth - 1];
		/* An open string is made of whole strings of its own kind. */
		if ((top->of == MAJOR_BYTES || top->of == MAJOR_TEXT) && (major != top->of || info == INDEFINITE))
			return false;
		top->left += top->open ? 1 : (uint64_t)-1;
	}
	return take_item(w, major, info, argument);
}

bool local_cbor_is_one(struct slice s)
{
	struct walk w = {.rest = s};
	do {
		if (!step(&w))
			return false;
		while (!w.tagged && w.depth > 0 && !w.levels[w.depth - 1].open && w.levels[w.depth - 1].left == 0)
			w.depth--;
	} while (w.tagged || w.depth > 0);
	return w.rest.n == 0;
}
