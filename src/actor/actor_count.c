/* Counts starts and ends of actors by their types. Owned by the process, not
 * by a table: counters go on when a table is closed. */
#include "actor/actor.h"
#include "actor/actor_count.h"

#include "base/metric.h"

/* Ends that were asked for, then those that were not. */
static const char *const stop_words[] = {"sleep", "restart", "drain",        "destroy",    "evicted",
					 "lost",  "crashed", "start_failed", "unplaceable"};

static struct {
	uint64_t wakes, evictions, stops[ARRAY_SIZE(stop_words)];
	struct metric_histogram wake;
} counts[LIMIT_METRIC_TYPES];

void actor_count_start(struct actor *a)
{
	a->begun_mono_us = loop_mono_us(actor_table_loop(a->table));
	counts[a->type->slot].wakes++;
}

void actor_count_running(const struct actor *a)
{
	metric_observe(&counts[a->type->slot].wake, loop_mono_us(actor_table_loop(a->table)) - a->begun_mono_us);
}

void actor_count_stopped(const struct actor *a)
{
	static const char *const unasked[] = {
	    [STOPPED_CRASHED] = "crashed",
	    [STOPPED_START_FAILED] = "start_failed",
	    [STOPPED_UNPLACEABLE] = "unplaceable",
	};
	const char *word = a->how == STOPPED_ASKED ? a->stop_reason : unasked[a->how];
	for (size_t i = 0; i < ARRAY_SIZE(stop_words); i++)
		if (strcmp(word, stop_words[i]) == 0)
			counts[a->type->slot].stops[i]++;
}

void actor_count_evicted(const struct actor *a)
{
	counts[a->type->slot].evictions++;
}

/* ---- what is awake ---- */

struct awake {
	uint64_t states[LIFE_STATES], waiting, websockets;
};

static void on_view(void *arg, const struct actor_view *v)
{
	struct awake *n = (struct awake *)arg + v->type_slot;
	for (unsigned s = 0; s < LIFE_STATES; s++)
		n->states[s] += strcmp(v->state, lifecycle_state_name((enum lifecycle_state)s)) == 0;
	n->waiting += v->waiting;
	n->websockets += v->websockets;
}

static void put_awake(struct metric_out *out, const struct awake *n)
{
	for (unsigned slot = 0; slot < metric_type_count(); slot++)
		for (unsigned s = 0; s < LIFE_STOPPED; s++)
			metric_put(out, METRIC_ACTORS, metric_type_name(slot),
				   lifecycle_state_name((enum lifecycle_state)s), n[slot].states[s]);
	metric_put_types(out, METRIC_REQUESTS_WAITING, &n->waiting, sizeof(*n));
	metric_put_types(out, METRIC_WEBSOCKETS_OPEN, &n->websockets, sizeof(*n));
}

void actor_count_metrics(const struct actor_table *t, struct metric_out *out)
{
	struct awake awake[LIMIT_METRIC_TYPES] = {0};
	if (t != NULL)
		actor_table_each(t, on_view, awake);
	put_awake(out, awake);
	metric_put_types(out, METRIC_WAKES, &counts->wakes, sizeof(*counts));
	for (unsigned slot = 0; slot < metric_type_count(); slot++)
		metric_put_histogram(out, METRIC_WAKE_SECONDS, metric_type_name(slot), NULL, &counts[slot].wake);
	for (unsigned slot = 0; slot < metric_type_count(); slot++)
		for (size_t i = 0; i < ARRAY_SIZE(stop_words); i++)
			metric_put(out, METRIC_STOPS, metric_type_name(slot), stop_words[i], counts[slot].stops[i]);
	metric_put_types(out, METRIC_EVICTIONS, &counts->evictions, sizeof(*counts));
}
