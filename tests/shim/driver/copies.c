/* copies.c: rectangles of all kinds, whose expected content the host computes. */
#include "driver.h"

#define AREA (6u << 20)

static unsigned char *here, *there, *back;
static CUdeviceptr d, e;

static void fill(unsigned char *bytes, unsigned seed) {
  for (size_t i = 0; i < AREA; i++) bytes[i] = (unsigned char)((i * 2654435761u + seed) >> 13);
}

typedef struct shape {
  size_t width, rows, to_pitch, from_pitch, to_x, to_y, from_x, from_y;
} shape;

/* What a copy of this shape does, by definition. */
static void model(unsigned char *to, const unsigned char *from, const shape *s) {
  for (size_t row = 0; row < s->rows; row++)
    memcpy(to + (s->to_y + row) * s->to_pitch + s->to_x,
           from + (s->from_y + row) * s->from_pitch + s->from_x, s->width);
}

static CUDA_MEMCPY2D two_d(const shape *s) {
  return (CUDA_MEMCPY2D){.WidthInBytes = s->width,
                         .Height = s->rows,
                         .dstPitch = s->to_pitch,
                         .srcPitch = s->from_pitch,
                         .dstXInBytes = s->to_x,
                         .dstY = s->to_y,
                         .srcXInBytes = s->from_x,
                         .srcY = s->from_y};
}

static void check_in(const shape *s, const unsigned char *from, CUmemorytype to_type,
                     CUmemorytype from_type) {
  CUDA_MEMCPY2D c = two_d(s);
  OK(cuMemsetD8_v2(d, 0xAA, AREA));
  c.dstMemoryType = to_type, c.dstDevice = d;
  c.srcMemoryType = from_type;
  c.srcHost = from_type == CU_MEMORYTYPE_HOST ? from : NULL;
  c.srcDevice = from_type == CU_MEMORYTYPE_HOST ? 0 : (CUdeviceptr)(uintptr_t)from;
  OK(cuMemcpy2D_v2(&c));
  OK(cuMemcpyDtoH_v2(back, d, AREA));
  memset(there, 0xAA, AREA);
  model(there, from, s);
  EXPECT(!memcmp(there, back, AREA));
}

static void check_out(const shape *s, unsigned char *to, CUstream stream) {
  CUDA_MEMCPY2D c = two_d(s);
  OK(cuMemcpyHtoD_v2(d, here, AREA));
  memset(to, 0x55, AREA);
  memset(there, 0x55, AREA);
  c.dstMemoryType = CU_MEMORYTYPE_HOST, c.dstHost = to;
  c.srcMemoryType = CU_MEMORYTYPE_DEVICE, c.srcDevice = d;
  if (stream) {
    OK(cuMemcpy2DAsync_v2(&c, stream));
    OK(cuStreamSynchronize(stream));
  } else {
    OK(cuMemcpy2D_v2(&c));
  }
  model(there, here, s);
  EXPECT(!memcmp(there, to, AREA));
}

static void check_across(const shape *s) {
  CUDA_MEMCPY2D c = two_d(s);
  OK(cuMemcpyHtoD_v2(d, here, AREA));
  OK(cuMemsetD8_v2(e, 0x11, AREA));
  c.dstMemoryType = CU_MEMORYTYPE_DEVICE, c.dstDevice = e;
  c.srcMemoryType = CU_MEMORYTYPE_DEVICE, c.srcDevice = d;
  OK(cuMemcpy2D_v2(&c));
  OK(cuMemcpyDtoH_v2(back, e, AREA));
  memset(there, 0x11, AREA);
  model(there, here, s);
  EXPECT(!memcmp(there, back, AREA));
}

static const shape shapes[] = {
    {100, 1, 100, 100, 0, 0, 0, 0},
    {7, 13, 64, 7, 3, 2, 0, 1},
    {1000, 1000, 1024, 1000, 0, 0, 0, 0},
    {1000, 1000, 1000, 2048, 0, 0, 17, 3},
    {1200, 40, 1536, 1300, 100, 1, 50, 2},
    {1500000, 3, 1600000, 1500000, 1, 0, 0, 0}, /* a row longer than one bulk message */
    {33000, 2, 33000, 40000, 0, 5, 11, 0},
};

static void rectangles(unsigned char *pinned) {
  CUstream stream;
  OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    fill(here, (unsigned)i);
    memcpy(pinned, here, AREA);
    check_in(&shapes[i], here, CU_MEMORYTYPE_DEVICE, CU_MEMORYTYPE_HOST);
    check_in(&shapes[i], pinned, CU_MEMORYTYPE_UNIFIED, CU_MEMORYTYPE_UNIFIED);
    check_out(&shapes[i], back, NULL);
    check_out(&shapes[i], back, stream);
    check_out(&shapes[i], pinned, stream);
    check_across(&shapes[i]);
  }
  OK(cuStreamDestroy_v2(stream));
}

