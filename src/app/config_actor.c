/* One table of actor settings; each row has its reader. Owns nothing: what it
 * makes belongs to struct actor_type. */
#include "app/config_actor.h"

#include "app/config_sandbox.h"
#include "app/config_value.h"
#include "codec/json_field.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENGINE_START_MAX_MS 30000
#define ENGINE_REQUEST_MAX_MS 290000
#define ENV_FILE_MAX ((size_t)256 * 1024)
#define ENV_BYTES_MAX (ENV_FILE_MAX * 2)
#define ENV_VARS_MAX 1024
#define WORKERS_MAX_ACTOR 256
#define WORKERS_MAX_SHARED 4

struct reading {
	struct config *c;
	const struct config_actor_source *src;
	struct actor_type *type;
	const char *name;
	const char *key;   /* of the setting at hand */
	const char *group; /* setting `group`, applied after `user` */
	bool workers_max_set, group_set;
	struct buf env_file, env_own;
	char **pass;
};

typedef int read_fn(struct reading *r, const char *what, const json_t *value, struct err *e);

struct actor_row {
	const char *key;
	read_fn *read;
	const char *preset, *prose;
};

static int want(const char *what, const char *form, struct err *e)
{
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: must be %s", what, form);
}

/* ---- readers ---- */

static char **strings_of(const json_t *array)
{
	size_t n = json_array_size(array);
	char **list = mem_zalloc((n + 1) * sizeof(*list));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(array, i));
		if (s == NULL || strlen(s) != json_string_length(json_array_get(array, i))) {
			config_strings_free(list);
			return NULL;
		}
		list[i] = mem_strdup(s);
	}
	return list;
}

static int read_command(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	char **argv = json_is_array(value) && json_array_size(value) > 0 ? strings_of(value) : NULL;
	if (argv == NULL || argv[0][0] == '\0') {
		config_strings_free(argv);
		return want(what, "a list of words, such as [\"node\", \"actor.js\"] (no shell is involved)", e);
	}
	config_strings_free(r->type->argv);
	r->type->argv = argv;
	return 0;
}

static int read_text(const char *what, const json_t *value, char **ret, struct err *e)
{
	const char *s = json_string_value(value);
	if (s == NULL || *s == '\0' || strlen(s) != json_string_length(value))
		return want(what, "a text", e);
	mem_free(*ret);
	*ret = mem_strdup(s);
	return 0;
}

static int read_directory(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	struct stat st;
	MEM_AUTO char *given = NULL;
	int rc = read_text(what, value, &given, e);
	if (rc < 0)
		return rc;
	r->type->directory = config_absolute(given); /* --detach goes to the root directory */
	if (stat(r->type->directory, &st) < 0)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: directory %s: %s", what, r->type->directory,
			       strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: %s is not a directory", what, r->type->directory);
	return 0;
}

static int read_user(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	int rc = read_text(what, value, &r->type->user, e);
	if (rc < 0)
		return rc;
	const struct passwd *pw = getpwnam(r->type->user);
	if (pw == NULL)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: there is no user \"%s\" on this machine", what,
			       r->type->user);
	if (geteuid() != 0 && pw->pw_uid != geteuid())
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: only root can run workers as \"%s\"", what,
			       r->type->user);
	struct actor_type *t = r->type;
	t->set_user = geteuid() == 0;
	t->uid = pw->pw_uid;
	t->gid = pw->pw_gid;
	t->home = mem_strdup(pw->pw_dir);
	t->login = mem_strdup(pw->pw_name);
	t->shell = mem_strdup(pw->pw_shell);
	int n = 64;
	t->groups = mem_zalloc((size_t)n * sizeof(*t->groups));
	if (getgrouplist(pw->pw_name, pw->pw_gid, t->groups, &n) < 0)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: user \"%s\" is in more than 64 groups", what,
			       r->type->user);
	t->n_groups = (size_t)n;
	return 0;
}

