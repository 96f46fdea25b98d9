/* The registry of actor types: names, identity, replaced ones and their bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/limits.h"
#include "worker/actor_types.h"

static char **texts(const char *a, const char *b)
{
	char **list = mem_zalloc(3 * sizeof(*list));
	list[0] = mem_strdup(a);
	list[1] = mem_strdup(b);
	return list;
}

static struct actor_type *type(const char *name, const char *program)
{
	struct actor_type *t = mem_zalloc(sizeof(*t));
	t->name = mem_strdup(name);
	t->argv = texts(program, "argument");
	t->environment = texts("A=1", NULL);
	t->directory = mem_strdup("/tmp");
	t->sleep_after_ms = 30000;
	return t;
}

/* Types whose names and programs are these: "a:x" is type a with program x. */
static struct actor_type **types(const char *words)
{
	struct actor_type **list = mem_zalloc(10 * sizeof(*list));
	for (size_t n = 0; *words != '\0'; words += 3 + (words[3] == ' '), n++) {
		const char name[] = {words[0], '\0'}, program[] = {words[2], '\0'};
		list[n] = type(name, program);
	}
	return list;
}

static void on_told(void *arg, const char *kind, const char *name)
{
	char *said = arg;
	(void)snprintf(said + strlen(said), 200 - strlen(said), "%s%s %s", *said == '\0' ? "" : ", ", kind, name);
}

static void replace(struct actor_types *t, const char *words, const char *want)
{
	char said[200] = "";
	struct actor_types_change change;
	struct actor_type **next = types(words);
	assert_true(actor_types_has_room(t, next));
	actor_types_replace(t, next, on_told, said, &change);
	assert_string_equal(said, want);
}

static bool on_let_go(void *arg, const struct actor_type *type)
{
	return type != arg;
}

static void test_names(void **state)
{
	struct buf b;
	(void)state;
	struct actor_types *t = actor_types_new(types("a:x b:y"));
	buf_init(&b, 200);
	assert_string_equal(actor_types_find(t, SLICE_LIT("b"))->name, "b");
	assert_null(actor_types_find(t, SLICE_LIT("c")));
	assert_ptr_equal(actor_types_at(t, 0), actor_types_find(t, SLICE_LIT("a")));
	assert_null(actor_types_at(t, 2));
	actor_types_list(t, &b, 100);
	assert_string_equal(buf_text(&b), "there are: a, b");
	buf_reset(&b);
	replace(t, "", "removed a, removed b");
	actor_types_list(t, &b, 100);
	assert_string_equal(buf_text(&b), "none is");
	buf_done(&b);
	actor_types_free(t);
	actor_types_free(NULL);
}

static void test_the_unchanged_keep_their_identity(void **state)
{
	(void)state;
	struct actor_types *t = actor_types_new(types("a:x b:y"));
	const struct actor_type *a = actor_types_at(t, 0), *b = actor_types_at(t, 1);
	replace(t, "b:y a:x", "");
	assert_ptr_equal(actor_types_at(t, 0), b);
	assert_ptr_equal(actor_types_at(t, 1), a);
	assert_null(actor_types_old(t, 0));
	replace(t, "b:z a:x c:x", "changed b, added c");
	assert_true(actor_types_is_current(t, a));
	assert_false(actor_types_is_current(t, b));
	assert_string_equal(actor_types_find(t, SLICE_LIT("b"))->argv[0], "z");
	actor_types_free(t);
}

static void test_the_replaced_stay_until_they_are_let_go(void **state)
{
	(void)state;
	struct actor_types *t = actor_types_new(types("a:x b:y"));
	const struct actor_type *a = actor_types_at(t, 0);
	replace(t, "b:y", "removed a");
	assert_ptr_equal(actor_types_old(t, 0), a);
	replace(t, "a:w b:z", "added a, changed b");
	assert_ptr_not_equal(actor_types_find(t, SLICE_LIT("a")), a);
	assert_int_equal(actor_types_sweep(t, on_let_go, (void *)(uintptr_t)a), 1);
	assert_ptr_equal(actor_types_old(t, 0), a);
	assert_string_equal(a->name, "a");
	assert_int_equal(actor_types_sweep(t, on_let_go, NULL), 0);
	assert_null(actor_types_old(t, 0));
	actor_types_free(t);
}

static void test_one_that_comes_back_is_the_same_again(void **state)
{
	struct actor_types *t = actor_types_new(types("a:1 b:1"));
	const struct actor_type *a = actor_types_find(t, SLICE_LIT("a")), *b = actor_types_find(t, SLICE_LIT("b"));
	(void)state;
	replace(t, "a:2", "changed a, removed b");
	replace(t, "a:1 b:1", "changed a, added b");
	assert_ptr_equal(actor_types_find(t, SLICE_LIT("a")), a);
	assert_ptr_equal(actor_types_find(t, SLICE_LIT("b")), b);
	assert_string_equal(actor_types_old(t, 0)->argv[0], "2");
	assert_null(actor_types_old(t, 1));
	actor_types_free(t);
}

