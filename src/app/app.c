/* Start order: control groups, log, guardian (before threads and memory), loop, signals, the
 * mode's state and actors, admin listener, the mode's traffic. Ready is when
 * the mode serves, or has tried for READY_MS. Every failure on the way takes
 * down what was opened, in reverse, and leaves a sentence in e.
 *
 * Stop is a list of phases walked forward, each with its own way to end:
 * drain (bounded by drain_timeout, cut short by a second signal; left out when
 * the mode has failed), the admin listener, the control socket, the mode, signals; then the loop
 * must be empty. */
#include "app/app.h"

#include "app/admin.h"
#include "app/config_limits.h"
#include "app/control.h"
#include "app/detach.h"
#include "app/exit_when.h"
#include "app/mode.h"
#include "app/notify.h"
#include "app/reload.h"
#include "supervise/cgroup.h"
#include "supervise/guardian.h"
#include "supervise/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define APP_MAGIC 0x61707021u
#define STATUS_MS 5000
#define EXTEND_MS 10000
#define RELOAD_ANSWER_MAX ((size_t)4 * 1024 * 1024)
#define READY_MS 10000 /* a mode that cannot serve yet is waited for so long */

enum phase { PHASE_RUNNING, PHASE_DRAIN, PHASE_ADMIN, PHASE_CONTROL, PHASE_MODE, PHASE_END };

struct app {
	uint32_t magic;
	struct config *c;
	int argc;
	char *const *argv;
	struct loop *loop;
	struct guardian *guardian;
	struct actor_types *types;
	struct mode *mode;
	struct admin *admin;
	struct control *control;
	struct reload *reload; /* once the mode is open */
	enum phase phase;
	struct loop_task next_phase;
	struct loop_task again; /* more actor events than one tick takes */
	struct exit_when exit_when;
	struct timer progress, ready_late, status;
	bool ready_told;
	int ready_fd; /* of --detach, -1: none */
	int64_t drain_until_mono_ms;
	struct log_target log;
	int exit_code;
};

static void on_next_phase(void *arg);

static void go_on(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	loop_post(a->loop, &a->next_phase);
}

static size_t actors_awake(struct app *a)
{
	const struct actor_table *t = a->mode->ops->actors(a->mode);
	return t == NULL ? 0 : actor_table_count(t);
}

static void on_mode_closed(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	a->mode = NULL;
	go_on(a);
}

static void on_progress(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	if (a->phase != PHASE_DRAIN)
		return;
	LOG(INFO, "draining", LOG_NUM("actors_left", actors_awake(a)), LOG_NUM("exchanges_left", exchange_count()),
	    LOG_NUM("ms_left", a->drain_until_mono_ms - loop_mono_ms(a->loop)));
	notify_status("Draining: %zu actors left", actors_awake(a));
	notify_extend(EXTEND_MS);
	timer_arm(&a->progress, 1000);
}

static void begin_drain(struct app *a)
{
	if (a->admin != NULL)
		admin_set_ready(a->admin, "draining");
	notify_stopping();
	a->drain_until_mono_ms = loop_mono_ms(a->loop) + a->c->drain_timeout_ms;
	on_progress(a);
	a->mode->ops->drain(a->mode, a->c->drain_timeout_ms, go_on, a);
}

/* Each phase ends in go_on, later. */
static void on_next_phase(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	a->phase++;
	switch (a->phase) {
	case PHASE_DRAIN:
		begin_drain(a);
		return;
	case PHASE_ADMIN:
		timer_disarm(&a->progress);
		timer_disarm(&a->status);
		exit_when_stop(&a->exit_when);
		if (a->admin == NULL)
			go_on(a);
		else
			admin_close(a->admin, go_on, a);
		return;
	case PHASE_CONTROL:
		a->admin = NULL;
		if (a->control == NULL)
			go_on(a);
		else
			control_close(a->control, go_on, a);
		return;
	case PHASE_MODE:
		a->control = NULL;
		timer_disarm(&a->ready_late);
		a->mode->ops->close(a->mode, on_mode_closed, a);
		return;
	case PHASE_END:
		notify_unwatch();
		guardian_stop(TAKE(a->guardian));
		loop_signals_close(a->loop);
		loop_stop(a->loop);
		return;
	case PHASE_RUNNING:
		break;
	}
	IMPOSSIBLE("phase");
}