static int read_group(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	MEM_AUTO char *name = NULL;
	int rc = read_text(what, value, &name, e);
	if (rc < 0)
		return rc;
	const struct group *gr = getgrnam(name);
	if (gr == NULL)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: there is no group \"%s\" on this machine", what, name);
	if (geteuid() != 0 && gr->gr_gid != getegid())
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: only root can run workers in group \"%s\"", what,
			       name);
	r->type->gid = gr->gr_gid;
	r->group_set = true;
	return 0;
}

/* "FILE:LINE: PATH" of a member of a setting that is an object. */
static char *what_inside(const struct reading *r, const char *setting, const char *key)
{
	MEM_AUTO char *path = mem_printf("actors.%s.%s.%s", r->name, setting, key);
	return mem_printf("%s:%u: %s", r->src->file, config_lines_get(r->src->lines, path), path);
}

static void warn_reserved(struct reading *r, const char *what, const char *name)
{
	if (actor_type_env_is_reserved(slice_str(name)))
		config_warn(r->c, mem_printf("%s: workers do not get %s from the settings: %s", what, name,
					     strncmp(name, "RIVET_TOKEN", 11) == 0 ? "no token reaches a worker"
										   : "the daemon alone sets it"));
}

static int read_environment(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	const char *name;
	json_t *item;
	if (!json_is_object(value))
		return want(what, "an object of names and texts", e);
	json_object_foreach((json_t *)(uintptr_t)value, name, item)
	{
		const char *s = json_string_value(item);
		MEM_AUTO char *inner = what_inside(r, "environment", name);
		if (!config_is_env_name(name))
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: \"%s\" is no name for a variable", what, name);
		if (s == NULL || strlen(s) != json_string_length(item))
			return want(inner, "a text", e);
		warn_reserved(r, inner, name);
		buf_addf(&r->env_own, "%s=%s", name, s);
		buf_add_byte(&r->env_own, 0);
	}
	return 0;
}

static int add_env_lines(struct reading *r, const char *what, const char *path, char *text, struct err *e)
{
	unsigned line = 0;
	for (char *at = text, *next; at != NULL && *at != '\0'; at = next) {
		size_t len = strcspn(at, "\n");
		next = at[len] == '\n' ? at + len + 1 : NULL;
		at[len] = '\0';
		line++;
		at += strspn(at, " \t\r");
		len = strlen(at);
		while (len > 0 && strchr(" \t\r", at[len - 1]) != NULL)
			at[--len] = '\0';
		if (*at == '\0' || *at == '#' || *at == ';')
			continue;
		char *equals = strchr(at, '=');
		if (equals != NULL)
			*equals = '\0';
		if (equals == NULL || !config_is_env_name(at))
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: %s:%u: not of the form NAME=value", what, path,
				       line);
		char *value = equals + 1;
		size_t n = strlen(value);
		if (n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n - 1] == value[0]) {
			value[n - 1] = '\0';
			value++;
		}
		warn_reserved(r, what, at);
		buf_addf(&r->env_file, "%s=%s", at, value);
		buf_add_byte(&r->env_file, 0);
	}
	return 0;
}

static int read_environment_file(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	MEM_AUTO char *path = NULL;
	int rc = read_text(what, value, &path, e);
	if (rc < 0)
		return rc;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: cannot read %s: %s", what, path, strerror(errno));
	MEM_AUTO char *text = mem_zalloc(ENV_FILE_MAX + 1);
	ssize_t n = read(fd, text, ENV_FILE_MAX + 1);
	close(fd);
	if (n < 0 || (size_t)n > ENV_FILE_MAX)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: cannot read %s: %s", what, path,
			       n < 0 ? strerror(errno) : "larger than 256 KiB");
	text[n] = '\0';
	return add_env_lines(r, what, path, text, e);
}

