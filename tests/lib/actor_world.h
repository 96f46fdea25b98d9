/* What surrounds actors, for tests of actor/: a pool whose workers do what the
 * test says, a driver that notes its reports, clients, and a clock of its own.
 *
 * It defines the functions of worker/ and base/clock, so that the linker takes
 * these and not the real ones; hence a header, included by the one source file
 * of a test program, and not a part of the helpers every test is linked with.
 *
 * It also holds actor/ to account: no call into the pool from one of its
 * events, no forwarding to a worker that is not ready or told to stop, never
 * more than requests_max, no report from inside a command. */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "actor/dispatch.h"
#include "io/loop_private.h"
#include "io/timer.h"

/* ---- the clock ---- */

#define WORLD_WALL_MS 1700000000000

static int64_t world_mono_ms = 1000, world_wall_offset_ms = WORLD_WALL_MS;

int64_t clock_mono_ms(void)
{
	return world_mono_ms;
}

int64_t clock_mono_us(void)
{
	return world_mono_ms * 1000;
}

int64_t clock_wall_ms(void)
{
	return world_mono_ms + world_wall_offset_ms;
}

/* ---- the pool ---- */

enum seat { SEAT_WAITING, SEAT_STARTING, SEAT_LOADED };

struct place {
	struct list node;
	enum seat seat;
	bool stopped, killed, alarm_calling;
	const char *stop_reason;
	int64_t stop_ms, alarm_due_wall_ms;
	int32_t alarm_attempt;
	const struct actor_type *type;
	char actor_id[64];
	int64_t generation;
	const struct place_events *events;
	void *arg;
	struct list calls; /* struct world_call */
	size_t n_calls, n_open;
};

/* An exchange given to a place. */
struct world_call {
	struct list node;
	struct place *place;
	struct exchange *x;
	enum place_use use;
};

struct worker_pool {
	struct worker_pool_options o;
};

static struct worker_pool world_pool;
static struct list world_places;
static size_t world_n_places, world_n_placed, world_n_alarms;
static int world_in_event, world_in_command;

static inline void world_call_end(struct world_call *c)
{
	struct place *pl = c->place;
	enum place_use use = c->use;
	list_remove(&c->node);
	pl->n_calls--;
	pl->n_open -= use != PLACE_REQUEST;
	mem_free(c);
	world_in_event++;
	pl->events->exchange_over(pl->arg, use);
	world_in_event--;
}

static inline void world_on_dropped(void *holder, struct exchange *x)
{
	list_remove(&x->waiting);
	world_call_end(holder);
}

static inline void world_on_back_over(void *end, struct exchange *x, enum exchange_why why)
{
	(void)why;
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
	world_call_end(end);
}

static inline void world_on_go(void *end, struct exchange *x)
{
	(void)end;
	(void)x;
}

static const struct exchange_ops world_back = {.go = world_on_go, .over = world_on_back_over};

int worker_pool_open(const struct worker_pool_options *o, struct worker_pool **ret, struct err *e)
{
	(void)e;
	world_pool.o = *o;
	*ret = &world_pool;
	return 0;
}

static void (*world_closed)(void *arg);
static void *world_closed_arg;

void worker_pool_close(struct worker_pool *p, void (*closed)(void *arg), void *arg)
{
	CHECK(p == &world_pool && world_n_places == 0);
	world_closed = closed;
	world_closed_arg = arg;
}

struct place *worker_pool_place(struct worker_pool *p, const struct actor_type *type, const struct place_actor *actor,
				const struct place_events *events, void *arg)
{
	CHECK(p == &world_pool && !world_in_event);
	struct place *pl = mem_zalloc(sizeof(*pl));
	pl->type = type;
	pl->events = events;
	pl->arg = arg;
	pl->generation = actor->generation;
	(void)snprintf(pl->actor_id, sizeof(pl->actor_id), "%s", actor->actor_id);
	list_init(&pl->calls);
	list_init(&pl->node);
	list_push_back(&world_places, &pl->node);
	world_n_places++;
	world_n_placed++;
	return pl;
}

void worker_place_stop(struct place *pl, const char *reason, int64_t deadline_ms)
{
	CHECK(!world_in_event && !world_in_command && pl->seat != SEAT_WAITING && deadline_ms > 0);
	pl->stopped = true;
	pl->stop_reason = reason;
	pl->stop_ms = deadline_ms;
}

void worker_place_kill(struct place *pl)
{
	CHECK(!world_in_event && !world_in_command && !pl->killed);
	pl->killed = true;
}

