/* advice.h: what a program advised about managed memory, for who asks. Nothing follows from it.
 * Part of both driver libraries. Addresses are checked by the caller. */
#ifndef REMORA_SHIM_ADVICE_H
#define REMORA_SHIM_ADVICE_H

#include "../generated/cuda_abi.h"

/* CUDA_ERROR_INVALID_VALUE: no such advice; _OUT_OF_MEMORY. */
CUresult advice_set(CUdeviceptr at, size_t bytes, CUmem_advise advice, CUmemLocation location);
CUresult advice_prefetched(CUdeviceptr at, size_t bytes, CUmemLocation location);
/* The range is new memory: nothing was advised about it. */
void advice_forget(CUdeviceptr at, size_t bytes);
/* As cuMemRangeGetAttribute, for a range that lies in managed memory. */
CUresult advice_get(void *data, size_t size, CUmem_range_attribute attribute, CUdeviceptr at,
                    size_t bytes);

#endif
