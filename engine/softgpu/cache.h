/* The folder of compiled kernels (kernel_abi.h, part 2). Only reads: files appear there by the
   compile service. */
#ifndef SG_CACHE_H
#define SG_CACHE_H
#include "cuda_types.h"

enum { SG_ENVIRONMENT_CHARS = 32, SG_KEY_BYTES = 32 };

typedef struct sg_file {
  uint8_t *data;
  size_t bytes;
} sg_file;

/* The folder, made where needed; its descriptor stays open. -1 with the reason on stderr (once). */
int sg_cache_folder(void);
const char *sg_cache_path(void);
/* What made the objects, if that can be told without asking the service. */
bool sg_cache_environment(char environment[SG_ENVIRONMENT_CHARS + 1]);
/* The module description of a key, or the object of one of its units (kernel_abi.h); false when it
 * isn't there or is damaged: the service then makes it anew. */
bool sg_cache_read_module(const char *environment, const uint8_t key[SG_KEY_BYTES], sg_file *file);
bool sg_cache_read_unit(const char *environment, const uint8_t key[SG_KEY_BYTES], uint32_t unit,
                        sg_file *file);
void sg_file_release(sg_file *file);
#endif
