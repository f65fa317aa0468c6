/* Virtual memory management: address ranges, physical memory, mappings. The physical memory of a
   device is one sparse file in memory; an allocation is a stretch of it, so that it can be mapped
   at several places and keeps its contents while it is mapped nowhere. */
#define _GNU_SOURCE
#include "handle.h"
#include "memory.h"
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GRANULARITY = 2 << 20 };

/* What is mapped at once gets huge pages from two of them on, and up to 1 GiB: below, little would
 * be gained by memory that may never be touched; beyond, it may be a pool that is filled slowly. */
enum { FURNISH_LEAST = 2 * GRANULARITY, FURNISH_MOST = 1 << 30 };

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

typedef struct physical {
  sg_object object;
  sg_device *device;
  size_t bytes;
  off_t place;
  _Atomic int references; /* the handle's (retained ones too) and each mapping's */
} physical;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static sg_ranges reserved;
static int files[SG_MAX_DEVICES];
static off_t file_end[SG_MAX_DEVICES];

/* ---- address ranges */

static void *reserve_at(CUdeviceptr hint, size_t bytes, size_t align) {
  int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (hint && hint % align == 0) {
    void *p = mmap((void *)hint, bytes, PROT_NONE, flags | MAP_FIXED_NOREPLACE, -1, 0);
    if (p == (void *)hint) return p;
    if (p != MAP_FAILED) munmap(p, bytes); /* kernels before 4.17 take it for a hint */
  }
  char *p = mmap(NULL, bytes + align, PROT_NONE, flags, -1, 0);
  if (p == MAP_FAILED) return NULL;
  char *start = (char *)sg_round_up((uintptr_t)p, align);
  if (start > p) munmap(p, (size_t)(start - p));
  if (start < p + align) munmap(start + bytes, (size_t)(p + align - start));
  return start;
}

CUresult sg_cuMemAddressReserve(CUdeviceptr *pointer, size_t bytes, size_t align, CUdeviceptr hint,
                                unsigned long long flags) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (align < GRANULARITY) align = GRANULARITY;
  if (!pointer || !bytes || bytes % GRANULARITY || flags || (align & (align - 1)))
    return CUDA_ERROR_INVALID_VALUE;
  void *p = reserve_at(hint, bytes, align);
  if (!p) return CUDA_ERROR_OUT_OF_MEMORY;
  madvise(p, bytes, MADV_DONTFORK);
  sg_range range = {.base = (uintptr_t)p, .bytes = bytes, .kind = SG_RANGE_RESERVED};
  pthread_mutex_lock(&lock);
  bool added = sg_ranges_add(&reserved, &range);
  pthread_mutex_unlock(&lock);
  if (!added)
    munmap(p, bytes);
  else
    *pointer = (CUdeviceptr)p;
  return added ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult sg_cuMemAddressFree(CUdeviceptr pointer, size_t bytes) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  pthread_mutex_lock(&lock);
  sg_range *range = sg_ranges_find(&reserved, pointer);
  bool whole = range && range->base == pointer && range->bytes == bytes;
  if (whole) sg_ranges_remove(&reserved, range);
  pthread_mutex_unlock(&lock);
  if (whole) munmap((void *)pointer, bytes);
  return whole ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

/* ---- physical memory */

static CUresult check_location(const CUmemAllocationProp *p, sg_device **device) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!p || p->type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  if (p->location.type != CU_MEM_LOCATION_TYPE_DEVICE ||
      p->requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE)
    return CUDA_ERROR_NOT_SUPPORTED;
  *device = sg_device_at(p->location.id);
  return *device ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult sg_cuMemGetAllocationGranularity(size_t *bytes, const CUmemAllocationProp *prop,
                                          CUmemAllocationGranularity_flags option) {
  sg_device *d;
  (void)option;
  CUresult r = check_location(prop, &d);
  if (r == CUDA_SUCCESS && !bytes) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS) *bytes = GRANULARITY;
  return r;
}

