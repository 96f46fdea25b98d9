/* Who this runner is, kept in the data directory: a random runner key, and
 * which keys another runner has taken from it lately. */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Creates and locks the data directory; the lock holds as long as the descriptor is open. 0 or -errno (exit code 73).
 */
int engine_identity_lock(const char *data_dir, int *ret_fd, struct err *e);

/* The random key of this data directory, made at the first call. The caller frees. 0 or -errno (73). */
int engine_identity_key(const char *data_dir, char **ret, struct err *e);

/* True when this key was taken by another runner less than ten minutes before now; *ret_ms: how long ago. */
bool engine_identity_evicted(const char *data_dir, const char *key, int64_t now_wall_ms, int64_t *ret_ms);

/* Remembers that it was, durably; or forgets it. 0 or -errno. */
int engine_identity_note(const char *data_dir, const char *key, int64_t now_wall_ms);
int engine_identity_forget(const char *data_dir, const char *key);
