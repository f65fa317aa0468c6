/* Functions that compiled kernels call (kernel_abi.h, part 1), and the table that finds them. */
#define _GNU_SOURCE
#include "runtime.h"
#include "fault.h"
#include "kernel_abi.h"
#include <fenv.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- arithmetic in a given rounding mode. Operands pass through volatiles so that the compiler
   leaves each operation between the two changes of mode. */

static const int modes[4] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

static float operate_f32(uint32_t operation, volatile float a, volatile float b, volatile float c) {
  switch (operation) {
  case 0: return a + b;
  case 1: return a - b;
  case 2: return a * b;
  case 3: return fmaf(a, b, c);
  case 4: return a / b;
  default: return sqrtf(a);
  }
}

static double operate_f64(uint32_t operation, volatile double a, volatile double b,
                          volatile double c) {
  switch (operation) {
  case 0: return a + b;
  case 1: return a - b;
  case 2: return a * b;
  case 3: return fma(a, b, c);
  case 4: return a / b;
  default: return sqrt(a);
  }
}

float rm_round_f32(uint32_t operation, uint32_t rounding, float a, float b, float c) {
  fesetround(modes[rounding & 3]);
  volatile float value = operate_f32(operation, a, b, c);
  fesetround(FE_TONEAREST);
  return value;
}

double rm_round_f64(uint32_t operation, uint32_t rounding, double a, double b, double c) {
  fesetround(modes[rounding & 3]);
  volatile double value = operate_f64(operation, a, b, c);
  fesetround(FE_TONEAREST);
  return value;
}

float rm_round_f64_to_f32(uint32_t rounding, double value) {
  volatile double from = value;
  fesetround(modes[rounding & 3]);
  volatile float to = (float)from;
  fesetround(FE_TONEAREST);
  return to;
}

float rm_round_i64_to_f32(uint32_t rounding, uint32_t is_signed, int64_t value) {
  volatile int64_t from = value;
  fesetround(modes[rounding & 3]);
  volatile float to = is_signed ? (float)from : (float)(uint64_t)from;
  fesetround(FE_TONEAREST);
  return to;
}

double rm_round_i64_to_f64(uint32_t rounding, uint32_t is_signed, int64_t value) {
  volatile int64_t from = value;
  fesetround(modes[rounding & 3]);
  volatile double to = is_signed ? (double)from : (double)(uint64_t)from;
  fesetround(FE_TONEAREST);
  return to;
}

/* ---- the rest */

void rm_trap(struct rm_block *block) {
  (void)block;
  sg_fault_leave(CUDA_ERROR_LAUNCH_FAILED);
}

uint64_t rm_global_timer(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The device heap: the program's own, counted against a limit so that kernels see NULL when CUDA's
   heap would be full. All devices share it. */
enum { HEAD_BYTES = 16 };
static _Atomic int64_t heap_used;
static _Atomic int64_t heap_limit = SG_HEAP_BYTES;

void sg_runtime_limit_heap(size_t bytes) {
  heap_limit = bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX;
}

void *rm_malloc(uint64_t bytes) {
  int64_t charge = (int64_t)bytes + HEAD_BYTES;
  if (bytes == 0 || bytes > (uint64_t)heap_limit) return NULL;
  if ((heap_used += charge) > heap_limit) {
    heap_used -= charge;
    return NULL;
  }
  uint64_t *p = malloc((size_t)charge);
  if (!p) return NULL;
  p[0] = (uint64_t)charge;
  return (char *)p + HEAD_BYTES;
}

void rm_free(void *memory) {
  if (!memory) return;
  uint64_t *p = (uint64_t *)((char *)memory - HEAD_BYTES);
  heap_used -= (int64_t)p[0];
  free(p);
}

/* ---- names, sorted */

extern _Float16 __truncdfhf2(double);
extern _Float16 __truncsfhf2(float);
extern float __extendhfsf2(_Float16);

typedef struct entry {
  const char *name;
  uintptr_t address;
} entry;

#define NAME(f) {#f, (uintptr_t)(f)}
static const entry entries[] = {
    NAME(__extendhfsf2),
    NAME(__truncdfhf2),
    NAME(__truncsfhf2),
    NAME(bcmp),
    NAME(ceil),
    NAME(ceilf),
    NAME(cos),
    NAME(cosf),
    NAME(exp10),
    NAME(exp10f),
    NAME(exp2),
    NAME(exp2f),
    NAME(floor),
    NAME(floorf),
    NAME(fma),
    NAME(fmaf),
    NAME(fmax),
    NAME(fmaxf),
    NAME(fmin),
    NAME(fminf),
    NAME(fmod),
    NAME(fmodf),
    NAME(ldexp),
    NAME(ldexpf),
    NAME(log2),
    NAME(log2f),
    NAME(memcmp),
    NAME(memcpy),
    NAME(memmove),
    NAME(memset),
    NAME(nearbyint),
    NAME(nearbyintf),
    NAME(pow),
    NAME(powf),
    NAME(rint),
    NAME(rintf),
    NAME(rm_assert_fail),
    NAME(rm_bar_arrive),
    NAME(rm_frame),
    NAME(rm_free),
    NAME(rm_global_timer),
    NAME(rm_malloc),
    NAME(rm_narrow),
    NAME(rm_odd_i64),
    NAME(rm_printf),
    NAME(rm_round_f32),
    NAME(rm_round_f64),
    NAME(rm_round_f64_to_f32),
    NAME(rm_round_i64_to_f32),
    NAME(rm_round_i64_to_f64),
    NAME(rm_trap),
    NAME(rm_widen),
    NAME(roundeven),
    NAME(roundevenf),
    NAME(sin),
    NAME(sincos),
    NAME(sincosf),
    NAME(sinf),
    NAME(sqrt),
    NAME(sqrtf),
    NAME(strlen),
    NAME(tan),
    NAME(tanf),
    NAME(tanh),
    NAME(tanhf),
    NAME(trunc),
    NAME(truncf),
};

uintptr_t sg_runtime_symbol(const char *name) {
  size_t low = 0, high = sizeof entries / sizeof entries[0];
  while (low < high) {
    size_t middle = (low + high) / 2;
    int order = strcmp(name, entries[middle].name);
    if (order == 0) return entries[middle].address;
    if (order < 0)
      high = middle;
    else
      low = middle + 1;
  }
  return 0;
}
