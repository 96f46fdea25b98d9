/* What a person reads about the configuration, all from the one table. */
#include "app/config_actor.h"

#include <stdio.h>

void config_print_help(struct buf *out)
{
	buf_add_str(
	    out, "rivet-runnerd [OPTIONS] [-- COMMAND [ARG...]]\n\n"
		 "Turns any program that speaks HTTP into a durable Rivet actor.\n"
		 "Try: rivet-runnerd --foreground --actor counter -- python3 counter.py\n\n"
		 "  -c, --config FILE          settings, JSON; default /etc/rivet-runnerd/rivet-runnerd.json if it is "
		 "there\n"
		 "  -f, --foreground           development: readable log on stderr, data in ./.rivet-runnerd\n"
		 "  -a, --actor NAME           with -- COMMAND: actors of this name are served by that command\n"
		 "      --pass-env NAME        workers get this variable of the daemon's environment (repeatable)\n"
		 "      --detach               run in the background; returns when ready\n"
		 "      --takeover             engine mode: start even if this runner key was taken over recently\n"
		 "      --check-config         print the effective configuration and exit (0, or 78 with the reason)\n"
		 "  -V, --version\n"
		 "  -h, --help\n");
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		if (row->option == NULL)
			continue;
		char left[64];
		snprintf(left, sizeof(left), "%c%c%c --%s %s", row->letter ? '-' : ' ', row->letter ? row->letter : ' ',
			 row->letter ? ',' : ' ', row->option, row->argument);
		buf_addf(out, "  %-26s %s\n", left, row->prose);
	}
}

/* scheme://namespace:TOKEN@host: the token is masked. */
static void put_value(struct buf *out, const char *text)
{
	const char *scheme = strstr(text, "://");
	size_t n = scheme == NULL ? 0 : strcspn(scheme + 3, "/?#");
	const char *at = n == 0 ? NULL : memrchr(scheme + 3, '@', n);
	const char *colon = at == NULL ? NULL : strchr(scheme + 3, ':');
	if (colon == NULL || colon > at)
		buf_add_str(out, text);
	else
		buf_addf(out, "%.*s***%s", (int)(colon + 1 - text), text, at);
}

void config_print(const struct config *c, struct buf *out)
{
	buf_addf(out, "# configuration file: %s\n", c->file == NULL ? "none" : c->file);
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		buf_addf(out, "%s = ", config_rows[i].key);
		put_value(out, config_get(c, (enum config_id)i));
		buf_addf(out, "  (%s)\n", c->values[i].source == NULL ? "default" : c->values[i].source);
	}
	buf_addf(out, "token = %s  (%s)\n", c->token == NULL ? "" : "***",
		 c->token == NULL ? "default" : c->token_source);
	for (size_t i = 0; i < c->n_notes; i++)
		buf_addf(out, "%s = %s  (%s)\n", c->notes[i].key, c->notes[i].text, c->notes[i].source);
	for (char *const *warning = c->warnings; warning != NULL && *warning != NULL; warning++)
		buf_addf(out, "# warning: %s\n", *warning);
}

void config_print_markdown(struct buf *out)
{
	static const char *const reloads[] = {
	    [CONFIG_RELOAD_LIVE] = "yes", [CONFIG_RELOAD_LOCAL] = "in local mode", [CONFIG_RELOAD_RESTART] = "restart"};
	buf_add_str(out, "| key in the file | option | environment | default | reload | meaning |\n"
			 "| --- | --- | --- | --- | --- | --- |\n");
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		buf_addf(out, "| `%s` | ", row->key);
		if (row->option != NULL && row->letter != 0)
			buf_addf(out, "`-%c`, ", row->letter);
		if (row->option != NULL)
			buf_addf(out, "`--%s %s`", row->option, row->argument);
		buf_addf(out, " | `%s`", row->env);
		if (row->env2 != NULL)
			buf_addf(out, ", `%s`", row->env2);
		buf_addf(out, " | %s%s%s | %s | %s |\n", row->preset != NULL && *row->preset ? "`" : "",
			 row->preset == NULL ? "" : row->preset, row->preset != NULL && *row->preset ? "`" : "",
			 reloads[row->reload], row->prose);
	}
	buf_add_str(out, "\n## Actor settings\n\n");
	config_actor_markdown(out);
}
