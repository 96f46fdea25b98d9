/* One actor as the engine inside sees it: asleep, being woken, live, ending.
 *
 * Happy path: an exchange arrives, the next generation is written to the disk,
 * the actor table is told to start it, the exchange is offered to it; later it
 * asks to sleep, is stopped, and its sleep is written to the disk.
 * Failure paths: a crash or a failed start counts in the back-off and follows
 * the crash policy; a full disk refuses who waits with 507 and leaves the actor
 * asleep; an actor that is destroyed refuses with 404.
 *
 * Reports come from inside the actor table, so they only note a wish; on_work
 * acts on it in the tick. */
#include "local/local_driver_private.h"

#include "base/log.h"
#include "codec/json_field.h"
#include "local/local_hibernation.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

static void on_work(void *arg);
static void on_back_off(void *arg);

static const char *const dropped_reason = "the daemon is stopping";

char *local_actor_key_text(const char *namespace_name, const char *name, const char *key)
{
	return mem_printf("%s\n%s\n%s", namespace_name, name, key);
}

struct local_actor *local_actor_by_id(const struct local_driver *d, const char *id)
{
	struct map_node *node = map_get(&d->by_id, slice_str(id));
	return node == NULL ? NULL : CONTAINER_OF(node, struct local_actor, by_id);
}

struct local_actor *local_actor_by_key(const struct local_driver *d, const char *key_text)
{
	struct map_node *node = map_get(&d->by_key, slice_str(key_text));
	return node == NULL ? NULL : CONTAINER_OF(node, struct local_actor, by_key);
}

struct local_actor *local_actor_new(struct local_driver *d, struct store_actor *rec)
{
	struct local_actor *a = mem_zalloc(sizeof(*a));
	a->magic = LOCAL_ACTOR_MAGIC;
	a->d = d;
	a->rec = *rec;
	if (map_put(&d->by_id, &a->by_id, slice_str(a->rec.id)) != 0) {
		mem_free(a);
		return NULL;
	}
	*rec = (struct store_actor){0};
	if (a->rec.key != NULL) {
		a->key_text = local_actor_key_text(a->rec.namespace_name, a->rec.name, a->rec.key);
		if (map_put(&d->by_key, &a->by_key, slice_str(a->key_text)) != 0) {
			mem_free(a->key_text);
			a->key_text = NULL;
		}
	}
	a->restart.failures = a->rec.crashes;
	list_init(&a->waiting);
	list_init(&a->destroys);
	loop_task_init(&a->work, on_work, a);
	timer_init(&a->back_off, d->l->o.loop, on_back_off, a);
	timer_init(&a->alarm_again, d->l->o.loop, local_actor_alarm_again, a);
	return a;
}

static void forget_key(struct local_actor *a)
{
	if (a->key_text == NULL)
		return;
	map_remove(&a->d->by_key, &a->by_key);
	mem_free(a->key_text);
	a->key_text = NULL;
}

/* Its alarm need not be waited for any more: the clock may go on with another. */
static void stop_ringing(struct local_actor *a)
{
	if (!a->ringing)
		return;
	a->ringing = false;
	a->d->n_ringing--;
	local_alarm_go_on(a->d->l->alarm);
}

/* It runs again, or will not: the next may be restarted. */
static void stop_rolling(struct local_actor *a)
{
	if (!a->rolling)
		return;
	a->rolling = false;
	a->d->n_rolling--;
}

static void actor_free(struct local_actor *a)
{
	struct local_driver *d = a->d;
	stop_ringing(a);
	stop_rolling(a);
	CHECK(list_empty(&a->waiting) && list_empty(&a->destroys) && a->jobs == 0);
	forget_key(a);
	map_remove(&d->by_id, &a->by_id);
	timer_disarm(&a->back_off);
	timer_disarm(&a->alarm_again);
	loop_cancel(&a->work);
	store_actor_clear(&a->rec);
	mem_free(a->last_failure);
	mem_free(a->input);
	a->magic = 0;
	mem_free(a);
	local_driver_check_closed(d);
}

void local_actor_poke(struct local_actor *a)
{
	loop_post(a->d->l->o.loop, &a->work);
}

