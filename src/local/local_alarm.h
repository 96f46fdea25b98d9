/* The alarm clock: one timer for the earliest due row of the store. */
#pragma once

#include "local/local.h"

struct local_alarm;

struct local_alarm *local_alarm_new(struct local *l);
void local_alarm_start(struct local_alarm *a);
/* An alarm was set to due: looks again if that is earlier than what it waits for. */
void local_alarm_poke(struct local_alarm *a, int64_t due_wall_ms);
/* A place for another ringing actor has become free. */
void local_alarm_go_on(struct local_alarm *a);
void local_alarm_stop(struct local_alarm *a);
/* True when no look-up is under way: it may be freed. */
bool local_alarm_quiet(const struct local_alarm *a);
void local_alarm_free(struct local_alarm *a);
