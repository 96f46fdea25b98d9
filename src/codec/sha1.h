/* SHA-1 (FIPS 180-4), for the WebSocket handshake alone: no security rests on it. */
#pragma once

#include "base/slice.h"

#define SHA1_BYTES 20

/* The digest of a and b, one behind the other. */
void sha1_of(struct slice a, struct slice b, uint8_t ret[SHA1_BYTES]);
