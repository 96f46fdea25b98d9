/* What the files of engine/ know of each other. */
#pragma once

#include "base/map.h"
#include "engine/engine.h"
#include "engine/engine_driver.h"
#include "engine/engine_kv.h"
#include "engine/engine_link.h"
#include "engine/engine_tunnel.h"
#include "io/timer.h"

#define ENGINE_MAGIC 0x656e676eu

enum engine_state {
	ENGINE_SERVING,  /* registered, or trying to be */
	ENGINE_DRAINING, /* stopping is announced; actors end */
	ENGINE_LEAVING,  /* they have; the good-bye is on its way */
	ENGINE_EVICTED,  /* another runner has the key; workers are being stopped */
	ENGINE_OVER,     /* drained() or failed() was told */
};

struct engine {
	uint32_t magic;
	struct engine_options o;
	enum engine_state state;
	struct engine_link *link; /* NULL before engine_serve and once closed */
	struct engine_driver *driver;
	struct engine_kv *kv;
	struct engine_tunnel *tunnel;
	int64_t welcomed_wall_ms; /* for the first time; 0: not yet */
	bool online;              /* the engine answers on the socket at hand */
	bool finished;            /* the link has said good-bye */
	int exit_code;            /* what failed() is to be told, 0: nothing */
	void (*drained)(void *arg);
	void *drained_arg;
	struct timer limit; /* of the state at hand */
	struct loop_task changed;
	void (*closed)(void *arg);
	void *closed_arg;
	struct loop_task close_step;
};

/* The engine says that the actor is not this runner's. If it was not told to stop, the command was lost on the way. */
void engine_disowned(struct engine *g, const char *actor_id);