static void on_stop_signal(void *arg, int signo)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	const char *name = signo == SIGTERM ? "SIGTERM" : "SIGINT";
	if (a->phase == PHASE_RUNNING) {
		LOG(INFO, "stopping", LOG_STR("signal", name), LOG_NUM("drain_timeout_ms", a->c->drain_timeout_ms));
		go_on(a);
	} else if (a->phase == PHASE_DRAIN) {
		LOG(WARN, "second signal: killing the workers", LOG_STR("signal", name));
		a->exit_code = EXIT_CODE_FAILED;
		a->mode->ops->drain_now(a->mode);
	}
}

static void on_usr2(void *arg, int signo)
{
	(void)arg;
	(void)signo;
	LOG_PLAIN(WARN, "SIGUSR2: replacing the running program is not offered yet; restart the daemon instead");
}

/* Tells the service manager, too; it was told READY before, or knows nothing of us yet. */
static int run_reload(struct app *a, struct buf *out, struct err *e)
{
	if (a->ready_told)
		notify_reloading();
	int r = reload_run(a->reload, out, e);
	if (a->ready_told)
		notify_ready();
	return r;
}

static void on_hup(void *arg, int signo)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	struct err e = {0};
	struct buf out;
	(void)signo;
	if (a->phase != PHASE_RUNNING)
		return;
	buf_init(&out, RELOAD_ANSWER_MAX);
	(void)run_reload(a, &out, &e);
	buf_done(&out);
}

static void on_again(void *arg)
{
	(void)arg; /* its being posted makes the loop turn */
}

static void on_tick(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	if (a->mode != NULL && a->mode->ops->tick(a->mode))
		loop_post(a->loop, &a->again);
	if (a->phase == PHASE_RUNNING && a->reload != NULL)
		reload_tick(a->reload);
}

/* Ready is told once, to whoever started the daemon; whether it serves may change later and /readyz follows. */
static void tell_ready(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	const char *why_not = a->mode->ops->why_not(a->mode), *name = a->mode->ops->name;
	if (a->ready_told || a->phase != PHASE_RUNNING)
		return;
	a->ready_told = true;
	timer_disarm(&a->ready_late);
	if (why_not == NULL)
		LOG(INFO, "ready", LOG_STR("version", RUNNERD_VERSION), LOG_STR("mode", name), LOG_NUM("pid", getpid()),
		    LOG_STR("data_dir", config_get(a->c, CONFIG_DATA_DIR)));
	else
		LOG(WARN, "running, but not serving yet", LOG_STR("version", RUNNERD_VERSION), LOG_STR("mode", name),
		    LOG_NUM("pid", getpid()), LOG_STR("waits_for", why_not));
	notify_ready();
	detach_ready(a->ready_fd);
	a->ready_fd = -1;
}

/* What `systemctl status` shows; live, as long as somebody listens. */
static void tell_status(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	const char *why_not = a->mode->ops->why_not(a->mode);
	struct worker_pool_stats pool = {0};
	const struct actor_table *actors = a->mode->ops->actors(a->mode);
	if (a->phase != PHASE_RUNNING)
		return;
	if (actors != NULL)
		worker_pool_stats(actor_table_pool(a->mode->ops->actors(a->mode)), &pool);
	if (why_not == NULL)
		notify_status("Serving, %s mode: %zu actors awake, %llu workers, %zu requests", a->mode->ops->name,
			      actors_awake(a), (unsigned long long)pool.workers, exchange_count());
	else
		notify_status("Not serving, %s mode: %s", a->mode->ops->name, why_not);
	if (a->reload != NULL)
		reload_progress(a->reload);
	timer_arm(&a->status, STATUS_MS);
}

static void on_mode_changed(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	const char *why_not = a->mode->ops->why_not(a->mode);
	if (a->phase != PHASE_RUNNING)
		return;
	if (a->admin != NULL)
		admin_set_ready(a->admin, why_not);
	tell_status(a);
	if (why_not == NULL)
		tell_ready(a);
}

/* From here as after a signal, but there is nothing to drain. */
static void on_mode_failed(void *arg, int exit_code)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	a->exit_code = exit_code;
	if (a->phase > PHASE_DRAIN)
		return;
	a->phase = PHASE_DRAIN;
	go_on(a);
}

