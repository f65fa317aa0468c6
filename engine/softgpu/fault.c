/* Signal handlers and the guard around code that may touch wild addresses. The handlers are put in
   place at the first use, and again when someone has replaced them since. */
#include "fault.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ALTERNATE_STACK_BYTES = 64 * 1024, CHECK_EVERY = 256 };

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
enum { SIGNALS = sizeof signals / sizeof signals[0] };

static struct sigaction before[SIGNALS];

static __thread struct {
  sigjmp_buf *guard; /* the innermost one, NULL outside */
  CUresult error;
  unsigned uses;
  bool prepared;
} tls;

static struct sigaction *handler_before(int number) {
  for (int i = 0; i < SIGNALS; i++)
    if (signals[i] == number) return &before[i];
  return NULL;
}

/* Not ours: as if we weren't there. The default action needs the fault to happen again. */
static void chain(int number, siginfo_t *info, void *machine) {
  struct sigaction *old = handler_before(number);
  if (old->sa_flags & SA_SIGINFO)
    old->sa_sigaction(number, info, machine);
  else if (old->sa_handler == SIG_IGN)
    return;
  else if (old->sa_handler != SIG_DFL)
    old->sa_handler(number);
  else {
    sigaction(number, old, NULL);
    if (info->si_code <= 0) raise(number);
  }
}

static void on_fault(int number, siginfo_t *info, void *machine) {
  if (!tls.guard) {
    chain(number, info, machine);
    return;
  }
  bool address = number == SIGSEGV || number == SIGBUS;
  tls.error = address ? CUDA_ERROR_ILLEGAL_ADDRESS : CUDA_ERROR_LAUNCH_FAILED;
  siglongjmp(*tls.guard, 1);
}

static void install(int i) {
  struct sigaction now,
      ours = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigemptyset(&ours.sa_mask);
  sigaction(signals[i], NULL, &now);
  if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault) return;
  before[i] = now;
  sigaction(signals[i], &ours, NULL);
}

static void install_handlers(void) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < SIGNALS; i++) install(i);
  pthread_mutex_unlock(&lock);
}

static pthread_key_t stack_key;

static void free_stack(void *memory) {
  stack_t none = {.ss_flags = SS_DISABLE};
  sigaltstack(&none, NULL);
  munmap(memory, ALTERNATE_STACK_BYTES);
}

static void make_key(void) { pthread_key_create(&stack_key, free_stack); }

static void give_stack(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, make_key);
  void *memory = mmap(NULL, ALTERNATE_STACK_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return;
  stack_t stack = {.ss_sp = memory, .ss_size = ALTERNATE_STACK_BYTES};
  sigaltstack(&stack, NULL);
  pthread_setspecific(stack_key, memory);
}

void sg_fault_prepare_thread(void) {
  stack_t stack;
  if (tls.prepared) return;
  tls.prepared = true;
  if (sigaltstack(NULL, &stack) == 0 && (stack.ss_flags & SS_DISABLE)) give_stack();
}

CUresult sg_fault_guard(void (*body)(void *), void *argument) {
  sigjmp_buf guard;
  sigjmp_buf *outer = tls.guard;
  if (tls.uses++ % CHECK_EVERY == 0) install_handlers();
  tls.error = CUDA_SUCCESS;
  if (sigsetjmp(guard, 0) == 0) {
    tls.guard = &guard;
    body(argument);
  }
  tls.guard = outer;
  return tls.error;
}

void sg_fault_leave(CUresult error) {
  if (!tls.guard) abort(); /* only compiled kernels call this, and they always run guarded */
  tls.error = error;
  siglongjmp(*tls.guard, 1);
}
