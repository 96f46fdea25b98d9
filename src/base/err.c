/* The error sentence. */
#include "base/err.h"

#include <stdio.h>

int err_set(struct err *e, int code_errno, int exit_code, const char *fmt, ...)
{
	CHECK(code_errno > 0);
	if (e != NULL) {
		va_list ap;
		va_start(ap, fmt);
		vsnprintf(e->text, sizeof(e->text), fmt, ap);
		va_end(ap);
		e->exit_code = exit_code;
	}
	return -code_errno;
}
