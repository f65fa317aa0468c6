/* blake2b.h: BLAKE2b-256 (RFC 7693), the name of an image's content. */
#ifndef REMORA_SHIM_BLAKE2B_H
#define REMORA_SHIM_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

/* Unkeyed, 32-byte digest, as four little-endian words. */
void rm_blake2b_256(const void *bytes, size_t n, uint64_t digest[4]);

#endif
