/* callback.h: what the engine asks of this side: host functions to run, pinned bytes to send. Each
 * has a thread of its own, so that a program's function that blocks stops neither the reader nor
 * another stream's copies.
 * Must not know: the stubs. */
#ifndef REMORA_SHIM_CALLBACK_H
#define REMORA_SHIM_CALLBACK_H

#include <stdint.h>

#include "../../transport/wire.h"

/* Called on the reading thread: they copy the request and return. */
void rm_callback_enqueue(const rm_callback *request);
void rm_pull_enqueue(const rm_pull *request);
/* The session has ended: returns once no pull reads the program's memory any more. */
void rm_pulls_end(void);

#endif
