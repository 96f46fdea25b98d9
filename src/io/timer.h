/* Timers without handles: embedded, armed and disarmed at no cost, kept in one
 * heap per loop. Nothing to close; a timer must be disarmed before its memory goes. */
#pragma once

#include "io/loop.h"

struct timer {
	void (*fn)(void *arg);
	void *arg;
	int64_t due_mono_ms;
	size_t slot; /* place in the heap + 1; 0 when not armed */
	struct loop *loop;
};

void timer_init(struct timer *t, struct loop *l, void (*fn)(void *arg), void *arg);

/* Fires once, after_ms >= 0 from now; arming an armed timer moves it. */
void timer_arm(struct timer *t, int64_t after_ms);
/* Idempotent. */
void timer_disarm(struct timer *t);
bool timer_armed(const struct timer *t);
