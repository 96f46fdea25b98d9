/* The API's objects as JSON text, members in the engine's order. */
#pragma once

#include "codec/json_field.h"
#include "store/store_actor.h"

#define LOCAL_DATACENTER "default"

/* Appends. namespace_id: of the namespace the actor lives in. */
void local_json_actor(struct buf *out, const struct store_actor *a, const char *namespace_id);
void local_json_namespace(struct buf *out, const struct store_namespace *ns);

/* An object with one string member, or two (name2 not NULL), for metadata; the caller frees. */
char *local_json_strings(const char *name, struct slice value, const char *name2, struct slice value2);
/* The metadata of actor.key_too_large; the caller frees. */
char *local_json_key_too_large(struct slice key);

const char *local_json_crash_policy(enum crash_policy p);
/* False when the text names none. */
bool local_json_crash_policy_parse(struct slice text, enum crash_policy *ret);