static void boxes(void) {
  CUDA_MEMCPY3D c = {.WidthInBytes = 50, .Height = 6, .Depth = 4};
  fill(here, 99);
  OK(cuMemsetD8_v2(d, 0, AREA));
  c.srcMemoryType = CU_MEMORYTYPE_HOST, c.srcHost = here;
  c.srcPitch = 64, c.srcHeight = 10, c.srcXInBytes = 5, c.srcY = 2, c.srcZ = 1;
  c.dstMemoryType = CU_MEMORYTYPE_DEVICE, c.dstDevice = d;
  c.dstPitch = 128, c.dstHeight = 7, c.dstXInBytes = 9, c.dstY = 1, c.dstZ = 3;
  OK(cuMemcpy3D_v2(&c));
  OK(cuMemcpyDtoH_v2(back, d, AREA));
  memset(there, 0, AREA);
  for (size_t z = 0; z < 4; z++)
    for (size_t y = 0; y < 6; y++)
      memcpy(there + (z + 3) * 128 * 7 + (y + 1) * 128 + 9,
             here + (z + 1) * 64 * 10 + (y + 2) * 64 + 5, 50);
  EXPECT(!memcmp(there, back, AREA));
}

/* cuMemcpy finds out what its addresses are. */
static void any_pointer(unsigned char *pinned) {
  CUdeviceptr h = (CUdeviceptr)(uintptr_t)here, b = (CUdeviceptr)(uintptr_t)back;
  CUdeviceptr p = (CUdeviceptr)(uintptr_t)pinned;
  fill(here, 5);
  OK(cuMemcpy(d, h, AREA));
  OK(cuMemcpy(e, d, AREA));
  OK(cuMemcpyAsync(p, e, AREA, NULL));
  OK(cuCtxSynchronize());
  EXPECT(!memcmp(pinned, here, AREA));
  memset(back, 0, AREA);
  OK(cuMemcpy(b, p, AREA));
  EXPECT(!memcmp(back, here, AREA));
  OK(cuMemcpyDtoD_v2(d, e + 1, AREA - 1));
  OK(cuMemcpyDtoH_v2(back, d, AREA - 1));
  EXPECT(!memcmp(back, here + 1, AREA - 1));
}

static void sizes(void) {
  static const size_t list[] = {0,       1,        7,        4096,     32767,
                                32768,   32769,    1000003,  1u << 20, (1u << 20) + 1,
                                2097152, 5u << 20, AREA - 1, AREA};
  for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
    fill(here, (unsigned)i + 40);
    OK(cuMemcpyHtoD_v2(d, here, list[i]));
    memset(back, 0, AREA);
    OK(cuMemcpyDtoH_v2(back, d, list[i]));
    EXPECT(!memcmp(back, here, list[i]));
    EXPECT(list[i] == AREA || !back[list[i]]);
  }
}

/* The source may change as soon as a copy from pageable memory has returned. */
static void pageable_is_consumed(CUstream stream) {
  for (int i = 0; i < 20; i++) {
    memset(here, i, 1 << 20);
    OK(cuMemcpyHtoDAsync_v2(d + ((size_t)i << 18), here, 1 << 18, stream));
    memset(here, 0xEE, 1 << 20);
  }
  OK(cuMemcpyDtoHAsync_v2(back, d, 20 << 18, stream)); /* pageable: complete when it returns */
  for (size_t i = 0; i < 20u << 18; i++) EXPECT(back[i] == i >> 18);
}

static void refusals(void) {
  CUDA_MEMCPY2D c = {.WidthInBytes = 64, .Height = 2, .srcPitch = 32, .dstPitch = 64};
  c.srcMemoryType = CU_MEMORYTYPE_HOST, c.srcHost = here;
  c.dstMemoryType = CU_MEMORYTYPE_DEVICE, c.dstDevice = d;
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(&c));
  c.srcPitch = 64, c.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  GIVES(CUDA_ERROR_NOT_SUPPORTED, cuMemcpy2D_v2(&c));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpy2D_v2(NULL));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyHtoD_v2(d, NULL, 4));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(NULL, d, 4));
  GIVES(CUDA_ERROR_INVALID_VALUE, cuMemcpyDtoH_v2(back, d + 16 * (size_t)AREA, 4));
  OK(cuMemcpyHtoD_v2(d + 16 * (size_t)AREA, here, 4)); /* posted: the next wait tells */
  GIVES(CUDA_ERROR_INVALID_VALUE, cuCtxSynchronize());
  OK(cuCtxSynchronize());
}

int main(void) {
  void *pinned;
  CUstream stream;
  start();
  here = malloc(AREA), there = malloc(AREA), back = malloc(AREA);
  OK(cuMemAlloc_v2(&d, AREA));
  OK(cuMemAlloc_v2(&e, AREA));
  OK(cuMemHostAlloc(&pinned, AREA, 0));
  OK(cuStreamCreate(&stream, 0));
  sizes();
  rectangles(pinned);
  boxes();
  any_pointer(pinned);
  pageable_is_consumed(stream);
  refusals();
  OK(cuMemFreeHost(pinned));
  puts("copies: done");
  return 0;
}