/* Room in the device's file. Lock held. */
static bool extend(physical *p) {
  int *file = &files[p->device->ordinal];
  off_t *end = &file_end[p->device->ordinal];
  if (!*file) *file = memfd_create("softgpu memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (*file <= 0 || ftruncate(*file, *end + (off_t)p->bytes) != 0) return false;
  p->place = *end;
  *end += (off_t)p->bytes;
  return true;
}

CUresult sg_cuMemCreate(CUmemGenericAllocationHandle *handle, size_t bytes,
                        const CUmemAllocationProp *prop, unsigned long long flags) {
  sg_device *d;
  CUresult r = check_location(prop, &d);
  if (r != CUDA_SUCCESS) return r;
  if (!handle || !bytes || bytes % GRANULARITY || flags) return CUDA_ERROR_INVALID_VALUE;
  physical *p = sg_object_new(SG_PHYSICAL, sizeof *p);
  if (!p || !sg_device_charge(d, bytes)) {
    if (p) sg_object_free(p);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  p->device = d;
  p->bytes = bytes;
  p->references = 1;
  pthread_mutex_lock(&lock);
  bool ok = extend(p);
  pthread_mutex_unlock(&lock);
  if (!ok) {
    sg_device_refund(d, bytes);
    sg_object_free(p);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  *handle = (CUmemGenericAllocationHandle)(uintptr_t)p;
  return CUDA_SUCCESS;
}

static void drop(physical *p) {
  if (--p->references) return;
  fallocate(files[p->device->ordinal], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, p->place,
            (off_t)p->bytes);
  sg_device_refund(p->device, p->bytes);
  sg_object_free(p);
}

static CUresult find(CUmemGenericAllocationHandle handle, physical **found) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  *found = sg_object_get((void *)(uintptr_t)handle, SG_PHYSICAL);
  return *found ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult sg_cuMemRelease(CUmemGenericAllocationHandle handle) {
  physical *p;
  CUresult r = find(handle, &p);
  if (r == CUDA_SUCCESS) drop(p);
  return r;
}

CUresult sg_cuMemRetainAllocationHandle(CUmemGenericAllocationHandle *handle, void *address) {
  sg_range range;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!handle || !sg_memory_find((uintptr_t)address, &range) || range.kind != SG_RANGE_MAPPED)
    return CUDA_ERROR_INVALID_VALUE;
  ((physical *)range.owner)->references++;
  *handle = (CUmemGenericAllocationHandle)(uintptr_t)range.owner;
  return CUDA_SUCCESS;
}

CUresult sg_cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp *prop,
                                                   CUmemGenericAllocationHandle handle) {
  physical *p;
  CUresult r = find(handle, &p);
  if (r == CUDA_SUCCESS && !prop) r = CUDA_ERROR_INVALID_VALUE;
  if (r == CUDA_SUCCESS)
    *prop = (CUmemAllocationProp){
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = p->device->ordinal}};
  return r;
}

/* ---- mappings */

static bool inside_reserved(CUdeviceptr pointer, size_t bytes) {
  pthread_mutex_lock(&lock);
  sg_range *range = sg_ranges_find(&reserved, pointer);
  bool inside = range && bytes <= range->base + range->bytes - pointer;
  pthread_mutex_unlock(&lock);
  return inside;
}

