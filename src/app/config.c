/* Collects values by precedence, then types them, then builds the actor types.
 *
 * Happy path: defaults, file (lowest), environment, options (highest) are laid
 * over each other as text with their source; then each text is checked once.
 * Failures name the source: option, variable, or file and line. */
#include "app/config.h"

#include "app/config_actor.h"
#include "app/config_engine.h"
#include "app/config_options.h"
#include "app/config_value.h"
#include "base/map.h"
#include "codec/json_field.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_FILE "/etc/rivet-runnerd/rivet-runnerd.json"
#define FILE_MAX ((size_t)4 * 1024 * 1024)
#define TOKEN_MAX 4096
#define ENGINE_SLOTS_MAX 4294967 /* it counts in thousandths, in 32 bits */

const struct config_row config_rows[CONFIG_COUNT] = {
#define CONFIG(id, key, option, letter, env, env2, type, preset, argument, reload, prose) \
	[CONFIG_##id] = {                                                                 \
	    key, option, letter, env, env2, CONFIG_TYPE_##type, preset, argument, CONFIG_RELOAD_##reload, prose},
#include "app/config.def"
#undef CONFIG
};

static const char *env_get(char *const *envp, const char *name)
{
	size_t n = strlen(name);
	for (; envp != NULL && *envp != NULL; envp++) {
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return (*envp)[n + 1] == '\0' ? NULL : *envp + n + 1; /* empty counts as unset */
	}
	return NULL;
}

void config_set(struct config *c, size_t id, char *text, char *source)
{
	mem_free(c->values[id].text);
	mem_free(c->values[id].source);
	c->values[id] = (struct config_value){.text = text, .source = source};
}

const char *config_get(const struct config *c, enum config_id id)
{
	const char *text = c->values[id].text;
	return text == NULL ? "" : text;
}

/* ---- file ---- */

static int read_text_file(const char *path, size_t max, char **ret, struct err *e, const char *what)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0) {
		int why = errno;
		if (fd >= 0)
			close(fd);
		return err_set(e, why, EXIT_CODE_CONFIG, "cannot read %s %s: %s", what, path, strerror(why));
	}
	if (!S_ISREG(st.st_mode) || (size_t)st.st_size > max) {
		close(fd);
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "cannot read %s %s: %s", what, path,
			       S_ISREG(st.st_mode) ? "it is too large" : "it is not a file");
	}
	char *text = mem_zalloc((size_t)st.st_size + 1);
	ssize_t n = read(fd, text, (size_t)st.st_size);
	int why = errno;
	close(fd);
	if (n < 0) {
		mem_free(text);
		return err_set(e, why, EXIT_CODE_CONFIG, "cannot read %s %s: %s", what, path, strerror(why));
	}
	text[n] = '\0';
	*ret = text;
	return 0;
}

static bool is_text(const json_t *value)
{
	return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static bool is_list_of_texts(const json_t *value)
{
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (!is_text(json_array_get(value, i)) || json_string_length(json_array_get(value, i)) == 0)
			return false;
	}
	return json_is_array(value);
}

static int value_text(const struct config_row *row, const char *what, const json_t *value, char **ret, struct err *e)
{
	if (is_text(value) && row->type != CONFIG_TYPE_BOOL && row->type != CONFIG_TYPE_COUNT) {
		*ret = mem_strdup(json_string_value(value));
		return 0;
	}
	if (row->type == CONFIG_TYPE_BOOL && json_is_boolean(value)) {
		*ret = mem_strdup(json_is_true(value) ? "true" : "false");
		return 0;
	}
	if (row->type == CONFIG_TYPE_COUNT && json_is_integer(value)) {
		*ret = mem_printf("%lld", (long long)json_integer_value(value));
		return 0;
	}
	if (row->type == CONFIG_TYPE_LIST && is_list_of_texts(value)) {
		struct buf b;
		size_t i;
		json_t *item;
		buf_init(&b, FILE_MAX);
		json_array_foreach(value, i, item)
		{
			buf_addf(&b, "%s%s", i == 0 ? "" : ",", json_string_value(item));
		}
		*ret = slice_dup(buf_slice(&b));
		buf_done(&b);
		return 0;
	}
	const char *form = row->type == CONFIG_TYPE_BOOL    ? "true or false"
			   : row->type == CONFIG_TYPE_COUNT ? "a whole number"
			   : row->type == CONFIG_TYPE_LIST  ? "a list of texts that are not empty"
							    : "a text";
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: must be %s", what, form);
}

