/* Connects, sends one request, feeds the answer to the parser until it ends.
 *
 * A 2xx body goes out piece by piece, so that a backup and a followed log need
 * no memory; the small error object of a refusal is gathered and read.
 * Failures: no socket or nobody behind it; a connection that ends before the
 * answer does. */
#include "ctl/ctl_call.h"

#include "codec/http_head.h"
#include "codec/json_field.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ERROR_BODY_MAX ((size_t)256 * 1024)
#define HEAD_MAX ((size_t)32 * 1024)

struct answer {
	const struct ctl_call *call;
	unsigned status;
	bool stopped; /* take() has had enough */
	struct buf error;
};

static void on_head(void *arg, const struct http_head *h)
{
	struct answer *a = arg;
	a->status = h->status;
}

static void on_body(void *arg, struct slice s)
{
	struct answer *a = arg;
	if (a->status < 200 || a->status > 299)
		buf_add(&a->error, s);
	else if (!a->stopped && a->call->take != NULL)
		a->stopped = !a->call->take(a->call->arg, s);
}

static const struct http_parser_events parser_events = {.head = on_head, .body = on_body};

static int connect_to(const char *path, struct err *e)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(to.sun_path))
		return err_set(e, ENAMETOOLONG, EXIT_CODE_UNAVAILABLE, "the path of the control socket is too long: %s",
			       path);
	memcpy(to.sun_path, path, strlen(path) + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(e, errno, EXIT_CODE_FAILED, "cannot make a socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	int why = errno;
	close(fd);
	return err_set(e, why, EXIT_CODE_UNAVAILABLE, "no daemon at %s: %s%s", path, strerror(why),
		       why == EACCES ? "; only its user and root may use it" : "; is rivet-runnerd running?");
}

static int send_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s = slice_from(s, (size_t)n);
	}
	return 0;
}

static int send_request(int fd, const struct ctl_call *call)
{
	struct buf head;
	buf_init(&head, HEAD_MAX);
	http_put_request_line(&head, slice_str(call->method), slice_str(call->target));
	http_put_field_str(&head, "host", "localhost");
	http_put_field_str(&head, "connection", "close");
	if (call->body.n > 0 || strcmp(call->method, "PUT") == 0 || strcmp(call->method, "POST") == 0)
		http_put_field_u64(&head, "content-length", call->body.n);
	http_put_end(&head);
	int r = head.over ? -EMSGSIZE : send_all(fd, buf_slice(&head));
	buf_done(&head);
	return r == 0 ? send_all(fd, call->body) : r;
}

/* 0 when the answer is whole. */
static int read_answer(int fd, struct answer *a)
{
	uint8_t piece[65536];
	struct http_parser *parser = http_parser_new(HTTP_RESPONSE, LIMIT_HTTP_TARGET_BYTES, &parser_events, a);
	int outcome = 0, r = 0;
	while (outcome == 0 && r == 0 && !a->stopped) {
		size_t used;
		ssize_t n = read(fd, piece, sizeof(piece));
		if (n < 0)
			r = errno == EINTR ? 0 : -errno;
		else if (n == 0)
			outcome = http_parser_eof(parser) == HTTP_MESSAGE_DONE ? HTTP_MESSAGE_DONE : HTTP_BAD;
		else
			outcome = http_parser_feed(parser, slice_of(piece, (size_t)n), &used);
	}
	http_parser_free(parser);
	if (r != 0)
		return r;
	return a->stopped ? -ECANCELED : outcome == HTTP_MESSAGE_DONE ? 0 : -ECONNRESET;
}

/* The daemon's own sentence, or its status when there is none. */
static int refused(const struct answer *a, struct err *e)
{
	json_t *object = json_loadb((const char *)buf_slice(&a->error).p, buf_len(&a->error), 0, NULL);
	const char *message = json_string_value(json_object_get(object, "message"));
	if (message != NULL)
		(void)err_set(e, 1, EXIT_CODE_FAILED, "%s", message);
	else
		(void)err_set(e, 1, EXIT_CODE_FAILED, "the daemon answered with status %u", a->status);
	json_decref(object);
	return 1;
}

int ctl_call(const struct ctl_call *call, unsigned *ret_status, struct err *e)
{
	struct answer a = {.call = call};
	int fd = connect_to(call->socket, e);
	if (fd < 0)
		return fd;
	buf_init(&a.error, ERROR_BODY_MAX);
	int r = send_request(fd, call);
	if (r == 0)
		r = read_answer(fd, &a);
	close(fd);
	if (r == 0)
		*ret_status = a.status;
	if (r == 0 && (a.status < 200 || a.status > 299))
		r = refused(&a, e);
	else if (r < 0 && r != -ECANCELED)
		(void)err_set(e, -r, EXIT_CODE_UNAVAILABLE, "the daemon at %s ended before it had answered: %s",
			      call->socket, strerror(-r));
	buf_done(&a.error);
	return r;
}
