/* ranges.h: the table of addresses that the program was given or has registered.
 *
 * Must not know: the channel. */
#ifndef REMORA_SHIM_RANGES_H
#define REMORA_SHIM_RANGES_H

#include "objects.h"

enum rm_range_kind {
  RM_RANGE_DEVICE,     /* device memory from an allocation call */
  RM_RANGE_MANAGED,    /* device memory that the host uses at the same address */
  RM_RANGE_GLOBAL,     /* a module's variable; its address may be anything */
  RM_RANGE_HOST,       /* pinned memory allocated here */
  RM_RANGE_REGISTERED, /* the program's own memory, pinned */
};

typedef struct rm_range {
  uint64_t base, bytes;
  enum rm_range_kind kind;
  uint32_t flags; /* as given by the program */
  rm_context *context;
  void *owner; /* the pool or module it came from */
  uint64_t id; /* unique in this process */
} rm_range;

static inline bool rm_range_pinned(const rm_range *range) {
  return range->kind == RM_RANGE_HOST || range->kind == RM_RANGE_REGISTERED;
}

/* Bounds of all pinned memory that there ever was: a quick no for any other address. */
extern uint64_t rm_pinned_low, rm_pinned_high;
static inline bool rm_pinned_perhaps(uint64_t address) {
  return address - rm_pinned_low < rm_pinned_high - rm_pinned_low;
}

/* Adds a range, gives it an id. False: out of memory, or it overlaps another (unless a global). */
bool rm_range_add(const rm_range *range);
/* Copies the range that contains the address to *out. */
bool rm_range_find(uint64_t address, rm_range *out);
/* Takes out the range that starts at base if its kind is one of kinds (bits 1 << kind). */
bool rm_range_remove(uint64_t base, unsigned kinds, rm_range *out);
/* Takes out the device ranges and globals of a context. */
void rm_range_forget(const rm_context *context);
/* Takes out the globals of a module. */
void rm_range_forget_owner(const void *owner);

#endif
