/* Owns a worker's environment while it is put together.
 *
 * Four layers, later ones win: a few variables of the daemon, the user's own,
 * the type's settings, the contract's. Names of the contract are taken from
 * nobody else, and no token of the daemon passes whatever the settings say. */
#include "worker/worker_private.h"

#include <stdio.h>

static const char *const inherited[] = {"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR", NULL};

static bool is_one_of(struct slice name, const char *const *list)
{
	for (size_t i = 0; list[i] != NULL; i++)
		if (slice_is(name, list[i]))
			return true;
	return false;
}

static struct slice name_of(const char *var)
{
	struct slice s = slice_str(var);
	return slice_head(s, slice_find(s, '='));
}

/* Takes over "NAME=value". */
static void put(struct worker_env *env, char *var)
{
	struct slice name = name_of(var);
	for (size_t i = 0; i < env->n; i++) {
		if (!slice_eq(name_of(env->vars[i]), name))
			continue;
		mem_free(env->vars[i]);
		env->vars[i] = var;
		return;
	}
	if (env->n + 2 > env->room) {
		env->room = env->room == 0 ? 32 : env->room * 2;
		env->vars = mem_realloc(env->vars, env->room * sizeof(*env->vars));
	}
	env->vars[env->n++] = var;
	env->vars[env->n] = NULL;
}

static void put_value(struct worker_env *env, const char *name, const char *value)
{
	if (value != NULL)
		put(env, mem_printf("%s=%s", name, value));
}

static void put_inherited(struct worker_env *env, char *const *daemon_env)
{
	for (size_t i = 0; daemon_env[i] != NULL; i++) {
		struct slice name = name_of(daemon_env[i]);
		if (name.n < strlen(daemon_env[i]) && (is_one_of(name, inherited) || slice_starts(name, "LC_")))
			put(env, mem_strdup(daemon_env[i]));
	}
}

static void put_settings(struct worker_env *env, char *const *settings)
{
	for (size_t i = 0; settings != NULL && settings[i] != NULL; i++) {
		struct slice name = name_of(settings[i]);
		if (name.n == 0 || name.n == strlen(settings[i]))
			continue;
		if (!actor_type_env_is_reserved(name))
			put(env, mem_strdup(settings[i]));
	}
}

static void put_sockets(struct worker_env *env, const struct actor_type *type, const struct worker_socket *s)
{
	if (type->serve == SERVE_FD) {
		put_value(env, "LISTEN_FDS", "1");
		put_value(env, "LISTEN_PID", "           "); /* eleven: filled in by the child */
		put_value(env, "LISTEN_FDNAMES", "http");
	}
	if (type->serve == SERVE_BIND)
		put_value(env, "PORT", s->http);
	if (type->serve == SERVE_TCP)
		put(env, mem_printf("PORT=%u", (unsigned)s->port));
	else
		put_value(env, "RIVET_SOCKET", s->http);
	put_value(env, "RIVET_RUNTIME_SOCKET", s->runtime);
	if (s->notify[0] != '\0')
		put_value(env, "NOTIFY_SOCKET", s->notify);
}

void worker_env_make(struct worker_env *env, char *const *daemon_env, const struct actor_type *type,
		     const struct worker_socket *s, const char *namespace_name, const struct place_actor *actor)
{
	*env = (struct worker_env){0};
	put_inherited(env, daemon_env);
	if (type->set_user) {
		put_value(env, "HOME", type->home);
		put_value(env, "USER", type->login);
		put_value(env, "LOGNAME", type->login);
		put_value(env, "SHELL", type->shell);
	}
	if (type->sandbox.private_tmp) /* the daemon's may be hidden by it */
		put_value(env, "TMPDIR", "/tmp");
	put_settings(env, type->environment);
	put_sockets(env, type, s);
	put_value(env, "RIVET_WORKER_ID", s->id);
	put_value(env, "RIVET_NAMESPACE", namespace_name);
	put_value(env, "RIVET_ACTOR_NAME", type->name);
	if (actor == NULL)
		return;
	put_value(env, "RIVET_ACTOR_ID", actor->actor_id);
	put_value(env, "RIVET_ACTOR_KEY", actor->key);
	put(env, mem_printf("RIVET_ACTOR_GENERATION=%lld", (long long)actor->generation));
}

void worker_env_done(struct worker_env *env)
{
	for (size_t i = 0; i < env->n; i++)
		mem_free(env->vars[i]);
	mem_free(env->vars);
	*env = (struct worker_env){0};
}

const char *worker_env_get(const struct worker_env *env, const char *name)
{
	for (size_t i = 0; i < env->n; i++)
		if (slice_is(name_of(env->vars[i]), name))
			return env->vars[i] + strlen(name) + 1;
	return NULL;
}
