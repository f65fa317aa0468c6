/* advice.c: see advice.h. Spans of addresses, in order, without overlap; between them nothing was
 * advised. */
#include "advice.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_BIT = 63 };

typedef struct advised {
  bool read_mostly;
  uint64_t accessed_by; /* devices, as bits */
  CUmemLocation preferred, prefetched;
} advised;

typedef struct span {
  CUdeviceptr from, to;
  advised is;
} span;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static span *spans;
static size_t count, room;

static bool insert(size_t place, span made) {
  if (count == room) {
    size_t wanted = room ? room * 2 : 16;
    span *grown = realloc(spans, wanted * sizeof *grown);
    if (!grown) return false;
    spans = grown;
    room = wanted;
  }
  memmove(&spans[place + 1], &spans[place], (count - place) * sizeof *spans);
  spans[place] = made;
  count++;
  return true;
}

/* The first span that ends above the address. */
static size_t after(CUdeviceptr at) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (spans[middle].to > at)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/* Makes the address a border between spans. */
static bool cut(CUdeviceptr at) {
  size_t i = after(at);
  if (i == count || spans[i].from >= at) return true;
  span lower = spans[i];
  lower.to = at;
  if (!insert(i, lower)) return false;
  spans[i + 1].from = at;
  return true;
}

/* Makes spans fill [from, to) exactly; their first. */
static bool cover(CUdeviceptr from, CUdeviceptr to, size_t *first) {
  if (!cut(from) || !cut(to)) return false;
  *first = after(from);
  for (size_t i = *first; from < to; i++) {
    CUdeviceptr next = i < count && spans[i].from < to ? spans[i].from : to;
    if (next > from && !insert(i, (span){.from = from, .to = next})) return false;
    from = spans[i].to;
  }
  return true;
}

static uint64_t bit_of(CUmemLocation location) {
  bool host = location.type != CU_MEM_LOCATION_TYPE_DEVICE || location.id < 0;
  return 1ull << (host ? HOST_BIT : location.id % HOST_BIT);
}

static bool advise(advised *is, CUmem_advise advice, CUmemLocation location) {
  CUmemLocation nowhere = {.type = CU_MEM_LOCATION_TYPE_INVALID};
  switch (advice) {
  case CU_MEM_ADVISE_SET_READ_MOSTLY: is->read_mostly = true; return true;
  case CU_MEM_ADVISE_UNSET_READ_MOSTLY: is->read_mostly = false; return true;
  case CU_MEM_ADVISE_SET_PREFERRED_LOCATION: is->preferred = location; return true;
  case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION: is->preferred = nowhere; return true;
  case CU_MEM_ADVISE_SET_ACCESSED_BY: is->accessed_by |= bit_of(location); return true;
  case CU_MEM_ADVISE_UNSET_ACCESSED_BY: is->accessed_by &= ~bit_of(location); return true;
  default: return false;
  }
}

CUresult advice_set(CUdeviceptr at, size_t bytes, CUmem_advise advice, CUmemLocation location) {
  size_t i;
  if (!advise(&(advised){0}, advice, location)) return CUDA_ERROR_INVALID_VALUE;
  pthread_mutex_lock(&lock);
  bool fits = cover(at, at + bytes, &i);
  for (; fits && i < count && spans[i].from < at + bytes; i++)
    advise(&spans[i].is, advice, location);
  pthread_mutex_unlock(&lock);
  return fits ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult advice_prefetched(CUdeviceptr at, size_t bytes, CUmemLocation location) {
  size_t i;
  pthread_mutex_lock(&lock);
  bool fits = cover(at, at + bytes, &i);
  for (; fits && i < count && spans[i].from < at + bytes; i++) spans[i].is.prefetched = location;
  pthread_mutex_unlock(&lock);
  return fits ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

void advice_forget(CUdeviceptr at, size_t bytes) {
  pthread_mutex_lock(&lock);
  if (count && cut(at) && cut(at + bytes)) {
    size_t first = after(at), end = first;
    while (end < count && spans[end].from < at + bytes) end++;
    memmove(&spans[first], &spans[end], (count - end) * sizeof *spans);
    count -= end - first;
  }
  pthread_mutex_unlock(&lock);
}

/* ---- what holds for all of a range */

static bool same(CUmemLocation a, CUmemLocation b) { return a.type == b.type && a.id == b.id; }

static void both(advised *all, const advised *one) {
  CUmemLocation nowhere = {.type = CU_MEM_LOCATION_TYPE_INVALID};
  all->read_mostly = all->read_mostly && one->read_mostly;
  all->accessed_by &= one->accessed_by;
  if (!same(all->preferred, one->preferred)) all->preferred = nowhere;
  if (!same(all->prefetched, one->prefetched)) all->prefetched = nowhere;
}

static advised of_range(CUdeviceptr from, CUdeviceptr to) {
  static const advised nothing;
  pthread_mutex_lock(&lock);
  size_t i = after(from);
  advised all = i < count ? spans[i].is : nothing;
  for (; from < to && i < count && spans[i].from <= from; i++) {
    both(&all, &spans[i].is);
    from = spans[i].to;
  }
  if (from < to) all = nothing; /* there is a gap */
  pthread_mutex_unlock(&lock);
  return all;
}

static int32_t ordinal(CUmemLocation location) {
  if (location.type == CU_MEM_LOCATION_TYPE_INVALID) return CU_DEVICE_INVALID;
  return location.type == CU_MEM_LOCATION_TYPE_DEVICE ? location.id : CU_DEVICE_CPU;
}

static void list(int32_t *to, size_t places, uint64_t devices) {
  size_t n = 0;
  for (int bit = 0; bit <= HOST_BIT && n < places; bit++)
    if (devices >> bit & 1) to[n++] = bit == HOST_BIT ? CU_DEVICE_CPU : bit;
  while (n < places) to[n++] = CU_DEVICE_INVALID;
}

CUresult advice_get(void *data, size_t size, CUmem_range_attribute attribute, CUdeviceptr at,
                    size_t bytes) {
  int32_t *told = data;
  bool devices = attribute == CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY;
  if (!data || !bytes || (devices ? !size || size % 4 : size != 4)) return CUDA_ERROR_INVALID_VALUE;
  advised all = of_range(at, at + bytes);
  switch ((int)attribute) {
  case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY: *told = all.read_mostly; break;
  case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY: list(told, size / 4, all.accessed_by); break;
  case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION: *told = ordinal(all.preferred); break;
  case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION: *told = ordinal(all.prefetched); break;
  case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE: *told = (int)all.preferred.type; break;
  case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID: *told = all.preferred.id; break;
  case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE: *told = (int)all.prefetched.type; break;
  case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID: *told = all.prefetched.id; break;
  default: return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}
