/* The cuLink* family: what is added is kept, and given out again as one image that the compile
   service links when it is loaded (kernel_abi.h, "Images"). Only PTX can be linked. */
#include "handle.h"
#include "device.h"
#include "program.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PARTS = 256 };

typedef struct link_state {
  sg_object object;
  sg_jit_log log;
  sg_image *parts; /* each owns its bytes */
  size_t count;
  sg_image result;
} link_state;

static CUresult find(CUlinkState handle, link_state **state) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *state = sg_object_get(handle, SG_LINK);
  return *state ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult sg_cuLinkCreate(unsigned int count, CUjit_option *options, void **values,
                         CUlinkState *handle) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!handle) return CUDA_ERROR_INVALID_VALUE;
  link_state *s = sg_object_new(SG_LINK, sizeof *s);
  if (!s) return CUDA_ERROR_OUT_OF_MEMORY;
  s->parts = calloc(MAX_PARTS, sizeof *s->parts);
  if (!s->parts) {
    sg_object_free(s);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  sg_jit_log_open(&s->log, count, options, values);
  *handle = (CUlinkState)s;
  return CUDA_SUCCESS;
}

CUresult sg_cuLinkDestroy(CUlinkState handle) {
  link_state *s;
  CUresult r = find(handle, &s);
  if (r != CUDA_SUCCESS) return r;
  for (size_t i = 0; i < s->count; i++) sg_image_release(&s->parts[i]);
  sg_image_release(&s->result);
  free(s->parts);
  sg_object_free(s);
  return CUDA_SUCCESS;
}

static CUresult refuse(link_state *s) {
  sg_jit_log_error(&s->log, CUDA_ERROR_NO_BINARY_FOR_GPU,
                   "the software GPU links PTX, and fatbins, objects and libraries that hold PTX");
  return CUDA_ERROR_NO_BINARY_FOR_GPU;
}

static CUresult keep(link_state *s, const void *data, size_t bytes) {
  if (s->count == MAX_PARTS) return CUDA_ERROR_INVALID_VALUE;
  sg_image part = {.bytes = bytes, .owned = malloc(bytes + 1)};
  if (!part.owned) return CUDA_ERROR_OUT_OF_MEMORY;
  part.data = memcpy(part.owned, data, bytes);
  s->parts[s->count++] = part;
  return CUDA_SUCCESS;
}

/* The fatbins in a host object file, or in an archive of such, wherever they lie. A library without
   PTX is left out: the device runtime, whose functions the translator knows. */
static CUresult keep_fatbins(link_state *s, const char *data, size_t bytes) {
  for (size_t at = 0; at < bytes;) {
    size_t size = sg_fatbin_at(data + at, bytes - at);
    CUresult r = size ? keep(s, data + at, size) : CUDA_SUCCESS;
    if (r != CUDA_SUCCESS) return r;
    at += size ? size : 2; /* an archive's members begin at even places */
  }
  return CUDA_SUCCESS;
}

CUresult sg_cuLinkAddData(CUlinkState handle, CUjitInputType type, void *data, size_t bytes,
                          const char *name, unsigned int count, CUjit_option *options,
                          void **values) {
  link_state *s;
  (void)name, (void)count, (void)options, (void)values;
  CUresult r = find(handle, &s);
  if (r != CUDA_SUCCESS) return r;
  if (!data || !bytes || s->result.data) return CUDA_ERROR_INVALID_VALUE;
  switch (type) {
  case CU_JIT_INPUT_PTX: return keep(s, data, strnlen(data, bytes));
  case CU_JIT_INPUT_FATBINARY: return keep(s, data, bytes);
  case CU_JIT_INPUT_OBJECT:
  case CU_JIT_INPUT_LIBRARY: return keep_fatbins(s, data, bytes);
  default: return refuse(s);
  }
}

CUresult sg_cuLinkAddFile(CUlinkState handle, CUjitInputType type, const char *path,
                          unsigned int count, CUjit_option *options, void **values) {
  FILE *f = path ? fopen(path, "rbe") : NULL;
  if (!f) return path ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
  fseek(f, 0, SEEK_END);
  long bytes = ftell(f);
  rewind(f);
  char *data = bytes > 0 ? malloc((size_t)bytes) : NULL;
  CUresult r = CUDA_ERROR_INVALID_IMAGE;
  if (data && fread(data, 1, (size_t)bytes, f) == (size_t)bytes)
    r = sg_cuLinkAddData(handle, type, data, (size_t)bytes, path, count, options, values);
  free(data);
  fclose(f);
  return r;
}

/* Describes the whole at once, so that what can't be linked is said here. */
CUresult sg_cuLinkComplete(CUlinkState handle, void **image, size_t *bytes) {
  link_state *s;
  sg_program *program;
  CUresult r = find(handle, &s);
  if (r != CUDA_SUCCESS) return r;
  if (!image || !s->count || s->result.data) return CUDA_ERROR_INVALID_VALUE;
  r = sg_image_link(s->parts, s->count, &s->result);
  if (r == CUDA_SUCCESS) r = sg_program_load(&s->result, &s->log, &program);
  if (r != CUDA_SUCCESS) return r;
  sg_program_drop(program);
  *image = s->result.owned;
  if (bytes) *bytes = s->result.bytes;
  return CUDA_SUCCESS;
}