static int unknown_key(const char *file, unsigned line, const char *path, struct err *e)
{
	static const char *const objects[] = {"actors", "engine", "log"};
	const char *names[CONFIG_COUNT + ARRAY_SIZE(objects)], *dot = strchr(path, '.');
	for (size_t i = 0; i < CONFIG_COUNT; i++)
		names[i] = config_rows[i].key;
	memcpy(names + CONFIG_COUNT, objects, sizeof(objects));
	const char *near = config_nearest(path, names, ARRAY_SIZE(names));
	if (near != NULL && strcmp(near, path) == 0)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "%s:%u: unknown key \"%s\"; write it as \"%.*s\": {\"%s\": ...}", file, line, path,
			       (int)(dot - path), path, dot + 1);
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s:%u: unknown key \"%s\"%s%s%s", file, line, path,
		       near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near, near == NULL ? "" : "\"?");
}

static bool is_section(const char *key)
{
	size_t n = strlen(key);
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		if (strncmp(config_rows[i].key, key, n) == 0 && config_rows[i].key[n] == '.')
			return true;
	}
	return false;
}

static int read_file_value(struct config *c, const struct config_lines *lines, const char *path, const json_t *value,
			   struct err *e)
{
	unsigned line = config_lines_get(lines, path);
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		if (strcmp(config_rows[i].key, path) != 0)
			continue;
		MEM_AUTO char *what = mem_printf("%s:%u: %s", c->file, line, path), *text = NULL;
		int rc = value_text(&config_rows[i], what, value, &text, e);
		if (rc == 0 && c->values[i].text == NULL) /* else a stronger source has spoken */
			config_set(c, i, TAKE(text), mem_printf("%s:%u", c->file, line));
		return rc;
	}
	return unknown_key(c->file, line, path, e);
}

static int read_file_object(struct config *c, const struct config_lines *lines, const json_t *root, struct err *e)
{
	const char *key, *inner;
	json_t *value, *item;
	json_object_foreach((json_t *)(uintptr_t)root, key, value)
	{
		int rc = 0;
		if (strcmp(key, "actors") == 0) {
			if (!json_is_object(value))
				return err_set(e, EINVAL, EXIT_CODE_CONFIG,
					       "%s:%u: actors: must be an object of names and settings", c->file,
					       config_lines_get(lines, key));
			continue;
		}
		if (is_section(key) && !json_is_object(value))
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s:%u: %s: must be an object", c->file,
				       config_lines_get(lines, key), key);
		if (!is_section(key) && strchr(key, '.') != NULL)
			rc = unknown_key(c->file, config_lines_get(lines, key), key, e);
		else if (!is_section(key))
			rc = read_file_value(c, lines, key, value, e);
		if (rc < 0)
			return rc;
		if (!is_section(key))
			continue;
		json_object_foreach(value, inner, item)
		{
			MEM_AUTO char *path = mem_printf("%s.%s", key, inner);
			rc = read_file_value(c, lines, path, item, e);
			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

/* ---- actor types ---- */

static void add_type(struct config *c, struct actor_type *t)
{
	size_t n = 0;
	while (c->types[n] != NULL)
		n++;
	c->types = mem_realloc(c->types, (n + 2) * sizeof(struct actor_type *));
	c->types[n] = t;
	c->types[n + 1] = NULL;
}

static int read_types(struct config *c, const struct config_options *cl, const json_t *root,
		      const struct config_lines *lines, char *const *envp, struct err *e)
{
	const json_t *actors = json_object_get(root, "actors");
	struct config_actor_source src = {.file = c->file == NULL ? "command line" : c->file,
					  .lines = lines,
					  .envp = envp,
					  .pass_env = cl->pass_env,
					  .engine_mode = c->engine_mode};
	const char *name;
	json_t *settings;
	struct actor_type *t;
	bool from_command_line = cl->actor != NULL;
	json_object_foreach((json_t *)(uintptr_t)actors, name, settings)
	{
		MEM_AUTO char *path = mem_printf("actors.%s", name);
		if (!json_is_object(settings) || !config_is_actor_name(name))
			return err_set(e, EINVAL, EXIT_CODE_CONFIG,
				       json_is_object(settings) ? "%s:%u: %s: " CONFIG_ACTOR_NAME_FORM
								: "%s:%u: %s: must be an object of settings",
				       c->file, config_lines_get(lines, path), path);
		bool here = cl->actor != NULL && strcmp(cl->actor, name) == 0;
		int rc = config_actor(c, &src, name, settings, here ? cl->command : NULL, &t, e);
		if (rc < 0)
			return rc;
		from_command_line = from_command_line && !here;
		add_type(c, t);
	}
	if (!from_command_line)
		return 0;
	int rc = config_actor(c, &src, cl->actor, NULL, cl->command, &t, e);
	if (rc == 0)
		add_type(c, t);
	return rc;
}

/* ---- environment, defaults, types of values ---- */

static void read_environment(struct config *c, char *const *envp)
{
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		const char *name = config_rows[i].env;
		const char *text = env_get(envp, name);
		if (text == NULL && config_rows[i].env2 != NULL) {
			name = config_rows[i].env2;
			text = env_get(envp, name);
		}
		if (text != NULL && c->values[i].text == NULL)
			config_set(c, i, mem_strdup(text), mem_printf("environment %s", name));
	}
}

static void read_defaults(struct config *c, char *const *envp)
{
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		if (c->values[i].text == NULL && config_rows[i].preset != NULL)
			config_set(c, i, mem_strdup(config_rows[i].preset), mem_strdup("default"));
	}
	const char *state = env_get(envp, "STATE_DIRECTORY"), *run = env_get(envp, "RUNTIME_DIRECTORY"),
		   *xdg = env_get(envp, "XDG_RUNTIME_DIR");
	if (c->values[CONFIG_DATA_DIR].text == NULL && c->foreground)
		config_set(c, CONFIG_DATA_DIR, mem_strdup(".rivet-runnerd"), mem_strdup("default with --foreground"));
	else if (c->values[CONFIG_DATA_DIR].text == NULL)
		config_set(c, CONFIG_DATA_DIR,
			   state != NULL ? mem_strndup(state, strcspn(state, ":"))
					 : mem_strdup("/var/lib/rivet-runnerd"),
			   mem_strdup(state != NULL ? "environment STATE_DIRECTORY" : "default"));
	if (c->values[CONFIG_RUNTIME_DIR].text != NULL || c->foreground)
		return;
	if (run != NULL)
		config_set(c, CONFIG_RUNTIME_DIR, mem_strndup(run, strcspn(run, ":")),
			   mem_strdup("environment RUNTIME_DIRECTORY"));
	else if (geteuid() == 0)
		config_set(c, CONFIG_RUNTIME_DIR, mem_strdup("/run/rivet-runnerd"), mem_strdup("default"));
	else if (xdg != NULL)
		config_set(c, CONFIG_RUNTIME_DIR, mem_printf("%s/rivet-runnerd", xdg),
			   mem_strdup("environment XDG_RUNTIME_DIR"));
}

