/* Owns the uv loop, five handles of its own (prepare, check, idle, timer,
 * async), the posted tasks, the timers' heap, the signal handles and the read
 * buffer that all streams share.
 *
 * A turn: I/O callbacks, then in `check` the tick: due timers, tasks posted so
 * far, the function of loop_on_tick. Then close callbacks. `prepare`, just
 * before the loop would wait, sets the waiting time: none while tasks are
 * posted (the idle handle), else until the earliest timer (the one uv timer,
 * whose callback does nothing).
 *
 * Handles of users are counted. loop_run ends when loop_stop was called and
 * the count is zero, or at the second loop_stop. What is left over then is
 * named by loop_close, because a live handle at the end is a bug of ours. */
#include "io/loop.h"

#include "base/limits.h"
#include "io/loop_private.h"

#include <signal.h>
#include <uv.h>

#define LOOP_MAGIC 0x6c6f6f70u
#define WATCH_MAGIC 0x77617463u
#define SIGNAL_MAGIC 0x7369676eu
#define OWN_HANDLES 5

struct loop {
	uint32_t magic;
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle;
	uv_timer_t timer;
	uv_async_t async;
	struct list tasks;
	struct list signals; /* struct loop_signal */
	struct timer_heap timers;
	size_t n_handles;    /* of users */
	unsigned stops;      /* loop_stop calls since loop_run began */
	int64_t now_mono_us; /* -1: not read yet in this turn */
	int64_t skew_ms;     /* loop_skew */
	int64_t frozen_ms;   /* where loop_freeze stopped the clock; -1: it runs */
	void (*tick)(void *arg);
	void *tick_arg;
	void (*wake)(void *arg);
	void *wake_arg;
	uint8_t read_buffer[LIMIT_STREAM_READ_BYTES];
};

struct loop_signal {
	uint32_t magic;
	struct list node;
	struct loop *loop;
	uv_signal_t handle;
	void (*fn)(void *arg, int signo);
	void *arg;
};

struct fd_watch {
	uint32_t magic;
	bool closing;
	struct loop *loop;
	uv_poll_t handle;
	void (*readable)(void *arg);
	void *arg;
	void (*closed)(void *arg);
	void *closed_arg;
};

/* ---- tasks ---- */

void loop_task_init(struct loop_task *t, void (*fn)(void *arg), void *arg)
{
	*t = (struct loop_task){.fn = fn, .arg = arg};
	list_init(&t->node);
}

void loop_post(struct loop *l, struct loop_task *t)
{
	if (!list_linked(&t->node))
		list_push_back(&l->tasks, &t->node);
}

void loop_cancel(struct loop_task *t)
{
	list_remove(&t->node);
}

bool loop_task_posted(const struct loop_task *t)
{
	return list_linked(&t->node);
}

static void run_tasks(struct loop *l)
{
	struct list batch;
	list_init(&batch);
	list_move_all(&batch, &l->tasks);
	for (struct list *node; (node = list_pop(&batch)) != NULL;) {
		struct loop_task *t = CONTAINER_OF(node, struct loop_task, node);
		t->fn(t->arg);
	}
}

/* ---- the turn ---- */

int64_t loop_mono_us(struct loop *l)
{
	if (l->now_mono_us < 0)
		l->now_mono_us = (l->frozen_ms < 0 ? clock_mono_us() : l->frozen_ms * 1000) + l->skew_ms * 1000;
	return l->now_mono_us;
}

int64_t loop_mono_ms(struct loop *l)
{
	return loop_mono_us(l) / 1000;
}

static bool something_alive(const struct loop *l)
{
	return l->n_handles > 0 || !list_empty(&l->tasks);
}

/* loop_run ends after this turn, as far as can be seen. */
static bool stopping_now(const struct loop *l)
{
	return l->stops > 1 || (l->stops == 1 && !something_alive(l));
}

static void on_check(uv_check_t *handle)
{
	struct loop *l = CAST(struct loop, handle->data, LOOP_MAGIC);
	uv_idle_stop(&l->idle);
	l->now_mono_us = -1;
	timer_heap_run(&l->timers, loop_mono_ms(l));
	run_tasks(l);
	if (l->tick != NULL)
		l->tick(l->tick_arg);
}

static void on_idle(uv_idle_t *handle)
{
	(void)handle; /* its being active is what keeps the loop from waiting */
}

