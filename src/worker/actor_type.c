/* Owns nothing but knows what an actor type is made of. */
#include "worker/actor_type.h"

#define ACTOR_TYPE_SIZE 352

static const char *const of_contract[] = {"LISTEN_FDS",      "LISTEN_PID",      "LISTEN_FDNAMES",
					  "RIVET_SOCKET",    "NOTIFY_SOCKET",   "RIVET_RUNTIME_SOCKET",
					  "RIVET_WORKER_ID", "RIVET_NAMESPACE", "RIVET_ACTOR_NAME",
					  "RIVET_ACTOR_ID",  "RIVET_ACTOR_KEY", "RIVET_ACTOR_GENERATION"};

bool actor_type_env_is_reserved(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(of_contract); i++)
		if (slice_is(name, of_contract[i]))
			return true;
	return slice_starts(name, "RIVET_TOKEN");
}

static void free_all(char **list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		mem_free(list[i]);
	mem_free(list);
}

void actor_type_free(struct actor_type *t)
{
	if (t == NULL)
		return;
	mem_free(t->name);
	free_all(t->argv);
	mem_free(t->directory);
	mem_free(t->user);
	mem_free(t->groups);
	mem_free(t->home);
	mem_free(t->login);
	mem_free(t->shell);
	free_all(t->environment);
	mem_free(t->ready_path);
	free_all(t->sandbox.read_only);
	mem_free(t);
}

/* ---- comparing ---- */

static bool same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_texts(char *const *a, char *const *b)
{
	size_t i = 0;
	if (a == NULL || b == NULL)
		return a == b;
	while (a[i] != NULL && same_text(a[i], b[i]))
		i++;
	return a[i] == NULL && b[i] == NULL;
}

static bool same_user(const struct actor_type *a, const struct actor_type *b)
{
	return same_text(a->user, b->user) && a->set_user == b->set_user && a->uid == b->uid && a->gid == b->gid &&
	       a->n_groups == b->n_groups &&
	       (a->n_groups == 0 || memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)) == 0) &&
	       same_text(a->home, b->home) && same_text(a->login, b->login) && same_text(a->shell, b->shell);
}

static bool same_limits(const struct actor_type *a, const struct actor_type *b)
{
	if (a->n_rlimits != b->n_rlimits)
		return false;
	for (size_t i = 0; i < a->n_rlimits; i++) {
		if (a->rlimits[i].resource != b->rlimits[i].resource || a->rlimits[i].value != b->rlimits[i].value)
			return false;
	}
	return true;
}

static bool same_sandbox(const struct sandbox *a, const struct sandbox *b)
{
	return a->umask == b->umask && a->set_nice == b->set_nice && a->nice == b->nice &&
	       a->set_oom_score_adj == b->set_oom_score_adj && a->oom_score_adj == b->oom_score_adj &&
	       a->no_new_privs == b->no_new_privs && a->private_tmp == b->private_tmp &&
	       a->memory_max == b->memory_max && a->cpu_milli == b->cpu_milli && same_texts(a->read_only, b->read_only);
}

/* A member that is forgotten here is a setting that a reload ignores. */
#if __SIZEOF_POINTER__ == 8
_Static_assert(sizeof(struct actor_type) == ACTOR_TYPE_SIZE, "compare the new member in actor_type_equal");
#endif

bool actor_type_equal(const struct actor_type *a, const struct actor_type *b)
{
	return same_text(a->name, b->name) && same_texts(a->argv, b->argv) && same_text(a->directory, b->directory) &&
	       same_user(a, b) && same_texts(a->environment, b->environment) && a->isolation == b->isolation &&
	       a->workers_max == b->workers_max && a->actors_per_worker == b->actors_per_worker &&
	       a->serve == b->serve && a->ready == b->ready && same_text(a->ready_path, b->ready_path) &&
	       a->start_timeout_ms == b->start_timeout_ms && a->stop_grace_ms == b->stop_grace_ms &&
	       a->request_timeout_ms == b->request_timeout_ms && a->sleep_after_ms == b->sleep_after_ms &&
	       a->requests_max == b->requests_max && same_limits(a, b) && same_sandbox(&a->sandbox, &b->sandbox);
}
