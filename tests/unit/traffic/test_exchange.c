/* Two ends that note what they are told, in every order of coming and going. */
#include "base/limits.h"
#include "traffic/exchange.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define END_MAGIC 0x656e6400u

struct end {
	uint32_t magic;
	enum exchange_side side;
	char trace[64];
	struct buf got;
	enum exchange_why why;
	bool leaves_in_over;
	bool stops_in_data;
	bool goes_in_data;
	bool leaves_in_data;
	bool pushes_in_go;
};

static struct end front, back;

static void note(struct end *e, const char *what)
{
	strncat(e->trace, what, sizeof(e->trace) - strlen(e->trace) - 1);
}

static void on_head(void *arg, struct exchange *x, const struct http_head *h)
{
	struct end *e = CAST(struct end, arg, END_MAGIC);
	(void)x;
	assert_int_equal(h->status, 204);
	note(e, "h");
}

static void on_data(void *arg, struct exchange *x, struct slice s, bool fin)
{
	struct end *e = CAST(struct end, arg, END_MAGIC);
	note(e, fin ? "f" : "d");
	buf_add(&e->got, s);
	if (e->stops_in_data)
		exchange_stop(x, e->side);
	if (e->goes_in_data)
		exchange_go(x, e->side);
	if (e->leaves_in_data)
		exchange_leave(x, e->side, EXCHANGE_DONE);
}

static void on_go(void *arg, struct exchange *x)
{
	struct end *e = CAST(struct end, arg, END_MAGIC);
	note(e, "g");
	if (e->pushes_in_go)
		exchange_data(x, e->side, SLICE_LIT("x"), false);
}

static void on_over(void *arg, struct exchange *x, enum exchange_why why)
{
	struct end *e = CAST(struct end, arg, END_MAGIC);
	note(e, "o");
	e->why = why;
	if (e->leaves_in_over)
		exchange_leave(x, e->side, EXCHANGE_DONE);
}

static const struct exchange_ops ops = {.head = on_head, .data = on_data, .go = on_go, .over = on_over};

static int setup(void **state)
{
	(void)state;
	front = (struct end){.magic = END_MAGIC, .side = EXCHANGE_FRONT};
	back = (struct end){.magic = END_MAGIC, .side = EXCHANGE_BACK};
	buf_init(&front.got, 1024);
	buf_init(&back.got, 1024);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_done(&front.got);
	buf_done(&back.got);
	return exchange_count() == 0 ? 0 : -1; /* every test frees what it opened */
}

static struct exchange *open_one(void)
{
	struct exchange *x = NULL;
	assert_int_equal(exchange_open(EXCHANGE_HTTP, &ops, &front, &x), 0);
	return x;
}

static struct exchange *open_joined(void)
{
	struct exchange *x = open_one();
	exchange_join(x, &ops, &back);
	front.trace[0] = '\0';
	return x;
}

