/* hold.c: works until its session ends, and says how that looked. */
#include <unistd.h>

#include "driver.h"

int main(void) {
  CUdeviceptr d;
  CUresult status = CUDA_SUCCESS;
  start();
  OK(cuMemAlloc_v2(&d, 1 << 20));
  puts("ready");
  fflush(stdout);
  while (!status) {
    status = cuMemsetD8Async(d, 1, 100, NULL);
    if (!status) status = cuCtxSynchronize();
    usleep(1000);
  }
  printf("ended %d\n", status);
  printf("then %d\n", cuMemAlloc_v2(&d, 16));
  return 0;
}
