/* Owns a small pool of bytes from getrandom(2) for each thread. What was given
 * out is wiped, so that it cannot be read here afterwards. */
#include "base/entropy.h"

#include "base/check.h"

#include <string.h>
#include <sys/random.h>

static _Thread_local struct {
	uint8_t bytes[ENTROPY_AT_ONCE];
	size_t left; /* at the end of bytes */
} pool;

void entropy_take(void *to, size_t n)
{
	CHECK(n <= ENTROPY_AT_ONCE);
	if (n > pool.left) {
		CHECK(getrandom(pool.bytes, ENTROPY_AT_ONCE, 0) == ENTROPY_AT_ONCE);
		pool.left = ENTROPY_AT_ONCE;
	}
	uint8_t *from = pool.bytes + (ENTROPY_AT_ONCE - pool.left);
	memcpy(to, from, n);
	explicit_bzero(from, n);
	pool.left -= n;
}
