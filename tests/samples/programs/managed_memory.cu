// Managed memory: one pointer for host and device, structures with pointers in them.
#include "sample.h"

struct List {
  int *values;
  int n;
};

__global__ void twice(List *list) {
  for (int i = threadIdx.x; i < list->n; i += blockDim.x) list->values[i] *= 2;
}

int main() {
  List *list;
  CHECK(cudaMallocManaged(&list, sizeof *list));
  list->n = 1000;
  CHECK(cudaMallocManaged(&list->values, list->n * sizeof(int)));
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < list->n; i++) list->values[i] = i + round;
    twice<<<1, 128>>>(list);
    CHECK(cudaDeviceSynchronize());
    for (int i = 0; i < list->n; i++) EXPECT(list->values[i] == 2 * (i + round));
  }
  CHECK(cudaFree(list->values));
  CHECK(cudaFree(list));
  return verdict();
}