/* ---- who waits ---- */

static void on_waiting_dropped(void *holder, struct exchange *x)
{
	struct local_actor *a = CAST(struct local_actor, holder, LOCAL_ACTOR_MAGIC);
	list_remove(&x->waiting);
	a->n_waiting--;
	local_actor_poke(a);
}

static bool wait_here(struct local_actor *a, struct exchange *x)
{
	if (a->n_waiting >= LIMIT_ACTOR_WAITING)
		return false;
	x->holder = a;
	x->dropped = on_waiting_dropped;
	list_push_back(&a->waiting, &x->waiting);
	a->n_waiting++;
	return true;
}

static struct exchange *take_waiting(struct local_actor *a)
{
	struct list *node = list_pop(&a->waiting);
	if (node == NULL)
		return NULL;
	a->n_waiting--;
	return CONTAINER_OF(node, struct exchange, waiting);
}

static void refuse_waiting(struct local_actor *a, unsigned status, const char *group, const char *code,
			   const char *message, uint32_t retry_after_s)
{
	struct exchange *x;
	while ((x = take_waiting(a)) != NULL)
		exchange_refuse(x, status, group, code, mem_strdup(message), retry_after_s);
}

static void tell_who(const struct local_actor *a, struct exchange *x)
{
	snprintf(x->actor_id, sizeof(x->actor_id), "%s", a->rec.id);
	x->generation = a->rec.generation;
	if (x->actor_key == NULL)
		x->actor_key = mem_strdup(a->rec.key);
}

static uint32_t back_off_s(const struct local_actor *a)
{
	int64_t ms = restart_wait_ms(&a->restart, loop_mono_ms(a->d->l->o.loop));
	return ms <= 0 ? 1 : (uint32_t)((ms + 999) / 1000);
}

/* Where it is counted. */
static unsigned type_slot(const struct local_actor *a)
{
	const struct actor_type *type = local_type(a->d->l, slice_str(a->rec.name));
	return type == NULL ? 0 : type->slot;
}

void local_actor_offer(struct local_actor *a, struct exchange *x)
{
	struct local_driver *d = a->d;
	tell_who(a, x);
	if (a->state == LA_LIVE && !a->destroy_wish) {
		enum dispatch_outcome o = dispatch_offer(d->table, a->rec.id, x);
		if (o == DISPATCH_TAKEN)
			return;
		if (o == DISPATCH_FULL) {
			local_refuse_later(d, x, 503, "actor", "overloaded",
					   mem_printf("too many requests wait for actor %s", a->rec.id), 1);
			return;
		}
	}
	x->type_slot = type_slot(a);
	if (d->draining)
		local_refuse_later(d, x, 503, "guard", "service_unavailable", mem_strdup(dropped_reason), 5);
	else if (a->state == LA_DESTROYED || a->destroy_wish)
		local_refuse_later(d, x, 404, "actor", "not_found", NULL, 0);
	else if (local_type(d->l, slice_str(a->rec.name)) == NULL)
		local_refuse_later(d, x, 503, "actor", "not_registered", local_driver_not_registered(d, a->rec.name),
				   0);
	else if (a->state == LA_ASLEEP && restart_wait_ms(&a->restart, loop_mono_ms(d->l->o.loop)) > 0)
		local_refuse_later(
		    d, x, 503, "actor", "start_failed",
		    mem_strdup(a->last_failure != NULL ? a->last_failure : "the actor crashed and is backing off"),
		    back_off_s(a));
	else if (!wait_here(a, x))
		local_refuse_later(d, x, 503, "actor", "overloaded",
				   mem_printf("too many requests wait for actor %s to start", a->rec.id), 1);
	else
		local_actor_poke(a);
}

/* ---- waking ---- */

static void on_woken(struct store_job *job);

static void free_save(struct local_actor *a)
{
	store_actor_save_clear(a->saving);
	mem_free(a->saving);
	a->saving = NULL;
	a->jobs--;
}

