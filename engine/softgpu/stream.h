/* Streams as programs see them: handles, the default streams, resolving a CUstream to its queue. */
#ifndef SG_STREAM_H
#define SG_STREAM_H
#include "queue.h"

/* The context and queue that a call on this stream works on; checks as sg_enter does. */
CUresult sg_enter_stream(CUstream handle, sg_context **context, sg_queue **queue);
/* Closes the context's streams. */
void sg_streams_forget(sg_context *context);
#endif
