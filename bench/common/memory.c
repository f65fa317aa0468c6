#define _GNU_SOURCE
#include "memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

enum { NAME_BYTES = 64 };

static const char *name_of(char *name, int number) {
  snprintf(name, NAME_BYTES, "/remora-bench-%d", number);
  return name;
}

int bench_make_memory(size_t bytes) {
  char name[NAME_BYTES];
  int fd = shm_open(name_of(name, getpid()), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)bytes)) bench_fail("no shared memory");
  return fd;
}

int bench_find_memory(uint64_t number) {
  char name[NAME_BYTES];
  int fd = shm_open(name_of(name, (int)number), O_RDWR, 0);
  shm_unlink(name);
  if (fd < 0) bench_fail("no shared memory of this number");
  return fd;
}
