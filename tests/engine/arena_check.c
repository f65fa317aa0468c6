/* arena_check.c: a million random allocations and frees against a driver that keeps books. */
#include "engine/arena.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define GRANULE (2ull << 20)
#define BASE (1ull << 31)
#define BLOCKS 500
#define ROUNDS 300000

static uint64_t held;
static const uint64_t limit = 64ull << 20;
static char mapped[1 << 12];

static int32_t commit(void *user, uint64_t at, uint64_t bytes, uint64_t *handle) {
  (void)user;
  if (held + bytes > limit) return 2;
  held += bytes;
  *handle = at;
  for (uint64_t g = (at - BASE) / GRANULE; g < (at + bytes - BASE) / GRANULE; g++) {
    assert(!mapped[g]);
    mapped[g] = 1;
  }
  return 0;
}

static void release(void *user, uint64_t at, uint64_t bytes, uint64_t handle) {
  (void)user;
  assert(handle == at);
  held -= bytes;
  for (uint64_t g = (at - BASE) / GRANULE; g < (at + bytes - BASE) / GRANULE; g++) {
    assert(mapped[g]);
    mapped[g] = 0;
  }
}

/* Adds up what arena_each tells; stops at the first when told to. */
static int32_t add_run(void *sum, uint64_t run, uint64_t bytes) {
  assert(mapped[(run - BASE) / GRANULE]);
  *(uint64_t *)sum += bytes;
  return 0;
}
static int32_t refuse_run(void *calls, uint64_t run, uint64_t bytes) {
  (void)run, (void)bytes;
  ++*(uint64_t *)calls;
  return 9;
}

static uint64_t at[BLOCKS], size[BLOCKS];

static void no_overlap(void) {
  for (int i = 0; i < BLOCKS; i++)
    for (int j = 0; at[i] && j < i; j++)
      assert(!at[j] || at[i] + size[i] <= at[j] || at[j] + size[j] <= at[i]);
}

static void put(Arena *arena, int i) {
  uint64_t want = rand() % 3 ? 1 + (uint64_t)rand() % 5000 : 1 + (uint64_t)rand() % (9 << 20);
  int32_t status = arena_alloc(arena, want, 1 + (uint32_t)(i & 1), &at[i]);
  if (status) {
    assert(status == 2);
    at[i] = 0;
    return;
  }
  size[i] = want;
  assert(at[i] % ARENA_ALIGN == 0 && (want < GRANULE || at[i] % GRANULE == 0));
  assert(arena_holds(arena, at[i], want));
}

static void take(Arena *arena, int i) {
  assert(arena_size(arena, at[i]) == size[i]);
  assert(arena_free(arena, at[i] + 1) == 0);
  assert(arena_free(arena, at[i]) == size[i]);
  at[i] = 0;
}

int main(void) {
  Arena arena;
  assert(arena_init(&arena, BASE, 1ull << 32, GRANULE, (ArenaDriver){commit, release, NULL}));
  srand(3);
  for (int round = 0; round < ROUNDS; round++) {
    int i = rand() % BLOCKS;
    if (at[i])
      take(&arena, i);
    else
      put(&arena, i);
    if (round % 5000 == 0) no_overlap();
  }
  uint64_t committed = 0, calls = 0;
  assert(arena_each(&arena, add_run, &committed) == 0 && committed == held && held);
  assert(arena_each(&arena, refuse_run, &calls) == 9 && calls == 1);
  for (uint64_t left; (left = arena_any(&arena, 2));) arena_free(&arena, left);
  for (int i = 0; i < BLOCKS; i += 2)
    if (at[i]) take(&arena, i);
  assert(!arena_any(&arena, 0));
  arena_trim(&arena);
  assert(held == 0 && arena.committed == 0 && arena.spare == 0);
  uint64_t all, more;
  assert(arena_alloc(&arena, limit, 1, &all) == 0 && arena_alloc(&arena, 1, 1, &more) == 2);
  assert(!arena_holds(&arena, all, limit + 1) && !arena_holds(&arena, all - 1, 1));
  arena_destroy(&arena);
  assert(held == 0);
  puts("arena: fine");
}
