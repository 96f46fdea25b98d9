/* A worker's own directory and sockets under the runtime directory. */
#pragma once

#include "base/err.h"
#include "base/limits.h"
#include "worker/actor_type.h"

struct worker_socket {
	char dir[LIMIT_SOCKET_PATH_BYTES + 1];     /* 0700, the worker's user's */
	char http[LIMIT_SOCKET_PATH_BYTES + 1];    /* RIVET_SOCKET */
	char runtime[LIMIT_SOCKET_PATH_BYTES + 1]; /* RIVET_RUNTIME_SOCKET */
	char notify[LIMIT_SOCKET_PATH_BYTES + 1];  /* NOTIFY_SOCKET */
	int listen_fd;                             /* serve fd: what the worker gets as 3; -1 */
	int runtime_fd;                            /* listening; -1 once served */
	int notify_fd;                             /* datagrams; -1 */
	uint16_t port;                             /* serve tcp */
	uint32_t uid;                              /* who must own the socket */
};

/* Makes all of it with random names. 0 or -errno with a sentence; nothing is left then. */
int worker_socket_make(struct worker_socket *s, const char *runtime_dir, const struct actor_type *type, struct err *e);
/* Closes what is open and removes the directory. */
void worker_socket_remove(struct worker_socket *s);

/* Connects to the worker's HTTP socket without following links and checks type, owner and peer. Returns the descriptor
 * (non-blocking), or -EAGAIN (backlog full, not there yet: try again), or -errno. */
int worker_socket_connect(const struct worker_socket *s, enum serve serve);

/* True when a READY=1 of the process group `group` was read from the notify socket. */
bool worker_socket_notified(const struct worker_socket *s, int32_t group);

/* Removes what earlier daemons left in the runtime directory. */
void worker_socket_sweep(const char *runtime_dir);
