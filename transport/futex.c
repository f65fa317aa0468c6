/* futex.c: sleeping and waking on a word, and the clocks.
 * Must not know: channels' state. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

static void sleep_on(rm_word *word, uint32_t value, const struct timespec *limit) {
  syscall(SYS_futex, word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, value, limit, NULL, 0);
}

void rm_futex_wait(rm_word *word, uint32_t value, int timeout_ms) {
  struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
  sleep_on(word, value, timeout_ms < 0 ? NULL : &limit);
}

void rm_futex_wait_us(rm_word *word, uint32_t value, unsigned us) {
  struct timespec limit = {us / 1000000, us % 1000000 * 1000L};
  sleep_on(word, value, &limit);
}

/* Whoever has slept takes it as "someone may sleep": another may still. */
void rm_lock_wait(rm_lock *lock) {
  while (__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE)) sleep_on(&lock->state, 2, NULL);
}

void rm_lock_wake(rm_lock *lock) { rm_futex_wake(&lock->state, 1); }

void rm_futex_wake(rm_word *word, int count) {
  syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count, NULL, NULL, 0);
}

uint64_t rm_now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t rm_now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}
