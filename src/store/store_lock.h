/* The data directory and its lock: one daemon at a time, in either mode. */
#pragma once

#include "base/err.h"

/* Creates the directory (0700) with what is missing above it and locks it for this process; *ret is the lock's
 * descriptor, which holds it until closed. 0, or -errno with a sentence and exit code 73 (the other daemon's pid
 * named). */
int store_lock_take(const char *data_dir, int *ret, struct err *e);
