/* asks.c: one call that a server answers as it likes. */
#include "driver.h"

int main(void) {
  CUdeviceptr d;
  start();
  int first = cuMemAlloc_v2(&d, 4096);
  printf("asked %d, then %d\n", first, cuCtxSynchronize());
  return 0;
}
