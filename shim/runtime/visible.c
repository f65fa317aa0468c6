/* visible.c: CUDA_VISIBLE_DEVICES, which the driver library itself applies. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "attach.h"

#define NONE UINT32_MAX

/* "GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" */
static void uuid_text(const uint8_t *u, char text[41]) {
  snprintf(text, 41, "GPU-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
           u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
           u[14], u[15]);
}

static uint32_t by_uuid(const char *word, size_t n, const rm_device *devices, uint32_t count) {
  uint32_t found = NONE;
  for (uint32_t i = 0; i < count; i++) {
    char text[41];
    uuid_text(devices[i].uuid, text);
    if (n > 40 || strncasecmp(word, text, n)) continue;
    if (found != NONE) return NONE; /* ambiguous */
    found = i;
  }
  return found;
}

static uint32_t by_ordinal(const char *word, size_t n, uint32_t count) {
  uint32_t value = 0;
  if (!n || n > 9) return NONE;
  for (size_t i = 0; i < n; i++) {
    if (!isdigit((unsigned char)word[i])) return NONE;
    value = value * 10 + (uint32_t)(word[i] - '0');
  }
  return value < count ? value : NONE;
}

static uint32_t find(const char *word, size_t n, const rm_device *devices, uint32_t count) {
  if (n > 4 && !strncasecmp(word, "GPU-", 4)) return by_uuid(word, n, devices, count);
  return by_ordinal(word, n, count);
}

static bool contains(const uint32_t *indices, uint32_t n, uint32_t value) {
  for (uint32_t i = 0; i < n; i++)
    if (indices[i] == value) return true;
  return false;
}

uint32_t rm_visible_devices(const char *text, const rm_device *devices, uint32_t count,
                            uint32_t *indices) {
  uint32_t n = 0;
  if (!text) {
    for (; n < count; n++) indices[n] = n;
    return n;
  }
  while (*text) {
    text += strspn(text, " \t");
    size_t length = strcspn(text, ", \t");
    uint32_t index = find(text, length, devices, count);
    if (index == NONE || contains(indices, n, index)) break;
    indices[n++] = index;
    text += length;
    text += strspn(text, " \t");
    text += *text == ',';
  }
  return n;
}
