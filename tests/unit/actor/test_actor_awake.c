/* When an actor is put to sleep: idle time, leases, making room. */
#include "lib/actor_world.h"

#include "base/limits.h"
#include "base/log.h"

#include <unistd.h>

static struct actor_type sleepy(int64_t sleep_after_ms)
{
	struct actor_type t = world_type;
	t.sleep_after_ms = sleep_after_ms;
	return t;
}

static void end_first_call(struct place *pl)
{
	world_answer(world_first_call(pl), EXCHANGE_DONE);
	world_turn();
}

static void test_sleeps_when_idle_long_enough(void **state)
{
	(void)state;
	struct actor_type t = sleepy(1000);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	world_pass(999);
	assert_int_equal(world.n_sleep, 0);
	world_pass(1);
	assert_int_equal(world.n_sleep, 1);
	assert_false(pl->stopped); /* only the driver stops */
	world_stop("a", 1, "sleep", 0);
	world_turn();
	assert_true(pl->stopped);
	world_lost(pl, PLACE_STOPPED, NULL);
	world_turn();
	assert_string_equal(world.last.reason, "sleep");
	world_close();
}

static void test_never_means_never(void **state)
{
	(void)state;
	world_open();
	(void)world_running("a", 1, &world_type);
	world_pass(INT64_C(1000) * 60 * 60 * 24 * 365);
	assert_int_equal(world.n_sleep, 0);
	world_close();
}

