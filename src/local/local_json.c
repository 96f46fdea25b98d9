/* Writes the API's objects. Owns nothing: appends to the caller's buffer, whose
 * cap is the only thing that can fail (sticky). */
#include "local/local_json.h"

#include "base/limits.h"
#include "codec/utf8.h"

static const char *const policies[] = {
    [CRASH_SLEEP] = "sleep", [CRASH_RESTART] = "restart", [CRASH_DESTROY] = "destroy"};

const char *local_json_crash_policy(enum crash_policy p)
{
	CHECK((size_t)p < ARRAY_SIZE(policies));
	return policies[p];
}

bool local_json_crash_policy_parse(struct slice text, enum crash_policy *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		if (slice_is(text, policies[i])) {
			*ret = (enum crash_policy)i;
			return true;
		}
	}
	return false;
}

/* ,"name":"text" or null */
static void put_text(struct buf *out, const char *name, const char *text)
{
	buf_addf(out, ",\"%s\":", name);
	if (text == NULL)
		buf_add_str(out, "null");
	else
		json_put_str(out, slice_str(text));
}

/* ,"name":ms or null for 0 */
static void put_time(struct buf *out, const char *name, int64_t wall_ms)
{
	if (wall_ms == 0)
		buf_addf(out, ",\"%s\":null", name);
	else
		buf_addf(out, ",\"%s\":%lld", name, (long long)wall_ms);
}

void local_json_actor(struct buf *out, const struct store_actor *a, const char *namespace_id)
{
	buf_add_str(out, "{\"actor_id\":");
	json_put_str(out, slice_str(a->id));
	put_text(out, "name", a->name);
	put_text(out, "key", a->key);
	put_text(out, "namespace_id", namespace_id);
	put_text(out, "datacenter", LOCAL_DATACENTER);
	put_text(out, "runner_name_selector", a->runner_name_selector);
	put_text(out, "crash_policy", local_json_crash_policy(a->crash_policy));
	put_time(out, "create_ts", a->create_ts);
	put_time(out, "start_ts", a->start_ts);
	put_time(out, "pending_allocation_ts", a->pending_allocation_ts);
	put_time(out, "connectable_ts", a->connectable_ts);
	put_time(out, "sleep_ts", a->sleep_ts);
	put_time(out, "reschedule_ts", a->reschedule_ts);
	put_time(out, "destroy_ts", a->destroy_ts);
	if (a->error_json != NULL)
		buf_addf(out, ",\"error\":%s", a->error_json);
	buf_add_byte(out, '}');
}

void local_json_namespace(struct buf *out, const struct store_namespace *ns)
{
	buf_add_str(out, "{\"namespace_id\":");
	json_put_str(out, slice_str(ns->id));
	put_text(out, "name", ns->name);
	put_text(out, "display_name", ns->display_name);
	put_time(out, "create_ts", ns->create_ts);
	buf_add_byte(out, '}');
}

char *local_json_strings(const char *name, struct slice value, const char *name2, struct slice value2)
{
	struct buf b;
	/* Six bytes for each at the worst ("\u0001"). */
	buf_init(&b, 64 + strlen(name) + 6 * value.n + (name2 == NULL ? 0 : strlen(name2) + 6 * value2.n));
	buf_addf(&b, "{\"%s\":", name);
	json_put_str(&b, value);
	if (name2 != NULL) {
		buf_addf(&b, ",\"%s\":", name2);
		json_put_str(&b, value2);
	}
	buf_add_byte(&b, '}');
	CHECK(!b.over);
	char *text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}

#define KEY_PREVIEW_BYTES 64

char *local_json_key_too_large(struct slice key)
{
	struct buf b;
	size_t n = 0, step;
	while (n < key.n && (step = utf8_length(key.p + n, key.n - n)) > 0 && n + step <= KEY_PREVIEW_BYTES)
		n += step;
	buf_init(&b, 128 + 6 * KEY_PREVIEW_BYTES);
	buf_addf(&b, "{\"max_size\":%d,\"key_preview\":", LIMIT_ACTOR_KEY_BYTES);
	json_put_str(&b, slice_head(key, n));
	buf_add_byte(&b, '}');
	CHECK(!b.over);
	char *text = slice_dup(buf_slice(&b));
	buf_done(&b);
	return text;
}
