/* The API's endpoints beside actors: health, namespaces, and what an engine
 * tells of its datacenters, runners and pools. This daemon is one datacenter
 * with one runner that serves every pool. Owns nothing beyond a call. */
#include "local/local_api.h"

#include <stdio.h>

#define POOL "default"
#define CONFIG_BYTES_MAX ((size_t)64 * 1024)

/* ---- what is open ---- */

static void run_root(struct api_call *c)
{
	api_call_text(c, SLICE_LIT("This is rivet-runnerd in local mode: a Rivet engine for this machine.\n\n"
				   "  GET  /health                        is it there\n"
				   "  GET  /actors?namespace=default&name=NAME\n"
				   "  PUT  /actors?namespace=default      get or create an actor\n"
				   "  ANY  /gateway/ACTOR_ID/PATH         send a request to an actor\n\n"
				   "Clients: point RIVET_ENDPOINT, or createClient(), at this address.\n"));
}

static void put_health(struct api_call *c)
{
	buf_add_str(&c->out, "{\"runtime\":\"engine\",\"status\":\"ok\",\"version\":");
	json_put_str(&c->out, slice_str(c->r.local->o.version));
	buf_add_byte(&c->out, '}');
}

static void run_health(struct api_call *c)
{
	put_health(c);
	api_call_done(c);
}

static void run_metadata(struct api_call *c)
{
	buf_add_str(&c->out, "{\"runtime\":\"engine\",\"version\":");
	json_put_str(&c->out, slice_str(c->r.local->o.version));
	buf_add_byte(&c->out, '}');
	api_call_done(c);
}

/* ---- datacenters ---- */

static void run_fanout(struct api_call *c)
{
	buf_addf(&c->out,
		 "{\"datacenters\":[{\"datacenter_label\":%d,\"datacenter_name\":\"" LOCAL_DATACENTER
		 "\",\"status\":\"ok\",\"rtt_ms\":0,\"response\":",
		 ACTOR_ID_LABEL);
	put_health(c);
	buf_add_str(&c->out, ",\"error\":null}]}");
	api_call_done(c);
}

static void run_datacenters(struct api_call *c)
{
	char address[80];
	local_address(c->r.local, address);
	buf_addf(&c->out, "{\"datacenters\":[{\"label\":%d,\"name\":\"" LOCAL_DATACENTER "\",\"url\":\"http://%s\"}]",
		 ACTOR_ID_LABEL, address);
	api_call_put_cursor(c, NULL);
	api_call_done(c);
}

/* ---- namespaces ---- */

/* 1 to 64 of a-z, 0-9 and '-', which neither begins nor ends the name nor follows itself. NULL, or what is wrong in
 * the engine's words. */
static const char *why_not_name(struct slice s)
{
	static const char invalid[] = "invalid name";
	if (s.n == 0 || s.n > 64)
		return s.n == 0 ? "name too short" : "name too long";
	if (s.p[0] == '-' || s.p[s.n - 1] == '-')
		return invalid;
	for (size_t i = 0; i < s.n; i++) {
		uint8_t ch = s.p[i];
		bool letter = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9');
		if (!letter && (ch != '-' || s.p[i - 1] == '-'))
			return invalid;
	}
	return NULL;
}

/* 1 to 128 characters, no NUL. */
static const char *why_not_display_name(struct slice s)
{
	size_t characters = 0;
	for (size_t i = 0; i < s.n; i++)
		characters += (s.p[i] & 0xc0) != 0x80;
	if (characters == 0 || characters > 128)
		return characters == 0 ? "display name too short" : "display name too long";
	return slice_find(s, '\0') == s.n ? NULL : "invalid display name";
}

static void fail_to_create(struct api_call *c, const char *reason)
{
	MEM_AUTO char *metadata = local_json_strings("reason", slice_str(reason), NULL, SLICE_NONE);
	MEM_AUTO char *message = mem_printf("the namespace cannot be created: %s", reason);
	api_call_fail(c, 400, "namespace", "failed_to_create", slice_str(message), metadata);
}

