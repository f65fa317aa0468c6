/* shared_table.h: the table of shared memory, for shared.c, which keeps both sides equal. */
#ifndef REMORA_SHIM_SHARED_TABLE_H
#define REMORA_SHIM_SHARED_TABLE_H

#include "shared.h"

/* rm_shared_count of them. They move only under the lock of shared.c. */
extern rm_shared *rm_shared_ranges;

static inline bool rm_shared_one_address(const rm_shared *r) { return r->host == r->device; }

/* Adds a range and gives it a twin; where it has one address, its pages become usable and zero. */
CUresult rm_shared_enter(const rm_shared *what);
/* Takes out one by its place in the table; its pages are no longer usable. */
void rm_shared_leave(uint32_t index, rm_shared *out);

#endif
