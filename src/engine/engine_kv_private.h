/* What engine_kv.c and engine_kv_call.c know of each other. */
#pragma once

#include "engine/engine_private.h"

struct engine *engine_kv_engine(const struct engine_kv *kv);
