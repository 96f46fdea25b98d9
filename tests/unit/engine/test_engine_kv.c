/* State calls over a link and an engine of the test's own. */
#include "lib/engine_world.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct place *actor;
static size_t first; /* request of the first state call */

static int set_up(void **state)
{
	(void)state;
	engine_world_open(&world_type, 3);
	online(false);
	add_start(A, 1, 0);
	command();
	actor = world_place_of(A, 1);
	world_placed(actor);
	world_loaded(actor);
	turn();
	answer_kv(0, RUNNER_KV_ANSWER_GET, NULL, "");
	first = lnk->n_kv;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	engine_world_close();
	return 0;
}

static void call(struct runtime_call what)
{
	world_runtime(actor, what);
	turn();
}

static void put(const char *key)
{
	static struct runtime_kv_pair pair;
	pair = (struct runtime_kv_pair){.key = slice_str(key), .value = SLICE_LIT("v")};
	call((struct runtime_call){.kind = RUNTIME_KV_PUT, .pairs = &pair, .n_pairs = 1});
}

static const struct runner_kv_request *asked(size_t n)
{
	assert_true(first + n < lnk->n_kv);
	return &lnk->kv[first + n].q;
}

static void reply(size_t n, enum runner_kv_answer kind, const char *const *pairs, const char *error)
{
	answer_kv(first + n, kind, pairs, error);
}

