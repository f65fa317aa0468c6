/* objects.c: the arenas behind the program's handles. */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "objects.h"

typedef struct arena {
  uint32_t stride;   /* bytes of one object, a multiple of 64 */
  uint32_t capacity; /* objects; reserved, not committed, until used */
  uint32_t used;     /* objects ever handed out */
  uint32_t free;     /* id of the first free one, linked through their ids; 0 = none */
  char *base;
} arena;

/* Marks an object whose handle is gone. */
#define RETIRED 0x80000000u

#define STRIDE(type) ((uint32_t)((sizeof(type) + 63) / 64 * 64))

static arena arenas[RM_KINDS] = {
    [RM_CONTEXT] = {.stride = STRIDE(rm_context), .capacity = 4096},
    [RM_STREAM] = {.stride = STRIDE(rm_stream), .capacity = 1 << 16},
    [RM_EVENT] = {.stride = STRIDE(rm_event), .capacity = 1 << 20},
    [RM_MODULE] = {.stride = STRIDE(rm_module), .capacity = 1 << 16},
    [RM_FUNCTION] = {.stride = STRIDE(rm_function), .capacity = 1 << 20},
    [RM_POOL] = {.stride = STRIDE(rm_pool), .capacity = 1024},
    [RM_LINK] = {.stride = STRIDE(rm_linker), .capacity = 1 << 12},
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool reserve(arena *a) {
  if (a->base) return true;
  void *base = mmap(NULL, (size_t)a->stride * a->capacity, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return false;
  __atomic_store_n(&a->base, base, __ATOMIC_RELEASE);
  return true;
}

bool rm_objects_reserve(void) {
  for (int kind = 0; kind < RM_KINDS; kind++)
    if (!reserve(&arenas[kind])) return false;
  return true;
}

/* The free list runs through the bytes after the header. */
static uint32_t *next_free(rm_object *object) { return (uint32_t *)(object + 1); }

static rm_object *take(arena *a) {
  if (!a->base) return NULL;
  if (a->free) {
    rm_object *object = (rm_object *)(a->base + (size_t)(a->free - 1) * a->stride);
    a->free = *next_free(object);
    return object;
  }
  if (a->used == a->capacity) return NULL;
  rm_object *object = (rm_object *)(a->base + (size_t)a->used * a->stride);
  __atomic_store_n(&a->used, a->used + 1, __ATOMIC_RELEASE);
  object->id = a->used;
  return object;
}

void *rm_object_new(enum rm_kind kind) {
  arena *a = &arenas[kind];
  pthread_mutex_lock(&lock);
  rm_object *object = take(a);
  if (object) {
    memset(object + 1, 0, a->stride - sizeof *object);
    __atomic_store_n(&object->live, (uint32_t)kind + 1, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&lock);
  return object;
}

void *rm_object_get(enum rm_kind kind, const void *handle) {
  arena *a = &arenas[kind];
  const char *base = __atomic_load_n(&a->base, __ATOMIC_ACQUIRE);
  size_t offset = (size_t)((const char *)handle - base);
  if (!base || offset >= (size_t)a->stride * __atomic_load_n(&a->used, __ATOMIC_ACQUIRE) ||
      offset % a->stride)
    return NULL;
  rm_object *object = (rm_object *)(uintptr_t)handle;
  return __atomic_load_n(&object->live, __ATOMIC_ACQUIRE) == (uint32_t)kind + 1 ? object : NULL;
}

void *rm_object_each(enum rm_kind kind, uint32_t *index) {
  arena *a = &arenas[kind];
  while (*index < __atomic_load_n(&a->used, __ATOMIC_ACQUIRE)) {
    rm_object *object = (rm_object *)(a->base + (size_t)(*index)++ * a->stride);
    uint32_t live = __atomic_load_n(&object->live, __ATOMIC_ACQUIRE);
    if (live && !(live & RETIRED)) return object;
  }
  return NULL;
}

void rm_object_free(void *handle) {
  rm_object *object = handle;
  pthread_mutex_lock(&lock);
  if (object->live) {
    arena *a = &arenas[(object->live & ~RETIRED) - 1];
    __atomic_store_n(&object->live, 0, __ATOMIC_RELEASE);
    *next_free(object) = a->free;
    a->free = object->id;
  }
  pthread_mutex_unlock(&lock);
}

void rm_object_retire(void *handle) {
  __atomic_fetch_or(&((rm_object *)handle)->live, RETIRED, __ATOMIC_ACQ_REL);
}
