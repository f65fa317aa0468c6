/* md2.h: the MD2 digest (RFC 1319) and HMAC over it (RFC 2104), which CUDA's runtime uses to check
 * the driver library it talks to. Not for security. */
#ifndef REMORA_SHIM_MD2_H
#define REMORA_SHIM_MD2_H

#include <stddef.h>
#include <stdint.h>

void rm_md2(const void *bytes, size_t n, uint8_t digest[16]);
/* Key of 16 bytes, which is MD2's block. n is at most RM_HMAC_MD2_MAX. */
#define RM_HMAC_MD2_MAX 2048
void rm_hmac_md2(const uint8_t key[16], const void *bytes, size_t n, uint8_t digest[16]);

#endif
