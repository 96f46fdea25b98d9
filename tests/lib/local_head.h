/* A request head from its text, as the parser gives it. */
#pragma once

#include "codec/http_head.h"

/* The lines end with "\n" here; the empty line is added. The caller frees with mem_free. Fails the test when the head
 * is refused. */
struct http_head *local_head(const char *text);
