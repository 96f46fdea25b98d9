/* Owns nothing. */
#include "app/config_limits.h"

#include "supervise/cgroup.h"

static int need(const struct config *c, const char *name, const char *limit, unsigned controller, struct err *e)
{
	struct err why = {0};
	int r = cgroup_need(controller, &why);
	if (r == 0)
		return 0;
	MEM_AUTO char *key = mem_printf("actors.%s.limits", name);
	const char *source = "configuration";
	for (size_t i = 0; i < c->n_notes; i++)
		if (strcmp(c->notes[i].key, key) == 0)
			source = c->notes[i].source;
	return err_set(e, -r, EXIT_CODE_CONFIG, "%s: %s.%s: %s", source, key, limit, why.text);
}

int config_limits_need(const struct config *c, struct actor_type *const *types, struct err *e)
{
	int r = 0;
	for (; r == 0 && *types != NULL; types++) {
		const struct sandbox *s = &(*types)->sandbox;
		if (s->memory_max > 0)
			r = need(c, (*types)->name, "memory", CGROUP_MEMORY, e);
		if (r == 0 && s->cpu_milli > 0)
			r = need(c, (*types)->name, "cpu", CGROUP_CPU, e);
	}
	return r;
}
