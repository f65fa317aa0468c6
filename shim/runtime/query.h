/* query.h: stream and event queries, answered here with at most one posted mark for new work. */
#ifndef REMORA_SHIM_QUERY_H
#define REMORA_SHIM_QUERY_H

#include "objects.h"

/* CUDA_SUCCESS when the work of this stream (event id 0) or event is complete, else
 * CUDA_ERROR_NOT_READY, or the failure that ended it. Never waits. */
CUresult rm_query(rm_context *context, rm_progress *progress, uint64_t stream_id,
                  uint64_t event_id);
/* A wait told that all of this stream's or event's work up to stamp is complete. */
void rm_progress_learned(rm_progress *progress, uint64_t stamp);

#endif
