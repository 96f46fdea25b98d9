/* Commands, reports and the link, with workers and a clock of the test's own. */
#include "lib/engine_world.h"

#include <stdlib.h>
#include <unistd.h>

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static int set_up(void **state)
{
	(void)state;
	engine_world_open(&world_type, 3);
	online(false);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_world_close();
	return 0;
}

/* Events of this kind, of this incarnation; 0: of any. */
static size_t count(const char *id, uint32_t generation, enum runner_event_kind kind)
{
	size_t n = 0;
	for (size_t i = 0; i < lnk->n_events; i++)
		n += strcmp(lnk->events[i].id, id) == 0 && lnk->events[i].ev.checkpoint.generation == generation &&
		     lnk->events[i].ev.kind == kind;
	return n;
}

static size_t last(enum runner_event_kind kind)
{
	for (size_t i = lnk->n_events; i > 0; i--) {
		if (lnk->events[i - 1].ev.kind == kind)
			return i - 1;
	}
	fail_msg("no such event");
	return 0;
}

static void ack_all(void)
{
	struct buf elements;
	buf_init(&elements, 1 << 20);
	for (size_t i = 0; i < lnk->n_events; i++)
		assert_int_equal(
		    runner_checkpoint_put(
			&elements, &(struct runner_checkpoint){.actor_id = slice_str(lnk->events[i].id),
							       .generation = lnk->events[i].ev.checkpoint.generation,
							       .index = lnk->events[i].ev.checkpoint.index}),
		    0);
	say(&(struct runner_to_client){.tag = RUNNER_TO_CLIENT_ACK_EVENTS,
				       .events = runner_list_of(buf_slice(&elements), lnk->n_events)});
	buf_done(&elements);
}

/* Its start call is answered; no alarm is kept. */
static struct place *load(const char *id, int64_t generation)
{
	struct place *pl = world_place_of(id, generation);
	world_placed(pl);
	world_loaded(pl);
	turn();
	return pl;
}

/* Running, its alarm read. */
static struct place *run(const char *id, uint32_t generation)
{
	add_start(id, generation, 0);
	command();
	struct place *pl = load(id, generation);
	answer_kv(lnk->n_kv - 1, RUNNER_KV_ANSWER_GET, NULL, "");
	assert_int_equal(count(id, generation, RUNNER_EVENT_RUNNING), 1);
	return pl;
}

static void test_start_and_stop(void **state)
{
	(void)state;
	add_start(A, 1, 0);
	command();
	assert_int_equal(world_n_places, 1);
	assert_int_equal(lnk->n_events, 0);
	struct place *pl = load(A, 1);
	assert_int_equal(count(A, 1, RUNNER_EVENT_RUNNING), 1);
	assert_int_equal(lnk->n_kv, 1); /* the alarm is read */
	answer_kv(0, RUNNER_KV_ANSWER_GET, NULL, "");
	assert_int_equal(count(A, 1, RUNNER_EVENT_ALARM), 1);
	assert_false(lnk->events[last(RUNNER_EVENT_ALARM)].ev.has_alarm);
	add_stop(A, 1, 1);
	command();
	assert_false(pl->stopped); /* the engine gave no reason: it is asked whether the actor is there still */
	for (size_t i = 1; i <= 3; i++) {
		assert_false(pl->stopped); /* its destruction may take a moment */
		answer_kv(i, RUNNER_KV_ANSWER_GET, NULL, "");
		pass(100);
	}
	assert_string_equal(pl->stop_reason, "drain");
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_OK);
	assert_int_equal(lnk->n_acks, 0);
	ack_all();
	pass(LIMIT_ENGINE_ACK_MS);
	assert_int_equal(lnk->n_acks, 1);
	assert_string_equal(lnk->acks[0].id, A);
	assert_true(lnk->acks[0].index == 1);
}

