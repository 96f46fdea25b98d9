/* Owns a worker's runtime socket and the calls that came through it.
 *
 * A call: head parsed, right to the actor checked, body gathered, right checked
 * again (the seat may have gone meanwhile), handed to runtime_ops, answered by
 * runtime_call_done, freed. A call refused early is answered at once and freed.
 *
 * The worker may leave a connection, the seat may go, the socket may close
 * while a call is with its answerer: the call then lives on, without
 * connection, without place, and the socket's memory until its last call. */
#include "worker/runtime_private.h"

#include "io/listener.h"

#define RUNTIME_SOCKET_MAGIC 0x72747363u

struct runtime_socket {
	uint32_t magic;
	struct worker *worker; /* NULL once closed */
	const struct runtime_ops *ops;
	void *ops_arg;
	struct loop *loop;
	struct listener *listener;
	struct http_server *server;
	bool closing;
	unsigned n_open;      /* listener, server */
	struct list requests; /* by node */
	size_t n_requests;
};

static struct runtime_socket *socket_of(void *arg)
{
	return CAST(struct runtime_socket, arg, RUNTIME_SOCKET_MAGIC);
}

static void socket_look(struct runtime_socket *rs)
{
	if (rs->n_open > 0)
		return;
	struct worker *w = TAKE(rs->worker);
	if (w != NULL) {
		w->runtime = NULL;
		worker_look(w);
	}
	if (rs->n_requests > 0)
		return;
	rs->magic = 0;
	mem_free(rs);
}

/* ---- one call ---- */

static void request_free(struct runtime_request *q)
{
	struct runtime_socket *rs = q->socket;
	if (q->conn != NULL)
		http_conn_set_user(q->conn, NULL);
	list_remove(&q->node);
	rs->n_requests--;
	buf_done(&q->body);
	buf_done(&q->memory);
	buf_done(&q->answer);
	if (q->call.pairs != &q->one)
		mem_free(q->call.pairs);
	mem_free(q->call.gets);
	q->magic = 0;
	q->call.magic = 0;
	mem_free(q);
	socket_look(rs);
}

static void refuse(struct runtime_request *q, const struct runtime_error *e)
{
	if (q->parsed)
		worker_count_refused(q->call.kind);
	if (q->conn != NULL)
		runtime_answer_error(q->conn, e, false);
	request_free(q);
}

/* The seat this call may use, or false with the reason. */
static bool find_place(const struct runtime_request *q, struct place **ret, struct runtime_error *e)
{
	const struct worker *w = q->socket->worker;
	struct slice id = slice_str(q->actor_id);
	if (w == NULL)
		return runtime_refuse(e, 409, "actor", "stale_generation", "the worker is ending");
	struct place *pl = worker_find_place(w, id);
	if (pl == NULL && slice_is(id, "self")) {
		if (w->places.count > 1)
			return runtime_refuse(e, 403, "actor", "ambiguous",
					      "this worker holds several actors; say which by its id");
		struct map_node *any = map_any(&w->places);
		pl = any == NULL ? NULL : CONTAINER_OF(any, struct place, by_id);
	}
	if (pl == NULL && (worker_held(w, id) || slice_is(id, "self")))
		return runtime_refuse(e, 409, "actor", "stale_generation", "the actor has left this worker");
	if (pl == NULL)
		return runtime_refuse(e, 403, "actor", "not_held", "this worker does not hold the actor");
	if (q->generation >= 0 && q->generation != pl->generation)
		return runtime_refuse(e, 409, "actor", "stale_generation", "the actor's generation is %lld",
				      (long long)pl->generation);
	*ret = pl;
	return true;
}

static void hand_over(struct runtime_request *q)
{
	struct runtime_error e;
	struct place *pl;
	if (!find_place(q, &pl, &e)) {
		refuse(q, &e);
		return;
	}
	q->call.place = pl;
	q->call.actor = pl->arg;
	q->handed = true;
	q->socket->ops->call(q->socket->ops_arg, &q->call);
}

static void begin(struct runtime_request *q)
{
	q->whole_mono_us = loop_mono_us(q->socket->loop);
	if (q->batch && q->call.n_pairs == 0)
		runtime_call_done(&q->call, RUNTIME_OK); /* an empty batch */
	else
		hand_over(q);
}

void runtime_call_done(struct runtime_call *call, enum runtime_outcome outcome)
{
	struct runtime_request *q = CONTAINER_OF(call, struct runtime_request, call);
	CHECK(q->magic == RUNTIME_REQUEST_MAGIC);
	q->handed = false;
	worker_count_answered(call->kind, outcome, loop_mono_us(q->socket->loop) - q->whole_mono_us);
	if (q->conn != NULL)
		runtime_answer(q, outcome);
	if (call->release != NULL)
		call->release(call);
	request_free(q);
}

/* ---- the connection's events ---- */

static struct runtime_request *request_on(const struct http_conn *c)
{
	void *user = http_conn_user(c);
	return user == NULL ? NULL : CAST(struct runtime_request, user, RUNTIME_REQUEST_MAGIC);
}

