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
    if (r->regions[middle]->at + r->regions[middle]->n > at)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

rm_region *rm_rdma_use(rm_rdma *r, const void *at, size_t n, bool writes) {
  uintptr_t from = (uintptr_t)at;
  rm_region *found = NULL;
  pthread_mutex_lock(&r->region_lock);
  uint32_t i = first_behind(r, from);
  if (i < r->region_count) {
    rm_region *one = r->regions[i];
    bool holds = one->at <= from && n <= one->n - (from - one->at);
    if (holds && (one->writable || !writes)) found = one;
  }
  if (found) rm_add(&found->uses, 1);
  pthread_mutex_unlock(&r->region_lock);
  return found;
}

void rm_rdma_used(rm_region *region) {
  if (region) rm_add(&region->uses, -1);
}

/* ---- telling and forgetting */

/* Called with the lock held. */
static bool insert(rm_rdma *r, rm_region *region) {
  if (r->region_count == r->region_room) {
    uint32_t room = r->region_room ? 2 * r->region_room : 16;
    rm_region **more = realloc(r->regions, room * sizeof *more);
    if (!more) return false;
    r->regions = more;
    r->region_room = room;
  }
  uint32_t i = first_behind(r, region->at);
  if (i < r->region_count && r->regions[i]->at < region->at + region->n) return false;
  memmove(&r->regions[i + 1], &r->regions[i], (r->region_count - i) * sizeof region);
  r->regions[i] = region;
  r->region_count++;
  return true;
}

/* Memory that may only be read can be sent from, not received into. */
static int register_it(rm_rdma *r, rm_region *region) {
  const int all = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ;
  void *at = (void *)region->at;
  region->writable = true;
  if ((region->mr = r->verbs->reg_mr(r->pd, at, region->n, all))) return 0;
  int error = errno;
  region->writable = false;
  if (error == EFAULT) region->mr = r->verbs->reg_mr(r->pd, at, region->n, IBV_ACCESS_REMOTE_READ);
  return region->mr ? 0 : -error;
}

/* The device's own address stands for a byte in requests, as it does for memory that the CPU sees:
 * so at is the iova, and both ends name it as the program does. */
static int register_dmabuf(rm_rdma *r, rm_region *region, int fd, uint64_t offset) {
  const int all = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ;
  if (!r->verbs->reg_dmabuf_mr) return -EOPNOTSUPP;
  region->mr = r->verbs->reg_dmabuf_mr(r->pd, offset, region->n, region->at, fd, all);
  region->writable = true;
  return region->mr ? 0 : -errno;
}

/* fd: of a dma-buf, or -1. */
static int add(rm_rdma *r, uintptr_t at, size_t n, int fd, uint64_t offset) {
  rm_region *region = calloc(1, sizeof *region);
  if (!region) return -ENOMEM;
  region->at = at;
  region->n = n;
  int error = fd < 0 ? register_it(r, region) : register_dmabuf(r, region, fd, offset);
  if (!error) {
    region->lkey = region->mr->lkey, region->rkey = region->mr->rkey;
    pthread_mutex_lock(&r->region_lock);
    error = insert(r, region) ? 0 : -EEXIST;
    pthread_mutex_unlock(&r->region_lock);
    if (error) r->verbs->dereg_mr(region->mr);
  }
  if (error) free(region);
  return error;
}

int rm_rdma_dmabuf(rm_link *link, uint64_t at, size_t n, int fd, uint64_t offset) {
  return fd < 0 ? -EBADF : add((rm_rdma *)link, (uintptr_t)at, n, fd, offset);
}

/* The smallest messages lie in notices and the box, whoever's memory it is. */
bool rm_rdma_moves_alone(rm_link *link, uint64_t at, size_t n) {
  rm_rdma *r = (rm_rdma *)link;
  rm_region *region =
      n > r->theirs.box_slot ? rm_rdma_use(r, (void *)(uintptr_t)at, n, true) : NULL;
  rm_rdma_used(region);
  return region;
}

/* Out of the list: no new use of it can begin. */
static rm_region *take_out(rm_rdma *r, void *at, size_t n) {
  rm_region *found = NULL;
  pthread_mutex_lock(&r->region_lock);
  uint32_t i = first_behind(r, (uintptr_t)at);
  if (i < r->region_count && r->regions[i]->at == (uintptr_t)at && r->regions[i]->n == n) {
    found = r->regions[i];
    r->region_count--;
    memmove(&r->regions[i], &r->regions[i + 1], (r->region_count - i) * sizeof *r->regions);
    found->next_gone = r->gone_regions;
    r->gone_regions = found;
  }
  pthread_mutex_unlock(&r->region_lock);
  return found;
}

static void let_uses_end(rm_region *region, rm_channel *ch) {
  rm_flush(ch);
  while (rm_load_ordered(&region->uses) && !rm_ended(ch)) {
    rm_poll(ch);
    if (rm_load_ordered(&region->uses)) sched_yield();
  }
}

int rm_rdma_memory(rm_link *link, rm_channel *ch, void *at, size_t n, bool on) {
  rm_rdma *r = (rm_rdma *)link;
  if (on) return add(r, (uintptr_t)at, n, -1, 0);
  rm_region *region = take_out(r, at, n);
  if (!region) return -ENOENT;
  let_uses_end(region, ch);
  return -r->verbs->dereg_mr(region->mr);
}

/* The few bytes of a region that is gone stay until here: a message cut off may still name it. */
void rm_rdma_forget_memory(rm_rdma *r) {
  for (uint32_t i = 0; i < r->region_count; i++) {
    r->verbs->dereg_mr(r->regions[i]->mr);
    free(r->regions[i]);
  }
  for (rm_region *gone = r->gone_regions, *next; gone; gone = next) {
    next = gone->next_gone;
    free(gone);
  }
  free(r->regions);
}
