/* One short list for the process: a context holds a handful of values. */
#include "storage.h"
#include <stdlib.h>

typedef struct entry {
  struct entry *next;
  sg_context *context;
  void *key, *value;
  sg_destructor destructor;
} entry;

static entry *entries;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static CUresult owner(CUcontext handle, sg_context **context) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  bool current = !handle || handle == (CUcontext)-1;
  *context = current ? sg_context_current() : sg_object_get(handle, SG_CONTEXT);
  return *context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

/* Where an entry hangs; any_key: the context's first. Lock held. */
static entry **place(const sg_context *context, const void *key, bool any_key) {
  entry **at = &entries;
  while (*at && ((*at)->context != context || (!any_key && (*at)->key != key))) at = &(*at)->next;
  return at;
}

static entry *take(const sg_context *context, const void *key, bool any_key) {
  pthread_mutex_lock(&lock);
  entry **at = place(context, key, any_key), *e = *at;
  if (e) *at = e->next;
  pthread_mutex_unlock(&lock);
  return e;
}

CUresult sg_storage_put(CUcontext handle, void *key, void *value, sg_destructor destructor) {
  sg_context *c;
  CUresult r = owner(handle, &c);
  if (r != CUDA_SUCCESS) return r;
  entry *fresh = malloc(sizeof *fresh);
  if (!fresh) return CUDA_ERROR_OUT_OF_MEMORY;
  free(take(c, key, false));
  pthread_mutex_lock(&lock);
  *fresh = (entry){entries, c, key, value, destructor};
  entries = fresh;
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

CUresult sg_storage_delete(CUcontext handle, void *key) {
  sg_context *c;
  CUresult r = owner(handle, &c);
  if (r != CUDA_SUCCESS) return r;
  entry *e = take(c, key, false);
  free(e);
  return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult sg_storage_get(void **value, CUcontext handle, void *key) {
  sg_context *c;
  CUresult r = owner(handle, &c);
  if (r != CUDA_SUCCESS) return r;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&lock);
  entry *e = *place(c, key, false);
  if (e) *value = e->value;
  pthread_mutex_unlock(&lock);
  return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

/* Destructors belong to the program: called without the lock. */
void sg_storage_forget(sg_context *context) {
  for (entry *e; (e = take(context, NULL, true)); free(e))
    if (e->destructor) e->destructor((CUcontext)context, e->key, e->value);
}
