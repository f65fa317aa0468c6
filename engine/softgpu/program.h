/* A program: one image's description, whatever context it is used in. Compiles and finds objects.
 */
#ifndef SG_PROGRAM_H
#define SG_PROGRAM_H
#include "cache.h"
#include "image.h"
#include "jitlog.h"
#include "kernel_abi.h"

typedef struct sg_program {
  _Atomic int references;
  uint8_t key[SG_KEY_BYTES];
  sg_image image; /* a copy: the service may ask for it again */
  sg_file file;   /* the description; what follows points into it */
  const struct rm_desc *head;
  const struct rm_desc_kernel *kernels;
  const struct rm_desc_param *params;
  const struct rm_desc_variable *variables;
  const struct rm_desc_reference *fixups;
  const uint8_t *data;
  const char *strings;
} sg_program;

/* Describes an image, through the cache or the service. */
CUresult sg_program_load(const sg_image *image, sg_jit_log *log, sg_program **program);
sg_program *sg_program_hold(sg_program *program);
void sg_program_drop(sg_program *program);
/* The object of a kernel, or the functions object (RM_UNIT_FUNCTIONS), compiled where needed. */
CUresult sg_program_object(sg_program *program, uint32_t unit, sg_jit_log *log, sg_file *object);
static inline const char *sg_program_name(const sg_program *p, uint32_t name) {
  return p->strings + name;
}
/* Index of a kernel or variable by name, -1 when there is none. */
int sg_program_kernel(const sg_program *program, const char *name);
int sg_program_variable(const sg_program *program, const char *name);
#endif
