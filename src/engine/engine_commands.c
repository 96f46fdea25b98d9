/* The engine's commands, told apart by (actor, generation), and their
 * acknowledgement.
 *
 * Commands come again with every reconnect until they are acknowledged, in no
 * order of time, and their index starts anew in odd places (runner protocol
 * v7, section 3.3). So a list is noted whole, actor by actor, and the tick then
 * looks at what each actor has become: a start and a stop of one incarnation
 * in one list start nothing.
 *
 * An incarnation's commands are acknowledged a little after its last event was
 * queued, never before: a start that the engine still holds is what tells a
 * successor with the same key which actors there are. */
#include "engine/engine_driver_private.h"

#include "base/log.h"

#include <stdio.h>

#define ID_MAX 63

static bool is_id(struct slice id)
{
	if (id.n == 0 || id.n > ID_MAX)
		return false;
	for (size_t i = 0; i < id.n; i++) {
		if (!(id.p[i] >= '0' && id.p[i] <= '9') && !(id.p[i] >= 'a' && id.p[i] <= 'z'))
			return false;
	}
	return true;
}

static bool has_nul(struct slice s)
{
	return slice_find(s, 0) != s.n;
}

static void note_index(struct engine_actor *a, int64_t index)
{
	if (index > a->command_index)
		a->command_index = index;
	if (a->state == EA_ENDED)
		engine_driver_ack(a->d, a->id, a->generation, a->command_index);
}

static void on_start(struct engine_driver *d, struct engine_actor *a, const struct runner_command *c)
{
	if (c->checkpoint.generation > a->generation || a->command_index < 0) {
		engine_actor_begin(a, c);
		return;
	}
	d->stats.replays++;
	if (c->checkpoint.generation == a->generation) {
		engine_actor_replayed(a);
		note_index(a, c->checkpoint.index);
	} else {
		engine_driver_ack(d, a->id, c->checkpoint.generation, c->checkpoint.index);
	}
}

/* There is nothing of that incarnation to be stopped: it is said once, by a tombstone. */
static void on_stop_of_unknown(struct engine_actor *a, const struct runner_command *c)
{
	engine_actor_begin(a, c);
	a->stop_commanded = true;
}

static void on_stop(struct engine_driver *d, struct engine_actor *a, const struct runner_command *c)
{
	if (c->checkpoint.generation > a->generation || a->command_index < 0) {
		on_stop_of_unknown(a, c);
		return;
	}
	if (c->checkpoint.generation < a->generation) {
		engine_driver_ack(d, a->id, c->checkpoint.generation, c->checkpoint.index);
		return;
	}
	note_index(a, c->checkpoint.index);
	a->stop_commanded = true;
	if (a->state != EA_ENDED)
		engine_actor_poke(a);
}

void engine_driver_commands(struct engine_driver *d, struct runner_list commands)
{
	struct runner_walk w = runner_walk_of(commands);
	struct runner_command c;
	if (d->mute)
		return;
	while (runner_command_next(&w, &c)) {
		struct engine_actor *a;
		d->stats.commands++;
		if (!is_id(c.checkpoint.actor_id) ||
		    (c.kind == RUNNER_COMMAND_START && (has_nul(c.name) || (c.has_key && has_nul(c.key))))) {
			LOG(ERROR, "a command of the engine names no actor and is ignored",
			    LOG_SLICE("actor_id", c.checkpoint.actor_id));
			continue;
		}
		a = engine_actor_need(d, c.checkpoint.actor_id);
		if (a == NULL)
			LOG(ERROR, "a command of the engine is ignored: too many actors are known",
			    LOG_SLICE("actor_id", c.checkpoint.actor_id), LOG_SLICE("actor_name", c.name),
			    LOG_SLICE("actor_key", c.key), LOG_NUM("generation", c.checkpoint.generation));
		else if (c.kind == RUNNER_COMMAND_START)
			on_start(d, a, &c);
		else
			on_stop(d, a, &c);
	}
}

/* ---- acknowledging ---- */

void engine_driver_ack(struct engine_driver *d, const char *id, uint32_t generation, int64_t index)
{
	if (d->mute || index < 0)
		return;
	if (d->n_acks == LIMIT_ENGINE_ACKS) {
		mem_free(CONTAINER_OF(list_pop(&d->acks), struct engine_ack, node)); /* the engine names it again */
		d->n_acks--;
	}
	struct engine_ack *k = mem_zalloc(sizeof(*k));
	list_init(&k->node);
	(void)snprintf(k->id, sizeof(k->id), "%s", id);
	k->generation = generation;
	k->index = index;
	k->due_mono_ms = loop_mono_ms(d->g->o.loop) + LIMIT_ENGINE_ACK_MS;
	list_push_back(&d->acks, &k->node);
	d->n_acks++;
	if (!timer_armed(&d->again) || d->again.due_mono_ms > k->due_mono_ms)
		timer_arm(&d->again, LIMIT_ENGINE_ACK_MS);
}
