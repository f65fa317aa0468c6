/* memory.c: memory that an end makes for its buffers. What the peer may both read and write lies in
 * a file that a link within one host shares with it (rm_share): bytes to and from there are copied
 * once. A peer that may do less gets no such memory, since it could do both in it.
 * Must not know: keys, transfers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inside.h"

#define PAGE 4096u
#define HUGE ((uint64_t)2 << 20)

static uint64_t round_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* ---- places in the file */

/* The first gap of n bytes: where it begins, and what follows it in the list. */
static rm_stretch **find_gap(rm_pool *pool, uint64_t n, uint64_t *from) {
  rm_stretch **next = &pool->first;
  *from = 0;
  for (; *next && (*next)->from < *from + n; next = &(*next)->next)
    *from = round_up((*next)->from + (*next)->n, n >= HUGE ? HUGE : PAGE);
  return next;
}

static rm_stretch **find_stretch(rm_pool *pool, const void *at) {
  rm_stretch **one = &pool->first;
  while (*one && (*one)->at != at) one = &(*one)->next;
  return one;
}

/* Never shorter again: the peer maps it. */
static bool reach(rm_pool *pool, uint64_t end) {
  if (!pool->open) pool->fd = memfd_create("remora-buffers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  pool->open = pool->fd >= 0;
  if (!pool->open || end > RM_POOL_BYTES_MAX) return false;
  if (end > pool->bytes && ftruncate(pool->fd, (off_t)end) != 0) return false;
  if (end > pool->bytes) pool->bytes = end;
  return true;
}

/* ---- mapping */

static void *map_private(size_t n) {
  void *at = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

/* Addresses of n bytes at a multiple of a huge page, for others to be mapped over. */
static uint8_t *reserve(uint64_t n) {
  uint8_t *at = mmap(NULL, n + HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return NULL;
  uint64_t lead = -(uint64_t)(uintptr_t)at % HUGE;
  if (lead) munmap(at, lead);
  munmap(at + lead + n, HUGE - lead);
  return at + lead;
}

static void *map_shared(const rm_pool *pool, uint64_t from, uint64_t n) {
  uint8_t *at = reserve(n);
  if (!at) return NULL;
  if (mmap(at, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, pool->fd, (off_t)from) != at) {
    munmap(at, n);
    return NULL;
  }
  return at;
}

/* With the pool's lock. NULL: not this way. */
static void *allocate_shared(rm_endpoint *ep, uint64_t n) {
  rm_pool *pool = &ep->pool;
  uint64_t from;
  rm_stretch **next = find_gap(pool, n, &from), *one = malloc(sizeof *one);
  void *at = one && reach(pool, from + n) ? map_shared(pool, from, n) : NULL;
  if (at && rm_share(ep->channel, at, n, pool->fd, from) != 0) {
    munmap(at, n);
    at = NULL;
  }
  if (!at) return free(one), NULL;
  *one = (rm_stretch){.at = at, .from = from, .n = n, .next = *next};
  *next = one;
  return at;
}

void *rm_endpoint_allocate(rm_endpoint *ep, size_t n, unsigned access) {
  void *at = NULL;
  if (n > RM_POOL_BYTES_MAX) return NULL;
  if (access == (RM_REMOTE_READ | RM_REMOTE_WRITE) && rm_shares(ep->channel)) {
    pthread_mutex_lock(&ep->pool.lock);
    at = allocate_shared(ep, round_up(n, PAGE));
    pthread_mutex_unlock(&ep->pool.lock);
  }
  return at ? at : map_private(n);
}

/* The peer may hold the file mapped for long; and who gets the place next finds zeros. */
static void empty(const rm_pool *pool, const rm_stretch *one) {
  const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (fallocate(pool->fd, how, (off_t)one->from, (off_t)one->n) != 0) return;
}

void rm_endpoint_take_back(rm_endpoint *ep, void *at) {
  pthread_mutex_lock(&ep->pool.lock);
  rm_stretch **place = find_stretch(&ep->pool, at), *one = *place;
  if (one) {
    *place = one->next;
    rm_share(ep->channel, at, one->n, -1, 0);
    empty(&ep->pool, one);
    free(one);
  }
  pthread_mutex_unlock(&ep->pool.lock);
}

void rm_ep_open_pool(rm_pool *pool) { pthread_mutex_init(&pool->lock, NULL); }

void rm_ep_close_pool(rm_pool *pool) {
  if (pool->open) close(pool->fd);
  for (rm_stretch *one = pool->first, *next; one; one = next) {
    next = one->next;
    free(one);
  }
  pthread_mutex_destroy(&pool->lock);
}
