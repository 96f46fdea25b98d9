/* Owns the socket to the engine, the timers of its states and what is said
 * first on each connection.
 *
 * Happy path: CONNECTING, WAIT_INIT, ONLINE, and with TERM: DRAINING,
 * FINISHING, OVER. Each end of a socket comes to engine_link_on_ended, is judged
 * (engine_reason) and becomes an event of the table: DOWN leads to OFFLINE and
 * back-off, or to OVER when this runner is ending anyway; EVICT and REFUSE lead
 * to OVER. A silent peer (no Init, no ping) is DOWN, too.
 *
 * From inside the owner's calls nothing is told: what they lead to at once is
 * done by on_task. */
#include "base/entropy.h"
#include "base/limits.h"
#include "base/log.h"
#include "engine/engine_link_private.h"

#include <stdio.h>

enum act {
	NOT,      /* nothing, and the state stays */
	BUG,      /* cannot come in this state */
	DIAL,     /* open a socket */
	HELLO,    /* send Init, wait for the engine's */
	WELCOME,  /* online */
	RETRY,    /* back-off; tell offline if it was online */
	AFRESH,   /* the same without back-off */
	ANNOUNCE, /* stopping */
	GOODBYE,  /* close frame */
	END,      /* tell finished */
	EVICTED,
	FAILED,
};

struct cell {
	uint8_t next; /* enum engine_link_state */
	uint8_t act;  /* enum act */
};

#define STAY(act)      \
	{              \
		0, act \
	}
static const struct cell table[LINK_STATES][LINK_EVENTS] = {
    [LINK_OFFLINE] = {[LINK_DIAL] = {LINK_CONNECTING, DIAL},
		      [LINK_OPEN] = STAY(BUG),
		      [LINK_INIT] = STAY(BUG),
		      [LINK_DOWN] = STAY(BUG),
		      [LINK_EVICT] = STAY(BUG),
		      [LINK_REFUSE] = STAY(BUG),
		      [LINK_STOPPING] = {LINK_OVER, END},
		      [LINK_FINISH] = {LINK_OVER, END}},
    [LINK_CONNECTING] = {[LINK_DIAL] = STAY(BUG),
			 [LINK_OPEN] = {LINK_WAIT_INIT, HELLO},
			 [LINK_INIT] = STAY(BUG),
			 [LINK_DOWN] = {LINK_OFFLINE, RETRY},
			 [LINK_EVICT] = STAY(BUG),
			 [LINK_REFUSE] = STAY(BUG),
			 [LINK_STOPPING] = {LINK_OVER, END},
			 [LINK_FINISH] = {LINK_OVER, END}},
    [LINK_WAIT_INIT] = {[LINK_DIAL] = STAY(BUG),
			[LINK_OPEN] = STAY(BUG),
			[LINK_INIT] = {LINK_ONLINE, WELCOME},
			[LINK_DOWN] = {LINK_OFFLINE, RETRY},
			[LINK_EVICT] = {LINK_OVER, EVICTED},
			[LINK_REFUSE] = {LINK_OVER, FAILED},
			[LINK_STOPPING] = {LINK_OVER, END},
			[LINK_FINISH] = {LINK_OVER, END}},
    [LINK_ONLINE] = {[LINK_DIAL] = STAY(BUG),
		     [LINK_OPEN] = STAY(BUG),
		     [LINK_INIT] = STAY(BUG),
		     [LINK_DOWN] = {LINK_OFFLINE, RETRY},
		     [LINK_EVICT] = {LINK_OVER, EVICTED},
		     [LINK_REFUSE] = STAY(BUG),
		     [LINK_STOPPING] = {LINK_DRAINING, ANNOUNCE},
		     [LINK_FINISH] = {LINK_FINISHING, GOODBYE},
		     [LINK_RESYNC] = {LINK_OFFLINE, AFRESH}},
    [LINK_DRAINING] = {[LINK_DIAL] = STAY(BUG),
		       [LINK_OPEN] = STAY(BUG),
		       [LINK_INIT] = STAY(BUG),
		       [LINK_DOWN] = {LINK_OVER, END},
		       [LINK_EVICT] = {LINK_OVER, END},
		       [LINK_REFUSE] = STAY(BUG),
		       [LINK_FINISH] = {LINK_FINISHING, GOODBYE}},
    [LINK_FINISHING] = {[LINK_DIAL] = STAY(BUG),
			[LINK_OPEN] = STAY(BUG),
			[LINK_INIT] = STAY(BUG),
			[LINK_DOWN] = {LINK_OVER, END},
			[LINK_EVICT] = {LINK_OVER, END},
			[LINK_REFUSE] = STAY(BUG)},
};
#undef STAY

