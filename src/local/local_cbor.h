/* Is this CBOR? What an actor's input has to be before it is kept. */
#pragma once

#include "base/slice.h"

/* True when s is exactly one well-formed data item (RFC 8949 appendix C), nested at most LIMIT_JSON_DEPTH deep. */
bool local_cbor_is_one(struct slice s);
