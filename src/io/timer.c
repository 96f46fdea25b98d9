/* Owns nothing but the order: a binary heap of pointers to embedded timers.
 *
 * Arming pushes up from the end, which costs next to nothing for the common
 * case (an idle time-out, later than all others). The loop asks once per turn
 * when the earliest is due and runs what is due in its tick. Nothing here can
 * fail. Timers due in the same millisecond fire in no particular order. */
#include "io/timer.h"

#include "io/loop_private.h"

#define HEAP_FIRST 64

static void place(struct timer_heap *h, size_t i, struct timer *t)
{
	h->at[i] = t;
	t->slot = i + 1;
}

static void sift_up(struct timer_heap *h, size_t i, struct timer *t)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;
		if (h->at[parent]->due_mono_ms <= t->due_mono_ms)
			break;
		place(h, i, h->at[parent]);
		i = parent;
	}
	place(h, i, t);
}

static void sift_down(struct timer_heap *h, size_t i, struct timer *t)
{
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= h->n)
			break;
		if (child + 1 < h->n && h->at[child + 1]->due_mono_ms < h->at[child]->due_mono_ms)
			child++;
		if (t->due_mono_ms <= h->at[child]->due_mono_ms)
			break;
		place(h, i, h->at[child]);
		i = child;
	}
	place(h, i, t);
}

/* Settles t, whose time has changed or which is new at place i. */
static void settle(struct timer_heap *h, size_t i, struct timer *t)
{
	if (i > 0 && t->due_mono_ms < h->at[(i - 1) / 2]->due_mono_ms)
		sift_up(h, i, t);
	else
		sift_down(h, i, t);
}

static void take_out(struct timer_heap *h, struct timer *t)
{
	size_t i = t->slot - 1;
	CHECK(i < h->n && h->at[i] == t);
	t->slot = 0;
	struct timer *last = h->at[--h->n];
	if (last != t)
		settle(h, i, last);
}

void timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg)
{
	*t = (struct timer){.fn = fn, .arg = arg, .loop = l};
}

void timer_arm(struct timer *t, int64_t after_ms)
{
	CHECK(after_ms >= 0 && t->fn != NULL);
	struct timer_heap *h = loop_timers(t->loop);
	if (__builtin_add_overflow(loop_mono_ms(t->loop), after_ms, &t->due_mono_ms))
		t->due_mono_ms = INT64_MAX;
	if (t->slot > 0) {
		settle(h, t->slot - 1, t);
		return;
	}
	if (h->n == h->room) {
		h->room = h->room == 0 ? HEAP_FIRST : h->room * 2;
		h->at = mem_realloc(h->at, h->room * sizeof(struct timer *));
	}
	h->n++;
	sift_up(h, h->n - 1, t);
}

void timer_disarm(struct timer *t)
{
	if (t->slot > 0)
		take_out(loop_timers(t->loop), t);
}

bool timer_armed(const struct timer *t)
{
	return t->slot > 0;
}

int64_t timer_heap_next_ms(const struct timer_heap *h)
{
	return h->n == 0 ? -1 : h->at[0]->due_mono_ms;
}

void timer_heap_run(struct timer_heap *h, int64_t now_mono_ms)
{
	for (size_t budget = h->n; budget > 0 && h->n > 0 && h->at[0]->due_mono_ms <= now_mono_ms; budget--) {
		struct timer *t = h->at[0];
		take_out(h, t);
		t->fn(t->arg);
	}
}
