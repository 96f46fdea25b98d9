/* Where each member of a JSON text stands, for error messages with a line. */
#pragma once

#include "base/buf.h"

struct config_lines;

/* Turns each line that begins with // (after blanks) into blanks, so that a strict reader takes the rest and still
 * tells true lines and columns. No JSON text can hold such a line itself: a string ends before its line does. */
void config_lines_blank_comments(char *text);

/* Walks a text that is already known to be valid JSON. */
struct config_lines *config_lines_new(struct slice text);
void config_lines_free(struct config_lines *l);

/* Line of the member with this dotted path ("actors.counter.command"), of the nearest one around it when it was not
 * noted (an element of an array), or 0. l may be NULL. */
unsigned config_lines_get(const struct config_lines *l, const char *path);
