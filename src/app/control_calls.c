/* What each call of the control socket does, but for logs: reads what is known
 * here, or asks the mode and writes its answer as JSON. */
#include "app/control_private.h"

#include "app/admin.h"
#include "codec/json_field.h"
#include "traffic/exchange.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static struct control_call *call_of(void *arg)
{
	return CAST(struct control_call, arg, CONTROL_CALL_MAGIC);
}

/* ---- JSON ---- */

static void put_text(struct buf *b, const char *key, const char *text)
{
	buf_addf(b, "%s\"%s\":", b->mem != NULL && b->mem[b->end - 1] == '{' ? "" : ",", key);
	if (text == NULL)
		buf_add_str(b, "null");
	else
		json_put_str(b, slice_str(text));
}

static void put_number(struct buf *b, const char *key, int64_t n)
{
	buf_addf(b, ",\"%s\":%lld", key, (long long)n);
}

/* `absent`: the value that stands for null. */
static void put_number_or_null(struct buf *b, const char *key, int64_t n, int64_t absent)
{
	if (n == absent)
		buf_addf(b, ",\"%s\":null", key);
	else
		put_number(b, key, n);
}

static void begin_element(struct control_call *call)
{
	buf_add_str(&call->out, call->first ? "{" : ",{");
	call->first = false;
}

/* ---- status ---- */

void control_status(struct control_call *call)
{
	struct control *c = call->control;
	struct mode *m = c->o.mode;
	struct buf *b = &call->out;
	struct worker_pool_stats pool = {0};
	struct actor_table *actors = m->ops->actors(m);
	const char *why_not = m->ops->why_not(m);
	if (actors != NULL)
		worker_pool_stats(actor_table_pool(actors), &pool);
	buf_add_byte(b, '{');
	put_text(b, "version", RUNNERD_VERSION);
	put_text(b, "mode", m->ops->name);
	put_text(b, "state", why_not == NULL ? "serving" : why_not);
	put_number(b, "pid", getpid());
	put_number(b, "started_at", c->started_wall_ms);
	put_number(b, "up_ms", clock_wall_ms() - c->started_wall_ms);
	put_text(b, "data_dir", config_get(c->o.config, CONFIG_DATA_DIR));
	put_text(b, "runtime_dir", config_get(c->o.config, CONFIG_RUNTIME_DIR));
	put_number(b, "memory_bytes", (int64_t)admin_resident_bytes(0));
	put_number(b, "actors_awake", actors == NULL ? 0 : (int64_t)actor_table_count(actors));
	put_number(b, "workers", (int64_t)pool.workers);
	put_number(b, "workers_starting", (int64_t)pool.starting);
	put_number(b, "requests", (int64_t)exchange_count());
	c->o.status(c->o.arg, b);
	if (m->ops->status != NULL)
		m->ops->status(m, b);
	buf_add_byte(b, '}');
	control_reply(call);
}

/* ---- actors ---- */

static void put_actor(struct buf *b, const struct mode_actor *a)
{
	put_text(b, "id", a->id);
	put_text(b, "name", a->name);
	put_text(b, "key", a->key);
	put_text(b, "namespace", a->namespace_name);
	put_text(b, "state", a->state);
	put_number_or_null(b, "state_ms", a->state_ms, -1);
	put_number_or_null(b, "generation", a->generation, -1);
	put_text(b, "worker_id", a->worker_id);
	put_number_or_null(b, "pid", a->pid, 0);
	put_number(b, "requests", a->requests);
	put_number(b, "websockets", a->websockets);
	put_number(b, "waiting", a->waiting);
	put_number(b, "leases", a->leases);
	put_number_or_null(b, "created_at", a->created_at_wall_ms, 0);
	put_number_or_null(b, "alarm_at", a->alarm_at_wall_ms, 0);
	put_text(b, "crash_policy", a->crash_policy);
	put_number_or_null(b, "back_off_ms", a->back_off_ms, -1);
	put_text(b, "failure", a->failure);
}

static void on_each(void *arg, const struct mode_actor *a)
{
	struct control_call *call = call_of(arg);
	begin_element(call);
	put_actor(&call->out, a);
	buf_add_byte(&call->out, '}');
}

static void on_list_done(void *arg, const char *failure, bool more)
{
	struct control_call *call = call_of(arg);
	call->owed = false;
	buf_addf(&call->out, "],\"more\":%s}", more ? "true" : "false");
	if (failure != NULL)
		control_refuse(call, 503, failure);
	else
		control_reply(call);
}

static bool refuse_without(struct control_call *call, bool there)
{
	if (!there)
		control_refuse(call, 501, "this mode has no such call; use the engine's API");
	return !there;
}

void control_list(struct control_call *call)
{
	struct mode *m = call->control->o.mode;
	if (refuse_without(call, m->ops->list != NULL))
		return;
	call->owed = true;
	buf_add_str(&call->out, "{\"actors\":[");
	m->ops->list(m, &(struct mode_list){.name = call->has_key ? buf_text(&call->key) : NULL,
					    .each = on_each,
					    .done = on_list_done,
					    .arg = call});
}

