/* What both gateways make of a worker's answer, or of none. Owns nothing.
 *
 * Which of its fields end at the daemon, what a client is told when there is
 * no answer to pass on, and the sentences of those errors. */
#include "traffic/answer.h"

#include "codec/json_field.h"

/* ---- fields ---- */

/* Fields of a worker's answer that end here, beside the hop-by-hop ones. */
static const bool dropped[] = {
    [HTTP_F_TRANSFER_ENCODING] = true,
    [HTTP_F_CONNECTION] = true,
    [HTTP_F_DATE] = true,
    [HTTP_F_X_RIVET_ERROR] = true,
    [HTTP_F_X_RIVET_RAY_ID] = true,
    [HTTP_F_X_RIVET_HIBERNATE] = true,
    [HTTP_F_SEC_WEBSOCKET_ACCEPT] = true,
    [HTTP_F_SEC_WEBSOCKET_EXTENSIONS] = true,
    [HTTP_F_X_RIVET_OTHER] = false,
};

bool answer_ends_here(const struct http_field *f)
{
	return f->hop || dropped[f->id];
}

/* ---- what an engine refuses ---- */

bool answer_is_stream(const struct http_head *h)
{
	const struct http_field *type = http_head_get(h, HTTP_F_CONTENT_TYPE);
	static const char name[] = "text/event-stream";
	size_t n = sizeof(name) - 1;
	return type != NULL && type->value.n >= n && slice_is_nocase(slice_head(type->value, n), name);
}

struct answer_failure answer_streaming_unsupported(void)
{
	return (struct answer_failure){502, "runner", "streaming_unsupported",
				       "an engine cannot stream answers; use a WebSocket, or answer in one piece", 0};
}

struct answer_failure answer_too_large(void)
{
	return (struct answer_failure){
	    502, "runner", "response_too_large",
	    "the answer is larger than 20 MiB, an engine's limit; answer in parts, or use a WebSocket", 0};
}

/* ---- failures ---- */

struct answer_failure answer_failure(const struct exchange *x, enum exchange_why why)
{
	static const struct answer_failure table[] = {
	    [EXCHANGE_DONE] = {502, "guard", "upstream_error", "the worker ended the request without an answer", 0},
	    [EXCHANGE_GONE] =
		{502, "guard", "upstream_error",
		 "the worker closed the connection before it answered; whether it executed the request is not known",
		 0},
	    [EXCHANGE_MALFORMED] = {502, "guard", "upstream_error", "the worker's answer is not valid HTTP", 0},
	    [EXCHANGE_TIMEOUT] = {504, "guard", "gateway_response_start_timeout",
				  "the worker did not begin its answer within request_timeout", 0},
	    [EXCHANGE_STOPPED] = {503, "guard", "actor_stopped_while_waiting",
				  "the actor was stopped while the request ran; whether it was executed is not known",
				  1},
	    [EXCHANGE_CRASHED] = {502, "guard", "upstream_error",
				  "the worker crashed while the request ran; whether it was executed is not known", 1},
	};
	if (why != EXCHANGE_REFUSED) {
		struct answer_failure f = table[why];
		if (x->refusal.message != NULL)
			f.message = x->refusal.message;
		return f;
	}
	const struct exchange_refusal *r = &x->refusal;
	return (struct answer_failure){r->status, r->group, r->code,
				       r->message != NULL ? r->message : answer_sentence(r->group, r->code),
				       r->retry_after_s};
}

void answer_put_error(struct buf *out, const char *group, const char *code, struct slice message,
		      const char *metadata_json)
{
	buf_add_str(out, "{\"group\":");
	json_put_str(out, slice_str(group));
	buf_add_str(out, ",\"code\":");
	json_put_str(out, slice_str(code));
	buf_add_str(out, ",\"message\":");
	json_put_str(out, message);
	if (metadata_json != NULL)
		buf_addf(out, ",\"metadata\":%s", metadata_json);
	buf_add_byte(out, '}');
}

const char *answer_sentence(const char *group, const char *code)
{
	static const struct {
		const char *group, *code, *text;
	} sentences[] = {
	    {"actor", "duplicate_key", "another actor of this name has this key"},
	    {"actor", "empty_key", "the key must not be empty"},
	    {"actor", "key_too_large", "the key is longer than 1024 bytes"},
	    {"actor", "kv_key_not_found", "the actor has no such key"},
	    {"actor", "not_found", "there is no such actor"},
	    {"actor", "not_registered", "no actor type of this name is configured"},
	    {"actor", "overloaded", "no worker was free for the actor in time"},
	    {"actor", "start_failed", "the actor could not be started"},
	    {"actor", "stopped", "the actor was stopped"},
	    {"actor", "stopping", "the actor is stopping"},
	    {"api", "forbidden", "access denied: the token is missing or wrong"},
	    {"api", "not_found", "there is nothing at this path"},
	    {"core", "internal_error", "an internal error occurred"},
	    {"datacenter", "not_found", "there is no such datacenter: the only one here is \"default\""},
	    {"guard", "actor_ready_timeout", "the actor was not ready in time"},
	    {"guard", "actor_wake_retries_exceeded", "the actor stopped each time before it was ready"},
	    {"guard", "gateway_response_start_timeout", "the actor did not begin to answer in time"},
	    {"guard", "invalid_header", "a header has a value that is not understood"},
	    {"guard", "invalid_request_body", "the body is longer than 20 MiB"},
	    {"guard", "invalid_response_body", "the actor's answer is longer than 20 MiB"},
	    {"guard", "missing_header", "a header that says which actor is meant is missing"},
	    {"guard", "no_route", "there is no way to an actor at this path"},
	    {"guard", "query_duplicate_param", "a routing parameter is given twice"},
	    {"guard", "query_empty_actor_name", "the actor's name is empty"},
	    {"guard", "query_get_disallowed_params", "a routing parameter does not go with rvt-method=get"},
	    {"guard", "query_invalid_base64_input", "rvt-input is not base64url"},
	    {"guard", "query_invalid_cbor_input", "rvt-input is not one CBOR value"},
	    {"guard", "query_invalid_params", "the routing parameters are not understood"},
	    {"guard", "query_invalid_percent_encoding", "the path or a routing parameter is not percent-encoded UTF-8"},
	    {"guard", "query_missing_pool", "rvt-method=getOrCreate needs rvt-runner or rvt-pool"},
	    {"guard", "query_param_missing_equals", "a routing parameter has no value"},
	    {"guard", "query_path_token_syntax", "a token does not go into the path of a query route; use rvt-token"},
	    {"guard", "service_unavailable", "the daemon is stopping"},
	    {"guard", "upstream_error", "the worker did not answer properly"},
	    {"guard", "websocket_not_supported", "there is no WebSocket at this path"},
	    {"namespace", "name_not_unique", "there is a namespace of this name already"},
	    {"namespace", "not_found", "there is no such namespace"},
	    {"store", "disk_full", "the disk is full; nothing was written"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(sentences); i++) {
		if (strcmp(sentences[i].group, group) == 0 && strcmp(sentences[i].code, code) == 0)
			return sentences[i].text;
	}
	return "the request could not be served";
}
