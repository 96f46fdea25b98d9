/* Looking up a host name off the loop: getaddrinfo (RFC 3493) in a thread of
 * its own, because a name server that does not answer holds it for half a
 * minute and nothing can call it back. Closing does not wait for it. */
#pragma once

#include "io/loop.h"

#define RESOLVE_ADDRESSES_MAX 8
#define RESOLVE_ADDRESS_BYTES 64

struct resolve;

/* TCP addresses in the order to try them (RFC 6724), as text that stream_connect_tcp takes. */
struct resolve_answer {
	size_t n; /* 0: `error` says why */
	char address[RESOLVE_ADDRESSES_MAX][RESOLVE_ADDRESS_BYTES];
	const char *error; /* static text */
};

/* Tells `done` once, later, unless closed before; the answer dies when it returns. -EAGAIN: LIMIT_RESOLVES look-ups,
 * closed ones included, still wait for an answer; -errno: no thread or pipe. Close it in each other case. */
int resolve_open(struct loop *l, const char *host, void (*done)(void *arg, const struct resolve_answer *a), void *arg,
		 struct resolve **ret);

/* Idempotent; no done() after this. The memory goes by itself. */
void resolve_close(struct resolve *r);

/* Whether the host is an IPv4 or IPv6 address already (no brackets). */
bool resolve_is_address(const char *host);
