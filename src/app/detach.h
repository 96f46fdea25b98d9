/* --detach: the parent returns when the daemon is ready or has failed. */
#pragma once

#include "base/err.h"

/* Forks. In the child: 0 with the descriptor to pass to app_run and detach_failed. In the parent: never returns; it
 * waits, prints the child's sentence and exits with its code. -errno when forking fails. */
int detach(int *ret_ready_fd, struct err *e);

/* Tells the waiting parent: ready. */
void detach_ready(int ready_fd);
/* ... or why not. */
void detach_failed(int ready_fd, const struct err *e);

/* Opens those of the descriptors 0 to 2 that are closed on /dev/null: else whatever is opened next would be taken for
 * them, and the log written into it. Before anything else is opened. */
void detach_fill_stdio(void);
