/* The table: starting, its bounds, its budget, enumerating, closing. */
#include "lib/actor_world.h"

#include "base/limits.h"
#include "base/log.h"

#include <unistd.h>

static void test_an_id_lives_once(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	assert_int_equal(world_start_with("a", 2, &world_type, 0), ACTOR_START_LIVE);
	world_stop("a", 1, "sleep", 0);
	world_turn();
	world_lost(pl, PLACE_STOPPED, NULL);
	assert_int_equal(world_start_with("a", 2, &world_type, 0), ACTOR_START_LIVE); /* not reported yet */
	world_turn();
	assert_int_equal(world_start_with("a", 2, &world_type, 0), 0);
	world_close();
}

static void start_many(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char id[32];
		(void)snprintf(id, sizeof(id), "%zu", i);
		assert_int_equal(world_start_with(id, 1, &world_type, 0), 0);
	}
}

static void test_full(void **state)
{
	(void)state;
	world_open();
	start_many(LIMIT_ACTORS);
	assert_int_equal(actor_table_count(world_table), LIMIT_ACTORS);
	assert_int_equal(world_start_with("a", 1, &world_type, 0), ACTOR_START_FULL);
	world_stop("5", 1, "sleep", 0);
	world_turn();
	/* Its seat counts until it is gone. */
	assert_int_equal(world_start_with("a", 1, &world_type, 0), ACTOR_START_FULL);
	world_lost(world_place_of("5", 1), PLACE_STOPPED, NULL);
	assert_int_equal(world_start_with("a", 1, &world_type, 0), 0);
	world_close();
}

static void test_a_run_has_a_budget(void **state)
{
	(void)state;
	world_open();
	start_many(LIMIT_ACTORS_PER_RUN + 1);
	world_turn();
	LIST_FOR (&world_places, node)
		world_placed(CONTAINER_OF(node, struct place, node));
	LIST_FOR (&world_places, node)
		world_loaded(CONTAINER_OF(node, struct place, node));
	assert_true(actor_table_run(world_table));
	assert_int_equal(world.n_running, LIMIT_ACTORS_PER_RUN);
	assert_false(actor_table_run(world_table));
	assert_int_equal(world.n_running, LIMIT_ACTORS_PER_RUN + 1);
	world_close();
}

/* Nothing may be left lying when the loop has nothing else to wait for. */
static void test_what_is_noted_turns_the_loop(void **state)
{
	(void)state;
	world_open();
	(void)world_running("a", 1, &world_type);
	world_stop("a", 1, "sleep", 0);
	int64_t before_ms = world_mono_ms;
	loop_turn(world_loop); /* would wait for the actor's timers, on a clock that stands still */
	assert_int_equal(world_mono_ms, before_ms);
	world_turn();
	assert_true(world_place_of("a", 1)->stopped);
	world_close();
}

static void test_stop_all(void **state)
{
	(void)state;
	world_open();
	struct place *a = world_running("a", 1, &world_type);
	assert_int_equal(world_start_with("b", 1, &world_type, 0), 0);
	struct place *b = world_place_of("b", 1);
	world_placed(b);
	assert_int_equal(world_start_with("c", 1, &world_type, 0), 0);
	actor_table_stop_all(world_table, "drain", 5000, false);
	world_turn();
	assert_true(a->stopped && b->stopped);
	assert_false(a->killed || b->killed);
	assert_int_equal(a->stop_ms, 5000);
	assert_true(world_place_of("c", 1)->killed);
	actor_table_stop_all(world_table, "drain", 5000, true);
	world_turn();
	assert_true(a->killed && b->killed);
	world_close();
	assert_int_equal(world.n_stopped, 3);
}

static void test_kill_now_makes_no_stop_call(void **state)
{
	(void)state;
	world_open();
	struct place *a = world_running("a", 1, &world_type);
	actor_table_stop_all(world_table, "evicted", 0, true);
	world_turn();
	assert_true(a->killed);
	assert_false(a->stopped);
	world_lost(a, PLACE_STOPPED, NULL);
	world_turn();
	assert_int_equal(world.last.how, STOPPED_ASKED);
	world_close();
}

struct views {
	size_t n;
	struct actor_view last;
};

static void on_view(void *arg, const struct actor_view *v)
{
	struct views *all = arg;
	all->n++;
	all->last = *v;
}

