/* The API's endpoints for actors. Owns nothing beyond a call: each endpoint
 * asks the driver (create, destroy, sleep, wake) or the store (lists, names,
 * one key of an actor's state), and answers when that has answered. Where the
 * driver has a record in memory, it is newer than the store's. */
#include "local/local_api.h"

#include "store/store_kv.h"

#define IDS_MAX 32
#define LIST_BYTES_MAX ((size_t)8 * 1024 * 1024) /* then a list ends early; its cursor says where to go on */

/* ---- what the driver said ---- */

static void fail_duplicate(struct api_call *c, const struct store_actor *actor)
{
	MEM_AUTO char *message = mem_printf("Actor key '%s' already in use for actor '%s'", c->key.key, actor->id);
	MEM_AUTO char *metadata =
	    local_json_strings("existing_actor_id", slice_str(actor->id), "key", slice_str(c->key.key));
	api_call_fail(c, 400, "actor", "duplicate_key", slice_str(message), metadata);
}

static void fail_not_registered(struct api_call *c, const char *name)
{
	MEM_AUTO char *message = local_driver_not_registered(c->r.local->driver, name);
	api_call_fail(c, 400, "actor", "not_registered", slice_str(message), NULL);
}

static void fail_outcome(struct api_call *c, enum local_call_outcome outcome, const struct store_actor *actor)
{
	switch (outcome) {
	case LOCAL_CALL_OK:
	case LOCAL_CALL_CREATED:
		IMPOSSIBLE("a good outcome as an error");
	case LOCAL_CALL_NOT_FOUND:
		api_call_refuse(c, "actor", "not_found");
		return;
	case LOCAL_CALL_KEY_TAKEN:
		fail_duplicate(c, actor);
		return;
	case LOCAL_CALL_NO_NAMESPACE:
		api_call_refuse(c, "namespace", "not_found");
		return;
	case LOCAL_CALL_NOT_REGISTERED:
		fail_not_registered(c, actor != NULL ? actor->name : c->key.name);
		return;
	case LOCAL_CALL_DISK_FULL:
		api_call_fail(c, 507, "store", "disk_full", SLICE_NONE, NULL);
		return;
	case LOCAL_CALL_DISK_FAILED:
		api_call_fail(c, 500, "core", "internal_error", SLICE_LIT("the disk failed"), NULL);
		return;
	case LOCAL_CALL_STOPPING:
		api_call_unavailable(c, "guard", "service_unavailable");
		return;
	case LOCAL_CALL_OVERLOADED:
		api_call_unavailable(c, "actor", "overloaded");
		return;
	}
	IMPOSSIBLE("outcome");
}

/* ---- PUT and POST /actors ---- */

/* A text without NUL of at most bytes_max; false: the call has ended. */
static bool take_text(struct api_call *c, const char *name, bool need, size_t bytes_max, char **ret)
{
	struct slice text = SLICE_NONE;
	struct err e = {0};
	if (json_field_str(c->json, name, need, &text, &e) < 0) {
		api_call_bad(c, slice_str(e.text));
		return false;
	}
	if (slice_find(text, '\0') < text.n || text.n > bytes_max) {
		MEM_AUTO char *reason =
		    mem_printf("field \"%s\" %s", name, text.n > bytes_max ? "is too long" : "must not hold NUL");
		api_call_bad(c, slice_str(reason));
		return false;
	}
	*ret = text.p == NULL ? NULL : slice_dup(text);
	return true;
}

static bool take_policy(struct api_call *c)
{
	struct slice text = SLICE_NONE;
	struct err e = {0};
	bool sound = json_field_str(c->json, "crash_policy", true, &text, &e) == 0;
	if (sound && local_json_crash_policy_parse(text, &c->key.crash_policy))
		return true;
	api_call_bad(c, slice_str(sound ? "field \"crash_policy\" must be sleep, restart or destroy" : e.text));
	return false;
}

