/* A worker's stdout and stderr: two pipes read into lines. Private to
 * supervise/. */
#pragma once

#include "base/limits.h"
#include "io/timer.h"

struct output;

struct output_events {
	/* A line without its newline, at most LIMIT_OUTPUT_LINE_BYTES; fd 1 or 2. */
	void (*line)(void *arg, int fd, struct slice line);
	/* Lines not told because of LIMIT_OUTPUT_LINES_PER_S, at most once a second and before `over`. */
	void (*dropped)(void *arg, uint64_t lines);
	/* Both pipes were read to the end or given up, and are closed. Last event. */
	void (*over)(void *arg);
};

struct output_stream {
	struct output *output;
	int number; /* 1 or 2 */
	int fd;     /* -1: closed */
	struct fd_watch *watch;
	struct buf line; /* what came after the last newline */
};

/* Embedded in its owner. */
struct output {
	struct loop *loop;
	const struct output_events *events;
	void *arg;
	struct output_stream streams[2];
	unsigned n_handles;
	int64_t second_mono_ms; /* when the second began that is being counted */
	uint32_t lines;         /* told in it */
	uint64_t dropped;       /* not told yet */
	struct timer tell_dropped;
	char tail[LIMIT_OUTPUT_TAIL_BYTES];
	size_t tail_n;
	unsigned tail_lines;
};

/* fds: the reading, non-blocking ends of stdout and stderr; output's from here on, whatever is returned. On failure
 * (-errno) call output_give_up too. */
int output_open(struct output *o, struct loop *l, const int fds[2], const struct output_events *events, void *arg);

/* Stops reading. True: over() follows, later. False: nothing was open any more, and no event comes. Idempotent. */
bool output_give_up(struct output *o);

/* The last lines of stderr, joined by newlines; also those the rate limit dropped. */
struct slice output_tail(const struct output *o);