static void test_destroyed_elsewhere(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	add_stop(A, 1, 1);
	command();
	answer_kv(1, RUNNER_KV_ANSWER_GET, NULL, "");
	pass(100);
	answer_kv(2, RUNNER_KV_ANSWER_ERROR, NULL, "actor does not exist");
	assert_string_equal(pl->stop_reason, "destroy");
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_OK);
}

static void test_a_stop_waits_a_second_for_its_reason(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	add_stop(A, 1, 1);
	command();
	pass(LIMIT_ENGINE_WHY_MS - 1);
	assert_false(pl->stopped);
	pass(1);
	assert_string_equal(pl->stop_reason, "drain");
	answer_kv(1, RUNNER_KV_ANSWER_ERROR, NULL, "actor does not exist");
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 1);
}

static void test_the_start_of_a_living_actor_is_not_acknowledged(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	ack_all();
	pass(60000);
	assert_int_equal(lnk->n_acks, 0);
	world_lost(pl, PLACE_CRASHED, "the worker died");
	turn();
}

static void test_sleep(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_SLEEP});
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP), 1);
	assert_false(pl->stopped); /* the engine has not said so */
	add_stop(A, 1, 1);
	command();
	assert_string_equal(pl->stop_reason, "sleep");
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_OK);
}

static void test_destroy(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_DESTROY});
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_SLEEP});
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOP), 1);
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP), 0); /* it would undo the other */
	add_stop(A, 1, 1);
	command();
	assert_string_equal(pl->stop_reason, "destroy");
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_OK);
}

static void test_destroy_behind_sleep_is_kept(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_SLEEP});
	turn();
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_DESTROY});
	turn();
	assert_int_equal(lnk->kv[1].q.op, RUNNER_KV_PUT);
	add_stop(A, 1, 1);
	command();
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 0); /* the write is under way */
	answer_kv(1, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 1);
	assert_true(lnk->events[last(RUNNER_EVENT_ALARM)].ev.has_alarm); /* woken for it */
	assert_true(last(RUNNER_EVENT_ALARM) < last(RUNNER_EVENT_STOPPED));
}

/* The one type is as given from now on; NULL: there is none. */
static void reload(const char *name)
{
	struct actor_types_change change;
	struct actor_type **next = mem_zalloc(2 * sizeof(*next));
	if (name != NULL) {
		next[0] = mem_zalloc(sizeof(**next));
		next[0]->name = mem_strdup(name);
		next[0]->stop_grace_ms = 7000;
	}
	actor_types_replace(world_types, next, NULL, NULL, &change);
	engine_reload(engine, 1);
	turn();
}

/* Only the engine can start it again, so it is asked to let it sleep; one after the other. */
static void test_reload_asks_for_sleep(void **state)
{
	(void)state;
	struct place *a = run(A, 1), *b = run(B, 1);
	const struct actor_type *old = a->type;
	reload(world_type.name);
	assert_int_equal(lnk->n_announced, 1);
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP) + count(B, 1, RUNNER_EVENT_SLEEP), 1);
	assert_int_equal(engine_rolling(engine), 2);
	add_stop(A, 1, 1);
	command();
	assert_string_equal(a->stop_reason, "restart");
	world_lost(a, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_OK);
	assert_int_equal(count(B, 1, RUNNER_EVENT_SLEEP), 1);
	struct place *again = run(A, 2);
	assert_ptr_equal(again->type, actor_types_at(world_types, 0));
	assert_ptr_not_equal(again->type, old);
	reload(NULL);
	add_stop(B, 1, 1);
	command();
	assert_string_equal(b->stop_reason, "drain");
	world_lost(b, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(count(A, 2, RUNNER_EVENT_SLEEP), 1);
	add_stop(A, 2, 1);
	command();
	world_lost(again, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(engine_rolling(engine), 0);
	add_start(A, 3, 0);
	command();
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_ERROR);
}

static void test_intent_is_told_again(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_SLEEP});
	turn();
	ack_all();
	pass(10000);
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP), 2);
	add_stop(A, 1, 1);
	command();
	pass(9000);
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP), 2);
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
}

