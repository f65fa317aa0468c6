/* Device memory: a reserved range per device, cut in allocations with a guard page after each.
   Addresses are handed out upwards and wrap, so that a freed one stays unmapped for long. */
#define _GNU_SOURCE
#include "../../shim/runtime/advice.h"
#include "memory.h"
#include "queue.h"
#include <errno.h>
#include <sys/mman.h>

/* High, far from where heaps, stacks and libraries live, and from the range that a remote client
   reserves (whose addresses are mapped here by cuMemAddressReserve); 1 TiB for each device. */
static const uintptr_t first_base = 0x180000000000u;
static const size_t region_bytes = (size_t)1 << 40;
enum { HUGE_PAGE = 2 << 20 };

typedef struct region {
  uintptr_t base, end, cursor;
} region;

static region regions[SG_MAX_DEVICES];
static sg_ranges table;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static uint64_t next_id = 1;

CUresult sg_memory_init_device(sg_device *device) {
  region *r = &regions[device->ordinal];
  uintptr_t hint = first_base + (uintptr_t)device->ordinal * region_bytes;
  size_t least = 2 * sg_round_up(device->memory_bytes, HUGE_PAGE);
  for (size_t bytes = region_bytes; bytes >= least; bytes /= 2) {
    void *p =
        mmap((void *)hint, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) continue;
    madvise(p, bytes, MADV_DONTFORK);
    *r = (region){(uintptr_t)p, (uintptr_t)p + bytes, (uintptr_t)p};
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_OUT_OF_MEMORY;
}

/* ---- the table */

bool sg_memory_find(uintptr_t address, sg_range *range) {
  pthread_rwlock_rdlock(&lock);
  sg_range *found = sg_ranges_find(&table, address);
  if (found) *range = *found;
  pthread_rwlock_unlock(&lock);
  return found;
}

/* Adjacent mappings count as one: an allocation may lie on several pieces of physical memory. */
bool sg_memory_covers(uintptr_t address, size_t bytes) {
  uintptr_t end = address + bytes;
  pthread_rwlock_rdlock(&lock);
  for (size_t i = sg_ranges_after(&table, address); address < end && i < table.count; i++) {
    if (table.at[i].base > address) break;
    address = table.at[i].base + table.at[i].bytes;
  }
  pthread_rwlock_unlock(&lock);
  return address >= end;
}

bool sg_memory_add(sg_range *range) {
  pthread_rwlock_wrlock(&lock);
  range->id = next_id++;
  bool added = sg_ranges_add(&table, range);
  pthread_rwlock_unlock(&lock);
  return added;
}

bool sg_memory_remove(uintptr_t address, sg_range_kind kind, sg_range *range) {
  pthread_rwlock_wrlock(&lock);
  sg_range *found = sg_ranges_find(&table, address);
  bool ok = found && found->base == address && found->kind == kind;
  if (ok) {
    *range = *found;
    sg_ranges_remove(&table, found);
  }
  pthread_rwlock_unlock(&lock);
  return ok;
}

void sg_memory_set_managed(uintptr_t address) {
  pthread_rwlock_wrlock(&lock);
  sg_range *found = sg_ranges_find(&table, address);
  if (found) found->managed = true;
  pthread_rwlock_unlock(&lock);
}

/* ---- room in a region; lock held */

static uintptr_t fit(const region *r, uintptr_t from, size_t bytes, size_t align) {
  uintptr_t at = sg_round_up(from, align);
  for (size_t i = sg_ranges_after(&table, at); at + bytes <= r->end; i++) {
    if (i == table.count || table.at[i].base >= at + bytes) return at;
    at = sg_round_up(table.at[i].base + table.at[i].bytes + SG_PAGE, align);
  }
  return 0;
}

static uintptr_t place(region *r, size_t bytes) {
  size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : SG_PAGE, with_guard = bytes + SG_PAGE;
  uintptr_t at = fit(r, r->cursor, with_guard, align);
  if (!at) at = fit(r, r->base, with_guard, align);
  if (at) r->cursor = at + with_guard;
  return at;
}

/* ---- allocations */

static bool map(uintptr_t address, size_t bytes) {
  if (mprotect((void *)address, bytes, PROT_READ | PROT_WRITE) != 0) return false;
  if (bytes >= HUGE_PAGE) madvise((void *)address, bytes, MADV_HUGEPAGE);
  return true;
}

static void unmap(uintptr_t address, size_t bytes) {
  madvise((void *)address, bytes, MADV_DONTNEED);
  mprotect((void *)address, bytes, PROT_NONE);
}

static uintptr_t take(sg_range *range) {
  size_t mapped = sg_round_up(range->bytes, SG_PAGE);
  pthread_rwlock_wrlock(&lock);
  range->base = place(&regions[range->device->ordinal], mapped);
  range->id = next_id++;
  bool ok = range->base && map(range->base, mapped);
  if (ok && !sg_ranges_add(&table, range)) {
    unmap(range->base, mapped);
    ok = false;
  }
  pthread_rwlock_unlock(&lock);
  return ok ? range->base : 0;
}

CUresult sg_memory_alloc(sg_context *context, size_t bytes, sg_range_kind kind, void *owner,
                         uintptr_t *address) {
  size_t charge = sg_round_up(bytes, SG_ALLOCATION_ALIGN);
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (charge < bytes || !sg_device_charge(context->device, charge)) return CUDA_ERROR_OUT_OF_MEMORY;
  sg_range range = {.bytes = bytes,
                    .kind = kind,
                    .context = context,
                    .device = context->device,
                    .owner = owner,
                    .charge = charge};
  *address = take(&range);
  if (*address) return CUDA_SUCCESS;
  sg_device_refund(context->device, charge);
  return CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sg_memory_free(uintptr_t address, sg_range_kind kind) {
  sg_range range;
  if (!sg_memory_remove(address, kind, &range)) return CUDA_ERROR_INVALID_VALUE;
  unmap(range.base, sg_round_up(range.bytes, SG_PAGE));
  sg_device_refund(range.device, range.charge);
  return CUDA_SUCCESS;
}

static bool first_of(sg_context *context, sg_range *range) {
  bool found = false;
  pthread_rwlock_rdlock(&lock);
  for (size_t i = 0; i < table.count && !found; i++) {
    found = table.at[i].context == context &&
            (table.at[i].kind == SG_RANGE_DEVICE || table.at[i].kind == SG_RANGE_VARIABLE);
    if (found) *range = table.at[i];
  }
  pthread_rwlock_unlock(&lock);
  return found;
}

void sg_memory_forget(sg_context *context) {
  sg_range range;
  while (first_of(context, &range)) sg_memory_free(range.base, range.kind);
}

/* ---- calls */

CUresult sg_cuMemAlloc(CUdeviceptr *pointer, size_t bytes) {
  sg_context *c;
  uintptr_t address = 0;
  CUresult r = sg_enter(&c);
  if (r == CUDA_SUCCESS && !pointer) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) r = sg_memory_alloc(c, bytes, SG_RANGE_DEVICE, NULL, &address);
  if (r == CUDA_SUCCESS) *pointer = address;
  return r;
}

CUresult sg_cuMemAllocManaged(CUdeviceptr *pointer, size_t bytes, unsigned int flags) {
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) return CUDA_ERROR_INVALID_VALUE;
  CUresult r = sg_cuMemAlloc(pointer, bytes);
  if (r != CUDA_SUCCESS) return r;
  sg_memory_set_managed(*pointer); /* the CPU sees all device memory */
  advice_forget(*pointer, bytes);
  return CUDA_SUCCESS;
}

