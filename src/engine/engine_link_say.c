/* What a person is told: one line per distinct failure until the link is
 * online again; the same failure again is a line at the level debug. No line
 * has the token. */
#include "engine/engine_link_private.h"

#include "base/log.h"

static void set_why_not(struct engine_link *l, char *text)
{
	mem_free(l->why_not);
	l->why_not = text;
}

static void forget_said(struct engine_link *l)
{
	while (l->n_said > 0)
		mem_free(l->said[--l->n_said]);
}

/* Whether this was said before; from now on it was. The oldest is forgotten when there are many. */
static bool was_said(struct engine_link *l, char *what)
{
	for (size_t i = 0; i < l->n_said; i++) {
		if (strcmp(l->said[i], what) == 0) {
			mem_free(what);
			return true;
		}
	}
	if (l->n_said == ENGINE_LINK_SAID) {
		mem_free(l->said[0]);
		memmove(l->said, l->said + 1, --l->n_said * sizeof(*l->said));
	}
	l->said[l->n_said++] = what;
	return false;
}

void engine_link_say_online(struct engine_link *l, bool same_runner)
{
	forget_said(l);
	set_why_not(l, NULL);
	LOG(INFO, "registered with the engine", LOG_STR("engine", l->place), LOG_STR("namespace", l->namespace_name),
	    LOG_STR("runner", l->runner), LOG_STR("runner_id", l->runner_id),
	    LOG_STR("as", same_runner ? "the runner it was before" : "a new runner"), LOG_STR("ray", l->ray));
}

void engine_link_say_down(struct engine_link *l, const struct ws_client_end *end, const struct engine_reason *r,
			  int64_t wait_ms)
{
	struct slice code = engine_reason_code(end->reason);
	/* The sentence of a failed connection differs only where the failure does; that of a close has a ray id. */
	char *what = end->why == WS_CLIENT_CLOSED ? mem_printf("%u %.*s", end->code, SLICE_FMT(code))
						  : mem_printf("%s", end->text);
	enum log_level level = was_said(l, what) ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN;
	const char *advice = r->advice == NULL ? "" : r->advice;
	set_why_not(l, mem_printf("%s%s%s", end->text, *advice == '\0' ? "" : ": ", advice));
	if (!log_wants(level))
		return;
	const struct log_field fields[] = {
	    LOG_STR("why", end->text),    LOG_STR("engine", l->place), LOG_STR("namespace", l->namespace_name),
	    LOG_NUM("retry_ms", wait_ms), LOG_STR("advice", advice),
	};
	size_t n = ARRAY_SIZE(fields) - (*advice == '\0' ? 1 : 0);
	log_record(level,
		   l->ever_online ? SLICE_LIT("not connected to the engine any more; trying again")
				  : SLICE_LIT("cannot register with the engine; trying again"),
		   fields, n);
}

void engine_link_say_over(struct engine_link *l, const char *why_not)
{
	set_why_not(l, mem_strdup(why_not));
}

void engine_link_say_done(struct engine_link *l)
{
	forget_said(l);
	set_why_not(l, NULL);
}