static void on_timer(uv_timer_t *handle)
{
	(void)handle; /* it only ends the wait; the tick runs what is due */
}

static void on_prepare(uv_prepare_t *handle)
{
	struct loop *l = CAST(struct loop, handle->data, LOOP_MAGIC);
	l->now_mono_us = -1;
	if (!list_empty(&l->tasks) || stopping_now(l)) {
		uv_idle_start(&l->idle, on_idle);
		return;
	}
	int64_t due = timer_heap_next_ms(&l->timers);
	if (due < 0) {
		uv_timer_stop(&l->timer);
		return;
	}
	int64_t wait = due - loop_mono_ms(l);
	l->now_mono_us = -1; /* the wait makes it old */
	uv_timer_start(&l->timer, on_timer, wait < 0 ? 0 : (uint64_t)wait, 0);
}

static void on_async(uv_async_t *handle)
{
	struct loop *l = CAST(struct loop, handle->data, LOOP_MAGIC);
	if (l->wake != NULL)
		l->wake(l->wake_arg);
}

void loop_turn(struct loop *l)
{
	uv_run(&l->uv, UV_RUN_ONCE);
}

void loop_run(struct loop *l)
{
	do
		loop_turn(l);
	while (!stopping_now(l));
	l->stops = 0;
}

void loop_stop(struct loop *l)
{
	l->stops++;
}

void loop_on_tick(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->tick = fn;
	l->tick_arg = arg;
}

void loop_wake(struct loop *l)
{
	uv_async_send(&l->async);
}

void loop_on_wake(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->wake = fn;
	l->wake_arg = arg;
}

void loop_skew(struct loop *l, int64_t ms)
{
	CHECK(ms >= 0);
	l->skew_ms += ms;
	l->now_mono_us = -1;
}

void loop_freeze(struct loop *l, bool on)
{
	l->frozen_ms = on ? clock_mono_ms() : -1;
	l->now_mono_us = -1;
}

/* ---- open and close ---- */

int loop_open(struct loop **ret)
{
	struct loop *l = mem_zalloc(sizeof(*l));
	l->magic = LOOP_MAGIC;
	l->now_mono_us = -1;
	l->frozen_ms = -1;
	list_init(&l->tasks);
	list_init(&l->signals);
	int r = uv_loop_init(&l->uv);
	if (r == 0) {
		r = uv_async_init(&l->uv, &l->async, on_async);
		if (r < 0)
			CHECK(uv_loop_close(&l->uv) == 0);
	}
	if (r < 0) {
		mem_free(l);
		return r;
	}
	/* None of these can fail: they are entries in lists of the uv loop. */
	uv_prepare_init(&l->uv, &l->prepare);
	uv_check_init(&l->uv, &l->check);
	uv_idle_init(&l->uv, &l->idle);
	uv_timer_init(&l->uv, &l->timer);
	l->prepare.data = l->check.data = l->async.data = l;
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);

	/* A peer that left is an error of the write, not the end of the process. */
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	CHECK(sigaction(SIGPIPE, &ignore, NULL) == 0);
	*ret = l;
	return 0;
}

static bool is_own(const struct loop *l, const uv_handle_t *h)
{
	return h == (const uv_handle_t *)&l->prepare || h == (const uv_handle_t *)&l->check ||
	       h == (const uv_handle_t *)&l->idle || h == (const uv_handle_t *)&l->timer ||
	       h == (const uv_handle_t *)&l->async;
}

struct walk {
	const struct loop *loop;
	struct buf *report;
};

static void on_walk_report(uv_handle_t *h, void *arg)
{
	struct walk *w = arg;
	if (is_own(w->loop, h))
		return;
	int fd = -1;
	buf_add_str(w->report, buf_len(w->report) == 0 ? "" : ", ");
	buf_add_str(w->report, uv_handle_type_name(h->type));
	if (uv_fileno(h, &fd) == 0)
		buf_addf(w->report, " (fd %d)", fd);
	if (uv_is_closing(h))
		buf_add_str(w->report, " closing");
}

