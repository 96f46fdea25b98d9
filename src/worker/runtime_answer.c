/* Outcomes of runtime calls to HTTP answers. */
#include "worker/runtime_private.h"

#include "codec/json_field.h"

#include <stdio.h>

void runtime_answer_error(struct http_conn *c, const struct runtime_error *e, bool indeterminate)
{
	struct buf b;
	buf_init(&b, 4096);
	buf_addf(&b, "{\"group\":\"%s\",\"code\":\"%s\",\"message\":", e->group, e->code);
	json_put_str(&b, slice_str(e->message));
	buf_addf(&b, ",\"metadata\":%s}", indeterminate ? "{\"indeterminate\":true}" : "null");
	http_conn_reply(c, e->status, SLICE_LIT("content-type: application/json\r\n"), buf_slice(&b));
	buf_done(&b);
}

/* False: it is no text. */
static bool put_bytes(struct buf *b, struct slice s, bool utf8)
{
	if (utf8) {
		if (!ws_utf8_valid(s))
			return false;
		json_put_str(b, s);
		return true;
	}
	buf_add_byte(b, '"');
	base64_put(b, s, false);
	buf_add_byte(b, '"');
	return true;
}

static bool put_list(struct buf *b, const struct runtime_kv_pair *entries, size_t n, bool utf8)
{
	bool text = true;
	buf_add(b, SLICE_LIT("{\"entries\":["));
	for (size_t i = 0; i < n && text; i++) {
		buf_add_str(b, i > 0 ? ",{\"key\":" : "{\"key\":");
		text = put_bytes(b, entries[i].key, utf8);
		buf_add(b, SLICE_LIT(",\"value\":"));
		text = text && put_bytes(b, entries[i].value, utf8);
		buf_addf(b, ",\"updated_at\":%lld}", (long long)entries[i].updated_wall_ms);
	}
	buf_add_byte(b, ']');
	return text;
}

/* Base64 of a whole batch fits always. */
_Static_assert((size_t)LIMIT_KV_BATCH_KEYS *((LIMIT_KV_KEY_BYTES + LIMIT_KV_VALUE_BYTES) / 3 * 4 + 64) + 64 <
		   RUNTIME_ANSWER_MAX,
	       "what a batch gets fits in an answer");

bool runtime_entries_fit(const struct runtime_kv_pair *entries, size_t n, bool utf8)
{
	struct buf b;
	if (!utf8)
		return true;
	buf_init(&b, RUNTIME_ANSWER_MAX);
	bool fit = put_list(&b, entries, n, utf8) && !b.over && buf_len(&b) < RUNTIME_ANSWER_MAX;
	buf_done(&b);
	return fit;
}

/* Appends the entries as JSON; false with *e when they cannot be said. */
static bool put_entries(struct runtime_request *q, struct runtime_error *e)
{
	struct buf *b = &q->answer;
	bool text = put_list(b, q->call.entries, q->call.n_entries, q->call.utf8);
	if (q->call.kind == RUNTIME_KV_LIST) {
		buf_add(b, SLICE_LIT(",\"next\":"));
		if (q->call.has_next)
			text = text && put_bytes(b, q->call.next, q->call.utf8);
		else
			buf_add(b, SLICE_LIT("null"));
	}
	buf_add_byte(b, '}');
	if (!text)
		return runtime_refuse(e, 422, "kv", "not_utf8", "an entry is not UTF-8; ask with encoding=base64");
	if (b->over)
		return runtime_refuse(e, 413, "kv", "answer_too_large",
				      "the answer is too large; ask with a smaller limit");
	return true;
}

static void put_info(struct runtime_request *q)
{
	const struct place *pl = q->call.place;
	struct buf *b = &q->answer;
	buf_add(b, SLICE_LIT("{\"actor_id\":"));
	json_put_str(b, slice_str(pl->actor_id));
	buf_add(b, SLICE_LIT(",\"name\":"));
	json_put_str(b, slice_str(pl->name));
	buf_add(b, SLICE_LIT(",\"key\":"));
	if (pl->key == NULL)
		buf_add(b, SLICE_LIT("null"));
	else
		json_put_str(b, slice_str(pl->key));
	buf_addf(b, ",\"generation\":%lld,\"created_at\":%lld,\"namespace\":", (long long)pl->generation,
		 (long long)pl->create_ts);
	json_put_str(b, slice_str(pl->namespace_name));
	if (q->call.alarm_at_wall_ms > 0)
		buf_addf(b, ",\"alarm_at\":%lld}", (long long)q->call.alarm_at_wall_ms);
	else
		buf_add(b, SLICE_LIT(",\"alarm_at\":null}"));
}

