/* The command line, word by word. Values of the rows of config.def are laid into
 * the configuration, which is empty yet, so that what is read later (environment,
 * file, defaults) fills only what is left. */
#include "app/config_options.h"

#include "app/config_value.h"

#include <errno.h>

#define USAGE(e, ...) err_set(e, EINVAL, EXIT_CODE_USAGE, __VA_ARGS__)
#define SEE_HELP "; see rivet-runnerd --help"

static int unknown_option(const char *word, struct err *e)
{
	static const char *const own[] = {"config",   "foreground",   "actor",   "pass-env", "detach",
					  "takeover", "check-config", "version", "help"};
	const char *names[ARRAY_SIZE(own) + CONFIG_COUNT];
	size_t n = 0, len = strcspn(word, "=");
	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		names[n++] = own[i];
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		if (config_rows[i].option != NULL)
			names[n++] = config_rows[i].option;
	}
	MEM_AUTO char *bare = mem_strndup(word, len);
	const char *near = strncmp(bare, "--", 2) == 0 ? config_nearest(bare + 2, names, n) : NULL;
	if (near != NULL && strcmp(near, bare + 2) == 0)
		return USAGE(e, "option %s takes no value" SEE_HELP, bare);
	if (near != NULL)
		return USAGE(e, "unknown option %s; did you mean --%s?" SEE_HELP, bare, near);
	return USAGE(e, "unknown option %s" SEE_HELP, bare);
}

/* True when argv[*at] is this option; *ret_value is its value (NULL with a missing one). */
static bool option_is(char *const *argv, int argc, int *at, const char *name, char letter, const char **ret_value)
{
	const char *word = argv[*at];
	size_t n = name == NULL ? 0 : strlen(name);
	*ret_value = NULL;
	if (name != NULL && strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, n) == 0 && word[2 + n] == '=') {
		*ret_value = word + 3 + n;
		return true;
	}
	bool is_long = name != NULL && strncmp(word, "--", 2) == 0 && strcmp(word + 2, name) == 0;
	bool is_short = letter != 0 && word[0] == '-' && word[1] == letter;
	if (is_short && word[2] != '\0') {
		*ret_value = word + 2;
		return true;
	}
	if (!is_long && !is_short)
		return false;
	if (*at + 1 < argc && strcmp(argv[*at + 1], "--") != 0)
		*ret_value = argv[++*at];
	return true;
}

static bool flag_is(const char *word, const char *name, char letter)
{
	return (strncmp(word, "--", 2) == 0 && strcmp(word + 2, name) == 0) ||
	       (letter != 0 && word[0] == '-' && word[1] == letter && word[2] == '\0');
}

static bool read_flag(struct config *c, const char *word)
{
	if (flag_is(word, "foreground", 'f'))
		c->foreground = true;
	else if (flag_is(word, "detach", 0))
		c->detach = true;
	else if (flag_is(word, "takeover", 0))
		c->takeover = true;
	else if (flag_is(word, "check-config", 0))
		c->mode = CONFIG_CHECK;
	else if (flag_is(word, "version", 'V'))
		c->mode = CONFIG_VERSION;
	else if (flag_is(word, "help", 'h'))
		c->mode = CONFIG_HELP;
	else
		return false;
	return true;
}

static int read_row_option(struct config *c, int argc, char *const *argv, int *at, struct err *e)
{
	const char *word = argv[*at], *value;
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		if (row->option == NULL || !option_is(argv, argc, at, row->option, row->letter, &value))
			continue;
		if (value == NULL)
			return USAGE(e, "option --%s needs a value: --%s %s", row->option, row->option, row->argument);
		char *text = row->type == CONFIG_TYPE_LIST && c->values[i].text != NULL
				 ? mem_printf("%s,%s", c->values[i].text, value)
				 : mem_strdup(value);
		config_set(c, i, text, mem_printf("option --%s", row->option));
		return 0;
	}
	if (word[0] == '-' && word[1] != '\0')
		return unknown_option(word, e);
	return USAGE(e, "unexpected word \"%s\"; a worker's command goes behind --" SEE_HELP, word);
}

int config_options_read(struct config *c, struct config_options *cl, int argc, char *const *argv, struct err *e)
{
	cl->pass_env = mem_zalloc(((size_t)argc + 1) * sizeof(*cl->pass_env));
	for (int at = 1; at < argc; at++) {
		const char *value;
		if (strcmp(argv[at], "--") == 0) {
			cl->command = argv + at + 1;
			break;
		}
		if (read_flag(c, argv[at]))
			continue;
		const char *word = argv[at];
		bool is_config = option_is(argv, argc, &at, "config", 'c', &value);
		bool is_actor = !is_config && option_is(argv, argc, &at, "actor", 'a', &value);
		bool is_pass = !is_config && !is_actor && option_is(argv, argc, &at, "pass-env", 0, &value);
		if ((is_config || is_actor || is_pass) && value == NULL)
			return USAGE(e, "option %s needs a value" SEE_HELP, word);
		if (is_pass && !config_is_env_name(value))
			return USAGE(e, "--pass-env: \"%s\" is no name for a variable", value);
		if (is_config) {
			cl->file = value;
		} else if (is_actor) {
			if (cl->actor != NULL)
				return USAGE(
				    e, "--actor is given twice; more than one actor type goes into a file (--config)");
			cl->actor = value;
		} else if (is_pass) {
			cl->pass_env[cl->n_pass_env++] = mem_strdup(value);
		} else {
			int rc = read_row_option(c, argc, argv, &at, e);
			if (rc < 0)
				return rc;
		}
	}
	if (c->mode == CONFIG_HELP || c->mode == CONFIG_VERSION)
		return 0;
	if (cl->command != NULL && cl->command[0] == NULL)
		return USAGE(e, "no command behind --" SEE_HELP);
	if (cl->command != NULL && cl->actor == NULL)
		return USAGE(e, "a command without a name: add --actor NAME before --");
	if (cl->actor != NULL && cl->command == NULL)
		return USAGE(e, "--actor %s needs its command: --actor %s -- COMMAND", cl->actor, cl->actor);
	if (cl->actor != NULL && !config_is_actor_name(cl->actor))
		return USAGE(e, "--actor: " CONFIG_ACTOR_NAME_FORM);
	return 0;
}
