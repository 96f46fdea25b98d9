/* Owns what is known of the last reload: which settings wait for a restart, and
 * whether types are being rolled over.
 *
 * First everything that can fail: reading, judging, what the mode says, room
 * for replaced types, the log file. Then everything is put in force, and that
 * cannot fail. */
#include "app/reload.h"

#include "app/config_limits.h"
#include "app/config_reload.h"
#include "codec/json_field.h"

#include <errno.h>
#include <unistd.h>

#define NAMES_MAX ((size_t)1024 * 1024)

/* Lists of names, as JSON arrays without their brackets. */
struct names {
	struct buf added, changed, removed, restart;
};

struct reload {
	struct reload_options o;
	struct buf restart; /* keys that wait for a restart, as in struct names */
	bool rolling;       /* until nothing refers to a replaced type */
};

struct reload *reload_new(const struct reload_options *o)
{
	struct reload *r = mem_zalloc(sizeof(*r));
	r->o = *o;
	buf_init(&r->restart, NAMES_MAX);
	return r;
}

void reload_free(struct reload *r)
{
	if (r == NULL)
		return;
	buf_done(&r->restart);
	mem_free(r);
}

/* ---- reading and judging ---- */

/* Relative paths start where the daemon was started, which a detached one has left. */
static int read_anew(const struct reload *r, struct config *next, struct err *e)
{
	const struct config *c = r->o.config;
	if (c->detach && chdir(c->directory) < 0)
		return err_set(e, errno, EXIT_CODE_CONFIG, "cannot enter %s, where the daemon was started: %s",
			       c->directory, strerror(errno));
	int rc = config_load(next, r->o.argc, r->o.argv, environ, e);
	if (c->detach && chdir("/") < 0)
		LOG(WARN, "the working directory could not be left", LOG_STR("directory", c->directory),
		    LOG_STR("reason", strerror(errno)));
	return rc;
}

static int judge(const struct reload *r, const struct config *next, struct log_target *ret_log, struct err *e)
{
	int rc = config_reload_check(r->o.config, next, e);
	if (rc == 0)
		rc = r->o.mode->ops->check(r->o.mode, next, e);
	if (rc == 0 && !actor_types_has_room(r->o.types, next->types))
		rc = err_set(e, EBUSY, EXIT_CODE_CONFIG,
			     "actors of %d replaced types are still awake from earlier reloads; wait until "
			     "rivet-runnerctl status shows fewer, or restart the daemon",
			     LIMIT_ACTOR_TYPES_OLD);
	if (rc == 0)
		rc = config_limits_need(next, next->types, e);
	if (rc == 0)
		rc = log_target_open(next, ret_log, e);
	return rc;
}

/* The log file is opened anew on every HUP, whatever becomes of the rest: it may have been moved away. */
static void refuse(struct reload *r, const struct err *why)
{
	struct log_target again;
	struct err e = {0};
	int rc = log_target_open(r->o.config, &again, &e);
	if (rc == 0)
		log_target_use(r->o.log, &again, r->o.config->log_level);
	LOG(ERROR, "the new configuration is refused; the old one stays in force", LOG_STR("reason", why->text));
	if (rc < 0)
		LOG(ERROR, "the log file could not be reopened; writing to the old one", LOG_STR("reason", e.text));
}

/* ---- applying ---- */

static void add_name(struct buf *list, const char *name)
{
	if (buf_len(list) > 0)
		buf_add_byte(list, ',');
	json_put_str(list, slice_str(name));
}

static void on_type(void *arg, const char *kind, const char *name)
{
	struct names *n = arg;
	add_name(*kind == 'a' ? &n->added : *kind == 'c' ? &n->changed : &n->removed, name);
}

static void on_kept(void *arg, const char *key)
{
	struct names *n = arg;
	add_name(&n->restart, key);
	LOG(WARN, "a changed setting takes a restart of the daemon; the old value stays in force", LOG_STR("key", key));
}

