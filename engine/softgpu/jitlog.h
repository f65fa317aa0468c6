/* The JIT's messages: into the program's log buffers when it gave some, else one line on stderr. */
#ifndef SG_JITLOG_H
#define SG_JITLOG_H
#include "cuda_types.h"

typedef struct sg_jit_log {
  char *errors, *infos;
  size_t error_room, info_room;
  void **error_size, **info_size; /* where the program reads how much was written */
} sg_jit_log;

/* Takes the buffers out of the JIT options; other options are accepted and have no effect. */
void sg_jit_log_open(sg_jit_log *log, unsigned count, const CUjit_option *options, void **values);
void sg_jit_log_error(sg_jit_log *log, CUresult error, const char *text);
#endif
