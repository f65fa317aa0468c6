/* A device: identity, attributes, memory size. Also where the driver is initialised and where a
   forked child is noticed. */
#ifndef SG_DEVICE_H
#define SG_DEVICE_H
#include "cuda_types.h"
#include "settings.h"

struct sg_context;
struct sg_pool;

typedef struct sg_device {
  int ordinal;
  size_t memory_bytes;
  _Atomic size_t memory_used;
  struct sg_context *primary; /* made by cuInit, active while retained */
  struct sg_pool *default_pool, *current_pool;
} sg_device;

enum { SG_DRIVER_VERSION = 13000 };

/* CUDA_ERROR_NOT_INITIALIZED before cuInit and in a forked child. */
CUresult sg_initialised(void);
int sg_device_count(void);
/* The device, or NULL when the ordinal is out of range. */
sg_device *sg_device_at(int ordinal);
void sg_device_uuid(int ordinal, uint8_t uuid[16]);
/* 0 for attributes that are unknown or not there. */
int sg_device_attribute(int ordinal, int attribute);
/* Charges device memory; false when there is not enough left. */
bool sg_device_charge(sg_device *device, size_t bytes);
void sg_device_refund(sg_device *device, size_t bytes);
#endif
