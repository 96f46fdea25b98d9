/* Chooses the mode: the one place where the configuration is asked. */
#include "app/mode.h"

struct mode *mode_new(const struct mode_options *o)
{
	return mode_local_new(o);
}
