/* Chooses the mode: the one place where the configuration is asked. */
#include "app/mode.h"

struct mode *mode_new(const struct mode_options *o)
{
	return o->config->engine_mode ? mode_engine_new(o) : mode_local_new(o);
}
