/* ledger.h: what the sessions of one lease hold on each of its devices, against its quota.
 *
 * It lies in memory shared by the supervisor and the lease's workers. Each session writes only its
 * own slot, so that the supervisor can strike out a dead one; the lock is robust, and a slot is one
 * word, so a death inside the lock leaves nothing half done. Must not know: the driver, Python. */
#ifndef REMORA_ENGINE_LEDGER_H
#define REMORA_ENGINE_LEDGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define LEDGER_DEVICES 8
#define LEDGER_SLOTS 64 /* sessions of one lease at a time */

typedef struct LedgerSlot {
  uint64_t used[LEDGER_DEVICES]; /* bytes */
  uint64_t calls, answers;       /* records dispatched, replies sent */
} LedgerSlot;

typedef struct Ledger {
  pthread_mutex_t lock;
  uint64_t quota[LEDGER_DEVICES]; /* bytes */
  LedgerSlot slots[LEDGER_SLOTS];
} Ledger;

void ledger_init(Ledger *ledger);
uint64_t ledger_used(Ledger *ledger, uint32_t device);
/* Charges bytes to a slot. False, and nothing charged, when the quota would be passed. */
bool ledger_charge(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t bytes);
void ledger_return(Ledger *ledger, uint32_t slot, uint32_t device, uint64_t bytes);
/* Strikes out a session that is gone. */
void ledger_clear(Ledger *ledger, uint32_t slot);

#endif
