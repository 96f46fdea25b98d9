/* rivet-runnerd: command line in, exit code out. */
#include "app/app.h"
#include "app/detach.h"
#include "base/buf.h"

#include <stdio.h>
#include <unistd.h>

static int print(struct buf *b)
{
	struct slice s = buf_slice(b);
	bool ok = fwrite(s.p, 1, s.n, stdout) == s.n && fflush(stdout) == 0;
	buf_done(b);
	return ok ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static int fail(const struct err *e)
{
	fprintf(stderr, "rivet-runnerd: %s\n", e->text);
	return e->exit_code == 0 ? EXIT_CODE_FAILED : e->exit_code;
}

static int run(struct config *c, int argc, char *const *argv, struct err *e)
{
	int ready_fd = -1;
	if (c->detach && detach(&ready_fd, e) < 0)
		return fail(e);
	int code = app_run(c, argc, argv, ready_fd, e);
	if (e->text[0] == '\0')
		return code;
	if (ready_fd >= 0)
		detach_failed(ready_fd, e);
	return fail(e);
}

int main(int argc, char **argv)
{
	struct config c;
	struct err e = {0};
	struct buf out;
	buf_init(&out, (size_t)1024 * 1024);
	int code = EXIT_CODE_OK;
	detach_fill_stdio();
	if (config_load(&c, argc, argv, environ, &e) < 0) {
		code = fail(&e);
	} else if (c.mode == CONFIG_HELP) {
		config_print_help(&out);
		code = print(&out);
	} else if (c.mode == CONFIG_VERSION) {
		buf_add_str(&out, "rivet-runnerd " RUNNERD_VERSION "\n");
		code = print(&out);
	} else if (c.mode == CONFIG_CHECK) {
		config_print(&c, &out);
		code = print(&out);
	} else {
		code = run(&c, argc, argv, &e);
	}
	config_free(&c);
	return code;
}
