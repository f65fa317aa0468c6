/* A count of free multiprocessors for each device, and for each direction of its copies the time
   until which it is taken. */
#include "simulate.h"
#include <pthread.h>
#include <time.h>

enum { URGENCIES = 6, THREADS_EACH = 1536, BLOCKS_EACH = 24 };

typedef struct model {
  int taken;              /* multiprocessors */
  int waiting[URGENCIES]; /* launches, by -priority */
  int64_t busy_until[SG_WAY_OUT + 1];
} model;

static model models[SG_MAX_DEVICES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

int64_t sg_simulate_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void sleep_until(int64_t ns) {
  struct timespec t = {ns / 1000000000, ns % 1000000000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)) {
  }
}

/* ---- launches */

static uint64_t ceiling(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

static bool may_enter(const model *m, int processors, int urgency) {
  for (int u = urgency + 1; u < URGENCIES; u++)
    if (m->waiting[u]) return false;
  return m->taken + processors <= sg_config()->processors;
}

static void take(model *m, int processors, int urgency) {
  pthread_mutex_lock(&lock);
  m->waiting[urgency]++;
  while (!may_enter(m, processors, urgency)) pthread_cond_wait(&changed, &lock);
  m->waiting[urgency]--;
  m->taken += processors;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

void sg_simulate_enter(sg_stay *stay, sg_device *device, uint64_t blocks, uint32_t threads,
                       int priority) {
  *stay = (sg_stay){.device = device};
  if (!sg_config()->launch_us) return;
  uint64_t each = THREADS_EACH / threads < BLOCKS_EACH ? THREADS_EACH / threads : BLOCKS_EACH;
  uint64_t wanted = ceiling(blocks, each), all = (uint64_t)sg_config()->processors;
  stay->processors = (int)(wanted < all ? wanted : all);
  take(&models[device->ordinal], stay->processors, -priority);
  stay->until = sg_simulate_now() + (int64_t)ceiling(wanted, all) * sg_config()->launch_us * 1000;
}

void sg_simulate_leave(sg_stay *stay) {
  if (!stay->processors) return;
  sleep_until(stay->until);
  pthread_mutex_lock(&lock);
  models[stay->device->ordinal].taken -= stay->processors;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&lock);
}

/* ---- copies */

void sg_simulate_copy(sg_device *device, sg_way way, size_t bytes, int64_t begun) {
  if (!sg_config()->copy_mib_s || way == SG_WAY_NONE) return;
  int64_t ns = (int64_t)((double)bytes / sg_config()->copy_mib_s * (1e9 / (1 << 20)));
  pthread_mutex_lock(&lock);
  int64_t *busy = &models[device->ordinal].busy_until[way];
  int64_t end = (*busy > begun ? *busy : begun) + ns;
  *busy = end;
  pthread_mutex_unlock(&lock);
  sleep_until(end);
}