static void test_crash_is_never_ok(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	world_lost(pl, PLACE_CRASHED, "died of \xff signal 9");
	turn();
	size_t at = last(RUNNER_EVENT_STOPPED);
	assert_int_equal(lnk->events[at].ev.code, RUNNER_STOP_ERROR);
	assert_string_equal(lnk->events[at].message, "died of ? signal 9"); /* the engine takes UTF-8 only */
}

static void test_start_failure(void **state)
{
	(void)state;
	add_start(A, 1, 0);
	command();
	struct place *pl = world_place_of(A, 1);
	world_placed(pl);
	world_lost(pl, PLACE_START_FAILED, "no such program");
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 0); /* whether an alarm rang is not known yet */
	answer_kv(0, RUNNER_KV_ANSWER_GET, NULL, "");
	assert_int_equal(count(A, 1, RUNNER_EVENT_RUNNING), 0);
	assert_string_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].message, "no such program");
}

static void test_unknown_name(void **state)
{
	(void)state;
	add_start_of(A, 1, 0, "other");
	command();
	size_t at = last(RUNNER_EVENT_STOPPED);
	assert_int_equal(lnk->events[at].ev.code, RUNNER_STOP_ERROR);
	assert_non_null(strstr(lnk->events[at].message, "other"));
	assert_non_null(strstr(lnk->events[at].message, "counter"));
	assert_int_equal(world_n_places, 0);
}

static void test_slots(void **state)
{
	(void)state;
	char id[] = "a0";
	for (; id[1] < '4'; id[1]++)
		add_start(id, 1, 0);
	command();
	assert_int_equal(world_n_places, 3);
	assert_string_equal(lnk->events[0].id, "a3");
	assert_non_null(strstr(lnk->events[0].message, "3 slots"));
}

static void test_replayed_start(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	offline();
	online(true);
	add_start(A, 1, 0);
	command();
	assert_int_equal(world_n_places, 1);
	assert_int_equal(world_n_placed, 1);
	world_lost(pl, PLACE_CRASHED, "died");
	turn();
	ack_all();
	add_start(A, 1, 0); /* a replay of what has ended: it has not heard */
	command();
	assert_int_equal(world_n_placed, 1);
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 2);
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_ERROR);
}

static void test_given_up_too_early(void **state)
{
	(void)state;
	struct place *a = run(A, 1), *b = run(B, 1);
	offline();
	lnk->o.events->lost(lnk->o.arg);
	turn();
	world_lost(a, PLACE_STOPPED, NULL);
	turn();
	lnk->n_events = 0;
	online(false); /* the link counts it as another life, but the engine does not */
	add_start(A, 1, 0);
	add_start(B, 1, 0);
	command();
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 1);
	world_lost(b, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(count(B, 1, RUNNER_EVENT_STOPPED), 1);
	for (size_t i = 0; i < lnk->n_events; i++)
		assert_int_equal(lnk->events[i].ev.code, RUNNER_STOP_ERROR);
	assert_int_equal(world_n_placed, 2);
}

static void test_start_and_stop_in_one_list(void **state)
{
	(void)state;
	add_start(A, 4, 0);
	add_stop(A, 4, 1);
	add_start(B, 1, 0);
	command();
	assert_int_equal(world_n_places, 1);
	assert_int_equal(count(A, 4, RUNNER_EVENT_STOPPED), 1);
	assert_int_equal(lnk->events[0].ev.code, RUNNER_STOP_OK);
	ack_all();
	pass(LIMIT_ENGINE_ACK_MS);
	assert_true(lnk->acks[0].index == 1);
}

static void test_stop_of_unknown(void **state)
{
	(void)state;
	add_stop(A, 2, 0);
	command();
	assert_int_equal(count(A, 2, RUNNER_EVENT_STOPPED), 1);
	add_stop(A, 2, 0);
	command();
	pass(LIMIT_ENGINE_ACK_MS);
	assert_int_equal(count(A, 2, RUNNER_EVENT_STOPPED), 1);
	assert_true(lnk->n_acks >= 1);
}

