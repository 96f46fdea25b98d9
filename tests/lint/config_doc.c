/* Prints docs/CONFIGURATION.md from the table of settings. */
#include "app/config.h"

#include <stdio.h>

int main(void)
{
	struct buf b;
	buf_init(&b, (size_t)1024 * 1024);
	buf_add_str(
	    &b, "# Configuration\n\n"
		"*Made from the table in `src/app/config.def` by `make docs/CONFIGURATION.md`; do not edit.*\n\n"
		"A value is taken from the option, else the environment variable, else the file, else the default. An "
		"empty\n"
		"variable counts as unset. An unknown option, key or setting is an error that names it and its line.\n"
		"`rivet-runnerd --check-config` prints every value with its source, secrets masked.\n\n"
		"The file is JSON; a dotted key is a member of an object: `log.level` is `{\"log\": {\"level\": "
		"...}}`. Times are\n"
		"texts with a unit (`250ms`, `30s`, `5min`, `1h`), sizes too (`64K`, `256M`, `2G`). A line that begins "
		"with `//`\n"
		"is a comment; `conf/rivet-runnerd.json` is a sample with some.\n\n"
		"## Daemon\n\n");
	config_print_markdown(&b);
	buf_add_str(
	    &b, "\nOptions without a key: `--config FILE` (`RIVET_RUNNERD_CONFIG`), `--foreground`, `--actor NAME -- "
		"COMMAND`,\n`--pass-env NAME`, `--detach`, `--takeover`, `--check-config`, `--version`, `--help`. The "
		"token comes "
		"from\n`RIVET_TOKEN`, the token file, or `$CREDENTIALS_DIRECTORY/rivet-token`.\n");
	struct slice s = buf_slice(&b);
	bool ok = fwrite(s.p, 1, s.n, stdout) == s.n;
	buf_done(&b);
	return ok ? 0 : 1;
}
