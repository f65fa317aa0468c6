/* regions.c: the table of buffers that the peer may use. Keys are made to be hard to guess, and are
 * looked up and bounded at each use.
 * Must not know: transfers. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "inside.h"

#define RM_INDEX_BITS 20

static bool grow(rm_endpoint *ep) {
  uint32_t room = ep->region_room ? 2 * ep->region_room : 16;
  if (room > RM_REGIONS_MAX) return false;
  rm_region **table = realloc(ep->regions, room * sizeof *table);
  if (!table) return false;
  for (uint32_t i = ep->region_room; i < room; i++) table[i] = NULL;
  ep->regions = table;
  ep->region_room = room;
  return true;
}

static rm_region **free_place(rm_endpoint *ep) {
  for (uint32_t i = 0; i < ep->region_room; i++)
    if (!ep->regions[i]) return &ep->regions[i];
  uint32_t first = ep->region_room;
  return grow(ep) ? &ep->regions[first] : NULL;
}

/* A chance number above the place in the table. */
static uint64_t make_key(uint64_t index) {
  uint64_t chance = 0;
  if (getrandom(&chance, sizeof chance, 0) != sizeof chance) chance = rm_ep_now_us();
  return chance << RM_INDEX_BITS | index;
}

int rm_endpoint_register(rm_endpoint *ep, void *base, size_t n, unsigned access, uint64_t *key) {
  rm_region *region = calloc(1, sizeof *region);
  if (!region) return -ENOMEM;
  pthread_mutex_lock(&ep->lock);
  rm_region **place = free_place(ep);
  if (place) {
    *key = make_key((uint64_t)(place - ep->regions));
    *region = (rm_region){.key = *key, .base = base, .n = n, .access = access};
    *place = region;
  }
  pthread_mutex_unlock(&ep->lock);
  if (!place) return free(region), -ENOMEM;
  rm_register(ep->channel, base, n); /* without it bytes are copied once more, and that is all */
  return 0;
}

static rm_region **find(rm_endpoint *ep, uint64_t key) {
  uint64_t index = key & ((1u << RM_INDEX_BITS) - 1);
  bool known = index < ep->region_room && ep->regions[index] && ep->regions[index]->key == key;
  return known ? &ep->regions[index] : NULL;
}

int rm_endpoint_unregister(rm_endpoint *ep, uint64_t key) {
  pthread_mutex_lock(&ep->lock);
  rm_region **place = find(ep, key), *gone = NULL;
  int error = place && (*place)->busy ? -EBUSY : 0;
  if (place && !error) {
    gone = *place;
    *place = NULL;
  }
  pthread_mutex_unlock(&ep->lock);
  if (gone) rm_deregister(ep->channel, gone->base, gone->n);
  free(gone);
  return error;
}

rm_region *rm_ep_claim(rm_endpoint *ep, const rm_ep_span *span, unsigned access) {
  pthread_mutex_lock(&ep->lock);
  rm_region **place = find(ep, span->key), *region = place ? *place : NULL;
  if (region &&
      (!(region->access & access) || span->n > region->n || span->offset > region->n - span->n))
    region = NULL;
  if (region) region->busy++;
  pthread_mutex_unlock(&ep->lock);
  return region;
}

void rm_ep_unclaim(rm_endpoint *ep, rm_region *region) {
  if (!region) return;
  pthread_mutex_lock(&ep->lock);
  region->busy--;
  pthread_mutex_unlock(&ep->lock);
}

void rm_ep_free_regions(rm_endpoint *ep) {
  for (uint32_t i = 0; i < ep->region_room; i++) free(ep->regions[i]);
  free(ep->regions);
  ep->regions = NULL;
  ep->region_room = 0;
}
