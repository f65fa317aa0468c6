/* link.c: cuLink*, for the one case that needs no linker: a single image. It is its own result,
 * and the driver at the other end compiles it as it is loaded. Numba sends its kernels this way.
 * A second image is refused: linking is not done over the wire. */
#include <stdlib.h>
#include <string.h>

#include "modules.h"
#include "session.h"
#include "../generated/local.h"

static CUresult find(CUlinkState handle, rm_linker **link) {
  CUresult status = rm_ready();
  if (status) return status;
  *link = rm_object_get(RM_LINK, handle);
  return *link ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult rm_cuLinkCreate(unsigned int count, CUjit_option *options, void **values,
                         CUlinkState *out) {
  CUresult status = rm_ready();
  if (!status && !out) status = CUDA_ERROR_INVALID_VALUE;
  if (status) return status;
  rm_linker *link = rm_object_new(RM_LINK);
  if (!link) return CUDA_ERROR_OUT_OF_MEMORY;
  rm_jit_logs_empty(count, options, values);
  *out = (CUlinkState)link;
  return CUDA_SUCCESS;
}

CUresult rm_cuLinkDestroy(CUlinkState handle) {
  rm_linker *link;
  CUresult status = find(handle, &link);
  if (status) return status;
  free(link->owned);
  rm_object_free(link);
  return CUDA_SUCCESS;
}

/* Takes over bytes, which malloc gave. */
static CUresult add(rm_linker *link, CUjitInputType type, void *bytes, size_t size) {
  bool whole = type == CU_JIT_INPUT_PTX || type == CU_JIT_INPUT_CUBIN ||
               type == CU_JIT_INPUT_FATBINARY; /* an object file or a library is not */
  if (!whole || link->owned) {
    free(bytes);
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  link->owned = bytes;
  link->size = size;
  return CUDA_SUCCESS;
}

/* The copy ends in a NUL, which PTX needs and may come without. */
CUresult rm_cuLinkAddData(CUlinkState handle, CUjitInputType type, void *data, size_t size,
                          const char *name, unsigned int count, CUjit_option *options,
                          void **values) {
  rm_linker *link;
  (void)name, (void)count, (void)options, (void)values;
  CUresult status = find(handle, &link);
  if (!status && (!data || !size || size == SIZE_MAX)) status = CUDA_ERROR_INVALID_VALUE;
  if (status) return status;
  char *bytes = malloc(size + 1);
  if (!bytes) return CUDA_ERROR_OUT_OF_MEMORY;
  memcpy(bytes, data, size);
  bytes[size] = 0;
  return add(link, type, bytes, size + 1);
}

CUresult rm_cuLinkAddFile(CUlinkState handle, CUjitInputType type, const char *path,
                          unsigned int count, CUjit_option *options, void **values) {
  rm_linker *link;
  rm_image image;
  CUresult status = find(handle, &link);
  if (!status) status = rm_image_from_file(path, &image);
  if (status) return status;
  status =
      rm_cuLinkAddData(handle, type, (void *)image.bytes, image.size, path, count, options, values);
  rm_image_free(&image);
  return status;
}

CUresult rm_cuLinkComplete(CUlinkState handle, void **out, size_t *size) {
  rm_linker *link;
  CUresult status = find(handle, &link);
  if (!status && (!out || !link->owned)) status = CUDA_ERROR_INVALID_VALUE;
  if (status) return status;
  *out = link->owned;
  if (size) *size = link->size;
  return CUDA_SUCCESS;
}
