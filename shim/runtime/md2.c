/* md2.c: MD2 after RFC 1319, whose S table is made from the digits of pi. */
#include <string.h>

#include "md2.h"

static const uint8_t S[256] = {
    41,  46,  67,  201, 162, 216, 124, 1,   61,  54,  84,  161, 236, 240, 6,   19,  98,  167, 5,
    243, 192, 199, 115, 140, 152, 147, 43,  217, 188, 76,  130, 202, 30,  155, 87,  60,  253, 212,
    224, 22,  103, 66,  111, 24,  138, 23,  229, 18,  190, 78,  196, 214, 218, 158, 222, 73,  160,
    251, 245, 142, 187, 47,  238, 122, 169, 104, 121, 145, 21,  178, 7,   63,  148, 194, 16,  137,
    11,  34,  95,  33,  128, 127, 93,  154, 90,  144, 50,  39,  53,  62,  204, 231, 191, 247, 151,
    3,   255, 25,  48,  179, 72,  165, 181, 209, 215, 94,  146, 42,  172, 86,  170, 198, 79,  184,
    56,  210, 150, 164, 125, 182, 118, 252, 107, 226, 156, 116, 4,   241, 69,  157, 112, 89,  100,
    113, 135, 32,  134, 91,  207, 101, 230, 45,  168, 2,   27,  96,  37,  173, 174, 176, 185, 246,
    28,  70,  97,  105, 52,  64,  126, 15,  85,  71,  163, 35,  221, 81,  175, 58,  195, 92,  249,
    206, 186, 197, 234, 38,  44,  83,  13,  110, 133, 40,  132, 9,   211, 223, 205, 244, 65,  129,
    77,  82,  106, 220, 55,  200, 108, 193, 171, 250, 36,  225, 123, 8,   12,  189, 177, 74,  120,
    136, 149, 139, 227, 99,  232, 109, 233, 203, 213, 254, 59,  0,   29,  57,  242, 239, 183, 14,
    102, 88,  208, 228, 166, 119, 114, 248, 235, 117, 75,  10,  49,  68,  80,  180, 143, 237, 31,
    26,  219, 153, 141, 51,  159, 17,  131, 20,
};

typedef struct md2 {
  uint8_t x[48], checksum[16];
} md2;

static void mix(md2 *m, const uint8_t block[16]) {
  uint8_t t = 0;
  for (int j = 0; j < 16; j++) {
    m->x[16 + j] = block[j];
    m->x[32 + j] = m->x[16 + j] ^ m->x[j];
  }
  for (int round = 0; round < 18; round++) {
    for (int j = 0; j < 48; j++) t = m->x[j] ^= S[t];
    t = (uint8_t)(t + round);
  }
}

static void take(md2 *m, const uint8_t block[16]) {
  uint8_t last = m->checksum[15];
  for (int j = 0; j < 16; j++) last = m->checksum[j] ^= S[block[j] ^ last];
  mix(m, block);
}

void rm_md2(const void *bytes, size_t n, uint8_t digest[16]) {
  const uint8_t *at = bytes;
  uint8_t tail[16];
  md2 m = {0};
  for (; n >= 16; at += 16, n -= 16) take(&m, at);
  memset(tail, (int)(16 - n), sizeof tail);
  memcpy(tail, at, n);
  take(&m, tail);
  memcpy(tail, m.checksum, sizeof tail);
  mix(&m, tail);
  memcpy(digest, m.x, 16);
}

void rm_hmac_md2(const uint8_t key[16], const void *bytes, size_t n, uint8_t digest[16]) {
  uint8_t inner[16 + RM_HMAC_MD2_MAX], outer[32];
  if (n > RM_HMAC_MD2_MAX) n = RM_HMAC_MD2_MAX;
  for (int i = 0; i < 16; i++) {
    inner[i] = key[i] ^ 0x36;
    outer[i] = key[i] ^ 0x5c;
  }
  memcpy(inner + 16, bytes, n);
  rm_md2(inner, 16 + n, outer + 16);
  rm_md2(outer, sizeof outer, digest);
}