static void test_traffic_begins_the_idle_time_anew(void **state)
{
	(void)state;
	struct actor_type t = sleepy(1000);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	struct client c;
	for (int i = 0; i < 4; i++) {
		world_pass(700);
		client_open(&c, EXCHANGE_HTTP);
		assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
		end_first_call(pl);
	}
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
	world_pass(5000);
	assert_int_equal(world.n_sleep, 0);
	end_first_call(pl);
	world_pass(999);
	assert_int_equal(world.n_sleep, 0);
	world_pass(1);
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static void test_a_websocket_whose_client_stays_does_not_keep_awake(void **state)
{
	(void)state;
	struct actor_type t = sleepy(1000);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	struct client stays, plain;
	client_open(&stays, EXCHANGE_WEBSOCKET);
	assert_int_equal(client_offer(&stays, "a"), DISPATCH_TAKEN);
	struct world_call *call = world_first_call(pl);
	world_join(call);
	world_pass(5000); /* not accepted yet: a request */
	assert_int_equal(world.n_sleep, 0);
	world_ws_accept(call, PLACE_SOCKET_SLEEPS);
	world_pass(999);
	assert_int_equal(world.n_sleep, 0);
	client_open(&plain, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&plain, "a"), DISPATCH_TAKEN);
	world_pass(5000);
	assert_int_equal(world.n_sleep, 0);
	client_leave(&plain);
	world_turn();
	world_pass(1000);
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static void test_a_websocket_keeps_awake(void **state)
{
	(void)state;
	struct actor_type t = sleepy(1000);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	struct client c;
	client_open(&c, EXCHANGE_WEBSOCKET);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
	world_join(world_first_call(pl));
	world_ws_open(world_first_call(pl));
	world_pass(60000);
	assert_int_equal(world.n_sleep, 0);
	client_leave(&c);
	world_pass(1000);
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static void test_between_intent_and_stop_it_serves(void **state)
{
	(void)state;
	struct actor_type t = sleepy(1000);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	world_pass(1000);
	assert_int_equal(world.n_sleep, 1);
	struct client c;
	client_open(&c, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&c, "a"), DISPATCH_TAKEN);
	assert_int_equal(pl->n_calls, 1);
	world_stop("a", 1, "sleep", 0);
	world_turn();
	assert_true(pl->stopped);
	end_first_call(pl);
	assert_int_equal(c.why, EXCHANGE_DONE);
	world_pass(3000);
	assert_int_equal(world.n_sleep, 1); /* once for each incarnation */
	world_close();
}

static struct runtime_call keep_awake(int64_t ttl_ms)
{
	return (struct runtime_call){.kind = RUNTIME_KEEP_AWAKE, .ttl_ms = ttl_ms};
}

static struct runtime_call end_lease(const char *lease)
{
	struct runtime_call call = {.kind = RUNTIME_LEASE_END};
	(void)snprintf(call.lease, sizeof(call.lease), "%s", lease);
	return call;
}

static void test_a_lease_lapses(void **state)
{
	(void)state;
	struct actor_type t = sleepy(1000);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	world_runtime(pl, keep_awake(5000));
	world_runtime(pl, keep_awake(3000));
	world_turn();
	assert_int_equal(world_outcome, RUNTIME_OK);
	assert_int_equal(strlen(world_answered.lease), 32);
	world_pass(5000);
	assert_int_equal(world.n_sleep, 0);
	world_pass(999);
	assert_int_equal(world.n_sleep, 0);
	world_pass(1);
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static void test_a_lease_is_ended(void **state)
{
	(void)state;
	struct actor_type t = sleepy(1000);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	world_runtime(pl, keep_awake(LIMIT_KEEP_AWAKE_MS * INT64_C(5)));
	world_turn();
	char lease[40];
	memcpy(lease, world_answered.lease, sizeof(lease));
	world_pass(60000);
	world_runtime(pl, end_lease("unknown"));
	world_turn();
	assert_int_equal(world_outcome, RUNTIME_ABSENT);
	world_pass(60000);
	assert_int_equal(world.n_sleep, 0);
	world_runtime(pl, end_lease(lease));
	world_turn();
	assert_int_equal(world_outcome, RUNTIME_OK);
	world_runtime(pl, end_lease(lease));
	world_turn();
	assert_int_equal(world_outcome, RUNTIME_ABSENT);
	world_pass(1000);
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static void test_a_lease_is_cut_to_the_limit(void **state)
{
	(void)state;
	struct actor_type t = sleepy(0);
	world_open();
	struct place *pl = world_running("a", 1, &t);
	world_runtime(pl, keep_awake(INT64_MAX));
	world_pass(LIMIT_KEEP_AWAKE_MS - 1);
	assert_int_equal(world.n_sleep, 0);
	world_pass(1);
	world_turn();
	assert_int_equal(world.n_sleep, 1);
	world_close();
}

static void test_leases_have_a_bound(void **state)
{
	(void)state;
	world_open();
	struct place *pl = world_running("a", 1, &world_type);
	for (int i = 0; i < LIMIT_ACTOR_KEEP_AWAKE; i++) {
		world_runtime(pl, keep_awake(1000));
		world_turn();
		assert_int_equal(world_outcome, RUNTIME_OK);
	}
	world_runtime(pl, keep_awake(1000));
	world_turn();
	assert_int_equal(world_outcome, RUNTIME_TOO_MANY);
	assert_non_null(world_answered.message);
	world_pass(1000);
	world_runtime(pl, keep_awake(1000));
	world_turn();
	assert_int_equal(world_outcome, RUNTIME_OK);
	world_close();
}

static void crowded(const struct actor_type *t)
{
	world_in_command++;
	world_pool.o.crowded(world_pool.o.arg, t);
	world_in_command--;
	world_turn();
}

static void assert_sleepy(size_t n, const char *id)
{
	assert_int_equal(world.n_sleep, n);
	assert_string_equal(world.last_ref.id, id);
}

static void test_the_longest_idle_makes_room(void **state)
{
	(void)state;
	struct actor_type other = world_type;
	world_open();
	(void)world_running("x", 1, &other);
	struct place *a = world_running("a", 1, &world_type);
	struct place *b = world_running("b", 1, &world_type);
	(void)world_running("c", 1, &world_type);
	struct client client;
	client_open(&client, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&client, "a"), DISPATCH_TAKEN);
	end_first_call(a); /* the order is now b, c, a */
	crowded(&world_type);
	assert_int_equal(world.n_sleep, 0); /* nobody waits for a seat */
	assert_int_equal(world_start_with("d", 1, &world_type, 0), 0);
	assert_int_equal(world_start_with("e", 1, &world_type, 0), 0);
	crowded(&world_type);
	assert_sleepy(1, "b");
	crowded(&world_type); /* one at a time */
	crowded(&world_type);
	assert_int_equal(world.n_sleep, 1);
	world_stop("b", 1, "sleep", 0);
	world_turn();
	world_lost(b, PLACE_STOPPED, NULL);
	world_turn();
	assert_sleepy(2, "c"); /* for the second that waits */
	world_close();
}

static void test_room_is_made_when_somebody_becomes_idle(void **state)
{
	(void)state;
	world_open();
	struct place *a = world_running("a", 1, &world_type);
	struct client client;
	client_open(&client, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&client, "a"), DISPATCH_TAKEN);
	assert_int_equal(world_start_with("b", 1, &world_type, 0), 0);
	crowded(&world_type);
	assert_int_equal(world.n_sleep, 0);
	end_first_call(a);
	assert_sleepy(1, "a");
	world_close();
}

static void test_no_room_is_made_for_who_gave_up(void **state)
{
	(void)state;
	world_open();
	struct place *a = world_running("a", 1, &world_type);
	struct client client;
	client_open(&client, EXCHANGE_HTTP);
	assert_int_equal(client_offer(&client, "a"), DISPATCH_TAKEN);
	assert_int_equal(world_start_with("b", 1, &world_type, 0), 0);
	crowded(&world_type);
	world_unplaceable(world_place_of("b", 1), "full");
	world_turn();
	end_first_call(a);
	assert_int_equal(world.n_sleep, 0);
	world_close();
}

int main(void)
{
	log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT, STDERR_FILENO);
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sleeps_when_idle_long_enough),
	    cmocka_unit_test(test_never_means_never),
	    cmocka_unit_test(test_traffic_begins_the_idle_time_anew),
	    cmocka_unit_test(test_a_websocket_whose_client_stays_does_not_keep_awake),
	    cmocka_unit_test(test_a_websocket_keeps_awake),
	    cmocka_unit_test(test_between_intent_and_stop_it_serves),
	    cmocka_unit_test(test_a_lease_lapses),
	    cmocka_unit_test(test_a_lease_is_ended),
	    cmocka_unit_test(test_a_lease_is_cut_to_the_limit),
	    cmocka_unit_test(test_leases_have_a_bound),
	    cmocka_unit_test(test_the_longest_idle_makes_room),
	    cmocka_unit_test(test_room_is_made_when_somebody_becomes_idle),
	    cmocka_unit_test(test_no_room_is_made_for_who_gave_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