/* ---- time ---- */

/* 0 to 100 ms, then these, each less up to a quarter. */
static const int64_t back_off_ms[] = {100, 250, 500, 1000, 2000, 4000};

/* For host name and TCP, and again for TLS and HTTP. What was sent while the way swallowed everything is never
 * answered, even when the way is whole again, and the actors here have no more than seconds; so the first attempts
 * behind a loss give up early. Later ones, and those of a daemon that was never online, leave a busy engine its time.
 */
static const int64_t patience_ms[] = {1000, 1500, 2500, 4000};

static int64_t jittered(int64_t ms, int64_t spread_ms)
{
	uint32_t random;
	entropy_take(&random, sizeof(random));
	return ms - (int64_t)(random % (uint64_t)(spread_ms + 1));
}

static bool is_online(enum engine_link_state s)
{
	return s == LINK_ONLINE || s == LINK_DRAINING;
}

int64_t engine_link_patience_ms(const struct engine_link *l)
{
	unsigned last = ARRAY_SIZE(patience_ms) - 1;
	return patience_ms[l->ever_online && l->attempt < last ? l->attempt : last];
}

static int64_t init_ms(const struct engine_link *l)
{
	return l->ever_online && l->unwelcomed < LIMIT_LINK_INIT_SOON ? LIMIT_LINK_INIT_SOON_MS : LIMIT_LINK_INIT_MS;
}

/* An attempt that took long has been waited for already. */
static int64_t next_wait_ms(struct engine_link *l, const struct engine_reason *r)
{
	if (r->verdict == ENGINE_RETRY_SLOW)
		return LIMIT_LINK_SLOW_MS + jittered(LIMIT_LINK_SLOW_MS / 10, LIMIT_LINK_SLOW_MS / 10);
	unsigned i = l->attempt++;
	if (i >= ARRAY_SIZE(back_off_ms))
		i = ARRAY_SIZE(back_off_ms) - 1;
	int64_t least_ms = jittered(back_off_ms[0], back_off_ms[0]);
	if (i == 0)
		return least_ms;
	int64_t took_ms = is_online(l->state) ? 0 : loop_mono_ms(l->loop) - l->dial_mono_ms;
	int64_t wait_ms = jittered(back_off_ms[i], back_off_ms[i] / 4) - took_ms;
	return wait_ms > least_ms ? wait_ms : least_ms;
}

/* No Init, or no ping, or it is time to connect again. A process that was stopped for a while finds its timers due
 * before it has read what came meanwhile: perhaps that it was evicted, and then it must not connect again. So what is
 * in the socket has its turn first. */
static void on_wait(void *arg)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	if (l->state == LINK_OFFLINE) {
		engine_link_step(l, LINK_DIAL);
		return;
	}
	if (!l->last_look) {
		l->last_look = true;
		timer_arm(&l->wait, LIMIT_LINK_LAST_LOOK_MS);
		return;
	}
	char text[128] = "the engine has fallen silent: no ping for 8 s";
	if (l->state == LINK_WAIT_INIT) {
		(void)snprintf(text, sizeof(text),
			       "the engine accepted the WebSocket but did not register this runner within %d s",
			       (int)(init_ms(l) / 1000));
		l->unwelcomed++;
	}
	const struct ws_client_end end = {.why = WS_CLIENT_TIMEOUT, .text = text};
	engine_link_on_ended(l, &end);
}

static void on_stopping(void *arg)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	engine_link_say_stopping(l);
	timer_arm(&l->stopping, LIMIT_LINK_STOPPING_MS);
}

/* ---- the machine ---- */

static void end_for_good(struct engine_link *l, bool was_online)
{
	engine_link_drop(l);
	timer_disarm(&l->wait);
	timer_disarm(&l->stopping);
	timer_disarm(&l->settle);
	engine_lost_disarm(l);
	if (was_online)
		l->events->offline(l->arg);
}

static void evicted(struct engine_link *l, bool was_online)
{
	l->stats.evictions++;
	engine_link_say_over(l, "another runner has registered with this runner key");
	end_for_good(l, was_online);
	if (l->state == LINK_OVER)
		l->events->evicted(l->arg);
}