static void test_newer_generation_ends_the_older(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	add_start(A, 2, 1); /* the index starts anew inside the engine */
	command();
	assert_true(pl->stopped);
	assert_string_equal(pl->stop_reason, "lost");
	assert_int_equal(world_n_places, 1); /* never two at once */
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 0); /* without a word */
	load(A, 2);
	assert_int_equal(count(A, 2, RUNNER_EVENT_RUNNING), 1);
	add_start(A, 1, 0); /* older than what is known */
	command();
	pass(LIMIT_ENGINE_ACK_MS);
	assert_int_equal(world_n_places, 1);
	assert_int_equal(lnk->acks[0].generation, 1);
}

static void test_back_off(void **state)
{
	(void)state;
	for (uint32_t g = 1; g <= 6; g++) {
		add_start(A, g, 0);
		command();
		pass(3000); /* the first waits are held, not refused */
		if (world_n_places == 0)
			break;
		struct place *pl = world_place_of(A, g);
		world_placed(pl);
		world_lost(pl, PLACE_START_FAILED, "no such program");
		turn();
		answer_kv(lnk->n_kv - 1, RUNNER_KV_ANSWER_GET, NULL, "");
		assert_int_equal(count(A, g, RUNNER_EVENT_STOPPED), 1);
	}
	assert_int_equal(world_n_placed, 4);
	size_t at = 0;
	while (lnk->events[at].ev.checkpoint.generation != 5)
		at++;
	assert_non_null(strstr(lnk->events[at].message, "4 times in a row"));
	assert_non_null(strstr(lnk->events[at].message, "no such program"));
}

static void test_input(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_INPUT});
	assert_int_equal(world_n_answered, 0);
	turn();
	assert_int_equal(world_n_answered, 1);
	assert_true(world_answered.has_input && world_answered.input.n == 2);
}

/* ---- the link ---- */

static void test_events_survive_a_break(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	ack_all();
	offline();
	lnk->n_events = 0;
	world_lost(pl, PLACE_CRASHED, "died");
	turn();
	assert_int_equal(lnk->n_events, 0);
	online(true);
	assert_int_equal(lnk->n_events, 1);
	assert_int_equal(lnk->events[0].ev.kind, RUNNER_EVENT_STOPPED);
	int64_t index = lnk->events[0].ev.checkpoint.index;
	offline();
	online(true);
	assert_int_equal(lnk->n_events, 2); /* not acknowledged: the same again */
	assert_true(lnk->events[1].ev.checkpoint.index == index);
}

static void test_unacknowledged_events_are_told_again_for_a_while(void **state)
{
	(void)state;
	add_stop(A, 2, 0);
	command();
	for (int i = 0; i < 20; i++)
		pass(LIMIT_ENGINE_EVENT_MS);
	assert_int_equal(count(A, 2, RUNNER_EVENT_STOPPED), 2);
}

static void test_full_link(void **state)
{
	(void)state;
	lnk->full = true;
	add_start(A, 1, 0);
	command();
	load(A, 1);
	assert_int_equal(lnk->n_events + lnk->n_kv, 0);
	lnk->full = false;
	lnk->o.events->room(lnk->o.arg);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_RUNNING), 1);
	assert_int_equal(lnk->n_kv, 1);
}

static void test_another_runner_id(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	offline();
	lnk->n_events = 0;
	online(false);
	assert_true(pl->stopped);
	assert_string_equal(pl->stop_reason, "lost");
	add_start(A, 2, 0);
	command();
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_STOPPED), 0);
	load(A, 2);
	assert_int_equal(count(A, 2, RUNNER_EVENT_RUNNING), 1);
}

