/* stats.c: where the counters lie, and counting. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "call.h"
#include "stats.h"
#include "../generated/records.h"
#include "../generated/symbols.h"

typedef struct page {
  rm_stats_header header;
  rm_symbol_stats symbols[RM_SYMBOLS];
} page;

static page own; /* used without a file, and in a forked child */
static page *current;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static page *map_file(const char *folder) {
  char path[4096];
  int n = snprintf(path, sizeof path, "%s/%d.stats", folder, (int)getpid());
  if (n < 0 || (size_t)n >= sizeof path) return NULL;
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return NULL;
  void *at = MAP_FAILED;
  if (!ftruncate(fd, sizeof(page)))
    at = mmap(NULL, sizeof(page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  return at == MAP_FAILED ? NULL : at;
}

static void fill_header(rm_stats_header *header) {
  memcpy(header->magic, RM_STATS_MAGIC, sizeof header->magic);
  header->version = RM_STATS_VERSION;
  header->header_bytes = sizeof *header;
  header->symbols = RM_SYMBOLS;
  header->table_hash = RM_TABLE_HASH;
  header->pid = (uint32_t)getpid();
  snprintf(header->program, sizeof header->program, "%s", program_invocation_short_name);
}

static void open_page(void) {
  const char *folder = getenv("REMORA_STATS");
  page *p = folder && *folder ? map_file(folder) : NULL;
  if (!p) p = &own;
  fill_header(&p->header);
  __atomic_store_n(&current, p, __ATOMIC_RELEASE);
}

static page *the_page(void) {
  page *p = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
  if (__builtin_expect(!p, 0)) {
    pthread_once(&once, open_page);
    p = current;
  }
  return p;
}

rm_stats_header *rm_stats(void) { return &the_page()->header; }

void rm_stats_forked(void) { __atomic_store_n(&current, &own, __ATOMIC_RELEASE); }

void rm_count(uint32_t symbol) {
  page *p = __atomic_load_n(&current, __ATOMIC_ACQUIRE);
  if (p == &own) return;
  rm_tls.symbol = symbol;
  rm_stats_add(&the_page()->symbols[symbol].calls, 1);
}

CUresult rm_unsupported(uint32_t symbol) {
  rm_stats_add(&the_page()->symbols[symbol].unsupported, 1);
  return CUDA_ERROR_NOT_SUPPORTED;
}

uint64_t rm_stats_clock(void) { return the_page() == &own ? 0 : rm_now_ns(); }

void rm_stats_waited(uint64_t start_ns) {
  uint64_t wait_ns = rm_now_ns() - start_ns;
  page *p = the_page();
  rm_symbol_stats *symbol = &p->symbols[rm_tls.symbol];
  rm_stats_add(&symbol->waits, 1);
  rm_stats_add(&symbol->wait_ns, wait_ns);
  rm_stats_add(&p->header.waited, 1);
  rm_stats_add(&p->header.wait_ns, wait_ns);
}

uint64_t rm_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
