/* Modules and libraries. A library is a program without a context; a module is a program in one
   context, with its variables and the code loaded so far. A library makes its modules by itself. */
#ifndef SG_MODULE_H
#define SG_MODULE_H
#include "context.h"
#include "objects.h"
#include "program.h"

typedef struct sg_kernel_code {
  sg_code code;
  const struct rm_kernel_info *info;
  uintptr_t entry;
  _Atomic uint32_t block_ns; /* how long a block took last time, 0: never run */
} sg_kernel_code;

typedef struct sg_module {
  sg_object object;
  sg_context *context;
  sg_program *program;
  struct sg_library *library; /* NULL: loaded by itself */
  struct sg_module *next;     /* of the same library */
  pthread_mutex_t lock;       /* guards loading */
  uintptr_t block;            /* one allocation holds all variables; 0 where there are none */
  uintptr_t *variables;       /* address of each */
  bool functions_loaded;
  sg_code functions;
  sg_kernel_code *_Atomic *codes; /* of each kernel, NULL until it is first used */
  struct sg_kernel **kernels;     /* handles, NULL until asked for */
} sg_module;

typedef struct sg_library {
  sg_object object;
  sg_program *program;
  bool of_runtime; /* loaded by the CUDA runtime, for nvcc's own launches */
  pthread_mutex_t lock;
  sg_module *modules;
  struct sg_kernel **kernels;
  uintptr_t managed_block; /* one allocation holds the managed variables; 0 where there are none */
  uintptr_t *managed;      /* address of each variable that is managed, made when first needed */
} sg_library;

/* What CUfunction and CUkernel point to: a kernel of a module, or one of a library, which then
   stands for the one of the library's module in the current context. */
typedef struct sg_kernel {
  sg_object object;
  sg_module *module;
  sg_library *library;
  uint32_t index;
  int max_dynamic_shared; /* CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES */
  int carveout;
} sg_kernel;

static inline sg_program *sg_kernel_program(const sg_kernel *k) {
  return k->module ? k->module->program : k->library->program;
}
static inline const struct rm_desc_kernel *sg_kernel_desc(const sg_kernel *k) {
  return &sg_kernel_program(k)->kernels[k->index];
}

/* module.c; library: whose managed variables it uses, NULL where it is loaded by itself. */
CUresult sg_module_new(sg_context *context, sg_program *program, sg_library *library,
                       sg_jit_log *log, sg_module **module);
void sg_module_delete(sg_module *module);
/* The kernel's code in the module, compiled and loaded at the first call. */
CUresult sg_module_code(sg_module *module, uint32_t kernel, sg_kernel_code **code);
CUresult sg_module_kernel(sg_module *module, uint32_t index, sg_kernel **kernel);
void sg_modules_forget(sg_context *context);
/* managed.c: places and fills the library's managed variables, once. Its lock is held. */
CUresult sg_library_make_managed(sg_library *library, sg_jit_log *log);
void sg_library_free_managed(sg_library *library);
/* library.c: the library's module in a context, made at the first call. */
CUresult sg_library_module(sg_library *library, sg_context *context, sg_module **module);
/* The module that a kernel handle means in this context. */
/* The bytes of a file with a NUL behind them; free them. */
CUresult sg_image_read(const char *path, char **image);
CUresult sg_kernel_module(sg_kernel *kernel, sg_context *context, sg_module **module);
/* A new handle; the caller keeps it in its table. */
sg_kernel *sg_kernel_new(sg_module *module, sg_library *library, uint32_t index);
#endif
