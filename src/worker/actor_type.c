/* Owns nothing but knows what an actor type is made of. */
#include "worker/actor_type.h"

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
	mem_free(t);
}