/* Text that is no base64 is no input, as in the engine. */
static bool take_input(struct api_call *c)
{
	struct slice text = SLICE_NONE;
	struct err e = {0};
	if (json_field_str(c->json, "input", false, &text, &e) < 0) {
		api_call_bad(c, slice_str(e.text));
		return false;
	}
	c->key.has_input = text.p != NULL && base64_get(&c->input, text, false);
	c->key.input = buf_slice(&c->input);
	return true;
}

static bool check_datacenter(struct api_call *c)
{
	struct slice text = SLICE_LIT(LOCAL_DATACENTER);
	struct err e = {0};
	if (json_field_str(c->json, "datacenter", false, &text, &e) < 0) {
		api_call_bad(c, slice_str(e.text));
		return false;
	}
	if (slice_is(text, LOCAL_DATACENTER))
		return true;
	api_call_refuse(c, "datacenter", "not_found");
	return false;
}

static bool check_key(struct api_call *c)
{
	const char *key = c->key.key;
	if (key == NULL || (*key != '\0' && strlen(key) <= LIMIT_ACTOR_KEY_BYTES))
		return true;
	if (*key == '\0') {
		api_call_refuse(c, "actor", "empty_key");
		return false;
	}
	MEM_AUTO char *metadata = local_json_key_too_large(slice_str(key));
	api_call_fail(c, 400, "actor", "key_too_large", SLICE_NONE, metadata);
	return false;
}

static bool check_create(struct api_call *c)
{
	static const char *const known[] = {"datacenter",           "name",         "key", "input",
					    "runner_name_selector", "crash_policy", NULL};
	struct err e = {0};
	c->get_or_create = strcmp(c->endpoint->method, "PUT") == 0;
	if (json_field_only(c->json, known, &e) < 0) {
		api_call_bad(c, slice_str(e.text));
		return false;
	}
	if (!take_text(c, "name", true, LIMIT_ACTOR_NAME_BYTES, &c->texts[0]) ||
	    !take_text(c, "key", c->get_or_create, LIMIT_API_BODY_BYTES, &c->texts[1]) ||
	    !take_text(c, "runner_name_selector", true, LIMIT_ACTOR_NAME_BYTES, &c->texts[2]) || !take_policy(c) ||
	    !take_input(c) || !check_datacenter(c))
		return false;
	c->key.name = c->texts[0];
	c->key.key = c->texts[1];
	c->key.pool = c->texts[2];
	return check_key(c);
}

static void on_created(void *arg, enum local_call_outcome outcome, const struct store_actor *actor)
{
	struct api_call *c = arg;
	c->busy = false;
	if (outcome != LOCAL_CALL_OK && outcome != LOCAL_CALL_CREATED) {
		fail_outcome(c, outcome, actor);
		return;
	}
	const struct store_actor *newer = local_driver_record(c->r.local->driver, actor->id);
	buf_add_str(&c->out, "{\"actor\":");
	local_json_actor(&c->out, newer != NULL ? newer : actor, c->ns.id);
	if (c->get_or_create)
		buf_addf(&c->out, ",\"created\":%s", outcome == LOCAL_CALL_CREATED ? "true" : "false");
	buf_add_byte(&c->out, '}');
	api_call_done(c);
}

static void run_create(struct api_call *c)
{
	c->key.namespace_name = c->ns.name;
	c->busy = true;
	local_driver_create(c->r.local->driver, &c->key, c->get_or_create, on_created, c);
}

/* ---- DELETE, sleep, reschedule ---- */

/* The first argument in its canonical form; false: the call has ended. */
static bool take_id(struct api_call *c)
{
	struct actor_id id;
	switch (actor_id_parse(slice_str(c->args[0]), &id)) {
	case 0:
		mem_free(c->args[0]);
		c->args[0] = mem_strdup(id.text);
		return true;
	case ACTOR_ID_OTHER_DATACENTER:
		api_call_refuse(c, "datacenter", "not_found");
		return false;
	default:
		api_call_bad(c, SLICE_LIT("the actor id is malformed"));
		return false;
	}
}

static bool check_no_fields(struct api_call *c)
{
	static const char *const none[] = {NULL};
	struct err e = {0};
	if (json_field_only(c->json, none, &e) < 0) {
		api_call_bad(c, slice_str(e.text));
		return false;
	}
	return take_id(c);
}

