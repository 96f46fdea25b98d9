/* A fuzzer is one function; libFuzzer or replay.c calls it. It aborts (CHECK) when its property does not hold. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
