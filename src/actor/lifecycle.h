/* The state machine of one incarnation of an actor: a pure table. Decides,
 * acts on nothing; actor.c performs the actions. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum lifecycle_state {
	LIFE_PLACING,
	LIFE_LOADING,
	LIFE_RUNNING,
	LIFE_STOPPING,
	LIFE_KILLING,
	LIFE_STOPPED,
	LIFE_STATES
};

enum lifecycle_event {
	LIFE_EV_PLACED,      /* a worker is being started for it */
	LIFE_EV_UNPLACEABLE, /* no worker to be had */
	LIFE_EV_LOADED,      /* ready, start call accepted */
	LIFE_EV_LOAD_FAILED, /* spawn, readiness or start call failed */
	LIFE_EV_INTENT,      /* the actor asks to sleep or to be destroyed */
	LIFE_EV_STOP,        /* the driver commands it */
	LIFE_EV_UNLOADED,    /* stop answered, or process reaped */
	LIFE_EV_WORKER_GONE, /* crash */
	LIFE_EV_DEADLINE,
	LIFE_EVENTS,
};

/* Actions, performed in this order. */
enum lifecycle_action {
	LIFE_ACT_DISARM = 1 << 0,
	LIFE_ACT_REFUSE = 1 << 1, /* end everything that waits */
	LIFE_ACT_LOAD = 1 << 2,
	LIFE_ACT_UNLOAD = 1 << 3,
	LIFE_ACT_KILL = 1 << 4,
	LIFE_ACT_ARM = 1 << 5,
	LIFE_ACT_REPORT_RUNNING = 1 << 6,
	LIFE_ACT_ADMIT = 1 << 7, /* forward everything that waits */
	LIFE_ACT_REMEMBER_INTENT = 1 << 8,
	LIFE_ACT_REPORT_INTENT = 1 << 9,
	LIFE_ACT_REPORT_STOPPED = 1 << 10,
	LIFE_ACT_RELEASE = 1 << 11,
	LIFE_ACT_PEER_FAULT = 1 << 12, /* log: the worker broke the rules */
};

struct lifecycle_step {
	enum lifecycle_state next;
	uint32_t actions;
	bool impossible; /* our bug: the caller CHECKs */
};

struct lifecycle_step lifecycle_step(enum lifecycle_state state, enum lifecycle_event event);
const char *lifecycle_state_name(enum lifecycle_state state);
