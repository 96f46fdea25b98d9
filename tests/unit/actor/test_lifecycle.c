/* Every cell of the life cycle table against the table written down a second
 * time, in the short hand of the design; and what must hold for all cells. */
#include "actor/lifecycle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const enum lifecycle_event columns[] = {
    LIFE_EV_PLACED, LIFE_EV_UNPLACEABLE, LIFE_EV_LOADED,      LIFE_EV_LOAD_FAILED, LIFE_EV_INTENT,
    LIFE_EV_STOP,   LIFE_EV_UNLOADED,    LIFE_EV_WORKER_GONE, LIFE_EV_DEADLINE,
};

static const struct {
	enum lifecycle_state state;
	const char *cells[LIFE_EVENTS];
} rows[] = {
    {LIFE_PLACING, {"loading: load arm", "END", "x", "x", "x", "END", "x", "x", "END"}},
    {LIFE_LOADING,
     {"x", "x", "running: disarm running admit", "END", "loading: remember", "stopping: unload refuse arm", "!", "END",
      "killing: kill refuse"}},
    {LIFE_RUNNING, {"x", "x", "!", "!", "running: intent", "stopping: unload refuse arm", "END", "END", "x"}},
    {LIFE_STOPPING, {"x", "x", "-", "END", "-", "-", "END", "END", "killing: kill"}},
    {LIFE_KILLING, {"x", "x", "-", "-", "-", "-", "-", "END", "x"}},
    {LIFE_STOPPED, {"x", "x", "x", "x", "x", "x", "x", "x", "x"}},
};

static const struct {
	const char *word;
	enum lifecycle_action action;
} words[] = {
    {"disarm", LIFE_ACT_DISARM},
    {"refuse", LIFE_ACT_REFUSE},
    {"load", LIFE_ACT_LOAD},
    {"unload", LIFE_ACT_UNLOAD},
    {"kill", LIFE_ACT_KILL},
    {"arm", LIFE_ACT_ARM},
    {"running", LIFE_ACT_REPORT_RUNNING},
    {"admit", LIFE_ACT_ADMIT},
    {"remember", LIFE_ACT_REMEMBER_INTENT},
    {"intent", LIFE_ACT_REPORT_INTENT},
    {"stopped", LIFE_ACT_REPORT_STOPPED},
    {"release", LIFE_ACT_RELEASE},
    {"fault", LIFE_ACT_PEER_FAULT},
};

static uint32_t action_of(const char *word, size_t n)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strlen(words[i].word) == n && strncmp(words[i].word, word, n) == 0)
			return (uint32_t)words[i].action;
	}
	fail_msg("no such action: %s", word);
	return 0;
}

static enum lifecycle_state state_of(const char *cell)
{
	for (unsigned i = 0; i < LIFE_STATES; i++) {
		const char *name = lifecycle_state_name((enum lifecycle_state)i);
		if (strncmp(cell, name, strlen(name)) == 0 && cell[strlen(name)] == ':')
			return (enum lifecycle_state)i;
	}
	fail_msg("no such state: %s", cell);
	return LIFE_STATES;
}

/* "x" bug, "-" ignored, "!" fault, "END", or "next: actions". */
static struct lifecycle_step read_cell(enum lifecycle_state at, const char *cell)
{
	if (strcmp(cell, "x") == 0)
		return (struct lifecycle_step){.next = at, .impossible = true};
	if (strcmp(cell, "-") == 0)
		return (struct lifecycle_step){.next = at};
	if (strcmp(cell, "!") == 0)
		cell = "killing: disarm refuse kill fault";
	if (strcmp(cell, "END") == 0)
		cell = "stopped: disarm refuse stopped release";
	struct lifecycle_step s = {.next = state_of(cell)};
	const char *p = strchr(cell, ':') + 1;
	while (*p == ' ') {
		p++;
		size_t n = strcspn(p, " ");
		s.actions |= action_of(p, n);
		p += n;
	}
	return s;
}

static void test_each_cell(void **state)
{
	(void)state;
	assert_int_equal(sizeof(rows) / sizeof(rows[0]), LIFE_STATES);
	assert_int_equal(sizeof(columns) / sizeof(columns[0]), LIFE_EVENTS);
	for (size_t r = 0; r < LIFE_STATES; r++) {
		for (size_t c = 0; c < LIFE_EVENTS; c++) {
			struct lifecycle_step want = read_cell(rows[r].state, rows[r].cells[c]);
			struct lifecycle_step got = lifecycle_step(rows[r].state, columns[c]);
			if (got.next != want.next || got.actions != want.actions || got.impossible != want.impossible)
				fail_msg("%s, column %zu: not \"%s\"", lifecycle_state_name(rows[r].state), c,
					 rows[r].cells[c]);
		}
	}
}

/* Reported and released exactly where stopped is entered; armed only where a deadline may come. */
static void test_what_holds_for_all(void **state)
{
	(void)state;
	for (unsigned s = 0; s < LIFE_STATES; s++) {
		for (unsigned e = 0; e < LIFE_EVENTS; e++) {
			struct lifecycle_step t = lifecycle_step((enum lifecycle_state)s, (enum lifecycle_event)e);
			if (t.impossible) {
				assert_int_equal(t.actions, 0);
				continue;
			}
			const uint32_t last = LIFE_ACT_REPORT_STOPPED | LIFE_ACT_RELEASE | LIFE_ACT_DISARM;
			assert_true(t.next >= s);
			assert_int_equal((t.actions & last) == last, t.next == LIFE_STOPPED);
			if (t.actions & LIFE_ACT_ARM)
				assert_false(lifecycle_step(t.next, LIFE_EV_DEADLINE).impossible);
			if (t.next == LIFE_KILLING && s != LIFE_KILLING)
				assert_true(t.actions & LIFE_ACT_KILL);
		}
	}
}

static void test_names(void **state)
{
	(void)state;
	static const char *const names[] = {"placing", "loading", "running", "stopping", "killing", "stopped"};
	for (unsigned s = 0; s < LIFE_STATES; s++)
		assert_string_equal(lifecycle_state_name((enum lifecycle_state)s), names[s]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_each_cell),
	    cmocka_unit_test(test_what_holds_for_all),
	    cmocka_unit_test(test_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