static void test_each(void **state)
{
	(void)state;
	world_open();
	struct views all = {0};
	actor_table_each(world_table, on_view, &all);
	assert_int_equal(all.n, 0);
	struct place *pl = world_running("a", 7, &world_type);
	struct client c[2];
	for (size_t i = 0; i < 2; i++) {
		client_open(&c[i], EXCHANGE_WEBSOCKET);
		assert_int_equal(client_offer(&c[i], "a"), DISPATCH_TAKEN);
	}
	world_join(world_first_call(pl));
	world_ws_open(world_first_call(pl));
	world_runtime(pl, (struct runtime_call){.kind = RUNTIME_KEEP_AWAKE, .ttl_ms = 1000});
	actor_table_each(world_table, on_view, &all);
	assert_int_equal(all.n, 1);
	assert_string_equal(all.last.id, "a");
	assert_string_equal(all.last.name, "counter");
	assert_string_equal(all.last.key, "k");
	assert_string_equal(all.last.namespace_name, "default");
	assert_string_equal(all.last.state, "running");
	assert_string_equal(all.last.worker_id, "w1");
	assert_int_equal(all.last.pid, 77);
	assert_int_equal(all.last.generation, 7);
	assert_int_equal(all.last.since_mono_ms, world_mono_ms);
	assert_int_equal(all.last.in_flight, 2);
	assert_int_equal(all.last.websockets, 1);
	assert_int_equal(all.last.waiting, 0);
	assert_int_equal(all.last.leases, 1);
	assert_int_equal(world_start_with("b", 1, &world_type, 0), 0);
	world_lost(pl, PLACE_CRASHED, NULL);
	actor_table_each(world_table, on_view, &all);
	assert_int_equal(all.n, 3);
	assert_string_equal(all.last.state, "placing");
	assert_string_equal(all.last.worker_id, "");
	assert_int_equal(c[0].ends + c[1].ends, 2);
	world_close();
}

static void test_close_ends_everything(void **state)
{
	(void)state;
	world_open();
	(void)world_running("a", 1, &world_type);
	assert_int_equal(world_start_with("b", 1, &world_type, 0), 0);
	world_placed(world_place_of("b", 1));
	struct client c;
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "b"), DISPATCH_TAKEN);
	world_runtime(world_place_of("a", 1), (struct runtime_call){.kind = RUNTIME_INFO});
	world_close();
	assert_int_equal(world.n_stopped, 2);
	assert_int_equal(c.ends, 1);
	assert_string_equal(c.code, "actor.stopping");
}

/* ---- replaced types ---- */

static void replace(struct actor_types *types, const char *name, int64_t sleep_after_ms)
{
	struct actor_types_change change;
	struct actor_type **next = mem_zalloc(2 * sizeof(*next));
	next[0] = mem_zalloc(sizeof(**next));
	next[0]->name = mem_strdup(name);
	next[0]->sleep_after_ms = sleep_after_ms;
	actor_types_replace(types, next, NULL, NULL, &change);
}

static void test_actors_of_replaced_types_are_handed_out_once(void **state)
{
	struct actor_ref ref;
	(void)state;
	world_open();
	struct actor_types *types = world_types_of(&world_type);
	const struct actor_type *old = actor_types_at(types, 0);
	struct place *a = world_running("a", 1, old);
	assert_int_equal(world_start_with("b", 1, old, 0), 0);
	actor_table_retire(world_table, types);
	assert_false(actor_table_next_stale(world_table, &ref));
	replace(types, world_type.name, 5);
	world_n_retired = 0;
	actor_table_retire(world_table, types);
	assert_int_equal(world_n_retired, 1);
	(void)world_running("c", 1, actor_types_at(types, 0));
	assert_int_equal(actor_table_count_stale(world_table), 2);
	assert_true(actor_table_next_stale(world_table, &ref));
	assert_string_equal(ref.id, "b"); /* waits for a worker still */
	assert_true(actor_table_next_stale(world_table, &ref));
	assert_string_equal(ref.id, "a");
	assert_false(actor_table_next_stale(world_table, &ref));
	assert_false(actor_table_forget_type(world_table, old));
	world_stop("a", 1, "restart", 0);
	world_stop("b", 1, "restart", 0);
	world_turn();
	world_lost(a, PLACE_STOPPED, NULL);
	world_turn();
	assert_int_equal(actor_table_count_stale(world_table), 1); /* its seat is not gone */
	world_lost(world_place_of("b", 1), PLACE_STOPPED, NULL);
	world_turn();
	assert_int_equal(actor_table_count_stale(world_table), 0);
	assert_true(actor_table_forget_type(world_table, old));
	assert_false(actor_table_forget_type(world_table, actor_types_at(types, 0)));
	world_close();
	actor_types_free(types);
}

