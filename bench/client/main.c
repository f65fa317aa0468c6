/* main.c: a CUDA program that measures its driver: waiting calls, posted calls, copies.
 * It takes commands on standard input and answers a line for each. */
#include "bench.h"
#include "cuda.h"
#include "measure.h"

int main(void) {
  static const bench_command commands[] = {
      {"wait", 2, measure_wait}, {"post", 3, measure_post},       {"htod", 3, measure_htod},
      {"dtoh", 3, measure_dtoh}, {"carried", 0, measure_carried},
  };
  cuda_open();
  return bench_serve(commands, sizeof commands / sizeof *commands);
}
