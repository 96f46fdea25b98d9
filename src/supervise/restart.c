/* Owns nothing: arithmetic on the caller's struct.
 *
 * failed, failed, failed: 0, 1 s, 2 s, 4 s ... 30 s, each with up to a quarter
 * on top so that many actors of one broken program do not come back in step.
 * The waiting is never shorter than promised, so a Retry-After made of it holds. */
#include "supervise/restart.h"

#define HEALTHY_MS (60 * 1000)
#define FIRST_WAIT_MS 1000
#define LONGEST_WAIT_MS (30 * 1000)
#define FAILING 5

static bool was_healthy(const struct restart *r, int64_t now_mono_ms)
{
	return r->up_since_mono_ms != 0 && now_mono_ms - r->up_since_mono_ms >= HEALTHY_MS;
}

void restart_up(struct restart *r, int64_t now_mono_ms)
{
	r->up_since_mono_ms = now_mono_ms;
	r->not_before_mono_ms = 0;
}

void restart_failed(struct restart *r, int64_t now_mono_ms, uint32_t random)
{
	if (was_healthy(r, now_mono_ms))
		r->failures = 0;
	if (r->failures < UINT8_MAX)
		r->failures++;
	r->up_since_mono_ms = 0;
	r->not_before_mono_ms = 0;
	if (r->failures == 1)
		return;
	int64_t wait_ms = FIRST_WAIT_MS;
	for (unsigned i = 2; i < r->failures && wait_ms < LONGEST_WAIT_MS; i++)
		wait_ms *= 2;
	if (wait_ms > LONGEST_WAIT_MS)
		wait_ms = LONGEST_WAIT_MS;
	r->not_before_mono_ms = now_mono_ms + wait_ms + (int64_t)(random % (uint32_t)(wait_ms / 4 + 1));
}

void restart_stopped(struct restart *r, int64_t now_mono_ms)
{
	if (was_healthy(r, now_mono_ms))
		*r = (struct restart){0};
	r->up_since_mono_ms = 0;
}

int64_t restart_wait_ms(const struct restart *r, int64_t now_mono_ms)
{
	return r->not_before_mono_ms > now_mono_ms ? r->not_before_mono_ms - now_mono_ms : 0;
}

bool restart_is_failing(const struct restart *r)
{
	return r->failures >= FAILING && r->up_since_mono_ms == 0;
}
