/* Ids and keys as the engine writes them.
 *
 * An id is 19 bytes: version 1, 16 random (UUIDv4), 2 of datacenter label, big
 * endian; written as 30 base-36 digits, least significant first, lower case.
 * Actors, namespaces, runners and rays share the form. */
#pragma once

#include "base/buf.h"

#define ACTOR_ID_TEXT 30

/* A NUL-terminated text id. */
struct actor_id {
	char text[ACTOR_ID_TEXT + 1];
};

enum actor_id_outcome {
	ACTOR_ID_MALFORMED = 1,    /* length, digit, overflow or version */
	ACTOR_ID_OTHER_DATACENTER, /* well formed, another label than ours */
};

#define ACTOR_ID_LABEL 1 /* the label of the local datacenter, "default" */

/* A fresh id from the system's random source. */
struct actor_id actor_id_new(void);

/* From 16 bytes and a label; for tests and stable ids. The bytes are taken as they are. */
struct actor_id actor_id_from(const uint8_t random[16], uint16_t label);

/* Canonical lower-case id from text in any case. 0 or enum actor_id_outcome; *ret is
 * written on 0 and on ACTOR_ID_OTHER_DATACENTER. */
int actor_id_parse(struct slice text, struct actor_id *ret);

/* The API's key string from parts: "/" for none; "\0" for an empty part; '\' and '/' escaped by '\'; joined by '/'. */
void actor_key_join(const struct slice *parts, size_t n, struct buf *out);
