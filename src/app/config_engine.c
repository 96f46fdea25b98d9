/* engine.endpoint may carry namespace and token (namespace:token@host). What
 * is given twice must be the same, or somebody would be surprised. */
#include "app/config_engine.h"

#include "app/config_actor.h"

#include "codec/utf8.h"

#include <errno.h>

#define CONFIG_ERROR(e, ...) err_set(e, EINVAL, EXIT_CODE_CONFIG, __VA_ARGS__)
#define NAME_MAX_BYTES 512

static bool is_default(const struct config *c, enum config_id id)
{
	return c->values[id].source == NULL || strcmp(c->values[id].source, "default") == 0;
}

static int take_namespace(struct config *c, struct err *e)
{
	struct config_value *v = &c->values[CONFIG_NAMESPACE];
	const char *name = c->endpoint.namespace_name;
	if (name == NULL || strcmp(name, v->text) == 0)
		return 0;
	if (!is_default(c, CONFIG_NAMESPACE))
		return CONFIG_ERROR(e,
				    "engine.namespace: \"%s\" (%s), but engine.endpoint (%s) names \"%s\"; say it once",
				    v->text, v->source, c->values[CONFIG_ENGINE].source, name);
	mem_free(v->text);
	mem_free(v->source);
	v->text = mem_strdup(name);
	v->source = mem_printf("%s, the URL", c->values[CONFIG_ENGINE].source);
	return 0;
}

static int take_token(struct config *c, struct err *e)
{
	const char *token = c->endpoint.token;
	if (token != NULL && c->token != NULL && strcmp(token, c->token) != 0)
		return CONFIG_ERROR(e, "token: the one of engine.endpoint (%s) is not the one of %s; say it once",
				    c->values[CONFIG_ENGINE].source, c->token_source);
	if (token != NULL && c->token == NULL) {
		c->token = mem_strdup(token);
		c->token_source = mem_printf("%s, the URL", c->values[CONFIG_ENGINE].source);
	}
	return c->token == NULL ? 0 : engine_endpoint_token_check(c->token, e);
}

/* Names travel as text of the protocol. */
static int check_name(const struct config *c, enum config_id id, struct err *e)
{
	const char *text = config_get(c, id);
	size_t left = strlen(text), n = 1;
	if (left > NAME_MAX_BYTES)
		return CONFIG_ERROR(e, "%s: %s: is longer than %d bytes", c->values[id].source, config_rows[id].key,
				    NAME_MAX_BYTES);
	for (const uint8_t *p = (const uint8_t *)text; left > 0 && n > 0; p += n, left -= n)
		n = utf8_length(p, left);
	if (n == 0)
		return CONFIG_ERROR(e, "%s: %s: is not UTF-8", c->values[id].source, config_rows[id].key);
	return 0;
}

int config_engine(struct config *c, struct err *e)
{
	if (*config_get(c, CONFIG_ENGINE) == '\0')
		return 0;
	c->engine_mode = true;
	struct err why = {0};
	if (engine_endpoint_parse(config_get(c, CONFIG_ENGINE), &c->endpoint, &why) < 0)
		return CONFIG_ERROR(e, "%s: engine.endpoint: %s", c->values[CONFIG_ENGINE].source, why.text);
	if (!is_default(c, CONFIG_LISTEN))
		config_warn(c, mem_printf("%s: listen has no effect in engine mode: traffic comes through the engine",
					  c->values[CONFIG_LISTEN].source));
	static const enum config_id names[] = {CONFIG_NAMESPACE, CONFIG_RUNNER, CONFIG_RUNNER_KEY};
	int r = take_namespace(c, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(names); i++)
		r = check_name(c, names[i], e);
	return r < 0 ? r : take_token(c, e);
}

void config_engine_free(struct config *c)
{
	if (c->endpoint.token != NULL)
		explicit_bzero(c->endpoint.token, strlen(c->endpoint.token));
	engine_endpoint_done(&c->endpoint);
}
