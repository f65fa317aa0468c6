/* Context-local storage: values that CUDA's libraries keep with a context, by key. */
#ifndef SG_STORAGE_H
#define SG_STORAGE_H
#include "context.h"

typedef void (*sg_destructor)(CUcontext context, void *key, void *value);

/* The handle 0 or -1 means the current context; a key that is not there is
 * CUDA_ERROR_INVALID_HANDLE. */
CUresult sg_storage_put(CUcontext context, void *key, void *value, sg_destructor destructor);
CUresult sg_storage_delete(CUcontext context, void *key);
CUresult sg_storage_get(void **value, CUcontext context, void *key);
/* Destroys what a context holds. */
void sg_storage_forget(sg_context *context);
#endif
