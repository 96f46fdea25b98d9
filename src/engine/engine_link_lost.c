/* When nothing may run here any more.
 *
 * The engine gives a runner up runnerLostThreshold after it last saw it, which
 * it does at each of its pings while the socket is up; so does this clock,
 * from what it heard, and less a margin. It runs on while there is no socket:
 * soon_told first, lost at the end. A welcome starts it again.
 *
 * What was heard counts from when it was said, not from when it was read: a
 * process that was stopped for a while finds old pings in its socket. A ping
 * carries the engine's clock; a ping that comes later after its predecessor
 * than it was sent after it is that much stale, unless it did come in time and
 * the engine's clock was set. */
#include "base/limits.h"
#include "engine/engine_link_private.h"

#define PING_MS 3200 /* 3 s and a bit of jitter: no later than that is in time */
#define LATER_MS 1000
#define THRESHOLD_MAX_MS ((int64_t)24 * 60 * 60 * 1000)

void engine_lost_disarm(struct engine_link *l)
{
	l->lost.armed = l->lost.soon_told = false;
	timer_disarm(&l->lost.timer);
}

static int64_t at_most(int64_t ms, int64_t bound)
{
	return ms < bound ? ms : bound;
}

/* The margins are a quarter of thresholds that are shorter than the usual one. */
static int64_t left_ms(const struct engine_link *l)
{
	const struct engine_lost *k = &l->lost;
	int64_t margin_ms = at_most(LIMIT_LINK_LOST_MARGIN_MS, k->threshold_ms / 4);
	int64_t left = k->heard_mono_ms + k->threshold_ms - margin_ms - loop_mono_ms(l->loop);
	return left < 0 ? 0 : left;
}

static void arm(struct engine_link *l)
{
	int64_t soon_ms = at_most(LIMIT_LINK_LOST_SOON_MS, l->lost.threshold_ms / 4);
	int64_t left = left_ms(l) - (l->lost.soon_told ? 0 : soon_ms);
	timer_arm(&l->lost.timer, left < 0 ? 0 : left);
}

static void on_timer(void *arg)
{
	struct engine_link *l = CAST(struct engine_link, arg, ENGINE_LINK_MAGIC);
	struct engine_lost *k = &l->lost;
	int64_t left = left_ms(l);
	if (l->state == LINK_ONLINE || l->state == LINK_DRAINING) {
		/* A threshold below the pace of its pings: it cannot mean it while it pings. Or they stopped: see
		 * engine_lost_offline. */
		timer_arm(&k->timer, LATER_MS);
	} else if (left > 0) {
		k->soon_told = true;
		timer_arm(&k->timer, left);
		l->events->lost_soon(l->arg, left);
	} else {
		engine_lost_disarm(l);
		l->runner_id[0] = '\0';
		engine_link_keep_none(l);
		l->events->lost(l->arg);
	}
}

void engine_lost_offline(struct engine_link *l)
{
	if (l->lost.armed)
		arm(l);
}

void engine_lost_init(struct engine_link *l)
{
	timer_init(&l->lost.timer, l->loop, on_timer, l);
}

void engine_lost_welcome(struct engine_link *l, int64_t open_mono_ms, int64_t threshold_ms)
{
	engine_lost_disarm(l);
	l->lost.ping_mono_ms = 0;
	if (threshold_ms <= 0)
		return; /* it never gives up */
	l->lost.threshold_ms = at_most(threshold_ms, THRESHOLD_MAX_MS);
	l->lost.heard_mono_ms = open_mono_ms;
	l->lost.armed = true;
	arm(l);
}

/* How late this ping is, from how late the one before it was. */
static int64_t staleness(const struct engine_lost *k, int64_t now_mono_ms, int64_t ts)
{
	int64_t came_ms = now_mono_ms - k->ping_mono_ms;
	int64_t most_ms = k->stale_ms + (came_ms > PING_MS ? came_ms - PING_MS : 0);
	int64_t sent_ms, stale_ms;
	if (__builtin_sub_overflow(ts, k->ping_ts, &sent_ms) ||
	    __builtin_sub_overflow(k->stale_ms + came_ms, sent_ms, &stale_ms) || stale_ms < 0)
		return 0; /* its clock was set */
	return at_most(stale_ms, most_ms);
}

void engine_lost_ping(struct engine_link *l, int64_t ts)
{
	struct engine_lost *k = &l->lost;
	int64_t now_mono_ms = loop_mono_ms(l->loop);
	k->stale_ms = k->ping_mono_ms == 0 ? 0 : staleness(k, now_mono_ms, ts);
	k->ping_mono_ms = now_mono_ms;
	k->ping_ts = ts;
	if (!k->armed || now_mono_ms - k->stale_ms <= k->heard_mono_ms)
		return;
	k->heard_mono_ms = now_mono_ms - k->stale_ms;
	arm(l);
}