static const struct mode_events mode_events = {.changed = on_mode_changed, .failed = on_mode_failed};

static void on_guardian_lost(void *arg)
{
	(void)arg;
	LOG_PLAIN(WARN, "the guardian process was killed and has been started again");
}

/* Descriptors: as many as allowed; workers get the limit the daemon was started with. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;
	proc_remember_limits();
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int open_loop(struct app *a, struct err *e)
{
	int r = loop_open(&a->loop);
	if (r < 0)
		return err_set(e, -r, EXIT_CODE_FAILED, "cannot make the event loop: %s", strerror(-r));
	loop_task_init(&a->next_phase, on_next_phase, a);
	loop_task_init(&a->again, on_again, a);
	timer_init(&a->progress, a->loop, on_progress, a);
	timer_init(&a->ready_late, a->loop, tell_ready, a);
	timer_init(&a->status, a->loop, tell_status, a);
	notify_watch(a->loop);
	loop_on_tick(a->loop, on_tick, a);
	if ((r = loop_on_signal(a->loop, SIGTERM, on_stop_signal, a)) < 0 ||
	    (r = loop_on_signal(a->loop, SIGINT, on_stop_signal, a)) < 0 ||
	    (r = loop_on_signal(a->loop, SIGHUP, on_hup, a)) < 0 ||
	    (r = loop_on_signal(a->loop, SIGUSR2, on_usr2, a)) < 0 || (r = proc_reaper_start(a->loop)) < 0)
		return err_set(e, -r, EXIT_CODE_FAILED, "cannot watch signals: %s", strerror(-r));
	return guardian_watch(a->guardian, a->loop, on_guardian_lost, a);
}

static int open_admin(struct app *a, struct err *e)
{
	const char *address = config_get(a->c, CONFIG_ADMIN_LISTEN);
	char bound[80];
	bool kept;
	int fd = notify_take("admin", &kept);
	if (*address == '\0' && fd < 0)
		return 0;
	struct admin_options o = {.loop = a->loop, .mode = a->mode, .address = address, .fd = fd};
	int r = admin_open(&o, &a->admin, e);
	if (r < 0) {
		if (fd >= 0)
			close(fd);
		return r;
	}
	admin_address(a->admin, bound);
	LOG(INFO, "listening", LOG_STR("listener", "admin"), LOG_STR("address", bound));
	return 0;
}

static void on_control_drain(void *arg)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	if (a->phase != PHASE_RUNNING)
		return;
	LOG(INFO, "stopping", LOG_STR("asked_by", "rivet-runnerctl"),
	    LOG_NUM("drain_timeout_ms", a->c->drain_timeout_ms));
	go_on(a);
}

static int on_control_reload(void *arg, struct buf *out, struct err *e)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	if (a->phase != PHASE_RUNNING)
		return err_set(e, ESHUTDOWN, EXIT_CODE_FAILED, "the daemon is stopping");
	return run_reload(a, out, e);
}

static void on_control_status(void *arg, struct buf *out)
{
	reload_status(CAST(struct app, arg, APP_MAGIC)->reload, out);
}

static int open_control(struct app *a, struct err *e)
{
	return control_open(&(struct control_options){.loop = a->loop,
						      .mode = a->mode,
						      .config = a->c,
						      .drain = on_control_drain,
						      .reload = on_control_reload,
						      .status = on_control_status,
						      .arg = a},
			    &a->control, e);
}

static void warn_unused(void)
{
	struct buf names;
	buf_init(&names, 1024);
	if (notify_unused(&names) > 0)
		LOG(WARN,
		    "descriptors were passed that nothing here takes; sockets are to be named api or admin "
		    "(FileDescriptorName=)",
		    LOG_SLICE("names", buf_slice(&names)));
	buf_done(&names);
}

static void on_exit_when(void *arg, int exit_code)
{
	struct app *a = CAST(struct app, arg, APP_MAGIC);
	if (a->phase != PHASE_RUNNING)
		return;
	a->exit_code = exit_code;
	go_on(a);
}

static int start(struct app *a, struct err *e)
{
	int r;
	a->mode = mode_new(&(struct mode_options){.config = a->c,
						  .types = a->types,
						  .loop = a->loop,
						  .guardian = a->guardian,
						  .events = &mode_events,
						  .arg = a});
	if ((r = a->mode->ops->open(a->mode, e)) < 0)
		return r;
	a->reload = reload_new(&(struct reload_options){
	    .config = a->c, .types = a->types, .mode = a->mode, .log = &a->log, .argc = a->argc, .argv = a->argv});
	if ((r = open_control(a, e)) < 0 || (r = open_admin(a, e)) < 0 || (r = a->mode->ops->serve(a->mode, e)) < 0)
		return r;
	warn_unused();
	exit_when_start(&a->exit_when, a->loop, a->mode, a->c->exit_when, on_exit_when, a);
	if (!a->ready_told)
		timer_arm(&a->ready_late, READY_MS);
	return 0;
}

/* A failed start: the phases from the one that closes what there is. */
static void abandon(struct app *a)
{
	if (a->loop == NULL)
		return;
	a->phase = a->admin != NULL     ? PHASE_ADMIN
		   : a->control != NULL ? PHASE_CONTROL
		   : a->mode != NULL    ? PHASE_MODE
					: PHASE_END;
	a->phase--;
	go_on(a);
	loop_run(a->loop);
}

