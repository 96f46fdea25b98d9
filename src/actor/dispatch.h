/* The one door for traffic. */
#pragma once

#include "actor/actor_table.h"

enum dispatch_outcome {
	DISPATCH_TAKEN = 0, /* forwarded, or waiting in the actor; ends through the exchange */
	DISPATCH_ABSENT,    /* no live incarnation: local mode wakes it and offers again; engine mode answers */
	DISPATCH_STOPPING,  /* its incarnation is ending: offer again after REPORT_STOPPED */
	DISPATCH_FULL,      /* LIMIT_ACTOR_WAITING are waiting: 503 with Retry-After */
};

/* Offers an exchange to the live incarnation of actor id. May be called from any
 * front end's callback: nothing of the exchange is called from inside. */
enum dispatch_outcome dispatch_offer(struct actor_table *t, const char *actor_id, struct exchange *x);
