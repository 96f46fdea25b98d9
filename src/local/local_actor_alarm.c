/* What becomes of an actor's alarm after its call: done, again later, given up.
 *
 * Its due time stays what the worker set; how often it was tried is counted
 * durably, so that a restart of the daemon does not begin anew. When the clock
 * reaches the alarm is local_alarm.c's to know. */
#include "local/local_alarm_failed.h"
#include "local/local_driver_private.h"

#include "base/log.h"

#define ALARM_ATTEMPTS_MAX 6
#define ALARM_RETRY_FIRST_MS 2000

static void on_alarm_saved(struct store_job *job)
{
	struct store_alarm *s = CONTAINER_OF(job, struct store_alarm, job);
	struct local_driver *d = s->user;
	if (job->result < 0)
		LOG(ERROR, "an alarm's outcome was not recorded; it will ring again after a restart",
		    LOG_NUM("actor_number", s->actor_number));
	mem_free(s);
	local_driver_job_done(d);
}

static void save_alarm(struct local_actor *a, int64_t due_wall_ms, int64_t now_due_wall_ms)
{
	struct local_driver *d = a->d;
	struct store_alarm *s = mem_zalloc(sizeof(*s));
	s->job.done = on_alarm_saved;
	s->actor_number = a->rec.number;
	s->due_wall_ms = now_due_wall_ms;
	s->only_if_due_wall_ms = due_wall_ms;
	s->attempts = a->alarm_attempts;
	s->user = d;
	d->jobs++;
	store_alarm(d->l->o.store, s);
}

static void give_up_alarm(struct local_actor *a, int64_t due_wall_ms, const char *why)
{
	LOG(ERROR, "alarm given up after six attempts", RECORD_LOG(a), LOG_NUM("due_ms", due_wall_ms),
	    LOG_STR("reason", why == NULL ? "" : why));
	local_alarm_failed_keep(a->d, a->rec.number, due_wall_ms, why);
}

void local_actor_alarm_over(struct local_actor *a, int64_t due_wall_ms, bool ok, const char *why)
{
	int32_t attempts = ok ? 0 : a->alarm_attempts + 1;
	bool again = !ok && attempts < ALARM_ATTEMPTS_MAX;
	int64_t wait_ms = again ? (int64_t)ALARM_RETRY_FIRST_MS << (attempts - 1) : 0;
	if (a->rec.alarm_at_wall_ms != due_wall_ms)
		return; /* set anew meanwhile */
	if (again)
		LOG(WARN, "alarm failed; it rings again", RECORD_LOG(a), LOG_NUM("attempt", attempts),
		    LOG_NUM("next_ms", wait_ms), LOG_STR("reason", why == NULL ? "" : why));
	else if (!ok)
		give_up_alarm(a, due_wall_ms, why);
	a->alarm_attempts = again ? attempts : 0;
	if (again) {
		timer_arm(&a->alarm_again, wait_ms);
	} else {
		a->rec.alarm_at_wall_ms = 0;
		a->alarm_wish = true; /* the actor's own timer is told in the tick */
		local_actor_poke(a);
	}
	save_alarm(a, due_wall_ms, again ? due_wall_ms : 0);
}

void local_actor_alarm_again(void *arg)
{
	struct local_actor *a = CAST(struct local_actor, arg, LOCAL_ACTOR_MAGIC);
	if (a->rec.alarm_at_wall_ms <= 0)
		return;
	if (a->state == LA_LIVE)
		a->alarm_wish = true;
	else if (a->state != LA_WAKING)
		a->wake_wish = true;
	local_actor_poke(a);
}
