/* Owns the set of connections of one listener and their bound.
 *
 * A connection over the bound is told 503 and closed; so many may be in that
 * state before further ones are just dropped. Closing the server cuts its
 * connections; the last one to leave ends it. */
#include "io/http_conn_private.h"

#include <unistd.h>

#define SERVER_MAGIC 0x68736572u

static void end(struct http_server *s)
{
	void (*closed)(void *arg) = s->closed;
	void *arg = s->closed_arg;
	s->magic = 0;
	mem_free(s);
	closed(arg);
}

static void on_finish(void *arg)
{
	end(CAST(struct http_server, arg, SERVER_MAGIC));
}

struct http_server *http_server_new(struct loop *l, const struct http_server_options *o)
{
	CHECK(o->conns_max > 0 && o->target_max > 0);
	struct http_server *s = mem_zalloc(sizeof(*s));
	s->magic = SERVER_MAGIC;
	s->loop = l;
	s->options = *o;
	list_init(&s->conns);
	loop_task_init(&s->finish, on_finish, s);
	return s;
}

void http_server_give(struct http_server *s, int fd)
{
	bool refused = s->n_conns >= s->options.conns_max;
	if (s->closing || s->n_conns >= s->options.conns_max + LIMIT_HTTP_REFUSED || http_conn_open(s, fd, refused) < 0)
		close(fd);
}

size_t http_server_count(const struct http_server *s)
{
	return s->n_conns;
}

void http_server_drain(struct http_server *s)
{
	s->draining = true;
	LIST_FOR (&s->conns, node)
		http_conn_drain(http_conn_of(node));
}

void http_server_close(struct http_server *s, void (*closed)(void *arg), void *arg)
{
	CHECK(!s->closing);
	s->closing = s->draining = true;
	s->closed = closed;
	s->closed_arg = arg;
	LIST_FOR (&s->conns, node)
		http_conn_cut(http_conn_of(node));
	if (s->n_conns == 0)
		loop_post(s->loop, &s->finish);
}

void http_server_left(struct http_server *s)
{
	CHECK(s->n_conns > 0);
	s->n_conns--;
	if (s->closing && s->n_conns == 0)
		end(s);
}
