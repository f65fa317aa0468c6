/* arena.c: see arena.h. */
#include "arena.h"

#include <stdlib.h>
#include <string.h>

struct ArenaBlock {
  uint64_t at, size;             /* size: whole multiple of ARENA_ALIGN */
  uint64_t asked;                /* bytes asked for; 0 = a hole */
  uint32_t owner;                /* of whoever allocated it */
  ArenaBlock *before, *after;    /* neighbours by address */
  ArenaBlock *bin_before, *next; /* in the bin, or in the hash chain */
};

struct ArenaGranule {
  uint64_t handle;    /* of the run that starts here */
  uint32_t users;     /* allocations that touch it */
  uint32_t run_first; /* granule + 1 where its run starts; 0 = not committed */
  uint32_t run_count; /* granules of the run that starts here, */
  uint32_t run_used;  /* and those of them with users */
};

/* ---- bins of holes: four to each power of two */

static uint32_t bin_of(uint64_t size) {
  uint64_t units = size / ARENA_ALIGN;
  uint32_t log = 63 - (uint32_t)__builtin_clzll(units);
  uint32_t sub = log >= 2 ? (units >> (log - 2)) & 3 : 0;
  return log * 4 + sub;
}

static void bin_add(Arena *a, ArenaBlock *hole) {
  uint32_t bin = bin_of(hole->size);
  hole->bin_before = NULL;
  hole->next = a->bins[bin];
  if (hole->next) hole->next->bin_before = hole;
  a->bins[bin] = hole;
}

static void bin_remove(Arena *a, ArenaBlock *hole) {
  if (hole->bin_before)
    hole->bin_before->next = hole->next;
  else
    a->bins[bin_of(hole->size)] = hole->next;
  if (hole->next) hole->next->bin_before = hole->bin_before;
}

static uint64_t round_up(uint64_t n, uint64_t unit) { return (n + unit - 1) / unit * unit; }

static ArenaBlock *find_hole(Arena *a, uint64_t size, uint64_t align) {
  for (uint32_t bin = bin_of(size); bin < ARENA_BINS; bin++)
    for (ArenaBlock *hole = a->bins[bin]; hole; hole = hole->next) {
      uint64_t lead = round_up(hole->at, align) - hole->at;
      if (lead <= hole->size && hole->size - lead >= size) return hole;
    }
  return NULL;
}

/* ---- allocations by address */

static size_t live_slot(const Arena *a, uint64_t at) {
  return (size_t)(((at / ARENA_ALIGN) * 0x9e3779b97f4a7c15u) >> 20) & (a->live_room - 1);
}

static ArenaBlock *live_find(const Arena *a, uint64_t at) {
  ArenaBlock *block = a->live[live_slot(a, at)];
  while (block && block->at != at) block = block->next;
  return block;
}

static void live_grow(Arena *a) {
  size_t room = a->live_room;
  ArenaBlock **old = a->live, **made = calloc(room * 2, sizeof *made);
  if (!made) return; /* longer chains, nothing worse */
  a->live = made;
  a->live_room = room * 2;
  for (size_t i = 0; i < room; i++)
    for (ArenaBlock *b = old[i], *next; b; b = next) {
      next = b->next;
      b->next = made[live_slot(a, b->at)];
      made[live_slot(a, b->at)] = b;
    }
  free(old);
}

static void live_add(Arena *a, ArenaBlock *block) {
  if (a->live_count++ >= a->live_room) live_grow(a);
  size_t slot = live_slot(a, block->at);
  block->next = a->live[slot];
  a->live[slot] = block;
}

static void live_remove(Arena *a, ArenaBlock *block) {
  ArenaBlock **link = &a->live[live_slot(a, block->at)];
  while (*link != block) link = &(*link)->next;
  *link = block->next;
  a->live_count--;
}

/* ---- granules */

static uint64_t granule_at(const Arena *a, uint64_t index) { return a->base + index * a->granule; }

static void run_release(Arena *a, uint64_t first) {
  uint32_t count = a->granules[first].run_count;
  a->driver.release(a->driver.user, granule_at(a, first), count * a->granule,
                    a->granules[first].handle);
  a->committed -= count * a->granule;
  for (uint64_t g = first; g < first + count; g++) a->granules[g].run_first = 0;
}

