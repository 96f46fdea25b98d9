/* A listening socket. */
#pragma once

#include "base/err.h"
#include "io/stream.h"

struct listener;

struct listener_events {
	/* A connected descriptor; it is the callee's now. */
	void (*accepted)(void *arg, int fd);
	void (*closed)(void *arg);
};

/* "ADDR:PORT", "[V6]:PORT", "localhost:PORT"; port 0 picks one. On failure -errno and a sentence in e
 * (EADDRINUSE: says the port is in use and what to do; exit code 1). Accepting starts at once. */
int listener_open_tcp(struct loop *l, const char *address, const struct listener_events *events, void *arg,
		      struct listener **ret, struct err *e);

/* Adopts a bound and listening descriptor (Unix or TCP). On failure the fd stays the caller's. */
int listener_open_fd(struct loop *l, int fd, const struct listener_events *events, void *arg, struct listener **ret);

/* The descriptor, for copies of it; it stays the listener's. */
int listener_fd(const struct listener *ls);

/* Bound address as "127.0.0.1:6420", "[::1]:6420", "unix:PATH"; the caller's buffer. */
void listener_fd_address(int fd, char ret[80]);
void listener_address(const struct listener *ls, char ret[80]);

/* Accepting stops or goes on (too many connections, draining). Out of descriptors: accepting pauses by itself for
 * 100 ms. */
void listener_pause(struct listener *ls, bool stop);

/* Idempotent. */
void listener_close(struct listener *ls);