static void save(struct local_actor *a, bool destroy, void (*done)(struct store_job *job))
{
	CHECK(a->saving == NULL);
	a->saving = mem_zalloc(sizeof(*a->saving));
	a->saving->job.done = done;
	a->saving->destroy = destroy;
	a->saving->user = a;
	store_actor_copy(&a->saving->actor, &a->rec);
	a->jobs++;
	store_actor_save(a->d->l->o.store, a->saving);
}

static void begin_wake(struct local_actor *a)
{
	a->wake_wish = a->force_wake = false;
	a->state = LA_WAKING;
	a->rec.generation++;
	a->rec.running = true;
	a->rec.wake_wanted = false;
	a->rec.reschedule_ts = 0;
	a->rec.pending_allocation_ts = 0;
	if (a->restart.failures > 0)
		a->d->l->counters.restarts[type_slot(a)]++;
	save(a, false, on_woken);
}

static void start_failed(struct local_actor *a, const char *why)
{
	a->rec.running = false;
	a->state = LA_ASLEEP;
	stop_ringing(a);
	stop_rolling(a);
	LOG(ERROR, "actor not woken", RECORD_LOG(a), LOG_STR("reason", why));
}

static void command_start(struct local_actor *a)
{
	struct local_driver *d = a->d;
	const struct actor_type *type = local_type(d->l, slice_str(a->rec.name));
	if (type == NULL) { /* removed while it was being woken */
		start_failed(a, "its actor type was removed");
		local_actor_poke(a);
		return;
	}
	struct actor_start s = {.type = type,
				.name = a->rec.name,
				.key = a->rec.key,
				.namespace_name = a->rec.namespace_name,
				.create_ts = a->rec.create_ts,
				.input = slice_of(a->input, a->input_len),
				.has_input = a->rec.has_input,
				/* one that failed rings again by alarm_again */
				.alarm_at_wall_ms = timer_armed(&a->alarm_again) ? 0 : a->rec.alarm_at_wall_ms,
				.alarm_attempts = a->alarm_attempts,
				.driver_data = a};
	snprintf(s.ref.id, sizeof(s.ref.id), "%s", a->rec.id);
	s.ref.generation = a->rec.generation;
	a->ref = s.ref;
	a->stop_sent = a->sleep_wish = false;
	if (actor_table_start(d->table, &s) != 0) {
		start_failed(a, "too many actors are awake");
		refuse_waiting(a, 503, "actor", "overloaded", "too many actors are awake on this daemon", 1);
		return;
	}
	a->state = LA_LIVE;
	LOG(DEBUG, "actor starting", RECORD_LOG(a));
	struct list late;
	list_init(&late);
	list_move_all(&late, &a->waiting);
	a->n_waiting = 0;
	struct list *node;
	while ((node = list_pop(&late)) != NULL)
		local_actor_offer(a, CONTAINER_OF(node, struct exchange, waiting));
}

static void on_input(struct store_job *job)
{
	struct store_actor_input *q = CONTAINER_OF(job, struct store_actor_input, job);
	struct local_actor *a = CAST(struct local_actor, q->user, LOCAL_ACTOR_MAGIC);
	int result = job->result;
	a->input = TAKE(q->input);
	a->input_len = q->input_len;
	store_actor_input_clear(q);
	mem_free(q);
	a->jobs--;
	if (result == 0 && !a->d->draining) {
		command_start(a);
		return;
	}
	start_failed(a, "its input could not be read");
	refuse_waiting(a, 503, "actor", "start_failed", "the actor's input could not be read from the store", 1);
	local_actor_poke(a);
}

static void on_woken(struct store_job *job)
{
	struct store_actor_save *v = CONTAINER_OF(job, struct store_actor_save, job);
	struct local_actor *a = CAST(struct local_actor, v->user, LOCAL_ACTOR_MAGIC);
	int result = job->result;
	free_save(a);
	if (result != 0) {
		start_failed(a, result == -ENOSPC ? "the disk is full" : "the store failed");
		struct exchange *x;
		while ((x = take_waiting(a)) != NULL)
			local_refuse_store(x, result);
		local_actor_poke(a);
		return;
	}
	if (a->d->draining) {
		a->rec.running = false;
		a->rec.wake_wanted = a->rec.crash_policy == CRASH_RESTART;
		a->state = LA_ENDING;
		local_actor_poke(a);
		return;
	}
	if (!a->rec.has_input || a->input != NULL) {
		command_start(a);
		return;
	}
	struct store_actor_input *q = mem_zalloc(sizeof(*q));
	q->job.done = on_input;
	q->number = a->rec.number;
	q->user = a;
	a->jobs++;
	store_actor_input(a->d->l->o.store, q);
}