static int read_pass_environment(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	char **names = json_is_array(value) ? strings_of(value) : NULL;
	if (names == NULL)
		return want(what, "a list of names", e);
	config_strings_free(r->pass);
	r->pass = names;
	for (; *names != NULL; names++) {
		if (!config_is_env_name(*names))
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: \"%s\" is no name for a variable", what,
				       *names);
		warn_reserved(r, what, *names);
	}
	return 0;
}

static int read_isolation(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	static const char *const names[] = {"actor", "shared", NULL};
	size_t at = 0;
	if (!json_is_string(value))
		return want(what, "\"actor\" or \"shared\"", e);
	int rc = config_choice(what, json_string_value(value), names, &at, e);
	r->type->isolation = at == 0 ? ISOLATION_ACTOR : ISOLATION_SHARED;
	return rc;
}

static int read_serve(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	static const char *const names[] = {"fd", "bind", "tcp", NULL};
	static const enum serve values[] = {SERVE_FD, SERVE_BIND, SERVE_TCP};
	size_t at = 0;
	if (!json_is_string(value))
		return want(what, "\"fd\", \"bind\" or \"tcp\"", e);
	int rc = config_choice(what, json_string_value(value), names, &at, e);
	r->type->serve = values[at];
	return rc;
}

static int read_ready(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	const char *s = json_string_value(value);
	if (s != NULL && strcmp(s, "accept") == 0)
		r->type->ready = READY_ACCEPT;
	else if (s != NULL && strcmp(s, "notify") == 0)
		r->type->ready = READY_NOTIFY;
	else if (s != NULL && s[0] == '/' && strpbrk(s, " \t\r\n#") == NULL)
		r->type->ready = READY_PATH;
	else
		return want(what, "\"accept\", \"notify\", or a path such as \"/healthz\"", e);
	mem_free(r->type->ready_path);
	r->type->ready_path = r->type->ready == READY_PATH ? mem_strdup(s) : NULL;
	return 0;
}

static int read_duration(const char *what, const json_t *value, bool never, int64_t *ret, struct err *e)
{
	if (!json_is_string(value))
		return want(what, "a time in quotes with its unit, such as \"30s\"", e);
	return config_duration(what, json_string_value(value), never, ret, e);
}

static int read_start_timeout(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	int rc = read_duration(what, value, false, &r->type->start_timeout_ms, e);
	if (rc == 0 && r->type->start_timeout_ms == 0)
		return want(what, "more than 0", e);
	if (rc == 0 && r->src->engine_mode && r->type->start_timeout_ms > ENGINE_START_MAX_MS - 5000)
		return want(what, "at most 25s with an engine, which gives up at 30s", e);
	return rc;
}

static int read_stop_grace(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	return read_duration(what, value, false, &r->type->stop_grace_ms, e);
}

static int read_sleep_after(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	return read_duration(what, value, true, &r->type->sleep_after_ms, e);
}

static int read_request_timeout(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	int rc = read_duration(what, value, false, &r->type->request_timeout_ms, e);
	if (rc == 0 && r->type->request_timeout_ms == 0)
		return want(what, "more than 0", e);
	if (rc == 0 && r->src->engine_mode && r->type->request_timeout_ms > ENGINE_REQUEST_MAX_MS)
		return want(what, "at most 4min50s (290s) with an engine", e);
	return rc;
}

static int read_count(const char *what, const json_t *value, uint32_t min, uint32_t max, uint32_t *ret, struct err *e)
{
	json_int_t v = json_integer_value(value);
	if (!json_is_integer(value) || v < (json_int_t)min || v > (json_int_t)max)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: must be a whole number from %u to %u", what, min, max);
	*ret = (uint32_t)v;
	return 0;
}

static int read_workers_max(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	r->workers_max_set = true;
	return read_count(what, value, 1, 16384, &r->type->workers_max, e);
}

static int read_actors_per_worker(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	return read_count(what, value, 1, 16384, &r->type->actors_per_worker, e);
}

