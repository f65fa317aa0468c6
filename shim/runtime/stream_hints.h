/* stream_hints.h: the attributes of a stream that a program may set. They are hints: who keeps a
 * stream keeps them for who asks. Shared with the software GPU: CUDA's types come from the header
 * that each of the two includes before it. */
#ifndef REMORA_SHIM_STREAM_HINTS_H
#define REMORA_SHIM_STREAM_HINTS_H

enum { STREAM_HINTS = 4 };

/* The place of a hint, -1: not one. */
static inline int stream_hint_at(CUstreamAttrID attribute) {
  switch ((int)attribute) {
  case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW: return 0;
  case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY: return 1;
  case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP: return 2;
  case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN: return 3;
  default: return -1;
  }
}

#endif
