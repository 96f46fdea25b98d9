/* One function per command: makes the call, shows the answer.
 *
 * Answers that are shown as text are gathered and parsed; logs, values and
 * backups are passed on as they come. With --json the daemon's own JSON is
 * printed, so that scripts see one form whatever the tables become. */
#include "ctl/ctl_command.h"

#include "codec/http_head.h"
#include "codec/json_field.h"
#include "ctl/ctl_call.h"
#include "ctl/ctl_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define ANSWER_MAX ((size_t)64 * 1024 * 1024)
#define TARGET_MAX ((size_t)32 * 1024)
#define LINE_MAX_BYTES ((size_t)1024 * 1024)
#define VALUE_MAX ((size_t)131072)
#define WATCH_S 1

static int write_out(struct slice s, struct err *e)
{
	if (fwrite(s.p, 1, s.n, stdout) == s.n && fflush(stdout) == 0)
		return 0;
	return err_set(e, errno, EXIT_CODE_FAILED, "cannot write to standard output: %s", strerror(errno));
}

static int exit_code(int r, const struct err *e)
{
	if (r == 0)
		return EXIT_CODE_OK;
	return e->exit_code != 0 ? e->exit_code : EXIT_CODE_FAILED;
}

static bool gather(void *arg, struct slice s)
{
	buf_add(arg, s);
	return !((struct buf *)arg)->over;
}

/* The body, in `out`. */
static int fetch(const struct ctl_options *o, const char *method, const char *target, struct slice body,
		 struct buf *out, struct err *e)
{
	unsigned status = 0;
	const struct ctl_call call = {
	    .socket = o->socket, .method = method, .target = target, .body = body, .take = gather, .arg = out};
	int r = ctl_call(&call, &status, e);
	if (r == -ECANCELED)
		return err_set(e, E2BIG, EXIT_CODE_FAILED, "the daemon's answer is larger than 64 MiB");
	return r;
}

static char *target_of(const char *format_before, const char *word, const char *after)
{
	struct buf b;
	buf_init(&b, TARGET_MAX);
	buf_add_str(&b, format_before);
	http_percent_encode(slice_str(word), &b);
	buf_add_str(&b, after);
	char *text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}

/* The answer, raw or through `show`. */
static int write_json(const struct ctl_options *o, struct buf *answer,
		      void (*show)(struct buf *out, const json_t *root), struct err *e)
{
	struct buf text;
	if (o->json) {
		buf_add_byte(answer, '\n');
		return write_out(buf_slice(answer), e);
	}
	json_t *root = json_loadb((const char *)buf_slice(answer).p, buf_len(answer), 0, NULL);
	if (root == NULL)
		return err_set(e, EBADMSG, EXIT_CODE_FAILED, "the daemon's answer is no JSON");
	buf_init(&text, ANSWER_MAX);
	show(&text, root);
	json_decref(root);
	int r = write_out(buf_slice(&text), e);
	buf_done(&text);
	return r;
}

/* Fetches JSON and shows it. */
static int show_json(const struct ctl_options *o, const char *target, void (*show)(struct buf *out, const json_t *root),
		     struct err *e)
{
	struct buf answer;
	buf_init(&answer, ANSWER_MAX);
	int r = fetch(o, "GET", target, SLICE_NONE, &answer, e);
	if (r == 0)
		r = write_json(o, &answer, show, e);
	buf_done(&answer);
	return r;
}

static int do_post(const struct ctl_options *o, const char *target, const char *said, struct err *e)
{
	struct buf answer;
	buf_init(&answer, ANSWER_MAX);
	int r = fetch(o, "POST", target, SLICE_NONE, &answer, e);
	if (r == 0 && o->json) {
		buf_add_byte(&answer, '\n');
		r = write_out(buf_slice(&answer), e);
	} else if (r == 0 && said != NULL) {
		r = write_out(slice_str(said), e);
	}
	buf_done(&answer);
	return r;
}

/* A command whose answer has nothing to say: with --json that is said in JSON too. */
static int done(const struct ctl_options *o, int r, struct err *e)
{
	return r == 0 && o->json ? write_out(SLICE_LIT("{}\n"), e) : r;
}

/* ---- showing ---- */

static void show_list(struct buf *out, const json_t *root)
{
	ctl_list(out, root);
}

