/* The one way this program ends by itself without a plan: a broken promise
 * of its own. The line goes to stderr raw, because the logger may be part of
 * what is broken. Workers are ended by the guardian process. */
#include "base/check.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *what)
{
	fprintf(stderr, "rivet-runnerd: internal error at %s:%d: %s; stopping, please report this\n", file, line, what);
	abort();
}
