/* Request target and head to route: pure parser of the gateway's addressing forms. */
#pragma once

#include "base/buf.h"
#include "codec/actor_id.h"
#include "codec/http_head.h"
#include "store/store_actor.h"

enum local_route_kind {
	ROUTE_API,       /* everything that is no gateway request */
	ROUTE_ACTOR_ID,  /* /gateway/{id}[@token]/..., x-rivet-target headers, subprotocols */
	ROUTE_ACTOR_KEY, /* /gateway/{name}/...?rvt-... */
	ROUTE_BAD,       /* an error, see below */
};

/* All text is owned by the route (mem_); local_route_clear frees it. */
struct local_route {
	enum local_route_kind kind;
	bool gateway;                  /* BAD: the error is of the gateway's flavour */
	unsigned status;               /* BAD */
	const char *group, *code;      /* BAD; static */
	char *message, *metadata_json; /* BAD; may be NULL */
	struct actor_id id;            /* ACTOR_ID */
	char *target; /* what the worker gets: path and query without prefix and routing pairs, at least "/" */
	char *token;  /* any of its forms, first found: path, query, header, subprotocol; NULL: none */
	bool skip_ready_wait;
	/* ACTOR_KEY */
	char *namespace_name, *name, *key, *pool; /* key: the API's key string; never NULL ("/" for no parts) */
	bool create;                              /* getOrCreate */
	enum crash_policy crash_policy;
	uint8_t *input; /* CBOR, decoded; NULL: none */
	size_t input_len;
	char *subprotocols; /* offered to the worker: the client's minus routing and token ones, ", " joined; NULL: none
			     */
	bool offered_rivet; /* the client offered "rivet" */
};

void local_route_parse(const struct http_head *h, struct local_route *ret);
void local_route_clear(struct local_route *r);

/* Percent-decoded text, or NULL when that is not UTF-8, holds NUL or an escape is broken. form: '+' is a space. The
 * caller frees. */
char *local_route_decode(struct slice s, bool form);
