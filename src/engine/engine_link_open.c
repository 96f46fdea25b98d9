/* Makes what is said on each connection: the target with namespace and key
 * (runner protocol v7, section 1.2), the subprotocols with the token (1.3),
 * ToServerInit (3.1). What cannot be said is an error of the configuration. */
#include "base/limits.h"
#include "codec/json_field.h"
#include "engine/engine_link_private.h"

#include <errno.h>
#include <unistd.h>

#define SLOTS_MAX 4294967 /* section 3.1: the engine counts slots in thousandths */

static void put_metadata(struct buf *b, const char *version)
{
	char host[256] = "";
	(void)gethostname(host, sizeof(host) - 1);
	buf_add_str(b, "{\"program\":\"rivet-runnerd\",\"version\":");
	json_put_str(b, slice_str(version));
	buf_add_str(b, ",\"host\":");
	json_put_str(b, slice_str(host));
	buf_add_str(b, "}");
}

static int put_init(struct buf *out, const struct engine_link_options *o, struct err *e)
{
	struct buf names, metadata;
	size_t n = 0;
	int r = 0;
	buf_init(&names, LIMIT_WS_MESSAGE_BYTES);
	buf_init(&metadata, LIMIT_JSON_BYTES);
	put_metadata(&metadata, o->version);
	for (; r == 0 && o->actor_names[n] != NULL; n++)
		r = runner_pair_put(&names, slice_str(o->actor_names[n]), SLICE_LIT("{}"));
	if (r != 0)
		r = err_set(e, EINVAL, EXIT_CODE_CONFIG,
			    "the name of an actor type is not UTF-8: the engine cannot be told");
	struct runner_to_server m = {.tag = RUNNER_TO_SERVER_INIT,
				     .init = {.name = slice_str(o->runner),
					      .version = o->runner_version,
					      .total_slots = o->total_slots,
					      .has_actor_names = true,
					      .actor_names = runner_list_of(buf_slice(&names), n),
					      .has_metadata = true,
					      .metadata = buf_slice(&metadata)}};
	if (r == 0 && runner_to_server_put(out, &m) != 0)
		r = err_set(e, EINVAL, EXIT_CODE_CONFIG,
			    "engine.runner (RIVET_RUNNER) is not UTF-8: the engine cannot be told");
	buf_done(&names);
	buf_done(&metadata);
	return r;
}

static int put_target(struct engine_link *l, const struct engine_link_options *o, struct err *e)
{
	struct buf b;
	buf_init(&b, LIMIT_HTTP_TARGET_BYTES);
	buf_addf(&b, "%s/runners/connect?protocol_version=%d&namespace=", o->endpoint->path, RUNNER_PROTOCOL_VERSION);
	http_percent_encode(slice_str(o->namespace_name), &b);
	buf_add_str(&b, "&runner_key=");
	http_percent_encode(slice_str(o->runner_key), &b);
	int r = 0;
	if (b.over)
		r = err_set(e, EINVAL, EXIT_CODE_CONFIG,
			    "namespace, runner key and path of the engine's URL are over 8 KiB together");
	else
		l->target = mem_strndup(buf_text(&b), buf_len(&b));
	buf_done(&b);
	return r;
}

static int put_token(struct engine_link *l, const char *token, struct err *e)
{
	if (token == NULL || *token == '\0') {
		l->subprotocols = mem_strdup("rivet");
		return 0;
	}
	if (strlen(token) > LIMIT_HTTP_TARGET_BYTES)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG, "the engine's token is over 8 KiB long");
	int r = engine_endpoint_token_check(token, e);
	if (r == 0)
		l->subprotocols = mem_printf("rivet, rivet_token.%s", token);
	return r;
}

static int prepare(struct engine_link *l, const struct engine_link_options *o, struct err *e)
{
	if (o->total_slots == 0 || o->total_slots > SLOTS_MAX)
		return err_set(e, EINVAL, EXIT_CODE_CONFIG,
			       "engine.total_slots (RIVET_TOTAL_SLOTS) is %u; the engine counts from 1 to %d",
			       o->total_slots, SLOTS_MAX);
	int r = put_token(l, o->token, e);
	if (r == 0)
		r = put_target(l, o, e);
	if (r == 0)
		r = put_init(&l->init, o, e);
	if (r == 0 && o->endpoint->tls)
		r = tls_context_new(o->ca_file, e, &l->tls);
	return r;
}

int engine_link_open(const struct engine_link_options *o, struct engine_link **ret, struct err *e)
{
	struct engine_link *l = mem_zalloc(sizeof(*l));
	l->magic = ENGINE_LINK_MAGIC;
	l->loop = o->loop;
	l->events = o->events;
	l->arg = o->arg;
	l->host = mem_strdup(o->endpoint->host);
	l->port = o->endpoint->port;
	l->place = engine_endpoint_text(o->endpoint);
	l->namespace_name = mem_strdup(o->namespace_name);
	l->runner = mem_strdup(o->runner);
	l->runner_key = mem_strdup(o->runner_key);
	l->why_not = mem_strdup("connecting to the engine");
	buf_init(&l->init, LIMIT_WS_MESSAGE_BYTES);
	buf_init(&l->small, 64);
	engine_link_init(l);
	int r = prepare(l, o, e);
	if (r < 0) {
		engine_link_free(l);
		return r;
	}
	*ret = l;
	engine_link_step(l, LINK_DIAL);
	return 0;
}

int engine_link_announce(struct engine_link *l, const struct engine_link_options *o, struct err *e)
{
	struct buf init;
	buf_init(&init, LIMIT_WS_MESSAGE_BYTES);
	int r = put_init(&init, o, e);
	if (r == 0) {
		buf_reset(&l->init);
		buf_add(&l->init, buf_slice(&init));
	}
	buf_done(&init);
	return r;
}

void engine_link_free(struct engine_link *l)
{
	engine_link_say_done(l);
	engine_link_keep_none(l);
	tls_context_free(l->tls);
	buf_done(&l->init);
	buf_done(&l->small);
	mem_free(l->host);
	mem_free(l->place);
	mem_free(l->target);
	mem_free(l->subprotocols);
	mem_free(l->namespace_name);
	mem_free(l->runner);
	mem_free(l->runner_key);
	l->magic = 0;
	mem_free(l);
}
