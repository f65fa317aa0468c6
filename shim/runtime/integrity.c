/* integrity.c: two constants and an HMAC-MD2. */
#include <string.h>

#include "integrity.h"
#include "md2.h"

static const uint8_t KEY[16] = {0x14, 0x6A, 0xDD, 0xAE, 0x53, 0xA9, 0xA7, 0x52,
                                0xAA, 0x08, 0x41, 0x36, 0x0B, 0xF5, 0x5A, 0x9F};

_Static_assert(sizeof(rm_integrity) == 48, "no gaps: it is hashed as it lies");
_Static_assert(sizeof(rm_integrity_device) == 28, "no gaps: it is hashed as it lies");
_Static_assert(sizeof(rm_integrity) + RM_INTEGRITY_DEVICES_MAX * sizeof(rm_integrity_device) <=
                   RM_HMAC_MD2_MAX,
               "the message fits");

void rm_integrity_answer(const rm_integrity *what, const rm_integrity_device *devices,
                         uint32_t count, uint64_t out[2]) {
  uint8_t message[RM_HMAC_MD2_MAX], digest[16];
  uint32_t kind = what->runtime_version % 10;
  if (kind < 2) {
    out[0] = kind ? 0x1841181C03CB675C : 0x3341181C03CB675C;
    out[1] = 0x8ED383AA1F4CD1E8;
    return;
  }
  memcpy(message, what, sizeof *what);
  memcpy(message + sizeof *what, devices, count * sizeof *devices);
  rm_hmac_md2(KEY, message, sizeof *what + count * sizeof *devices, digest);
  memcpy(out, digest, sizeof digest);
}
