/* What the files of engine mode in app/ know of each other. */
#pragma once

#include "app/mode.h"
#include "engine/engine.h"

/* ---- mode_engine.c ---- */

/* NULL before it is opened. */
struct engine *mode_engine_of(struct mode *m);
struct loop *mode_engine_loop(struct mode *m);

/* ---- mode_engine_control.c, as in struct mode_ops ---- */

void mode_engine_list(struct mode *m, const struct mode_list *q);
void mode_engine_command(struct mode *m, enum mode_verb verb, const char *id, mode_answer *done, void *arg);
void mode_engine_kv(struct mode *m, const char *id, const struct mode_kv *q);
