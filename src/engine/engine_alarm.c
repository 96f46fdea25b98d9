/* An actor's alarm in engine mode. The engine wakes sleeping actors only, and
 * does not say why; so the alarm is kept beside the actor's state, under a
 * reserved key, and the engine's own alarm only wakes.
 *
 * Each change is written under the key first, then set at the engine (an
 * event). At every start the key is read; the actor's own timer rings while it
 * runs, also for one that is due any moment, and the engine's alarm is set
 * anew, which takes back one that it holds for not consumed. A failed attempt
 * is written with the time of the next one, for which the engine wakes the
 * actor if it sleeps by then.
 *
 * Failure paths: a key that cannot be read is read again while the actor runs,
 * and until then nothing is set at the engine; a write whose end is unknown is
 * followed by reading; one that failed leaves the alarm as it was, so that it
 * rings once more rather than not at all. What became of one that was given up
 * is written under a second key before the alarm is erased, and read with it. */
#include "engine/engine_driver_private.h"

#include "base/log.h"
#include "codec/bare.h"
#include "codec/json_field.h"

#define KEY "\0rivet-runnerd/alarm"
#define FAILED_KEY "\0rivet-runnerd/alarm_failed"
#define FORMAT 1
#define RECORD_MAX 64
#define ATTEMPTS_MAX 6
#define RETRY_FIRST_MS 2000
#define READ_AGAIN_MS 5000
#define SOON_MS 1000 /* the engine is up to that early */
#define REASON_MAX 900
#define FAILED_MAX ((size_t)16 * 1024)

/* A request about the key. */
struct job {
	struct engine_actor *a;
	uint32_t generation;
	struct runtime_call *call; /* to be answered, or NULL */
	struct engine_alarm wanted;
};

static void read_key(struct engine_actor *a);
static struct engine_actor *actor_of(void *arg)
{
	return CAST(struct engine_actor, arg, ENGINE_ACTOR_MAGIC);
}

static void on_again(void *arg)
{
	struct engine_actor *a = actor_of(arg);
	if (a->state != EA_LIVE)
		return;
	if (!a->alarm.known) {
		read_key(a);
		return;
	}
	a->alarm.tell = true;
	engine_actor_poke(a);
}

void engine_alarm_init(struct engine_actor *a)
{
	timer_init(&a->alarm.again, a->d->g->o.loop, on_again, a);
}

void engine_alarm_done(struct engine_actor *a)
{
	timer_disarm(&a->alarm.again);
	a->alarm.known = a->alarm.tell = a->alarm.counted = a->alarm.destroy = false;
	a->alarm.due_wall_ms = a->alarm.next_wall_ms = 0;
	a->alarm.attempts = 0;
}

/* ---- the record ---- */

static struct slice put_record(struct buf *b, const struct engine_alarm *al)
{
	struct bare_writer w = bare_start(b);
	bare_put_u8(&w, FORMAT);
	bare_put_i64(&w, al->due_wall_ms);
	bare_put_i64(&w, al->next_wall_ms);
	bare_put_u32(&w, (uint32_t)al->attempts);
	bare_put_bool(&w, al->destroy);
	CHECK(bare_end(&w) == 0);
	return buf_slice(b);
}

static bool read_record(struct slice s, struct engine_alarm *ret)
{
	struct bare_reader r = bare_reader_of(s);
	uint8_t format = bare_u8(&r);
	int64_t due = bare_i64(&r), next = bare_i64(&r);
	uint32_t attempts = bare_u32(&r);
	bool destroy = bare_bool(&r);
	if (r.outcome != 0 || format != FORMAT || due < 0 || next < 0 || attempts >= ATTEMPTS_MAX)
		return false;
	ret->due_wall_ms = due;
	ret->next_wall_ms = next;
	ret->attempts = (int32_t)attempts;
	ret->destroy = destroy;
	return true;
}

/* ---- towards the engine and the actor ---- */

