/* lock.h: the lock of a hot path: a word, taken and given in a few instructions where nobody waits.
 * Every record passes two of them; with pthread's, posting it took 7 ns more (of 52).
 * Taking and giving are ordered with every other such operation: after giving it, a thread sees
 * what another stored before it found the lock taken.
 * Must not know: what it protects. */
#ifndef REMORA_LOCK_H
#define REMORA_LOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rm_lock {
  uint32_t state; /* 0 free, 1 taken, 2 taken and someone may sleep */
} rm_lock;

/* futex.c: sleeps until the lock is this thread's. */
void rm_lock_wait(rm_lock *lock);
void rm_lock_wake(rm_lock *lock);

static inline bool rm_lock_try(rm_lock *lock) {
  uint32_t free = 0;
  return __atomic_compare_exchange_n(&lock->state, &free, 1, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_SEQ_CST);
}

static inline void rm_lock_take(rm_lock *lock) {
  if (__builtin_expect(!rm_lock_try(lock), 0)) rm_lock_wait(lock);
}

static inline void rm_lock_give(rm_lock *lock) {
  if (__builtin_expect(__atomic_exchange_n(&lock->state, 0, __ATOMIC_SEQ_CST) == 2, 0))
    rm_lock_wake(lock);
}

#endif
