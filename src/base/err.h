/* Errors as values.
 *
 * A function that can fail returns int:
 *   0         done
 *   < 0       a negative errno: fatal at this level, passed up unchanged
 *   > 0       a named outcome (enum of the module): to be handled by the caller now
 *
 * struct err carries the sentence for a person where a number is not enough:
 * start-up, configuration, starting a worker. It says what failed, on what,
 * why, and what to do. */
#pragma once

#include <stdarg.h>

#include "base/check.h"

/* Exit codes of the programs, sysexits where one fits. */
enum exit_code {
	EXIT_CODE_OK = 0,
	EXIT_CODE_FAILED = 1,
	EXIT_CODE_USAGE = 64,
	EXIT_CODE_UNAVAILABLE = 69,
	EXIT_CODE_DATA_DIR = 73,
	EXIT_CODE_CONFIG = 78,
	EXIT_CODE_EVICTED = 79,
};

struct err {
	int exit_code;   /* enum exit_code; 0 until set */
	char text[1536]; /* one sentence, no newline; cut at the end when longer */
};

/* Stores the sentence (printf style) and the exit code; returns -code_errno so
 * that `return err_set(e, EINVAL, EXIT_CODE_CONFIG, "...")` reads well.
 * `e` may be NULL: then only the number is returned. */
int err_set(struct err *e, int code_errno, int exit_code, const char *fmt, ...) PRINTF_LIKE(4, 5);
