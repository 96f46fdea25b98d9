/* The actor types in force, by name, and those that were replaced and are not
 * let go of yet.
 *
 * An actor type never changes: a reload puts another in its place. Workers and
 * actors go on with the one they began with, so a replaced type is kept until
 * its user says that nothing refers to it any more (actor_types_sweep). A type
 * that a reload leaves as it was keeps its identity, and nobody notices; one
 * that a reload brings back while it is kept is the same again. */
#pragma once

#include "base/buf.h"
#include "worker/actor_type.h"

struct actor_types;

/* How many names each of these is. */
struct actor_types_change {
	size_t added, changed, removed, unchanged;
};

/* Told of each name that is not as before; kind is "added", "changed" or "removed". */
typedef void actor_types_told(void *arg, const char *kind, const char *name);

/* Takes the array (NULL-terminated, mem_) and what is in it. Each name is in it once. */
struct actor_types *actor_types_new(struct actor_type **types);
/* Frees replaced ones, too. NULL: nothing. */
void actor_types_free(struct actor_types *t);

/* The type in force of that name, or NULL. */
const struct actor_type *actor_types_find(const struct actor_types *t, struct slice name);
/* The types in force in the order of the configuration; NULL past the last. */
const struct actor_type *actor_types_at(const struct actor_types *t, size_t i);
/* False: it was replaced or removed. */
bool actor_types_is_current(const struct actor_types *t, const struct actor_type *type);
/* Appends "there are: A, B" or "none is" to an error's sentence, as far as `bytes_max` of the buffer go. */
void actor_types_list(const struct actor_types *t, struct buf *out, size_t bytes_max);

/* Whether actor_types_replace with these would keep the number of replaced types within LIMIT_ACTOR_TYPES_OLD. */
bool actor_types_has_room(const struct actor_types *t, struct actor_type *const *types);
/* Puts others in force; takes them as actor_types_new does. There is room. told may be NULL. */
void actor_types_replace(struct actor_types *t, struct actor_type **types, actor_types_told *told, void *arg,
			 struct actor_types_change *ret);

/* Replaced ones that are still kept, in no order; NULL past the last. */
const struct actor_type *actor_types_old(const struct actor_types *t, size_t i);
/* Frees the replaced ones of which let_go says true; returns how many are left. */
size_t actor_types_sweep(struct actor_types *t, bool (*let_go)(void *arg, const struct actor_type *type), void *arg);
