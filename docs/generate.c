/* Prints what is made from the tables of options, settings and commands, so
 * that nothing of it can drift: docs/CONFIGURATION.md, the manual pages (as
 * Markdown, for lowdown) and the completions of three shells.
 *
 *   generate PAGE     PAGE is one of the names in `pages` below */
#include "app/config.h"
#include "app/config_actor.h"
#include "ctl/ctl_command.h"

#include <stdio.h>

#define PAGE_MAX ((size_t)1024 * 1024)

/* Options of rivet-runnerd that are no setting. */
static const struct {
	const char *option;
	char letter;
	const char *argument, *prose;
} own_options[] = {
    {"config", 'c', "FILE", "settings; default /etc/rivet-runnerd/rivet-runnerd.json if it is there"},
    {"foreground", 'f', NULL, "development: readable log on stderr, data in ./.rivet-runnerd"},
    {"actor", 'a', "NAME", "with `-- COMMAND`: actors of this name are served by that command"},
    {"pass-env", 0, "NAME", "workers get this variable of the daemon's environment; repeatable"},
    {"detach", 0, NULL, "run in the background; the parent returns when the daemon is ready"},
    {"takeover", 0, NULL, "engine mode: start even if this runner key was taken over within 10 minutes"},
    {"check-config", 0, NULL, "print the effective configuration with the source of each value and exit"},
    {"version", 'V', NULL, "print the version"},
    {"help", 'h', NULL, "print a summary of the options"},
};

static const struct {
	int code;
	const char *meaning;
} exit_codes[] = {
    {0, "clean stop"},
    {1, "failure at run time; port in use; the engine speaks no protocol of ours"},
    {64, "usage"},
    {73, "the data or runtime directory cannot be used, is locked by another daemon, or has a newer format"},
    {78, "configuration"},
    {79, "evicted: another runner took this runner key; a start with it within 10 minutes needs `--takeover`"},
};

/* ---- pieces ---- */

static void put_option(struct buf *b, const char *option, char letter, const char *argument)
{
	if (letter != 0)
		buf_addf(b, "**-%c**, ", letter);
	buf_addf(b, "**--%s**", option);
	if (argument != NULL)
		buf_addf(b, " *%s*", argument);
}

static void put_options(struct buf *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(own_options); i++) {
		put_option(b, own_options[i].option, own_options[i].letter, own_options[i].argument);
		buf_addf(b, "\n: %s\n\n", own_options[i].prose);
	}
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		if (row->option == NULL)
			continue;
		put_option(b, row->option, row->letter, row->argument);
		buf_addf(b, "\n: %s (`%s`, key `%s`)\n\n", row->prose, row->env, row->key);
	}
}

static void put_heading(struct buf *b, const char *name, const char *prose)
{
	buf_addf(b, "# NAME\n\n%s - %s\n\n", name, prose);
}

/* ---- pages ---- */

static void put_reload(struct buf *b)
{
	buf_add_str(
	    b,
	    "\n## Reload\n\n"
	    "`SIGHUP` and `rivet-runnerctl reload` read the whole configuration again, with the options and the "
	    "environment of the\nstart. `rivet-runnerctl reload` returns when the new one is in force, and says what "
	    "changed.\n\n"
	    "- A bad configuration is refused whole: the old one stays in force, the error with its file and line is "
	    "in "
	    "the log and is\n  what `rivet-runnerctl` prints. The log file is opened anew all the same.\n"
	    "- Settings with `yes` in the column *reload* are in force at once. A changed setting that takes a restart "
	    "is "
	    "not applied; a\n  warning names its key, and so does `rivet-runnerctl status` (`restart_needed`) until "
	    "the "
	    "daemon was restarted or the\n  change taken back. Local mode does not become engine mode: that is "
	    "refused.\n"
	    "- An actor type that is as before, its environment file included, is not disturbed.\n"
	    "- A new actor type works at once; so does one that was removed and is back. Its actors wake on demand and "
	    "for their alarms.\n"
	    "- A changed actor type, whatever changed, rolls over: actors that start from now on do so with the new "
	    "settings; awake ones\n  are stopped with reason `restart` and started again, `starts_max` at a time. "
	    "Requests in flight are finished first,\n  within three quarters of the old `stop_grace`; new ones wait "
	    "for "
	    "the new worker; plain WebSockets are closed with 1001.\n  Old shared workers end when they are empty. "
	    "While "
	    "this lasts there may be `workers_max` processes of either kind.\n  After three failed "
	    "starts in a row on the new settings rolling over of that type halts with an error: its other\n  actors "
	    "stay as they are (`rollover_halted` in `rivet-runnerctl status`) until a start works or a reload changes "
	    "the\n  type again. A reload that takes the change back leaves them alone for good.\n"
	    "- Actors of a removed type are stopped at once with reason `drain`. Their state is kept; requests for "
	    "them "
	    "get 503\n  `actor.not_registered`.\n"
	    "- With an engine an awake actor of a changed or removed type is asked to sleep, `starts_max` at a time, "
	    "and "
	    "stopped with the\n  same reasons; the engine wakes it again when there is something for it to do. The "
	    "names of new types are announced with\n  the next connection; actors of them can be created before.\n"
	    "- How many actors are still to change is `rolling_over` in `rivet-runnerctl status`, and in the log every "
	    "5 s.\n");
}

