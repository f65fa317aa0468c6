/* context_storage.h: values that libraries keep with a context, under keys of their own. */
#ifndef REMORA_SHIM_CONTEXT_STORAGE_H
#define REMORA_SHIM_CONTEXT_STORAGE_H

#include "objects.h"

typedef void (*rm_storage_destructor)(CUcontext context, void *key, void *value);

CUresult rm_storage_put(CUcontext context, void *key, void *value, rm_storage_destructor end);
CUresult rm_storage_delete(CUcontext context, void *key);
CUresult rm_storage_get(void **value, CUcontext context, void *key);
/* Ends what a context that goes away still holds. */
void rm_storage_forget(rm_context *context);

#endif
