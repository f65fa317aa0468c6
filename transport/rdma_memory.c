/* rdma_memory.c: the memory that the device knows, beyond the link's own:
 * ranges by address, told by whoever owns the memory. Nothing is registered
 * unasked or kept longer: pages mapped anew at an old address would be taken
 * for those that lay there before. Cold but for the look-up. Must not know:
 * what the memory is. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "rdma.h"

/* The first region that ends behind at. */
static uint32_t first_behind(const rm_rdma *r, uintptr_t at) {
  uint32_t low = 0, high = r->region_count;
  while (low < high) {
    uint32_t middle = (low + high) / 2;
    if (r->regions[middle].at + r->regions[middle].n > at)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

bool rm_rdma_region(rm_rdma *r, const void *at, size_t n, rm_region *found) {
  uintptr_t from = (uintptr_t)at;
  pthread_mutex_lock(&r->region_lock);
  uint32_t i = first_behind(r, from);
  bool holds = i < r->region_count && r->regions[i].at <= from &&
               n <= r->regions[i].n - (from - r->regions[i].at);
  if (holds) *found = r->regions[i];
  pthread_mutex_unlock(&r->region_lock);
  return holds;
}

/* Called with the lock held. */
static bool insert(rm_rdma *r, rm_region region) {
  if (r->region_count == r->region_room) {
    uint32_t room = r->region_room ? 2 * r->region_room : 16;
    rm_region *more = realloc(r->regions, room * sizeof *more);
    if (!more) return false;
    r->regions = more;
    r->region_room = room;
  }
  uint32_t i = first_behind(r, region.at);
  if (i < r->region_count && r->regions[i].at < region.at + region.n) return false;
  memmove(&r->regions[i + 1], &r->regions[i], (r->region_count - i) * sizeof region);
  r->regions[i] = region;
  r->region_count++;
  return true;
}

/* Memory that may only be read can be sent from, not received into. */
static int add(rm_rdma *r, void *at, size_t n) {
  rm_region region = {(uintptr_t)at, n, NULL, true};
  region.mr = r->verbs->reg_mr(r->pd, at, n, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
  if (!region.mr) {
    int error = errno;
    region.writable = false;
    if (error == EFAULT) region.mr = r->verbs->reg_mr(r->pd, at, n, IBV_ACCESS_REMOTE_READ);
    if (!region.mr) return -error;
  }
  pthread_mutex_lock(&r->region_lock);
  bool added = insert(r, region);
  pthread_mutex_unlock(&r->region_lock);
  if (!added) r->verbs->dereg_mr(region.mr);
  return added ? 0 : -EEXIST;
}

static struct ibv_mr *take_out(rm_rdma *r, void *at, size_t n) {
  struct ibv_mr *mr = NULL;
  pthread_mutex_lock(&r->region_lock);
  uint32_t i = first_behind(r, (uintptr_t)at);
  if (i < r->region_count && r->regions[i].at == (uintptr_t)at && r->regions[i].n == n) {
    mr = r->regions[i].mr;
    r->region_count--;
    memmove(&r->regions[i], &r->regions[i + 1], (r->region_count - i) * sizeof *r->regions);
  }
  pthread_mutex_unlock(&r->region_lock);
  return mr;
}

/* No new use of it can begin: it is in no list any more. */
static void let_uses_end(rm_rdma *r, rm_channel *ch) {
  uint64_t posted = rm_load(&r->reads_posted);
  rm_bulk_returned(ch);
  while (rm_load(&r->reads_landed) < posted && !rm_ended(ch)) {
    rm_poll(ch);
    if (rm_load(&r->reads_landed) < posted) sched_yield();
  }
}

int rm_rdma_memory(rm_link *link, rm_channel *ch, void *at, size_t n, bool on) {
  rm_rdma *r = (rm_rdma *)link;
  if (on) return add(r, at, n);
  struct ibv_mr *mr = take_out(r, at, n);
  if (!mr) return -ENOENT;
  let_uses_end(r, ch);
  return -r->verbs->dereg_mr(mr);
}

void rm_rdma_forget_memory(rm_rdma *r) {
  for (uint32_t i = 0; i < r->region_count; i++) r->verbs->dereg_mr(r->regions[i].mr);
  free(r->regions);
}
