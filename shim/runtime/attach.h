/* attach.h: connecting to the server that the environment names, and taking its grant. */
#ifndef REMORA_SHIM_ATTACH_H
#define REMORA_SHIM_ATTACH_H

#include "session.h"

/* Fills rm_session and starts its channel. A failure is told on stderr. CUDA_ERROR_NO_DEVICE: no
 * server was named or it can't be reached; _DEVICE_UNAVAILABLE: it refused;
 * _SYSTEM_DRIVER_MISMATCH: it speaks another version. */
CUresult rm_attach_to_server(const rm_events *events);

/* Orders and filters devices as CUDA_VISIBLE_DEVICES says: ordinals, or GPU-UUIDs that may be cut
 * short, up to the first that is unknown, ambiguous or repeated. NULL text: all. Writes indices of
 * devices; returns how many. */
uint32_t rm_visible_devices(const char *text, const rm_device *devices, uint32_t count,
                            uint32_t *indices);

#endif
