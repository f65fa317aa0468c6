/* Writes JIT messages where the program asked for them. */
#include "jitlog.h"
#include "say.h"
#include <stdio.h>
#include <string.h>

static void take(sg_jit_log *log, CUjit_option option, void **value) {
  switch (option) {
  case CU_JIT_ERROR_LOG_BUFFER: log->errors = *value; break;
  case CU_JIT_INFO_LOG_BUFFER: log->infos = *value; break;
  case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
    log->error_room = (uint32_t)(uintptr_t)*value;
    log->error_size = value;
    break;
  case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
    log->info_room = (uint32_t)(uintptr_t)*value;
    log->info_size = value;
    break;
  default: break;
  }
}

void sg_jit_log_open(sg_jit_log *log, unsigned count, const CUjit_option *options, void **values) {
  *log = (sg_jit_log){0};
  for (unsigned i = 0; options && values && i < count; i++) take(log, options[i], &values[i]);
  if (log->errors && log->error_room) log->errors[0] = 0;
  if (log->infos && log->info_room) log->infos[0] = 0;
  if (log->error_size) *log->error_size = NULL;
  if (log->info_size) *log->info_size = NULL;
}

void sg_jit_log_error(sg_jit_log *log, CUresult error, const char *text) {
  if (!log || !log->errors || !log->error_room) {
    char line[2048];
    snprintf(line, sizeof line, "softgpu: error %d: %.1900s\n", (int)error, text);
    sg_say(line);
    return;
  }
  snprintf(log->errors, log->error_room, "%s", text);
  if (log->error_size) *log->error_size = (void *)(uintptr_t)(strlen(log->errors) + 1);
}