static void test_lost(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	offline();
	lnk->o.events->lost_soon(lnk->o.arg, 4000);
	turn();
	assert_string_equal(pl->stop_reason, "lost");
	assert_true(pl->stop_ms <= 4000);
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_KV_GET});
	turn();
	assert_int_equal(world_outcome, RUNTIME_STOPPING);
	lnk->o.events->lost(lnk->o.arg);
	turn();
	assert_true(pl->killed);
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	/* The engine had not given it up after all. */
	online(true);
	assert_int_equal(lnk->events[last(RUNNER_EVENT_STOPPED)].ev.code, RUNNER_STOP_ERROR);
}

static void test_evicted(void **state)
{
	(void)state;
	int64_t age;
	struct place *pl = run(A, 1);
	lnk->n_events = 0;
	lnk->o.events->evicted(lnk->o.arg);
	turn();
	assert_string_equal(pl->stop_reason, "evicted");
	assert_true(pl->stop_ms <= 1500);
	assert_int_equal(n_failed, 0);
	world_lost(pl, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(n_failed, 1);
	assert_int_equal(failed_code, EXIT_CODE_EVICTED);
	assert_int_equal(lnk->n_events, 0); /* another runner speaks for it */
	assert_true(engine_identity_evicted(engine_dir, "key", clock_wall_ms(), &age));
}

static void test_evicted_has_an_end(void **state)
{
	(void)state;
	run(A, 1);
	lnk->o.events->evicted(lnk->o.arg);
	pass(LIMIT_ENGINE_EVICTED_MS);
	assert_int_equal(n_failed, 1);
	add_start(B, 1, 0);
	command();
	assert_int_equal(world_n_places, 1);
}

static void test_unknown_traffic_asks_again(void **state)
{
	(void)state;
	const struct runner_to_client m = {
	    .tag = RUNNER_TO_CLIENT_TUNNEL,
	    .tunnel = {.kind = RUNNER_DOWN_REQUEST_START,
		       .request = {.actor_id = SLICE_LIT(A), .method = SLICE_LIT("GET"), .path = SLICE_LIT("/")}}};
	say(&m);
	assert_int_equal(lnk->n_resync, 1);
	run(A, 1);
	world_lost(world_place_of(A, 1), PLACE_CRASHED, "died");
	turn();
	say(&m); /* it was here a moment ago: the engine knows by now */
	assert_int_equal(lnk->n_resync, 1);
	pass(60000);
	say(&m); /* it was woken, and its start was lost */
	assert_int_equal(lnk->n_resync, 2);
}

/* A request right behind the start it is for, in the same read: the old runner has got it too, and may be answering. */
static void test_a_newcomer_leaves_what_comes_with_the_start(void **state)
{
	(void)state;
	const struct runner_to_client m = {
	    .tag = RUNNER_TO_CLIENT_TUNNEL,
	    .tunnel = {.kind = RUNNER_DOWN_REQUEST_START,
		       .request = {.actor_id = SLICE_LIT(A), .method = SLICE_LIT("GET"), .path = SLICE_LIT("/")}}};
	add_start(A, 1, 0);
	command_at_once();
	say(&m);
	assert_int_equal(lnk->n_tunnel, 0);
	assert_int_equal(lnk->n_resync, 0);
	assert_int_equal(world_n_places, 1);
}

/* A stop that was lost shows when the actor uses its state. */
static void test_refused_state_asks_again(void **state)
{
	(void)state;
	struct place *pl = run(A, 1);
	static struct runtime_kv_pair pair = {.key = {.p = (const uint8_t *)"k", .n = 1}};
	for (int stopped = 0; stopped < 2; stopped++) {
		world_runtime(pl, (struct runtime_call){.kind = RUNTIME_KV_GET, .pairs = &pair, .n_pairs = 1});
		turn();
		answer_kv(lnk->n_kv - 1, RUNNER_KV_ANSWER_ERROR, NULL, "actor does not exist");
		assert_int_equal(world_outcome, RUNTIME_STALE);
		assert_int_equal(lnk->n_resync, 1); /* not when it is being stopped anyway */
		add_stop(A, 1, 1);
		command();
	}
}

/* ---- for an operator ---- */

struct seen {
	size_t n;
	char id[64], name[64], state[32], failure[64];
};

static void on_seen(void *arg, const struct engine_view *v)
{
	struct seen *s = arg;
	s->n++;
	(void)snprintf(s->id, sizeof(s->id), "%s", v->actor.id);
	(void)snprintf(s->name, sizeof(s->name), "%s", v->actor.name);
	(void)snprintf(s->state, sizeof(s->state), "%s", v->actor.state);
	(void)snprintf(s->failure, sizeof(s->failure), "%s", v->failure == NULL ? "" : v->failure);
}

static void test_view(void **state)
{
	struct seen s = {0};
	(void)state;
	struct place *a = run(A, 1);
	run(B, 1);
	world_lost(a, PLACE_CRASHED, "died");
	turn();
	engine_each(engine, NULL, NULL, on_seen, &s);
	assert_int_equal(s.n, 2);
	s = (struct seen){0};
	engine_each(engine, "counter", A, on_seen, &s);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.name, "counter");
	assert_string_equal(s.state, "ended");
	assert_string_equal(s.failure, "died");
	s = (struct seen){0};
	engine_each(engine, "other", NULL, on_seen, &s);
	assert_int_equal(s.n, 0);
}

