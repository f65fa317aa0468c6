/* integrity.h: the answer by which CUDA's runtime recognises a driver library. Published in the
 * open-source project ZLUDA (dark_api/src/lib.rs). */
#ifndef REMORA_SHIM_INTEGRITY_H
#define REMORA_SHIM_INTEGRITY_H

#include <stdint.h>

/* What the answer depends on besides the devices; the addresses are those the client sees. */
typedef struct rm_integrity {
  uint32_t driver_version, runtime_version, pid, thread;
  uint64_t runtime_table, integrity_table, function, seconds;
} rm_integrity;

typedef struct rm_integrity_device {
  uint8_t uuid[16];
  int32_t domain, bus, device;
} rm_integrity_device;

#define RM_INTEGRITY_DEVICES_MAX 64

void rm_integrity_answer(const rm_integrity *what, const rm_integrity_device *devices,
                         uint32_t count, uint64_t out[2]);

#endif
