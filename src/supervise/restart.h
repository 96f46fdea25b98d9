/* Back-off after crashes and failed starts, as a pure policy (no clock, no timer).
 *
 * The first retry is immediate, then 1 s doubling to 30 s with jitter of up to a
 * quarter; a minute of health resets. There is no giving up: five in a row count
 * as failed where something asks. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct restart {
	uint8_t failures;           /* in a row, saturating at 255 */
	int64_t not_before_mono_ms; /* 0: at once */
	int64_t up_since_mono_ms;   /* 0: not up */
};

/* The start succeeded at now. */
void restart_up(struct restart *r, int64_t now_mono_ms);
/* A crash or failed start at now; random is any 32 random bits. */
void restart_failed(struct restart *r, int64_t now_mono_ms, uint32_t random);
/* Asked-for end: keeps the tally unless it had a minute of health. */
void restart_stopped(struct restart *r, int64_t now_mono_ms);
/* Milliseconds to wait before the next start; 0: now. */
int64_t restart_wait_ms(const struct restart *r, int64_t now_mono_ms);
/* Five or more in a row, and not up now. */
bool restart_is_failing(const struct restart *r);
