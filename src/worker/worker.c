/* Owns one worker: its sockets, its process, its seats and connections.
 *
 * STARTING until worker_ready.c says ready, READY while it serves, ENDING once
 * it was told to end, EXITED when it is reaped and what it still had written is
 * being read, CLOSING until every handle is gone; then the memory goes.
 *
 * Its seats hear of its end when the last exchange is over, so that an answer
 * written just before an exit still arrives; WORKER_DRAIN_MS bounds that. A
 * start that fails kills the process first: the sentence then has the last
 * words of it. */
#include "worker/worker_private.h"

#include <signal.h>
#include <unistd.h>

static struct worker *worker_of(void *arg)
{
	return CAST(struct worker, arg, WORKER_MAGIC);
}

static struct place *place_at(struct list *node)
{
	return CONTAINER_OF(node, struct place, node);
}

/* ---- what it writes ---- */

#define OWN_FIELDS 5

/* Whose process it is; a shared one is no actor's. Returns how many there are. */
static size_t log_fields(const struct worker *w, struct log_field fields[OWN_FIELDS])
{
	fields[0] = LOG_STR("worker_id", w->sockets.id);
	fields[1] = LOG_STR("actor_name", w->type->name);
	if (w->type->isolation != ISOLATION_ACTOR || list_empty(&w->seats))
		return 2;
	const struct place *pl = place_at(w->seats.next);
	fields[2] = LOG_STR("actor_id", pl->actor_id);
	fields[3] = LOG_STR("actor_key", pl->key);
	fields[4] = LOG_NUM("generation", pl->generation);
	return OWN_FIELDS;
}

/* A record of its own life; how NULL: none. */
static void log_own(const struct worker *w, struct slice msg, const char *how)
{
	struct log_field fields[OWN_FIELDS + 2];
	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	size_t n = log_fields(w, fields);
	fields[n++] = LOG_NUM("pid", w->pid);
	fields[n++] = LOG_STR("how", how);
	log_record(LOG_LEVEL_DEBUG, msg, fields, n);
}

static void on_output(void *arg, int fd, struct slice line)
{
	struct log_field fields[OWN_FIELDS + 1];
	struct worker *w = worker_of(arg);
	worker_count_output(w->type, 1, 0);
	if (!log_wants(LOG_LEVEL_INFO))
		return;
	size_t n = log_fields(w, fields);
	fields[n++] = LOG_STR("stream", fd == STDERR_FILENO ? "stderr" : "stdout");
	log_record(LOG_LEVEL_INFO, line, fields, n);
}

static void on_output_dropped(void *arg, uint64_t lines)
{
	struct log_field fields[OWN_FIELDS + 1];
	struct worker *w = worker_of(arg);
	size_t n = log_fields(w, fields);
	worker_count_output(w->type, 0, lines);
	fields[n++] = LOG_NUM("lines", lines);
	log_record(LOG_LEVEL_WARN, SLICE_LIT("worker writes too fast, lines were dropped"), fields, n);
}

/* The sentence with the last lines of stderr behind it; takes the sentence. */
static char *with_last_words(char *sentence, struct slice tail)
{
	if (tail.n == 0)
		return sentence;
	char *words = slice_dup(tail);
	for (size_t i = 0; i < tail.n; i++)
		if (words[i] == '\0') /* the sentence goes on behind it */
			words[i] = '?';
	char *all = mem_printf("%s; its last lines on stderr: %s", sentence, words);
	mem_free(words);
	mem_free(sentence);
	return all;
}

/* ---- its end ---- */

void worker_slot_free(struct worker *w)
{
	if (!w->has_slot)
		return;
	w->has_slot = false;
	w->pool->n_starting--;
	worker_pool_schedule(w->pool);
}

static void seats_over(struct worker *w)
{
	LIST_FOR (&w->seats, node)
		worker_place_exited(place_at(node));
	CHECK(list_empty(&w->seats));
}

static void worker_free(struct worker *w)
{
	struct worker_pool *p = w->pool;
	worker_call_done(&w->health);
	worker_socket_remove(&w->sockets);
	loop_cancel(&w->finish);
	map_done(&w->places);
	list_remove(&w->node);
	w->kind->n_workers--;
	p->n_workers--;
	mem_free(w->namespace_name);
	mem_free(w->failure);
	mem_free(w->ended);
	mem_free(w->former);
	w->magic = 0;
	mem_free(w);
	worker_pool_schedule(p);
	worker_pool_look(p);
}

static bool serves_something(const struct worker *w)
{
	LIST_FOR (&w->busy, node)
		if (CONTAINER_OF(node, struct worker_conn, node)->x != NULL)
			return true;
	return false;
}

static void close_all(struct worker *w)
{
	w->state = WORKER_CLOSING;
	timer_disarm(&w->drain);
	worker_slot_free(w);
	seats_over(w);
	worker_ready_end(w);
	worker_conns_close(w);
	timer_disarm(&w->unused);
	if (w->runtime != NULL)
		runtime_socket_close(w->runtime);
}

