/* context_storage.c: a list for each process: a context holds a handful of values. */
#include <pthread.h>
#include <stdlib.h>

#include "context.h"
#include "context_storage.h"
#include "session.h"

typedef struct entry {
  struct entry *next;
  rm_context *context;
  void *key, *value;
  rm_storage_destructor end;
} entry;

static entry *entries;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* 0 and -1 mean the current context. */
static CUresult context_for(CUcontext handle, rm_context **context) {
  CUresult status = rm_ready();
  if (status) return status;
  *context = rm_context_of(handle == (CUcontext)-1 ? NULL : handle);
  return *context ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

static entry **find(const rm_context *context, const void *key) {
  entry **at = &entries;
  while (*at && ((*at)->context != context || (*at)->key != key)) at = &(*at)->next;
  return at;
}

CUresult rm_storage_put(CUcontext handle, void *key, void *value, rm_storage_destructor end) {
  rm_context *context;
  CUresult status = context_for(handle, &context);
  if (status) return status;
  entry *fresh = malloc(sizeof *fresh);
  if (!fresh) return CUDA_ERROR_OUT_OF_MEMORY;
  pthread_mutex_lock(&lock);
  entry *old = *find(context, key);
  if (old) {
    old->value = value;
    old->end = end;
  } else {
    *fresh = (entry){entries, context, key, value, end};
    entries = fresh;
  }
  pthread_mutex_unlock(&lock);
  if (old) free(fresh);
  return CUDA_SUCCESS;
}

CUresult rm_storage_delete(CUcontext handle, void *key) {
  rm_context *context;
  CUresult status = context_for(handle, &context);
  if (status) return status;
  pthread_mutex_lock(&lock);
  entry **at = find(context, key), *gone = *at;
  if (gone) *at = gone->next;
  pthread_mutex_unlock(&lock);
  free(gone);
  return gone ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult rm_storage_get(void **value, CUcontext handle, void *key) {
  rm_context *context;
  CUresult status = context_for(handle, &context);
  if (status) return status;
  if (!value) return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&lock);
  entry *found = *find(context, key);
  if (found) *value = found->value;
  pthread_mutex_unlock(&lock);
  return found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

static entry *take_one(const rm_context *context) {
  pthread_mutex_lock(&lock);
  entry **at = &entries;
  while (*at && (*at)->context != context) at = &(*at)->next;
  entry *gone = *at;
  if (gone) *at = gone->next;
  pthread_mutex_unlock(&lock);
  return gone;
}

/* Destructors are the program's: they run without the lock. */
void rm_storage_forget(rm_context *context) {
  for (entry *e; (e = take_one(context)); free(e))
    if (e->end) e->end((CUcontext)context, e->key, e->value);
}
