/* A worker's state calls, answered by the store. */
#pragma once

#include "local/local_driver_private.h"

/* Answers the call exactly once, later. */
void local_state_call(struct local_driver *d, struct local_actor *a, struct runtime_call *call);
