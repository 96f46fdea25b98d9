/* The intrusive list, read back after each change. */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

struct item {
	char name;
	struct list link;
};

static struct list one, two;
static struct item a = {.name = 'a'}, b = {.name = 'b'}, c = {.name = 'c'}, d = {.name = 'd'};

static int setup(void **state)
{
	(void)state;
	list_init(&one);
	list_init(&two);
	list_init(&a.link);
	list_init(&b.link);
	list_init(&c.link);
	list_init(&d.link);
	return 0;
}

static void expect(struct list *l, const char *want)
{
	char names[8] = {0}, back[8] = {0};
	size_t n = 0, m = strlen(want);
	LIST_FOR (l, node)
		names[n++] = CONTAINER_OF(node, struct item, link)->name;
	assert_string_equal(names, want);
	for (struct list *node = l->prev; node != l; node = node->prev)
		back[--m] = CONTAINER_OF(node, struct item, link)->name;
	assert_string_equal(back, want);
	assert_int_equal(list_empty(l), *want == '\0');
}

static void test_order(void **state)
{
	(void)state;
	expect(&one, "");
	assert_null(list_pop(&one));
	list_push_back(&one, &b.link);
	list_push_back(&one, &c.link);
	list_push_front(&one, &a.link);
	expect(&one, "abc");
	assert_true(list_linked(&a.link));
	assert_ptr_equal(list_pop(&one), &a.link);
	assert_false(list_linked(&a.link));
	expect(&one, "bc");
	list_push_back(&one, &a.link);
	expect(&one, "bca");
}

static void test_remove(void **state)
{
	(void)state;
	list_push_back(&one, &a.link);
	list_push_back(&one, &b.link);
	list_push_back(&one, &c.link);
	list_remove(&b.link);
	expect(&one, "ac");
	list_remove(&b.link);
	expect(&one, "ac");
	list_remove(&a.link);
	list_remove(&c.link);
	expect(&one, "");
}

static void test_remove_while_walking(void **state)
{
	(void)state;
	list_push_back(&one, &a.link);
	list_push_back(&one, &b.link);
	list_push_back(&one, &c.link);
	LIST_FOR (&one, node) {
		list_remove(node);
		if (node != &b.link)
			list_push_back(&two, node);
	}
	expect(&one, "");
	expect(&two, "ac");
}

static void test_move_all(void **state)
{
	(void)state;
	list_move_all(&one, &two);
	expect(&one, "");
	list_push_back(&two, &a.link);
	list_push_back(&two, &b.link);
	list_move_all(&one, &two);
	expect(&one, "ab");
	expect(&two, "");
	list_push_back(&two, &c.link);
	list_push_back(&two, &d.link);
	list_move_all(&one, &two);
	expect(&one, "abcd");
	expect(&two, "");
	list_move_all(&one, &two);
	expect(&one, "abcd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_order, setup),
	    cmocka_unit_test_setup(test_remove, setup),
	    cmocka_unit_test_setup(test_remove_while_walking, setup),
	    cmocka_unit_test_setup(test_move_all, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
