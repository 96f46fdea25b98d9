/* Owns a timer. Looking is cheap and nobody is in a hurry, so nothing needs to tell. */
#include "app/exit_when.h"

#include "base/log.h"
#include "traffic/exchange.h"

#define EXIT_WHEN_MAGIC 0x65786974u
#define LOOK_MS 1000

static bool is_failed(struct exit_when *x)
{
	const char *why = x->mode->ops->failing(x->mode);
	if (why == NULL)
		return false;
	LOG(ERROR, "stopping because of exit_when=failed", LOG_STR("why", why));
	return true;
}

static bool is_idle(struct exit_when *x)
{
	int64_t now = loop_mono_ms(x->loop);
	if (!x->mode->ops->idle(x->mode) || exchange_count() > 0) {
		x->idle_since_mono_ms = -1;
		return false;
	}
	if (x->idle_since_mono_ms < 0)
		x->idle_since_mono_ms = now;
	if (now - x->idle_since_mono_ms < LIMIT_EXIT_IDLE_MS)
		return false;
	LOG(INFO, "stopping because of exit_when=idle", LOG_NUM("idle_ms", now - x->idle_since_mono_ms));
	return true;
}

static void on_look(void *arg)
{
	struct exit_when *x = CAST(struct exit_when, arg, EXIT_WHEN_MAGIC);
	bool failed = x->when == CONFIG_EXIT_FAILED;
	if (failed ? is_failed(x) : is_idle(x))
		x->end(x->arg, failed ? EXIT_CODE_FAILED : EXIT_CODE_OK);
	else
		timer_arm(&x->look, LOOK_MS);
}

void exit_when_start(struct exit_when *x, struct loop *l, struct mode *m, enum config_exit_when when,
		     void (*end)(void *arg, int exit_code), void *arg)
{
	if (when == CONFIG_EXIT_NEVER)
		return;
	*x = (struct exit_when){.magic = EXIT_WHEN_MAGIC,
				.loop = l,
				.mode = m,
				.when = when,
				.idle_since_mono_ms = -1,
				.end = end,
				.arg = arg};
	timer_init(&x->look, l, on_look, x);
	timer_arm(&x->look, LOOK_MS);
}

void exit_when_stop(struct exit_when *x)
{
	if (x->magic == EXIT_WHEN_MAGIC)
		timer_disarm(&x->look);
}
