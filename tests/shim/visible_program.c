/* Applies CUDA_VISIBLE_DEVICES to three devices and prints the ordinals that remain. */
#include <stdio.h>
#include <stdlib.h>

#include "shim/runtime/attach.h"

int main(void) {
  static rm_device devices[3];
  uint32_t indices[64];
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 16; j++)
      devices[i].uuid[j] = (uint8_t)(j == 15 ? i : j < 2 && i == 2 ? 0xee : 0xa0 + j);
  uint32_t n = rm_visible_devices(getenv("CUDA_VISIBLE_DEVICES"), devices, 3, indices);
  for (uint32_t i = 0; i < n; i++) printf("%s%u", i ? " " : "", indices[i]);
  return 0;
}