static void failed(struct engine_link *l, bool was_online)
{
	LOG(ERROR,
	    "the engine does not speak version 7 of the runner protocol; use an engine of version 2.1.7 or later",
	    LOG_STR("engine", l->place));
	engine_link_say_over(l, "the engine does not speak version 7 of the runner protocol");
	end_for_good(l, was_online);
	if (l->state == LINK_OVER)
		l->events->failed(l->arg, EXIT_CODE_FAILED);
}

static void finished(struct engine_link *l, bool was_online)
{
	engine_link_say_over(l, "this runner has stopped");
	end_for_good(l, was_online);
	if (l->state == LINK_OVER)
		l->events->finished(l->arg);
}

static void welcome(struct engine_link *l)
{
	l->stats.registrations++;
	l->ever_online = true;
	l->unwelcomed = 0;
	engine_link_heard(l);
}

static void hello(struct engine_link *l)
{
	l->open_mono_ms = loop_mono_ms(l->loop);
	timer_arm(&l->wait, init_ms(l));
	engine_link_say(l, buf_slice(&l->init));
}

/* From now on OFFLINE; l->wait is armed by who knows for how long. */
static void down(struct engine_link *l, bool was_online)
{
	l->resync_asked = false; /* it comes to the same */
	timer_disarm(&l->settle);
	engine_link_drop(l);
	engine_lost_offline(l);
	if (was_online)
		l->unsure_from = l->window.read;
	if (was_online)
		l->events->offline(l->arg);
}

void engine_link_step(struct engine_link *l, enum engine_link_event ev)
{
	enum engine_link_state old = l->state;
	struct cell c = table[old][ev];
	CHECK(c.act != BUG);
	if (c.act == NOT)
		return;
	l->state = c.next;
	switch ((enum act)c.act) {
	case DIAL:
		engine_link_dial(l);
		break;
	case HELLO:
		hello(l);
		break;
	case WELCOME:
		welcome(l);
		break;
	case RETRY:
		down(l, is_online(old));
		break;
	case AFRESH:
		timer_arm(&l->wait, 0);
		down(l, is_online(old));
		break;
	case ANNOUNCE:
		on_stopping(l);
		break;
	case GOODBYE:
		timer_disarm(&l->wait);
		timer_disarm(&l->stopping);
		timer_disarm(&l->mark);
		ws_client_close(l->ws, WS_CLOSE_NORMAL, SLICE_LIT("pegboard.runner_shutdown"));
		break;
	case END:
		finished(l, is_online(old));
		break;
	case EVICTED:
		evicted(l, is_online(old));
		break;
	case FAILED:
		failed(l, is_online(old));
		break;
	case NOT:
	case BUG:
		break;
	}
}

/* ---- the socket's end ---- */

static void retry(struct engine_link *l, const struct ws_client_end *end, const struct engine_reason *r)
{
	bool steady = is_online(l->state) && loop_mono_ms(l->loop) - l->open_mono_ms >= LIMIT_LINK_STEADY_MS;
	bool ending = l->state == LINK_DRAINING || l->state == LINK_FINISHING;
	if (steady)
		l->attempt = 0;
	if (l->state == LINK_DRAINING)
		LOG(WARN, "the connection to the engine ended while stopping; what still runs here ends now",
		    LOG_STR("why", end->text), LOG_STR("engine", l->place));
	if (!ending) {
		int64_t wait_ms = next_wait_ms(l, r);
		timer_arm(&l->wait, wait_ms);
		engine_link_say_down(l, end, r, wait_ms);
	}
	engine_link_step(l, LINK_DOWN);
	if (!ending && l->state == LINK_OFFLINE)
		l->events->changed(l->arg);
}

void engine_link_on_ended(void *arg, const struct ws_client_end *end)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	const struct engine_reason *r = engine_reason_of(end, is_online(l->state));
	switch (r->verdict) {
	case ENGINE_EVICTED:
		engine_link_step(l, LINK_EVICT);
		break;
	case ENGINE_UNSUPPORTED:
		engine_link_step(l, l->state == LINK_WAIT_INIT ? LINK_REFUSE : LINK_DOWN);
		break;
	case ENGINE_RETRY:
	case ENGINE_RETRY_SLOW:
		retry(l, end, r);
		break;
	}
}