size_t loop_close(struct loop *l, struct buf *report)
{
	size_t alive = l->n_handles + l->timers.n;
	if (alive > 0) {
		struct walk w = {.loop = l, .report = report};
		uv_walk(&l->uv, on_walk_report, &w);
		if (l->timers.n > 0)
			buf_addf(report, "%s%zu armed timers", buf_len(report) == 0 ? "" : ", ", l->timers.n);
		return alive;
	}
	uv_handle_t *own[OWN_HANDLES] = {(uv_handle_t *)&l->prepare, (uv_handle_t *)&l->check, (uv_handle_t *)&l->idle,
					 (uv_handle_t *)&l->timer, (uv_handle_t *)&l->async};
	for (size_t i = 0; i < OWN_HANDLES; i++)
		uv_close(own[i], NULL);
	uv_run(&l->uv, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&l->uv) == 0);
	mem_free(l->timers.at);
	l->magic = 0;
	mem_free(l);
	return 0;
}

/* ---- for the other files of io/ ---- */

struct uv_loop_s *loop_uv(struct loop *l)
{
	return &l->uv;
}

void loop_handle_opened(struct loop *l)
{
	l->n_handles++;
}

void loop_handle_closed(struct loop *l)
{
	CHECK(l->n_handles > 0);
	l->n_handles--;
}

uint8_t *loop_read_buffer(struct loop *l)
{
	return l->read_buffer;
}

struct timer_heap *loop_timers(struct loop *l)
{
	return &l->timers;
}

/* ---- signals ---- */

static void on_signal(uv_signal_t *handle, int signo)
{
	struct loop_signal *s = CAST(struct loop_signal, handle->data, SIGNAL_MAGIC);
	s->fn(s->arg, signo);
}

static void on_signal_closed(uv_handle_t *handle)
{
	struct loop_signal *s = CAST(struct loop_signal, handle->data, SIGNAL_MAGIC);
	loop_handle_closed(s->loop);
	s->magic = 0;
	mem_free(s);
}

int loop_on_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg)
{
	struct loop_signal *s = mem_zalloc(sizeof(*s));
	*s = (struct loop_signal){.magic = SIGNAL_MAGIC, .loop = l, .fn = fn, .arg = arg};
	list_init(&s->node);
	int r = uv_signal_init(&l->uv, &s->handle);
	if (r < 0) {
		mem_free(s);
		return r;
	}
	s->handle.data = s;
	loop_handle_opened(l);
	r = uv_signal_start(&s->handle, on_signal, signo);
	if (r < 0)
		uv_close((uv_handle_t *)&s->handle, on_signal_closed);
	else
		list_push_back(&l->signals, &s->node);
	return r;
}

void loop_signals_close(struct loop *l)
{
	for (struct list *node; (node = list_pop(&l->signals)) != NULL;) {
		struct loop_signal *s = CONTAINER_OF(node, struct loop_signal, node);
		uv_close((uv_handle_t *)&s->handle, on_signal_closed);
	}
}

/* ---- watched descriptors ---- */

static void on_watch_poll(uv_poll_t *handle, int status, int events)
{
	struct fd_watch *w = CAST(struct fd_watch, handle->data, WATCH_MAGIC);
	(void)status; /* an error is found by the reader */
	(void)events;
	if (!w->closing)
		w->readable(w->arg);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct fd_watch *w = CAST(struct fd_watch, handle->data, WATCH_MAGIC);
	loop_handle_closed(w->loop);
	void (*closed)(void *arg) = w->closed;
	void *arg = w->closed_arg;
	w->magic = 0;
	mem_free(w);
	if (closed != NULL)
		closed(arg);
}

int fd_watch_open(struct loop *l, int fd, void (*readable)(void *arg), void *arg, struct fd_watch **ret)
{
	struct fd_watch *w = mem_zalloc(sizeof(*w));
	*w = (struct fd_watch){.magic = WATCH_MAGIC, .loop = l, .readable = readable, .arg = arg};
	int r = uv_poll_init(&l->uv, &w->handle, fd);
	if (r < 0) {
		mem_free(w);
		return r;
	}
	w->handle.data = w;
	loop_handle_opened(l);
	CHECK(uv_poll_start(&w->handle, UV_READABLE, on_watch_poll) == 0);
	*ret = w;
	return 0;
}

void fd_watch_close(struct fd_watch *w, void (*closed)(void *arg), void *arg)
{
	if (w->closing)
		return;
	w->closing = true;
	w->closed = closed;
	w->closed_arg = arg;
	uv_close((uv_handle_t *)&w->handle, on_watch_closed);
}
