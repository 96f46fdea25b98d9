/* The clean environment of a worker. */
#pragma once

#include "worker/worker_private.h"

/* NULL-terminated "NAME=value" list; owned, freed by worker_env_free. `first` is the actor of an isolated worker. */
char **worker_env_make(const struct worker *w, const struct place *first);
void worker_env_free(char **env);
/* Value of a name in such a list, or NULL. */
const char *worker_env_get(char *const *env, const char *name);
