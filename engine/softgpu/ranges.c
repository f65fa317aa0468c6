/* Sorted array of disjoint ranges; binary search. Callers lock. */
#include "ranges.h"
#include <stdlib.h>
#include <string.h>

size_t sg_ranges_after(const sg_ranges *table, uintptr_t address) {
  size_t low = 0, high = table->count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (table->at[middle].base + table->at[middle].bytes <= address)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

sg_range *sg_ranges_find(const sg_ranges *table, uintptr_t address) {
  size_t i = sg_ranges_after(table, address);
  return i < table->count && table->at[i].base <= address ? &table->at[i] : NULL;
}

static bool grow(sg_ranges *table) {
  if (table->count < table->room) return true;
  size_t room = table->room ? table->room * 2 : 64;
  sg_range *at = realloc(table->at, room * sizeof *at);
  if (!at) return false;
  table->at = at;
  table->room = room;
  return true;
}

bool sg_ranges_add(sg_ranges *table, const sg_range *range) {
  size_t i = sg_ranges_after(table, range->base);
  if (i < table->count && table->at[i].base < range->base + range->bytes) return false;
  if (!grow(table)) return false;
  memmove(table->at + i + 1, table->at + i, (table->count - i) * sizeof *table->at);
  table->at[i] = *range;
  table->count++;
  return true;
}

void sg_ranges_remove(sg_ranges *table, sg_range *range) {
  size_t i = (size_t)(range - table->at);
  table->count--;
  memmove(table->at + i, table->at + i + 1, (table->count - i) * sizeof *table->at);
}