static void show_actors(struct buf *out, const json_t *root)
{
	static const struct ctl_column columns[] = {
	    {"ID", "id", CTL_TEXT},          {"NAME", "name", CTL_TEXT},       {"KEY", "key", CTL_TEXT},
	    {"STATE", "state", CTL_TEXT},    {"FOR", "state_ms", CTL_AGE},     {"GEN", "generation", CTL_NUMBER},
	    {"PID", "pid", CTL_NUMBER},      {"REQS", "requests", CTL_NUMBER}, {"WS", "websockets", CTL_NUMBER},
	    {"WAIT", "waiting", CTL_NUMBER}, {"FAILURE", "failure", CTL_TEXT}, {NULL, NULL, CTL_TEXT},
	};
	ctl_table(out, json_object_get(root, "actors"), columns);
	if (json_is_true(json_object_get(root, "more")))
		buf_add_str(out, "(there are more; name a type to see fewer)\n");
}

static void show_workers(struct buf *out, const json_t *root)
{
	static const struct ctl_column columns[] = {
	    {"ID", "id", CTL_TEXT},
	    {"NAME", "name", CTL_TEXT},
	    {"PID", "pid", CTL_NUMBER},
	    {"STATE", "state", CTL_TEXT},
	    {"UP", "up_ms", CTL_AGE},
	    {"ACTORS", "actors", CTL_NUMBER},
	    {"CONNS", "connections", CTL_NUMBER},
	    {"MEMORY", "memory_bytes", CTL_SIZE},
	    {NULL, NULL, CTL_TEXT},
	};
	ctl_table(out, json_object_get(root, "workers"), columns);
}

static void show_entries(struct buf *out, const json_t *root)
{
	static const struct ctl_column columns[] = {
	    {"KEY", "key", CTL_TEXT},
	    {"BYTES", "bytes", CTL_NUMBER},
	    {"UPDATED", "updated_at", CTL_TIME},
	    {NULL, NULL, CTL_TEXT},
	};
	ctl_table(out, json_object_get(root, "entries"), columns);
	if (json_is_true(json_object_get(root, "more")))
		buf_add_str(out, "(there are more; name a prefix to see fewer)\n");
}

/* ---- reading ---- */

static int run_status(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	(void)words;
	int r = show_json(o, "/v1/status", show_list, e);
	while (r == 0 && o->follow) {
		sleep(WATCH_S);
		r = write_out(SLICE_LIT("\n"), e);
		if (r == 0)
			r = show_json(o, "/v1/status", show_list, e);
	}
	return exit_code(r, e);
}

static int run_actors(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	MEM_AUTO char *target = n == 0 ? mem_strdup("/v1/actors") : target_of("/v1/actors?name=", words[0], "");
	return exit_code(show_json(o, target, show_actors, e), e);
}

static int run_actor(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	MEM_AUTO char *target = target_of("/v1/actors/", words[0], "");
	return exit_code(show_json(o, target, show_list, e), e);
}

static int run_workers(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	(void)words;
	return exit_code(show_json(o, "/v1/workers", show_workers, e), e);
}

struct log_sink {
	bool json, failed;
	struct buf line, text;
	struct err *e;
};

static bool take_log(void *arg, struct slice s)
{
	struct log_sink *sink = arg;
	for (size_t end; (end = slice_find(s, '\n')) < s.n; s = slice_from(s, end + 1)) {
		buf_add(&sink->line, slice_head(s, end));
		buf_reset(&sink->text);
		if (sink->json) {
			buf_add(&sink->text, buf_slice(&sink->line));
			buf_add_byte(&sink->text, '\n');
		} else {
			ctl_log_line(&sink->text, buf_slice(&sink->line));
		}
		buf_reset(&sink->line);
		if (write_out(buf_slice(&sink->text), sink->e) < 0) {
			sink->failed = true;
			return false;
		}
	}
	buf_add(&sink->line, s);
	return true;
}

static int run_logs(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	unsigned status = 0;
	struct log_sink sink = {.json = o->json, .e = e};
	const char *follow = o->follow ? "&follow=true" : "";
	MEM_AUTO char *target = target_of("/v1/logs?actor=", o->actor == NULL ? "" : o->actor, follow);
	(void)n;
	(void)words;
	buf_init(&sink.line, LINE_MAX_BYTES);
	buf_init(&sink.text, LINE_MAX_BYTES * 2);
	const struct ctl_call call = {
	    .socket = o->socket, .method = "GET", .target = target, .take = take_log, .arg = &sink};
	int r = ctl_call(&call, &status, e);
	buf_done(&sink.line);
	buf_done(&sink.text);
	return sink.failed ? EXIT_CODE_FAILED : exit_code(r, e);
}

