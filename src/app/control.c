/* Owns the socket, its connections and the calls under way.
 *
 * A call: head routed by a table (control_route.c), body gathered, run
 * (control_calls.c, control_logs.c), answered, freed. A client may leave while
 * the mode works on its call: the call then lives on until the mode answers.
 * Closing waits for those. */
#include "app/control_private.h"

#include "codec/json_field.h"
#include "io/listener.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNS_MAX 64
#define BACKLOG 64
#define JSON "content-type: application/json\r\n"

static struct control *control_of(void *arg)
{
	return CAST(struct control, arg, CONTROL_MAGIC);
}

static struct control_call *call_on(const struct http_conn *c)
{
	void *user = http_conn_user(c);
	return user == NULL ? NULL : CAST(struct control_call, user, CONTROL_CALL_MAGIC);
}

/* ---- calls ---- */

static struct control_call *call_new(struct control *c, struct http_conn *conn)
{
	struct control_call *call = mem_zalloc(sizeof(*call));
	call->magic = CONTROL_CALL_MAGIC;
	call->control = c;
	call->conn = conn;
	call->first = true;
	call->fd = -1;
	buf_init(&call->key, LIMIT_RUNTIME_TARGET_BYTES);
	buf_init(&call->body, CONTROL_BODY_MAX);
	buf_init(&call->out, CONTROL_ANSWER_MAX);
	timer_init(&call->poll, c->o.loop, NULL, NULL);
	list_init(&call->node);
	list_push_back(&c->calls, &call->node);
	http_conn_set_user(conn, call);
	return call;
}

void control_call_free(struct control_call *call)
{
	struct control *c = call->control;
	if (call->conn != NULL)
		http_conn_set_user(call->conn, NULL);
	timer_disarm(&call->poll);
	if (call->fd >= 0)
		close(call->fd);
	list_remove(&call->node);
	buf_done(&call->key);
	buf_done(&call->body);
	buf_done(&call->out);
	mem_free(call->id);
	call->magic = 0;
	mem_free(call);
	if (c->closing)
		loop_post(c->o.loop, &c->finish);
}

static void reply(struct control_call *call, unsigned status, const char *fields, struct slice body)
{
	if (call->conn != NULL)
		http_conn_reply(call->conn, status, slice_str(fields), body);
	control_call_free(call);
}

void control_refuse(struct control_call *call, unsigned status, const char *message)
{
	struct buf b;
	buf_init(&b, 8192);
	buf_add_str(&b, "{\"group\":\"control\",\"code\":\"refused\",\"message\":");
	json_put_str(&b, slice_str(message));
	buf_add_byte(&b, '}');
	reply(call, status, JSON, buf_slice(&b));
	buf_done(&b);
}

void control_reply(struct control_call *call)
{
	if (call->out.over)
		control_refuse(call, 500, "the answer is larger than 16 MiB");
	else
		reply(call, 200, JSON, buf_slice(&call->out));
}

void control_reply_bytes(struct control_call *call, struct slice bytes)
{
	reply(call, 200, "content-type: application/octet-stream\r\n", bytes);
}

void control_done(struct control_call *call)
{
	reply(call, 200, JSON, SLICE_LIT("{}"));
}

/* ---- the connection's events ---- */

static void on_request(void *arg, struct http_conn *conn, const struct http_head *h)
{
	struct control_call *call = call_new(control_of(arg), conn);
	unsigned status = 404;
	const char *why = "there is no such call";
	if (call->control->closing)
		control_refuse(call, 503, "the daemon is stopping");
	else if (!control_route(call, h, &status, &why))
		control_refuse(call, status, why);
}

static void on_body(void *arg, struct http_conn *conn, struct slice s, bool fin)
{
	struct control_call *call = call_on(conn);
	(void)arg;
	if (call == NULL || call->streaming)
		return;
	buf_add(&call->body, s);
	if (call->body.over)
		control_refuse(call, 413, "the body is larger than a value may be (131072 bytes)");
	else if (fin)
		call->run(call);
}

