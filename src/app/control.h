/* The control socket, <runtime-dir>/control.sock: what rivet-runnerctl talks to.
 *
 * HTTP on a Unix socket of mode 0600: who may open it may do everything, and
 * nobody else may. Answers are JSON; the paths are listed in docs/OPERATIONS.md. */
#pragma once

#include "app/mode.h"

struct control;

struct control_options {
	struct loop *loop;
	struct mode *mode;
	const struct config *config;
	/* Asked to stop cleanly, as SIGTERM does. From the loop's callbacks. */
	void (*drain)(void *arg);
	/* Read the configuration again, as SIGHUP does: 0 with a JSON object in out, or refused with a sentence. */
	int (*reload)(void *arg, struct buf *out, struct err *e);
	/* Appends what reloads have left to the status: members, each with a comma before it. */
	void (*status)(void *arg, struct buf *out);
	void *arg;
};

/* 0 or -errno with a sentence. The runtime directory is locked by this daemon: a socket left there is a dead one's. */
int control_open(const struct control_options *o, struct control **ret, struct err *e);

/* Ends every call; closed() later, when each answer of the mode still owed has come. */
void control_close(struct control *c, void (*closed)(void *arg), void *arg);
