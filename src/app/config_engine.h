/* What engine mode asks of the configuration. */
#pragma once

#include "app/config.h"

/* With engine.endpoint set: parses it, takes namespace and token from it, checks what the engine would refuse. Without
 * it nothing. 0, or -EINVAL with a sentence and exit code 78. */
int config_engine(struct config *c, struct err *e);
void config_engine_free(struct config *c);
