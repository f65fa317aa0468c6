/* session.c: see session.h. */
#define _GNU_SOURCE
#include "session.h"

#include <stdarg.h>
#include <stdio.h>

int mapped_init(pthread_rwlock_t *lock) {
  pthread_rwlockattr_t attr;
  pthread_rwlockattr_init(&attr);
  pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
  int error = pthread_rwlock_init(lock, &attr);
  pthread_rwlockattr_destroy(&attr);
  return error;
}

void session_broken(Session *session, const char *format, ...) {
  va_list args;
  if (session->broken[0]) return;
  va_start(args, format);
  vsnprintf(session->broken, sizeof session->broken, format, args);
  va_end(args);
}
