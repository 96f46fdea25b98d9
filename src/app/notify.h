/* The service manager (systemd): what it is told, and the descriptors it hands
 * over or keeps for us. Without one every call does nothing.
 *
 * One per process, as the protocol's environment is (sd_notify(3),
 * sd_listen_fds(3)). */
#pragma once

#include "base/check.h"
#include "io/loop.h"

/* Takes the descriptors that were passed and clears the protocol's variables, so that no child sees them. Before any
 * process is started. */
void notify_begin(void);
/* Closes what nobody took. Names and number are returned for the log; 0: none was left. */
size_t notify_unused(struct buf *names);

/* A listening socket passed for this listener ("api", "admin") by a socket unit, or kept from our last run. -1: none.
 * The caller owns it. ret_kept: it is of our last run. */
int notify_take(const char *listener, bool *ret_kept);
/* Gives the manager a copy to keep across a restart or crash of this program (FDSTORE=). */
void notify_keep(const char *listener, int fd);
/* It need not keep that any more (FDSTOREREMOVE=). */
void notify_forget(const char *listener);

void notify_ready(void);
void notify_stopping(void);
/* RELOADING=1 with the time (MONOTONIC_USEC=); notify_ready() follows when it is done. */
void notify_reloading(void);
/* One line for `systemctl status`. */
void notify_status(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* The stop takes that much longer (EXTEND_TIMEOUT_USEC=). */
void notify_extend(int64_t ms);

/* Tells the watchdog, from the loop's own timer, that the loop turns; nothing when the unit has none. */
void notify_watch(struct loop *l);
void notify_unwatch(void);