/* From the tick: moves through the last states as far as it goes. */
static void on_finish(void *arg)
{
	struct worker *w = worker_of(arg);
	if (w->state == WORKER_EXITED && (!timer_armed(&w->drain) || !serves_something(w)))
		close_all(w);
	if (w->state == WORKER_CLOSING && w->n_conns == 0 && w->notify == NULL && w->runtime == NULL)
		worker_free(w);
}

void worker_look(struct worker *w)
{
	if (w->state >= WORKER_EXITED)
		loop_post(w->pool->o.loop, &w->finish);
}

static void on_drain(void *arg)
{
	worker_look(worker_of(arg));
}

static void on_exited(void *arg, const struct proc_exit *how)
{
	struct worker *w = worker_of(arg);
	char text[80];
	proc_exit_text(how, text);
	struct slice tail = proc_stderr_tail(w->proc);
	bool starting = w->state == WORKER_STARTING;
	if (w->failure != NULL)
		w->failure = with_last_words(TAKE(w->failure), tail);
	w->ended = with_last_words(mem_printf("worker %s (pid %d) ended%s: %s", w->sockets.id, (int)w->pid,
					      starting ? " before it was ready" : "", text),
				   tail);
	if (w->failure == NULL)
		w->failure_kind = how->signal == 0 ? START_EXIT : START_SIGNAL;
	if (!w->asked && !starting)
		worker_count_crash(w->type, how->oom != CGROUP_OOM_NONE ? CRASH_OOM
					    : how->signal == 0          ? CRASH_EXIT
									: CRASH_SIGNAL);
	log_own(w, SLICE_LIT("worker ended"), text);
	w->proc = NULL;
	w->state = WORKER_EXITED;
	worker_forward_exited(w);
	timer_arm(&w->drain, WORKER_DRAIN_MS);
	worker_look(w);
}

static const struct proc_events proc_events = {
    .output = on_output, .output_dropped = on_output_dropped, .exited = on_exited};

void worker_end(struct worker *w, int64_t grace_ms)
{
	w->asked = true;
	if (w->state < WORKER_ENDING)
		w->state = WORKER_ENDING;
	worker_ready_end(w);
	timer_disarm(&w->unused);
	if (w->proc != NULL)
		proc_stop(w->proc, grace_ms < 0 ? 0 : grace_ms);
}

void worker_fail(struct worker *w, enum worker_start_failure kind, char *why)
{
	if (w->failure != NULL || w->state >= WORKER_EXITED) {
		mem_free(why);
		return;
	}
	w->failure = why;
	w->failure_kind = (uint8_t)kind;
	worker_end(w, 0);
}

/* ---- seats ---- */

static void on_unused(void *arg)
{
	struct worker *w = worker_of(arg);
	if (list_empty(&w->seats))
		worker_end(w, w->type->stop_grace_ms);
}

void worker_retire(struct worker *w)
{
	if (w->type->isolation == ISOLATION_SHARED && w->state < WORKER_ENDING && list_empty(&w->seats))
		worker_end(w, w->type->stop_grace_ms);
}

void worker_seats_changed(struct worker *w)
{
	if (w->type->isolation == ISOLATION_ACTOR || w->state >= WORKER_ENDING)
		return;
	if (list_empty(&w->seats))
		timer_arm(&w->unused, w->kind->retired ? 0 : WORKER_UNUSED_MS);
	else
		timer_disarm(&w->unused);
	worker_pool_schedule(w->pool);
}

bool worker_has_room(const struct worker *w, const struct place *pl)
{
	return w->type->isolation == ISOLATION_SHARED && w->state <= WORKER_READY &&
	       w->places.count < w->type->actors_per_worker && strcmp(w->namespace_name, pl->namespace_name) == 0 &&
	       worker_find_place(w, slice_str(pl->actor_id)) == NULL;
}

bool worker_takes_calls(const struct worker *w)
{
	/* Connecting proves nothing with a descriptor: the answer to the start call is the sign. */
	bool answer_is_sign = w->type->serve == SERVE_FD && w->type->ready == READY_ACCEPT;
	return w->state == WORKER_READY || (w->state == WORKER_STARTING && w->proc != NULL && answer_is_sign);
}

struct place *worker_find_place(const struct worker *w, struct slice actor_id)
{
	struct map_node *node = map_get(&w->places, actor_id);
	return node == NULL ? NULL : CONTAINER_OF(node, struct place, by_id);
}

void worker_note_former(struct worker *w, const char *actor_id)
{
	if (w->former == NULL)
		w->former = mem_zalloc(WORKER_FORMER_MAX * sizeof(*w->former));
	char *to = w->former[w->n_former++ % WORKER_FORMER_MAX];
	memcpy(to, actor_id, strnlen(actor_id, 63) + 1);
}

