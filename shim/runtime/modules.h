/* modules.h: modules and libraries, which are one thing on the wire, and their functions. */
#ifndef REMORA_SHIM_MODULES_H
#define REMORA_SHIM_MODULES_H

#include "image.h"
#include "objects.h"

/* Loads an image on the engine, which gets the bytes only if it doesn't know them yet. context:
 * that of a module, the current one (or NULL) for a library. Waits. */
CUresult rm_module_load(const rm_image *image, rm_context *context, bool library, rm_module **out);
/* Unloads it there and forgets it here. Posted. */
CUresult rm_module_unload(rm_module *module);
/* Forgets a module that is gone on the engine, with its functions. */
void rm_module_forget(rm_module *module);

/* The function of this name; the same one every time. Waits only for a name that the engine did
 * not tell when the module was loaded. */
CUresult rm_function_named(rm_module *module, const char *name, rm_function **out);
/* The functions of the module: *count of them, the first `capacity` into out. Waits, once, if the
 * engine did not tell them as the module was loaded. */
CUresult rm_function_list(rm_module *module, rm_function **out, uint32_t capacity, uint32_t *count);
void rm_function_forget(rm_function *function);

/* A library's managed variable, usable here at the address it has there. Waits. */
CUresult rm_managed_named(rm_module *module, const char *name, CUdeviceptr *out, size_t *bytes);
/* A module's variable. Waits. */
CUresult rm_global_named(rm_module *module, const char *name, CUdeviceptr *out, size_t *bytes);

/* Empties the logs among the options of the JIT compiler; nothing else of them is used here. */
void rm_jit_logs_empty(unsigned int count, const CUjit_option *options, void **values);

#endif
