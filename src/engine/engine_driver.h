/* The engine's commands become actors, and their reports become events. Owns
 * what is known of each actor the engine named: which incarnation, whether it
 * lives, its input, its back-off and its alarm; implements struct driver.
 *
 * Commands are told apart by (actor, generation), never by their index alone
 * (runner protocol v7, section 3.3). */
#pragma once

#include "actor/actor_table.h"
#include "base/log.h"
#include "codec/runner_msg.h"

struct engine;
struct engine_driver;

/* The actor table is opened with it. 0 or -errno with a sentence. */
int engine_driver_open(struct engine *g, struct engine_driver **ret, struct err *e);
/* Kills what is left. closed() comes later. */
void engine_driver_close(struct engine_driver *d, void (*closed)(void *arg), void *arg);
struct actor_table *engine_driver_table(struct engine_driver *d); /* NULL once closing */
bool engine_driver_tick(struct engine_driver *d);

/* From the link's events; each only notes, the tick acts. */
void engine_driver_commands(struct engine_driver *d, struct runner_list commands);
void engine_driver_acked(struct engine_driver *d, struct runner_list checkpoints);
void engine_driver_online(struct engine_driver *d, bool same_runner);
void engine_driver_offline(struct engine_driver *d);
void engine_driver_room(struct engine_driver *d);
/* Everybody is stopped ("lost") inside this time: after it the engine may start them elsewhere. */
void engine_driver_lost_soon(struct engine_driver *d, int64_t left_ms);
/* That time has come: what still lives is killed. */
void engine_driver_lost(struct engine_driver *d);
/* Another runner has them: everybody is stopped ("evicted") at once, nothing is reported any more. */
void engine_driver_evicted(struct engine_driver *d);

/* No start is taken any more; every actor is stopped ("drain") when the engine says so, or when it has not for
 * LIMIT_ENGINE_STOP_MS, and has until_mono_ms to end. */
void engine_driver_drain(struct engine_driver *d, int64_t until_mono_ms);
/* Not an actor, not an event to be sent, not a command to be acknowledged: those follow the last events by
 * LIMIT_ENGINE_ACK_MS. (The engine never acknowledges events of an actor it has destroyed.) */
/* NULL, or a sentence about an actor that has failed five starts in a row. */
const char *engine_driver_failing(const struct engine_driver *d);
bool engine_driver_idle(const struct engine_driver *d);

/* Types have changed: awake actors of replaced and removed ones are asked to sleep, starts_max at a time. */
void engine_driver_reload(struct engine_driver *d);

/* Whether traffic for this actor is no surprise: it runs, or it ended a moment ago. */
bool engine_driver_knows(const struct engine_driver *d, const char *actor_id);
/* Whether it runs here for all that the engine has said. */
bool engine_driver_runs(const struct engine_driver *d, const char *actor_id);

/* Whether its incarnation was begun before that time and none has run in this process. By the clocks of two machines: a
 * guess. */
bool engine_driver_taken_over(const struct engine_driver *d, struct slice actor_id, int64_t since_wall_ms);

/* What a record about it carries, as far as it is known here; valid until the next turn. d NULL: nothing is known. */
struct log_actor engine_driver_who(const struct engine_driver *d, const char *actor_id);

/* The type with this name, or NULL; and a sentence for one that is not there (the caller frees). */
const struct actor_type *engine_driver_type(const struct engine_driver *d, struct slice name);
char *engine_driver_not_registered(const struct engine_driver *d, struct slice name);

struct engine_driver_stats {
	uint64_t commands, replays, events, starts, stops;
	size_t known, unacked;
};
void engine_driver_stats(const struct engine_driver *d, struct engine_driver_stats *ret);
