/* The names that compiled kernels may refer to, besides their module's own. */
#ifndef SG_RUNTIME_H
#define SG_RUNTIME_H
#include <stddef.h>
#include <stdint.h>

enum { SG_HEAP_BYTES = 8 << 20 }; /* of the device heap, until a program asks for more */

/* cudaLimitMallocHeapSize */
void sg_runtime_limit_heap(size_t bytes);

/* Its address, 0 for a name that kernels have no business with. */
uintptr_t sg_runtime_symbol(const char *name);
#endif
