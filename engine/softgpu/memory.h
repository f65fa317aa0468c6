/* Device memory and the table of every address the driver knows. Device memory is host memory in a
   reserved high range of its own, with unmapped guard pages between allocations. */
#ifndef SG_MEMORY_H
#define SG_MEMORY_H
#include "context.h"
#include "ranges.h"

enum { SG_ALLOCATION_ALIGN = 512, SG_PAGE = 4096 };

static inline size_t sg_round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

CUresult sg_memory_init_device(sg_device *device);
/* Charges and maps zeroed memory. owner: a pool or NULL. */
CUresult sg_memory_alloc(sg_context *context, size_t bytes, sg_range_kind kind, void *owner,
                         uintptr_t *address);
/* Unmaps the allocation that starts at the address. Nothing may use it any more. */
CUresult sg_memory_free(uintptr_t address, sg_range_kind kind);
/* Frees everything that belongs to a context. */
void sg_memory_forget(sg_context *context);

/* What lies at the address (a copy); false: nothing the driver knows. */
bool sg_memory_find(uintptr_t address, sg_range *range);
bool sg_memory_add(sg_range *range);
/* Notes that an allocation is managed memory. */
void sg_memory_set_managed(uintptr_t address);
/* Takes a range that starts at the address out of the table. */
bool sg_memory_remove(uintptr_t address, sg_range_kind kind, sg_range *range);
/* Whether ranges without a gap between them hold all of [address, address + bytes). */
bool sg_memory_covers(uintptr_t address, size_t bytes);
/* See visible.h. */
int sg_mapped_file(const void *at, size_t n, uint64_t *offset);
#endif
