/* ledger.c: see ledger.h. */
#include "ledger.h"

#include <errno.h>
#include <string.h>

void ledger_init(Ledger *ledger) {
  pthread_mutexattr_t attr;
  memset(ledger, 0, sizeof *ledger);
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&ledger->lock, &attr);
  pthread_mutexattr_destroy(&attr);
}

static void hold(Ledger *ledger) {
  if (pthread_mutex_lock(&ledger->lock) == EOWNERDEAD) pthread_mutex_consistent(&ledger->lock);
}

static uint64_t sum(const Ledger *ledger, uint32_t device) {
  uint64_t used = 0;
  for (uint32_t slot = 0; slot < LEDGER_SLOTS; slot++) used += ledger->slots[slot].used[device];
  return used;
}

uint64_t ledger_used(Ledger *ledger, uint32_t device) {
  hold(ledger);
  uint64_t used = sum(ledger, device);
  pthread_mutex_unlock(&ledger->lock);
  return used;
}

bool ledger_charge(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t bytes) {
  hold(ledger);
  uint64_t used = sum(ledger, device), quota = ledger->quota[device];
  bool fits = used <= quota && bytes <= quota - used;
  if (fits) ledger->slots[slot].used[device] += bytes;
  pthread_mutex_unlock(&ledger->lock);
  return fits;
}

void ledger_return(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t bytes) {
  hold(ledger);
  ledger->slots[slot].used[device] -= bytes;
  pthread_mutex_unlock(&ledger->lock);
}

void ledger_clear(Ledger *ledger, uint32_t slot) {
  hold(ledger);
  memset(&ledger->slots[slot], 0, sizeof ledger->slots[slot]);
  pthread_mutex_unlock(&ledger->lock);
}
