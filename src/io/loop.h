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

/* Runs until loop_stop and then until no handle is open and no task is posted (armed timers do not hold it up), or
 * returns at once when stopped twice. May be called again. */
void loop_run(struct loop *l);

/* Makes loop_run return after this turn or, while handles are open, after the last of them has closed. The second
 * call in one loop_run: after this turn. */
void loop_stop(struct loop *l);

/* One turn, waiting for something to happen unless tasks are posted. For tests; loop_run is made of it. */
void loop_turn(struct loop *l);

/* Frees the loop. Returns the number of handles still open and timers still armed (0 is the only good answer) and,
 * when not 0, appends what they are to `report`; the loop is then leaked on purpose. */
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

/* clock_mono_ms, read once before the callbacks of a turn and once before its tick (cheap). */
int64_t loop_mono_ms(struct loop *l);
/* The same moment in microseconds, for measuring; costs no reading of its own. */
int64_t loop_mono_us(struct loop *l);

/* Moves the loop's clock forward, for tests of time-outs: loop_mono_ms and all timers jump by ms >= 0. */
void loop_skew(struct loop *l, int64_t ms);

/* Stops the loop's clock, or lets it run on, for tests of time-outs: while it stands only loop_skew moves it, however
 * slow the machine is. I/O is waited for as ever. */
void loop_freeze(struct loop *l, bool on);

/* A descriptor watched for reading (pidfds, pipes, notify sockets). The descriptor stays the caller's; keep it
 * open until `closed`. */
struct fd_watch;
int fd_watch_open(struct loop *l, int fd, void (*readable)(void *arg), void *arg, struct fd_watch **ret);
/* Idempotent; no readable() after this. closed may be NULL; comes later, never inside. */
void fd_watch_close(struct fd_watch *w, void (*closed)(void *arg), void *arg);
