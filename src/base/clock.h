/* Two clocks that are never mixed: wall time can jump, monotonic time cannot.
 * Names carry the clock: due_wall_ms, armed_mono_ms. */
#pragma once

#include <stdint.h>

/* Milliseconds since the Unix epoch. */
int64_t clock_wall_ms(void);

/* Milliseconds since an arbitrary start; never goes back; counts suspend. */
int64_t clock_mono_ms(void);

/* Microseconds on the monotonic clock, for measuring. */
int64_t clock_mono_us(void);
