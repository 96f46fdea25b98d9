/* What the runtime_*.c files know of each other: one call from its head to its
 * answer. */
#pragma once

#include "io/http_conn.h"
#include "worker/worker_private.h"

#define RUNTIME_REQUEST_MAGIC 0x72747271u
#define RUNTIME_ANSWER_MAX ((size_t)40 * 1024 * 1024) /* a full list as JSON; below the stream's bound */
#define RUNTIME_REASON_MAX 256

/* Why a call is refused. */
struct runtime_error {
	unsigned status;
	const char *group, *code; /* static */
	char message[256];
};

struct runtime_request {
	uint32_t magic;
	struct runtime_call call;
	struct runtime_socket *socket; /* counted there until freed */
	struct http_conn *conn;        /* NULL: nobody listens any more */
	struct list node;              /* the socket's requests */
	char actor_id[64];             /* "self" as said */
	int64_t generation;            /* asked for; -1: not */
	bool handed;                   /* runtime_ops has the call */
	bool parsed;                   /* its kind is known */
	int64_t whole_mono_us;         /* its body was */
	bool batch;
	size_t body_max;        /* 0: the body is not read */
	const char *body_limit; /* its name, for 413 */
	struct buf body;
	struct buf memory; /* decoded keys and values */
	struct buf answer;
	struct runtime_kv_pair one;
};

/* False with *e filled; always false, so that `return runtime_refuse(...)` reads well. */
bool runtime_refuse(struct runtime_error *e, unsigned status, const char *group, const char *code, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/* Method and target: which call, on which actor, with what arguments, and what body it may have. */
bool runtime_parse_head(struct runtime_request *q, const struct http_head *h, struct runtime_error *e);
/* The whole body, in q->body. now_wall_ms: what "after" counts from. */
bool runtime_parse_body(struct runtime_request *q, int64_t now_wall_ms, struct runtime_error *e);
/* "250ms", "30s", "5min", "1h", "2d" to milliseconds. */
bool runtime_parse_duration(struct slice text, int64_t *ret_ms);

/* Writes the answer of a call that ended. */
void runtime_answer(struct runtime_request *q, enum runtime_outcome outcome);
void runtime_answer_error(struct http_conn *c, const struct runtime_error *e, bool indeterminate);