static void tell_closed(struct engine_link *l)
{
	const struct engine_link_events *events = l->events;
	void *arg = l->arg;
	engine_link_free(l);
	events->closed(arg);
}

void engine_link_on_closed(void *arg)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	if (--l->n_sockets == 0 && l->state == LINK_CLOSED)
		tell_closed(l);
}

/* ---- the owner's side ---- */

static void on_task(void *arg)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	if (l->state == LINK_CLOSED) {
		tell_closed(l);
		return;
	}
	if (l->stop_asked) {
		l->stop_asked = false;
		engine_link_step(l, LINK_STOPPING);
	}
	if (l->resync_asked)
		engine_link_settle(l);
	if (l->finish_asked) {
		l->finish_asked = false;
		engine_link_step(l, LINK_FINISH);
	}
}

void engine_link_settle(struct engine_link *l)
{
	if (l->state == LINK_ONLINE && l->window.sent != l->window.read &&
	    loop_mono_ms(l->loop) < l->settle.due_mono_ms) {
		engine_link_on_mark(l);
		return;
	}
	l->resync_asked = false;
	timer_disarm(&l->settle);
	engine_link_step(l, LINK_RESYNC);
}

static void on_settle(void *arg)
{
	engine_link_settle(CAST(struct engine_link, arg, ENGINE_LINK_MAGIC));
}

void engine_link_init(struct engine_link *l)
{
	timer_init(&l->settle, l->loop, on_settle, l);
	timer_init(&l->wait, l->loop, on_wait, l);
	timer_init(&l->stopping, l->loop, on_stopping, l);
	timer_init(&l->mark, l->loop, engine_link_on_mark, l);
	list_init(&l->kept);
	loop_task_init(&l->task, on_task, l);
	engine_lost_init(l);
}

void engine_link_heard(struct engine_link *l)
{
	l->last_look = false;
	timer_arm(&l->wait, LIMIT_LINK_SILENCE_MS);
}

void engine_link_stopping(struct engine_link *l)
{
	l->stop_asked = l->state < LINK_DRAINING;
	loop_post(l->loop, &l->task);
}

void engine_link_finish(struct engine_link *l)
{
	l->finish_asked = true;
	loop_post(l->loop, &l->task);
}

bool engine_link_resync(struct engine_link *l)
{
	int64_t now = loop_mono_ms(l->loop);
	if (l->state != LINK_ONLINE || l->resync_asked)
		return false;
	if (l->resync_mono_ms != 0 && now - l->resync_mono_ms < LIMIT_LINK_RESYNC_MS)
		return false;
	l->resync_mono_ms = now;
	l->resync_asked = true;
	timer_arm(&l->settle, LIMIT_LINK_RESYNC_WAIT_MS);
	loop_post(l->loop, &l->task);
	return true;
}

const char *engine_link_why_not(const struct engine_link *l)
{
	return is_online(l->state) ? NULL : l->why_not;
}

uint64_t engine_link_sent(const struct engine_link *l)
{
	return l->window.sent;
}

uint64_t engine_link_read(const struct engine_link *l)
{
	return l->window.read;
}

const char *const engine_link_state_names[] = {
    [LINK_OFFLINE] = "offline", [LINK_CONNECTING] = "connecting", [LINK_WAIT_INIT] = "wait_init",
    [LINK_ONLINE] = "online",   [LINK_DRAINING] = "draining",     [LINK_FINISHING] = "finishing",
    [LINK_OVER] = "over",       [LINK_CLOSED] = "closed",         [LINK_STATES] = NULL,
};

void engine_link_stats(const struct engine_link *l, struct engine_link_stats *ret)
{
	*ret = l->stats;
	ret->state = engine_link_state_names[l->state];
	ret->queued_bytes = l->ws == NULL ? 0 : ws_client_queued(l->ws);
	ret->unconsumed = (size_t)(l->window.sent - l->window.read);
}

void engine_link_close(struct engine_link *l)
{
	if (l->state == LINK_CLOSED)
		return;
	l->state = LINK_CLOSED;
	loop_cancel(&l->task);
	engine_link_drop(l);
	timer_disarm(&l->wait);
	timer_disarm(&l->stopping);
	timer_disarm(&l->settle);
	engine_lost_disarm(l);
	if (l->n_sockets == 0)
		loop_post(l->loop, &l->task);
}