static void put_configuration(struct buf *b)
{
	buf_add_str(
	    b,
	    "# Configuration\n\n"
	    "*Made from the table in `src/app/config.def` by `make docs/CONFIGURATION.md`; do not edit.*\n\n"
	    "A value is taken from the option, else the environment variable, else the file, else the default. An "
	    "empty\nvariable counts as unset. An unknown option, key or setting is an error that names it and its "
	    "line.\n`rivet-runnerd --check-config` prints every value with its source, secrets masked.\n\n"
	    "The file is JSON; a dotted key is a member of an object: `log.level` is `{\"log\": {\"level\": "
	    "...}}`. Times are\ntexts with a unit (`250ms`, `30s`, `5min`, `1h`), sizes too (`64K`, `256M`, `2G`). A "
	    "line that begins with `//`\nis a comment; `conf/rivet-runnerd.json` is a sample with some.\n\n"
	    "## Daemon\n\n");
	config_print_markdown(b);
	buf_add_str(
	    b, "\nOptions without a key: `--config FILE` (`RIVET_RUNNERD_CONFIG`), `--foreground`, `--actor NAME -- "
	       "COMMAND`,\n`--pass-env NAME`, `--detach`, `--takeover`, `--check-config`, `--version`, `--help`. The "
	       "token comes from\n`RIVET_TOKEN`, the token file, or `$CREDENTIALS_DIRECTORY/rivet-token`.\n");
	put_reload(b);
}

