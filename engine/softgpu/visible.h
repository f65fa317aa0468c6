/* visible.h: how the software GPU tells the engine that the CPU sees its device memory, mapped, at
 * its device address. A private export table (cuGetExportTable): no other driver knows it, so
 * whoever finds it may read and write device memory in place, while no work is under way that would
 * have to come before. Must not know: who asks. */
#ifndef SG_VISIBLE_H
#define SG_VISIBLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the table holds. */
typedef struct sg_visible {
  size_t bytes;       /* of the table */
  bool (*rest)(void); /* whether no stream of this process has anything left to do. Any thread */
  /* The file of which [at, at + n), mapped by cuMemMap, is the bytes from *offset on; -1: there is
   * none. The driver keeps it; another process may map it too. */
  int (*file)(const void *at, size_t n, uint64_t *offset);
  /* Has what the driver writes to standard error told to `hear` as well, on any thread: why an
   * image was refused, which assertion failed. */
  void (*listen)(void (*hear)(const char *text, size_t n));
} sg_visible;

/* The bytes of its CUuuid; made at random once. */
#define SG_VISIBLE_UUID                                                                            \
  {0x5e, 0x0d, 0x8b, 0x41, 0x93, 0x7a, 0x4c, 0x26, 0xb1, 0xf4, 0x2e, 0x67, 0xc8, 0x19, 0xd5, 0x3b}

#endif
