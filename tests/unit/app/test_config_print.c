/* The page for people is the table of settings. */
#include "app/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* Run from the top of the sources, as `make test` does. */
static void test_the_page_is_in_step_with_the_table(void **state)
{
	static char page[256 * 1024];
	(void)state;
	FILE *f = fopen("docs/CONFIGURATION.md", "r");
	assert_non_null(f);
	size_t n = fread(page, 1, sizeof(page) - 1, f);
	fclose(f);
	page[n] = '\0';
	struct buf b;
	buf_init(&b, sizeof(page));
	config_print_markdown(&b);
	if (strstr(page, buf_text(&b)) == NULL)
		fail_msg("docs/CONFIGURATION.md is out of step: make -B docs/CONFIGURATION.md");
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_page_is_in_step_with_the_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