static void set_at_engine(struct engine_actor *a)
{
	const struct engine_alarm *al = &a->alarm;
	bool at_once = al->destroy || (a->restart_asked && a->state == EA_ENDING);
	engine_driver_event(a->d, a,
			    (struct runner_event){.kind = RUNNER_EVENT_ALARM,
						  .has_alarm = at_once || al->due_wall_ms > 0,
						  .alarm_wall_ms = at_once ? clock_wall_ms() : al->next_wall_ms});
}

static void tell_later(struct engine_actor *a)
{
	a->alarm.tell = true;
	engine_actor_poke(a);
}

void engine_alarm_tell(struct engine_actor *a)
{
	struct engine_alarm *al = &a->alarm;
	if (!al->tell || !al->known)
		return;
	al->tell = false;
	int64_t left_ms = al->due_wall_ms > 0 && al->attempts > 0 ? al->next_wall_ms - clock_wall_ms() : 0;
	if (left_ms > 0)
		timer_arm(&al->again, left_ms);
	else
		actor_table_alarm(a->d->table, &a->live, al->due_wall_ms, al->attempts);
}

/* ---- reading ---- */

/* From here on whoever asks for this actor is told. */
static void remember_failed(struct engine_actor *a, struct slice json)
{
	mem_free(a->alarm_failed);
	a->alarm_failed = slice_dup(json);
	if (a->failed_name == NULL)
		a->failed_name = mem_strdup(a->name);
}

/* Whatever wrote it: it becomes a part of an answer. */
static bool is_object(struct slice text)
{
	struct err e = {0};
	json_t *value = text.n <= FAILED_MAX ? json_field_parse(text, &e) : NULL;
	bool ret = json_is_object(value);
	json_decref(value);
	return ret;
}

static void take_entries(struct engine_actor *a, const struct runner_kv_response *r)
{
	struct runner_walk keys = runner_walk_of(r->keys), values = runner_walk_of(r->values);
	struct slice key, value;
	while (runner_bytes_next(&keys, &key) && runner_bytes_next(&values, &value)) {
		if (slice_eq(key, SLICE_LIT(FAILED_KEY)) && is_object(value))
			remember_failed(a, value);
		else if (slice_eq(key, SLICE_LIT(KEY)) && !read_record(value, &a->alarm))
			LOG(ERROR, "an actor's alarm is not in a form this version knows, and is lost",
			    ENGINE_ACTOR_LOG(a));
	}
}

static void on_read(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct job *j = arg;
	struct engine_actor *a = j->a;
	bool current = a->generation == j->generation && a->state != EA_ENDED;
	mem_free(j);
	if (current && outcome == ENGINE_KV_OK && !a->alarm.known) {
		take_entries(a, r);
		a->alarm.known = true;
		set_at_engine(a);
		tell_later(a);
		if (a->alarm.destroy && a->state == EA_LIVE && !a->sleep_asked) {
			a->destroy_asked = true;
			engine_driver_event(a->d, a, (struct runner_event){.kind = RUNNER_EVENT_STOP});
		}
	} else if (current && outcome != ENGINE_KV_OK && outcome != ENGINE_KV_REFUSED && a->state == EA_LIVE) {
		timer_arm(&a->alarm.again, READ_AGAIN_MS);
	}
	engine_actor_call_over(a);
}

/* value: with PUT alone. */
static void submit(struct engine_actor *a, enum runner_kv_op op, struct slice key, struct slice value, struct job job,
		   engine_kv_done *done)
{
	struct job *j = mem_zalloc(sizeof(*j));
	struct buf keys, values;
	buf_init(&keys, 2 * RECORD_MAX);
	buf_init(&values, 2 * FAILED_MAX);
	*j = job;
	j->a = a;
	j->generation = a->generation;
	CHECK(runner_bytes_put(&keys, key) == 0 && runner_bytes_put(&values, value) == 0);
	if (op == RUNNER_KV_GET)
		CHECK(runner_bytes_put(&keys, SLICE_LIT(FAILED_KEY)) == 0);
	struct runner_kv_request q = {.actor_id = slice_str(a->id),
				      .op = op,
				      .keys = runner_list_of(buf_slice(&keys), op == RUNNER_KV_GET ? 2 : 1)};
	if (op == RUNNER_KV_PUT)
		q.values = runner_list_of(buf_slice(&values), 1);
	a->calls++;
	engine_kv_submit(a->d->g->kv, &q, done, j);
	buf_done(&keys);
	buf_done(&values);
}

