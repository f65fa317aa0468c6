/* shared_table.c: which memory is shared, and the host's pages of it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "session.h"
#include "shared_table.h"

#define PAGE 4096u

uint32_t rm_shared_count;
rm_shared *rm_shared_ranges;
static uint32_t capacity;
/* Of the table. Taken while the ring is held, so nothing is sent under it; whoever changes the
 * table holds the lock of shared.c, too. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- the host's pages of ranges that have one address; neighbours may lie in the same page */

static uint64_t page_of(uint64_t address) { return address & ~(uint64_t)(PAGE - 1); }
static uint64_t page_end(uint64_t end) { return page_of(end + PAGE - 1); }

static bool page_in_use(uint64_t page) {
  for (uint32_t i = 0; i < rm_shared_count; i++)
    if (rm_shared_ranges[i].host < page + PAGE &&
        page < rm_shared_ranges[i].host + rm_shared_ranges[i].bytes)
      return true;
  return false;
}

/* Outside the reserved range: an address that the driver there chose. */
static bool map_page(uint64_t page) {
  void *wanted = (void *)(uintptr_t)page;
  void *at = mmap(wanted, PAGE, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != MAP_FAILED && at != wanted) munmap(at, PAGE);
  return at == wanted;
}

/* Whole pages are new, so zero already; at the edges another range may have left something. */
static void clear_edges(uint64_t base, size_t bytes) {
  uint64_t end = base + bytes, first = page_end(base), last = page_of(end);
  if (first > end) first = end;
  memset((void *)(uintptr_t)base, 0, first - base);
  if (last >= first) memset((void *)(uintptr_t)last, 0, end - last);
}

static bool open_pages(uint64_t base, size_t bytes) {
  uint64_t first = page_of(base), end = page_end(base + bytes);
  bool reserved = rm_is_device_address(base), good = true;
  if (reserved) good = !mprotect((void *)(uintptr_t)first, end - first, PROT_READ | PROT_WRITE);
  for (uint64_t page = first; !reserved && good && page < end; page += PAGE)
    good = page_in_use(page) || map_page(page);
  if (good) clear_edges(base, bytes);
  return good;
}

static void close_pages(uint64_t base, size_t bytes) {
  uint64_t first = page_of(base), end = page_end(base + bytes);
  while (first < end && page_in_use(first)) first += PAGE;
  while (first < end && page_in_use(end - PAGE)) end -= PAGE;
  if (first == end) return;
  if (!rm_is_device_address(base)) {
    munmap((void *)(uintptr_t)first, end - first);
    return;
  }
  madvise((void *)(uintptr_t)first, end - first, MADV_DONTNEED);
  mprotect((void *)(uintptr_t)first, end - first, PROT_NONE);
}

/* ---- the table */

static rm_shared *find(uint64_t address, bool device_side) {
  for (uint32_t i = 0; i < rm_shared_count; i++) {
    uint64_t base = device_side ? rm_shared_ranges[i].device : rm_shared_ranges[i].host;
    if (address - base < rm_shared_ranges[i].bytes) return &rm_shared_ranges[i];
  }
  return NULL;
}

static bool grow(void) {
  if (rm_shared_count < capacity) return true;
  uint32_t wanted = capacity ? 2 * capacity : 64;
  rm_shared *more = realloc(rm_shared_ranges, wanted * sizeof *more);
  if (!more) return false;
  rm_shared_ranges = more;
  capacity = wanted;
  return true;
}

static bool append(const rm_shared *r) {
  pthread_mutex_lock(&lock);
  bool room = grow();
  if (room) {
    rm_shared_ranges[rm_shared_count] = *r;
    __atomic_store_n(&rm_shared_count, rm_shared_count + 1, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&lock);
  return room;
}

CUresult rm_shared_enter(const rm_shared *what) {
  rm_shared r = *what;
  r.twin = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (r.twin == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  bool open = !rm_shared_one_address(&r) || open_pages(r.host, r.bytes);
  if (open && append(&r)) return CUDA_SUCCESS;
  munmap(r.twin, r.bytes);
  return CUDA_ERROR_OUT_OF_MEMORY;
}

void rm_shared_leave(uint32_t index, rm_shared *out) {
  pthread_mutex_lock(&lock);
  *out = rm_shared_ranges[index];
  rm_shared_ranges[index] = rm_shared_ranges[rm_shared_count - 1];
  __atomic_store_n(&rm_shared_count, rm_shared_count - 1, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&lock);
  munmap(out->twin, out->bytes);
  if (rm_shared_one_address(out)) close_pages(out->host, out->bytes);
}

bool rm_shared_translate(uint64_t *address) {
  pthread_mutex_lock(&lock);
  const rm_shared *r = find(*address, false);
  if (r) *address += r->device - r->host;
  bool shared = r || find(*address, true);
  pthread_mutex_unlock(&lock);
  return shared;
}

bool rm_shared_any_time(uint64_t address) {
  pthread_mutex_lock(&lock);
  rm_shared *r = find(address, false);
  if (r) r->any_time = true;
  pthread_mutex_unlock(&lock);
  return r;
}
