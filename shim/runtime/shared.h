/* shared.h: memory that host and kernels both use: managed memory and mapped pinned memory.
 *
 * It exists twice, here and on the device, and is made equal at the points where CUDA lets the
 * other side look: what the host changed goes up before a launch, what kernels changed comes down
 * after a wait. A third copy, the twin, is what both last agreed on: whoever differs from it has
 * written. Must not know: what programs call it. */
#ifndef REMORA_SHIM_SHARED_H
#define REMORA_SHIM_SHARED_H

#include "progress.h"

typedef struct rm_shared {
  uint64_t host, device; /* the same address, unless the memory was the program's before */
  size_t bytes;
  char *twin;
  bool any_time;       /* the host may write it while kernels run: looked at before every launch */
  rm_context *context; /* NULL: a managed variable, */
  const void *owner;   /* of this module */
} rm_shared;

extern uint32_t rm_shared_count;

/* Whether there is any: all else here is needed only then. */
static inline bool rm_shared_any(void) {
  return __atomic_load_n(&rm_shared_count, __ATOMIC_ACQUIRE) != 0;
}

/* Starts sharing; the device's side becomes zero. Where host and device are one address, the pages
 * there become usable and zero; else what the host's side holds goes up when it is needed. */
CUresult rm_shared_add(rm_context *context, uint64_t host, uint64_t device, size_t bytes,
                       bool any_time);
/* The same for a managed variable, whose address the device's driver chose; what it holds comes
 * here. CUDA_ERROR_NOT_SUPPORTED if that address is not free here. */
CUresult rm_shared_add_variable(rm_context *context, const void *module, uint64_t address,
                                size_t bytes);
/* Ends it for the range that starts at this host address; the device's memory remains. */
bool rm_shared_remove(uint64_t host, rm_shared *out);
/* Forgets those of a context that is gone, with their addresses. */
void rm_shared_forget(rm_context *context);
/* Forgets a module's variables. */
void rm_shared_forget_owner(const void *module);
/* Whether the address is shared; a host address becomes the device's. */
bool rm_shared_translate(uint64_t *address);
/* From now on the host may write the range at any time. False: it is not shared. */
bool rm_shared_any_time(uint64_t address);

/* Before work that may use shared memory: the host's changes go up. After a launch, managed memory
 * is the device's until a wait returns. */
CUresult rm_shared_flush(rm_context *context, bool launch);
/* After work that may write it was posted to this stream. */
void rm_shared_written(rm_context *context, rm_progress *stream);
/* After a wait: all work of the stream (NULL: of the context) up to stamp is done; what kernels
 * changed comes down. */
CUresult rm_shared_synced(rm_context *context, rm_progress *stream, uint64_t stamp);

/* Whether a record fills or copies to shared memory, or is of a kind that may: what comes of it
 * must be here when the call returns. */
bool rm_shared_fills(const rm_record *record);
bool rm_shared_may_fill(uint16_t op);
/* After a copy or fill was posted: waits for it, and fetches what came of it or, if it filled
 * nothing that is shared, of kernels before it. */
CUresult rm_shared_settle(rm_context *context, bool filled);

#endif