/* /tmp/rivet-runnerd-UID/HASH: short enough for socket paths, one for each data directory. */
static void default_runtime_dir(struct config *c)
{
	static const uint64_t key[2] = {0, 0};
	if (c->values[CONFIG_RUNTIME_DIR].text != NULL)
		return;
	uint64_t hash = map_siphash(key, slice_str(config_get(c, CONFIG_DATA_DIR)));
	config_set(
	    c, CONFIG_RUNTIME_DIR,
	    mem_printf("/tmp/rivet-runnerd-%u/%08llx", (unsigned)geteuid(), (unsigned long long)(hash & 0xffffffffu)),
	    mem_strdup("default"));
}

static int type_value(struct config *c, enum config_id id, struct err *e)
{
	static const char *const levels[] = {"error", "warn", "info", "debug", "trace", NULL};
	static const char *const formats[] = {"auto", "text", "logfmt", "json", NULL};
	static const char *const auths[] = {"auto", "none", NULL};
	static const char *const exits[] = {"never", "idle", "failed", NULL};
	static const char *const bools[] = {"false", "true", NULL};
	const struct config_row *row = &config_rows[id];
	const char *text = config_get(c, id);
	MEM_AUTO char *what =
	    mem_printf("%s: %s", c->values[id].source == NULL ? "default" : c->values[id].source, row->key);
	size_t choice = 0;
	uint64_t number = 0;
	int64_t ms = 0;
	int rc = 0;
	bool may_be_empty = row->type == CONFIG_TYPE_LIST || (row->preset != NULL && *row->preset == '\0');
	if (c->values[id].text != NULL && *text == '\0' && !may_be_empty)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: must not be empty", what);
	switch (row->type) {
	case CONFIG_TYPE_TEXT:
	case CONFIG_TYPE_LIST:
		return 0;
	case CONFIG_TYPE_PATH:
		if (c->values[id].text == NULL)
			return 0; /* worked out later */
		config_set(c, id, config_absolute(text), mem_strdup(c->values[id].source));
		return 0;
	case CONFIG_TYPE_ADDRESS:
		return *text == '\0' ? 0 : config_address(what, text, e);
	case CONFIG_TYPE_AUTH:
		rc = config_choice(what, text, auths, &choice, e);
		c->auth_none = choice == 1;
		return rc;
	case CONFIG_TYPE_BOOL:
		rc = config_choice(what, text, bools, &choice, e);
		c->engine_limits = choice == 1;
		return rc;
	case CONFIG_TYPE_COUNT:
		rc = config_number(what, text, id == CONFIG_TOTAL_SLOTS ? 1 : 0,
				   id == CONFIG_TOTAL_SLOTS ? ENGINE_SLOTS_MAX : UINT32_MAX, &number, e);
		*(id == CONFIG_STARTS_MAX    ? &c->starts_max
		  : id == CONFIG_TOTAL_SLOTS ? &c->total_slots
					     : &c->runner_version) = (uint32_t)number;
		return rc;
	case CONFIG_TYPE_DURATION:
		rc = config_duration(what, text, false, &ms, e);
		c->drain_timeout_ms = ms;
		return rc;
	case CONFIG_TYPE_LOG_LEVEL:
		rc = config_choice(what, text, levels, &choice, e);
		c->log_level = (enum log_level)choice;
		return rc;
	case CONFIG_TYPE_EXIT_WHEN:
		rc = config_choice(what, text, exits, &choice, e);
		c->exit_when = (enum config_exit_when)choice;
		return rc;
	case CONFIG_TYPE_LOG_FORMAT:
		return config_choice(what, text, formats, &choice, e);
	}
	IMPOSSIBLE("config type");
}