static int read_requests_max(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	return read_count(what, value, 0, 65536, &r->type->requests_max, e);
}

static int read_limit(struct reading *r, const char *what, const char *key, const json_t *value, struct err *e)
{
	static const struct {
		const char *key;
		int resource;
		bool size;
	} known[] = {{"open_files", RLIMIT_NOFILE, false},
		     {"processes", RLIMIT_NPROC, false},
		     {"address_space", RLIMIT_AS, true},
		     {"core", RLIMIT_CORE, true},
		     {"cpu_time", RLIMIT_CPU, false}};
	static const char *const names[] = {"open_files", "processes", "address_space", "core", "cpu_time",
					    "memory",     "cpu"};
	uint64_t v = 0;
	if (strcmp(key, "memory") == 0 || strcmp(key, "cpu") == 0)
		return config_sandbox_read(&r->type->sandbox, key, what, value, e);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].key, key) != 0)
			continue;
		MEM_AUTO char *text = json_is_integer(value) ? mem_printf("%lld", (long long)json_integer_value(value))
							     : mem_strdup(json_string_value(value));
		int64_t ms = 0;
		int rc = text == NULL ? want(what, "a number or a text", e)
			 : known[i].resource == RLIMIT_CPU && json_is_string(value)
			     ? config_duration(what, text, false, &ms, e)
			 : known[i].size ? config_size(what, text, &v, e)
					 : config_number(what, text, 0, INT32_MAX, &v, e);
		if (rc < 0)
			return rc;
		struct actor_type *t = r->type;
		t->rlimits[t->n_rlimits].resource = known[i].resource;
		t->rlimits[t->n_rlimits++].value = ms > 0 ? (uint64_t)(ms + 999) / 1000 : v;
		return 0;
	}
	const char *near = config_nearest(key, names, ARRAY_SIZE(names));
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: unknown limit%s%s%s", what,
		       near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near, near == NULL ? "" : "\"?");
}