/* ---- commanding ---- */

static int actor_verb(const struct ctl_options *o, const char *id, const char *verb, struct err *e)
{
	MEM_AUTO char *after = mem_printf("/%s", verb);
	MEM_AUTO char *target = target_of("/v1/actors/", id, after);
	return exit_code(do_post(o, target, NULL, e), e);
}

static int run_wake(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	return actor_verb(o, words[0], "wake", e);
}

static int run_sleep(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	return actor_verb(o, words[0], "sleep", e);
}

static int run_restart(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	return actor_verb(o, words[0], "restart", e);
}

static int run_destroy(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	return actor_verb(o, words[0], "destroy", e);
}

static int run_drain(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	(void)words;
	return exit_code(do_post(o, "/v1/drain", "draining; the daemon ends when its actors have stopped\n", e), e);
}

static void show_names(struct buf *out, const char *what, const json_t *names)
{
	size_t i;
	json_t *name;
	json_array_foreach(names, i, name)
	{
		buf_addf(out, "%s %s", i == 0 ? what : ",", json_string_value(name));
	}
	if (json_array_size(names) > 0)
		buf_add_byte(out, '\n');
}

static void show_reload(struct buf *out, const json_t *root)
{
	long long rolling = (long long)json_integer_value(json_object_get(root, "rolling_over"));
	buf_add_str(out, "the new configuration is in force\n");
	show_names(out, "actor types added:", json_object_get(root, "added"));
	show_names(out, "actor types changed:", json_object_get(root, "changed"));
	show_names(out, "actor types removed:", json_object_get(root, "removed"));
	show_names(out, "not applied before a restart of the daemon:", json_object_get(root, "restart_needed"));
	if (rolling > 0)
		buf_addf(out, "%lld awake actors are being rolled over; see rivet-runnerctl status\n", rolling);
}

static int run_reload(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	struct buf answer;
	(void)n;
	(void)words;
	buf_init(&answer, ANSWER_MAX);
	int r = fetch(o, "POST", "/v1/reload", SLICE_NONE, &answer, e);
	if (r == 0)
		r = write_json(o, &answer, show_reload, e);
	buf_done(&answer);
	return exit_code(r, e);
}

/* ---- keys and values ---- */

static bool pass_on(void *arg, struct slice s)
{
	struct err *e = arg;
	return write_out(s, e) == 0;
}

static int read_stdin(struct buf *out, struct err *e)
{
	uint8_t piece[65536];
	for (ssize_t n; (n = read(STDIN_FILENO, piece, sizeof(piece))) != 0;) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, errno, EXIT_CODE_FAILED, "cannot read standard input: %s", strerror(errno));
		buf_add(out, slice_of(piece, (size_t)n));
		if (out->over)
			return err_set(e, E2BIG, EXIT_CODE_FAILED,
				       "the value on standard input is larger than %zu bytes", VALUE_MAX);
	}
	return 0;
}

static int kv_get(const struct ctl_options *o, const char *target, struct err *e)
{
	unsigned status = 0;
	const struct ctl_call call = {
	    .socket = o->socket, .method = "GET", .target = target, .take = pass_on, .arg = e};
	return ctl_call(&call, &status, e);
}

static int kv_put(const struct ctl_options *o, const char *target, const char *value, struct err *e)
{
	struct buf in, answer;
	int r = 0;
	buf_init(&in, VALUE_MAX);
	buf_init(&answer, ANSWER_MAX);
	if (value == NULL)
		r = read_stdin(&in, e);
	if (r == 0)
		r = fetch(o, "PUT", target, value == NULL ? buf_slice(&in) : slice_str(value), &answer, e);
	buf_done(&in);
	buf_done(&answer);
	return r;
}

static int kv_remove(const struct ctl_options *o, const char *target, struct err *e)
{
	struct buf answer;
	buf_init(&answer, ANSWER_MAX);
	int r = fetch(o, "DELETE", target, SLICE_NONE, &answer, e);
	buf_done(&answer);
	return r;
}

static char *kv_target(const char *id, const char *key)
{
	MEM_AUTO char *before = target_of("/v1/actors/", id, "/kv/");
	return target_of(before, key, "");
}