/* systemd names device and inode of what it connected to the journal; whoever redirected stderr since wants it there.
 */
static bool stderr_is_journal(const char *journal_stream)
{
	struct stat st;
	if (journal_stream == NULL || fstat(STDERR_FILENO, &st) < 0)
		return false;
	MEM_AUTO char *own = mem_printf("%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return strcmp(journal_stream, own) == 0;
}

static void resolve_log_format(struct config *c, char *const *envp)
{
	const char *format = config_get(c, CONFIG_LOG_FORMAT);
	bool to_file = *config_get(c, CONFIG_LOG_FILE) != '\0';
	if (strcmp(format, "text") == 0)
		c->log_format = LOG_FORMAT_TEXT;
	else if (strcmp(format, "logfmt") == 0)
		c->log_format = LOG_FORMAT_LOGFMT;
	else if (strcmp(format, "json") == 0)
		c->log_format = LOG_FORMAT_JSON;
	else if (!to_file && (c->foreground || isatty(STDERR_FILENO)))
		c->log_format = LOG_FORMAT_TEXT;
	else if (!to_file && stderr_is_journal(env_get(envp, "JOURNAL_STREAM")))
		c->log_format = LOG_FORMAT_JOURNAL;
	else
		c->log_format = LOG_FORMAT_JSON;
}

static int read_token(struct config *c, char *const *envp, struct err *e)
{
	const char *plain = env_get(envp, "RIVET_TOKEN"), *dir = env_get(envp, "CREDENTIALS_DIRECTORY");
	const char *file = config_get(c, CONFIG_TOKEN_FILE);
	MEM_AUTO char *credential = dir == NULL ? NULL : mem_printf("%s/rivet-token", dir);
	if (plain != NULL) {
		if (strpbrk(plain, " \t\r\n") != NULL)
			return err_set(e, EINVAL, EXIT_CODE_CONFIG,
				       "environment RIVET_TOKEN: must hold one token without white space");
		c->token = mem_strdup(plain);
		c->token_source = mem_strdup("environment RIVET_TOKEN");
		return 0;
	}
	if (*file == '\0' && (credential == NULL || access(credential, F_OK) < 0))
		return 0;
	const char *path = *file == '\0' ? credential : file;
	int rc = read_text_file(path, TOKEN_MAX, &c->token, e, "token file");
	if (rc < 0)
		return rc;
	c->token_source = mem_strdup(path);
	size_t n = strlen(c->token);
	while (n > 0 && strchr(" \t\r\n", c->token[n - 1]) != NULL)
		c->token[--n] = '\0';
	if (n == 0 || strpbrk(c->token, " \t\r\n") != NULL)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "token file %s: must hold one token without white space",
			       path);
	return 0;
}

