/* Where the log goes: a file, or what started us, or the system's log when
 * detached. */
#pragma once

#include "app/config.h"

struct log_target {
	int fd; /* of the file; -1: standard error, or none is needed */
	enum log_format format;
};

/* Opens what the configuration asks for; the log is not touched. 0, or -errno with a sentence and exit code 78: the
 * file cannot be opened, or detached there is nowhere to write. */
int log_target_open(const struct config *c, struct log_target *ret, struct err *e);
/* The log goes to `next` from now on, with this level; what `t` had open is closed. Takes next's descriptor. */
void log_target_use(struct log_target *t, const struct log_target *next, enum log_level level);
void log_target_close(struct log_target *t);
