/* printed.h: what kernels print, and what the driver says, kept until the client is told.
 *
 * A driver writes kernels' printf to the standard output of its own process, which is the engine's
 * here. That output goes to a file in memory instead: nobody who writes to it ever has to wait. */
#ifndef REMORA_ENGINE_PRINTED_H
#define REMORA_ENGINE_PRINTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Turns this process's standard output into the file. Once. */
void printed_begin(void);

/* Keeps text for the client's standard error. What no longer fits is dropped. */
void printed_error(const char *text, size_t bytes);

/* A kernel was launched: from now on it is worth looking. */
void printed_expect(void);

/* Whether there is text that nobody has told yet. */
bool printed_waiting(void);

/* Between these two, one thread at a time takes text and tells it; the second says that it did. */
void printed_lock(void);
void printed_unlock(void);

/* Takes up to `room` bytes of what was written since the last time; *error: for standard error. */
uint32_t printed_take(void *to, uint32_t room, int *error);

#endif