void worker_place_forward(struct place *pl, struct exchange *x)
{
	CHECK(!world_in_event && pl->seat == SEAT_LOADED && !pl->stopped && !pl->killed);
	CHECK(!list_linked(&x->waiting) && x->dropped == NULL);
	struct world_call *c = mem_zalloc(sizeof(*c));
	c->place = pl;
	c->x = x;
	list_init(&c->node);
	list_push_back(&pl->calls, &c->node);
	pl->n_calls++;
	CHECK(pl->type->requests_max == 0 || pl->n_calls - pl->n_open <= pl->type->requests_max);
	x->dropped = world_on_dropped;
	x->holder = c;
}

void worker_place_alarm(struct place *pl, int64_t due_wall_ms, int32_t attempt)
{
	CHECK(!world_in_event && !world_in_command && pl->seat == SEAT_LOADED && !pl->killed && !pl->stopped);
	CHECK(!pl->alarm_calling && due_wall_ms <= clock_wall_ms());
	pl->alarm_calling = true;
	pl->alarm_due_wall_ms = due_wall_ms;
	pl->alarm_attempt = attempt;
	world_n_alarms++;
}

const char *worker_place_worker_id(const struct place *pl)
{
	return pl->seat == SEAT_WAITING ? "" : "w1";
}

int32_t worker_place_pid(const struct place *pl)
{
	return pl->seat == SEAT_WAITING ? 0 : 77;
}

static size_t world_n_retired;

/* A registry with a copy of this one type. */
static inline struct actor_types *world_types_of(const struct actor_type *type)
{
	struct actor_type **types = mem_zalloc(2 * sizeof(*types));
	types[0] = mem_alloc(sizeof(*type));
	*types[0] = *type;
	types[0]->name = mem_strdup(type->name);
	return actor_types_new(types);
}

void worker_pool_retire(struct worker_pool *p, const struct actor_type *type)
{
	(void)p;
	(void)type;
	world_n_retired++;
}

void worker_pool_renew(struct worker_pool *p, const struct actor_type *type)
{
	(void)p;
	(void)type;
}

bool worker_pool_forget(struct worker_pool *p, const struct actor_type *type)
{
	(void)p;
	LIST_FOR (&world_places, node) {
		if (CONTAINER_OF(node, struct place, node)->type == type)
			return false;
	}
	return true;
}

void worker_pool_set_starts_max(struct worker_pool *p, uint32_t starts_max)
{
	(void)p;
	(void)starts_max;
}

void worker_pool_stats(const struct worker_pool *p, struct worker_pool_stats *ret)
{
	(void)p;
	*ret = (struct worker_pool_stats){0};
}

/* What a pool tells; each from no call of the actor. */

static inline void world_placed(struct place *pl)
{
	pl->seat = SEAT_STARTING;
	world_in_event++;
	pl->events->placed(pl->arg);
	world_in_event--;
}

static inline void world_loaded(struct place *pl)
{
	pl->seat = SEAT_LOADED;
	world_in_event++;
	pl->events->loaded(pl->arg);
	world_in_event--;
}

static inline void world_alarm_done(struct place *pl, bool ok)
{
	pl->alarm_calling = false;
	world_in_event++;
	pl->events->alarm_done(pl->arg, ok, ok ? NULL : "the worker answered 500");
	world_in_event--;
}

static inline void world_join(struct world_call *c)
{
	exchange_join(c->x, &world_back, c);
}

/* The worker accepts the upgrade of a joined call. */
static inline void world_ws_accept(struct world_call *c, enum place_use use)
{
	c->use = use;
	c->place->n_open++;
	world_in_event++;
	c->place->events->websocket_open(c->place->arg, use);
	world_in_event--;
}

static inline void world_ws_open(struct world_call *c)
{
	world_ws_accept(c, PLACE_SOCKET);
}

/* Answers it whole, or with why as the worker that leaves. */
static inline void world_answer(struct world_call *c, enum exchange_why why)
{
	if (!exchange_joined(c->x))
		world_join(c);
	exchange_leave(c->x, EXCHANGE_BACK, why);
	world_call_end(c);
}

static inline struct world_call *world_first_call(struct place *pl)
{
	CHECK(!list_empty(&pl->calls));
	return CONTAINER_OF(pl->calls.next, struct world_call, node);
}

static inline void world_place_free(struct place *pl)
{
	CHECK(pl->n_calls == 0);
	list_remove(&pl->node);
	world_n_places--;
	mem_free(pl);
}

static inline void world_unplaceable(struct place *pl, const char *reason)
{
	world_in_event++;
	pl->events->unplaceable(pl->arg, reason);
	world_in_event--;
	world_place_free(pl);
}

