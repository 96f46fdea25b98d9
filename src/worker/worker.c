/* One worker process: its sockets, its start, its readiness, its end.
 *
 * Happy path: sockets, spawn, ready (told, polled or proved by the start
 * call), places come and go, stop, exit, the last bytes read, handles closed,
 * gone. A start that fails leaves a sentence for its places; a crash tells
 * each place how it ended. */
#include "worker/worker_private.h"

#include "base/log.h"
#include "worker/worker_env.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define READY_POLL_FIRST_MS 5
#define READY_POLL_MAX_MS 50
#define READY_CALL_MS 2000
#define EMPTY_POOL_MS 30000 /* a shared worker without actors ends */
#define LAST_BYTES_MS 1000  /* what an exited worker had written is still read */

static void become_ready(struct worker *w);

/* ---- text ---- */

char *worker_tail_text(const struct worker *w)
{
	struct slice tail = w->proc == NULL ? SLICE_NONE : proc_stderr_tail(w->proc);
	return tail.n == 0 ? mem_strdup("") : mem_printf("; its last lines: %.*s", SLICE_FMT(tail));
}

/* ---- output ---- */

static void on_output(void *arg, int fd, struct slice line)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	const struct place *pl = list_empty(&w->places) ? NULL : CONTAINER_OF(w->places.next, struct place, node);
	bool own = w->type->isolation == ISOLATION_ACTOR && pl != NULL;
	const struct log_field fields[] = {LOG_STR("worker", w->id), LOG_STR("actor_name", w->type->name),
					   LOG_STR("stream", fd == 2 ? "stderr" : "stdout"),
					   LOG_STR("actor_id", own ? pl->actor_id : ""),
					   LOG_STR("actor_key", own && pl->key != NULL ? pl->key : "")};
	log_record(LOG_LEVEL_INFO, line, fields, own ? 5 : 3);
}

static void on_output_dropped(void *arg, uint64_t lines)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	LOG(WARN, "a worker writes too much; lines were dropped", LOG_STR("worker", w->id),
	    LOG_STR("actor_name", w->type->name), LOG_NUM("lines", lines));
}

/* ---- the end ---- */

static void worker_free(struct worker *w)
{
	CHECK(list_empty(&w->places) && w->n_queue == 0 && w->n_conns == 0);
	worker_socket_remove(&w->socket);
	timer_disarm(&w->retry);
	loop_cancel(&w->pump);
	list_remove(&w->node);
	mem_free(w->failure);
	worker_pool_worker_gone(w);
	w->magic = 0;
	mem_free(w);
}

void worker_part_closed(void *arg)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	CHECK(w->n_parts > 0);
	w->n_parts--;
	if (w->state == WORKER_CLOSING && w->n_parts == 0)
		worker_free(w);
	else if (w->state == WORKER_EXITED && list_empty(&w->busy))
		timer_arm(&w->retry, 0);
}

static void close_parts(struct worker *w)
{
	w->state = WORKER_CLOSING;
	w->n_parts++; /* held while closing */
	if (w->notify_watch != NULL)
		fd_watch_close(TAKE(w->notify_watch), worker_part_closed, w);
	if (w->runtime_listener != NULL) {
		listener_close(TAKE(w->runtime_listener));
		http_server_close(TAKE(w->runtime_server), worker_part_closed, w);
	}
	worker_part_closed(w);
}

/* Everything it had written has been read, or the time for that is over. */
static void bury(struct worker *w)
{
	worker_conns_shut(w, true);
	while (!list_empty(&w->places)) {
		struct place *pl = CONTAINER_OF(w->places.next, struct place, node);
		place_worker_gone(pl, w);
		CHECK(pl->worker == NULL);
	}
	close_parts(w);
}

static void leave_starting(struct worker *w)
{
	if (!w->starting_counted)
		return;
	w->starting_counted = false;
	w->pool->n_starting--;
	worker_pool_look(w->pool);
}

static void note_failure(struct worker *w, const struct proc_exit *how)
{
	char text[80];
	MEM_AUTO char *tail = worker_tail_text(w);
	proc_exit_text(how, text);
	if (w->failure == NULL)
		w->failure = mem_printf("worker %s (pid %d) ended: %s%s", w->id, proc_pid(w->proc), text, tail);
	if (w->state != WORKER_STOPPING) {
		if (w->answered)
			w->pool->stats.crashes_total++;
		LOG(WARN, "worker ended unasked", LOG_STR("worker", w->id), LOG_STR("actor_name", w->type->name),
		    LOG_NUM("pid", proc_pid(w->proc)), LOG_STR("how", text), LOG_NUM("actors", w->n_places));
	} else {
		LOG(DEBUG, "worker ended", LOG_STR("worker", w->id), LOG_STR("actor_name", w->type->name),
		    LOG_STR("how", text));
	}
}

