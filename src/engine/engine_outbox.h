/* Events on their way to the engine: numbered per incarnation, kept until the
 * engine has acknowledged them, sent again after a reconnect (runner protocol
 * v7, sections 3.5 and 4.3). Pure: no clock, no link, memory only.
 *
 * Numbers of one incarnation start at wall clock ms x 256 and go up by at
 * least 256, so that the engine acknowledges each at once and a successor that
 * takes over the incarnation counts on from above. A newer event of a kind
 * takes the place of an unacknowledged one, so that few are kept for each. */
#pragma once

#include "codec/runner_msg.h"

struct engine_outbox;

struct engine_outbox *engine_outbox_new(size_t incarnations_max);
void engine_outbox_free(struct engine_outbox *o);

enum engine_outbox_outcome {
	ENGINE_OUTBOX_FULL = 1, /* incarnations_max have events or are live */
};

/* Queues an event; the slices are copied, checkpoint.index is given here. STOPPED is the last of an incarnation:
 * nothing is queued behind it. 0 or ENGINE_OUTBOX_FULL. */
MUST_CHECK int engine_outbox_put(struct engine_outbox *o, const struct runner_event *ev, int64_t now_wall_ms);

/* Moves events that were not sent yet into `elements` (runner_event_put form), oldest first, at most n_max; returns how
 * many. They count as sent at now. *ret_last: a STOPPED is among them. */
size_t engine_outbox_take(struct engine_outbox *o, struct buf *elements, size_t n_max, int64_t now_mono_ms,
			  bool *ret_last);

/* The engine has all events of the incarnation up to this index. */
void engine_outbox_acked(struct engine_outbox *o, const struct runner_checkpoint *c);

/* Whether an event of this kind, of this incarnation, is not acknowledged yet. */
bool engine_outbox_has(const struct engine_outbox *o, struct slice actor_id, uint32_t generation,
		       enum runner_event_kind kind);

/* A new socket, the same runner id: everything is to be sent again, in the order of its making. */
void engine_outbox_replay(struct engine_outbox *o);

/* Events sent at or before that time and not acknowledged are to be sent again, each at most tries_max times in all;
 * one that had them is dropped: the engine ignores it (the incarnation is not its any more). Returns how many it
 * dropped. */
size_t engine_outbox_age(struct engine_outbox *o, int64_t sent_mono_ms, unsigned tries_max);

/* Forgets one incarnation, or all (another runner id). */
void engine_outbox_forget(struct engine_outbox *o, struct slice actor_id, uint32_t generation);
void engine_outbox_clear(struct engine_outbox *o);

/* Events to be sent, and all that are not acknowledged. */
size_t engine_outbox_waiting(const struct engine_outbox *o);
size_t engine_outbox_count(const struct engine_outbox *o);