static inline void world_lost(struct place *pl, enum place_lost how, const char *reason)
{
	while (!list_empty(&pl->calls))
		world_answer(world_first_call(pl), how == PLACE_CRASHED ? EXCHANGE_CRASHED : EXCHANGE_STOPPED);
	world_in_event++;
	pl->events->lost(pl->arg, how, reason);
	world_in_event--;
	world_place_free(pl);
}

/* ---- runtime calls ---- */

static bool world_in_state_call;
static size_t world_n_runtime, world_n_answered, world_n_indeterminate;
static enum runtime_outcome world_outcome; /* of the last answer */
static struct runtime_call world_answered; /* a copy */

void runtime_call_done(struct runtime_call *call, enum runtime_outcome outcome)
{
	CHECK(!world_in_state_call);
	world_n_answered++;
	world_n_indeterminate += call->indeterminate;
	world_outcome = outcome;
	world_answered = *call;
	mem_free(call);
}

static inline void world_runtime(struct place *pl, struct runtime_call what)
{
	struct runtime_call *call = mem_zalloc(sizeof(*call));
	*call = what;
	call->place = pl;
	call->actor = pl->arg;
	world_n_runtime++;
	world_in_state_call = true;
	world_pool.o.runtime->call(world_pool.o.runtime_arg, call);
	world_in_state_call = false;
}

/* ---- the driver ---- */

struct world_driver {
	struct driver driver;
	size_t n_reports, n_running, n_sleep, n_destroy, n_stopped, n_alarms;
	struct actor_report last;
	char message[256];
	struct actor_ref last_ref;
	size_t n_leftover;
	bool keep_leftover;
	struct list kept;           /* exchanges, by `waiting` */
	struct runtime_call *state; /* the call it was given last, not answered */
	void *state_data;
	void (*also)(const struct actor_ref *a, const struct actor_report *r);
};

static struct world_driver world;
static struct actor_table *world_table;
static struct loop *world_loop;

static inline void world_on_kept_dropped(void *holder, struct exchange *x)
{
	(void)holder;
	list_remove(&x->waiting);
}

static inline void world_keep(struct list *leftover)
{
	LIST_FOR (leftover, node) {
		struct exchange *x = CONTAINER_OF(node, struct exchange, waiting);
		list_remove(node);
		list_push_back(&world.kept, node);
		x->dropped = world_on_kept_dropped;
	}
}

static inline void world_on_report(struct driver *d, const struct actor_ref *a, const struct actor_report *r)
{
	CHECK(d == &world.driver && !world_in_command);
	world.n_reports++;
	world.last = *r;
	world.last_ref = *a;
	(void)snprintf(world.message, sizeof(world.message), "%s", r->message == NULL ? "" : r->message);
	world.n_running += r->kind == REPORT_RUNNING;
	world.n_sleep += r->kind == REPORT_INTENT_SLEEP;
	world.n_destroy += r->kind == REPORT_INTENT_DESTROY;
	world.n_stopped += r->kind == REPORT_STOPPED;
	world.n_alarms += r->kind == REPORT_ALARM_DONE;
	if (r->kind == REPORT_STOPPED) {
		LIST_FOR (r->leftover, node)
			world.n_leftover++;
		if (world.keep_leftover)
			world_keep(r->leftover);
	}
	if (world.also != NULL)
		world.also(a, r);
}

static inline void world_on_state(struct driver *d, const struct actor_ref *a, void *driver_data,
				  struct runtime_call *call)
{
	CHECK(d == &world.driver);
	(void)a;
	world.state_data = driver_data;
	world.state = call;
}

static const struct driver_ops world_driver_ops = {.report = world_on_report, .state = world_on_state};

/* ---- clients ---- */

struct client {
	struct exchange *x; /* NULL once over */
	size_t ends;
	enum exchange_why why;
	unsigned status;
	char code[64], message[256];
	uint32_t retry_after_s;
};

static inline void world_on_front_over(void *end, struct exchange *x, enum exchange_why why)
{
	struct client *c = end;
	CHECK(c->x == x);
	c->ends++;
	c->why = why;
	c->x = NULL;
	if (why == EXCHANGE_REFUSED) {
		c->status = x->refusal.status;
		c->retry_after_s = x->refusal.retry_after_s;
		(void)snprintf(c->code, sizeof(c->code), "%s.%s", x->refusal.group, x->refusal.code);
		(void)snprintf(c->message, sizeof(c->message), "%s",
			       x->refusal.message == NULL ? "" : x->refusal.message);
	}
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
}

static const struct exchange_ops world_front = {.go = world_on_go, .over = world_on_front_over};

static inline void client_open(struct client *c, enum exchange_kind kind)
{
	*c = (struct client){0};
	CHECK(exchange_open(kind, &world_front, c, &c->x) == 0);
}