static void on_exited(void *arg, const struct proc_exit *how)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	note_failure(w, how);
	w->proc = NULL;
	w->exit = *how;
	if (w->ready_call != NULL)
		worker_call_cancel(TAKE(w->ready_call));
	leave_starting(w);
	w->state = WORKER_EXITED;
	w->pool->stats.workers--;
	worker_conns_shut(w, false);
	timer_arm(&w->retry, list_empty(&w->busy) ? 0 : LAST_BYTES_MS);
}

static const struct proc_events proc_events = {
    .output = on_output, .output_dropped = on_output_dropped, .exited = on_exited};

void worker_end(struct worker *w, int64_t grace_ms, char *failure)
{
	if (w->failure == NULL)
		w->failure = failure;
	else
		mem_free(failure);
	if (w->state < WORKER_STOPPING) {
		leave_starting(w);
		w->state = WORKER_STOPPING;
	}
	if (w->proc != NULL)
		proc_stop(w->proc, grace_ms);
}

/* ---- readiness ---- */

static void on_ready_answer(void *arg, unsigned status, const char *why)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	(void)why;
	w->ready_call = NULL;
	if (w->state != WORKER_STARTING)
		return;
	if (status >= 200 && status < 300)
		become_ready(w);
	else
		timer_arm(&w->retry, w->ready_poll_ms);
}

/* The program is asked, or its socket tried. */
static void poll_ready(struct worker *w)
{
	w->ready_poll_ms = w->ready_poll_ms == 0 ? READY_POLL_FIRST_MS : w->ready_poll_ms * 2;
	if (w->ready_poll_ms > READY_POLL_MAX_MS)
		w->ready_poll_ms = READY_POLL_MAX_MS;
	if (w->type->ready == READY_PATH) {
		if (w->ready_call == NULL)
			w->ready_call =
			    worker_call(w, NULL, WORKER_CALL_READY, SLICE_NONE, READY_CALL_MS, on_ready_answer, w);
		return;
	}
	int fd = worker_socket_connect(&w->socket, w->type->serve);
	if (fd >= 0) {
		close(fd);
		become_ready(w);
		return;
	}
	if (fd == -EAGAIN)
		timer_arm(&w->retry, w->ready_poll_ms);
	else
		worker_end(w, 0, mem_printf("worker %s: its socket is not to be trusted: %s", w->id, strerror(-fd)));
}

static void on_notify(void *arg)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	if (w->proc != NULL && worker_socket_notified(&w->socket, proc_pid(w->proc)) && w->state == WORKER_STARTING)
		become_ready(w);
}

static void become_ready(struct worker *w)
{
	w->state = WORKER_READY;
	timer_disarm(&w->retry);
	LIST_FOR (&w->places, node) {
		place_worker_ready(CONTAINER_OF(node, struct place, node));
	}
}

void worker_proved(struct worker *w)
{
	w->answered = true;
	leave_starting(w);
}

bool worker_takes_actors(const struct worker *w)
{
	return w->state <= WORKER_READY && w->type->isolation == ISOLATION_SHARED &&
	       w->n_places < w->type->actors_per_worker;
}

static void on_retry(void *arg)
{
	struct worker *w = CAST(struct worker, arg, WORKER_MAGIC);
	switch (w->state) {
	case WORKER_STARTING:
		if (w->n_queue > 0)
			worker_conns_pump(w);
		if (w->type->ready != READY_NOTIFY && w->ready_call == NULL)
			poll_ready(w);
		return;
	case WORKER_READY:
		if (w->n_queue > 0)
			worker_conns_pump(w);
		else if (w->n_places == 0)
			worker_end(w, w->type->stop_grace_ms, NULL);
		return;
	case WORKER_STOPPING:
		worker_conns_pump(w);
		return;
	case WORKER_EXITED:
		bury(w);
		return;
	case WORKER_CLOSING:
		return;
	}
	IMPOSSIBLE("worker state");
}

static void on_pump(void *arg)
{
	worker_conns_pump(CAST(struct worker, arg, WORKER_MAGIC));
}

/* ---- places ---- */

void worker_seat(struct worker *w, struct place *pl)
{
	list_push_back(&w->places, &pl->node);
	w->n_places++;
	if (w->state == WORKER_READY)
		timer_disarm(&w->retry);
	if (w->n_queue > 0)
		loop_post(w->pool->o.loop, &w->pump);
}