static int32_t run_commit(Arena *a, uint64_t first, uint64_t count) {
  uint64_t handle = 0;
  int32_t status =
      a->driver.commit(a->driver.user, granule_at(a, first), count * a->granule, &handle);
  if (status) return status;
  a->granules[first].handle = handle;
  a->granules[first].run_count = (uint32_t)count;
  a->granules[first].run_used = 0;
  for (uint64_t g = first; g < first + count; g++) a->granules[g].run_first = (uint32_t)first + 1;
  a->committed += count * a->granule;
  return 0;
}

static void granule_drop(Arena *a, uint64_t g) {
  if (--a->granules[g].users) return;
  uint64_t first = a->granules[g].run_first - 1;
  if (--a->granules[first].run_used) return;
  if (a->granules[first].run_count == 1 && a->spare < ARENA_SPARE)
    a->spare++;
  else
    run_release(a, first);
}

static void granule_use(Arena *a, uint64_t g) {
  if (a->granules[g].users++) return;
  ArenaGranule *run = &a->granules[a->granules[g].run_first - 1];
  if (run->run_used++ == 0 && run->run_count == 1 && a->spare) a->spare--;
}

/* Commits one stretch of missing granules of [first, last] from g on; *g moves past it. A granule
 * that the allocation doesn't fill alone is a run of its own. */
static int32_t commit_stretch(Arena *a, const ArenaBlock *b, uint64_t *g, uint64_t last) {
  uint64_t from = *g, to = from + 1;
  bool whole = granule_at(a, from) >= b->at && granule_at(a, from + 1) <= b->at + b->size;
  while (whole && to <= last && !a->granules[to].run_first &&
         granule_at(a, to + 1) <= b->at + b->size)
    to++;
  *g = to;
  return run_commit(a, from, to - from);
}

static int32_t commit_block(Arena *a, const ArenaBlock *b) {
  uint64_t first = (b->at - a->base) / a->granule;
  uint64_t last = (b->at + b->size - 1 - a->base) / a->granule;
  int32_t status = 0;
  uint64_t g = first, used = first;
  while (g <= last && !status) {
    uint64_t from = g;
    if (a->granules[g].run_first)
      g++;
    else
      status = commit_stretch(a, b, &g, last);
    if (!status)
      for (used = from; used < g; used++) granule_use(a, used);
  }
  if (status)
    for (uint64_t back = first; back < used; back++) granule_drop(a, back);
  return status;
}

/* ---- blocks */

static ArenaBlock *split(Arena *a, ArenaBlock *hole, uint64_t size) {
  ArenaBlock *rest = calloc(1, sizeof *rest);
  if (!rest) return NULL;
  *rest = (ArenaBlock){
      .at = hole->at + size, .size = hole->size - size, .before = hole, .after = hole->after};
  if (rest->after) rest->after->before = rest;
  hole->after = rest;
  hole->size = size;
  bin_add(a, rest);
  return rest;
}

static ArenaBlock *swallow(Arena *a, ArenaBlock *low, ArenaBlock *high) {
  (void)a;
  low->size += high->size;
  low->after = high->after;
  if (low->after) low->after->before = low;
  free(high);
  return low;
}

static void make_hole(Arena *a, ArenaBlock *b) {
  b->asked = 0;
  if (b->after && !b->after->asked) {
    bin_remove(a, b->after);
    b = swallow(a, b, b->after);
  }
  if (b->before && !b->before->asked) {
    bin_remove(a, b->before);
    b = swallow(a, b->before, b);
  }
  bin_add(a, b);
}

/* Cuts [aligned start, + size) out of a hole; the ends stay holes. */
static ArenaBlock *carve(Arena *a, ArenaBlock *hole, uint64_t size, uint64_t align) {
  uint64_t lead = round_up(hole->at, align) - hole->at;
  ArenaBlock *block = hole;
  bin_remove(a, hole);
  if (lead) {
    block = split(a, hole, lead);
    bin_add(a, hole);
    if (!block) return NULL;
    bin_remove(a, block);
  }
  if (block->size > size && !split(a, block, size)) {
    bin_add(a, block);
    return NULL;
  }
  return block;
}