static int read_limits(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	const char *key;
	json_t *item;
	if (!json_is_object(value))
		return want(what, "an object", e);
	json_object_foreach((json_t *)(uintptr_t)value, key, item)
	{
		MEM_AUTO char *inner = what_inside(r, "limits", key);
		int rc = read_limit(r, inner, key, item, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_sandbox(struct reading *r, const char *what, const json_t *value, struct err *e)
{
	return config_sandbox_read(&r->type->sandbox, r->key, what, value, e);
}

static const struct actor_row rows[] = {
    {"command", read_command, "required", "program and arguments; no shell; searched in PATH when it has no slash"},
    {"directory", read_directory, "the daemon's", "working directory"},
    {"user", read_user, "the daemon's", "user the workers run as (root only)"},
    {"group", read_group, "the user's", "group the workers run in (root only)"},
    {"environment", read_environment, "{}", "variables and their values"},
    {"environment_file", read_environment_file, "none", "file of NAME=value lines; `environment` wins over it"},
    {"pass_environment", read_pass_environment, "[]",
     "names of variables taken over from the daemon (RIVET_TOKEN* never)"},
    {"isolation", read_isolation, "actor", "actor: a process for each actor; shared: a pool that many actors live in"},
    {"workers_max", read_workers_max, "256 (actor), 4 (shared)", "processes of this type"},
    {"actors_per_worker", read_actors_per_worker, "100", "shared only: actors in one process"},
    {"serve", read_serve, "fd",
     "fd: the listening socket is passed as descriptor 3; bind: the program binds $RIVET_SOCKET; tcp: it "
     "listens on 127.0.0.1:$PORT"},
    {"ready", read_ready, "accept", "accept, notify (READY=1 to $NOTIFY_SOCKET), or a path that must answer 2xx"},
    {"start_timeout", read_start_timeout, "25s", "from spawn to the answer of the start call"},
    {"stop_grace", read_stop_grace, "25s", "from the stop call to SIGKILL"},
    {"sleep_after", read_sleep_after, "30s", "idle time before an actor is put to sleep; never"},
    {"request_timeout", read_request_timeout, "5min", "to the first byte of an answer, then 504"},
    {"requests_max", read_requests_max, "0",
     "requests in flight for one actor; 0: no limit; more wait in a queue of 1000"},
    {"limits", read_limits, "{}",
     "open_files, processes, address_space, core, cpu_time; with a delegated cgroup v2 also memory (a size) and cpu "
     "(processors, such as 0.5 or 2)"},
    {"umask", read_sandbox, "0022", "mode bits that files a worker makes do not get, as octal digits in quotes"},
    {"nice", read_sandbox, "the daemon's", "scheduling priority, -20 to 19; below the daemon's own takes CAP_SYS_NICE"},
    {"oom_score_adj", read_sandbox, "the daemon's",
     "-1000 to 1000: the higher, the sooner the kernel kills a worker when memory is short; lowering takes "
     "CAP_SYS_RESOURCE"},
    {"no_new_privs", read_sandbox, "true",
     "programs that a worker runs gain no rights: setuid programs such as sudo do not work"},
    {"private_tmp", read_sandbox, "false",
     "an empty /tmp and /var/tmp in memory for each worker, gone with it (root or CAP_SYS_ADMIN)"},
    {"read_only_paths", read_sandbox, "[]",
     "what a worker cannot write to, with all below it; a mount namespace (root or CAP_SYS_ADMIN), else Landlock "
     "(Linux 6.2), which lets nobody add entries to the directories above them either"},
};

/* ---- putting a type together ---- */

static struct config_note *find_note(const struct config *c, const char *key)
{
	for (size_t i = 0; i < c->n_notes; i++) {
		if (strcmp(c->notes[i].key, key) == 0)
			return &c->notes[i];
	}
	return NULL;
}

void config_note(struct config *c, char *key, char *text, char *source)
{
	struct config_note *to = find_note(c, key);
	if (to == NULL) {
		c->notes = mem_realloc(c->notes, (c->n_notes + 1) * sizeof(*c->notes));
		to = &c->notes[c->n_notes++];
		*to = (struct config_note){0};
	}
	mem_free(to->key);
	mem_free(to->text);
	mem_free(to->source);
	*to = (struct config_note){.key = key, .text = text, .source = source};
}

void config_warn(struct config *c, char *sentence)
{
	size_t n = 0;
	while (c->warnings != NULL && c->warnings[n] != NULL)
		n++;
	c->warnings = mem_realloc(c->warnings, (n + 2) * sizeof(*c->warnings));
	c->warnings[n] = sentence;
	c->warnings[n + 1] = NULL;
}

/* Values of variables may be secrets: only their names are shown. */
static char *note_text(const char *key, const json_t *value)
{
	struct buf b;
	buf_init(&b, 1024 * 1024);
	if (strcmp(key, "environment") == 0) {
		const char *name;
		json_t *item;
		json_object_foreach((json_t *)(uintptr_t)value, name, item) buf_addf(&b, "%s=*** ", name);
	} else {
		json_put(&b, value);
	}
	char *text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}

static int read_row(struct reading *r, const char *key, const json_t *value, struct err *e)
{
	MEM_AUTO char *path = mem_printf("actors.%s.%s", r->name, key);
	unsigned line = config_lines_get(r->src->lines, path);
	MEM_AUTO char *what = mem_printf("%s:%u: %s", r->src->file, line, path);
	const char *names[ARRAY_SIZE(rows)];
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		names[i] = rows[i].key;
		if (strcmp(rows[i].key, key) != 0)
			continue;
		config_note(r->c, mem_strdup(path), note_text(key, value), mem_printf("%s:%u", r->src->file, line));
		r->key = key;
		return rows[i].read(r, what, value, e);
	}
	const char *near = config_nearest(key, names, ARRAY_SIZE(names));
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: unknown actor setting%s%s%s", what,
		       near == NULL ? "" : "; did you mean \"", near == NULL ? "" : near, near == NULL ? "" : "\"?");
}

static const char *env_lookup(char *const *envp, const char *name)
{
	size_t n = strlen(name);
	for (; envp != NULL && *envp != NULL; envp++) {
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return *envp;
	}
	return NULL;
}

static void put_unique(char **list, size_t *n, const char *entry)
{
	size_t name = (size_t)(strchr(entry, '=') - entry) + 1;
	for (size_t i = 0; i < *n; i++) {
		if (strncmp(list[i], entry, name) == 0) {
			mem_free(list[i]);
			list[i] = mem_strdup(entry);
			return;
		}
	}
	if (*n < ENV_VARS_MAX)
		list[(*n)++] = mem_strdup(entry);
}

static void put_passed(struct reading *r, char *const *names, char **list, size_t *n)
{
	for (; names != NULL && *names != NULL; names++) {
		const char *entry = env_lookup(r->src->envp, *names);
		if (entry != NULL && strncmp(*names, "RIVET_TOKEN", 11) != 0)
			put_unique(list, n, entry);
	}
}

static void put_block(struct buf *block, char **list, size_t *n)
{
	struct slice s = buf_slice(block);
	for (size_t at = 0; at < s.n; at += strlen((const char *)s.p + at) + 1)
		put_unique(list, n, (const char *)s.p + at);
}

/* Taken-over variables, then the file's, then the settings' own; the later wins. */
static int finish_environment(struct reading *r, struct err *e)
{
	char **list = mem_zalloc((ENV_VARS_MAX + 1) * sizeof(*list));
	size_t n = 0;
	put_passed(r, r->pass, list, &n);
	put_passed(r, r->src->pass_env, list, &n);
	put_block(&r->env_file, list, &n);
	put_block(&r->env_own, list, &n);
	r->type->environment = mem_realloc(list, (n + 1) * sizeof(*list));
	if (n < ENV_VARS_MAX && !r->env_file.over && !r->env_own.over)
		return 0;
	MEM_AUTO char *path = mem_printf("actors.%s.environment", r->name);
	return err_set(e, E2BIG, EXIT_CODE_CONFIG, "%s:%u: %s: %d variables or more, or more than %zu KiB of them",
		       r->src->file, config_lines_get(r->src->lines, path), path, ENV_VARS_MAX, ENV_BYTES_MAX / 1024);
}

static struct actor_type *defaults(const char *name)
{
	struct actor_type *t = mem_zalloc(sizeof(*t));
	t->name = mem_strdup(name);
	t->actors_per_worker = 100;
	t->start_timeout_ms = 25000;
	t->stop_grace_ms = 25000;
	t->request_timeout_ms = 300000;
	t->sleep_after_ms = 30000;
	config_sandbox_init(&t->sandbox);
	return t;
}

/* What was not set, and what options add, for --check-config. */
static void note_rest(struct reading *r)
{
	const struct actor_type *t = r->type;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		MEM_AUTO char *key = mem_printf("actors.%s.%s", r->name, rows[i].key);
		const struct config_note *own = find_note(r->c, key);
		if (own != NULL && strcmp(rows[i].key, "actors_per_worker") == 0 && t->isolation == ISOLATION_ACTOR)
			config_warn(r->c,
				    mem_printf("%s: %s: is for \"isolation\": \"shared\" only", own->source, key));
		if (own == NULL)
			config_note(r->c, mem_strdup(key),
				    strcmp(rows[i].key, "workers_max") == 0 ? mem_printf("%u", (unsigned)t->workers_max)
									    : mem_strdup(rows[i].preset),
				    mem_strdup("default"));
	}
	for (char *const *name = r->src->pass_env; name != NULL && *name != NULL; name++) {
		MEM_AUTO char *key = mem_printf("actors.%s.pass_environment", r->name);
		const struct config_note *before = find_note(r->c, key);
		warn_reserved(r, "option --pass-env", *name);
		CHECK(before != NULL);
		config_note(r->c, mem_strdup(key), mem_printf("%s, %s", before->text, *name),
			    mem_printf("%s, option --pass-env", before->source));
	}
}

