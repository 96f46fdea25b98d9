/* The latest log records as lines of JSON, kept in memory for who asks later.
 *
 * Bounded in bytes: the oldest lines go first. Lines are numbered from 1, so
 * that a reader knows what it has seen and what it missed. Not thread-safe;
 * the log holds its own lock around it. */
#pragma once

#include "base/slice.h"

struct log_ring;

/* Keeps at most `cap` bytes of lines. */
struct log_ring *log_ring_new(size_t cap);
void log_ring_free(struct log_ring *r);

/* Appends one line (copied, newline included). A line over cap is left out. */
void log_ring_add(struct log_ring *r, struct slice line);

/* A reader's place. All zero: at the oldest line. */
struct log_ring_cursor {
	uint64_t number; /* of the next line */
	size_t at;       /* where it stands; settled when it is read */
};

/* The next line; the cursor moves behind it. False: there is none yet. Lines that are gone are passed over: the
 * cursor's number tells. The slice is good until the next log_ring_add. */
bool log_ring_next(const struct log_ring *r, struct log_ring_cursor *c, struct slice *ret);
