/* attach.c: the environment names a server; its grant becomes rm_session. Cold. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attach.h"
#include "stats.h"
#include "../generated/records.h"
#include "../../transport/hello.h"

/* Addresses that neither a Linux process nor a CUDA driver uses of its own accord. */
#define RANGE_BASE 0x300000000000u
#define RANGE_STEP 0x010000000000u
#define RANGE_BYTES ((uint64_t)1 << 40)
#define RANGE_BYTES_LEAST ((uint64_t)1 << 36)
/* The same where a process has 39 bits of addresses (user-mode Linux, small page tables): below its
 * program, which lies at two thirds. */
#define LOW_BASE 0x1000000000u
#define LOW_STEP 0x1000000000u

/* ---- the range for device memory: nothing of this process may ever lie there */

typedef struct reserved {
  uint64_t base, bytes;
} reserved;

static bool reserve_at(uint64_t base, uint64_t bytes) {
  void *wanted = (void *)(uintptr_t)base;
  void *at = mmap(wanted, bytes, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
  if (at != MAP_FAILED && at != wanted) munmap(at, bytes); /* a kernel that doesn't know the flag */
  return at == wanted;
}

#define HIGH_PLACES 64u
#define PLACES (HIGH_PLACES + 4u) /* that are tried */

static uint64_t base_of(unsigned place) {
  return place < HIGH_PLACES ? RANGE_BASE + place * RANGE_STEP
                             : LOW_BASE + (place - HIGH_PLACES) * LOW_STEP;
}

static unsigned place_behind(uint64_t base) {
  return base >= RANGE_BASE ? (unsigned)((base - RANGE_BASE) / RANGE_STEP) + 1
                            : (unsigned)((base - LOW_BASE) / LOW_STEP) + 1 + HIGH_PLACES;
}

/* The first free place from `place` on; PLACES if there is none. */
static unsigned reserve_from(unsigned place, uint64_t bytes, reserved *range) {
  for (; place < PLACES; place++) {
    if (reserve_at(base_of(place), bytes)) {
      *range = (reserved){base_of(place), bytes};
      break;
    }
  }
  return place;
}

/* A limit on address space (ulimit -v) leaves room for a smaller range, perhaps. */
static bool reserve(reserved *range) {
  for (uint64_t bytes = RANGE_BYTES; bytes >= RANGE_BYTES_LEAST; bytes /= 2)
    if (reserve_from(0, bytes, range) < PLACES) return true;
  return false;
}

static void give_up(reserved *range) {
  if (range->bytes) munmap((void *)(uintptr_t)range->base, range->bytes);
  *range = (reserved){0};
}

/* The next place after the one that did not suit the server. */
static bool reserve_elsewhere(reserved *range) {
  uint64_t bytes = range->bytes ? range->bytes : RANGE_BYTES;
  unsigned place = place_behind(range->base);
  give_up(range);
  return place < PLACES && reserve_from(place, bytes, range) < PLACES;
}

static bool move(void *user, uint64_t base, uint64_t bytes, uint64_t *other) {
  reserved *range = user;
  reserved wanted = {base, bytes};
  if (base >= range->base && bytes <= range->bytes && base - range->base <= range->bytes - bytes)
    return true;
  if (reserve_at(base, bytes)) {
    give_up(range);
    *range = wanted;
    return true;
  }
  if (reserve_elsewhere(range)) *other = range->base;
  return false;
}

/* ---- the grant */

static void take_device(const rm_grant_device *from, uint16_t wire, rm_device *to) {
  memcpy(to->name, from->name, sizeof to->name);
  memcpy(to->uuid, from->uuid, sizeof to->uuid);
  memcpy(to->attributes, from->attributes, sizeof to->attributes);
  to->attribute_count = from->attribute_count;
  to->total_mem = from->total_mem;
  to->va_base = from->va_base;
  to->va_bytes = from->va_bytes;
  to->wire = wire;
}

static void take_devices(const rm_grant *grant) {
  rm_device *all = calloc(RM_GRANT_DEVICES, sizeof *all);
  uint32_t indices[RM_GRANT_DEVICES];
  if (!all) return;
  uint32_t count = grant->device_count < RM_DEVICES_MAX ? grant->device_count : RM_DEVICES_MAX;
  for (uint32_t i = 0; i < count; i++) take_device(&grant->devices[i], (uint16_t)i, &all[i]);
  uint32_t visible = rm_visible_devices(getenv("CUDA_VISIBLE_DEVICES"), all, count, indices);
  for (uint32_t i = 0; i < visible; i++) rm_session.devices[i] = all[indices[i]];
  rm_session.device_count = visible;
  free(all);
}

static void take_grant(const rm_grant *grant, const reserved *range) {
  take_devices(grant);
  rm_session.driver_version = grant->driver_version;
  rm_session.priority_least = grant->priority_least;
  rm_session.priority_greatest = grant->priority_greatest;
  rm_session.va_base = range->base;
  rm_session.va_bytes = range->bytes;
}

/* ---- connecting */

static CUresult failure(int result) {
  switch (result) {
  case RM_HELLO_UNREACHABLE: return CUDA_ERROR_NO_DEVICE;
  case RM_HELLO_VERSION: return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
  default: return CUDA_ERROR_DEVICE_UNAVAILABLE;
  }
}

static void tell(const char *why) {
  rm_stats_header *stats = rm_stats();
  snprintf(stats->why, sizeof stats->why, "%.255s", why);
  dprintf(STDERR_FILENO, "remora: %s\n", why);
}

/* What carries the session is told on request, and where it is not what was agreed on at first. */
static void tell_carrier(const rm_grant *grant) {
  const char *log = getenv("REMORA_LOG");
  bool wanted = log && (strcasecmp(log, "info") == 0 || strcasecmp(log, "debug") == 0);
  if (!wanted && !grant->fell_back) return;
  dprintf(STDERR_FILENO, "remora: %s: transport %s%s%s\n", rm_session.host, grant->carrier,
          *grant->carrier_why ? ": " : "", grant->carrier_why);
}

static CUresult open_channel(rm_link *link, const rm_grant *grant, const rm_events *events) {
  rm_options options = {.ring_bytes = grant->ring_bytes,
                        .bulk_window = grant->bulk_window,
                        .silence_ms = grant->silence_ms,
                        .spin_us = UINT32_MAX,
                        .service = true,
                        .peer = rm_session.host};
  rm_session.channel = rm_channel_over(link, &options, events, NULL);
  if (rm_session.channel) return CUDA_SUCCESS;
  tell("the session could not start: out of memory or threads");
  return CUDA_ERROR_OUT_OF_MEMORY;
}

static CUresult connect_to(const char *server, reserved *range, rm_grant *grant,
                           const rm_events *events) {
  char why[512];
  rm_link *link;
  rm_hello hello = {.server = server,
                    .ticket = getenv("REMORA_TICKET"),
                    .program = program_invocation_short_name,
                    .table_hash = RM_TABLE_HASH,
                    .va_base = range->base,
                    .va_bytes = range->bytes,
                    .transport = getenv("REMORA_TRANSPORT"),
                    .move = move,
                    .user = range};
  int result = rm_hello_connect(&hello, grant, &link, why, sizeof why);
  if (result) {
    tell(why);
    return failure(result);
  }
  take_grant(grant, range);
  tell_carrier(grant);
  return open_channel(link, grant, events);
}

CUresult rm_attach_to_server(const rm_events *events) {
  const char *server = getenv("REMORA_SERVER");
  reserved range;
  if (!server || !*server) {
    tell("no server is named (REMORA_SERVER is not set): start the program with `remora run`");
    return CUDA_ERROR_NO_DEVICE;
  }
  snprintf(rm_session.host, sizeof rm_session.host, "%s", server);
  if (!reserve(&range)) {
    tell(
        "no address range is free for device memory: raise the limit on address space (ulimit -v)");
    return CUDA_ERROR_OUT_OF_MEMORY;
  }
  rm_grant *grant = calloc(1, sizeof *grant);
  CUresult status = grant ? connect_to(server, &range, grant, events) : CUDA_ERROR_OUT_OF_MEMORY;
  free(grant);
  if (status) give_up(&range);
  return status;
}
