/* Seeded random schedules over the whole of actor/, with workers that do
 * whatever the pool's contract allows, at the worst moment.
 *
 * Each run ends with: one REPORT_STOPPED for each incarnation and nothing
 * after it, each intent at most once, one report for each alarm call, every
 * seat gone, no timer armed, every exchange ended or handed back exactly once,
 * every runtime call answered. lib/actor_world.h checks the rest on the way.
 *
 * SIM_SEEDS=n says how many runs (default 100000), SIM_SEED=n runs one. */
#include "lib/actor_world.h"

#include "base/log.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define IDS 3
#define GENERATIONS 24
#define CLIENTS 48
#define STEPS 90

static uint64_t random_state;
static uint64_t seed_now;

/* splitmix64 */
static uint64_t next_random(void)
{
	uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static size_t pick(size_t n)
{
	return (size_t)(next_random() % n);
}

static bool one_in(size_t n)
{
	return pick(n) == 0;
}

/* What is known of each incarnation. */
struct life {
	bool started, wants_stop;
	size_t running, stopped, sleep, destroy, alarms;
};

static struct life lives[IDS][GENERATIONS];
static int64_t newest[IDS]; /* generation started last; 0: none */
static struct client clients[CLIENTS];
static struct actor_type types[2];
static const char *const ids[IDS] = {"aaaa", "bbbb", "cccc"};
static const char *const reasons[] = {"sleep", "destroy", "drain", "restart", "evicted", "lost"};

static size_t id_of(const struct actor_ref *a)
{
	for (size_t i = 0; i < IDS; i++) {
		if (strcmp(ids[i], a->id) == 0)
			return i;
	}
	IMPOSSIBLE("id");
}

static void on_report(const struct actor_ref *a, const struct actor_report *r)
{
	struct life *l = &lives[id_of(a)][a->generation];
	CHECK(l->started && l->stopped == 0);
	l->running += r->kind == REPORT_RUNNING;
	l->sleep += r->kind == REPORT_INTENT_SLEEP;
	l->destroy += r->kind == REPORT_INTENT_DESTROY;
	l->alarms += r->kind == REPORT_ALARM_DONE;
	l->stopped += r->kind == REPORT_STOPPED;
	CHECK(l->running <= 1 && l->sleep <= 1 && l->destroy <= 1);
	if (r->kind == REPORT_INTENT_SLEEP || r->kind == REPORT_INTENT_DESTROY || r->kind == REPORT_ALARM_DONE)
		CHECK(l->running == 1);
	if (r->kind == REPORT_INTENT_SLEEP || r->kind == REPORT_INTENT_DESTROY)
		l->wants_stop = true;
	if (r->kind == REPORT_STOPPED) {
		CHECK((r->how == STOPPED_ASKED) == (r->how == STOPPED_ASKED && r->reason != NULL));
		CHECK(r->how == STOPPED_ASKED || r->message != NULL);
		CHECK(r->how == STOPPED_ASKED || list_empty(r->leftover));
		world.keep_leftover = one_in(2);
		newest[id_of(a)] = a->generation;
	}
}

static void start(size_t i)
{
	if (newest[i] + 1 == GENERATIONS)
		return;
	int64_t alarm_ms = one_in(3) ? clock_wall_ms() + (int64_t)pick(20000) - 5000 : 0;
	if (world_start_with(ids[i], newest[i] + 1, &types[pick(2)], alarm_ms) == 0)
		lives[i][++newest[i]].started = true;
}

static void offer(void)
{
	struct client *c = &clients[pick(CLIENTS)];
	if (c->x != NULL)
		return;
	size_t i = pick(IDS);
	client_open(c, one_in(4) ? EXCHANGE_WEBSOCKET : EXCHANGE_HTTP);
	switch (client_offer(c, ids[i])) {
	case DISPATCH_TAKEN:
		return;
	case DISPATCH_ABSENT:
		start(i);
		if (client_offer(c, ids[i]) == DISPATCH_TAKEN)
			return;
		break;
	case DISPATCH_STOPPING:
	case DISPATCH_FULL:
		break;
	}
	client_leave(c);
}

/* What the driver was handed back is offered again or refused. */
static void handle_kept(void)
{
	struct list *node = list_pop(&world.kept);
	if (node == NULL)
		return;
	struct exchange *x = CONTAINER_OF(node, struct exchange, waiting);
	x->dropped = NULL;
	enum dispatch_outcome r = one_in(3) ? DISPATCH_ABSENT : dispatch_offer(world_table, ids[pick(IDS)], x);
	if (r != DISPATCH_TAKEN)
		exchange_refuse(x, 503, "guard", "actor_ready_timeout", NULL, 0);
}

static void end_seat(struct place *pl)
{
	static const enum place_lost hows[] = {PLACE_STOPPED, PLACE_CRASHED, PLACE_START_FAILED};
	enum place_lost how = hows[pick(3)];
	if (pl->seat == SEAT_WAITING && one_in(2))
		world_unplaceable(pl, "workers_max");
	else
		world_lost(pl, how, how == PLACE_STOPPED || one_in(2) ? NULL : "exit code 1");
}

static void move_call(struct place *pl)
{
	struct list *node = pl->calls.next;
	for (size_t skip = pick(pl->n_calls); skip > 0; skip--)
		node = node->next;
	struct world_call *c = CONTAINER_OF(node, struct world_call, node);
	if (!exchange_joined(c->x))
		world_join(c);
	else if (c->x->kind == EXCHANGE_WEBSOCKET && c->use == PLACE_REQUEST && one_in(2))
		world_ws_accept(c, one_in(2) ? PLACE_SOCKET : PLACE_SOCKET_SLEEPS);
	else
		world_answer(c, EXCHANGE_DONE);
}

static void call_runtime(struct place *pl)
{
	world_runtime(pl, (struct runtime_call){
			      .kind = (enum runtime_kind)pick(RUNTIME_LEASE_END + 1),
			      .ttl_ms = (int64_t)pick(30000),
			      .lease = "none",
			  });
	if (world.state != NULL)
		runtime_call_done(TAKE(world.state), RUNTIME_OK);
}

/* One thing a hostile worker, or the machine below it, may do to this seat. */
static void move_seat(struct place *pl)
{
	if (one_in(pl->killed || pl->stopped ? 4 : 25)) {
		end_seat(pl);
		return;
	}
	if (pl->seat == SEAT_WAITING) {
		if (!one_in(4))
			world_placed(pl);
	} else if (one_in(4)) {
		call_runtime(pl);
	} else if (pl->seat == SEAT_STARTING || one_in(60)) {
		world_loaded(pl);
	} else if (pl->alarm_calling && one_in(2)) {
		world_alarm_done(pl, one_in(2));
	} else if (pl->n_calls > 0) {
		move_call(pl);
	}
}

static void move_some_seat(void)
{
	if (world_n_places == 0)
		return;
	struct list *node = world_places.next;
	for (size_t skip = pick(world_n_places); skip > 0; skip--)
		node = node->next;
	move_seat(CONTAINER_OF(node, struct place, node));
}

static void grant_intents(void)
{
	for (size_t i = 0; i < IDS; i++) {
		struct life *l = &lives[i][newest[i]];
		if (l->wants_stop && one_in(2)) {
			l->wants_stop = false;
			world_stop(ids[i], newest[i], l->destroy > 0 ? "destroy" : "sleep", 0);
		}
	}
}

static void stop_all(void)
{
	world_in_command++;
	actor_table_stop_all(world_table, reasons[pick(6)], one_in(2) ? 0 : (int64_t)pick(3000), one_in(3));
	world_in_command--;
}

static void leave_some(void)
{
	struct client *c = &clients[pick(CLIENTS)];
	if (c->x != NULL)
		client_leave(c);
}

static void act(void)
{
	size_t i = pick(IDS);
	size_t what = pick(100);
	if (what < 22)
		offer();
	else if (what < 58)
		move_some_seat();
	else if (what < 78)
		world_turn();
	else if (what < 84)
		world_pass((int64_t)pick(one_in(4) ? 40000 : 300));
	else if (what < 88)
		leave_some();
	else if (what < 90)
		start(i);
	else if (what < 92)
		world_stop(ids[i], newest[i] - (int64_t)pick(2), reasons[pick(6)], (int64_t)pick(5000));
	else if (what < 93 && one_in(4))
		stop_all();
	else if (what < 95)
		world_set_alarm(ids[i], newest[i], one_in(3) ? 0 : clock_wall_ms() + (int64_t)pick(9000), 1);
	else if (what < 96)
		world_wall_offset_ms += (int64_t)pick(200000) - 100000;
	else if (what < 97)
		world_pool.o.crowded(world_pool.o.arg, &types[pick(2)]);
	else if (what < 98)
		grant_intents();
	else
		handle_kept();
}

/* Everybody is told to stop; workers may be silent, deadlines may not. */
static void wind_down(void)
{
	if (one_in(2))
		stop_all();
	else
		actor_table_stop_all(world_table, "drain", 0, false);
	for (size_t turns = 0; actor_table_count(world_table) > 0 || world_n_places > 0; turns++) {
		CHECK(turns < 2000);
		world_pass(500);
		LIST_FOR (&world_places, node) {
			struct place *pl = CONTAINER_OF(node, struct place, node);
			if (pl->killed || (pl->stopped && one_in(8)))
				end_seat(pl);
			else if (pl->n_calls > 0 && one_in(2))
				move_call(pl);
		}
	}
}

static void check_end(void)
{
	while (!list_empty(&world.kept))
		handle_kept();
	for (size_t i = 0; i < CLIENTS; i++)
		CHECK(clients[i].x == NULL && clients[i].ends <= 1);
	size_t alarms = 0, started = 0;
	for (size_t i = 0; i < IDS; i++) {
		for (size_t g = 0; g < GENERATIONS; g++) {
			CHECK(lives[i][g].stopped == (lives[i][g].started ? 1 : 0));
			alarms += lives[i][g].alarms;
			started += lives[i][g].started;
		}
	}
	CHECK(alarms == world_n_alarms && started == world_n_placed);
	world_turn();
	CHECK(timer_heap_next_ms(loop_timers(world_loop)) == -1);
}

static void make_type(struct actor_type *t)
{
	static const int64_t sleeps[] = {-1, 0, 100, 2000};
	*t = (struct actor_type){
	    .name = mem_strdup("counter"),
	    .start_timeout_ms = 1000 + (int64_t)pick(20000),
	    .stop_grace_ms = 100 + (int64_t)pick(20000),
	    .sleep_after_ms = sleeps[pick(4)],
	    .requests_max = (uint32_t)pick(4),
	};
}

static void run_seed(uint64_t seed)
{
	seed_now = random_state = seed;
	memset(lives, 0, sizeof(lives));
	memset(newest, 0, sizeof(newest));
	memset(clients, 0, sizeof(clients));
	for (size_t i = 0; i < 2; i++)
		make_type(&types[i]);
	world_open();
	world.also = on_report;
	for (size_t i = 0; i < STEPS; i++)
		act();
	wind_down();
	check_end();
	world_close();
	for (size_t i = 0; i < 2; i++)
		mem_free(types[i].name);
}

static void on_abort(int signo)
{
	(void)signo;
	char line[80];
	int n = snprintf(line, sizeof(line), "failed with SIM_SEED=%llu\n", (unsigned long long)seed_now);
	if (n > 0)
		(void)!write(STDERR_FILENO, line, (size_t)n);
	_exit(1);
}

static void test_schedules(void **state)
{
	(void)state;
	struct sigaction sa = {.sa_handler = on_abort};
	CHECK(sigaction(SIGABRT, &sa, NULL) == 0 && sigaction(SIGSEGV, &sa, NULL) == 0);
	const char *one = getenv("SIM_SEED");
	const char *many = getenv("SIM_SEEDS");
	if (one != NULL) {
		run_seed(strtoull(one, NULL, 10));
		return;
	}
	uint64_t n = many == NULL ? 100000 : strtoull(many, NULL, 10);
	for (uint64_t seed = 1; seed <= n; seed++)
		run_seed(seed);
}

int main(void)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_schedules)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
