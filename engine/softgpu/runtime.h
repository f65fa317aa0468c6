/* The names that compiled kernels may refer to, besides their module's own. */
#ifndef SG_RUNTIME_H
#define SG_RUNTIME_H
#include <stdint.h>

/* Its address, 0 for a name that kernels have no business with. */
uintptr_t sg_runtime_symbol(const char *name);
#endif
