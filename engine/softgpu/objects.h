/* Loads one relocatable object file (kernel_abi.h, part 1) into memory that can be executed. */
#ifndef SG_OBJECTS_H
#define SG_OBJECTS_H
#include "cuda_types.h"

typedef struct sg_code {
  uint8_t *memory; /* all sections, then a slot for each undefined symbol */
  size_t bytes;
  struct sg_symbol *symbols; /* what the object exports */
  size_t symbol_count;
  char *names;
} sg_code;

/* The address of a name that the object refers to, 0 when there is none. */
typedef uintptr_t (*sg_resolver)(void *context, const char *name);

/* CUDA_ERROR_INVALID_IMAGE with the reason in `problem` (size bytes), or OUT_OF_MEMORY. The file is
   checked: a damaged one is refused, never followed out of bounds. */
CUresult sg_code_load(const uint8_t *file, size_t bytes, sg_resolver resolve, void *context,
                      sg_code *code, char *problem, size_t size);
uintptr_t sg_code_symbol(const sg_code *code, const char *name);
void sg_code_unload(sg_code *code);
#endif