static size_t left(const struct reload *r)
{
	return r->o.mode->ops->rolling(r->o.mode);
}

static size_t halted(const struct reload *r)
{
	const struct actor_table *actors = r->o.mode->ops->actors(r->o.mode);
	return actors == NULL ? 0 : actor_table_count_halted(actors);
}

static void apply(struct reload *r, struct config *next, const struct log_target *log, struct names *n,
		  struct actor_types_change *ret)
{
	struct config *c = r->o.config;
	config_reload_swap(c, next);
	log_target_use(r->o.log, log, c->log_level);
	config_reload_each_kept(c, next, on_kept, n);
	actor_types_replace(r->o.types, TAKE(next->types), on_type, n, ret);
	r->o.mode->ops->reload(r->o.mode);
	for (char *const *warning = c->warnings; warning != NULL && *warning != NULL; warning++)
		LOG(WARN, "a setting has no effect", LOG_STR("why", *warning));
	buf_reset(&r->restart);
	buf_add(&r->restart, buf_slice(&n->restart));
	LOG(INFO, "the new configuration is in force", LOG_STR("file", c->file == NULL ? "none" : c->file),
	    LOG_NUM("added", ret->added), LOG_NUM("changed", ret->changed), LOG_NUM("removed", ret->removed),
	    LOG_NUM("unchanged", ret->unchanged), LOG_NUM("actors_to_roll_over", left(r)));
	r->rolling = r->rolling || ret->changed + ret->removed > 0;
}

static void put_list(struct buf *out, const char *key, const struct buf *list)
{
	buf_addf(out, "\"%s\":[", key);
	buf_add(out, buf_slice(list));
	buf_add_str(out, "],");
}

int reload_run(struct reload *r, struct buf *out, struct err *e)
{
	struct config next = {0};
	struct log_target log = {.fd = -1};
	struct actor_types_change change;
	struct names n;
	int rc = read_anew(r, &next, e);
	if (rc == 0)
		rc = judge(r, &next, &log, e);
	if (rc < 0) {
		refuse(r, e);
		config_free(&next);
		return rc;
	}
	buf_init(&n.added, NAMES_MAX);
	buf_init(&n.changed, NAMES_MAX);
	buf_init(&n.removed, NAMES_MAX);
	buf_init(&n.restart, NAMES_MAX);
	apply(r, &next, &log, &n, &change);
	buf_add_byte(out, '{');
	put_list(out, "added", &n.added);
	put_list(out, "changed", &n.changed);
	put_list(out, "removed", &n.removed);
	put_list(out, "restart_needed", &n.restart);
	buf_addf(out, "\"unchanged\":%zu,\"rolling_over\":%zu}", change.unchanged, left(r));
	buf_done(&n.added);
	buf_done(&n.changed);
	buf_done(&n.removed);
	buf_done(&n.restart);
	config_free(&next);
	return 0;
}

/* ---- afterwards ---- */

static bool on_let_go(void *arg, const struct actor_type *type)
{
	return actor_table_forget_type(arg, type);
}

void reload_tick(struct reload *r)
{
	struct actor_table *actors = r->o.mode->ops->actors(r->o.mode);
	if (actors == NULL || !r->rolling)
		return;
	if (actor_types_sweep(r->o.types, on_let_go, actors) > 0 || left(r) > 0)
		return;
	r->rolling = false;
	LOG(INFO, "all actors are on the new configuration", LOG_STR("mode", r->o.mode->ops->name));
}

void reload_progress(struct reload *r)
{
	if (r->rolling && left(r) > 0)
		LOG(INFO, "rolling over to the new configuration", LOG_NUM("actors_left", left(r)));
}

void reload_status(const struct reload *r, struct buf *out)
{
	buf_addf(out, ",\"rolling_over\":%zu,\"rollover_halted\":%zu,\"restart_needed\":[", left(r), halted(r));
	buf_add(out, buf_slice(&r->restart));
	buf_add_byte(out, ']');
}
