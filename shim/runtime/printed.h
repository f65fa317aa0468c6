/* printed.h: what kernels print and what the engine's driver says, between the reading thread and
 * the program's standard output and standard error. */
#ifndef REMORA_SHIM_PRINTED_H
#define REMORA_SHIM_PRINTED_H

#include <stdbool.h>
#include <stdint.h>

/* error: for standard error. Called on the reading thread, which must not wait for whoever empties
 * the standard output. */
void rm_printed_keep(bool error, const void *text, uint32_t bytes);

/* Writes all that was kept; may block, as a program's own writing may. Called where a wait ends. */
void rm_printed_write(void);

#endif
