/* Threads that run commands and kernels. The program's signals are not for them: only faults, which
   belong to the thread that makes them, are let through. */
#include "thread.h"
#include <pthread.h>
#include <signal.h>

enum {
  STACK_BYTES = 16 << 20
}; /* local memory and recursion of kernels; untouched pages cost nothing */

static void only_faults(sigset_t *mask) {
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
  sigfillset(mask);
  for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(mask, faults[i]);
}

bool sg_thread_start(void *(*body)(void *), void *argument) {
  sigset_t mask, before;
  pthread_attr_t attributes;
  pthread_t thread;
  only_faults(&mask);
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  pthread_sigmask(SIG_SETMASK, &mask, &before);
  bool started = pthread_create(&thread, &attributes, body, argument) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return started;
}
