/* Owns when an actor sleeps: its idle time, its keep-awake leases, and the
 * order in which idle actors of one type make room for others.
 *
 * An idle actor is in its kind's list since it became so; the sleep timer is
 * armed when it becomes idle and, so that each request does not move it, left
 * alone while it is busy: when it fires it looks how long the actor has been
 * idle. All ends in one intent to sleep, which the driver grants.
 *
 * Failure paths: too many leases, an unknown lease. */
#include "actor/actor.h"

#include "actor/actor_count.h"

#include "base/limits.h"

#include <stdio.h>
#include <sys/random.h>

struct lease {
	struct list node;
	char id[33];
	int64_t due_mono_ms;
};

static int64_t now_of(const struct actor *a)
{
	return loop_mono_ms(actor_table_loop(a->table));
}

static bool is_idle(const struct actor *a)
{
	return a->state == LIFE_RUNNING && a->in_flight == a->sleepers && a->n_waiting == 0 && !a->alarm_calling &&
	       a->n_leases == 0;
}

static void on_sleep(void *arg)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	if (!list_linked(&a->idle))
		return; /* armed again when it becomes idle */
	int64_t left_ms = a->idle_since_mono_ms + a->type->sleep_after_ms - now_of(a);
	if (left_ms > 0)
		timer_arm(&a->sleep, left_ms);
	else
		actor_intend(a, ACTOR_INTENT_SLEEP);
}

void actor_awake_press(struct actor_kind *kind)
{
	if (kind->victim != NULL || kind->n_wanted == 0 || list_empty(&kind->idle))
		return;
	kind->n_wanted--;
	kind->victim = CONTAINER_OF(kind->idle.next, struct actor, idle);
	actor_count_evicted(kind->victim);
	actor_intend(kind->victim, ACTOR_INTENT_SLEEP);
}

void actor_awake_look(struct actor *a)
{
	bool idle = is_idle(a);
	if (idle == list_linked(&a->idle))
		return;
	if (!idle) {
		list_remove(&a->idle);
		return;
	}
	list_push_back(&a->kind->idle, &a->idle);
	a->idle_since_mono_ms = now_of(a);
	if (a->type->sleep_after_ms >= 0 && !timer_armed(&a->sleep))
		timer_arm(&a->sleep, a->type->sleep_after_ms);
	actor_awake_press(a->kind);
}

/* ---- leases ---- */

static void end_lease(struct actor *a, struct lease *l)
{
	list_remove(&l->node);
	a->n_leases--;
	mem_free(l);
}

static void arm_lapse(struct actor *a)
{
	int64_t due_mono_ms = INT64_MAX;
	LIST_FOR (&a->leases, node) {
		const struct lease *l = CONTAINER_OF(node, struct lease, node);
		if (l->due_mono_ms < due_mono_ms)
			due_mono_ms = l->due_mono_ms;
	}
	if (list_empty(&a->leases))
		timer_disarm(&a->lapse);
	else
		timer_arm(&a->lapse, due_mono_ms > now_of(a) ? due_mono_ms - now_of(a) : 0);
}

static void on_lapse(void *arg)
{
	struct actor *a = CAST(struct actor, arg, ACTOR_MAGIC);
	LIST_FOR (&a->leases, node) {
		struct lease *l = CONTAINER_OF(node, struct lease, node);
		if (l->due_mono_ms <= now_of(a))
			end_lease(a, l);
	}
	arm_lapse(a);
	actor_awake_look(a);
}

enum runtime_outcome actor_awake_lease(struct actor *a, int64_t ttl_ms, char ret[40])
{
	if (a->n_leases == LIMIT_ACTOR_KEEP_AWAKE)
		return RUNTIME_TOO_MANY;
	if (ttl_ms > LIMIT_KEEP_AWAKE_MS)
		ttl_ms = LIMIT_KEEP_AWAKE_MS;
	uint64_t random[2];
	CHECK(getrandom(random, sizeof(random), 0) == (ssize_t)sizeof(random));
	struct lease *l = mem_zalloc(sizeof(*l));
	(void)snprintf(l->id, sizeof(l->id), "%016llx%016llx", (unsigned long long)random[0],
		       (unsigned long long)random[1]);
	l->due_mono_ms = now_of(a) + (ttl_ms > 0 ? ttl_ms : 0);
	list_init(&l->node);
	list_push_back(&a->leases, &l->node);
	a->n_leases++;
	arm_lapse(a);
	actor_awake_look(a);
	memcpy(ret, l->id, sizeof(l->id));
	return RUNTIME_OK;
}

enum runtime_outcome actor_awake_lease_end(struct actor *a, const char *lease)
{
	LIST_FOR (&a->leases, node) {
		struct lease *l = CONTAINER_OF(node, struct lease, node);
		if (strcmp(l->id, lease) != 0)
			continue;
		end_lease(a, l);
		arm_lapse(a);
		actor_awake_look(a);
		return RUNTIME_OK;
	}
	return RUNTIME_ABSENT;
}

/* ---- life ---- */

void actor_awake_init(struct actor *a)
{
	list_init(&a->idle);
	list_init(&a->leases);
	timer_init(&a->sleep, actor_table_loop(a->table), on_sleep, a);
	timer_init(&a->lapse, actor_table_loop(a->table), on_lapse, a);
}

void actor_awake_done(struct actor *a)
{
	LIST_FOR (&a->leases, node)
		end_lease(a, CONTAINER_OF(node, struct lease, node));
	list_remove(&a->idle);
	timer_disarm(&a->sleep);
	timer_disarm(&a->lapse);
	if (a->kind->victim != a)
		return;
	a->kind->victim = NULL;
	actor_awake_press(a->kind);
}
