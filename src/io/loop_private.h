/* What the files of io/ know about a loop and nobody else sees. */
#pragma once

#include "io/loop.h"

struct uv_loop_s;
struct timer;

struct uv_loop_s *loop_uv(struct loop *l);

/* Every handle is counted from its uv init to its close callback; loop_run ends at zero. */
void loop_handle_opened(struct loop *l);
void loop_handle_closed(struct loop *l);

/* LIMIT_STREAM_READ_BYTES shared by all streams of the loop: what is read is
 * consumed before the callback returns. */
uint8_t *loop_read_buffer(struct loop *l);

/* The loop's timers: a binary heap, the earliest first. Bounded by what embeds
 * the timers: each is in it at most once. */
struct timer_heap {
	struct timer **at;
	size_t n, room;
};

struct timer_heap *loop_timers(struct loop *l);

/* When the earliest timer is due, or -1 without one. */
int64_t timer_heap_next_ms(const struct timer_heap *h);

/* Calls the timers that are due, at most as many as were armed at the start:
 * one that arms itself again at once does not hold up the tick. */
void timer_heap_run(struct timer_heap *h, int64_t now_mono_ms);