static bool check_namespace(struct api_call *c)
{
	static const char *const known[] = {"name", "display_name", NULL};
	struct slice name = SLICE_NONE, display_name = SLICE_NONE;
	struct err e = {0};
	if (json_field_only(c->json, known, &e) < 0 || json_field_str(c->json, "name", true, &name, &e) < 0 ||
	    json_field_str(c->json, "display_name", true, &display_name, &e) < 0) {
		api_call_bad(c, slice_str(e.text));
		return false;
	}
	const char *why = why_not_name(name);
	if (why == NULL)
		why = why_not_display_name(display_name);
	if (why != NULL) {
		fail_to_create(c, why);
		return false;
	}
	c->ns = (struct store_namespace){.id = mem_strdup(actor_id_new().text),
					 .name = slice_dup(name),
					 .display_name = slice_dup(display_name),
					 .create_ts = clock_wall_ms()};
	return true;
}

static void on_namespace_made(struct store_job *job)
{
	struct store_namespaces *q = CONTAINER_OF(job, struct store_namespaces, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	c->busy = false;
	if (result == 0) {
		buf_add_str(&c->out, "{\"namespace\":");
		local_json_namespace(&c->out, &q->create);
		buf_add_byte(&c->out, '}');
	}
	store_namespaces_clear(q);
	mem_free(q);
	if (result == 0)
		api_call_done(c);
	else if (result == STORE_NAMESPACE_TAKEN)
		api_call_refuse(c, "namespace", "name_not_unique");
	else if (result == STORE_NAMESPACE_FULL)
		fail_to_create(c, "there are too many");
	else
		api_call_store_failed(c, result);
}

static void run_make_namespace(struct api_call *c)
{
	struct store_namespaces *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = on_namespace_made;
	q->create = c->ns;
	c->ns = (struct store_namespace){0};
	c->busy = true;
	store_namespaces(c->r.local->o.store, q);
}

/* Newest first, as everything that is listed by create_ts. */
static void put_namespaces(struct api_call *c, const struct store_namespaces *q, size_t limit, int64_t before_ts)
{
	MEM_AUTO char *name = local_api_query_text(c, "name");
	int64_t last_ts = 0;
	buf_add_str(&c->out, "{\"namespaces\":[");
	for (size_t i = q->n; i-- > 0 && limit > 0;) {
		const struct store_namespace *ns = &q->all[i];
		if ((before_ts != 0 && ns->create_ts >= before_ts) || (name != NULL && strcmp(ns->name, name) != 0) ||
		    !local_api_query_selects(c, "namespace_id", "namespace_ids", ns->id))
			continue;
		if (last_ts != 0)
			buf_add_byte(&c->out, ',');
		local_json_namespace(&c->out, ns);
		last_ts = ns->create_ts;
		limit--;
	}
	buf_add_byte(&c->out, ']');
	api_call_put_cursor_ts(c, last_ts);
}

static void on_namespaces(struct store_job *job)
{
	struct store_namespaces *q = CONTAINER_OF(job, struct store_namespaces, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	size_t limit;
	int64_t before_ts = 0;
	c->busy = false;
	bool ended = !local_api_query_limit(c, &limit) || !local_api_query_cursor(c, &before_ts) ||
		     !local_api_query_ids(c, "namespace_id", "namespace_ids");
	if (!ended && result == 0)
		put_namespaces(c, q, limit, before_ts);
	store_namespaces_clear(q);
	mem_free(q);
	if (ended)
		return;
	if (result == 0)
		api_call_done(c);
	else
		api_call_store_failed(c, result);
}

static void run_namespaces(struct api_call *c)
{
	struct store_namespaces *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = on_namespaces;
	c->busy = true;
	store_namespaces(c->r.local->o.store, q);
}

/* ---- runners: this daemon ---- */

static void put_runner(struct api_call *c)
{
	struct local *l = c->r.local;
	size_t used = actor_table_count(local_actors(l));
	long long now = clock_wall_ms(), since = l->started_wall_ms;
	buf_addf(&c->out, "{\"runner_id\":\"%s\",\"namespace_id\":", l->id);
	json_put_str(&c->out, slice_str(c->ns.id));
	buf_addf(&c->out,
		 ",\"datacenter\":\"" LOCAL_DATACENTER "\",\"name\":\"" POOL "\",\"key\":\"%s\",\"version\":1,"
		 "\"total_slots\":%d,\"remaining_slots\":%zu,\"create_ts\":%lld,\"drain_ts\":null,\"stop_ts\":null,"
		 "\"last_ping_ts\":%lld,\"last_connected_ts\":%lld,\"last_rtt\":0,\"metadata\":{}}",
		 l->id, LIMIT_ACTORS, used > LIMIT_ACTORS ? 0 : LIMIT_ACTORS - used, since, now, since);
}

static void run_runners(struct api_call *c)
{
	MEM_AUTO char *name = local_api_query_text(c, "name");
	size_t limit;
	int64_t before_ts = INT64_MAX;
	bool stopped_too = false;
	if (!local_api_query_limit(c, &limit) || !local_api_query_cursor(c, &before_ts) ||
	    !local_api_query_bool(c, "include_stopped", &stopped_too) ||
	    !local_api_query_ids(c, "runner_id", "runner_ids"))
		return;
	bool listed = limit > 0 && (name == NULL || strcmp(name, POOL) == 0) &&
		      c->r.local->started_wall_ms < before_ts &&
		      local_api_query_selects(c, "runner_id", "runner_ids", c->r.local->id);
	buf_add_str(&c->out, "{\"runners\":[");
	if (listed)
		put_runner(c);
	buf_add_byte(&c->out, ']');
	api_call_put_cursor_ts(c, listed ? c->r.local->started_wall_ms : 0);
	api_call_done(c);
}

static void run_runner_names(struct api_call *c)
{
	MEM_AUTO char *after = local_api_query_text(c, "cursor");
	size_t limit;
	if (!local_api_query_limit(c, &limit))
		return;
	bool listed = limit > 0 && (after == NULL || strcmp(POOL, after) > 0);
	buf_addf(&c->out, "{\"names\":[%s]", listed ? "\"" POOL "\"" : "");
	api_call_put_cursor(c, listed ? POOL : NULL);
	api_call_done(c);
}

static void run_envoys(struct api_call *c)
{
	buf_add_str(&c->out, "{\"envoys\":[]");
	api_call_put_cursor(c, NULL);
	api_call_done(c);
}

/* ---- pool configurations: kept and shown; every pool is served by this daemon ---- */

static struct store_pools *pools_job(struct api_call *c, void (*done)(struct store_job *job))
{
	struct store_pools *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = done;
	q->namespace_name = mem_strdup(c->ns.name);
	c->busy = true;
	return q;
}

static void pools_free(struct store_pools *q)
{
	store_pools_clear(q);
	mem_free(q);
}

/* The stored "normal" object with the engine's defaults for what it leaves out. */
static void put_config(struct buf *out, const char *config_json)
{
	static const struct {
		const char *name, *value;
	} defaults[] = {{"drain_on_version_upgrade", "true"},
			{"actor_eviction_delay", "0"},
			{"actor_eviction_period", "0"},
			{"actor_eviction_rate", "1.0"}};
	json_t *config = json_field_parse(slice_str(config_json), NULL);
	const json_t *normal = json_object_get(config, "normal");
	buf_add_str(out, "{\"normal\":{");
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		const json_t *value = json_object_get(normal, defaults[i].name);
		buf_addf(out, "%s\"%s\":", i == 0 ? "" : ",", defaults[i].name);
		if (value != NULL && !json_is_null(value))
			json_put(out, value);
		else
			buf_add_str(out, defaults[i].value);
	}
	buf_add_str(out, "},\"protocol_version\":null}");
	json_decref(config);
}

static void put_pools(struct api_call *c, const struct store_pools *q, size_t limit)
{
	MEM_AUTO char *variant = local_api_query_text(c, "variant");
	MEM_AUTO char *after = local_api_query_text(c, "cursor");
	const char *last = NULL;
	bool normal = variant == NULL || strcmp(variant, "normal") == 0;
	buf_add_str(&c->out, "{\"runner_configs\":{");
	for (size_t i = 0; i < q->n && limit > 0 && normal; i++) {
		const char *name = q->all[i].name;
		if ((after != NULL && strcmp(name, after) <= 0) ||
		    !local_api_query_selects(c, "runner_name", "runner_names", name))
			continue;
		if (last != NULL)
			buf_add_byte(&c->out, ',');
		json_put_str(&c->out, slice_str(name));
		buf_add_str(&c->out, ":{\"datacenters\":{\"" LOCAL_DATACENTER "\":");
		put_config(&c->out, q->all[i].config_json);
		buf_add_str(&c->out, "}}");
		last = name;
		limit--;
	}
	buf_add_byte(&c->out, '}');
	api_call_put_cursor(c, limit == 0 ? last : NULL);
}

static void on_pools(struct store_job *job)
{
	struct store_pools *q = CONTAINER_OF(job, struct store_pools, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	size_t limit;
	c->busy = false;
	bool ended = !local_api_query_limit(c, &limit);
	if (!ended && result == 0)
		put_pools(c, q, limit);
	pools_free(q);
	if (ended)
		return;
	if (result == 0)
		api_call_done(c);
	else
		api_call_store_failed(c, result);
}

static void run_configs(struct api_call *c)
{
	MEM_AUTO char *variant = local_api_query_text(c, "variant");
	if (variant != NULL && strcmp(variant, "normal") != 0 && strcmp(variant, "serverless") != 0) {
		api_call_bad(c, SLICE_LIT("query parameter `variant` is neither normal nor serverless"));
		return;
	}
	store_pools(c->r.local->o.store, pools_job(c, on_pools));
}

static void fail_config(struct api_call *c, const char *reason)
{
	MEM_AUTO char *metadata = local_json_strings("reason", slice_str(reason), NULL, SLICE_NONE);
	MEM_AUTO char *message = mem_printf("the runner configuration is invalid: %s", reason);
	api_call_fail(c, 400, "runner_config", "invalid", slice_str(message), metadata);
}

/* Which configuration is asked for in our datacenter; NULL: the call has ended. */
static const json_t *config_of(struct api_call *c)
{
	static const char *const known[] = {"datacenters", NULL};
	const json_t *datacenters = json_object_get(c->json, "datacenters");
	struct err e = {0};
	if (json_field_only(c->json, known, &e) < 0 || !json_is_object(datacenters)) {
		api_call_bad(c, slice_str(*e.text != '\0' ? e.text : "field \"datacenters\" must be an object"));
		return NULL;
	}
	const json_t *config = json_object_get(datacenters, LOCAL_DATACENTER);
	if (config == NULL || json_object_size(datacenters) != 1) {
		api_call_refuse(c, "datacenter", "not_found");
		return NULL;
	}
	return config;
}

/* What "normal" may say of how a pool changes its version is shown again, and must be what it looks like. */
static bool check_normal(struct api_call *c, const json_t *normal)
{
	const json_t *rate = json_object_get(normal, "actor_eviction_rate");
	struct err e = {0};
	int64_t number;
	bool drain;
	if (json_field_bool(normal, "drain_on_version_upgrade", false, &drain, &e) < 0 ||
	    json_field_i64(normal, "actor_eviction_delay", false, &number, &e) < 0 ||
	    json_field_i64(normal, "actor_eviction_period", false, &number, &e) < 0) {
		api_call_bad(c, slice_str(e.text));
		return false;
	}
	if (rate == NULL || json_is_null(rate) || json_is_number(rate))
		return true;
	api_call_bad(c, SLICE_LIT("field \"actor_eviction_rate\" must be a number"));
	return false;
}

static bool check_config(struct api_call *c)
{
	const json_t *config = config_of(c);
	if (config == NULL)
		return false;
	bool normal = json_is_object(json_object_get(config, "normal"));
	bool serverless = json_object_get(config, "serverless") != NULL;
	if (normal == serverless) {
		fail_config(c, "exactly one of normal and serverless is needed");
		return false;
	}
	if (serverless) {
		fail_config(c, "serverless pools need an engine; this daemon runs the commands it is configured with");
		return false;
	}
	if (!check_normal(c, json_object_get(config, "normal")))
		return false;
	struct buf text;
	buf_init(&text, CONFIG_BYTES_MAX);
	json_put(&text, config);
	bool fits = !text.over;
	if (fits)
		c->texts[0] = slice_dup(buf_slice(&text));
	buf_done(&text);
	if (!fits)
		fail_config(c, "it is longer than 64 KiB");
	return fits;
}

static void on_config_put(struct store_job *job)
{
	struct store_pools *q = CONTAINER_OF(job, struct store_pools, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	c->busy = false;
	pools_free(q);
	if (result == STORE_POOLS_FULL) {
		fail_config(c, "the namespace has too many");
		return;
	}
	if (result != 0) {
		api_call_store_failed(c, result);
		return;
	}
	buf_add_str(&c->out, "{\"endpoint_config_changed\":true}");
	api_call_done(c);
}

static void run_put_config(struct api_call *c)
{
	struct store_pools *q = pools_job(c, on_config_put);
	q->name = mem_strdup(c->args[0]);
	q->config_json = TAKE(c->texts[0]);
	store_pools(c->r.local->o.store, q);
}

static void on_config_gone(struct store_job *job)
{
	struct store_pools *q = CONTAINER_OF(job, struct store_pools, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	c->busy = false;
	pools_free(q);
	if (result != 0) {
		api_call_store_failed(c, result);
		return;
	}
	buf_add_str(&c->out, "{}");
	api_call_done(c);
}

static void run_delete_config(struct api_call *c)
{
	struct store_pools *q = pools_job(c, on_config_gone);
	q->name = mem_strdup(c->args[0]);
	q->remove = true;
	store_pools(c->r.local->o.store, q);
}

static void run_refresh(struct api_call *c)
{
	/* What an engine says of a pool that is not serverless, and there is no other here. */
	api_call_fail(c, 500, "core", "internal_error",
		      SLICE_LIT("only serverless pools have metadata to refresh, and there is none here"), NULL);
}

static bool check_health_check(struct api_call *c)
{
	static const char *const known[] = {"url", "headers", NULL};
	struct slice url;
	struct err e = {0};
	if (json_field_only(c->json, known, &e) == 0 && json_field_str(c->json, "url", true, &url, &e) == 0)
		return true;
	api_call_bad(c, slice_str(e.text));
	return false;
}

static void run_health_check(struct api_call *c)
{
	buf_add_str(&c->out,
		    "{\"failure\":{\"error\":{\"message\":\"serverless runners need an engine; this daemon runs "
		    "the commands it is configured with\"}}}");
	api_call_done(c);
}

/* ---- the table ---- */

static const char *const in_nothing[] = {NULL};
static const char *const in_namespace[] = {"namespace", NULL};
static const char *const in_namespaces[] = {"limit", "cursor", "name", "namespace_ids", "namespace_id*", NULL};
static const char *const in_runners[] = {"namespace",       "name",  "runner_ids", "runner_id*",
					 "include_stopped", "limit", "cursor",     NULL};
static const char *const in_names[] = {"namespace", "limit", "cursor", NULL};
static const char *const in_envoys[] = {"namespace", "name", "envoy_key*", "limit", "cursor", NULL};
static const char *const in_configs[] = {"namespace", "variant", "runner_names", "runner_name*", "limit",
					 "cursor",    NULL};

#define SCOPED .query = in_namespace, .scoped = true

const struct api_endpoint local_api_misc[] = {
    {.method = "GET", .path = "/", .open = true, .run = run_root},
    {.method = "GET", .path = "/health", .open = true, .run = run_health},
    {.method = "GET", .path = "/metadata", .open = true, .run = run_metadata},
    {.method = "GET", .path = "/health/fanout", .query = in_nothing, .run = run_fanout},
    {.method = "GET", .path = "/datacenters", .query = in_nothing, .run = run_datacenters},
    {.method = "GET", .path = "/namespaces", .query = in_namespaces, .run = run_namespaces},
    {.method = "POST",
     .path = "/namespaces",
     .query = in_nothing,
     .body = true,
     .check = check_namespace,
     .run = run_make_namespace},
    {.method = "GET", .path = "/runners", .query = in_runners, .scoped = true, .run = run_runners},
    {.method = "GET", .path = "/runners/names", .query = in_names, .scoped = true, .run = run_runner_names},
    {.method = "GET", .path = "/envoys", .query = in_envoys, .scoped = true, .run = run_envoys},
    {.method = "GET", .path = "/runner-configs", .query = in_configs, .scoped = true, .run = run_configs},
    {.method = "POST",
     .path = "/runner-configs/serverless-health-check",
     SCOPED,
     .body = true,
     .check = check_health_check,
     .run = run_health_check},
    {.method = "PUT", .path = "/runner-configs/{}", SCOPED, .body = true, .check = check_config, .run = run_put_config},
    {.method = "DELETE", .path = "/runner-configs/{}", SCOPED, .run = run_delete_config},
    {.method = "POST", .path = "/runner-configs/{}/refresh-metadata", SCOPED, .body = true, .run = run_refresh},
    {0},
};