static int finish(struct reading *r, char *const *argv, struct err *e)
{
	struct actor_type *t = r->type;
	if (argv != NULL) {
		size_t n = 0;
		while (argv[n] != NULL)
			n++;
		config_strings_free(t->argv);
		t->argv = mem_zalloc((n + 1) * sizeof(*t->argv));
		for (size_t i = 0; i < n; i++)
			t->argv[i] = mem_strdup(argv[i]);
		config_note(r->c, mem_printf("actors.%s.command", r->name), mem_strdup(argv[0]),
			    mem_strdup("command line"));
	}
	MEM_AUTO char *path = mem_printf("actors.%s", r->name);
	unsigned line = config_lines_get(r->src->lines, path);
	if (t->argv == NULL)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "%s:%u: actors.%s: has no command; add \"command\": [\"program\", \"argument\"]",
			       r->src->file, line, r->name);
	if (!r->workers_max_set)
		t->workers_max = t->isolation == ISOLATION_ACTOR ? WORKERS_MAX_ACTOR : WORKERS_MAX_SHARED;
	if (r->group_set && !t->set_user && geteuid() == 0) {
		t->set_user = true;
		t->uid = geteuid();
	}
	if (r->c->detach && t->directory == NULL) /* the one the daemon was started in, not the root directory */
		t->directory = config_absolute(".");
	note_rest(r);
	struct err why = {0};
	if (config_sandbox_check(&t->sandbox, t->argv, t->directory, &why) < 0) {
		const char *colon = strchr(why.text, ':'); /* behind the setting's name */
		MEM_AUTO char *key = mem_printf("actors.%s.%.*s", r->name, (int)(colon - why.text), why.text);
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s:%u: actors.%s.%s", r->src->file,
			       config_lines_get(r->src->lines, key), r->name, why.text);
	}
	return finish_environment(r, e);
}