static int check_whole(const struct config *c, struct err *e)
{
	const char *listen = config_get(c, CONFIG_LISTEN), *runtime_dir = config_get(c, CONFIG_RUNTIME_DIR);
	if (c->token == NULL && !c->auth_none && !c->engine_mode && !config_address_is_loopback(listen))
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "listen: %s is reachable from other machines and no token is set; set RIVET_TOKEN or "
			       "RIVET_TOKEN_FILE, or "
			       "--auth none if everyone who reaches it may do everything",
			       listen);
	if (strlen(runtime_dir) > LIMIT_RUNTIME_DIR_BYTES)
		return err_set(e, ENAMETOOLONG, EXIT_CODE_CONFIG,
			       "runtime_dir: %s is too long: paths of sockets in it would exceed %d bytes; choose a "
			       "shorter one",
			       runtime_dir, LIMIT_SOCKET_PATH_BYTES);
	return 0;
}

static int finish(struct config *c, char *const *envp, struct err *e)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < CONFIG_COUNT; i++)
		rc = type_value(c, (enum config_id)i, e);
	if (rc == 0)
		rc = read_token(c, envp, e);
	if (rc == 0)
		rc = config_engine(c, e);
	if (rc < 0)
		return rc;
	default_runtime_dir(c);
	resolve_log_format(c, envp);
	c->hosts = config_split(config_get(c, CONFIG_HOSTS));
	c->cors_origins =
	    c->values[CONFIG_CORS_ORIGINS].text == NULL ? NULL : config_split(config_get(c, CONFIG_CORS_ORIGINS));
	if (c->starts_max == 0) {
		long cpus = sysconf(_SC_NPROCESSORS_ONLN);
		c->starts_max = cpus > 0 ? (uint32_t)cpus * 2 : 2;
		config_set(c, CONFIG_STARTS_MAX, mem_printf("%u", (unsigned)c->starts_max),
			   mem_strdup(c->values[CONFIG_STARTS_MAX].source));
	}
	return check_whole(c, e);
}

static int load_rest(struct config *c, struct config_options *cl, char *const *envp, struct err *e)
{
	const char *file = cl->file != NULL ? cl->file : env_get(envp, "RIVET_RUNNERD_CONFIG");
	if (file == NULL && access(DEFAULT_FILE, F_OK) == 0)
		file = DEFAULT_FILE;
	json_t *root = NULL;
	struct config_lines *lines = NULL;
	MEM_AUTO char *text = NULL;
	int rc = 0;
	read_environment(c, envp);
	if (file != NULL) {
		struct err why = {0};
		c->file = config_absolute(file);
		rc = read_text_file(c->file, FILE_MAX, &text, e, "configuration file");
		if (rc < 0)
			return rc;
		config_lines_blank_comments(text);
		root = json_field_parse(slice_str(text), &why);
		if (root == NULL || !json_is_object(root)) {
			json_decref(root);
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "configuration file %s: %s", c->file,
				       root == NULL ? why.text : "must be a JSON object");
		}
		lines = config_lines_new(slice_str(text));
		rc = read_file_object(c, lines, root, e);
	}
	read_defaults(c, envp);
	if (rc == 0)
		rc = finish(c, envp, e);
	if (rc == 0)
		rc = read_types(c, cl, root, lines, envp, e);
	config_lines_free(lines);
	json_decref(root);
	return rc;
}

int config_load(struct config *c, int argc, char *const *argv, char *const *envp, struct err *e)
{
	*c = (struct config){.mode = CONFIG_RUN};
	c->types = mem_zalloc(sizeof(struct actor_type *));
	c->directory = config_absolute(".");
	struct config_options cl = {0};
	int rc = config_options_read(c, &cl, argc, argv, e);
	if (rc == 0 && c->mode != CONFIG_HELP && c->mode != CONFIG_VERSION)
		rc = load_rest(c, &cl, envp, e);
	config_strings_free(cl.pass_env);
	return rc;
}

void config_free(struct config *c)
{
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		mem_free(c->values[i].text);
		mem_free(c->values[i].source);
	}
	for (size_t i = 0; i < c->n_notes; i++) {
		mem_free(c->notes[i].key);
		mem_free(c->notes[i].text);
		mem_free(c->notes[i].source);
	}
	for (struct actor_type **t = c->types; t != NULL && *t != NULL; t++)
		actor_type_free(*t);
	mem_free(c->types);
	mem_free(c->notes);
	config_strings_free(c->warnings);
	config_engine_free(c);
	config_strings_free(c->hosts);
	config_strings_free(c->cors_origins);
	if (c->token != NULL)
		explicit_bzero(c->token, strlen(c->token));
	mem_free(c->token);
	mem_free(c->token_source);
	mem_free(c->file);
	mem_free(c->directory);
	*c = (struct config){0};
}
