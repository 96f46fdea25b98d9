/* Walks the alarms in order of their time with a cursor, wakes the sleeping
 * actors whose time has come, and sleeps until the next one.
 *
 * Only so many ring at once (a thousand overdue alarms after a long downtime
 * must not become a thousand processes); the walk goes on when one is done. An
 * actor that is awake rings by its own timer and is passed over here. */
#include "local/local_private.h"

#include "base/log.h"

#define ALARM_MAGIC 0x616c726du
#define RINGING_MAX 64
#define RETRY_MS 1000
#define NAP_MAX_MS (60 * 1000) /* the wall clock may jump */

struct local_alarm {
	uint32_t magic;
	struct local *l;
	struct timer timer;
	struct loop_task look;
	struct store_alarm_next *asking; /* a look-up is under way */
	int64_t seen_due_ms;             /* cursor: everything up to here has been rung */
	uint64_t seen_number;
	int64_t waiting_for_ms; /* due time the timer is armed for; INT64_MAX: none */
	bool again;             /* something changed while asking */
	bool stopped;
};

static void look(void *arg);

struct local_alarm *local_alarm_new(struct local *l)
{
	struct local_alarm *a = mem_zalloc(sizeof(*a));
	a->magic = ALARM_MAGIC;
	a->l = l;
	a->waiting_for_ms = INT64_MAX;
	a->stopped = true;
	timer_init(&a->timer, l->o.loop, look, a);
	loop_task_init(&a->look, look, a);
	return a;
}

static void wait_until(struct local_alarm *a, int64_t due_wall_ms)
{
	int64_t ms = due_wall_ms - clock_wall_ms();
	a->waiting_for_ms = due_wall_ms;
	timer_arm(&a->timer, ms < 0 ? 0 : ms > NAP_MAX_MS ? NAP_MAX_MS : ms);
}

/* One page of rows; true when the walk should go on with the next page at once. */
static bool ring_page(struct local_alarm *a, const struct store_alarm_next *q)
{
	int64_t now = clock_wall_ms();
	for (size_t i = 0; i < q->n; i++) {
		const struct store_alarm_row *row = &q->rows[i];
		if (row->due_wall_ms > now) {
			wait_until(a, row->due_wall_ms);
			return false;
		}
		if (local_driver_ringing(a->l->driver) >= RINGING_MAX) {
			a->waiting_for_ms = now; /* local_alarm_go_on */
			timer_arm(&a->timer, RETRY_MS);
			return false;
		}
		(void)local_driver_ring(a->l->driver, row);
		a->seen_due_ms = row->due_wall_ms;
		a->seen_number = row->actor_number;
	}
	if (q->n == q->limit)
		return true;
	a->waiting_for_ms = INT64_MAX;
	return false;
}

static void on_rows(struct store_job *job)
{
	struct store_alarm_next *q = CONTAINER_OF(job, struct store_alarm_next, job);
	struct local_alarm *a = CAST(struct local_alarm, q->user, ALARM_MAGIC);
	a->asking = NULL;
	bool go_on = false;
	if (a->stopped)
		loop_post(a->l->o.loop, &a->l->finish); /* a close may wait for this answer alone */
	else if (job->result == 0)
		go_on = ring_page(a, q);
	else
		timer_arm(&a->timer, RETRY_MS);
	mem_free(q);
	if ((go_on || a->again) && !a->stopped)
		loop_post(a->l->o.loop, &a->look);
	a->again = false;
}

static void look(void *arg)
{
	struct local_alarm *a = CAST(struct local_alarm, arg, ALARM_MAGIC);
	if (a->stopped)
		return;
	if (a->asking != NULL) {
		a->again = true;
		return;
	}
	struct store_alarm_next *q = mem_zalloc(sizeof(*q));
	q->job.done = on_rows;
	q->after_due_wall_ms = a->seen_due_ms;
	q->after_number = a->seen_number;
	q->limit = ARRAY_SIZE(q->rows);
	q->user = a;
	a->asking = q;
	store_alarm_next(a->l->o.store, q);
}

void local_alarm_start(struct local_alarm *a)
{
	a->stopped = false;
	loop_post(a->l->o.loop, &a->look);
}

void local_alarm_poke(struct local_alarm *a, int64_t due_wall_ms)
{
	if (due_wall_ms <= a->seen_due_ms) {
		a->seen_due_ms = due_wall_ms - 1;
		a->seen_number = 0;
	}
	if (!a->stopped && (due_wall_ms < a->waiting_for_ms || a->asking != NULL))
		look(a);
}

void local_alarm_go_on(struct local_alarm *a)
{
	if (!a->stopped && a->waiting_for_ms <= clock_wall_ms())
		loop_post(a->l->o.loop, &a->look);
}

void local_alarm_stop(struct local_alarm *a)
{
	a->stopped = true;
	timer_disarm(&a->timer);
	loop_cancel(&a->look);
}

bool local_alarm_quiet(const struct local_alarm *a)
{
	return a->asking == NULL;
}

void local_alarm_free(struct local_alarm *a)
{
	CHECK(a->asking == NULL);
	local_alarm_stop(a);
	a->magic = 0;
	mem_free(a);
}
