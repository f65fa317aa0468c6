/* A sorted table of address ranges, for "what lies at this address" and "where is room". */
#ifndef SG_RANGES_H
#define SG_RANGES_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sg_range_kind {
  SG_RANGE_DEVICE = 1, /* cuMemAlloc and its like */
  SG_RANGE_MAPPED,     /* cuMemMap */
  SG_RANGE_VARIABLE,   /* a module's variables */
  SG_RANGE_MANAGED,    /* managed variables of a library, which is of no context */
  SG_RANGE_HOST,       /* cuMemHostAlloc */
  SG_RANGE_REGISTERED, /* cuMemHostRegister */
  SG_RANGE_RESERVED,   /* cuMemAddressReserve */
} sg_range_kind;

typedef struct sg_range {
  uintptr_t base;
  size_t bytes;
  sg_range_kind kind;
  unsigned flags; /* as the program gave them; of host memory */
  bool managed;
  struct sg_context *context;
  struct sg_device *device;
  void *owner;   /* a pool, a physical allocation */
  size_t charge; /* device memory it costs */
  size_t place;  /* of mapped memory: where it begins in the device's file */
  uint64_t id;
} sg_range;

typedef struct sg_ranges {
  sg_range *at;
  size_t count, room;
} sg_ranges;

/* Index of the first range that ends above the address; count where there is none. */
size_t sg_ranges_after(const sg_ranges *table, uintptr_t address);
/* The range that holds the address, or NULL. */
sg_range *sg_ranges_find(const sg_ranges *table, uintptr_t address);
/* False when it would overlap another range or memory is out. */
bool sg_ranges_add(sg_ranges *table, const sg_range *range);
void sg_ranges_remove(sg_ranges *table, sg_range *range);
#endif
