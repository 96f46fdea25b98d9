/* What the control_*.c files know of each other: one call from its head to its
 * answer. */
#pragma once

#include "app/control.h"
#include "base/log.h"
#include "io/http_conn.h"
#include "io/timer.h"

#define CONTROL_MAGIC 0x6374726cu
#define CONTROL_CALL_MAGIC 0x6374636cu
#define CONTROL_ANSWER_MAX ((size_t)16 * 1024 * 1024)
#define CONTROL_BODY_MAX ((size_t)LIMIT_KV_VALUE_BYTES)

struct control {
	uint32_t magic;
	struct control_options o;
	struct listener *listener;
	struct http_server *server;
	struct list calls; /* struct control_call */
	int64_t started_wall_ms;
	char path[LIMIT_SOCKET_PATH_BYTES + 1];
	int open; /* listener and server */
	bool closing;
	void (*closed)(void *arg);
	void *closed_arg;
	struct loop_task finish;
};

struct control_call {
	uint32_t magic;
	struct control *control;
	struct list node;
	struct http_conn *conn; /* NULL: nobody listens any more */
	bool owed;              /* the mode still answers */
	bool first;             /* no element of a list was written yet */
	/* The body is complete. */
	void (*run)(struct control_call *call);
	char *id;       /* of an actor, or NULL */
	struct buf key; /* of a value, or a prefix, or a name */
	bool has_key;
	bool follow; /* logs */
	enum mode_verb verb;
	enum mode_kv_kind kv;
	struct buf body, out;
	/* logs */
	struct log_ring_cursor cursor;
	struct timer poll;
	bool streaming, full;
	int fd; /* of a backup; -1: none */
	/* The client takes bytes of a streamed answer again. */
	void (*writable)(struct control_call *call);
};

/* Finds the call for a method and target and fills `call`; false: refused, with status and sentence. */
bool control_route(struct control_call *call, const struct http_head *h, unsigned *ret_status, const char **ret_why);

/* Ends the call with what is in call->out, as JSON. */
void control_reply(struct control_call *call);
/* Ends it with bytes. */
void control_reply_bytes(struct control_call *call, struct slice bytes);
/* Ends it with an error object. */
void control_refuse(struct control_call *call, unsigned status, const char *message);
/* Ends it with {}. */
void control_done(struct control_call *call);
/* The call is over and its memory goes; its connection is free for the next. */
void control_call_free(struct control_call *call);

/* ---- what calls do ---- */

void control_status(struct control_call *call);
void control_list(struct control_call *call);
void control_actor(struct control_call *call);
void control_command(struct control_call *call);
void control_kv(struct control_call *call);
void control_workers(struct control_call *call);
void control_drain(struct control_call *call);
void control_reload(struct control_call *call);

/* ---- control_logs.c ---- */

void control_logs(struct control_call *call);

/* ---- control_backup.c ---- */

void control_backup(struct control_call *call);
