/* Checks that stay on in release builds: a daemon that holds other people's
 * state must stop at the first impossible thing, not carry it to the disk. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Prints one line on stderr and aborts. Never returns. */
_Noreturn void check_failed(const char *file, int line, const char *what);

/* The condition is our own promise, never something a peer can break. */
#define CHECK(cond)                                              \
	do {                                                     \
		if (__builtin_expect(!(cond), 0))                \
			check_failed(__FILE__, __LINE__, #cond); \
	} while (0)

/* A branch that cannot be taken. */
#define IMPOSSIBLE(what) check_failed(__FILE__, __LINE__, what)

/* Every struct that travels through a void pointer starts with
 * `uint32_t magic`, set to NAME_MAGIC by its constructor and to 0 by its
 * destructor. CAST checks it on the way back. */
#define CAST(type, ptr, want) ((type *)check_magic((ptr), (want), __FILE__, __LINE__))

static inline void *check_magic(void *ptr, uint32_t want, const char *file, int line)
{
	if (__builtin_expect(ptr == NULL || *(const uint32_t *)ptr != want, 0))
		check_failed(file, line, "magic");
	return ptr;
}

#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