CUresult sg_cuMemAllocPitch(CUdeviceptr *pointer, size_t *pitch, size_t width, size_t height,
                            unsigned int element) {
  size_t bytes;
  if (!pitch || (element != 4 && element != 8 && element != 16)) return CUDA_ERROR_INVALID_VALUE;
  *pitch = sg_round_up(width, SG_ALLOCATION_ALIGN);
  if (__builtin_mul_overflow(*pitch, height, &bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  return sg_cuMemAlloc(pointer, bytes);
}

CUresult sg_cuMemFree(CUdeviceptr pointer) {
  sg_context *c;
  sg_range range;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS || !pointer) return r;
  if (!sg_memory_find(pointer, &range) || range.base != pointer || range.kind != SG_RANGE_DEVICE)
    return CUDA_ERROR_INVALID_VALUE;
  if (range.context->active) sg_context_drain(range.context, false);
  r = sg_context_state(c);
  return r == CUDA_SUCCESS ? sg_memory_free(pointer, SG_RANGE_DEVICE) : r;
}

CUresult sg_cuMemGetInfo(size_t *free_bytes, size_t *total) {
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (total) *total = c->device->memory_bytes;
  if (free_bytes) *free_bytes = c->device->memory_bytes - c->device->memory_used;
  return CUDA_SUCCESS;
}

CUresult sg_cuMemGetAddressRange(CUdeviceptr *base, size_t *bytes, CUdeviceptr pointer) {
  sg_range range;
  sg_context *c;
  CUresult r = sg_enter(&c);
  if (r != CUDA_SUCCESS) return r;
  if (!sg_memory_find(pointer, &range)) return CUDA_ERROR_NOT_FOUND;
  if (base) *base = range.base;
  if (bytes) *bytes = range.bytes;
  return CUDA_SUCCESS;
}
