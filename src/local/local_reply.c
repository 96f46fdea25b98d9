/* What every answer of the public listener has in common: the ray id, CORS
 * fields and the error body. Owns nothing; an answer given here
 * ends the connection's request. */
#include "local/local_private.h"
#include "traffic/answer.h"

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
	answer_put_error(&body, group, code, message, metadata_json);
	if (body.over) {
		buf_reset(&body);
		answer_put_error(&body, group, code, slice_str(answer_sentence(group, code)), NULL);
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