static void test_put(void **state)
{
	struct slice key;
	(void)state;
	put("k");
	assert_int_equal(asked(0)->op, RUNNER_KV_PUT);
	assert_true(slice_is(asked(0)->actor_id, A));
	struct runner_walk w = runner_walk_of(asked(0)->keys);
	assert_true(runner_bytes_next(&w, &key) && slice_is(key, "k"));
	assert_int_equal(world_n_answered, 0);
	reply(0, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(world_n_answered, 1);
	assert_int_equal(world_outcome, RUNTIME_OK);
}

static void test_get_in_the_order_asked(void **state)
{
	static struct runtime_kv_pair pairs[] = {
	    {.key = {(const uint8_t *)"b", 1}}, {.key = {(const uint8_t *)"x", 1}}, {.key = {(const uint8_t *)"a", 1}}};
	(void)state;
	call((struct runtime_call){.kind = RUNTIME_KV_BATCH_GET, .pairs = pairs, .n_pairs = 3});
	reply(0, RUNNER_KV_ANSWER_GET, (const char *const[]){"a", "1", "b", "2", NULL}, "");
	assert_int_equal(world_answered.n_entries, 2);
}

static void get_and_put(bool utf8)
{
	static struct runtime_kv_pair k = {.key = {(const uint8_t *)"k", 1}, .value = {(const uint8_t *)"new", 3}};
	call((struct runtime_call){
	    .kind = RUNTIME_KV_PUT, .gets = &k, .n_gets = 1, .pairs = &k, .n_pairs = 1, .utf8 = utf8});
}

static void test_a_batch_gets_and_then_writes(void **state)
{
	(void)state;
	get_and_put(true);
	assert_int_equal(asked(0)->op, RUNNER_KV_GET);
	assert_int_equal(lnk->n_kv - first, 1);
	reply(0, RUNNER_KV_ANSWER_GET, (const char *const[]){"k", "old", NULL}, "");
	assert_int_equal(asked(1)->op, RUNNER_KV_PUT);
	assert_int_equal(world_n_answered, 0);
	reply(1, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(world_outcome, RUNTIME_OK);
	assert_int_equal(world_answered.n_entries, 1);
	get_and_put(false);
	reply(2, RUNNER_KV_ANSWER_ERROR, NULL, "transaction failed");
	assert_int_equal(world_outcome, RUNTIME_UNAVAILABLE);
	assert_int_equal(lnk->n_kv - first, 3); /* what could not be got is not written over */
}

static void test_a_batch_whose_gets_are_no_text_writes_nothing(void **state)
{
	(void)state;
	get_and_put(true);
	reply(0, RUNNER_KV_ANSWER_GET, (const char *const[]){"k", "\xff", NULL}, "");
	assert_int_equal(world_outcome, RUNTIME_OK); /* the answer is made of the entries, and says 422 */
	assert_int_equal(lnk->n_kv - first, 1);
}

static void test_errors(void **state)
{
	(void)state;
	put("k");
	reply(0, RUNNER_KV_ANSWER_ERROR, NULL, "transaction failed");
	assert_int_equal(world_outcome, RUNTIME_UNAVAILABLE);
	put("k");
	reply(1, RUNNER_KV_ANSWER_ERROR, NULL, "actor does not belong to runner");
	assert_int_equal(world_outcome, RUNTIME_STALE);
	put("k");
	reply(2, RUNNER_KV_ANSWER_ERROR, NULL, "kv_storage_quota_exceeded");
	assert_int_equal(world_outcome, RUNTIME_DISK_FULL);
	put("k");
	reply(3, RUNNER_KV_ANSWER_LIST, NULL, ""); /* no answer to a put */
	assert_int_equal(world_outcome, RUNTIME_UNAVAILABLE);
	assert_true(world_answered.indeterminate);
	put("k");
	reply(4, RUNNER_KV_ANSWER_PUT, NULL, "");
	reply(4, RUNNER_KV_ANSWER_PUT, NULL, ""); /* twice: nobody asks any more */
	assert_int_equal(world_n_answered, 5);
}

static void test_window(void **state)
{
	(void)state;
	for (int i = 0; i < 70; i++)
		put("k");
	assert_int_equal(lnk->n_kv - first, LIMIT_ENGINE_KV_OPS);
	reply(0, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(lnk->n_kv - first, LIMIT_ENGINE_KV_OPS + 1);
}

static void test_time_out(void **state)
{
	(void)state;
	put("k");
	pass(LIMIT_ENGINE_KV_MS - 1);
	assert_int_equal(world_n_answered, 0);
	pass(1);
	assert_int_equal(world_n_answered, 1);
	assert_int_equal(world_outcome, RUNTIME_UNAVAILABLE);
	assert_true(world_answered.indeterminate);
	reply(0, RUNNER_KV_ANSWER_PUT, NULL, ""); /* too late */
	assert_int_equal(world_n_answered, 1);
}

static void test_unsent_is_determinate(void **state)
{
	(void)state;
	offline();
	put("k");
	pass(LIMIT_ENGINE_KV_MS);
	assert_int_equal(world_outcome, RUNTIME_UNAVAILABLE);
	assert_false(world_answered.indeterminate);
}

static void test_break(void **state)
{
	(void)state;
	put("one");
	offline();
	put("two");
	assert_int_equal(lnk->n_kv - first, 1);
	online(true);
	assert_int_equal(lnk->n_kv - first, 3);
	assert_int_equal(asked(1)->request_id, asked(0)->request_id); /* sent again, first */
	reply(1, RUNNER_KV_ANSWER_PUT, NULL, "");
	reply(2, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(world_n_answered, 2);
	assert_int_equal(world_outcome, RUNTIME_OK);
}

static void test_another_runner_id(void **state)
{
	(void)state;
	put("one");
	offline();
	online(false);
	assert_int_equal(world_n_answered, 1);
	assert_true(world_answered.indeterminate);
	put("two"); /* of an actor that is not this runner's any more */
	assert_int_equal(world_outcome, RUNTIME_STOPPING);
}

/* Before the worker is told to stop, and nothing more afterwards. */
static void test_lost_soon(void **state)
{
	(void)state;
	put("one");
	offline();
	put("two");
	assert_int_equal(world_n_answered, 0);
	lnk->o.events->lost_soon(lnk->o.arg, 4000);
	assert_null(actor->stop_reason);
	turn();
	assert_int_equal(world_n_answered, 2);
	assert_int_equal(world_outcome, RUNTIME_UNAVAILABLE);
	assert_int_equal(world_n_indeterminate, 1); /* the one that was sent */
	assert_string_equal(actor->stop_reason, "lost");
	online(true);
	assert_int_equal(lnk->n_kv - first, 1); /* nothing is sent again */
}

/* Half of it is done. */
static void test_break_inside_of_a_delete(void **state)
{
	(void)state;
	call((struct runtime_call){.kind = RUNTIME_KV_DELETE_RANGE, .end_exclusive = true});
	lnk->full = true;
	reply(0, RUNNER_KV_ANSWER_DELETE, NULL, "");
	offline();
	lnk->o.events->lost_soon(lnk->o.arg, 4000);
	turn();
	assert_int_equal(world_n_answered, 1);
	assert_true(world_answered.indeterminate);
}

static void test_list_in_pages(void **state)
{
	(void)state;
	const char *page[2 * 32 + 1] = {NULL};
	char keys[32][16];
	for (int i = 0; i < 32; i++) {
		(void)snprintf(keys[i], sizeof(keys[i]), "%03d", i);
		page[2 * i] = keys[i];
		page[2 * i + 1] = "v";
	}
	call((struct runtime_call){.kind = RUNTIME_KV_LIST, .limit = 16384});
	assert_int_equal(asked(0)->query, RUNNER_KV_RANGE);
	assert_true(asked(0)->start.n == 1 && asked(0)->start.p[0] == 1); /* above the reserved keys */
	assert_int_equal(asked(0)->end.n, LIMIT_KV_KEY_BYTES);
	assert_false(asked(0)->exclusive);
	assert_int_equal(asked(0)->limit, 32);
	reply(0, RUNNER_KV_ANSWER_LIST, page, "");
	assert_true(asked(1)->start.n == 4 &&
		    memcmp(asked(1)->start.p, "031", 4) == 0); /* with the NUL: the next key */
	assert_int_equal(asked(1)->limit, 128);
	reply(1, RUNNER_KV_ANSWER_LIST, (const char *const[]){"x", "y", NULL}, "");
	assert_int_equal(world_answered.n_entries, 33);
	assert_false(world_answered.has_next);
}

static void test_list_limit(void **state)
{
	(void)state;
	call((struct runtime_call){.kind = RUNTIME_KV_LIST,
				   .limit = 2,
				   .has_start = true,
				   .start = SLICE_LIT("\0a"),
				   .has_end = true,
				   .end = SLICE_LIT("q"),
				   .end_exclusive = true});
	assert_true(asked(0)->start.n == 1 && asked(0)->start.p[0] == 1);
	assert_true(asked(0)->exclusive && slice_is(asked(0)->end, "q"));
	assert_int_equal(asked(0)->limit, 3);
	reply(0, RUNNER_KV_ANSWER_LIST, (const char *const[]){"a", "1", "b", "2", "c", "3", NULL}, "");
	assert_int_equal(world_answered.n_entries, 2);
	assert_true(world_answered.has_next);
}

static void test_list_down(void **state)
{
	(void)state;
	call((struct runtime_call){.kind = RUNTIME_KV_LIST, .limit = 16384, .reverse = true});
	assert_true(asked(0)->reverse);
	reply(0, RUNNER_KV_ANSWER_LIST, (const char *const[]){"c", "cut", "b", "cut", "a", "cut", NULL}, "");
	assert_int_equal(asked(1)->op, RUNNER_KV_GET); /* values of a list downwards are cut */
	assert_int_equal(asked(1)->keys.count, 3);
	reply(1, RUNNER_KV_ANSWER_GET, (const char *const[]){"a", "1", "c", "3", NULL}, ""); /* b went meanwhile */
	assert_int_equal(world_answered.n_entries, 2);
}

static void test_delete_ranges(void **state)
{
	(void)state;
	call((struct runtime_call){.kind = RUNTIME_KV_DELETE_RANGE, .end_exclusive = true});
	assert_int_equal(asked(0)->op, RUNNER_KV_DELETE_RANGE);
	assert_true(asked(0)->start.n == 1 && asked(0)->start.p[0] == 1);
	reply(0, RUNNER_KV_ANSWER_DELETE, NULL, "");
	assert_int_equal(asked(1)->op, RUNNER_KV_DELETE); /* the highest key of all */
	assert_int_equal(world_n_answered, 0);
	reply(1, RUNNER_KV_ANSWER_DELETE, NULL, "");
	assert_int_equal(world_outcome, RUNTIME_OK);
	call((struct runtime_call){.kind = RUNTIME_KV_DELETE_RANGE,
				   .has_start = true,
				   .start = SLICE_LIT("b"),
				   .has_end = true,
				   .end = SLICE_LIT("d"),
				   .end_exclusive = true});
	assert_true(slice_is(asked(2)->start, "b") && slice_is(asked(2)->end, "d"));
	reply(2, RUNNER_KV_ANSWER_DELETE, NULL, "");
	assert_int_equal(world_n_answered, 2);
}

static void test_the_end_waits_for_calls(void **state)
{
	(void)state;
	put("k");
	lnk->n_events = 0;
	world_lost(actor, PLACE_CRASHED, "died");
	turn();
	assert_int_equal(lnk->n_events, 0);
	reply(0, RUNNER_KV_ANSWER_PUT, NULL, "");
	assert_int_equal(lnk->events[lnk->n_events - 1].ev.kind, RUNNER_EVENT_STOPPED);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_put),
	    TEST(test_get_in_the_order_asked),
	    TEST(test_a_batch_gets_and_then_writes),
	    TEST(test_a_batch_whose_gets_are_no_text_writes_nothing),
	    TEST(test_errors),
	    TEST(test_window),
	    TEST(test_time_out),
	    TEST(test_unsent_is_determinate),
	    TEST(test_break),
	    TEST(test_another_runner_id),
	    TEST(test_lost_soon),
	    TEST(test_break_inside_of_a_delete),
	    TEST(test_list_in_pages),
	    TEST(test_list_limit),
	    TEST(test_list_down),
	    TEST(test_delete_ranges),
	    TEST(test_the_end_waits_for_calls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