static void on_done(void *arg, enum local_call_outcome outcome, const struct store_actor *actor)
{
	struct api_call *c = arg;
	c->busy = false;
	if (outcome != LOCAL_CALL_OK) {
		fail_outcome(c, outcome, actor);
		return;
	}
	buf_add_str(&c->out, "{}");
	api_call_done(c);
}

static void run_destroy(struct api_call *c)
{
	c->busy = true;
	local_driver_destroy(c->r.local->driver, c->ns.name, c->args[0], on_done, c);
}

static void run_sleep(struct api_call *c)
{
	c->busy = true;
	local_driver_sleep(c->r.local->driver, c->ns.name, c->args[0], on_done, c);
}

static void run_reschedule(struct api_call *c)
{
	c->busy = true;
	local_driver_wake(c->r.local->driver, c->ns.name, c->args[0], on_done, c);
}

/* ---- GET /actors ---- */

static void put_actors(struct api_call *c, const struct store_actor_list *q)
{
	int64_t last_ts = 0;
	buf_add_str(&c->out, "{\"actors\":[");
	for (size_t i = 0; i < q->n && buf_len(&c->out) < LIST_BYTES_MAX; i++) {
		const struct store_actor *newer = local_driver_record(c->r.local->driver, q->actors[i].id);
		if (i > 0)
			buf_add_byte(&c->out, ',');
		local_json_actor(&c->out, newer != NULL ? newer : &q->actors[i], c->ns.id);
		last_ts = q->actors[i].create_ts;
	}
	buf_add_byte(&c->out, ']');
	api_call_put_cursor_ts(c, last_ts);
}