static inline enum dispatch_outcome client_offer(struct client *c, const char *id)
{
	world_in_command++;
	enum dispatch_outcome r = dispatch_offer(world_table, id, c->x);
	world_in_command--;
	return r;
}

static inline void client_leave(struct client *c)
{
	c->ends++;
	c->why = EXCHANGE_GONE;
	struct exchange *x = c->x;
	c->x = NULL;
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_GONE);
}

/* ---- the whole ---- */

static char world_type_name[] = "counter";

/* Never sleeps; no bound on requests. */
static const struct actor_type world_type = {
    .name = world_type_name,
    .start_timeout_ms = 25000,
    .stop_grace_ms = 10000,
    .sleep_after_ms = -1,
};

static inline void world_open(void)
{
	list_init(&world_places);
	world_n_places = world_n_placed = world_n_alarms = world_n_runtime = world_n_answered = 0;
	world_n_indeterminate = 0;
	world_wall_offset_ms = WORLD_WALL_MS;
	world = (struct world_driver){.driver.ops = &world_driver_ops};
	list_init(&world.kept);
	if (world_loop == NULL)
		CHECK(loop_open(&world_loop) == 0);
	const struct worker_pool_options o = {.loop = world_loop};
	CHECK(actor_table_open(&o, &world.driver, &world_table, NULL) == 0);
}

static inline void world_nothing(void *arg)
{
	(void)arg;
}

/* One turn of the loop that waits for nothing, with its tick. */
static inline void world_turn(void)
{
	static struct loop_task task;
	if (task.fn == NULL)
		loop_task_init(&task, world_nothing, NULL);
	loop_post(world_loop, &task);
	loop_turn(world_loop);
	(void)actor_table_run(world_table);
}

static inline void world_pass(int64_t ms)
{
	world_mono_ms += ms;
	loop_skew(world_loop, 0);
	world_turn();
}

static inline int world_start_with(const char *id, int64_t generation, const struct actor_type *type, int64_t alarm_ms)
{
	struct actor_start s = {
	    .type = type,
	    .name = "counter",
	    .key = "k",
	    .namespace_name = "default",
	    .alarm_at_wall_ms = alarm_ms,
	    .driver_data = &world,
	};
	(void)snprintf(s.ref.id, sizeof(s.ref.id), "%s", id);
	s.ref.generation = generation;
	world_in_command++;
	int r = actor_table_start(world_table, &s);
	world_in_command--;
	return r;
}

static inline void world_stop(const char *id, int64_t generation, const char *reason, int64_t deadline_ms)
{
	struct actor_ref ref = {.generation = generation};
	(void)snprintf(ref.id, sizeof(ref.id), "%s", id);
	world_in_command++;
	actor_table_stop(world_table, &ref, reason, deadline_ms);
	world_in_command--;
}

static inline void world_set_alarm(const char *id, int64_t generation, int64_t due_wall_ms, int32_t attempts)
{
	struct actor_ref ref = {.generation = generation};
	(void)snprintf(ref.id, sizeof(ref.id), "%s", id);
	world_in_command++;
	actor_table_alarm(world_table, &ref, due_wall_ms, attempts);
	world_in_command--;
}

static inline struct place *world_place_of(const char *id, int64_t generation)
{
	LIST_FOR (&world_places, node) {
		struct place *pl = CONTAINER_OF(node, struct place, node);
		if (strcmp(pl->actor_id, id) == 0 && pl->generation == generation)
			return pl;
	}
	IMPOSSIBLE("no such place");
}

/* Started, placed, loaded, reported. */
static inline struct place *world_running(const char *id, int64_t generation, const struct actor_type *type)
{
	CHECK(world_start_with(id, generation, type, 0) == 0);
	struct place *pl = world_place_of(id, generation);
	world_placed(pl);
	world_loaded(pl);
	world_turn();
	return pl;
}

static inline void world_on_closed(void *arg)
{
	*(bool *)arg = true;
}

/* Closes; every killed seat ends at once. Nothing may be armed or open afterwards. */
static inline void world_close(void)
{
	bool closed = false;
	actor_table_close(world_table, world_on_closed, &closed);
	for (int turns = 0; world_closed == NULL; turns++) {
		CHECK(turns < 100);
		loop_turn(world_loop);
		LIST_FOR (&world_places, node) {
			struct place *pl = CONTAINER_OF(node, struct place, node);
			if (pl->killed)
				world_lost(pl, PLACE_STOPPED, NULL);
		}
	}
	world_closed(world_closed_arg);
	world_closed = NULL;
	CHECK(closed && world_n_places == 0);
	CHECK(timer_heap_next_ms(loop_timers(world_loop)) == -1);
	CHECK(world_n_answered == world_n_runtime);
	CHECK(exchange_count() == 0);
}