static int run_kv(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	const char *verb = words[1];
	if (strcmp(verb, "ls") == 0 && n <= 3) {
		MEM_AUTO char *before = target_of("/v1/actors/", words[0], "/kv?prefix=");
		MEM_AUTO char *target = target_of(before, n == 3 ? words[2] : "", "");
		return exit_code(show_json(o, target, show_entries, e), e);
	}
	if (n < 3 || (n == 4 && strcmp(verb, "put") != 0)) {
		err_set(e, EINVAL, EXIT_CODE_USAGE, "kv %s: use kv ID ls [PREFIX], get KEY, put KEY [VALUE] or rm KEY",
			verb);
		return EXIT_CODE_USAGE;
	}
	MEM_AUTO char *target = kv_target(words[0], words[2]);
	if (strcmp(verb, "get") == 0)
		return exit_code(kv_get(o, target, e), e);
	if (strcmp(verb, "put") == 0)
		return exit_code(done(o, kv_put(o, target, n == 4 ? words[3] : NULL, e), e), e);
	if (strcmp(verb, "rm") == 0)
		return exit_code(done(o, kv_remove(o, target, e), e), e);
	err_set(e, EINVAL, EXIT_CODE_USAGE, "kv: unknown word %s; it is ls, get, put or rm", verb);
	return EXIT_CODE_USAGE;
}

/* ---- backup ---- */

struct file_sink {
	int fd, why;
};

static bool write_file(void *arg, struct slice s)
{
	struct file_sink *f = arg;
	while (s.n > 0) {
		ssize_t n = write(f->fd, s.p, s.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			f->why = errno;
			return false;
		}
		s = slice_from(s, (size_t)n);
	}
	return true;
}

/* The file is the caller's, new, and only there when it is whole. */
static int run_backup(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	const char *path = words[0];
	unsigned status = 0;
	(void)n;
	struct file_sink f = {.fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
	if (f.fd < 0) {
		err_set(e, errno, EXIT_CODE_FAILED, "cannot make the backup file %s: %s", path, strerror(errno));
		return EXIT_CODE_FAILED;
	}
	const struct ctl_call call = {
	    .socket = o->socket, .method = "GET", .target = "/v1/backup", .take = write_file, .arg = &f};
	int r = ctl_call(&call, &status, e);
	if (r == 0 && fsync(f.fd) < 0)
		f.why = errno;
	if (close(f.fd) < 0 && f.why == 0)
		f.why = errno;
	if (f.why != 0)
		r = err_set(e, f.why, EXIT_CODE_FAILED, "cannot write the backup file %s: %s", path, strerror(f.why));
	if (r != 0)
		(void)unlink(path);
	return exit_code(done(o, r, e), e);
}

static int run_version(const struct ctl_options *o, int n, char *const *words, struct err *e)
{
	(void)n;
	(void)words;
	(void)o;
	return exit_code(write_out(o->json ? SLICE_LIT("{\"version\":\"" RUNNERD_VERSION "\"}\n")
					   : SLICE_LIT("rivet-runnerctl " RUNNERD_VERSION "\n"),
				   e),
			 e);
}

const struct ctl_command ctl_commands[] = {
    {"status", "[-f]", 0, 0, "what the daemon is and does; -f goes on, once a second", run_status},
    {"actors", "[NAME]", 0, 1, "actors, those asleep included, of one type with NAME", run_actors},
    {"actor", "ID", 1, 1, "all there is to know of one actor", run_actor},
    {"workers", "", 0, 0, "worker processes", run_workers},
    {"logs", "[-f] [--actor ID]", 0, 0, "the daemon's latest log, worker output included; -f goes on", run_logs},
    {"wake", "ID", 1, 1, "start a sleeping actor, whatever its back-off", run_wake},
    {"sleep", "ID", 1, 1, "put an actor to sleep", run_sleep},
    {"restart", "ID", 1, 1, "stop an actor and start it again", run_restart},
    {"destroy", "ID", 1, 1, "destroy an actor with all its state", run_destroy},
    {"kv", "ID ls [PREFIX] | get KEY | put KEY [VALUE] | rm KEY", 2, 4,
     "an actor's keys and values; put reads standard input without VALUE", run_kv},
    {"drain", "", 0, 0, "stop cleanly, as SIGTERM does", run_drain},
    {"reload", "", 0, 0, "read the configuration again, as SIGHUP does; returns when it is applied", run_reload},
    {"backup", "FILE", 1, 1, "a consistent copy of all state into a new FILE", run_backup},
    {"version", "", 0, 0, "this program's version", run_version},
    {NULL, NULL, 0, 0, NULL, NULL},
};
