/* Heap memory.
 *
 * Running out of memory ends the process with one line on stderr: every table
 * and buffer has a bound far below what a machine has, acknowledged state is on
 * disk, and a half-handled allocation failure is how state gets lost. What a
 * peer can make large goes through struct buf, whose cap is a named outcome. */
#pragma once

#include <stddef.h>

#include "base/check.h"

/* Zeroed memory of n > 0 bytes; never NULL. Free with mem_free. */
void *mem_zalloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1)));

/* Uninitialised memory of n > 0 bytes; never NULL. */
void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull, alloc_size(1)));

/* Grows or shrinks p (NULL allowed) to n > 0 bytes; never NULL. */
void *mem_realloc(void *p, size_t n) __attribute__((returns_nonnull, alloc_size(2)));

/* Copies of text; the caller owns them. mem_strdup(NULL) is NULL. */
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n) __attribute__((returns_nonnull));

/* Formatted text; the caller owns it. */
char *mem_printf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((returns_nonnull));

/* NULL allowed. */
void mem_free(void *p);

/* Frees *pp and stores NULL; for __attribute__((cleanup(mem_cleanup))). */
void mem_cleanup(void *pp);
#define MEM_AUTO __attribute__((cleanup(mem_cleanup)))

/* Moves a pointer out of a variable, leaving NULL. */
#define TAKE(p)                                \
	__extension__({                        \
		__typeof__(p) *take_ = &(p);   \
		__typeof__(p) taken_ = *take_; \
		*take_ = NULL;                 \
		taken_;                        \
	})
