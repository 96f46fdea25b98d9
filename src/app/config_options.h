/* The command line of the daemon. */
#pragma once

#include "app/config.h"

/* What of it is no value of a row. Borrows from argv, but for pass_env. */
struct config_options {
	const char *file, *actor; /* --config, --actor; NULL: not given */
	char *const *command;     /* behind "--", or NULL */
	char **pass_env;          /* NULL-terminated, owned: config_strings_free */
	size_t n_pass_env;
};

/* Reads it into *ret, which is empty, and its values and flags into c. 0, or -EINVAL with a sentence and exit code 64.
 */
int config_options_read(struct config *c, struct config_options *ret, int argc, char *const *argv, struct err *e);
