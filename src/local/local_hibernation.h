/* Client WebSockets that outlive their workers, in local mode. */
#pragma once

#include "local/local_front.h"

/* The worker accepted the upgrade of f and agreed (f->x->hibernates); the client has its 101. Takes the connection and
 * the exchange over; f is freed. From inside the exchange's head(). */
void local_hibernation_take(struct local_front *f, const struct http_head *answer);

/* What the driver tells; only noted. The actor runs: clients that left meanwhile are reported to it. The actor is gone
 * for good: its clients are closed. */
void local_hibernation_running(struct local *l, const char *actor_id);
void local_hibernation_destroyed(struct local *l, const char *actor_id);

/* The daemon stops: who sleeps is closed with 1001, who left is forgotten. Not from inside an exchange's ops. */
void local_hibernation_drain(struct local *l);
