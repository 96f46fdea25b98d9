/* What is counted of actors, by their types. */
#pragma once

#include "actor/actor_table.h"
#include "base/metric.h"

struct actor;

/* It was told to start; it takes requests; it has reported its end; it sleeps to make room. */
void actor_count_start(struct actor *a);
void actor_count_running(const struct actor *a);
void actor_count_stopped(const struct actor *a);
void actor_count_evicted(const struct actor *a);

/* All of it, and who is awake in `t` now (NULL: nobody). */
void actor_count_metrics(const struct actor_table *t, struct metric_out *out);
