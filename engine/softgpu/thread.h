/* The driver's own threads: those of queues and of the pool that runs blocks. */
#ifndef SG_THREAD_H
#define SG_THREAD_H
#include <stdbool.h>

/* Starts a detached thread with a stack for kernels; false where none can be had. */
bool sg_thread_start(void *(*body)(void *), void *argument);
#endif
