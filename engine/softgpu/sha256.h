/* SHA-256 (FIPS 180-4). */
#ifndef SG_SHA256_H
#define SG_SHA256_H
#include <stddef.h>
#include <stdint.h>

typedef struct sg_sha256 {
  uint32_t state[8];
  uint64_t bytes;
  uint8_t block[64];
} sg_sha256;

void sg_sha256_start(sg_sha256 *hash);
void sg_sha256_add(sg_sha256 *hash, const void *data, size_t bytes);
void sg_sha256_end(sg_sha256 *hash, uint8_t digest[32]);
/* Lower-case, zero ended: 2 * bytes + 1 characters. */
void sg_hex(const uint8_t *data, size_t bytes, char *text);
#endif