/* Whether `what` aborts; in a process of its own. */
static bool aborts(void (*what)(void))
{
	pid_t pid = fork();
	int status = 0;
	if (pid == 0) {
		struct sigaction dfl = {.sa_handler = SIG_DFL};
		sigaction(SIGABRT, &dfl, NULL);
		close(STDERR_FILENO);
		what();
		_exit(0);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_joining_lets_the_front_go(void **state)
{
	(void)state;
	struct exchange *x = open_one();
	assert_int_equal(x->kind, EXCHANGE_HTTP);
	assert_false(exchange_joined(x));
	assert_true(exchange_stopped(x, EXCHANGE_BACK));
	assert_false(exchange_stopped(x, EXCHANGE_FRONT));
	exchange_join(x, &ops, &back);
	assert_true(exchange_joined(x));
	assert_false(exchange_stopped(x, EXCHANGE_BACK));
	assert_string_equal(front.trace, "g");
	assert_string_equal(back.trace, "");
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
}

static void test_what_is_pushed_arrives_at_the_other_end(void **state)
{
	(void)state;
	static const struct http_head head = {.status = 204};
	struct exchange *x = open_joined();
	exchange_data(x, EXCHANGE_FRONT, SLICE_LIT("ask"), true);
	exchange_head(x, &head);
	exchange_data(x, EXCHANGE_BACK, SLICE_LIT("ans"), false);
	exchange_data(x, EXCHANGE_BACK, SLICE_LIT("wer"), true);
	assert_string_equal(back.trace, "f");
	assert_true(slice_is(buf_slice(&back.got), "ask"));
	assert_string_equal(front.trace, "hdf");
	assert_true(slice_is(buf_slice(&front.got), "answer"));
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
}

static void test_the_second_to_leave_frees(void **state)
{
	(void)state;
	const enum exchange_side orders[2] = {EXCHANGE_FRONT, EXCHANGE_BACK};
	for (size_t i = 0; i < 2; i++) {
		struct end *stays = i == 0 ? &back : &front;
		struct exchange *x = open_joined();
		exchange_leave(x, orders[i], EXCHANGE_GONE);
		assert_string_equal(stays->trace, "o");
		assert_int_equal(stays->why, EXCHANGE_GONE);
		assert_int_equal(exchange_count(), 1);
		exchange_data(x, stays->side, SLICE_LIT("to nobody"), true); /* flushes what it has */
		exchange_leave(x, stays->side, EXCHANGE_DONE);
		assert_int_equal(exchange_count(), 0);
	}
	assert_string_equal(front.trace, "o");
	assert_int_equal(buf_len(&front.got) + buf_len(&back.got), 0);
}

static void test_an_end_may_leave_inside_over(void **state)
{
	(void)state;
	front.leaves_in_over = back.leaves_in_over = true;
	exchange_leave(open_joined(), EXCHANGE_FRONT, EXCHANGE_GONE);
	assert_int_equal(exchange_count(), 0);
	exchange_leave(open_joined(), EXCHANGE_BACK, EXCHANGE_CRASHED);
	assert_int_equal(exchange_count(), 0);
	assert_int_equal(front.why, EXCHANGE_CRASHED);
}

static void test_nothing_stops_a_push_to_who_left(void **state)
{
	(void)state;
	struct exchange *x = open_joined();
	exchange_stop(x, EXCHANGE_FRONT);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_GONE);
	assert_false(exchange_stopped(x, EXCHANGE_FRONT));
	exchange_stop(x, EXCHANGE_BACK);
	exchange_go(x, EXCHANGE_BACK); /* nobody to hear it */
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
	assert_string_equal(front.trace, "");
}

static void test_stop_and_go(void **state)
{
	(void)state;
	struct exchange *x = open_joined();
	exchange_stop(x, EXCHANGE_FRONT);
	exchange_stop(x, EXCHANGE_FRONT);
	assert_true(exchange_stopped(x, EXCHANGE_FRONT));
	assert_false(exchange_stopped(x, EXCHANGE_BACK));
	assert_string_equal(back.trace, "");
	exchange_go(x, EXCHANGE_FRONT);
	exchange_go(x, EXCHANGE_FRONT);
	assert_string_equal(back.trace, "g");
	assert_false(exchange_stopped(x, EXCHANGE_FRONT));
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
}

static void test_stop_and_go_from_inside_data(void **state)
{
	(void)state;
	struct exchange *x = open_joined();
	front.stops_in_data = true;
	exchange_data(x, EXCHANGE_BACK, SLICE_LIT("1"), false);
	assert_true(exchange_stopped(x, EXCHANGE_FRONT));
	front.goes_in_data = true;
	exchange_data(x, EXCHANGE_BACK, SLICE_LIT("2"), false);
	assert_false(exchange_stopped(x, EXCHANGE_FRONT));
	assert_string_equal(back.trace, "g");
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
}

static struct list waiting;
static unsigned n_dropped;

static void on_dropped(void *holder, struct exchange *x)
{
	assert_ptr_equal(holder, &waiting);
	list_remove(&x->waiting);
	n_dropped++;
}

static struct exchange *open_waiting(void)
{
	struct exchange *x = open_one();
	list_init(&waiting);
	x->dropped = on_dropped;
	x->holder = &waiting;
	list_push_back(&waiting, &x->waiting);
	n_dropped = 0;
	return x;
}

static void test_the_holder_hears_when_the_front_leaves_first(void **state)
{
	(void)state;
	struct exchange *x = open_waiting();
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_GONE);
	assert_int_equal(n_dropped, 1);
	assert_true(list_empty(&waiting));
}

static void test_a_joined_exchange_has_no_holder(void **state)
{
	(void)state;
	struct exchange *x = open_waiting();
	list_remove(&x->waiting);
	exchange_join(x, &ops, &back);
	exchange_leave(x, EXCHANGE_BACK, EXCHANGE_DONE);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	assert_int_equal(n_dropped, 0);
}

static void test_leaving_before_anyone_held_it(void **state)
{
	(void)state;
	exchange_leave(open_one(), EXCHANGE_FRONT, EXCHANGE_GONE);
	assert_string_equal(front.trace, "");
}

