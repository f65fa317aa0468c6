/* Memory pools for stream-ordered allocation. */
#ifndef SG_POOL_H
#define SG_POOL_H
#include "device.h"

/* Makes the device's default pool. */
CUresult sg_pool_init_device(sg_device *device);
#endif