static void test_wish(void **state)
{
	(void)state;
	struct place *a = run(A, 1);
	assert_int_equal(engine_wish(engine, B, ENGINE_WISH_SLEEP), ENGINE_WISH_ABSENT);
	assert_int_equal(engine_wish(engine, A, ENGINE_WISH_SLEEP), 0);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP), 1);
	add_stop(A, 1, 1);
	command();
	assert_string_equal(a->stop_reason, "sleep");
	assert_int_equal(engine_wish(engine, A, ENGINE_WISH_DESTROY), ENGINE_WISH_STOPPING);
}

/* Asleep and woken by an alarm that is due. */
static void test_wish_restart(void **state)
{
	(void)state;
	struct place *a = run(A, 1);
	assert_int_equal(engine_wish(engine, B, ENGINE_WISH_RESTART), ENGINE_WISH_ABSENT);
	assert_int_equal(engine_wish(engine, A, ENGINE_WISH_RESTART), 0);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP), 1);
	lnk->n_events = 0;
	add_stop(A, 1, 1);
	command();
	assert_string_equal(a->stop_reason, "restart");
	world_lost(a, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(lnk->n_events, 2);
	assert_int_equal(lnk->events[0].ev.kind, RUNNER_EVENT_ALARM);
	assert_true(lnk->events[0].ev.has_alarm && lnk->events[0].ev.alarm_wall_ms <= clock_wall_ms());
	assert_int_equal(lnk->events[1].ev.kind, RUNNER_EVENT_STOPPED);
	assert_int_equal(lnk->events[1].ev.code, RUNNER_STOP_OK);
}

static void test_the_last_wish_counts(void **state)
{
	(void)state;
	struct place *a = run(A, 1);
	assert_int_equal(engine_wish(engine, A, ENGINE_WISH_RESTART), 0);
	assert_int_equal(engine_wish(engine, A, ENGINE_WISH_SLEEP), 0);
	add_stop(A, 1, 1);
	command();
	assert_string_equal(a->stop_reason, "sleep");
	world_lost(a, PLACE_STOPPED, NULL);
	turn();
	assert_int_equal(count(A, 1, RUNNER_EVENT_SLEEP), 1);
	assert_false(lnk->events[last(RUNNER_EVENT_ALARM)].ev.has_alarm);
	run(B, 1);
	assert_int_equal(engine_wish(engine, B, ENGINE_WISH_DESTROY), 0);
	assert_int_equal(engine_wish(engine, B, ENGINE_WISH_RESTART), ENGINE_WISH_STOPPING);
}