void worker_unseat(struct worker *w, struct place *pl)
{
	list_remove(&pl->node);
	w->n_places--;
	snprintf(w->held[w->n_held++ % WORKER_HELD_MAX], sizeof(w->held[0]), "%s", pl->actor_id);
	if (w->n_places == 0 && w->type->isolation == ISOLATION_SHARED && w->state == WORKER_READY)
		timer_arm(&w->retry, EMPTY_POOL_MS);
	worker_pool_look(w->pool);
}

/* ---- start ---- */

static int spawn(struct worker *w, const struct place *first, struct err *e)
{
	const struct actor_type *t = w->type;
	struct proc_rlimit limits[ARRAY_SIZE(t->rlimits)];
	for (size_t i = 0; i < t->n_rlimits; i++)
		limits[i] = (struct proc_rlimit){.resource = t->rlimits[i].resource, .value = t->rlimits[i].value};
	char **env = worker_env_make(w, first);
	const char *path = worker_env_get(env, "PATH");
	struct proc_spec spec = {.argv = t->argv,
				 .search_path = path == NULL ? "/usr/local/bin:/usr/bin:/bin" : path,
				 .envp = env,
				 .directory = t->directory,
				 .set_user = t->set_user,
				 .uid = t->uid,
				 .gid = t->gid,
				 .groups = t->groups,
				 .n_groups = t->n_groups,
				 .fd3 = w->socket.listen_fd,
				 .rlimits = limits,
				 .n_rlimits = t->n_rlimits};
	int r = proc_spawn(w->pool->o.loop, w->pool->o.guardian, &spec, &proc_events, w, &w->proc, e);
	worker_env_free(env);
	if (w->socket.listen_fd >= 0) {
		close(w->socket.listen_fd); /* the worker's alone: what it does not accept is refused when it dies */
		w->socket.listen_fd = -1;
	}
	return r;
}

static struct worker *worker_new(struct worker_pool *p, const struct actor_type *type)
{
	struct worker *w = mem_zalloc(sizeof(*w));
	uint64_t random = 0;
	w->magic = WORKER_MAGIC;
	w->pool = p;
	w->type = type;
	list_init(&w->node);
	list_init(&w->places);
	list_init(&w->idle);
	list_init(&w->busy);
	list_init(&w->queue);
	loop_task_init(&w->pump, on_pump, w);
	timer_init(&w->retry, p->o.loop, on_retry, w);
	if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
		random = (uint64_t)clock_mono_us();
	snprintf(w->id, sizeof(w->id), "w-%012llx", (unsigned long long)(random >> 16));
	return w;
}

static int open_parts(struct worker *w, struct err *e)
{
	int r = worker_socket_make(&w->socket, w->pool->o.runtime_dir, w->type, e);
	if (r < 0)
		return r;
	int fd = w->socket.runtime_fd;
	r = runtime_api_open(w, fd);
	if (r < 0)
		return err_set(e, -r, EXIT_CODE_FAILED, "cannot serve the runtime socket: %s", strerror(-r));
	w->socket.runtime_fd = -1;
	if (w->type->ready == READY_NOTIFY) {
		r = fd_watch_open(w->pool->o.loop, w->socket.notify_fd, on_notify, w, &w->notify_watch);
		if (r < 0)
			return err_set(e, -r, EXIT_CODE_FAILED, "cannot watch the notify socket: %s", strerror(-r));
		w->n_parts++;
	}
	return 0;
}

struct worker *worker_start(struct worker_pool *p, const struct actor_type *type, struct place *first, char **ret_why)
{
	struct err e = {0};
	struct worker *w = worker_new(p, type);
	list_push_back(&p->workers, &w->node);
	if (open_parts(w, &e) < 0 || spawn(w, first, &e) < 0) {
		LOG(ERROR, "worker not started", LOG_STR("actor_name", type->name), LOG_STR("reason", e.text));
		p->stats.start_failures_total++;
		*ret_why = mem_strdup(e.text);
		close_parts(w);
		return NULL;
	}
	p->stats.workers++;
	p->stats.starts_total++;
	p->n_starting++;
	w->starting_counted = true;
	LOG(DEBUG, "worker started", LOG_STR("worker", w->id), LOG_STR("actor_name", type->name),
	    LOG_NUM("pid", proc_pid(w->proc)));
	if (type->ready == READY_ACCEPT && type->serve == SERVE_FD)
		w->state = WORKER_READY; /* the answer to the start call will prove it */
	else if (type->ready != READY_NOTIFY)
		timer_arm(&w->retry, READY_POLL_FIRST_MS);
	return w;
}
