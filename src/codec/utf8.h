/* UTF-8, one character at a time (RFC 3629). */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Length of the well-formed character at the front of the room > 0 bytes at p, or 0. */
static inline size_t utf8_length(const uint8_t *p, size_t room)
{
	uint8_t c = p[0];
	if (c < 0x80)
		return 1;
	size_t n = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
	if (n == 0 || n > room)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	/* Neither overlong, nor half of a surrogate pair, nor beyond U+10FFFF. */
	if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
	    (c == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}
