/* image.h: how large a module image is. Load calls carry no size: it is in the ELF header's
 * tables, in the fatbin's header, or PTX text ends with a NUL.
 * Must not know: the channel. */
#ifndef REMORA_SHIM_IMAGE_H
#define REMORA_SHIM_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "../generated/cuda_abi.h"

typedef struct rm_image {
  const void *bytes;
  size_t size;
  bool linked;  /* fatbins of a relocatable link, one after another */
  bool wrapped; /* it came in the wrapper that nvcc's code registers with the CUDA runtime */
  void *owned;  /* freed by rm_image_free: pieces that had to be put together */
} rm_image;

/* Finds what the pointer leads to: ELF, fatbin, PTX, or a wrapper around fatbins (those of a
 * relocatable link follow one another in the image). limit: bytes that are there, SIZE_MAX where
 * the caller can't tell. CUDA_ERROR_INVALID_IMAGE for anything else, or if it is cut short. */
CUresult rm_image_of(const void *pointer, size_t limit, rm_image *image);
/* Reads a file. CUDA_ERROR_FILE_NOT_FOUND if there is none. */
CUresult rm_image_from_file(const char *path, rm_image *image);
void rm_image_free(rm_image *image);

#endif