static void test_one_that_ends_by_itself_is_not_handed_out(void **state)
{
	struct actor_ref ref;
	(void)state;
	world_open();
	struct actor_types *types = world_types_of(&world_type);
	struct place *a = world_running("a", 1, actor_types_at(types, 0));
	replace(types, "another", 5);
	actor_table_retire(world_table, types);
	world_lost(a, PLACE_CRASHED, "gone");
	world_turn();
	assert_false(actor_table_next_stale(world_table, &ref));
	world_close();
	actor_types_free(types);
}

/* An actor that was taken up ends on its old type and fails to start on the new one. */
static void fail_on(const struct actor_type *type, const char *id)
{
	world_stop(id, 1, "restart", 0);
	world_turn();
	world_lost(world_place_of(id, 1), PLACE_STOPPED, NULL);
	world_turn();
	assert_int_equal(world_start_with(id, 2, type, 0), 0);
	world_turn();
	world_lost(world_place_of(id, 2), PLACE_START_FAILED, "no such file");
	world_turn();
}

static void test_failing_starts_halt_rolling_over(void **state)
{
	static const char *const ids[] = {"a", "b", "c", "d", "e", "f"};
	struct actor_ref ref;
	(void)state;
	world_open();
	struct actor_types *types = world_types_of(&world_type);
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		(void)world_running(ids[i], 1, actor_types_at(types, 0));
	replace(types, world_type.name, 5);
	actor_table_retire(world_table, types);
	for (size_t i = 0; i < LIMIT_ROLL_OVER_FAILURES; i++) {
		assert_true(actor_table_next_stale(world_table, &ref));
		assert_string_equal(ref.id, ids[i]);
		fail_on(actor_types_at(types, 0), ref.id);
	}
	assert_false(actor_table_next_stale(world_table, &ref));
	assert_int_equal(actor_table_count_stale(world_table), 0);
	assert_int_equal(actor_table_count_halted(world_table), 3);

	/* Nothing that concerns this type. */
	actor_table_retire(world_table, types);
	assert_false(actor_table_next_stale(world_table, &ref));

	/* A start that works, for whatever reason it was made. */
	(void)world_running("a", 3, actor_types_at(types, 0));
	assert_int_equal(actor_table_count_halted(world_table), 0);
	assert_true(actor_table_next_stale(world_table, &ref));
	assert_string_equal(ref.id, "d");
	for (size_t i = 0; i < LIMIT_ROLL_OVER_FAILURES - 1; i++) {
		assert_int_equal(world_start_with("b", 4 + (int64_t)i, actor_types_at(types, 0), 0), 0);
		world_turn();
		world_lost(world_place_of("b", 4 + (int64_t)i), PLACE_START_FAILED, "no such file");
		world_turn();
	}
	assert_int_equal(actor_table_count_halted(world_table), 0); /* not as many in a row */

	/* Another type takes its place: it may be a better one. */
	fail_on(actor_types_at(types, 0), "d");
	assert_int_equal(actor_table_count_halted(world_table), 2);
	replace(types, world_type.name, 6);
	actor_table_retire(world_table, types);
	assert_int_equal(actor_table_count_halted(world_table), 0);
	assert_true(actor_table_next_stale(world_table, &ref));
	world_close();
	actor_types_free(types);
}

static void test_a_change_that_is_taken_back(void **state)
{
	struct actor_ref ref;
	(void)state;
	world_open();
	struct actor_types *types = world_types_of(&world_type);
	replace(types, world_type.name, 4);
	const struct actor_type *old = actor_types_at(types, 0);
	(void)world_running("a", 1, old);
	replace(types, world_type.name, 5);
	actor_table_retire(world_table, types);
	assert_int_equal(actor_table_count_stale(world_table), 1);
	replace(types, world_type.name, 4);
	assert_ptr_equal(actor_types_at(types, 0), old);
	actor_table_retire(world_table, types);
	assert_int_equal(actor_table_count_stale(world_table), 0);
	assert_false(actor_table_next_stale(world_table, &ref));
	world_close();
	actor_types_free(types);
}

int main(void)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_an_id_lives_once),
	    cmocka_unit_test(test_full),
	    cmocka_unit_test(test_a_run_has_a_budget),
	    cmocka_unit_test(test_what_is_noted_turns_the_loop),
	    cmocka_unit_test(test_stop_all),
	    cmocka_unit_test(test_kill_now_makes_no_stop_call),
	    cmocka_unit_test(test_each),
	    cmocka_unit_test(test_close_ends_everything),
	    cmocka_unit_test(test_actors_of_replaced_types_are_handed_out_once),
	    cmocka_unit_test(test_one_that_ends_by_itself_is_not_handed_out),
	    cmocka_unit_test(test_failing_starts_halt_rolling_over),
	    cmocka_unit_test(test_a_change_that_is_taken_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
