/* Every knob of the software GPU, read once from the environment, each with its default and reason.
 */
#ifndef SG_SETTINGS_H
#define SG_SETTINGS_H
#include <stdbool.h>
#include <stddef.h>

enum { SG_MAX_DEVICES = 8 };

typedef struct sg_settings {
  int devices; /* REMORA_SOFTGPU_DEVICES: 1..8, default 1 */
  size_t
      memory_bytes; /* REMORA_SOFTGPU_MEMORY_MIB: of each device, default half of the machine's */
  bool visible;     /* REMORA_SOFTGPU_VISIBLE: 0 hides that the CPU sees device memory; 1 */
  int launch_us;    /* REMORA_SOFTGPU_LAUNCH_US: 0, compute is real: a launch takes what the worker
                       threads need; else simulated: so long for each wave of its blocks */
  int copy_mib_s;   /* REMORA_SOFTGPU_COPY_MIB_S: of each direction between host and device; 0, as
                       fast as memory. Hides that the CPU sees device memory */
  int workers;      /* REMORA_SOFTGPU_WORKERS: threads that run blocks, default one per CPU */
  int processors;   /* REMORA_SOFTGPU_SMS: multiprocessors reported, default = workers */
  int clock_khz;    /* REMORA_SOFTGPU_CLOCK_MHZ: clock rate reported, default 1000 MHz */
  int capability;   /* REMORA_SOFTGPU_CAPABILITY: compute capability times 10, default 120 */
  int driver_version; /* REMORA_DRIVER_VERSION: what programs are told, 13040 for 13.4 */
  const char *python; /* REMORA_SOFTGPU_PYTHON: interpreter of the compile helper, python3 */
  const char *cache;  /* REMORA_SOFTGPU_CACHE: folder of compiled kernels; NULL: the user's cache */
} sg_settings;

const sg_settings *sg_config(void);
#endif
