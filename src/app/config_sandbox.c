/* Owns nothing: what it makes belongs to struct sandbox. */
#include "app/config_sandbox.h"

#include "app/config_value.h"
#include "supervise/cgroup.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_MIN (1024 * 1024)
#define CPU_MIN 0.01 /* the kernel's least: a millisecond in each 100 */
#define CPU_MAX 4096

static int want(const char *what, const char *form, struct err *e)
{
	return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: must be %s", what, form);
}

void config_sandbox_init(struct sandbox *s)
{
	*s = (struct sandbox){.umask = SANDBOX_UMASK, .no_new_privs = true};
}

static int read_umask(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value);
	size_t n = text == NULL ? 0 : strlen(text);
	if (n == 0 || n > 4 || n != json_string_length(value) || strspn(text, "01234567") != n ||
	    strtoul(text, NULL, 8) > 0777)
		return want(what, "octal digits in quotes, such as \"0027\"", e);
	s->umask = (uint32_t)strtoul(text, NULL, 8);
	return 0;
}

static int read_number(const char *what, const json_t *value, int min, int max, int *ret, struct err *e)
{
	json_int_t v = json_integer_value(value);
	if (!json_is_integer(value) || v < min || v > max)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: must be a whole number from %d to %d", what, min, max);
	*ret = (int)v;
	return 0;
}

static int read_nice(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	int r = read_number(what, value, -20, 19, &s->nice, e), why;
	if (r < 0)
		return r;
	s->set_nice = true;
	why = sandbox_try_nice(s->nice);
	if (why == 0)
		return 0;
	return err_set(e, EINVAL, EXIT_CODE_CONFIG,
		       "%s: this daemon may not give workers nice %d (%s); below its own value takes CAP_SYS_NICE or a "
		       "higher RLIMIT_NICE (LimitNICE= of the service)",
		       what, s->nice, strerror(why));
}

static int read_oom_score_adj(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	int r = read_number(what, value, -1000, 1000, &s->oom_score_adj, e), why;
	if (r < 0)
		return r;
	s->set_oom_score_adj = true;
	why = sandbox_try_oom_score_adj(s->oom_score_adj);
	if (why == 0)
		return 0;
	return err_set(e, EINVAL, EXIT_CODE_CONFIG,
		       "%s: this daemon may not give workers oom_score_adj %d (%s); below its own lowest value takes "
		       "CAP_SYS_RESOURCE",
		       what, s->oom_score_adj, strerror(why));
}

static int read_bool(const char *what, const json_t *value, bool *ret, struct err *e)
{
	if (!json_is_boolean(value))
		return want(what, "true or false", e);
	*ret = json_is_true(value);
	return 0;
}

static int read_no_new_privs(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	return read_bool(what, value, &s->no_new_privs, e);
}

static int read_private_tmp(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	return read_bool(what, value, &s->private_tmp, e);
}

static int read_read_only_paths(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	size_t n = json_array_size(value);
	char real[PATH_MAX];
	if (!json_is_array(value))
		return want(what, "a list of paths, such as [\"/etc\", \"/srv/app\"]", e);
	config_strings_free(s->read_only);
	s->read_only = n == 0 ? NULL : mem_zalloc((n + 1) * sizeof(*s->read_only));
	for (size_t i = 0; i < n; i++) {
		const json_t *item = json_array_get(value, i);
		const char *path = json_string_value(item);
		if (path == NULL || path[0] != '/' || strlen(path) != json_string_length(item))
			return want(what, "a list of absolute paths", e);
		if (realpath(path, real) == NULL)
			return err_set(e, EINVAL, EXIT_CODE_CONFIG, "%s: %s: %s", what, path, strerror(errno));
		s->read_only[i] = mem_strdup(real);
	}
	return 0;
}

static int check_possible(const char *what, unsigned controller, struct err *e)
{
	struct err why = {0};
	int r = cgroup_possible(controller, &why);
	return r == 0 ? 0 : err_set(e, -r, EXIT_CODE_CONFIG, "%s: %s", what, why.text);
}

static int read_memory(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	MEM_AUTO char *text = json_is_integer(value) ? mem_printf("%lld", (long long)json_integer_value(value))
						     : mem_strdup(json_string_value(value));
	if (text == NULL)
		return want(what, "a size, such as \"256M\"", e);
	int r = config_size(what, text, &s->memory_max, e);
	if (r == 0 && s->memory_max < MEMORY_MIN)
		return want(what, "at least 1M", e);
	return r < 0 ? r : check_possible(what, CGROUP_MEMORY, e);
}

static int read_cpu(struct sandbox *s, const char *what, const json_t *value, struct err *e)
{
	double cpus = json_number_value(value);
	if (!json_is_number(value) || cpus < CPU_MIN || cpus > CPU_MAX)
		return want(what, "processors, as a number from 0.01 to 4096", e);
	s->cpu_milli = (uint32_t)(cpus * 1000 + 0.5);
	return check_possible(what, CGROUP_CPU, e);
}

int config_sandbox_read(struct sandbox *s, const char *key, const char *what, const json_t *value, struct err *e)
{
	static const struct {
		const char *key;
		int (*read)(struct sandbox *s, const char *what, const json_t *value, struct err *e);
	} rows[] = {{"memory", read_memory},
		    {"cpu", read_cpu},
		    {"umask", read_umask},
		    {"nice", read_nice},
		    {"oom_score_adj", read_oom_score_adj},
		    {"no_new_privs", read_no_new_privs},
		    {"private_tmp", read_private_tmp},
		    {"read_only_paths", read_read_only_paths}};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strcmp(rows[i].key, key) == 0)
			return rows[i].read(s, what, value, e);
	IMPOSSIBLE("a setting of the sandbox without a reader");
}

/* Below /tmp or /var/tmp, which the worker gets empty. */
static bool is_hidden(const char *path)
{
	char real[PATH_MAX];
	if (path == NULL || path[0] != '/' || realpath(path, real) == NULL)
		return false;
	return strncmp(real, "/tmp/", 5) == 0 || strncmp(real, "/var/tmp/", 9) == 0;
}

int config_sandbox_check(const struct sandbox *s, char *const *argv, const char *directory, struct err *e)
{
	if (s->private_tmp && is_hidden(argv[0]))
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "private_tmp: the worker's own /tmp is empty and hides its program %s; put it elsewhere",
			       argv[0]);
	if (s->private_tmp && is_hidden(directory))
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "private_tmp: the worker's own /tmp is empty and hides its directory %s; choose another",
			       directory);
	return sandbox_check_paths(s, e);
}