static void read_key(struct engine_actor *a)
{
	submit(a, RUNNER_KV_GET, SLICE_LIT(KEY), SLICE_NONE, (struct job){0}, on_read);
}

void engine_alarm_begin(struct engine_actor *a)
{
	read_key(a);
}

void engine_alarm_ask(struct engine_actor *a, engine_kv_done *done)
{
	struct buf key;
	buf_init(&key, RECORD_MAX);
	CHECK(runner_bytes_put(&key, SLICE_LIT(KEY)) == 0);
	a->calls++;
	engine_kv_submit(a->d->g->kv,
			 &(struct runner_kv_request){.actor_id = slice_str(a->id),
						     .op = RUNNER_KV_GET,
						     .keys = runner_list_of(buf_slice(&key), 1)},
			 done, a);
	buf_done(&key);
}

/* ---- writing ---- */

/* What the actor is not told of: attempts, and the end of an alarm. */
static void on_written(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct job *j = arg;
	struct engine_actor *a = j->a;
	(void)r;
	if (outcome == ENGINE_KV_OK && a->generation == j->generation && a->alarm.settings == 0)
		set_at_engine(a);
	else if (outcome != ENGINE_KV_OK)
		LOG(WARN, "an alarm's outcome was not recorded; it may ring again", ENGINE_ACTOR_LOG(a));
	mem_free(j);
	engine_actor_call_over(a);
}

static void write_key(struct engine_actor *a, engine_kv_done *done, const struct engine_alarm *value,
		      struct runtime_call *call)
{
	bool nothing = value->due_wall_ms == 0 && !value->destroy;
	struct buf record;
	buf_init(&record, RECORD_MAX);
	submit(a, nothing ? RUNNER_KV_DELETE : RUNNER_KV_PUT, SLICE_LIT(KEY), put_record(&record, value),
	       (struct job){.call = call}, done);
	buf_done(&record);
}

static enum runtime_outcome outcome_of(struct runtime_call *call, enum engine_kv_outcome outcome)
{
	switch (outcome) {
	case ENGINE_KV_OK:
		return RUNTIME_OK;
	case ENGINE_KV_REFUSED:
		call->message = "the engine refused to keep the alarm";
		return RUNTIME_UNAVAILABLE;
	case ENGINE_KV_UNSENT:
		call->message = "the engine cannot be reached; the alarm is as it was";
		return RUNTIME_UNAVAILABLE;
	case ENGINE_KV_UNKNOWN:
		call->indeterminate = true;
		call->message = "the engine did not answer; the alarm may or may not have been set";
		return RUNTIME_UNAVAILABLE;
	}
	IMPOSSIBLE("engine_kv_outcome");
}

static void on_set(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct job *j = arg;
	struct engine_actor *a = j->a;
	(void)r;
	bool current = a->generation == j->generation && a->state != EA_ENDED;
	a->alarm.settings--;
	if (outcome == ENGINE_KV_OK && current) {
		int64_t due_wall_ms = j->call->at_wall_ms > 0 ? j->call->at_wall_ms : 0;
		timer_disarm(&a->alarm.again);
		a->alarm.due_wall_ms = a->alarm.next_wall_ms = due_wall_ms;
		a->alarm.attempts = 0;
		a->alarm.known = true;
		set_at_engine(a);
		tell_later(a);
	} else if (outcome == ENGINE_KV_UNKNOWN && current && a->state == EA_LIVE) {
		a->alarm.known = false;
		timer_arm(&a->alarm.again, 0);
	}
	runtime_call_done(j->call, outcome_of(j->call, outcome));
	mem_free(j);
	engine_actor_call_over(a);
}