static void put_daemon(struct buf *b)
{
	put_heading(b, "rivet-runnerd", "turns any program that speaks HTTP into a durable Rivet actor");
	buf_add_str(
	    b, "# SYNOPSIS\n\n**rivet-runnerd** [*OPTIONS*] [**--** *COMMAND* [*ARG*...]]\n\n# DESCRIPTION\n\n"
	       "Runs actors: long-lived units with an address and state of their own, each served by a process in any "
	       "language that answers HTTP on a Unix socket. Without an engine (the default) the daemon keeps their "
	       "state under its data directory and serves the API and gateway of a Rivet Engine on one port. With "
	       "`RIVET_ENGINE` it registers with an engine as a runner and serves the actors it is given.\n\n"
	       "How a program becomes an actor is in rivet-worker(7), the configuration file in "
	       "rivet-runnerd.json(5).\n\n# OPTIONS\n\n"
	       "An option wins over its environment variable, that over the key in the file, that over the "
	       "default.\n\n");
	put_options(b);
	buf_add_str(b, "# SIGNALS\n\nTERM, INT\n: stop cleanly: no new work, requests end, actors stop, within "
		       "`drain_timeout`; a second one kills the workers and exits with 1\n\nHUP\n: read the "
		       "configuration again and reopen the log file\n\n# EXIT STATUS\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(exit_codes); i++)
		buf_addf(b, "%d\n: %s\n\n", exit_codes[i].code, exit_codes[i].meaning);
	buf_add_str(
	    b, "# FILES\n\n/etc/rivet-runnerd/rivet-runnerd.json\n: the configuration\n\n/var/lib/rivet-runnerd\n: "
	       "everything durable, and a lock: one daemon at a time\n\n/run/rivet-runnerd\n: sockets, "
	       "control.sock among them\n\n# EXAMPLE\n\n"
	       "    rivet-runnerd --foreground --actor counter -- python3 counter.py\n\n"
	       "# SEE ALSO\n\nrivet-runnerctl(1), rivet-runnerd.json(5), rivet-worker(7)\n");
}

static void put_ctl(struct buf *b)
{
	put_heading(b, "rivet-runnerctl", "look at and command a running rivet-runnerd");
	buf_add_str(b,
		    "# SYNOPSIS\n\n**rivet-runnerctl** [**--runtime-dir** *DIR*] [**--json**] *COMMAND* "
		    "[*ARGUMENT*...]\n\n# DESCRIPTION\n\nTalks to the daemon's control socket, which only the daemon's "
		    "user and root may open. Tables and text are for people; **--json** prints what the daemon said, "
		    "for scripts.\n\n# COMMANDS\n\n");
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
		buf_addf(b, "**%s**%s%s\n: %s\n\n", c->name, *c->arguments == '\0' ? "" : " ", c->arguments, c->prose);
	buf_add_str(
	    b, "# OPTIONS\n\n**--runtime-dir** *DIR*\n: the daemon's runtime directory, when it is not where the "
	       "daemon itself would look\n\n**--json**\n: the daemon's JSON instead of tables and text\n\n"
	       "# EXIT STATUS\n\n0\n: done\n\n1\n: failed; the reason is on standard error\n\n64\n: usage\n\n69\n: no "
	       "daemon there\n\n# SEE ALSO\n\nrivet-runnerd(8)\n");
}

static void put_file(struct buf *b)
{
	put_heading(b, "rivet-runnerd.json", "configuration of rivet-runnerd");
	buf_add_str(
	    b, "# DESCRIPTION\n\nOne JSON object. A dotted key below is a member of an object: `log.level` is "
	       "`{\"log\": {\"level\": ...}}`. Times are texts with a unit (`250ms`, `30s`, `5min`, `1h`), sizes "
	       "too (`64K`, `256M`, `2G`). A line that begins with `//` is a comment. An unknown key is an error "
	       "that names it, its line and the nearest known name. `rivet-runnerd --check-config` judges the file "
	       "and prints what would be in force.\n\n# DAEMON\n\n");
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		buf_addf(b, "**%s**\n: %s", row->key, row->prose);
		if (row->preset != NULL && *row->preset != '\0')
			buf_addf(b, ". Default `%s`", row->preset);
		buf_add_str(b, "\n\n");
	}
	buf_add_str(b,
		    "# ACTOR TYPES\n\nThe object `actors` has a member for each actor type, named like it, with these "
		    "settings:\n\n");
	config_actor_list(b);
	buf_add_str(b, "# SEE ALSO\n\nrivet-runnerd(8), rivet-worker(7)\n");
}

/* ---- completions ---- */

static void put_words(struct buf *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(own_options); i++)
		buf_addf(b, " --%s", own_options[i].option);
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		if (config_rows[i].option != NULL)
			buf_addf(b, " --%s", config_rows[i].option);
	}
}

static void put_commands(struct buf *b)
{
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++)
		buf_addf(b, " %s", c->name);
}

static void put_bash(struct buf *b)
{
	buf_add_str(b,
		    "# bash completion for rivet-runnerd and rivet-runnerctl\n\n_rivet_runnerd() {\n"
		    "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n\tcase $before in\n"
		    "\t--config|-c|--log-file|--engine-ca) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
		    "\t--data-dir|-d|--runtime-dir) COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
		    "\t--log-level) COMPREPLY=($(compgen -W 'error warn info debug trace' -- \"$word\")); return ;;\n"
		    "\t--log-format) COMPREPLY=($(compgen -W 'auto text logfmt json' -- \"$word\")); return ;;\n"
		    "\t--auth) COMPREPLY=($(compgen -W 'auto none' -- \"$word\")); return ;;\n"
		    "\t--) COMPREPLY=($(compgen -c -- \"$word\")); return ;;\n\tesac\n\tCOMPREPLY=($(compgen -W '");
	put_words(b);
	buf_add_str(
	    b, " --' -- \"$word\"))\n}\n\n_rivet_runnerctl() {\n"
	       "\tlocal word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n\tcase $before in\n"
	       "\t--runtime-dir) COMPREPLY=($(compgen -d -- \"$word\")); return ;;\n"
	       "\tbackup) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
	       "\tactor|wake|sleep|restart|destroy|kv|--actor)\n"
	       "\t\tCOMPREPLY=($(compgen -W \"$(rivet-runnerctl actors 2>/dev/null | awk 'NR > 1 { print $1 }')\" -- "
	       "\"$word\")); return ;;\n\tesac\n\tCOMPREPLY=($(compgen -W '");
	put_commands(b);
	buf_add_str(b, " --json --runtime-dir --help --version' -- \"$word\"))\n}\n\n"
		       "complete -F _rivet_runnerd rivet-runnerd\ncomplete -F _rivet_runnerctl rivet-runnerctl\n");
}

