/* Counts up; the window is the difference. Marks are kept in a ring; while it
 * is full none is sent, and the answer that makes room asks for the next. */
#include "engine/engine_window.h"

#include "base/limits.h"
#include "codec/runner_msg.h"

#define COST_STATE 5   /* a small state call: 3 to 6 ms */
#define COST_LIST 1000 /* a list without a limit of its own */

unsigned engine_window_cost(struct slice frame)
{
	struct runner_to_server m;
	if (frame.n == 0 || frame.p[0] != RUNNER_TO_SERVER_KV_REQUEST || runner_to_server_decode(frame, &m) != 0)
		return 1;
	if (m.kv.op != RUNNER_KV_LIST)
		return COST_STATE;
	uint64_t keys = m.kv.has_limit && m.kv.limit < COST_LIST ? m.kv.limit : COST_LIST;
	return COST_STATE + (unsigned)keys; /* 1 ms for each */
}

bool engine_window_open(const struct engine_window *w, int64_t now_mono_ms)
{
	if (w->sent - w->read >= LIMIT_LINK_WINDOW)
		return false;
	return w->n_marks == 0 || now_mono_ms - w->marks[w->first_mark].sent_mono_ms < LIMIT_LINK_WINDOW_MS;
}

void engine_window_sent(struct engine_window *w, unsigned cost, size_t bytes)
{
	w->sent += cost;
	w->bytes += bytes;
}

bool engine_window_mark(const struct engine_window *w, bool quiet, uint8_t ret[ENGINE_WINDOW_MARK_BYTES])
{
	if (w->n_marks == ENGINE_WINDOW_MARKS || w->sent == w->marked)
		return false;
	if (!quiet && w->sent - w->marked < LIMIT_LINK_MARK && w->bytes < LIMIT_LINK_MARK_BYTES)
		return false;
	memcpy(ret, &w->sent, ENGINE_WINDOW_MARK_BYTES);
	return true;
}

void engine_window_marked(struct engine_window *w, int64_t now_mono_ms)
{
	size_t at = (w->first_mark + w->n_marks++) % ENGINE_WINDOW_MARKS;
	w->marks[at].at = w->sent;
	w->marks[at].sent_mono_ms = now_mono_ms;
	w->marked = w->sent;
	w->bytes = 0;
}

void engine_window_restart(struct engine_window *w)
{
	w->marked = w->read = w->sent;
	w->bytes = w->n_marks = 0;
}

void engine_window_answered(struct engine_window *w, struct slice payload)
{
	uint64_t at;
	if (payload.n != sizeof(at))
		return;
	memcpy(&at, payload.p, sizeof(at));
	for (size_t i = 0; i < w->n_marks; i++) {
		if (w->marks[(w->first_mark + i) % ENGINE_WINDOW_MARKS].at != at)
			continue;
		w->read = at;
		w->first_mark = (w->first_mark + i + 1) % ENGINE_WINDOW_MARKS;
		w->n_marks -= i + 1;
		return;
	}
}
