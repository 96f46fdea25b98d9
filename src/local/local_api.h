/* One call of the REST API, and what its endpoints share. Private to local_api*.c.
 *
 * A call is made for a request, answered once by one of the "ends the call"
 * functions, and freed by it. A client that leaves while a job is under way
 * leaves the call behind: its end then writes nothing. */
#pragma once

#include "local/local_json.h"
#include "local/local_private.h"

#define LOCAL_API_MAGIC 0x6c617069u
#define API_ARGS_MAX 2

struct api_call;

struct api_endpoint {
	const char *method, *path; /* "{}" stands for one segment */
	/* Query parameters it knows, NULL-terminated; one that may be repeated ends with '*'. NULL: the query is
	 * ignored. */
	const char *const *query;
	/* Called once the body (if it takes one) is complete and the query is known to be sound. */
	void (*run)(struct api_call *c);
	bool open;   /* no token is asked */
	bool scoped; /* needs ?namespace=; run() finds it looked up in c->ns */
	/* Takes a JSON body, c->json. Called before the namespace is looked up; false when it has ended the call. May
	 * be NULL. */
	bool body;
	bool (*check)(struct api_call *c);
};

struct api_call {
	struct local_request r; /* first: hangs on the connection */
	uint32_t magic;
	const struct api_endpoint *endpoint;
	char *query;              /* as sent */
	char *args[API_ARGS_MAX]; /* what stood for "{}", decoded */
	bool json_type;           /* content-type is application/json */
	bool running;             /* everything of the request is there */
	bool busy;                /* a job is under way and points here */
	struct buf body;
	json_t *json;
	struct store_namespace ns; /* scoped: the one asked for; owned */
	struct buf out;            /* the answer's body */
	/* PUT and POST /actors: what is to be made, its texts and its input */
	struct local_key key;
	char *texts[3];
	struct buf input;
	bool get_or_create;
};

/* The endpoints, NULL method at the end. */
extern const struct api_endpoint local_api_actors[];
extern const struct api_endpoint local_api_misc[];

/* ---- the query ---- */

#define API_LIMIT_DEFAULT 100
#define API_LIMIT_MAX 1000

/* Every parameter is known to the endpoint and readable. False: the call has ended (400). */
bool local_api_query_check(struct api_call *c);
/* Next piece between commas, not empty; false at the end. */
bool local_api_query_piece(struct slice *list, struct slice *ret);

/* Decoded value of a parameter, of its first occurrence; NULL when it is absent or empty. The caller frees. */
char *local_api_query_text(const struct api_call *c, const char *name);
/* Every occurrence: next decoded value or NULL at the end; *at starts at 0. The caller frees. */
char *local_api_query_next(const struct api_call *c, const char *name, size_t *at);
/* True when the repeatable parameter `one`, or a comma-separated piece of `many`, names it; also when neither is
 * given. */
bool local_api_query_selects(const struct api_call *c, const char *one, const char *many, const char *value);
/* The repeatable parameter `one` and the comma-separated pieces of `many` are ids, be there none of that id. False:
 * the call has ended (400). */
bool local_api_query_ids(struct api_call *c, const char *one, const char *many);
/* 0: nothing is to be listed. False: the call has ended (400); so in the next two, *ret untouched when absent. */
bool local_api_query_limit(struct api_call *c, size_t *ret);
bool local_api_query_cursor(struct api_call *c, int64_t *ret);
bool local_api_query_bool(struct api_call *c, const char *name, bool *ret);

/* ---- ending the call: each frees it ---- */

/* 200 with c->out as JSON, or with plain text. */
void api_call_done(struct api_call *c);
void api_call_text(struct api_call *c, struct slice text);
/* The message's bytes and the metadata are borrowed; message SLICE_NONE: the standard sentence. */
void api_call_fail(struct api_call *c, unsigned status, const char *group, const char *code, struct slice message,
		   const char *metadata_json);
/* 400 with the standard sentence. */
void api_call_refuse(struct api_call *c, const char *group, const char *code);
/* 400 api.bad_request, "Request is invalid: REASON". */
void api_call_bad(struct api_call *c, struct slice reason);
/* 503 with Retry-After. */
void api_call_unavailable(struct api_call *c, const char *group, const char *code);
/* A job's negative result: 507 for a full disk, 503 when it may go better later, else 500. */
void api_call_store_failed(struct api_call *c, int result);

/* ---- pieces of answers ---- */

/* ,"pagination":{"cursor":...}} of a list in c->out; NULL: no row was listed. */
void api_call_put_cursor(struct api_call *c, const char *cursor);
void api_call_put_cursor_ts(struct api_call *c, int64_t create_ts); /* 0: no row */
