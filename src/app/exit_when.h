/* The setting exit_when: ends a daemon that has nothing to do, or that serves a program which does not work, for
 * orchestrators that would see neither. */
#pragma once

#include "app/config.h"
#include "app/mode.h"

#include "io/timer.h"

struct exit_when {
	uint32_t magic;
	struct loop *loop;
	struct mode *mode;
	enum config_exit_when when;
	struct timer look;
	int64_t idle_since_mono_ms; /* -1: not idle */
	void (*end)(void *arg, int exit_code);
	void *arg;
};

/* Looks once a second from now on; end() is called at most once, with the reason logged. Nothing is done with
 * CONFIG_EXIT_NEVER. */
void exit_when_start(struct exit_when *x, struct loop *l, struct mode *m, enum config_exit_when when,
		     void (*end)(void *arg, int exit_code), void *arg);
/* Idempotent; also before a start. */
void exit_when_stop(struct exit_when *x);
