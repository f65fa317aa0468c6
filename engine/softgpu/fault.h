/* Faults of kernels and copies: a wild pointer in the threads that run them becomes a CUDA error;
   every other fault goes to whoever handled it before. */
#ifndef SG_FAULT_H
#define SG_FAULT_H
#include "cuda_types.h"

/* Gives the calling thread an alternate signal stack, so that a stack overflow can be caught. */
void sg_fault_prepare_thread(void);
/* Runs body(argument). A fault inside ends it: 700 for a bad address, 719 for other faults. */
CUresult sg_fault_guard(void (*body)(void *argument), void *argument);
/* From inside a guarded body: ends it with this error. */
_Noreturn void sg_fault_leave(CUresult error);
#endif
