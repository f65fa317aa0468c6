/* Module images as programs hand them over: found, measured and, where there are several, put in
   the one form that is hashed and sent to the compile service (kernel_abi.h, part 2). */
#ifndef SG_IMAGE_H
#define SG_IMAGE_H
#include "cuda_types.h"

typedef struct sg_image {
  const uint8_t *data;
  size_t bytes;
  void *owned;  /* to be freed, NULL when data is the program's own */
  bool wrapped; /* it came in the wrapper that nvcc's code registers with the CUDA runtime */
} sg_image;

/* CUDA_ERROR_INVALID_IMAGE when it is none of PTX, fatbin, ELF, or a wrapper of these. */
CUresult sg_image_find(const void *image, sg_image *found);
/* Bytes of the fatbin that begins here and ends before `bytes`; 0: there is none. */
size_t sg_fatbin_at(const void *data, size_t bytes);
/* Several images (with their sizes) as one. */
CUresult sg_image_link(const sg_image *parts, size_t count, sg_image *linked);
void sg_image_release(sg_image *image);
#endif
