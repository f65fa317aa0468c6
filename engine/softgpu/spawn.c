/* The helper is the child of a shell that ends at once, and that shell is made without an exit
   signal: programs that wait for any child, or handle SIGCHLD, never meet our processes. */
#define _GNU_SOURCE
#include "spawn.h"
#include "cache.h"
#include "kernel_abi.h"
#include "settings.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_FD = 3, STACK_BYTES = 64 * 1024 };

/* In the child, which shares memory with the program until exec: system calls only. */
static int child(void *argument) {
  int ready = *(int *)argument;
  static const char script[] =
      "\"$0\" -m remora.engine.softgpu.compiler serve --cache \"$1\" --ready-fd 3 &";
  int null = open("/dev/null", O_RDWR);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  dup2(null, 0);
  dup2(null, 1);
  dup2(ready, 2); /* a traceback is a reason too */
  if (ready == READY_FD)
    fcntl(ready, F_SETFD, 0);
  else
    dup2(ready, READY_FD);
  setsid();
  execl("/bin/sh", "sh", "-c", script, sg_config()->python, sg_cache_path(), (char *)NULL);
  _exit(127);
}

static bool launch(int ready) {
  char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return false;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int pid = clone(child, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK, &ready);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  munmap(stack, STACK_BYTES);
  if (pid < 0) return false;
  while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR) {
  }
  return true;
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads until "ready", the end, or the time is over; keeps the text's end. */
static bool read_answer(int fd, char *text, size_t size) {
  int64_t deadline = now_ms() + RM_SERVICE_START_MS;
  size_t have = 0;
  text[0] = 0;
  for (;;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t left = deadline - now_ms();
    if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR)) return false;
    if (!(p.revents & (POLLIN | POLLHUP))) continue;
    if (have > size / 2) have -= size / 4, memmove(text, text + size / 4, have);
    ssize_t n = read(fd, text + have, size - 1 - have);
    if (n <= 0) return false;
    have += (size_t)n;
    text[have] = 0;
    if (!strcmp(text, "ready\n") || strstr(text, "\nready\n")) return true;
  }
}

static const char *last_line(char *text) {
  size_t n = strlen(text);
  while (n && text[n - 1] == '\n') text[--n] = 0;
  char *line = strrchr(text, '\n');
  return line ? line + 1 : text;
}

bool sg_service_start(char *reason, size_t size) {
  char text[4096];
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC) != 0) {
    snprintf(reason, size, "no pipe for the compile service: %s", strerror(errno));
    return false;
  }
  bool started = launch(pipes[1]);
  close(pipes[1]);
  bool ready = started && read_answer(pipes[0], text, sizeof text);
  close(pipes[0]);
  if (!ready)
    snprintf(reason, size,
             "the compile service did not start: %s (REMORA_SOFTGPU_PYTHON is %s: it must have "
             "remora and llvmlite)",
             started && *text ? last_line(text) : "no answer", sg_config()->python);
  return ready;
}
