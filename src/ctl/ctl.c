/* rivet-runnerctl: words in, one call of the control socket, exit code out.
 *
 * Finds the socket as the daemon finds its runtime directory: --runtime-dir,
 * else what the daemon's own configuration would say, else what --foreground
 * would choose in this directory. */
#include "app/config.h"
#include "app/config_value.h"
#include "ctl/ctl_command.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define WORDS_MAX 8
#define SOCKET_NAME "control.sock"

struct words {
	char *words[WORDS_MAX];
	int n;
	const char *runtime_dir;
	bool help, version;
	struct ctl_options o;
};

static int fail(const struct err *e)
{
	fprintf(stderr, "rivet-runnerctl: %s\n", e->text);
	return e->exit_code == 0 ? EXIT_CODE_FAILED : e->exit_code;
}

static int print_help(void)
{
	printf("Usage: rivet-runnerctl [--runtime-dir DIR] [--json] COMMAND [ARGUMENT...]\n\n"
	       "Talks to a running rivet-runnerd.\n\nCommands:\n");
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
		printf("  %s%s%s\n      %s\n", c->name, *c->arguments == '\0' ? "" : " ", c->arguments, c->prose);
	printf("\nOptions:\n"
	       "      --runtime-dir DIR   the daemon's runtime directory, when it is not where the daemon would look\n"
	       "      --json              the daemon's JSON instead of tables and text\n"
	       "  -h, --help\n  -V, --version\n\n"
	       "Exit codes: 0 done, 1 failed, 64 usage, 69 no daemon there.\n");
	return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILED;
}

static int usage(struct err *e, const char *what, const char *word)
{
	return err_set(e, EINVAL, EXIT_CODE_USAGE, "%s %s; see rivet-runnerctl --help", what, word);
}

/* --name VALUE or --name=VALUE. 1: taken; 0: another word. */
static int take_value(char *const *argv, int argc, int *at, const char *name, const char **ret, struct err *e)
{
	const char *word = argv[*at];
	size_t n = strlen(name);
	if (strncmp(word, name, n) != 0 || (word[n] != '\0' && word[n] != '='))
		return 0;
	if (word[n] == '=')
		*ret = word + n + 1;
	else if (*at + 1 < argc)
		*ret = argv[++*at];
	else
		return usage(e, "a value is missing behind", name);
	return 1;
}

static int read_option(struct words *w, int argc, char *const *argv, int *at, struct err *e)
{
	const char *word = argv[*at];
	int r = take_value(argv, argc, at, "--runtime-dir", &w->runtime_dir, e);
	if (r == 0)
		r = take_value(argv, argc, at, "--actor", &w->o.actor, e);
	if (r != 0)
		return r < 0 ? r : 0;
	if (strcmp(word, "--json") == 0)
		w->o.json = true;
	else if (strcmp(word, "-f") == 0 || strcmp(word, "--follow") == 0)
		w->o.follow = true;
	else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)
		w->help = true;
	else if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0)
		w->version = true;
	else
		return usage(e, "unknown option", word);
	return 0;
}

/* Options may stand anywhere before "--"; a lone "-" is a word. */
static int read_words(struct words *w, int argc, char *const *argv, struct err *e)
{
	bool options = true;
	for (int at = 1; at < argc; at++) {
		if (options && strcmp(argv[at], "--") == 0) {
			options = false;
		} else if (options && argv[at][0] == '-' && argv[at][1] != '\0') {
			int r = read_option(w, argc, argv, &at, e);
			if (r < 0)
				return r;
		} else if (w->n == WORDS_MAX) {
			return usage(e, "too many words, from", argv[at]);
		} else {
			w->words[w->n++] = argv[at];
		}
	}
	return 0;
}

static const struct ctl_command *find_command(const char *name, struct err *e)
{
	const char *names[32];
	size_t n = 0;
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
		names[n++] = c->name;
	}
	const char *near = config_nearest(name, names, n);
	if (near != NULL)
		(void)err_set(e, EINVAL, EXIT_CODE_USAGE, "unknown command %s; did you mean %s?", name, near);
	else
		(void)usage(e, "unknown command", name);
	return NULL;
}

static int check_use(const struct words *w, const struct ctl_command *c, struct err *e)
{
	int n = w->n - 1;
	bool logs = strcmp(c->name, "logs") == 0, status = strcmp(c->name, "status") == 0;
	if (n < c->n_min || n > c->n_max)
		return err_set(e, EINVAL, EXIT_CODE_USAGE, "use: rivet-runnerctl %s %s", c->name, c->arguments);
	if (w->o.actor != NULL && !logs)
		return usage(e, "--actor goes with logs, not with", c->name);
	if (w->o.follow && !logs && !status)
		return usage(e, "-f goes with logs and status, not with", c->name);
	return 0;
}

/* What a daemon started with these words would take. NULL when its configuration is broken. */
static char *daemons_choice(char *const *argv, int argc)
{
	struct config c;
	struct err e = {0};
	char *socket = NULL;
	if (config_load(&c, argc, argv, environ, &e) == 0)
		socket = mem_printf("%s/" SOCKET_NAME, config_get(&c, CONFIG_RUNTIME_DIR));
	config_free(&c);
	return socket;
}

static char *find_socket(const struct words *w)
{
	char name[] = "rivet-runnerd", foreground[] = "--foreground";
	char *const plain[] = {name, NULL};
	char *const developer[] = {name, foreground, NULL};
	if (w->runtime_dir != NULL)
		return mem_printf("%s/" SOCKET_NAME, w->runtime_dir);
	char *first = daemons_choice(plain, 1);
	if (first != NULL && access(first, F_OK) == 0)
		return first;
	char *second = daemons_choice(developer, 2);
	if (second != NULL && access(second, F_OK) == 0) {
		mem_free(first);
		return second;
	}
	mem_free(second);
	return first != NULL ? first : mem_strdup("/run/rivet-runnerd/" SOCKET_NAME);
}

int main(int argc, char **argv)
{
	struct words w = {0};
	struct err e = {0};
	if (read_words(&w, argc, argv, &e) < 0)
		return fail(&e);
	if (w.help)
		return print_help();
	if (w.version && w.n == 0)
		w.words[w.n++] = (char[]){"version"};
	if (w.n == 0) {
		(void)err_set(&e, EINVAL, EXIT_CODE_USAGE, "say a command; see rivet-runnerctl --help");
		return fail(&e);
	}
	const struct ctl_command *c = find_command(w.words[0], &e);
	if (c == NULL || check_use(&w, c, &e) < 0)
		return fail(&e);
	MEM_AUTO char *socket = find_socket(&w);
	w.o.socket = socket;
	int code = c->run(&w.o, w.n - 1, w.words + 1, &e);
	return code == EXIT_CODE_OK ? code : fail(&e);
}