static void on_writable(void *arg, struct http_conn *conn)
{
	struct control_call *call = call_on(conn);
	(void)arg;
	if (call != NULL && call->streaming)
		call->writable(call);
}

static void on_gone(void *arg, struct http_conn *conn)
{
	struct control_call *call = call_on(conn);
	(void)arg;
	if (call == NULL)
		return;
	http_conn_set_user(conn, NULL);
	call->conn = NULL;
	if (!call->owed)
		control_call_free(call);
}

static void on_raw(void *arg, struct http_conn *conn, struct slice s)
{
	(void)arg;
	(void)conn;
	(void)s;
}

static void on_raw_eof(void *arg, struct http_conn *conn)
{
	(void)arg;
	(void)conn;
}

static const struct http_conn_events conn_events = {.request = on_request,
						    .body = on_body,
						    .writable = on_writable,
						    .raw = on_raw,
						    .raw_eof = on_raw_eof,
						    .gone = on_gone};

/* ---- the socket ---- */

static void on_accepted(void *arg, int fd)
{
	http_server_give(control_of(arg)->server, fd);
}

static void on_part_closed(void *arg)
{
	struct control *c = control_of(arg);
	c->open--;
	loop_post(c->o.loop, &c->finish);
}

static const struct listener_events listen_events = {.accepted = on_accepted, .closed = on_part_closed};

static void on_finish(void *arg)
{
	struct control *c = control_of(arg);
	if (!c->closing || c->open > 0 || !list_empty(&c->calls))
		return;
	void (*closed)(void *) = c->closed;
	void *closed_arg = c->closed_arg;
	loop_cancel(&c->finish);
	c->magic = 0;
	mem_free(c);
	closed(closed_arg);
}

static int bind_socket(const char *path, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	memcpy(to.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot make the control socket: %s", strerror(errno));
	(void)unlink(path);
	/* The mode of an unbound socket is what bind gives its file. */
	if (fchmod(fd, 0600) == 0 && bind(fd, (const struct sockaddr *)&to, sizeof(to)) == 0 &&
	    listen(fd, BACKLOG) == 0)
		return fd;
	int why = errno;
	close(fd);
	return err_set(e, why, EXIT_CODE_FAILED, "cannot listen on the control socket %s: %s", path, strerror(why));
}

int control_open(const struct control_options *o, struct control **ret, struct err *e)
{
	struct control *c = mem_zalloc(sizeof(*c));
	const char *dir = config_get(o->config, CONFIG_RUNTIME_DIR);
	int n = snprintf(c->path, sizeof(c->path), "%s/control.sock", dir);
	if (n < 0 || (size_t)n >= sizeof(c->path)) {
		mem_free(c);
		return err_set(e, ENAMETOOLONG, EXIT_CODE_CONFIG, "runtime_dir: %s is too long for a socket in it",
			       dir);
	}
	int fd = bind_socket(c->path, e);
	if (fd < 0) {
		mem_free(c);
		return fd;
	}
	c->magic = CONTROL_MAGIC;
	c->o = *o;
	c->started_wall_ms = clock_wall_ms();
	list_init(&c->calls);
	loop_task_init(&c->finish, on_finish, c);
	int r = listener_open_fd(o->loop, fd, &listen_events, c, &c->listener);
	if (r < 0) {
		close(fd);
		mem_free(c);
		return err_set(e, -r, EXIT_CODE_FAILED, "cannot serve the control socket: %s", strerror(-r));
	}
	const struct http_server_options so = {.name = "control",
					       .target_max = LIMIT_RUNTIME_TARGET_BYTES,
					       .conns_max = CONNS_MAX,
					       .events = &conn_events,
					       .arg = c};
	c->server = http_server_new(o->loop, &so);
	c->open = 2;
	*ret = c;
	return 0;
}

void control_close(struct control *c, void (*closed)(void *arg), void *arg)
{
	CHECK(!c->closing);
	c->closing = true;
	c->closed = closed;
	c->closed_arg = arg;
	(void)unlink(c->path);
	listener_close(c->listener);
	http_server_close(c->server, on_part_closed, c);
	loop_post(c->o.loop, &c->finish);
}
