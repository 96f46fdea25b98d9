/* Owns nothing: knows which values may move from one configuration to another,
 * by the reload column of the table, and which typed copies go with them. */
#include "app/config_reload.h"

#include <errno.h>

#define SWAP(a, b)                       \
	do {                             \
		__typeof__(a) swap_ = a; \
		a = b;                   \
		b = swap_;               \
	} while (0)

int config_reload_check(const struct config *c, const struct config *next, struct err *e)
{
	const char *source = next->values[CONFIG_ENGINE].source;
	if (c->engine_mode == next->engine_mode)
		return 0;
	return err_set(
	    e, EINVAL, EXIT_CODE_CONFIG,
	    "%s: engine.endpoint: the daemon runs in %s mode and this asks for %s mode, which takes a restart", source,
	    c->engine_mode ? "engine" : "local", next->engine_mode ? "engine" : "local");
}

static bool is_live(const struct config *c, size_t id)
{
	switch (config_rows[id].reload) {
	case CONFIG_RELOAD_LIVE:
		return true;
	case CONFIG_RELOAD_LOCAL:
		return !c->engine_mode;
	case CONFIG_RELOAD_RESTART:
		return false;
	}
	IMPOSSIBLE("config reload");
}

void config_reload_swap(struct config *c, struct config *next)
{
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		if (is_live(c, i))
			SWAP(c->values[i], next->values[i]);
	}
	SWAP(c->file, next->file);
	SWAP(c->drain_timeout_ms, next->drain_timeout_ms);
	SWAP(c->log_level, next->log_level);
	SWAP(c->log_format, next->log_format);
	SWAP(c->auth_none, next->auth_none);
	SWAP(c->engine_limits, next->engine_limits);
	SWAP(c->starts_max, next->starts_max);
	SWAP(c->hosts, next->hosts);
	SWAP(c->cors_origins, next->cors_origins);
	if (is_live(c, CONFIG_TOKEN_FILE)) {
		SWAP(c->token, next->token);
		SWAP(c->token_source, next->token_source);
	}
	SWAP(c->notes, next->notes);
	SWAP(c->n_notes, next->n_notes);
	SWAP(c->warnings, next->warnings);
}

static bool differ(const char *a, const char *b)
{
	return strcmp(a == NULL ? "" : a, b == NULL ? "" : b) != 0;
}

void config_reload_each_kept(const struct config *c, const struct config *next, void (*fn)(void *arg, const char *key),
			     void *arg)
{
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		bool changed = differ(c->values[i].text, next->values[i].text) ||
			       (i == CONFIG_TOKEN_FILE && differ(c->token, next->token));
		if (changed && !is_live(c, i))
			fn(arg, config_rows[i].key);
	}
}
