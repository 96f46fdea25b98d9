/* Chooses the mode: the one place where the configuration is asked. */
#include "app/mode.h"

struct mode *mode_new(const struct mode_options *o)
{
	return o->config->engine_mode ? mode_engine_new(o) : mode_local_new(o);
}

void mode_gone(struct mode *m)
{
	void (*closed)(void *) = m->closed;
	void *arg = m->closed_arg;
	m->magic = 0;
	mem_free(m);
	closed(arg);
}
