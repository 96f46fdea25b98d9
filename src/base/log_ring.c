/* One block of memory used in a circle. Each line stands whole behind a small
 * header; what does not fit before the end starts anew at the beginning. */
#include "base/log_ring.h"

struct line_head {
	uint64_t number;
	size_t n; /* bytes of text; SKIP: go on at the beginning */
};

#define SKIP SIZE_MAX
#define ALIGN(n) (((n) + _Alignof(struct line_head) - 1) & ~(_Alignof(struct line_head) - 1))

struct log_ring {
	uint8_t *mem;
	size_t cap;
	size_t first, end; /* of the oldest line; behind the newest */
	size_t n_lines;
	uint64_t next_number;
};

struct log_ring *log_ring_new(size_t cap)
{
	struct log_ring *r = mem_zalloc(sizeof(*r));
	r->cap = ALIGN(cap);
	r->mem = mem_alloc(r->cap);
	r->next_number = 1;
	return r;
}

void log_ring_free(struct log_ring *r)
{
	mem_free(r->mem);
	mem_free(r);
}

static struct line_head head_at(const struct log_ring *r, size_t at)
{
	struct line_head h;
	memcpy(&h, r->mem + at, sizeof(h));
	return h;
}

static size_t size_of(size_t n)
{
	return ALIGN(sizeof(struct line_head) + n);
}

/* Where the line that would begin at `at` begins. */
static size_t settle(const struct log_ring *r, size_t at)
{
	return at + sizeof(struct line_head) > r->cap || head_at(r, at).n == SKIP ? 0 : at;
}

static void drop_oldest(struct log_ring *r)
{
	r->n_lines--;
	r->first += size_of(head_at(r, r->first).n);
	if (r->n_lines == 0)
		r->first = r->end = 0;
	else
		r->first = settle(r, r->first);
}

/* Whether `need` bytes at `at` would run into the oldest line. */
static bool is_taken(const struct log_ring *r, size_t at, size_t need)
{
	return r->n_lines > 0 && r->first >= at && r->first < at + need;
}

void log_ring_add(struct log_ring *r, struct slice line)
{
	size_t need = size_of(line.n), at = r->end;
	if (need > r->cap)
		return;
	if (at + need > r->cap) {
		while (r->n_lines > 0 && r->first >= at)
			drop_oldest(r);
		if (r->n_lines > 0 && at + sizeof(struct line_head) <= r->cap)
			memcpy(r->mem + at, &(struct line_head){.n = SKIP}, sizeof(struct line_head));
		at = 0;
	}
	while (is_taken(r, at, need))
		drop_oldest(r);
	if (r->n_lines == 0)
		r->first = at;
	memcpy(r->mem + at, &(struct line_head){.number = r->next_number++, .n = line.n}, sizeof(struct line_head));
	memcpy(r->mem + at + sizeof(struct line_head), line.p, line.n);
	r->end = at + need;
	r->n_lines++;
}

bool log_ring_next(const struct log_ring *r, struct log_ring_cursor *c, struct slice *ret)
{
	uint64_t oldest = r->next_number - r->n_lines;
	if (c->number < oldest)
		*c = (struct log_ring_cursor){.number = oldest, .at = r->first};
	if (c->number == r->next_number)
		return false;
	size_t at = settle(r, c->at);
	struct line_head h = head_at(r, at);
	CHECK(h.number == c->number);
	*ret = slice_of(r->mem + at + sizeof(h), h.n);
	c->number++;
	c->at = at + size_of(h.n);
	return true;
}
