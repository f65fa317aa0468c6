/* printed.h: what kernels print, between the reading thread and the program's standard output. */
#ifndef REMORA_SHIM_PRINTED_H
#define REMORA_SHIM_PRINTED_H

#include <stdint.h>

/* Called on the reading thread, which must not wait for whoever empties the standard output. */
void rm_printed_keep(const void *text, uint32_t bytes);

/* Writes all that was kept; may block, as a program's own writing may. Called where a wait ends. */
void rm_printed_write(void);

#endif