int32_t arena_alloc(Arena *a, uint64_t bytes, uint32_t owner, uint64_t *ptr) {
  if (bytes == 0 || bytes > a->bytes) return ARENA_NO_ADDRESSES;
  uint64_t size = round_up(bytes, ARENA_ALIGN);
  uint64_t align = size >= a->granule ? a->granule : ARENA_ALIGN;
  ArenaBlock *hole = find_hole(a, size, align);
  if (!hole) return ARENA_NO_ADDRESSES;
  ArenaBlock *block = carve(a, hole, size, align);
  if (!block) return ARENA_NO_MEMORY;
  block->asked = bytes;
  block->owner = owner;
  int32_t status = commit_block(a, block);
  if (status && a->spare) {
    arena_trim(a);
    status = commit_block(a, block);
  }
  if (status) {
    make_hole(a, block);
    return status;
  }
  live_add(a, block);
  *ptr = block->at;
  return 0;
}

uint64_t arena_size(const Arena *a, uint64_t ptr) {
  ArenaBlock *block = live_find(a, ptr);
  return block ? block->asked : 0;
}

uint64_t arena_free(Arena *a, uint64_t ptr) {
  ArenaBlock *block = live_find(a, ptr);
  if (!block) return 0;
  uint64_t asked = block->asked;
  uint64_t first = (block->at - a->base) / a->granule;
  uint64_t last = (block->at + block->size - 1 - a->base) / a->granule;
  live_remove(a, block);
  for (uint64_t g = first; g <= last; g++) granule_drop(a, g);
  make_hole(a, block);
  return asked;
}

uint64_t arena_any(const Arena *a, uint32_t owner) {
  for (size_t i = 0; a->live_count && i < a->live_room; i++)
    for (const ArenaBlock *b = a->live[i]; b; b = b->next)
      if (!owner || b->owner == owner) return b->at;
  return 0;
}

bool arena_holds(const Arena *a, uint64_t ptr, uint64_t bytes) {
  if (ptr < a->base || ptr - a->base >= a->bytes || bytes > a->bytes - (ptr - a->base))
    return false;
  uint64_t first = (ptr - a->base) / a->granule;
  uint64_t last = bytes ? (ptr + bytes - 1 - a->base) / a->granule : first;
  for (uint64_t g = first; g <= last; g++)
    if (!a->granules[g].users) return false;
  return true;
}

int32_t arena_each(const Arena *a, int32_t (*each)(void *, uint64_t, uint64_t), void *user) {
  int32_t status = 0;
  for (uint64_t g = 0; g < a->bytes / a->granule && !status; g++)
    if (a->granules[g].run_first == g + 1)
      status = each(user, granule_at(a, g), a->granules[g].run_count * a->granule);
  return status;
}

void arena_trim(Arena *a) {
  for (uint64_t g = 0; a->spare && g < a->bytes / a->granule; g++)
    if (a->granules[g].run_first == g + 1 && !a->granules[g].run_used) {
      run_release(a, g);
      a->spare--;
    }
}

bool arena_init(Arena *a, uint64_t base, uint64_t bytes, uint64_t granule, ArenaDriver driver) {
  *a = (Arena){
      .base = base, .bytes = bytes, .granule = granule, .driver = driver, .live_room = 1024};
  a->granules = calloc(bytes / granule, sizeof *a->granules);
  a->live = calloc(a->live_room, sizeof *a->live);
  ArenaBlock *all = calloc(1, sizeof *all);
  if (!a->granules || !a->live || !all) return false;
  all->at = base;
  all->size = bytes;
  bin_add(a, all);
  return true;
}

void arena_destroy(Arena *a) {
  for (uint64_t at; (at = arena_any(a, 0));) arena_free(a, at);
  arena_trim(a);
  for (uint32_t bin = 0; bin < ARENA_BINS; bin++)
    for (ArenaBlock *hole = a->bins[bin], *next; hole; hole = next) {
      next = hole->next;
      free(hole);
    }
  free(a->granules);
  free(a->live);
}
