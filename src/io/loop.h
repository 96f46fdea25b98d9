/* The event loop: one thread, one tick per turn.
 *
 * A wrapper that keeps libuv out of every other folder. Edges post tasks; the
 * tick runs them after the callbacks of a turn, never inside one (no callback
 * calls back into its caller). All io/ functions are called from the loop's
 * thread except loop_wake. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/list.h"

struct loop;

/* A deferred call. Embedded in its owner; LOOP_TASK_INIT or loop_task_init before use. */
struct loop_task {
	struct list node;
	void (*fn)(void *arg);
	void *arg;
};

void loop_task_init(struct loop_task *t, void (*fn)(void *arg), void *arg);

/* 0 or -errno. */
int loop_open(struct loop **ret);

/* Runs until loop_stop and then until nothing is alive, or returns at once when stopped twice. */
void loop_run(struct loop *l);

/* Makes loop_run return after this turn. */
void loop_stop(struct loop *l);

/* Frees the loop. Returns the number of handles still alive (0 is the only good answer) and, when not 0,
 * appends what they are to `report`; the loop is then leaked on purpose. */
size_t loop_close(struct loop *l, struct buf *report);

/* Runs the task in the coming tick; posting a posted task does nothing. Tasks posted by tasks run in the next turn,
 * which then does not wait for I/O. */
void loop_post(struct loop *l, struct loop_task *t);
/* Idempotent. */
void loop_cancel(struct loop_task *t);
bool loop_task_posted(const struct loop_task *t);

/* fn runs at the end of each tick, behind the posted tasks. One per loop. */
void loop_on_tick(struct loop *l, void (*fn)(void *arg), void *arg);

/* Any thread: makes the loop turn and call the function given to loop_on_wake. */
void loop_wake(struct loop *l);
void loop_on_wake(struct loop *l, void (*fn)(void *arg), void *arg);

/* fn(arg, signo) on the loop for a signal. 0 or -errno. Closed by loop_signals_close. */
int loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);
void loop_signals_close(struct loop *l);

/* Monotonic milliseconds, read once per turn (cheap), and now. */
int64_t loop_mono_ms(const struct loop *l);

/* A descriptor watched for reading (pidfds, pipes, notify sockets). The descriptor stays the caller's; keep it
 * open until `closed`. */
struct fd_watch;
int fd_watch_open(struct loop *l, int fd, void (*readable)(void *arg), void *arg, struct fd_watch **ret);
/* Idempotent; no readable() after this. closed may be NULL; comes later, never inside. */
void fd_watch_close(struct fd_watch *w, void (*closed)(void *arg), void *arg);
