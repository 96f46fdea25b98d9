/* The daemon: builds the object graph, runs the loop, takes it down again. */
#pragma once

#include "app/config.h"

/* Runs until a signal or a failure; returns the exit code. The configuration is changed in place when it is read again,
 * with the program's arguments; its actor types are taken. `ready_fd`: written to once ready (the detaching parent
 * waits there), or -1. A failure to start is in e and nothing has been logged about it. */
int app_run(struct config *c, int argc, char *const *argv, int ready_fd, struct err *e);