static struct runtime_request *request_new(struct runtime_socket *rs, struct http_conn *c)
{
	struct runtime_request *q = mem_zalloc(sizeof(*q));
	q->magic = RUNTIME_REQUEST_MAGIC;
	q->call.magic = RUNTIME_REQUEST_MAGIC;
	q->socket = rs;
	q->conn = c;
	list_init(&q->node);
	list_push_back(&rs->requests, &q->node);
	rs->n_requests++;
	buf_init(&q->body, LIMIT_RUNTIME_BODY_BYTES);
	buf_init(&q->memory, LIMIT_RUNTIME_BODY_BYTES);
	buf_init(&q->answer, RUNTIME_ANSWER_MAX);
	http_conn_set_user(c, q);
	return q;
}

static bool body_too_large(const struct runtime_request *q, struct runtime_error *e)
{
	return runtime_refuse(e, 413, "request", "too_large", "the %s is larger than %zu bytes", q->body_limit,
			      q->body_max);
}

static void on_request(void *arg, struct http_conn *c, const struct http_head *h)
{
	struct runtime_socket *rs = socket_of(arg);
	struct runtime_error e;
	struct place *pl;
	if (rs->n_requests >= LIMIT_WORKER_RUNTIME_CALLS) {
		(void)runtime_refuse(&e, 429, "request", "too_many", "more than %d calls are open",
				     LIMIT_WORKER_RUNTIME_CALLS);
		runtime_answer_error(c, &e, false);
		return;
	}
	struct runtime_request *q = request_new(rs, c);
	bool ok = runtime_parse_head(q, h, &e);
	q->parsed = ok;
	/* Whose it is comes first: a stranger learns nothing else. */
	struct runtime_error denied;
	if (q->actor_id[0] != '\0' && !find_place(q, &pl, &denied)) {
		refuse(q, &denied);
		return;
	}
	if (ok && q->body_max > 0 && h->framing == HTTP_FRAMING_LENGTH && h->length > q->body_max)
		ok = body_too_large(q, &e);
	if (!ok)
		refuse(q, &e);
}

static void on_body(void *arg, struct http_conn *c, struct slice s, bool fin)
{
	struct runtime_request *q = request_on(c);
	struct runtime_error e;
	(void)arg;
	if (q == NULL || q->handed)
		return;
	if (q->body_max > 0 && s.n > q->body_max - buf_len(&q->body)) {
		(void)body_too_large(q, &e);
		refuse(q, &e);
		return;
	}
	if (q->body_max > 0)
		buf_add(&q->body, s);
	if (!fin)
		return;
	if (runtime_parse_body(q, clock_wall_ms(), &e))
		begin(q);
	else
		refuse(q, &e);
}

static void on_nothing(void *arg, struct http_conn *c)
{
	(void)arg;
	(void)c;
}

static void on_raw(void *arg, struct http_conn *c, struct slice s)
{
	(void)arg;
	(void)c;
	(void)s;
}

static void on_gone(void *arg, struct http_conn *c)
{
	struct runtime_request *q = request_on(c);
	(void)arg;
	if (q == NULL)
		return;
	http_conn_set_user(c, NULL);
	q->conn = NULL;
	if (!q->handed)
		request_free(q);
}

static const struct http_conn_events conn_events = {
    .request = on_request,
    .body = on_body,
    .writable = on_nothing,
    .raw = on_raw,
    .raw_eof = on_nothing,
    .gone = on_gone,
};

/* ---- the socket ---- */

static void on_accepted(void *arg, int fd)
{
	http_server_give(socket_of(arg)->server, fd);
}

static void on_listener_closed(void *arg)
{
	struct runtime_socket *rs = socket_of(arg);
	rs->n_open--;
	socket_look(rs);
}

static const struct listener_events listener_events = {.accepted = on_accepted, .closed = on_listener_closed};

int runtime_socket_open(struct worker *w, int fd, struct runtime_socket **ret)
{
	struct runtime_socket *rs = mem_zalloc(sizeof(*rs));
	rs->loop = w->pool->o.loop;
	rs->ops = w->pool->o.runtime;
	rs->ops_arg = w->pool->o.runtime_arg;
	rs->magic = RUNTIME_SOCKET_MAGIC;
	list_init(&rs->requests);
	int r = listener_open_fd(rs->loop, fd, &listener_events, rs, &rs->listener);
	if (r < 0) {
		mem_free(rs);
		return r;
	}
	const struct http_server_options options = {.name = "runtime",
						    .target_max = LIMIT_RUNTIME_TARGET_BYTES,
						    .target_is_content = true,
						    .conns_max = LIMIT_WORKER_RUNTIME_CONNS,
						    .events = &conn_events,
						    .arg = rs};
	rs->server = http_server_new(rs->loop, &options);
	rs->n_open = 2;
	rs->worker = w;
	*ret = rs;
	return 0;
}

void runtime_socket_close(struct runtime_socket *rs)
{
	if (rs->closing)
		return;
	rs->closing = true;
	listener_close(rs->listener);
	http_server_close(rs->server, on_listener_closed, rs);
}

void runtime_socket_forget(struct runtime_socket *rs, struct place *pl)
{
	LIST_FOR (&rs->requests, node) {
		struct runtime_request *q = CONTAINER_OF(node, struct runtime_request, node);
		if (q->call.place != pl)
			continue;
		q->call.place = NULL;
		q->call.actor = NULL;
	}
}