void engine_alarm_set(struct engine_actor *a, struct runtime_call *call)
{
	int64_t due_wall_ms = call->at_wall_ms > 0 ? call->at_wall_ms : 0;
	struct engine_alarm value = {
	    .due_wall_ms = due_wall_ms, .next_wall_ms = due_wall_ms, .destroy = a->alarm.destroy};
	a->alarm.settings++;
	write_key(a, on_set, &value, call);
}

/* ---- ringing ---- */

static void on_failed_kept(void *arg, enum engine_kv_outcome outcome, const struct runner_kv_response *r)
{
	struct job *j = arg;
	struct engine_actor *a = j->a;
	(void)r;
	if (outcome != ENGINE_KV_OK)
		LOG(ERROR, "that an alarm was given up could not be recorded", ENGINE_ACTOR_LOG(a));
	mem_free(j);
	engine_actor_call_over(a);
}

/* As local mode says it. */
static void keep_failed(struct engine_actor *a, int64_t due_wall_ms, const char *why)
{
	struct slice reason = slice_str(why == NULL ? "" : why);
	struct buf json;
	buf_init(&json, FAILED_MAX);
	buf_addf(&json, "{\"due_at\":%lld,\"failed_at\":%lld,\"reason\":", (long long)due_wall_ms,
		 (long long)clock_wall_ms());
	json_put_str(&json, slice_head(reason, reason.n < REASON_MAX ? reason.n : REASON_MAX));
	buf_add_byte(&json, '}');
	remember_failed(a, buf_slice(&json));
	submit(a, RUNNER_KV_PUT, SLICE_LIT(FAILED_KEY), buf_slice(&json), (struct job){0}, on_failed_kept);
	buf_done(&json);
}

static void give_up(struct engine_actor *a, int64_t due_wall_ms, const char *why)
{
	LOG(ERROR, "alarm given up after six attempts", ENGINE_ACTOR_LOG(a), LOG_NUM("due_ms", due_wall_ms),
	    LOG_STR("reason", why == NULL ? "" : why));
	keep_failed(a, due_wall_ms, why);
}

void engine_alarm_over(struct engine_actor *a, int64_t due_wall_ms, bool ok, const char *why)
{
	struct engine_alarm *al = &a->alarm;
	if (!al->known || al->due_wall_ms != due_wall_ms || al->settings > 0)
		return; /* set anew meanwhile */
	int32_t attempts = ok ? 0 : al->attempts + 1;
	bool again = !ok && attempts < ATTEMPTS_MAX;
	int64_t wait_ms = again ? (int64_t)RETRY_FIRST_MS << (attempts - 1) : 0;
	if (again)
		LOG(WARN, "alarm failed; it rings again", ENGINE_ACTOR_LOG(a), LOG_NUM("attempt", attempts),
		    LOG_NUM("next_ms", wait_ms), LOG_STR("reason", why == NULL ? "" : why));
	else if (!ok)
		give_up(a, due_wall_ms, why);
	al->attempts = again ? attempts : 0;
	al->due_wall_ms = again ? due_wall_ms : 0;
	al->next_wall_ms = again ? clock_wall_ms() + wait_ms : 0;
	tell_later(a);
	write_key(a, on_written, al, NULL);
}

void engine_alarm_wish_destroy(struct engine_actor *a)
{
	if (a->alarm.destroy)
		return;
	a->alarm.destroy = a->alarm.known = true;
	write_key(a, on_written, &a->alarm, NULL);
}

bool engine_alarm_end(struct engine_actor *a)
{
	struct engine_alarm *al = &a->alarm;
	int64_t rung_wall_ms = clock_wall_ms() + (a->how == STOPPED_START_FAILED ? SOON_MS : 0);
	bool failed = a->how == STOPPED_CRASHED || a->how == STOPPED_START_FAILED;
	if (!al->known && !a->restart_asked)
		return false;
	if (al->known && failed && !al->counted && al->due_wall_ms > 0 && al->next_wall_ms <= rung_wall_ms) {
		al->counted = true;
		engine_alarm_over(a, al->due_wall_ms, false, a->message);
		return a->calls > 0;
	}
	if (al->destroy || al->due_wall_ms > 0 || a->restart_asked)
		set_at_engine(a);
	return false;
}
