/* stats.h: the counters that `remora doctor` reads: one page of memory, in a file if asked for.
 *
 * $REMORA_STATS names a folder; the process's page is <pid>.stats in it, mapped, so that a program
 * that dies leaves its numbers. Without it the counters are kept in memory.
 * Must not know: the channel. */
#ifndef REMORA_SHIM_STATS_H
#define REMORA_SHIM_STATS_H

#include <stdint.h>

#define RM_STATS_MAGIC "RMST"
#define RM_STATS_VERSION 1

/* One for each exported symbol, in the order of rm_symbol_names. */
typedef struct rm_symbol_stats {
  uint64_t calls;
  uint64_t waits;       /* round trips that calls of it waited for */
  uint64_t wait_ns;     /* and how long */
  uint64_t unsupported; /* calls that the engine can't serve */
} rm_symbol_stats;

typedef struct rm_stats_header {
  char magic[4];
  uint32_t version;
  uint32_t header_bytes; /* the symbols' counters start here */
  uint32_t symbols;
  uint32_t pid;
  uint32_t state;      /* 0 no session, 1 attached, 2 ended */
  uint64_t table_hash; /* of the call table that names the symbols */
  char program[64];
  char server[64]; /* HOST:PORT */
  char why[256];   /* why the session ended, or could not start */
  uint64_t posted; /* records that nothing waited for */
  uint64_t waited;
  uint64_t wait_ns;
  uint64_t copied_in, copied_out; /* bytes, host to device and back */
  uint64_t callbacks, pulls;      /* host functions run, pieces of pinned copies asked for */
  uint64_t local_queries;         /* stream and event queries answered without asking */
  uint64_t attach_ns;             /* connecting, until the grant was here */
} rm_stats_header;

rm_stats_header *rm_stats(void); /* of this process; opens the file the first time */
/* Now, in ns, if anyone will read how long calls wait, else 0: two clocks and five counters a call
 * are 1 % of the shortest. */
uint64_t rm_stats_clock(void);
/* A round trip since start that the running export waited for. */
void rm_stats_waited(uint64_t start_ns);
/* In a forked child: counts go to its own memory. */
void rm_stats_forked(void);
uint64_t rm_now_ns(void);

static inline void rm_stats_add(uint64_t *counter, uint64_t n) {
  __atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

/* For a counter that is only written between a call's begin and its post: a third of the price. */
static inline void rm_stats_add_locked(uint64_t *counter, uint64_t n) {
  __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

#endif
