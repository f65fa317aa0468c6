/* Contexts: primary ones, made ones, the stack of each thread, and the sticky error that stays on a
   context until it is reset. */
#ifndef SG_CONTEXT_H
#define SG_CONTEXT_H
#include "device.h"
#include "handle.h"
#include <pthread.h>

struct sg_queue;

enum { SG_LIMITS = 16 };

typedef struct sg_context {
  sg_object object;
  sg_device *device;
  uint64_t id;
  unsigned flags;
  int retains;             /* of a primary context */
  _Atomic bool active;     /* a primary context is active while retained */
  _Atomic int sticky;      /* CUresult that every call returns from now on, 0: none */
  pthread_mutex_t lock;    /* guards the list of queues and the order of submissions */
  struct sg_queue *queues; /* all of the context's, the legacy default stream's among them */
  struct sg_queue *legacy; /* the default stream */
  uint32_t peers;          /* devices whose access was enabled, as bits */
  size_t limits[SG_LIMITS];
} sg_context;

/* Set while a queue's thread is in a host function of the program. */
extern __thread bool sg_in_host_function;

sg_context *sg_context_make_primary(sg_device *device);
sg_context *sg_context_current(void);
/* The current context of a call that needs a working one; else the error to return. */
CUresult sg_enter(sg_context **context);
/* Same for a handle: NULL means the current one. */
CUresult sg_enter_context(CUcontext handle, sg_context **context);
/* The context's sticky error, or that it is gone. */
CUresult sg_context_state(const sg_context *context);
/* Makes an error sticky (the first one stays). */
void sg_context_break(sg_context *context, CUresult error);
#endif
