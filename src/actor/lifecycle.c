/* The life of one incarnation of an actor, as a table: for each state and
 * event the next state and what is to be done. Pure; owns nothing.
 *
 * The happy path is placing, loading, running, stopping, stopped. Every way to
 * stopped goes through END exactly once. Four kinds of cells:
 *
 *   GO      next state and actions
 *   IGNORE  came too late to matter
 *   FAULT   the worker broke the rules: it is killed
 *   BUG     we broke them: the caller CHECKs
 *
 * Two promises make BUG cells unreachable: a place tells of its end once, as
 * its last event, and DISARM takes back a deadline that is queued already. */
#include "actor/lifecycle.h"

#include "base/check.h"

#define END (LIFE_ACT_DISARM | LIFE_ACT_REFUSE | LIFE_ACT_REPORT_STOPPED | LIFE_ACT_RELEASE)

/* One cell, one line. */
/* clang-format off */
#define GO(to, what) {.next = (to), .actions = (uint32_t)(what)}
#define IGNORE(at) {.next = (at)}
#define FAULT GO(LIFE_KILLING, LIFE_ACT_DISARM | LIFE_ACT_REFUSE | LIFE_ACT_KILL | LIFE_ACT_PEER_FAULT)
#define BUG(at) {.next = (at), .impossible = true}

static const struct lifecycle_step table[][LIFE_EVENTS] = {
    [LIFE_PLACING] = {
	[LIFE_EV_PLACED] = GO(LIFE_LOADING, LIFE_ACT_LOAD | LIFE_ACT_ARM),
	[LIFE_EV_UNPLACEABLE] = GO(LIFE_STOPPED, END),
	[LIFE_EV_LOADED] = BUG(LIFE_PLACING),
	[LIFE_EV_LOAD_FAILED] = BUG(LIFE_PLACING),
	[LIFE_EV_INTENT] = BUG(LIFE_PLACING),
	[LIFE_EV_STOP] = GO(LIFE_STOPPED, END),
	[LIFE_EV_UNLOADED] = BUG(LIFE_PLACING),
	[LIFE_EV_WORKER_GONE] = BUG(LIFE_PLACING),
	[LIFE_EV_DEADLINE] = GO(LIFE_STOPPED, END),
    },
    [LIFE_LOADING] = {
	[LIFE_EV_PLACED] = BUG(LIFE_LOADING),
	[LIFE_EV_UNPLACEABLE] = BUG(LIFE_LOADING),
	[LIFE_EV_LOADED] = GO(LIFE_RUNNING, LIFE_ACT_DISARM | LIFE_ACT_REPORT_RUNNING | LIFE_ACT_ADMIT),
	[LIFE_EV_LOAD_FAILED] = GO(LIFE_STOPPED, END),
	[LIFE_EV_INTENT] = GO(LIFE_LOADING, LIFE_ACT_REMEMBER_INTENT),
	[LIFE_EV_STOP] = GO(LIFE_STOPPING, LIFE_ACT_REFUSE | LIFE_ACT_UNLOAD | LIFE_ACT_ARM),
	[LIFE_EV_UNLOADED] = FAULT,
	[LIFE_EV_WORKER_GONE] = GO(LIFE_STOPPED, END),
	[LIFE_EV_DEADLINE] = GO(LIFE_KILLING, LIFE_ACT_REFUSE | LIFE_ACT_KILL),
    },
    [LIFE_RUNNING] = {
	[LIFE_EV_PLACED] = BUG(LIFE_RUNNING),
	[LIFE_EV_UNPLACEABLE] = BUG(LIFE_RUNNING),
	[LIFE_EV_LOADED] = FAULT,
	[LIFE_EV_LOAD_FAILED] = FAULT,
	[LIFE_EV_INTENT] = GO(LIFE_RUNNING, LIFE_ACT_REPORT_INTENT),
	[LIFE_EV_STOP] = GO(LIFE_STOPPING, LIFE_ACT_REFUSE | LIFE_ACT_UNLOAD | LIFE_ACT_ARM),
	[LIFE_EV_UNLOADED] = GO(LIFE_STOPPED, END),
	[LIFE_EV_WORKER_GONE] = GO(LIFE_STOPPED, END),
	[LIFE_EV_DEADLINE] = BUG(LIFE_RUNNING),
    },
    [LIFE_STOPPING] = {
	[LIFE_EV_PLACED] = BUG(LIFE_STOPPING),
	[LIFE_EV_UNPLACEABLE] = BUG(LIFE_STOPPING),
	[LIFE_EV_LOADED] = IGNORE(LIFE_STOPPING),
	[LIFE_EV_LOAD_FAILED] = GO(LIFE_STOPPED, END),
	[LIFE_EV_INTENT] = IGNORE(LIFE_STOPPING),
	[LIFE_EV_STOP] = IGNORE(LIFE_STOPPING),
	[LIFE_EV_UNLOADED] = GO(LIFE_STOPPED, END),
	[LIFE_EV_WORKER_GONE] = GO(LIFE_STOPPED, END),
	[LIFE_EV_DEADLINE] = GO(LIFE_KILLING, LIFE_ACT_KILL),
    },
    [LIFE_KILLING] = {
	[LIFE_EV_PLACED] = BUG(LIFE_KILLING),
	[LIFE_EV_UNPLACEABLE] = BUG(LIFE_KILLING),
	[LIFE_EV_LOADED] = IGNORE(LIFE_KILLING),
	[LIFE_EV_LOAD_FAILED] = IGNORE(LIFE_KILLING),
	[LIFE_EV_INTENT] = IGNORE(LIFE_KILLING),
	[LIFE_EV_STOP] = IGNORE(LIFE_KILLING),
	[LIFE_EV_UNLOADED] = IGNORE(LIFE_KILLING),
	[LIFE_EV_WORKER_GONE] = GO(LIFE_STOPPED, END),
	[LIFE_EV_DEADLINE] = BUG(LIFE_KILLING),
    },
    [LIFE_STOPPED] = {
	[LIFE_EV_PLACED] = BUG(LIFE_STOPPED),
	[LIFE_EV_UNPLACEABLE] = BUG(LIFE_STOPPED),
	[LIFE_EV_LOADED] = BUG(LIFE_STOPPED),
	[LIFE_EV_LOAD_FAILED] = BUG(LIFE_STOPPED),
	[LIFE_EV_INTENT] = BUG(LIFE_STOPPED),
	[LIFE_EV_STOP] = BUG(LIFE_STOPPED),
	[LIFE_EV_UNLOADED] = BUG(LIFE_STOPPED),
	[LIFE_EV_WORKER_GONE] = BUG(LIFE_STOPPED),
	[LIFE_EV_DEADLINE] = BUG(LIFE_STOPPED),
    },
};
/* clang-format on */

static const char *const names[] = {"placing", "loading", "running", "stopping", "killing", "stopped"};

_Static_assert(LIFE_STATES == 6 && LIFE_EVENTS == 9, "a new state or event needs its row or column");
_Static_assert(ARRAY_SIZE(table) == LIFE_STATES, "one row for each state");
_Static_assert(ARRAY_SIZE(names) == LIFE_STATES, "one name for each state");

struct lifecycle_step lifecycle_step(enum lifecycle_state state, enum lifecycle_event event)
{
	CHECK((unsigned)state < LIFE_STATES && (unsigned)event < LIFE_EVENTS);
	return table[state][event];
}

const char *lifecycle_state_name(enum lifecycle_state state)
{
	CHECK((unsigned)state < LIFE_STATES);
	return names[state];
}
