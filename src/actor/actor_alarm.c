/* Owns the alarm of a running actor: the timer, and the one call under way.
 *
 * The driver owns the durable alarm and says what is next after each call
 * (actor_alarm_set): the same alarm again, another, or none. Until it does, an
 * alarm that was delivered is not delivered again. The timer looks at the wall
 * clock at least once a minute, because that clock jumps.
 *
 * Failure path: a worker lost with the call under way is a failed call,
 * reported before the actor's end. */
#include "actor/actor.h"

#include "base/log.h"

#define LOOK_MS (60 * 1000)

static void on_alarm(void *arg)
{
	actor_alarm_look(CAST(struct actor, arg, ACTOR_MAGIC));
}

void actor_alarm_init(struct actor *a, int64_t due_wall_ms, int32_t attempts)
{
	timer_init(&a->alarm, actor_table_loop(a->table), on_alarm, a);
	a->alarm_at_wall_ms = due_wall_ms;
	a->alarm_attempts = attempts;
}

void actor_alarm_set(struct actor *a, int64_t due_wall_ms, int32_t attempts)
{
	a->alarm_at_wall_ms = due_wall_ms;
	a->alarm_attempts = attempts;
	a->alarm_told = false;
	actor_table_ready(a->table, a);
}

void actor_alarm_look(struct actor *a)
{
	timer_disarm(&a->alarm);
	if (a->state != LIFE_RUNNING || a->place == NULL || a->alarm_calling || a->alarm_told ||
	    a->alarm_at_wall_ms <= 0)
		return;
	int64_t now_wall_ms = clock_wall_ms();
	if (a->alarm_at_wall_ms > now_wall_ms) {
		int64_t left_ms = a->alarm_at_wall_ms - now_wall_ms;
		timer_arm(&a->alarm, left_ms < LOOK_MS ? left_ms : LOOK_MS);
		return;
	}
	a->alarm_calling = a->alarm_told = true;
	a->alarm_due_wall_ms = a->alarm_at_wall_ms;
	actor_awake_look(a);
	worker_place_alarm(a->place, a->alarm_due_wall_ms, a->alarm_attempts + 1);
}

void actor_alarm_over(struct actor *a, bool ok, const char *why)
{
	CHECK(a->alarm_calling);
	a->alarm_calling = false;
	if (!ok)
		LOG(WARN, "alarm call failed", ACTOR_LOG(a), LOG_NUM("attempt", a->alarm_attempts + 1),
		    LOG_STR("why", why == NULL ? "" : why));
	struct driver *d = actor_table_driver(a->table);
	d->ops->report(d, &a->ref,
		       &(struct actor_report){
			   .kind = REPORT_ALARM_DONE,
			   .alarm_ok = ok,
			   .alarm_due_wall_ms = a->alarm_due_wall_ms,
			   .message = why,
		       });
}

void actor_alarm_done(struct actor *a)
{
	timer_disarm(&a->alarm);
}
