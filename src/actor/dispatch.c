/* The one door for traffic: finds the live incarnation and lets it take the
 * exchange. One look-up and no allocation when the actor runs. */
#include "actor/dispatch.h"

#include "actor/actor.h"

enum dispatch_outcome dispatch_offer(struct actor_table *t, const char *actor_id, struct exchange *x)
{
	struct actor *a = actor_table_find(t, actor_id);
	return a == NULL ? DISPATCH_ABSENT : actor_offer(a, x);
}
