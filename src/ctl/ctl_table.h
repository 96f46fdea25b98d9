/* What a person reads: tables, "name: value" lists, log lines, times and sizes. */
#pragma once

#include "base/buf.h"

#include <jansson.h>

struct ctl_column {
	const char *title; /* NULL ends the list of columns */
	const char *key;   /* of a row's object */
	enum { CTL_TEXT, CTL_NUMBER, CTL_AGE, CTL_SIZE, CTL_TIME } kind;
};

/* Appends the array's objects as aligned columns with a head line, one line per object. CTL_AGE: the value is
 * milliseconds ago; CTL_TIME: milliseconds since 1970 (UTC). Null and absent show as "-"; control characters as "?". */
void ctl_table(struct buf *out, const json_t *rows, const struct ctl_column *columns);

/* Appends an object as lines "name: value", nested objects indented, by the order of its members. */
void ctl_list(struct buf *out, const json_t *object);

/* Appends one log record (a line of JSON, as the daemon keeps it) as a line of text; what is no record goes as it is.
 */
void ctl_log_line(struct buf *out, struct slice line);
