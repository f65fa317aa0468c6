/* arena.h: device memory cut from one reserved range of addresses.
 *
 * Addresses are handed out first fit among bins of holes; physical memory is committed in granules,
 * only where something lies, and given back when nothing does. Granules that an allocation fills
 * alone are committed as one run, so a large buffer costs one mapping; the granule that neighbours
 * share stands alone. Calls are serialised by the caller. Must not know: quotas, sessions. */
#ifndef REMORA_ENGINE_ARENA_H
#define REMORA_ENGINE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGN 512u
#define ARENA_BINS 192u
#define ARENA_SPARE                                                                                \
  16u /* empty single granules kept committed: churn of small buffers is cheap                     \
       */

typedef struct ArenaDriver {
  /* Puts physical memory under [at, at + bytes); 0 or the driver's error. */
  int32_t (*commit)(void *user, uint64_t at, uint64_t bytes, uint64_t *handle);
  void (*release)(void *user, uint64_t at, uint64_t bytes, uint64_t handle);
  void *user;
} ArenaDriver;

typedef struct ArenaBlock ArenaBlock;
typedef struct ArenaGranule ArenaGranule;

typedef struct Arena {
  uint64_t base, bytes, granule;
  ArenaDriver driver;
  ArenaGranule *granules;
  ArenaBlock *bins[ARENA_BINS];
  ArenaBlock **live; /* hash of allocations by address */
  size_t live_room, live_count;
  uint64_t committed; /* bytes */
  uint32_t spare;
} Arena;

enum { ARENA_NO_ADDRESSES = -1, ARENA_NO_MEMORY = -2 };

/* granule: the driver's allocation granularity; base and bytes are multiples of it. */
bool arena_init(Arena *arena, uint64_t base, uint64_t bytes, uint64_t granule, ArenaDriver driver);
void arena_destroy(Arena *arena);
/* 0 and *ptr (512-byte aligned, granule aligned from one granule on), the driver's error (> 0), or
 * one of the negatives above. */
int32_t arena_alloc(Arena *arena, uint64_t bytes, uint32_t owner, uint64_t *ptr);
/* Bytes asked for at ptr, 0 when no allocation starts there. */
uint64_t arena_size(const Arena *arena, uint64_t ptr);
/* Frees what starts at ptr; the device must be done with it. Returns its size, 0 when none does. */
uint64_t arena_free(Arena *arena, uint64_t ptr);
/* Start of some allocation of an owner (0: of any), 0 when there is none. */
uint64_t arena_any(const Arena *arena, uint32_t owner);
/* Whether all of [ptr, ptr + bytes) lies on committed memory of the arena. */
bool arena_holds(const Arena *arena, uint64_t ptr, uint64_t bytes);
/* Calls each(user, at, bytes) for every run of committed memory, until one returns an error. */
int32_t arena_each(const Arena *arena, int32_t (*each)(void *, uint64_t, uint64_t), void *user);
/* Gives the spare granules back to the device. */
void arena_trim(Arena *arena);

#endif
