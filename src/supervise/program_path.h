/* Which file is meant by argv[0]. Private to supervise/. */
#pragma once

#include "supervise/proc.h"

/* Writes the path to execute into ret. argv[0] with a slash is taken as it is, relative to the worker's directory; else
 * the first executable file of that name in an absolute directory of spec->search_path. 0, or -errno and a sentence. */
#define PROGRAM_PATH_BYTES 4096
int program_path(const struct proc_spec *spec, char ret[PROGRAM_PATH_BYTES], struct err *e);