CUresult sg_cuMemMap(CUdeviceptr pointer, size_t bytes, size_t offset,
                     CUmemGenericAllocationHandle handle, unsigned long long flags) {
  physical *p;
  CUresult r = find(handle, &p);
  if (r != CUDA_SUCCESS) return r;
  if (flags || !bytes || (pointer | bytes | offset) % GRANULARITY || offset > p->bytes ||
      bytes > p->bytes - offset || !inside_reserved(pointer, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  sg_range range = {.base = pointer,
                    .bytes = bytes,
                    .kind = SG_RANGE_MAPPED,
                    .context = sg_context_current(),
                    .device = p->device,
                    .owner = p,
                    .place = (size_t)p->place + offset};
  if (!sg_memory_add(&range)) return CUDA_ERROR_INVALID_VALUE; /* something is mapped there */
  void *at = mmap((void *)pointer, bytes, PROT_NONE, MAP_SHARED | MAP_FIXED,
                  files[p->device->ordinal], p->place + (off_t)offset);
  if (at == MAP_FAILED) {
    sg_memory_remove(pointer, SG_RANGE_MAPPED, &range);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  madvise(at, bytes, MADV_DONTFORK);
  p->references++;
  return CUDA_SUCCESS;
}

int sg_mapped_file(const void *at, size_t n, uint64_t *offset) {
  sg_range range;
  uintptr_t from = (uintptr_t)at;
  if (!sg_memory_find(from, &range) || range.kind != SG_RANGE_MAPPED ||
      n > range.base + range.bytes - from)
    return -1;
  *offset = range.place + (from - range.base);
  return files[range.device->ordinal];
}

/* Back to reserved and empty. */
static void unmap(const sg_range *range) {
  mmap((void *)range->base, range->bytes, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  madvise((void *)range->base, range->bytes, MADV_DONTFORK);
  drop(range->owner);
}

/* Whether mappings fill [pointer, pointer + bytes) exactly. */
static bool whole_mappings(CUdeviceptr pointer, size_t bytes) {
  CUdeviceptr at = pointer;
  sg_range range;
  while (at < pointer + bytes) {
    if (!sg_memory_find(at, &range) || range.kind != SG_RANGE_MAPPED || range.base != at)
      return false;
    at += range.bytes;
  }
  return at == pointer + bytes;
}

CUresult sg_cuMemUnmap(CUdeviceptr pointer, size_t bytes) {
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!bytes || !whole_mappings(pointer, bytes)) return CUDA_ERROR_INVALID_VALUE;
  sg_range range;
  for (CUdeviceptr at = pointer; at < pointer + bytes; at += range.bytes) {
    if (!sg_memory_remove(at, SG_RANGE_MAPPED, &range)) return CUDA_ERROR_INVALID_VALUE;
    unmap(&range);
  }
  return CUDA_SUCCESS;
}

static bool is_plenty(size_t bytes) {
  return (size_t)sysconf(_SC_AVPHYS_PAGES) / 4 * SG_PAGE > bytes;
}

/* Puts huge pages under fresh memory. A file's memory gets them when they are asked for, whatever
 * the system's setting, where a page is there already. 256 MiB then took 22 ms to fill instead of
 * 155, and a process that maps the file too saves 80 ms of page faults. */
static void furnish(CUdeviceptr at, size_t bytes) {
  if (bytes < FURNISH_LEAST || bytes > FURNISH_MOST || !is_plenty(bytes)) return;
  for (CUdeviceptr end = at + bytes; at < end; at += GRANULARITY) {
    (void)*(volatile uint8_t *)at;
    if (madvise((void *)at, GRANULARITY, MADV_COLLAPSE) != 0) return;
  }
}

/* One address space for all devices: the widest access asked for counts. */
CUresult sg_cuMemSetAccess(CUdeviceptr pointer, size_t bytes, const CUmemAccessDesc *descriptions,
                           size_t count) {
  int protection = PROT_NONE;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!descriptions || !count || !bytes || !inside_reserved(pointer, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; i++) {
    if (descriptions[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
      protection |= PROT_READ | PROT_WRITE;
    if (descriptions[i].flags == CU_MEM_ACCESS_FLAGS_PROT_READ) protection |= PROT_READ;
  }
  if (mprotect((void *)pointer, bytes, protection) != 0) return CUDA_ERROR_INVALID_VALUE;
  if (protection & PROT_WRITE) furnish(pointer, bytes);
  return CUDA_SUCCESS;
}

CUresult sg_cuMemGetAccess(unsigned long long *flags, const CUmemLocation *location,
                           CUdeviceptr pointer) {
  sg_range range;
  CUresult r = sg_initialised();
  if (r != CUDA_SUCCESS) return r;
  if (!flags || !location || !sg_memory_find(pointer, &range)) return CUDA_ERROR_INVALID_VALUE;
  *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  return CUDA_SUCCESS;
}