/* ---- draining ---- */

static void test_drain(void **state)
{
	(void)state;
	struct place *a = run(A, 1), *b = run(B, 1);
	engine_drain(engine, 20000, on_world_drained, NULL);
	turn();
	assert_true(lnk->stopping);
	assert_false(a->stopped); /* the engine says when */
	add_stop(A, 1, 1);
	command();
	assert_string_equal(a->stop_reason, "drain");
	pass(LIMIT_ENGINE_STOP_MS);
	assert_string_equal(b->stop_reason, "drain"); /* or does not */
	add_start("c0", 1, 0);
	command();
	assert_non_null(strstr(lnk->events[last(RUNNER_EVENT_STOPPED)].message, "stopping"));
	world_lost(a, PLACE_STOPPED, NULL);
	world_lost(b, PLACE_STOPPED, NULL);
	turn();
	assert_false(lnk->finished); /* not acknowledged yet */
	for (size_t i = 0; i < lnk->n_events; i++) {
		if (lnk->events[i].ev.kind == RUNNER_EVENT_STOPPED && strcmp(lnk->events[i].id, B) == 0)
			assert_int_equal(lnk->events[i].ev.code, RUNNER_STOP_ERROR);
	}
	ack_all();
	pass(LIMIT_ENGINE_ACK_MS);
	assert_true(lnk->finished);
	assert_int_equal(n_drained, 0);
	lnk->o.events->finished(lnk->o.arg);
	turn();
	assert_int_equal(n_drained, 1);
}

static void test_drain_without_a_link(void **state)
{
	(void)state;
	struct place *a = run(A, 1);
	offline();
	engine_drain(engine, 20000, on_world_drained, NULL);
	turn();
	assert_string_equal(a->stop_reason, "drain");
	world_lost(a, PLACE_STOPPED, NULL);
	turn();
	assert_true(lnk->finished);
}

static void test_drain_has_an_end(void **state)
{
	(void)state;
	struct place *a = run(A, 1);
	engine_drain(engine, 20000, on_world_drained, NULL);
	add_stop(A, 1, 1);
	command();
	assert_true(a->stop_ms < 20000);
	pass(20000);
	assert_int_equal(n_drained, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_start_and_stop),
	    TEST(test_destroyed_elsewhere),
	    TEST(test_a_stop_waits_a_second_for_its_reason),
	    TEST(test_the_start_of_a_living_actor_is_not_acknowledged),
	    TEST(test_sleep),
	    TEST(test_destroy),
	    TEST(test_destroy_behind_sleep_is_kept),
	    TEST(test_intent_is_told_again),
	    TEST(test_reload_asks_for_sleep),
	    TEST(test_crash_is_never_ok),
	    TEST(test_start_failure),
	    TEST(test_unknown_name),
	    TEST(test_slots),
	    TEST(test_replayed_start),
	    TEST(test_given_up_too_early),
	    TEST(test_start_and_stop_in_one_list),
	    TEST(test_stop_of_unknown),
	    TEST(test_newer_generation_ends_the_older),
	    TEST(test_back_off),
	    TEST(test_input),
	    TEST(test_events_survive_a_break),
	    TEST(test_unacknowledged_events_are_told_again_for_a_while),
	    TEST(test_full_link),
	    TEST(test_another_runner_id),
	    TEST(test_lost),
	    TEST(test_evicted),
	    TEST(test_evicted_has_an_end),
	    TEST(test_unknown_traffic_asks_again),
	    TEST(test_a_newcomer_leaves_what_comes_with_the_start),
	    TEST(test_refused_state_asks_again),
	    TEST(test_view),
	    TEST(test_wish),
	    TEST(test_wish_restart),
	    TEST(test_the_last_wish_counts),
	    TEST(test_drain),
	    TEST(test_drain_without_a_link),
	    TEST(test_drain_has_an_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
