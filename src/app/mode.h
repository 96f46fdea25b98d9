/* The mode the daemon runs in, as the rest of app/ sees it: the small engine
 * inside, or a real one over a link. Each implements these functions once;
 * nothing else in app/ asks which it is. */
#pragma once

#include "actor/actor_table.h"
#include "app/config.h"

/* Told by a mode, from the tick. */
struct mode_events {
	/* What why_not answers has changed. */
	void (*changed)(void *arg);
	/* The mode cannot go on (it logged why): the daemon is to end with this exit code. Once;
	 * drained() is not called after it. */
	void (*failed)(void *arg, int exit_code);
};

struct mode_options {
	const struct config *config; /* outlives the mode, as do types, loop and guardian */
	struct actor_types *types;
	struct loop *loop;
	struct guardian *guardian;
	const struct mode_events *events;
	void *arg;
};

struct mode;

/* One actor as an operator sees it. Text is valid during the call only; NULL: none. */
struct mode_actor {
	const char *id, *name, *key, *namespace_name, *state, *worker_id, *failure, *crash_policy;
	int64_t generation;            /* -1: never started */
	int64_t created_at_wall_ms;    /* 0: not known */
	int64_t alarm_at_wall_ms;      /* 0: none */
	int64_t state_ms, back_off_ms; /* in this state; until the next start may be. -1: not known */
	int32_t pid;
	uint32_t requests, websockets, waiting, leases;
	struct slice alarm_failed_json; /* of one actor alone: its last alarm that was given up, or SLICE_NONE */
};

struct mode_list {
	const char *name, *id; /* copied; NULL: any */
	void (*each)(void *arg, const struct mode_actor *a);
	/* failure NULL, or a sentence; more: the list was cut. */
	void (*done)(void *arg, const char *failure, bool more);
	void *arg;
};

enum mode_verb { MODE_WAKE, MODE_SLEEP, MODE_RESTART, MODE_DESTROY };

/* Status 200, or why not: an HTTP status with a sentence. */
typedef void mode_answer(void *arg, unsigned status, const char *message);

enum mode_kv_kind { MODE_KV_GET, MODE_KV_PUT, MODE_KV_DELETE, MODE_KV_LIST };

struct mode_kv_entry {
	struct slice key, value;
	int64_t updated_wall_ms;
};

/* key: for a list the prefix. All copied. done() comes later, once; entries live until it returns. */
struct mode_kv {
	enum mode_kv_kind kind;
	struct slice key, value;
	void (*done)(void *arg, unsigned status, const char *message, const struct mode_kv_entry *entries, size_t n,
		     bool more);
	void *arg;
};

struct mode_ops {
	const char *name; /* "local", "engine" */
	/* Opens everything durable and the actor table; no traffic yet. 0 or -errno with a sentence and an exit code;
	 * close() is due either way. */
	int (*open)(struct mode *m, struct err *e);
	/* Takes traffic from now on. The same. */
	int (*serve)(struct mode *m, struct err *e);
	/* NULL: it serves; else what it waits for, static text. */
	const char *(*why_not)(struct mode *m);
	/* NULL, or a sentence: an actor that has failed five starts in a row, none followed by a minute of health. It
	 * stays. */
	const char *(*failing)(struct mode *m);
	/* No actor is awake, waits for a start or has one due after a crash. */
	bool (*idle)(struct mode *m);
	/* The end of each tick. True when more is left for the next turn. */
	bool (*tick)(struct mode *m);
	/* No new work, actors are stopped inside timeout_ms; drained() comes later, once. drain_now: SIGKILL. */
	void (*drain)(struct mode *m, int64_t timeout_ms, void (*drained)(void *arg), void *arg);
	void (*drain_now)(struct mode *m);
	/* Whatever was opened; closed() comes later, the mode is gone then. */
	void (*close)(struct mode *m, void (*closed)(void *arg), void *arg);
	/* Whether it can go on with a configuration read anew: 0, or -errno with a sentence. While it serves. */
	int (*check)(struct mode *m, const struct config *next, struct err *e);
	/* The live settings of `config`, and the types, have changed; what was there before is valid during the call
	 * only. Awake actors of replaced types are ended, a few at a time, afterwards. */
	void (*reload)(struct mode *m);
	/* Awake actors that are being ended or started again because their type was replaced. */
	size_t (*rolling)(struct mode *m);
	/* NULL before open() and while closing. */
	struct actor_table *(*actors)(struct mode *m);
	/* Whether this request may see the guarded part of an own listener: 0, else the status to answer. */
	unsigned (*access)(struct mode *m, const struct http_head *h);
	/* For the control socket; NULL where the mode has no such thing. Each answers later, never inside, exactly
	 * once. */
	void (*list)(struct mode *m, const struct mode_list *q);
	void (*command)(struct mode *m, enum mode_verb verb, const char *id, mode_answer *done, void *arg);
	void (*kv)(struct mode *m, const char *id, const struct mode_kv *op);
	/* A consistent copy of all state: fd (the callee's to close) and size, or fd -1 with status and message. */
	void (*backup)(struct mode *m,
		       void (*done)(void *arg, int fd, uint64_t size, unsigned status, const char *message), void *arg);
	/* Appends members of a JSON object, each with a comma before it. */
	void (*status)(struct mode *m, struct buf *out);
	/* What only this mode counts. */
	void (*metrics)(struct mode *m, struct metric_out *out);
};

/* The first member of each mode's struct. */
struct mode {
	uint32_t magic; /* the implementation's */
	const struct mode_ops *ops;
	void (*closed)(void *arg); /* of close() */
	void *closed_arg;
};

/* For the implementations, at the end of close(): frees the mode and tells. */
void mode_gone(struct mode *m);

/* The mode the configuration asks for; never fails. */
struct mode *mode_new(const struct mode_options *o);
/* mode_local.c, mode_engine.c */
struct mode *mode_local_new(const struct mode_options *o);
struct mode *mode_engine_new(const struct mode_options *o);