static void on_actor(void *arg, const struct mode_actor *a)
{
	struct control_call *call = call_of(arg);
	begin_element(call);
	put_actor(&call->out, a);
	buf_add_str(&call->out, ",\"alarm_failed\":");
	buf_add(&call->out, a->alarm_failed_json.n > 0 ? a->alarm_failed_json : SLICE_LIT("null"));
	buf_add_byte(&call->out, '}');
}

static void on_actor_done(void *arg, const char *failure, bool more)
{
	struct control_call *call = call_of(arg);
	(void)more;
	call->owed = false;
	if (failure != NULL)
		control_refuse(call, 503, failure);
	else if (call->first)
		control_refuse(call, 404, "there is no such actor");
	else
		control_reply(call);
}

void control_actor(struct control_call *call)
{
	struct mode *m = call->control->o.mode;
	if (refuse_without(call, m->ops->list != NULL))
		return;
	call->owed = true;
	m->ops->list(m, &(struct mode_list){.id = call->id, .each = on_actor, .done = on_actor_done, .arg = call});
}

static void on_answer(void *arg, unsigned status, const char *message)
{
	struct control_call *call = call_of(arg);
	call->owed = false;
	if (status == 200)
		control_done(call);
	else
		control_refuse(call, status, message);
}

void control_command(struct control_call *call)
{
	struct mode *m = call->control->o.mode;
	if (refuse_without(call, m->ops->command != NULL))
		return;
	call->owed = true;
	m->ops->command(m, call->verb, call->id, on_answer, call);
}

/* ---- keys and values ---- */

static void put_entry(struct control_call *call, const struct mode_kv_entry *entry)
{
	struct buf *b = &call->out;
	begin_element(call);
	buf_add_str(b, "\"key\":");
	json_put_str(b, entry->key);
	buf_add_str(b, ",\"key_base64\":\"");
	base64_put(b, entry->key, false);
	buf_add_byte(b, '"');
	put_number(b, "bytes", (int64_t)entry->value.n);
	put_number(b, "updated_at", entry->updated_wall_ms);
	buf_add_byte(b, '}');
}

static void on_kv(void *arg, unsigned status, const char *message, const struct mode_kv_entry *entries, size_t n,
		  bool more)
{
	struct control_call *call = call_of(arg);
	call->owed = false;
	if (status != 200) {
		control_refuse(call, status, message);
		return;
	}
	if (call->kv == MODE_KV_GET) {
		control_reply_bytes(call, entries[0].value);
		return;
	}
	if (call->kv != MODE_KV_LIST) {
		control_done(call);
		return;
	}
	buf_add_str(&call->out, "{\"entries\":[");
	for (size_t i = 0; i < n; i++)
		put_entry(call, &entries[i]);
	buf_addf(&call->out, "],\"more\":%s}", more ? "true" : "false");
	control_reply(call);
}

void control_kv(struct control_call *call)
{
	struct mode *m = call->control->o.mode;
	struct slice key = buf_slice(&call->key);
	if (refuse_without(call, m->ops->kv != NULL))
		return;
	if (key.n > LIMIT_KV_KEY_BYTES || (key.n == 0 && call->kv != MODE_KV_LIST)) {
		control_refuse(call, 400, "a key has 1 to 2046 bytes");
		return;
	}
	if (key.n > 0 && key.p[0] == 0 && call->kv != MODE_KV_GET && call->kv != MODE_KV_LIST) {
		control_refuse(call, 403, "keys that begin with a zero byte are the daemon's own");
		return;
	}
	call->owed = true;
	m->ops->kv(m, call->id,
		   &(struct mode_kv){
		       .kind = call->kv, .key = key, .value = buf_slice(&call->body), .done = on_kv, .arg = call});
}

/* ---- the rest ---- */

static void on_worker(void *arg, const struct worker_view *v)
{
	struct control_call *call = call_of(arg);
	struct buf *b = &call->out;
	begin_element(call);
	put_text(b, "id", v->id);
	put_text(b, "name", v->name);
	put_text(b, "state", v->state);
	put_number_or_null(b, "pid", v->pid, 0);
	put_number(b, "up_ms", v->up_ms);
	put_number(b, "actors", (int64_t)v->actors);
	put_number(b, "connections", (int64_t)v->connections);
	put_number_or_null(b, "memory_bytes", v->pid == 0 ? 0 : (int64_t)admin_resident_bytes(v->pid), 0);
	buf_add_byte(b, '}');
}

void control_workers(struct control_call *call)
{
	struct mode *m = call->control->o.mode;
	struct actor_table *actors = m->ops->actors(m);
	buf_add_str(&call->out, "{\"workers\":[");
	if (actors != NULL)
		worker_pool_each(actor_table_pool(actors), on_worker, call);
	buf_add_str(&call->out, "]}");
	control_reply(call);
}

void control_drain(struct control_call *call)
{
	struct control *c = call->control;
	control_done(call);
	c->o.drain(c->o.arg);
}

void control_reload(struct control_call *call)
{
	struct control *c = call->control;
	struct err e = {0};
	int r = c->o.reload(c->o.arg, &call->out, &e);
	if (r == 0)
		control_reply(call);
	else
		control_refuse(call, r == -ESHUTDOWN ? 503 : 409, e.text);
}
