/* batch.h: copies that other copies are made of: batches, and boxes between devices. Part of both
 * driver libraries: each makes the copies in its own way. */
#ifndef REMORA_SHIM_BATCH_H
#define REMORA_SHIM_BATCH_H

#include <stdbool.h>

#include "../generated/cuda_abi.h"

/* Whether a batch is well formed. *sync: a source may go once the call returns, so that the caller
 * waits for the stream. */
bool batch_valid(const CUmemcpyAttributes *attributes, const size_t *firsts, size_t kinds,
                 size_t count, CUstream stream, bool *sync);
/* One copy of a batch of boxes. CUDA_ERROR_NOT_SUPPORTED: of an array. */
CUresult batch_box(const CUDA_MEMCPY3D_BATCH_OP *op, CUDA_MEMCPY3D *box, bool *sync);
/* The same copy without its contexts: an address says which device it is of. */
CUDA_MEMCPY3D batch_peer_box(const CUDA_MEMCPY3D_PEER *copy);

#endif
