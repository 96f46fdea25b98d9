/* Looking up names with the machine's own name service. */
#include "io/resolve.h"

#include "base/limits.h"
#include "lib/io_loop.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct ask {
	struct loop *loop;
	struct resolve *resolve;
	size_t told;
	bool close_inside;
	struct resolve_answer answer;
};

static void on_done(void *arg, const struct resolve_answer *a)
{
	struct ask *k = arg;
	k->told++;
	k->answer = *a;
	if (k->close_inside)
		resolve_close(k->resolve);
}

static void open_ask(struct ask *k, struct loop *l, const char *host)
{
	*k = (struct ask){.loop = l};
	assert_int_equal(resolve_open(l, host, on_done, k, &k->resolve), 0);
	assert_int_equal(k->told, 0);
}

static void test_names(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	struct ask k;
	open_ask(&k, l, "localhost");
	IO_UNTIL(l, k.told == 1);
	assert_true(k.answer.n > 0);
	for (size_t i = 0; i < k.answer.n; i++)
		assert_true(resolve_is_address(k.answer.address[i]));
	resolve_close(k.resolve);
	open_ask(&k, l, "no such host!");
	k.close_inside = true;
	IO_UNTIL(l, k.told == 1);
	assert_int_equal(k.answer.n, 0);
	assert_non_null(k.answer.error);
	io_loop_settle(l);
	assert_int_equal(k.told, 1);
	io_loop_done(l);
}

static void test_closed_before_the_answer(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	struct ask k;
	open_ask(&k, l, "localhost");
	resolve_close(k.resolve);
	io_loop_done(l);
	assert_int_equal(k.told, 0);
}

static void test_many_at_once_are_bounded(void **state)
{
	(void)state;
	struct loop *l = io_loop_open();
	struct ask k[4 * LIMIT_RESOLVES];
	size_t n = 0;
	for (; n < ARRAY_SIZE(k); n++) {
		k[n] = (struct ask){.loop = l};
		int r = resolve_open(l, "localhost", on_done, &k[n], &k[n].resolve);
		if (r == -EAGAIN)
			break;
		assert_int_equal(r, 0);
	}
	for (size_t i = 0; i < n; i++) {
		IO_UNTIL(l, k[i].told == 1);
		resolve_close(k[i].resolve);
	}
	io_loop_done(l);
}

static void test_addresses(void **state)
{
	(void)state;
	assert_true(resolve_is_address("127.0.0.1"));
	assert_true(resolve_is_address("::1"));
	assert_true(resolve_is_address("fe80::1"));
	assert_false(resolve_is_address("[::1]"));
	assert_false(resolve_is_address("127.1"));
	assert_false(resolve_is_address("localhost"));
	assert_false(resolve_is_address(""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_closed_before_the_answer),
	    cmocka_unit_test(test_many_at_once_are_bounded),
	    cmocka_unit_test(test_addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