/* Inside single quotes of zsh's _arguments and fish. */
static void put_plain(struct buf *b, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s != '\'' && *s != '[' && *s != ']' && *s != '`' && *s != '\\')
			buf_add_byte(b, *s == ':' ? ';' : (uint8_t)*s);
	}
}

static void put_zsh_option(struct buf *b, const char *option, const char *argument, const char *prose)
{
	buf_addf(b, "\t'--%s%s[", option, argument == NULL ? "" : "=");
	put_plain(b, prose);
	buf_addf(b, "]%s%s%s' \\\n", argument == NULL ? "" : ":", argument == NULL ? "" : argument,
		 argument == NULL                   ? ""
		 : strstr(argument, "FILE") != NULL ? ":_files"
		 : strstr(argument, "DIR") != NULL  ? ":_files -/"
						    : ": ");
}

static void put_zsh(struct buf *b)
{
	buf_add_str(b, "#compdef rivet-runnerd rivet-runnerctl\n\nif [[ $service == rivet-runnerctl ]]; then\n"
		       "\tlocal -a commands\n\tcommands=(\n");
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		buf_addf(b, "\t\t'%s:", c->name);
		put_plain(b, c->prose);
		buf_add_str(b, "'\n");
	}
	buf_add_str(b, "\t)\n\t_arguments '--json[print JSON]' '--runtime-dir=[runtime directory]:DIR:_files -/' \\\n"
		       "\t\t'1: :{_describe command commands}' '*: :_files'\n\treturn\nfi\n\n_arguments -s \\\n");
	for (size_t i = 0; i < ARRAY_SIZE(own_options); i++)
		put_zsh_option(b, own_options[i].option, own_options[i].argument, own_options[i].prose);
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		if (config_rows[i].option != NULL)
			put_zsh_option(b, config_rows[i].option, config_rows[i].argument, config_rows[i].prose);
	}
	buf_add_str(b, "\t'*::command:_normal'\n");
}

static void put_fish_option(struct buf *b, const char *option, char letter, const char *argument, const char *prose)
{
	buf_addf(b, "complete -c rivet-runnerd -l %s", option);
	if (letter != 0)
		buf_addf(b, " -s %c", letter);
	buf_addf(b, "%s -d '", argument == NULL ? "" : " -r");
	put_plain(b, prose);
	buf_add_str(b, "'\n");
}

static void put_fish(struct buf *b)
{
	buf_add_str(b, "# fish completion for rivet-runnerd and rivet-runnerctl\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(own_options); i++)
		put_fish_option(b, own_options[i].option, own_options[i].letter, own_options[i].argument,
				own_options[i].prose);
	for (size_t i = 0; i < CONFIG_COUNT; i++) {
		const struct config_row *row = &config_rows[i];
		if (row->option != NULL)
			put_fish_option(b, row->option, row->letter, row->argument, row->prose);
	}
	buf_add_str(b, "\ncomplete -c rivet-runnerctl -f\ncomplete -c rivet-runnerctl -l json -d 'print JSON'\n"
		       "complete -c rivet-runnerctl -l runtime-dir -r -d 'runtime directory'\n");
	for (const struct ctl_command *c = ctl_commands; c->name != NULL; c++) {
		buf_addf(b, "complete -c rivet-runnerctl -n __fish_use_subcommand -a %s -d '", c->name);
		put_plain(b, c->prose);
		buf_add_str(b, "'\n");
	}
}

static const struct {
	const char *name;
	void (*put)(struct buf *b);
} pages[] = {
    {"CONFIGURATION.md", put_configuration},
    {"rivet-runnerd.8", put_daemon},
    {"rivet-runnerctl.1", put_ctl},
    {"rivet-runnerd.json.5", put_file},
    {"bash", put_bash},
    {"zsh", put_zsh},
    {"fish", put_fish},
};

int main(int argc, char **argv)
{
	struct buf b;
	buf_init(&b, PAGE_MAX);
	for (size_t i = 0; argc == 2 && i < ARRAY_SIZE(pages); i++) {
		if (strcmp(argv[1], pages[i].name) == 0)
			pages[i].put(&b);
	}
	struct slice s = buf_slice(&b);
	bool ok = s.n > 0 && !b.over && fwrite(s.p, 1, s.n, stdout) == s.n && fflush(stdout) == 0;
	if (s.n == 0)
		fprintf(stderr, "generate: say which page; see the head of docs/generate.c\n");
	buf_done(&b);
	return ok ? 0 : 1;
}
