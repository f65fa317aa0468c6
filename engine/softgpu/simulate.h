/* Simulated time: a device whose launches and copies take as long as the settings say, so that
   partitions and overlap can be tested on any machine. Results are computed all the same. */
#ifndef SG_SIMULATE_H
#define SG_SIMULATE_H
#include "device.h"

typedef struct sg_stay {
  sg_device *device;
  int processors; /* multiprocessors that it occupies */
  int64_t until;
} sg_stay;

/* Waits until the device has multiprocessors for so many blocks; of those that wait, the streams of
   the highest priority (the lowest number) come first. Nothing where compute is real. */
void sg_simulate_enter(sg_stay *stay, sg_device *device, uint64_t blocks, uint32_t threads,
                       int priority);
/* Waits for the end of the launch's time and gives its multiprocessors back. */
void sg_simulate_leave(sg_stay *stay);

typedef enum sg_way { SG_WAY_NONE, SG_WAY_IN, SG_WAY_OUT } sg_way;
/* Waits as long as the bytes need, behind those that were on their way in this direction. begun:
   when the copy began, by sg_simulate_now. */
void sg_simulate_copy(sg_device *device, sg_way way, size_t bytes, int64_t begun);
int64_t sg_simulate_now(void);
#endif