static void test_refusing_while_it_waits(void **state)
{
	(void)state;
	struct exchange *x = open_waiting();
	list_remove(&x->waiting);
	exchange_refuse(x, 503, "actor", "overloaded", mem_strdup("too many"), 2);
	assert_string_equal(front.trace, "o");
	assert_int_equal(front.why, EXCHANGE_REFUSED);
	assert_int_equal(x->refusal.status, 503);
	assert_string_equal(x->refusal.group, "actor");
	assert_string_equal(x->refusal.code, "overloaded");
	assert_string_equal(x->refusal.message, "too many");
	assert_int_equal(x->refusal.retry_after_s, 2);
	assert_false(exchange_stopped(x, EXCHANGE_BACK));
	exchange_data(x, EXCHANGE_FRONT, SLICE_LIT("rest of the body"), true);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	assert_int_equal(n_dropped, 0);

	front.leaves_in_over = true;
	exchange_refuse(open_one(), 503, "actor", "overloaded", NULL, 0);
	assert_int_equal(exchange_count(), 0);
}

static void test_all_text_is_freed(void **state) /* the address sanitizer is the judge */
{
	(void)state;
	static const struct http_head head = {.method = {(const uint8_t *)"GET", 3}, .status = 0};
	struct exchange *x = open_one();
	x->head = http_head_copy(&head);
	x->target = mem_strdup("/");
	x->subprotocols = mem_strdup("a, b");
	x->forwarded_for = mem_strdup("127.0.0.1");
	x->forwarded_proto = mem_strdup("http");
	x->forwarded_host = mem_strdup("h");
	x->lifecycle = mem_strdup("start");
	x->method = mem_strdup("GET");
	x->actor_key = mem_strdup("k");
	x->refusal.message = mem_strdup("m");
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_GONE);
}

static void test_no_more_than_the_limit(void **state)
{
	(void)state;
	struct exchange **all = mem_alloc(LIMIT_EXCHANGES * sizeof(struct exchange *));
	for (size_t i = 0; i < LIMIT_EXCHANGES; i++)
		all[i] = open_one();
	struct exchange *x = NULL;
	assert_int_equal(exchange_open(EXCHANGE_HTTP, &ops, &front, &x), EXCHANGE_FULL);
	assert_null(x);
	exchange_leave(all[0], EXCHANGE_FRONT, EXCHANGE_GONE);
	all[0] = open_one();
	assert_int_equal(exchange_count(), LIMIT_EXCHANGES);
	for (size_t i = 0; i < LIMIT_EXCHANGES; i++)
		exchange_leave(all[i], EXCHANGE_FRONT, EXCHANGE_GONE);
	mem_free(all);
}

static void leave_twice(void)
{
	struct exchange *x = open_joined();
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
	exchange_leave(x, EXCHANGE_FRONT, EXCHANGE_DONE);
}

static void push_before_the_join(void)
{
	exchange_data(open_one(), EXCHANGE_FRONT, SLICE_LIT("early"), false);
}

static void push_into_the_joiner(void)
{
	front.pushes_in_go = true;
	exchange_join(open_one(), &ops, &back);
}

static void leave_into_the_caller(void)
{
	front.leaves_in_data = true;
	exchange_data(open_joined(), EXCHANGE_BACK, SLICE_LIT("x"), false);
}

static void join_twice(void)
{
	exchange_join(open_joined(), &ops, &back);
}

static void join_in_a_list(void)
{
	exchange_join(open_waiting(), &ops, &back);
}

static void refuse_after_the_join(void)
{
	exchange_refuse(open_joined(), 503, "actor", "overloaded", NULL, 0);
}

static void refuse_twice(void)
{
	struct exchange *x = open_one();
	exchange_refuse(x, 503, "actor", "overloaded", NULL, 0);
	exchange_refuse(x, 503, "actor", "overloaded", NULL, 0);
}

static void join_refused(void)
{
	struct exchange *x = open_one();
	exchange_refuse(x, 503, "actor", "overloaded", NULL, 0);
	exchange_join(x, &ops, &back);
}

static void test_breaking_the_rules_aborts(void **state)
{
	(void)state;
	assert_true(aborts(leave_twice));
	assert_true(aborts(push_before_the_join));
	assert_true(aborts(push_into_the_joiner));
	assert_true(aborts(leave_into_the_caller));
	assert_true(aborts(join_twice));
	assert_true(aborts(join_in_a_list));
	assert_true(aborts(refuse_after_the_join));
	assert_true(aborts(refuse_twice));
	assert_true(aborts(join_refused));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_joining_lets_the_front_go),        TEST(test_what_is_pushed_arrives_at_the_other_end),
	    TEST(test_the_second_to_leave_frees),        TEST(test_an_end_may_leave_inside_over),
	    TEST(test_nothing_stops_a_push_to_who_left), TEST(test_stop_and_go),
	    TEST(test_stop_and_go_from_inside_data),     TEST(test_the_holder_hears_when_the_front_leaves_first),
	    TEST(test_a_joined_exchange_has_no_holder),  TEST(test_leaving_before_anyone_held_it),
	    TEST(test_refusing_while_it_waits),          TEST(test_all_text_is_freed),
	    TEST(test_no_more_than_the_limit),           TEST(test_breaking_the_rules_aborts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
