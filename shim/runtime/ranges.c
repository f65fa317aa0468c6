/* ranges.c: a sorted array under a lock; looked at by copies and pointer queries, not by launches.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "ranges.h"

static rm_range *ranges;
static size_t count, capacity;
static uint64_t ids;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Index of the first range that starts above the address. */
static size_t above(uint64_t address) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (ranges[middle].base <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool grow(void) {
  if (count < capacity) return true;
  size_t wanted = capacity ? 2 * capacity : 256;
  rm_range *more = realloc(ranges, wanted * sizeof *more);
  if (!more) return false;
  ranges = more;
  capacity = wanted;
  return true;
}

static void remove_at(size_t i) {
  memmove(&ranges[i], &ranges[i + 1], (--count - i) * sizeof *ranges);
}

static bool overlaps(size_t i, const rm_range *range) {
  return (i > 0 && ranges[i - 1].base + ranges[i - 1].bytes > range->base) ||
         (i < count && range->base + range->bytes > ranges[i].base);
}

uint64_t rm_pinned_low = UINT64_MAX, rm_pinned_high = UINT64_MAX;

static void note_pinned(const rm_range *range) {
  uint64_t end = range->base + range->bytes;
  if (rm_pinned_low == UINT64_MAX) rm_pinned_high = 0;
  if (range->base < rm_pinned_low) rm_pinned_low = range->base;
  if (end > rm_pinned_high) rm_pinned_high = end;
}

static bool add(const rm_range *range) {
  size_t i = above(range->base);
  if (i > 0 && range->kind == RM_RANGE_GLOBAL && ranges[i - 1].base == range->base) return true;
  if (!range->bytes || (overlaps(i, range) && range->kind != RM_RANGE_GLOBAL) || !grow())
    return false;
  memmove(&ranges[i + 1], &ranges[i], (count++ - i) * sizeof *ranges);
  ranges[i] = *range;
  ranges[i].id = ++ids;
  if (rm_range_pinned(range)) note_pinned(range);
  return true;
}

bool rm_range_add(const rm_range *range) {
  pthread_mutex_lock(&lock);
  bool added = add(range);
  pthread_mutex_unlock(&lock);
  return added;
}

bool rm_range_find(uint64_t address, rm_range *out) {
  pthread_mutex_lock(&lock);
  size_t i = above(address);
  bool found = i > 0 && address - ranges[i - 1].base < ranges[i - 1].bytes;
  if (found) *out = ranges[i - 1];
  pthread_mutex_unlock(&lock);
  return found;
}

bool rm_range_remove(uint64_t base, unsigned kinds, rm_range *out) {
  pthread_mutex_lock(&lock);
  size_t i = above(base);
  bool found = i > 0 && ranges[i - 1].base == base && kinds & 1u << ranges[i - 1].kind;
  if (found) {
    *out = ranges[i - 1];
    remove_at(i - 1);
  }
  pthread_mutex_unlock(&lock);
  return found;
}

void rm_range_forget(const rm_context *context) {
  pthread_mutex_lock(&lock);
  for (size_t i = count; i-- > 0;) {
    if (ranges[i].context != context || rm_range_pinned(&ranges[i])) continue;
    if (ranges[i].kind == RM_RANGE_DEVICE) rm_pool_returned(&ranges[i]);
    remove_at(i);
  }
  pthread_mutex_unlock(&lock);
}

static bool of_module(const rm_range *range) {
  return range->kind == RM_RANGE_GLOBAL || range->kind == RM_RANGE_MANAGED;
}

void rm_range_forget_owner(const void *owner) {
  pthread_mutex_lock(&lock);
  for (size_t i = count; i-- > 0;)
    if (ranges[i].owner == owner && of_module(&ranges[i])) remove_at(i);
  pthread_mutex_unlock(&lock);
}
