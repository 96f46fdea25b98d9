/* Limits that need control groups. */
#pragma once

#include "app/config.h"

/* Makes ready what limits.memory and limits.cpu of the types take (moves the daemon in its control group). 0, or -errno
 * with "FILE:LINE: actors.NAME.limits.memory: ..." and exit code 78. Not for --check-config, which is run elsewhere. */
int config_limits_need(const struct config *c, struct actor_type *const *types, struct err *e);