/* ---- ending ---- */

static void finish_destroys(struct local_actor *a, enum local_call_outcome outcome)
{
	struct list *node;
	while ((node = list_pop(&a->destroys)) != NULL) {
		struct local_call *call = CONTAINER_OF(node, struct local_call, node);
		call->done(call->arg, outcome, &a->rec);
		mem_free(call);
	}
}

static void on_destroyed(struct store_job *job)
{
	struct store_actor_save *v = CONTAINER_OF(job, struct store_actor_save, job);
	struct local_actor *a = CAST(struct local_actor, v->user, LOCAL_ACTOR_MAGIC);
	int result = job->result;
	free_save(a);
	a->destroy_wish = false;
	if (result == 0) {
		LOG(INFO, "actor destroyed", RECORD_LOG(a));
		a->state = LA_DESTROYED;
		forget_key(a);
		local_hibernation_destroyed(a->d->l, a->rec.id);
		refuse_waiting(a, 404, "actor", "not_found", NULL, 0);
	} else {
		a->rec.destroy_ts = 0;
		a->state = LA_ASLEEP;
	}
	finish_destroys(a, local_call_outcome_of(result));
	local_actor_poke(a);
}

static void begin_destroy(struct local_actor *a)
{
	a->state = LA_ENDING;
	a->rec.destroy_ts = clock_wall_ms();
	a->rec.running = a->rec.wake_wanted = false;
	a->rec.connectable_ts = 0;
	a->rec.sleep_ts = 0;
	save(a, true, on_destroyed);
}

static void on_ended(struct store_job *job)
{
	struct store_actor_save *v = CONTAINER_OF(job, struct store_actor_save, job);
	struct local_actor *a = CAST(struct local_actor, v->user, LOCAL_ACTOR_MAGIC);
	if (job->result != 0)
		LOG(WARN, "an actor's sleep was not recorded", RECORD_LOG(a),
		    LOG_STR("reason", job->result == -ENOSPC ? "the disk is full" : "the store failed"));
	free_save(a);
	a->state = LA_ASLEEP;
	local_actor_poke(a);
}

static void on_back_off(void *arg)
{
	local_actor_poke(CAST(struct local_actor, arg, LOCAL_ACTOR_MAGIC));
}

/* Nothing to do for it: it goes, unless its back-off has to be remembered. */
static void rest(struct local_actor *a)
{
	int64_t wait_ms = restart_wait_ms(&a->restart, loop_mono_ms(a->d->l->o.loop));
	if (a->jobs > 0 || !list_empty(&a->destroys) || a->n_waiting > 0)
		return;
	bool wanted = a->state != LA_DESTROYED && !a->d->closing && !a->d->draining;
	if (wanted && wait_ms > 0)
		timer_arm(&a->back_off, wait_ms);
	if (wanted && (wait_ms > 0 || timer_armed(&a->alarm_again)))
		return;
	actor_free(a);
}

static bool has_type(const struct local_actor *a)
{
	return local_type(a->d->l, slice_str(a->rec.name)) != NULL;
}

static void asleep(struct local_actor *a)
{
	int64_t wait_ms = restart_wait_ms(&a->restart, loop_mono_ms(a->d->l->o.loop));
	bool wish = a->n_waiting > 0 || a->wake_wish || a->rec.wake_wanted;
	if (a->destroy_wish) {
		begin_destroy(a);
	} else if (a->d->draining || a->d->closing) {
		refuse_waiting(a, 503, "guard", "service_unavailable", dropped_reason, 5);
		rest(a);
	} else if (!has_type(a)) {
		char *why = local_driver_not_registered(a->d, a->rec.name);
		refuse_waiting(a, 503, "actor", "not_registered", why, 0);
		mem_free(why);
		a->wake_wish = a->force_wake = false;
		a->rec.wake_wanted = false;
		stop_ringing(a);
		stop_rolling(a);
		rest(a);
	} else if (wish && (wait_ms <= 0 || a->force_wake)) {
		begin_wake(a);
	} else if (wish && a->n_waiting > 0) {
		refuse_waiting(a, 503, "actor", "start_failed",
			       a->last_failure != NULL ? a->last_failure : "the actor crashed and is backing off",
			       back_off_s(a));
		local_actor_poke(a);
	} else if (wish) {
		timer_arm(&a->back_off, wait_ms);
	} else {
		rest(a);
	}
}

