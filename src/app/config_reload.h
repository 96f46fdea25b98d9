/* Two configurations, the one in force and one that was read anew. Pure. */
#pragma once

#include "app/config.h"

/* 0, or -EINVAL with a sentence when no part of `next` can be applied while the daemon runs: local mode cannot become
 * engine mode. */
int config_reload_check(const struct config *c, const struct config *next, struct err *e);

/* Puts the values of `next` that can change while the daemon runs in force in c, and what was in force into next, where
 * it stays valid until config_free(next). Actor types are not touched. */
void config_reload_swap(struct config *c, struct config *next);

/* After config_reload_swap: tells the key of each setting that differs and is not applied before a restart. */
void config_reload_each_kept(const struct config *c, const struct config *next, void (*fn)(void *arg, const char *key),
			     void *arg);