bool worker_held(const struct worker *w, struct slice actor_id)
{
	size_t n = w->n_former < WORKER_FORMER_MAX ? w->n_former : WORKER_FORMER_MAX;
	for (size_t i = 0; i < n; i++)
		if (slice_is(actor_id, w->former[i]))
			return true;
	return false;
}

void worker_is_ready(struct worker *w)
{
	if (w->state != WORKER_STARTING)
		return;
	w->state = WORKER_READY;
	worker_count_ready(w->type, loop_mono_us(w->pool->o.loop) - w->since_mono_us);
	worker_ready_end(w);
	LIST_FOR (&w->seats, node)
		if (place_at(node)->state == PLACE_SEATED)
			worker_place_load(place_at(node));
	if (list_empty(&w->seats))
		worker_slot_free(w);
}

/* ---- its beginning ---- */

static struct worker *worker_new(struct worker_kind *kind, const struct place *first)
{
	struct worker_pool *p = first->pool;
	struct loop *l = p->o.loop;
	struct worker *w = mem_zalloc(sizeof(*w));
	w->magic = WORKER_MAGIC;
	w->pool = p;
	w->kind = kind;
	w->type = kind->type;
	w->namespace_name = mem_strdup(first->namespace_name);
	w->sockets = (struct worker_socket){.http_fd = -1, .runtime_fd = -1, .notify_fd = -1};
	list_init(&w->node);
	list_init(&w->seats);
	map_init(&w->places, w->type->isolation == ISOLATION_ACTOR ? 1 : LIMIT_ACTORS);
	timer_init(&w->drain, l, on_drain, w);
	timer_init(&w->unused, l, on_unused, w);
	loop_task_init(&w->finish, on_finish, w);
	worker_conns_init(w);
	worker_ready_init(w);
	list_push_back(&kind->workers, &w->node);
	w->since_mono_us = loop_mono_us(l);
	kind->n_workers++;
	p->n_workers++;
	w->has_slot = true;
	p->n_starting++;
	worker_count_start(w->type);
	return w;
}

static int spawn(struct worker *w, const struct place *first, struct err *e)
{
	const struct actor_type *t = w->type;
	struct proc_rlimit limits[ARRAY_SIZE(t->rlimits)];
	const struct place_actor one = {
	    .actor_id = first->actor_id, .key = first->key, .generation = first->generation};
	struct worker_env env;
	for (size_t i = 0; i < t->n_rlimits; i++)
		limits[i] = (struct proc_rlimit){t->rlimits[i].resource, t->rlimits[i].value};
	worker_env_make(&env, environ, t, &w->sockets, w->namespace_name,
			t->isolation == ISOLATION_ACTOR ? &one : NULL);
	const char *path = worker_env_get(&env, "PATH");
	const struct proc_spec spec = {
	    .argv = t->argv,
	    .search_path = path != NULL ? path : "/usr/local/bin:/usr/bin:/bin",
	    .envp = env.vars,
	    .directory = t->directory,
	    .set_user = t->set_user,
	    .uid = t->uid,
	    .gid = t->gid,
	    .groups = t->groups,
	    .n_groups = t->n_groups,
	    .fd3 = w->sockets.http_fd,
	    .rlimits = limits,
	    .n_rlimits = t->n_rlimits,
	    .sandbox = &t->sandbox,
	    .own_dir = w->sockets.dir,
	};
	int r = proc_spawn(w->pool->o.loop, w->pool->o.guardian, &spec, &proc_events, w, &w->proc, e);
	worker_env_done(&env);
	/* The worker alone listens from here on: when it dies, connecting fails at once. */
	if (w->sockets.http_fd >= 0)
		close(w->sockets.http_fd);
	w->sockets.http_fd = -1;
	return r;
}

static int begin(struct worker *w, const struct place *first, struct err *e)
{
	int r = worker_socket_make(&w->sockets, w->pool->dir, w->type, e);
	if (r < 0)
		return r;
	r = runtime_socket_open(w, w->sockets.runtime_fd, &w->runtime);
	if (r < 0)
		return err_set(e, -r, EXIT_CODE_FAILED, "cannot serve %s: %s", w->sockets.runtime, strerror(-r));
	w->sockets.runtime_fd = -1;
	return spawn(w, first, e);
}

void worker_start(struct worker_kind *kind, struct place *first)
{
	struct err e = {0};
	struct worker *w = worker_new(kind, first);
	worker_place_seat(first, w);
	if (begin(w, first, &e) < 0) {
		w->failure = mem_strdup(e.text);
		w->failure_kind = START_SPAWN;
		w->asked = true;
		w->state = WORKER_EXITED;
		worker_look(w);
		return;
	}
	w->pid = proc_pid(w->proc);
	log_own(w, SLICE_LIT("worker started"), NULL);
	worker_ready_begin(w);
	if (worker_takes_calls(w))
		worker_place_load(first);
}
