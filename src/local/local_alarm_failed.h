/* What became of an alarm that was given up. It is kept in a reserved key of
 * the actor's own state, so that it is durable and goes with the actor. */
#pragma once

#include "local/local_driver.h"
#include "store/store_kv.h"

/* Writes it, over an older one. why: a sentence, or NULL. A failure of the store is logged. */
void local_alarm_failed_keep(struct local_driver *d, uint64_t actor_number, int64_t due_wall_ms, const char *why);

/* Fills op with the question for it; the caller sets job.done, submits and clears. The answer is at most one entry,
 * whose value is a JSON object. */
void local_alarm_failed_ask(struct store_kv *op, uint64_t actor_number);