static void on_listed(struct store_job *job)
{
	struct store_actor_list *q = CONTAINER_OF(job, struct store_actor_list, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	c->busy = false;
	if (result == 0)
		put_actors(c, q);
	store_actor_list_clear(q);
	mem_free(q);
	if (result == 0)
		api_call_done(c);
	else
		api_call_store_failed(c, result);
}

static void free_list(struct store_actor_list *q)
{
	store_actor_list_clear(q);
	mem_free(q);
}

static void add_id(struct store_actor_list *q, const char *id)
{
	for (size_t i = 0; i < q->n_ids; i++) {
		if (strcmp(q->ids[i], id) == 0)
			return;
	}
	q->ids[q->n_ids++] = mem_strdup(id);
}

/* Ids of `actor_ids` that cannot be read are left out; a bad `actor_id` is an error. Ids of another datacenter count,
 * and are of nobody here. q->ids stays NULL when no id was given. False: the call has ended. */
static bool take_ids(struct api_call *c, struct store_actor_list *q)
{
	MEM_AUTO char *many = local_api_query_text(c, "actor_ids");
	struct slice left = slice_str(many), piece;
	struct actor_id id;
	size_t count = 0, at = 0;
	char *one = NULL;
	q->ids = mem_zalloc(IDS_MAX * sizeof(*q->ids));
	while (local_api_query_piece(&left, &piece)) {
		int r = actor_id_parse(piece, &id);
		count += r != ACTOR_ID_MALFORMED;
		if (r == 0 && count <= IDS_MAX)
			add_id(q, id.text);
	}
	while ((one = local_api_query_next(c, "actor_id", &at)) != NULL) {
		int r = actor_id_parse(slice_str(one), &id);
		mem_free(one);
		if (r == ACTOR_ID_MALFORMED) {
			api_call_bad(c, SLICE_LIT("query parameter `actor_id` is no actor id"));
			return false;
		}
		if (++count <= IDS_MAX && r == 0)
			add_id(q, id.text);
	}
	if (count > IDS_MAX) {
		MEM_AUTO char *metadata = mem_printf("{\"max\":%d,\"count\":%zu}", IDS_MAX, count);
		MEM_AUTO char *message = mem_printf("at most %d actor ids may be asked for, not %zu", IDS_MAX, count);
		api_call_fail(c, 400, "validation", "too_many_actor_ids", slice_str(message), metadata);
		return false;
	}
	if (count == 0)
		mem_free(TAKE(q->ids));
	return true;
}

static bool check_list(struct api_call *c, const struct store_actor_list *q)
{
	const char *what = NULL;
	if (q->ids != NULL && (q->name != NULL || q->key != NULL))
		what = "actor_ids do not go together with name or key.";
	else if (q->ids == NULL && q->key != NULL && q->name == NULL)
		what = "Name is required when key is provided.";
	else if (q->ids == NULL && q->name == NULL)
		what = "Name is required when not using actor_ids.";
	if (what == NULL)
		return true;
	MEM_AUTO char *metadata = local_json_strings("message", slice_str(what), NULL, SLICE_NONE);
	api_call_fail(c, 400, "validation", "invalid_input", slice_str(what), metadata);
	return false;
}

static void run_list(struct api_call *c)
{
	struct store_actor_list *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = on_listed;
	q->namespace_name = mem_strdup(c->ns.name);
	q->name = local_api_query_text(c, "name");
	q->key = local_api_query_text(c, "key");
	if (!local_api_query_limit(c, &q->limit) || !local_api_query_cursor(c, &q->before_create_ts) ||
	    !local_api_query_bool(c, "include_destroyed", &q->include_destroyed) || !take_ids(c, q) ||
	    !check_list(c, q)) {
		free_list(q);
		return;
	}
	if (q->limit == 0) {
		put_actors(c, q);
		free_list(q);
		api_call_done(c);
		return;
	}
	c->busy = true;
	store_actor_list(c->r.local->o.store, q);
}

/* ---- GET /actors/names ---- */

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The configured names behind `after`, in order. The caller frees the array. */
static const char **type_names(const struct local *l, const char *after, size_t *ret_n)
{
	size_t n = 0, all = 0;
	while (actor_types_at(l->o.types, all) != NULL)
		all++;
	const char **names = mem_zalloc((all + 1) * sizeof(*names));
	for (size_t i = 0; i < all; i++) {
		const char *name = actor_types_at(l->o.types, i)->name;
		if (after == NULL || strcmp(name, after) > 0)
			names[n++] = name;
	}
	qsort(names, n, sizeof(*names), by_bytes);
	*ret_n = n;
	return names;
}

/* Names that have a type and names ever created, each once. */
static void put_names(struct api_call *c, const struct store_actor_names *q)
{
	size_t n_types, t = 0, i = 0;
	const char **types = type_names(c->r.local, q->after, &n_types);
	const char *last = NULL;
	buf_add_str(&c->out, "{\"names\":{");
	for (size_t listed = 0; listed < q->limit && (t < n_types || i < q->n); listed++) {
		int order = t == n_types ? 1 : i == q->n ? -1 : strcmp(types[t], q->names[i]);
		last = order <= 0 ? types[t] : q->names[i];
		t += order <= 0;
		i += order >= 0;
		if (listed > 0)
			buf_add_byte(&c->out, ',');
		json_put_str(&c->out, slice_str(last));
		buf_add_str(&c->out, ":{\"metadata\":{}}");
	}
	buf_add_byte(&c->out, '}');
	api_call_put_cursor(c, last);
	mem_free(types);
}

static void on_names(struct store_job *job)
{
	struct store_actor_names *q = CONTAINER_OF(job, struct store_actor_names, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	c->busy = false;
	if (result == 0)
		put_names(c, q);
	store_actor_names_clear(q);
	mem_free(q);
	if (result == 0)
		api_call_done(c);
	else
		api_call_store_failed(c, result);
}

static void run_names(struct api_call *c)
{
	size_t limit;
	if (!local_api_query_limit(c, &limit))
		return;
	struct store_actor_names *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = on_names;
	q->namespace_name = mem_strdup(c->ns.name);
	q->after = local_api_query_text(c, "cursor");
	q->limit = limit;
	c->busy = true;
	store_actor_names(c->r.local->o.store, q);
}

/* ---- GET /actors/{}/kv/keys/{} ---- */

static void on_value(struct store_job *job)
{
	struct store_kv *q = CONTAINER_OF(job, struct store_kv, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	bool found = result == 0 && q->n_entries == 1;
	c->busy = false;
	if (found) {
		buf_add_str(&c->out, "{\"value\":\"");
		base64_put(&c->out, slice_of(q->entries[0].value, q->entries[0].value_len), false);
		buf_addf(&c->out, "\",\"update_ts\":%lld}", (long long)q->entries[0].updated_wall_ms);
	}
	store_kv_clear(q);
	mem_free(q);
	if (found)
		api_call_done(c);
	else if (result < 0)
		api_call_store_failed(c, result);
	else
		api_call_refuse(c, "actor", "kv_key_not_found");
}

static void get_value(struct api_call *c, uint64_t actor_number)
{
	struct slice key = buf_slice(&c->input);
	struct store_kv *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = on_value;
	q->job.order = actor_number;
	q->actor_number = actor_number;
	q->kind = STORE_KV_GET;
	q->n_pairs = 1;
	q->pairs = mem_zalloc(sizeof(*q->pairs));
	q->pairs[0].key = mem_alloc(key.n);
	q->pairs[0].key_len = key.n;
	memcpy(q->pairs[0].key, key.p, key.n);
	c->busy = true;
	store_kv(c->r.local->o.store, q);
}

static void on_found(struct store_job *job)
{
	struct store_actor_find *q = CONTAINER_OF(job, struct store_actor_find, job);
	struct api_call *c = q->user;
	int result = q->job.result;
	bool living = result == 0 && q->actor.destroy_ts == 0 && strcmp(q->actor.namespace_name, c->ns.name) == 0;
	uint64_t number = q->actor.number;
	c->busy = false;
	store_actor_find_clear(q);
	mem_free(q);
	if (result < 0)
		api_call_store_failed(c, result);
	else if (living)
		get_value(c, number);
	else
		api_call_refuse(c, "actor", "not_found");
}

static bool check_kv(struct api_call *c)
{
	if (!take_id(c))
		return false;
	if (!base64_get(&c->input, slice_str(c->args[1]), false)) {
		api_call_fail(c, 500, "core", "internal_error", SLICE_LIT("the key is not base64"), NULL);
		return false;
	}
	struct slice key = buf_slice(&c->input);
	/* No such key can be there; those that begin with 0 are the daemon's own. */
	if (key.n == 0 || key.n > LIMIT_KV_KEY_BYTES || key.p[0] == 0) {
		api_call_refuse(c, "actor", "kv_key_not_found");
		return false;
	}
	return true;
}

static void run_kv(struct api_call *c)
{
	struct store_actor_find *q = mem_zalloc(sizeof(*q));
	q->user = c;
	q->job.done = on_found;
	q->id = mem_strdup(c->args[0]);
	c->busy = true;
	store_actor_find(c->r.local->o.store, q);
}

/* ---- the table ---- */

static const char *const in_namespace[] = {"namespace", NULL};
static const char *const in_list[] = {"namespace",         "name",  "key",    "actor_ids", "actor_id*",
				      "include_destroyed", "limit", "cursor", NULL};
static const char *const in_names[] = {"namespace", "limit", "cursor", NULL};

#define SCOPED .query = in_namespace, .scoped = true

const struct api_endpoint local_api_actors[] = {
    {.method = "GET", .path = "/actors", .query = in_list, .scoped = true, .run = run_list},
    {.method = "PUT", .path = "/actors", SCOPED, .body = true, .check = check_create, .run = run_create},
    {.method = "POST", .path = "/actors", SCOPED, .body = true, .check = check_create, .run = run_create},
    {.method = "GET", .path = "/actors/names", .query = in_names, .scoped = true, .run = run_names},
    {.method = "DELETE", .path = "/actors/{}", SCOPED, .check = take_id, .run = run_destroy},
    {.method = "POST", .path = "/actors/{}/sleep", SCOPED, .body = true, .check = check_no_fields, .run = run_sleep},
    {.method = "POST",
     .path = "/actors/{}/reschedule",
     SCOPED,
     .body = true,
     .check = check_no_fields,
     .run = run_reschedule},
    {.method = "GET", .path = "/actors/{}/kv/keys/{}", SCOPED, .check = check_kv, .run = run_kv},
    {0},
};
