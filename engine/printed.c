#define _GNU_SOURCE
#include "printed.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PAGE = 4096, ERROR_BYTES = 16384 };

static int file = -1; /* its pages are given back as they are read */
static off_t taken;
static _Atomic off_t told; /* what others may take for granted to be on its way */
static _Atomic bool expected;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void printed_begin(void) {
  int fresh = memfd_create("printed", MFD_CLOEXEC);
  if (fresh < 0) return;
  fflush(stdout);
  if (dup2(fresh, STDOUT_FILENO) < 0 || fcntl(STDOUT_FILENO, F_SETFL, O_APPEND) < 0) return;
  file = fresh;
}

/* ---- for standard error: rare, and not worth a file */

static char errors[ERROR_BYTES];
static _Atomic size_t error_bytes;
static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;

void printed_error(const char *text, size_t bytes) {
  pthread_mutex_lock(&error_lock);
  if (bytes <= ERROR_BYTES - error_bytes) {
    memcpy(errors + error_bytes, text, bytes);
    error_bytes += bytes;
  }
  pthread_mutex_unlock(&error_lock);
}

static uint32_t take_error(void *to, uint32_t room) {
  pthread_mutex_lock(&error_lock);
  uint32_t n = error_bytes < room ? (uint32_t)error_bytes : room;
  memcpy(to, errors, n);
  error_bytes -= n;
  memmove(errors, errors + n, error_bytes);
  pthread_mutex_unlock(&error_lock);
  return n;
}

/* ---- for standard output */

void printed_expect(void) { expected = true; }

static off_t written(void) {
  struct stat now;
  fflush(stdout);
  return fstat(file, &now) < 0 ? 0 : now.st_size;
}

bool printed_waiting(void) { return error_bytes || (expected && file >= 0 && written() > told); }

void printed_lock(void) { pthread_mutex_lock(&lock); }

void printed_unlock(void) {
  told = taken;
  pthread_mutex_unlock(&lock);
}

static void give_back(off_t from) {
  off_t begin = from / PAGE * PAGE, end = taken / PAGE * PAGE;
  if (end > begin)
    (void)!fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, begin, end - begin);
}

uint32_t printed_take(void *to, uint32_t room, int *error) {
  *error = error_bytes > 0;
  if (*error) return take_error(to, room);
  ssize_t n = pread(file, to, room, taken);
  if (n <= 0) return 0;
  taken += n;
  give_back(taken - n);
  return (uint32_t)n;
}
