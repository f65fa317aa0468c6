/* Handles: every CUstream, CUevent, CUcontext, CUmodule ... is a pointer into one arena, so that a
   handle is checked by range, alignment and kind before it is followed. */
#ifndef SG_HANDLE_H
#define SG_HANDLE_H
#include "cuda_types.h"

typedef enum sg_kind {
  SG_FREE = 0,
  SG_CONTEXT,
  SG_STREAM,
  SG_EVENT,
  SG_MODULE,
  SG_LIBRARY,
  SG_KERNEL,
  SG_POOL,
  SG_PHYSICAL,
  SG_LINK,
} sg_kind;

enum { SG_SLOT_BYTES = 512 };

/* First member of every object behind a handle. */
typedef struct sg_object {
  _Atomic uint32_t kind;
  uint32_t next_free;
} sg_object;

/* A zeroed slot of the kind, or NULL when there are none left. bytes <= SG_SLOT_BYTES. */
void *sg_object_new(sg_kind kind, size_t bytes);
/* The object if the handle is a live one of this kind, else NULL. Never faults. */
void *sg_object_get(const void *handle, sg_kind kind);
/* From now on the handle is unknown; the slot stays the caller's. */
void sg_object_retire(void *object);
/* Gives the slot back (retiring it first where needed). */
void sg_object_free(void *object);
/* The live object after `previous` of a kind (NULL: the first), in address order. */
void *sg_object_next(sg_kind kind, const void *previous);
#endif
