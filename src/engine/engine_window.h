/* How far the engine is behind (runner protocol v7, section 1.8): it handles
 * one frame after another, a pong of ours among them, and drops a runner whose
 * pong is late. A WebSocket ping is answered when everything before it has been
 * handled; so each so often one is sent, a mark, and what is on the way is
 * bounded. Pure: no clock, no socket.
 *
 * Frames are counted by what they cost the engine, one being a tunnel message,
 * about a millisecond. */
#pragma once

#include "base/slice.h"

#define ENGINE_WINDOW_MARKS 16

struct engine_window {
	uint64_t sent, marked, read; /* costs: of all frames, up to the last mark sent, up to the last answered */
	size_t bytes;                /* since the last mark */
	size_t n_marks, first_mark;  /* sent and not answered: a ring */
	struct {
		uint64_t at;
		int64_t sent_mono_ms;
	} marks[ENGINE_WINDOW_MARKS];
};

#define ENGINE_WINDOW_MARK_BYTES 8

/* What a frame (ToServer) costs. */
unsigned engine_window_cost(struct slice frame);

/* Whether more traffic may be sent: less than LIMIT_LINK_WINDOW is on the way, and no mark is older than
 * LIMIT_LINK_WINDOW_MS. */
bool engine_window_open(const struct engine_window *w, int64_t now_mono_ms);

void engine_window_sent(struct engine_window *w, unsigned cost, size_t bytes);

/* Whether a mark is due, and what is in it. Ask again after each frame and each answer, and with `quiet` when nothing
 * was sent for a while; engine_window_marked when it was sent. */
bool engine_window_mark(const struct engine_window *w, bool quiet, uint8_t ret[ENGINE_WINDOW_MARK_BYTES]);
void engine_window_marked(struct engine_window *w, int64_t now_mono_ms);

/* A new connection: nothing is on the way. Counting goes on. */
void engine_window_restart(struct engine_window *w);

/* An answer to a mark; answers to something else are ignored. Later marks may be answered alone (RFC 6455 5.5.3). */
void engine_window_answered(struct engine_window *w, struct slice payload);
