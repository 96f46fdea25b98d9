/* Local mode: the small engine inside. Owns the public listener with the
 * engine's REST API and gateway, the driver over the store, and the alarm
 * clock. One object for app/. */
#pragma once

#include "actor/actor_table.h"
#include "base/metric.h"
#include "store/store.h"

struct local;

struct local_options {
	struct loop *loop;
	struct store *store;
	const struct actor_types *types; /* borrowed */
	const char *token;               /* NULL: none asked */
	bool auth_none;                  /* everyone may come in */
	char *const *hosts;              /* NULL-terminated: host names allowed beside loopback ones */
	char *const *cors_origins;       /* NULL-terminated; NULL: the default rule */
	bool engine_limits;              /* refuse what a real engine would refuse (20 MiB answers, event streams) */
	uint32_t starts_max;
	const char *runtime_dir;
	struct guardian *guardian;
	const char *version;
};

/* Opens everything (the actor table too) but takes no traffic before local_serve. */
int local_open(const struct local_options *o, struct local **ret, struct err *e);

/* Token, auth_none, hosts, cors_origins, engine_limits and starts_max are as in o from now on, and the types have
 * changed: awake actors of replaced types are restarted on the new ones, starts_max at a time; those of removed types
 * are stopped with reason "drain". Strings are borrowed as before. */
void local_reload(struct local *l, const struct local_options *o);
/* Actors that are not on the types in force yet: 0 when all are. */
size_t local_rolling(const struct local *l);

/* Serves the public API on ADDR:PORT (port 0 picks one), or with fd >= 0 on that listening socket (taken over on 0),
 * restores actors that ran (policy restart), starts the alarm clock. On failure -errno and a sentence (port in use:
 * exit code 1). */
int local_serve(struct local *l, const char *address, int fd, struct err *e);
/* The listening socket, for copies of it. */
int local_listener_fd(const struct local *l);

/* The bound address as "127.0.0.1:6420"; the caller's buffer. */
void local_address(const struct local *l, char ret[80]);

/* NULL, or a sentence about an actor that has failed five starts in a row; the first one stays. */
const char *local_failing(const struct local *l);
/* No actor is awake, waits for a start or has one due after a crash. */
bool local_idle(const struct local *l);

/* The end of each tick: drains actor events, budgets inside. True when more is left to do in the next turn. */
bool local_tick(struct local *l);

/* Drain: new work is answered 503 with Retry-After, plain WebSockets get 1001 at once, actors are stopped with reason
 * "drain" inside timeout_ms; `drained` is called when nothing is left. local_drain_now: straight to SIGKILL. */
void local_drain(struct local *l, int64_t timeout_ms, void (*drained)(void *arg), void *arg);
void local_drain_now(struct local *l);
bool local_draining(const struct local *l);

void local_close(struct local *l, void (*closed)(void *arg), void *arg);

struct actor_table *local_actors(struct local *l);
struct local_driver *local_driver_of(struct local *l);

/* Whether a request with this head may use the guarded part of an own listener (admin page): 0, else the status to
 * answer (403, 421). Same rules as the public listener. */
unsigned local_access_check(const struct local *l, const struct http_head *h);

/* What the API and the gateway count. */
void local_metrics(const struct local *l, struct metric_out *out);
