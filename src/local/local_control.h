/* What an operator's control socket sees and changes of local mode. */
#pragma once

#include "local/local.h"
#include "store/store_actor.h"
#include "store/store_kv.h"

/* One actor as an operator sees it: the record, what is known of it in memory, and the live incarnation, if any. */
struct local_control_actor {
	const struct store_actor *rec;
	const char *state;              /* "asleep", "waking", "ending", "backing off" or the live incarnation's */
	const char *failure;            /* why it last ended unasked, or NULL */
	int64_t back_off_ms;            /* until its next start may be; 0: now */
	struct slice alarm_failed_json; /* of one actor alone: its last alarm that was given up, or SLICE_NONE */
	bool live;                      /* view is filled */
	struct actor_view view;
};

struct local_control_list {
	const char *name, *id; /* copied; NULL: any */
	void (*each)(void *arg, const struct local_control_actor *a);
	/* result 0, or -errno of the store. more: the list was cut. */
	void (*done)(void *arg, int result, bool more);
	void *arg;
};

/* Living actors, newest first, at most LIMIT_CONTROL_ACTORS. each() and done() come later, never inside. */
void local_control_list(struct local *l, const struct local_control_list *q);

/* Reads or writes an actor's state, whether it is awake or not. Fills op->actor_number from the id and submits op,
 * whose done comes later; op->job.result is -ENOENT when there is no such living actor. op is the caller's until then.
 */
void local_control_kv(struct local *l, const char *id, struct store_kv *op);
