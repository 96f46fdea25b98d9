/* Owns one request of the daemon itself: start, alarm, stop, a health check.
 *
 * It takes an idle connection or a new one, beyond the bound for traffic, so
 * that a worker whose connections are all busy can still be told to stop. The
 * answer's status is all that counts. Failures are outcomes: the connection
 * was cut, the answer broke HTTP, nobody could be reached, time is over. */
#include "worker/worker_private.h"

#define CALL_MAX ((size_t)8 * 1024 * 1024) /* the input in base64, with room */

static struct worker_call *call_of(void *arg)
{
	return CAST(struct worker_call, arg, WORKER_CALL_MAGIC);
}

/* Takes it out of everything. */
static void detach(struct worker_call *c)
{
	timer_disarm(&c->deadline);
	loop_cancel(&c->tell);
	list_remove(&c->node);
	c->worker = NULL;
	c->conn = NULL;
}

void worker_call_over(struct worker_call *c, enum worker_call_outcome outcome)
{
	detach(c);
	c->done(c, outcome);
}

static void on_unreachable(void *arg)
{
	worker_call_over(call_of(arg), CALL_UNREACHABLE);
}

static void on_deadline(void *arg)
{
	struct worker_call *c = call_of(arg);
	struct worker_conn *conn = c->conn;
	detach(c);
	if (conn != NULL)
		worker_conn_close(conn);
	c->done(c, CALL_TIMEOUT);
}

void worker_call_init(struct worker_call *c, struct loop *l,
		      void (*done)(struct worker_call *c, enum worker_call_outcome outcome), void *arg)
{
	*c = (struct worker_call){.magic = WORKER_CALL_MAGIC, .done = done, .arg = arg};
	list_init(&c->node);
	timer_init(&c->deadline, l, on_deadline, c);
	loop_task_init(&c->tell, on_unreachable, c);
	buf_init(&c->bytes, CALL_MAX);
}

void worker_call_write(struct worker_call *c, const char *method, const char *path, const char *lifecycle,
		       struct slice fields, struct slice body)
{
	struct buf *b = &c->bytes;
	buf_reset(b);
	http_put_request_line(b, slice_str(method), slice_str(path));
	buf_add(b, SLICE_LIT("host: localhost\r\n"));
	if (lifecycle != NULL) {
		http_put_field_str(b, "x-rivet-lifecycle", lifecycle);
		buf_add(b, SLICE_LIT("content-type: application/json\r\n"));
		http_put_field_u64(b, "content-length", body.n);
	}
	buf_add(b, fields);
	http_put_end(b);
	buf_add(b, body);
	CHECK(!b->over);
}

void worker_call_send(struct worker_call *c, struct worker *w, int64_t timeout_ms)
{
	CHECK(c->worker == NULL);
	c->worker = w;
	c->status = 0;
	c->failure = 0;
	list_push_back(&w->calls_waiting, &c->node);
	if (timeout_ms >= 0)
		timer_arm(&c->deadline, timeout_ms);
	worker_conns_post(w);
}

void worker_call_begin(struct worker_call *c, struct worker_conn *conn)
{
	list_remove(&c->node);
	c->conn = conn;
	conn->state = CONN_CALL;
	conn->call = c;
	http_client_request(conn->client, buf_slice(&c->bytes), false, false, false, false);
	buf_done(&c->bytes);
}

void worker_call_unreachable(struct worker_call *c, int why)
{
	list_remove(&c->node);
	c->failure = why;
	loop_post(c->worker->pool->o.loop, &c->tell);
}

bool worker_call_running(const struct worker_call *c)
{
	return c->worker != NULL;
}

void worker_call_cancel(struct worker_call *c)
{
	struct worker_conn *conn = c->conn;
	detach(c);
	if (conn != NULL)
		worker_conn_close(conn);
}

void worker_call_done(struct worker_call *c)
{
	worker_call_cancel(c);
	buf_done(&c->bytes);
	c->magic = 0;
}