static void test_replaced_ones_have_a_bound(void **state)
{
	(void)state;
	struct actor_types *t = actor_types_new(types("a:0 b:y"));
	struct actor_types_change change;
	for (int i = 0; i < LIMIT_ACTOR_TYPES_OLD; i++) {
		struct actor_type **next = types("a:0 b:y");
		next[0]->sleep_after_ms = i;
		assert_true(actor_types_has_room(t, next));
		actor_types_replace(t, next, NULL, NULL, &change);
		assert_int_equal(change.changed, 1);
	}
	struct actor_type **same = types("a:0 b:y c:1"), **more = types("a:1 b:y");
	same[0]->sleep_after_ms = LIMIT_ACTOR_TYPES_OLD - 1;
	assert_true(actor_types_has_room(t, same));
	assert_false(actor_types_has_room(t, more));
	assert_int_equal(actor_types_sweep(t, on_let_go, NULL), 0);
	assert_true(actor_types_has_room(t, more));
	actor_types_replace(t, more, NULL, NULL, &change);
	actor_types_replace(t, same, NULL, NULL, &change);
	actor_types_free(t);
}

/* ---- which types are equal ---- */

typedef void change_fn(struct actor_type *t);

#define CHANGE(name, ...)                      \
	static void name(struct actor_type *t) \
	{                                      \
		__VA_ARGS__;                   \
	}
CHANGE(argument, t->argv[1][0] = 'A')
CHANGE(fewer_arguments, (mem_free(t->argv[1]), t->argv[1] = NULL))
CHANGE(directory, (mem_free(t->directory), t->directory = NULL))
CHANGE(user, t->user = mem_strdup("nobody"))
CHANGE(set_user, t->set_user = true)
CHANGE(uid, t->uid = 1)
CHANGE(gid, t->gid = 1)
CHANGE(groups, (t->groups = mem_zalloc(4), t->n_groups = 1))
CHANGE(home, t->home = mem_strdup("/"))
CHANGE(login, t->login = mem_strdup("a"))
CHANGE(shell, t->shell = mem_strdup("/bin/sh"))
CHANGE(environment, t->environment[0][2] = '2')
CHANGE(more_environment, t->environment[1] = mem_strdup("B=1"))
CHANGE(isolation, t->isolation = ISOLATION_SHARED)
CHANGE(workers_max, t->workers_max++)
CHANGE(actors_per_worker, t->actors_per_worker++)
CHANGE(serve, t->serve = SERVE_TCP)
CHANGE(ready, t->ready = READY_NOTIFY)
CHANGE(ready_path, t->ready_path = mem_strdup("/healthz"))
CHANGE(start_timeout, t->start_timeout_ms++)
CHANGE(stop_grace, t->stop_grace_ms++)
CHANGE(request_timeout, t->request_timeout_ms++)
CHANGE(sleep_after, t->sleep_after_ms = -1)
CHANGE(requests_max, t->requests_max++)
CHANGE(limit, t->n_rlimits = 1)
CHANGE(mask, t->sandbox.umask = 027)
CHANGE(set_nice, t->sandbox.set_nice = true)
CHANGE(niceness, t->sandbox.nice = 1)
CHANGE(set_oom_score_adj, t->sandbox.set_oom_score_adj = true)
CHANGE(oom_score_adj, t->sandbox.oom_score_adj = 1)
CHANGE(no_new_privs, t->sandbox.no_new_privs = true)
CHANGE(private_tmp, t->sandbox.private_tmp = true)
CHANGE(memory_max, t->sandbox.memory_max = 1)
CHANGE(cpu_milli, t->sandbox.cpu_milli = 1)
CHANGE(read_only, (t->sandbox.read_only = mem_zalloc(2 * sizeof(char *)), t->sandbox.read_only[0] = mem_strdup("/etc")))

static void test_every_setting_counts(void **state)
{
	static change_fn *const changes[] = {
	    argument,
	    fewer_arguments,
	    directory,
	    user,
	    set_user,
	    uid,
	    gid,
	    groups,
	    home,
	    login,
	    shell,
	    environment,
	    more_environment,
	    isolation,
	    workers_max,
	    actors_per_worker,
	    serve,
	    ready,
	    ready_path,
	    start_timeout,
	    stop_grace,
	    request_timeout,
	    sleep_after,
	    requests_max,
	    limit,
	    mask,
	    set_nice,
	    niceness,
	    set_oom_score_adj,
	    oom_score_adj,
	    no_new_privs,
	    private_tmp,
	    memory_max,
	    cpu_milli,
	    read_only,
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct actor_type *a = type("a", "x"), *b = type("a", "x");
		assert_true(actor_type_equal(a, b));
		changes[i](b);
		assert_false(actor_type_equal(a, b));
		assert_false(actor_type_equal(b, a));
		changes[i](a);
		assert_true(actor_type_equal(a, b));
		actor_type_free(a);
		actor_type_free(b);
	}
	struct actor_type *a = type("a", "x"), *b = type("a", "x");
	a->n_rlimits = b->n_rlimits = 1;
	b->rlimits[0].value = 5;
	assert_false(actor_type_equal(a, b));
	actor_type_free(a);
	actor_type_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_the_unchanged_keep_their_identity),
	    cmocka_unit_test(test_the_replaced_stay_until_they_are_let_go),
	    cmocka_unit_test(test_one_that_comes_back_is_the_same_again),
	    cmocka_unit_test(test_replaced_ones_have_a_bound),
	    cmocka_unit_test(test_every_setting_counts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