static void reply_json(struct runtime_request *q)
{
	http_conn_reply(q->conn, 200, SLICE_LIT("content-type: application/json\r\n"), buf_slice(&q->answer));
}

static void reply_value(struct runtime_request *q)
{
	char fields[96];
	struct runtime_error e;
	if (q->call.n_entries == 0) {
		(void)runtime_refuse(&e, 404, "actor", "kv_key_not_found", "the actor has no such key");
		runtime_answer_error(q->conn, &e, false);
		return;
	}
	snprintf(fields, sizeof(fields), "content-type: application/octet-stream\r\nx-rivet-updated-at: %lld\r\n",
		 (long long)q->call.entries[0].updated_wall_ms);
	http_conn_reply(q->conn, 200, slice_str(fields), q->call.entries[0].value);
}

static void reply_entries(struct runtime_request *q)
{
	struct runtime_error e;
	if (!put_entries(q, &e))
		runtime_answer_error(q->conn, &e, false);
	else
		reply_json(q);
}

static void reply_ok(struct runtime_request *q)
{
	struct runtime_error e;
	if (q->batch) {
		reply_entries(q);
		return;
	}
	switch (q->call.kind) {
	case RUNTIME_INFO:
		if (q->call.place == NULL) {
			(void)runtime_refuse(&e, 409, "actor", "stale_generation", "the actor has left this worker");
			runtime_answer_error(q->conn, &e, false);
			return;
		}
		put_info(q);
		reply_json(q);
		return;
	case RUNTIME_INPUT:
		if (q->call.has_input)
			http_conn_reply(q->conn, 200, SLICE_LIT("content-type: application/octet-stream\r\n"),
					q->call.input);
		else
			http_conn_reply(q->conn, 204, SLICE_NONE, SLICE_NONE);
		return;
	case RUNTIME_KV_GET:
		reply_value(q);
		return;
	case RUNTIME_KV_LIST:
	case RUNTIME_KV_BATCH_GET:
		reply_entries(q);
		return;
	case RUNTIME_ALARM_GET:
		if (q->call.alarm_at_wall_ms > 0)
			buf_addf(&q->answer, "{\"at\":%lld}", (long long)q->call.alarm_at_wall_ms);
		else
			buf_add(&q->answer, SLICE_LIT("{\"at\":null}"));
		reply_json(q);
		return;
	case RUNTIME_KEEP_AWAKE:
		buf_addf(&q->answer, "{\"lease\":\"%s\"}", q->call.lease);
		reply_json(q);
		return;
	case RUNTIME_SLEEP:
	case RUNTIME_DESTROY:
		http_conn_reply(q->conn, 202, SLICE_NONE, SLICE_NONE);
		return;
	case RUNTIME_KV_PUT:
	case RUNTIME_KV_DELETE:
	case RUNTIME_KV_DELETE_RANGE:
	case RUNTIME_ALARM_SET:
	case RUNTIME_LEASE_END:
		http_conn_reply(q->conn, 204, SLICE_NONE, SLICE_NONE);
		return;
	}
	IMPOSSIBLE("runtime_kind");
}

void runtime_answer(struct runtime_request *q, enum runtime_outcome outcome)
{
	static const struct {
		unsigned status;
		const char *group, *code, *message;
	} refusals[] = {
	    [RUNTIME_ABSENT] = {404, "actor", "lease_not_found", "there is no such lease"},
	    [RUNTIME_STOPPING] = {409, "actor", "stopping", "the actor is stopping"},
	    [RUNTIME_STALE] = {409, "actor", "stale_generation", "this incarnation of the actor is over"},
	    [RUNTIME_DISK_FULL] = {507, "store", "disk_full", "the disk is full; nothing was written"},
	    [RUNTIME_UNAVAILABLE] = {503, "store", "unavailable", "the actor's state cannot be reached now"},
	    [RUNTIME_TOO_MANY] = {429, "actor", "too_many", "too many at once"},
	};
	struct runtime_error e;
	if (outcome == RUNTIME_OK) {
		reply_ok(q);
		return;
	}
	(void)runtime_refuse(&e, refusals[outcome].status, refusals[outcome].group, refusals[outcome].code, "%s",
			     q->call.message != NULL ? q->call.message : refusals[outcome].message);
	runtime_answer_error(q->conn, &e, q->call.indeterminate);
}