int config_actor(struct config *c, const struct config_actor_source *src, const char *name, const json_t *settings,
		 char *const *argv, struct actor_type **ret, struct err *e)
{
	struct reading r = {.c = c, .src = src, .type = defaults(name), .name = name};
	const char *key;
	json_t *value;
	int rc = 0;
	buf_init(&r.env_file, ENV_BYTES_MAX);
	buf_init(&r.env_own, ENV_BYTES_MAX);
	json_object_foreach((json_t *)(uintptr_t)settings, key, value)
	{
		/* the group overrides the user's whatever their order */
		if (rc == 0 && strcmp(key, "group") != 0)
			rc = read_row(&r, key, value, e);
	}
	if (rc == 0 && json_object_get(settings, "group") != NULL)
		rc = read_row(&r, "group", json_object_get(settings, "group"), e);
	if (rc == 0)
		rc = finish(&r, argv, e);
	buf_done(&r.env_file);
	buf_done(&r.env_own);
	config_strings_free(r.pass);
	if (rc < 0) {
		actor_type_free(r.type);
		return rc;
	}
	*ret = r.type;
	return 0;
}

void config_actor_markdown(struct buf *out)
{
	buf_add_str(out, "| setting | default | meaning |\n| --- | --- | --- |\n");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		buf_addf(out, "| `%s` | %s | %s |\n", rows[i].key, rows[i].preset, rows[i].prose);
}

void config_actor_list(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		buf_addf(out, "**%s**\n: %s. Default: %s\n\n", rows[i].key, rows[i].prose, rows[i].preset);
}