/* Sleep waits for the end of a start: the requests that wait for it would only begin the next. */
static void stop_as_wished(struct local_actor *a)
{
	bool sleep_now = a->sleep_wish && a->rec.connectable_ts > 0;
	if (a->destroy_wish)
		actor_table_stop(a->d->table, &a->ref, "destroy", 0);
	else if (a->restart_wish && !a->stop_sent)
		actor_table_stop(a->d->table, &a->ref, has_type(a) ? "restart" : "drain", 0);
	else if (sleep_now && !a->stop_sent)
		actor_table_stop(a->d->table, &a->ref, "sleep", 0);
	a->stop_sent = a->stop_sent || sleep_now || a->restart_wish || a->destroy_wish;
}

static void on_work(void *arg)
{
	struct local_actor *a = CAST(struct local_actor, arg, LOCAL_ACTOR_MAGIC);
	if (a->saving != NULL)
		return;
	switch (a->state) {
	case LA_ASLEEP:
		if (a->jobs == 0)
			asleep(a);
		return;
	case LA_LIVE:
		stop_as_wished(a);
		if (a->alarm_wish)
			actor_table_alarm(a->d->table, &a->ref, a->rec.alarm_at_wall_ms, a->alarm_attempts);
		a->alarm_wish = false;
		return;
	case LA_ENDING:
		save(a, false, on_ended);
		return;
	case LA_DESTROYED:
		finish_destroys(a, LOCAL_CALL_OK);
		rest(a);
		return;
	case LA_WAKING:
		return;
	}
	IMPOSSIBLE("local actor state");
}

/* Those of a removed type start nothing, and who still waits for a seat on the old command does not start it: they are
 * not counted. */
void local_actor_roll(struct local_actor *a)
{
	if (a->stop_sent || a->destroy_wish || a->restart_wish)
		return;
	a->restart_wish = true;
	if (!a->rolling && has_type(a) && !actor_table_is_placing(a->d->table, a->rec.id)) {
		a->rolling = true;
		a->d->n_rolling++;
	}
	local_actor_poke(a);
}

void local_actor_destroy(struct local_actor *a, local_call_done *done, void *arg)
{
	struct local_call *call = mem_zalloc(sizeof(*call));
	list_init(&call->node);
	call->done = done;
	call->arg = arg;
	list_push_back(&a->destroys, &call->node);
	if (a->state != LA_DESTROYED)
		a->destroy_wish = true;
	local_actor_poke(a);
}

/* ---- reports ---- */

static char *crashed_json(const char *message)
{
	struct buf b;
	buf_init(&b, 64 * 1024);
	buf_add_str(&b, "{\"crashed\":{\"message\":");
	if (message == NULL)
		buf_add_str(&b, "null");
	else
		json_put_str(&b, slice_str(message));
	buf_add_str(&b, "}}");
	char *text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}

static void on_running(struct local_actor *a)
{
	int64_t now = clock_wall_ms();
	restart_up(&a->restart, loop_mono_ms(a->d->l->o.loop));
	stop_rolling(a);
	local_hibernation_running(a->d->l, a->rec.id);
	a->rec.connectable_ts = now;
	if (a->sleep_wish)
		local_actor_poke(a);
	if (a->rec.start_ts == 0)
		a->rec.start_ts = now;
	a->rec.sleep_ts = 0;
	mem_free(a->rec.error_json);
	a->rec.error_json = NULL;
	mem_free(a->input);
	a->input = NULL;
}

