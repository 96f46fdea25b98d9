/* Durable alarms: one per actor, with the number of failed attempts. */
#pragma once

#include "store/store.h"

enum store_alarm_outcome {
	STORE_ALARM_CHANGED = 1, /* only_if_due no longer matched: nothing was written */
	STORE_ALARM_NO_ACTOR,    /* no living actor of that number */
};

/* Sets (due >= 1), or clears (due 0) the alarm, attempts back to 0, unless `only_if_due` is set: then only while the
 * stored due time still equals it (an alarm set anew meanwhile stays). attempts >= 0 with only_if_due and due: a retry
 * of the same alarm. Result 0 or enum store_alarm_outcome. */
struct store_alarm {
	struct store_job job;
	uint64_t actor_number;
	int64_t due_wall_ms;
	int64_t only_if_due_wall_ms; /* 0: always */
	int32_t attempts;
	void *user;
};
void store_alarm(struct store *s, struct store_alarm *a);

/* The earliest alarms of all actors: at most `limit` rows with due_wall_ms > after-pair, ordered by (due, number). */
struct store_alarm_row {
	uint64_t actor_number;
	char actor_id[31];
	int64_t due_wall_ms;
	int32_t attempts;
};
struct store_alarm_next {
	struct store_job job;
	int64_t after_due_wall_ms; /* rows behind (after_due, after_number) */
	uint64_t after_number;
	size_t limit; /* 1 to 256 */
	struct store_alarm_row rows[256];
	size_t n;
	void *user;
};
void store_alarm_next(struct store *s, struct store_alarm_next *q);
