/* Random bytes for ids and masks, without a system call for each few of them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define ENTROPY_AT_ONCE 256 /* getrandom(2) gives that many whole and without a signal in between */

/* Fills n bytes, at most ENTROPY_AT_ONCE, from the system's random source. Each byte is given out once. The pool
 * behind it is the thread's own; a process that forks and goes on in both must not have drawn before. */
void entropy_take(void *to, size_t n);