static void note_failure(struct local_actor *a, const struct actor_report *r)
{
	uint32_t random;
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint32_t)clock_mono_us();
	if (r->how == STOPPED_UNPLACEABLE) {
		mem_free(a->rec.error_json);
		a->rec.error_json = mem_strdup("\"no_capacity\"");
		return;
	}
	restart_failed(&a->restart, loop_mono_ms(a->d->l->o.loop), random);
	if (a->d->failing == NULL && restart_is_failing(&a->restart))
		a->d->failing = mem_printf("actor %s (%s) has failed %u starts in a row: %s", a->rec.id, a->rec.name,
					   (unsigned)a->restart.failures, r->message == NULL ? "" : r->message);
	mem_free(a->rec.error_json);
	a->rec.error_json = crashed_json(r->message);
	mem_free(a->last_failure);
	a->last_failure = mem_strdup(r->message);
	if (a->rec.crash_policy == CRASH_DESTROY && r->how == STOPPED_CRASHED)
		a->destroy_wish = true;
	if (a->rec.crash_policy == CRASH_RESTART) {
		a->rec.wake_wanted = true;
		a->rec.reschedule_ts = clock_wall_ms() + restart_wait_ms(&a->restart, loop_mono_ms(a->d->l->o.loop));
	}
	LOG(WARN, "actor ended unasked", RECORD_LOG(a), LOG_NUM("failures", a->restart.failures),
	    LOG_NUM("back_off_ms", restart_wait_ms(&a->restart, loop_mono_ms(a->d->l->o.loop))),
	    LOG_STR("reason", r->message == NULL ? "" : r->message));
}

static void keep_leftover(struct local_actor *a, struct list *leftover)
{
	if (leftover == NULL || a->d->draining)
		return;
	LIST_FOR (leftover, node) {
		struct exchange *x = CONTAINER_OF(node, struct exchange, waiting);
		if (a->n_waiting >= LIMIT_ACTOR_WAITING)
			return;
		list_remove(node);
		CHECK(wait_here(a, x));
	}
}

static void on_stopped(struct local_actor *a, const struct actor_report *r)
{
	int64_t due = a->rec.alarm_at_wall_ms;
	bool due_now = due > 0 && due <= clock_wall_ms();
	a->rec.running = false;
	a->rec.connectable_ts = 0;
	a->rec.sleep_ts = clock_wall_ms();
	a->rec.reschedule_ts = 0;
	a->sleep_wish = a->stop_sent = false;
	if (a->restart_wish)
		a->wake_wish = a->force_wake = true;
	a->restart_wish = false;
	stop_ringing(a);
	if (r->how == STOPPED_ASKED) {
		restart_stopped(&a->restart, loop_mono_ms(a->d->l->o.loop));
		if ((a->d->draining || !has_type(a)) && a->rec.crash_policy == CRASH_RESTART)
			a->rec.wake_wanted = true;
		if (due_now && !timer_armed(&a->alarm_again))
			local_alarm_poke(a->d->l->alarm, due);
		keep_leftover(a, r->leftover);
	} else {
		stop_rolling(a);
		note_failure(a, r);
		if (due_now && !timer_armed(&a->alarm_again))
			local_actor_alarm_over(a, due, false, r->message);
	}
	a->rec.crashes = a->restart.failures;
	a->state = LA_ENDING;
	if (a->destroy_wish)
		a->state = LA_ASLEEP;
	local_actor_poke(a);
}

void local_actor_report(struct local_actor *a, const struct actor_report *r)
{
	switch (r->kind) {
	case REPORT_RUNNING:
		on_running(a);
		return;
	case REPORT_INTENT_SLEEP:
		a->sleep_wish = true;
		local_actor_poke(a);
		return;
	case REPORT_INTENT_DESTROY:
		a->destroy_wish = true;
		local_actor_poke(a);
		return;
	case REPORT_STOPPED:
		on_stopped(a, r);
		return;
	case REPORT_ALARM_DONE:
		stop_ringing(a);
		local_actor_alarm_over(a, r->alarm_due_wall_ms, r->alarm_ok, r->message);
		return;
	}
	IMPOSSIBLE("report kind");
}