static void close_loop(struct app *a)
{
	struct buf alive;
	buf_init(&alive, 4096);
	if (a->loop != NULL && loop_close(a->loop, &alive) > 0) {
		LOG(ERROR, "something is still alive at the end", LOG_SLICE("handles", buf_slice(&alive)));
		a->exit_code = EXIT_CODE_FAILED;
	}
	buf_done(&alive);
	if (a->guardian != NULL)
		guardian_stop(a->guardian);
	cgroup_close();
	reload_free(a->reload);
	actor_types_free(a->types);
	log_keep(0);
	log_target_close(&a->log);
}

static void log_warnings(const struct config *c)
{
	for (char *const *warning = c->warnings; warning != NULL && *warning != NULL; warning++)
		LOG(WARN, "a setting has no effect", LOG_STR("why", *warning));
}

static void log_groups(int opened, unsigned n_stuck, const struct err *why)
{
	if (opened < 0)
		LOG(INFO,
		    "workers get no control groups of their own; what leaves its worker's session outlives the worker "
		    "until the service ends",
		    LOG_STR("reason", why->text));
	if (n_stuck > 0)
		LOG(WARN, "processes that a former daemon left in its control groups do not die",
		    LOG_NUM("control_groups", n_stuck));
}

static int open_log(struct app *a, struct err *e)
{
	struct log_target first;
	int r = log_target_open(a->c, &first, e);
	if (r == 0)
		log_target_use(&a->log, &first, a->c->log_level);
	return r;
}

int app_run(struct config *c, int argc, char *const *argv, int ready_fd, struct err *e)
{
	struct app a = {
	    .magic = APP_MAGIC, .c = c, .argc = argc, .argv = argv, .log = {.fd = -1}, .ready_fd = ready_fd};
	struct err no_groups = {0};
	unsigned n_stuck = 0;
	int groups = cgroup_open(&n_stuck, &no_groups), limits = config_limits_need(c, c->types, e);
	a.types = actor_types_new(TAKE(c->types));
	(void)mallopt(M_ARENA_MAX, 2); /* memory freed on one thread serves the other */
	notify_begin();
	umask(077);
	sigset_t none; /* a mask inherited from whoever started us would hold back TERM and CHLD */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	log_keep(LIMIT_LOG_KEPT_BYTES);
	raise_descriptor_limit();
	int r = open_log(&a, e);
	if (r == 0)
		r = limits;
	if (r == 0)
		r = guardian_start(&a.guardian, e);
	if (r == 0)
		r = open_loop(&a, e);
	if (r == 0) { /* whoever reads a first line may send a signal, which is handled by now */
		log_warnings(c);
		log_groups(groups, n_stuck, &no_groups);
		r = start(&a, e);
	}
	if (r < 0) {
		abandon(&a);
		close_loop(&a);
		return e->exit_code == 0 ? EXIT_CODE_FAILED : e->exit_code;
	}
	loop_run(a.loop);
	LOG(INFO, "stopped", LOG_NUM("exit_code", a.exit_code));
	close_loop(&a);
	return a.exit_code;
}
