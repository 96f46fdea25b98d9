/* What every answer of the public listener has in common: the ray id, CORS
 * fields, the error body and its sentences. Owns nothing; an answer given here
 * ends the connection's request. */
#include "local/local_json.h"
#include "local/local_private.h"

void local_request_fields(const struct local_request *r, struct buf *out)
{
	http_put_field_str(out, "x-rivet-ray-id", r->ray);
	if (r->wants_cors)
		local_access_put_cors(slice_str(r->origin), out);
}

void local_reply_error(struct local_request *r, unsigned status, const char *group, const char *code,
		       struct slice message, const char *metadata_json, bool gateway, uint32_t retry_after_s)
{
	struct buf fields, body;
	struct http_conn *c = TAKE(r->conn);
	if (c == NULL)
		return;
	buf_init(&fields, 2 * LIMIT_HTTP_HEAD_BYTES); /* an origin comes back, and it may fill a head */
	buf_init(&body, LIMIT_API_BODY_BYTES);
	local_json_error(&body, group, code, message, metadata_json);
	if (body.over) {
		buf_reset(&body);
		local_json_error(&body, group, code, slice_str(local_sentence(group, code)), NULL);
	}
	http_put_field_str(&fields, "content-type", "application/json");
	local_request_fields(r, &fields);
	if (gateway)
		buf_addf(&fields, "x-rivet-error: %s.%s\r\n", group, code);
	if (retry_after_s > 0)
		http_put_field_u64(&fields, "retry-after", retry_after_s);
	CHECK(!fields.over);
	http_conn_set_user(c, NULL);
	http_conn_reply(c, status, buf_slice(&fields), buf_slice(&body));
	buf_done(&fields);
	buf_done(&body);
}

const char *local_sentence(const char *group, const char *code)
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
