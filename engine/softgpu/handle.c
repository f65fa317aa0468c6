/* The arena behind every handle: fixed slots in one reserved range, freed ones reused oldest first
   so that a stale handle is noticed for as long as possible. Knows nothing of what a slot holds. */
#include "handle.h"
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

enum { SLOTS = 1 << 18 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *_Atomic arena;
static _Atomic uint32_t used = 1; /* slot 0 stays empty: it ends the free list */
static uint32_t free_first, free_last;

static sg_object *slot(uint32_t index) {
  return (sg_object *)(arena + (size_t)index * SG_SLOT_BYTES);
}

static uint32_t index_of(const void *object) {
  return (uint32_t)(((const char *)object - arena) / SG_SLOT_BYTES);
}

static bool arena_ready(void) {
  if (arena) return true;
  void *p = mmap(NULL, (size_t)SLOTS * SG_SLOT_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return false;
  arena = p;
  return true;
}

static uint32_t take_slot(void) {
  uint32_t index = free_first;
  if (index) {
    free_first = slot(index)->next_free;
    if (!free_first) free_last = 0;
    return index;
  }
  return used < SLOTS ? used++ : 0;
}

void *sg_object_new(sg_kind kind, size_t bytes) {
  if (bytes > SG_SLOT_BYTES) return NULL;
  pthread_mutex_lock(&lock);
  uint32_t index = arena_ready() ? take_slot() : 0;
  pthread_mutex_unlock(&lock);
  if (!index) return NULL;
  sg_object *object = slot(index);
  memset(object, 0, SG_SLOT_BYTES);
  object->kind = kind;
  return object;
}

void *sg_object_get(const void *handle, sg_kind kind) {
  if (!arena || (const char *)handle < arena) return NULL;
  size_t offset = (size_t)((const char *)handle - arena);
  if (offset % SG_SLOT_BYTES || offset / SG_SLOT_BYTES >= used) return NULL;
  sg_object *object = slot((uint32_t)(offset / SG_SLOT_BYTES));
  return object->kind == kind ? object : NULL;
}

void sg_object_retire(void *object) { ((sg_object *)object)->kind = SG_FREE; }

void sg_object_free(void *object) {
  uint32_t index = index_of(object);
  sg_object_retire(object);
  pthread_mutex_lock(&lock);
  slot(index)->next_free = 0;
  if (free_last)
    slot(free_last)->next_free = index;
  else
    free_first = index;
  free_last = index;
  pthread_mutex_unlock(&lock);
}

void *sg_object_next(sg_kind kind, const void *previous) {
  if (!arena) return NULL;
  for (uint32_t i = previous ? index_of(previous) + 1 : 1; i < used; i++)
    if (slot(i)->kind == kind) return slot(i);
  return NULL;
}
