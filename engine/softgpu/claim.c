/* A range lasts long enough to pay for taking it, to judge by the one before, and is small beside
   what is left, so that all threads end together. Blocks that last longer than it seemed are given
   back; there is room for one range, which is taken first. */
#include "claim.h"
#include <time.h>

enum { RANGE_NS = 10000, LATE_NS = 10 * RANGE_NS, MOST_BLOCKS = 64, LOOK_EVERY = 8, SHARES = 4 };

int64_t sg_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void sg_claim_start(sg_grid *g) {
  g->next = 0;
  g->returned = g->returned_end = 0;
  g->left = g->block_count;
}

bool sg_claim_left(const sg_grid *g) { return g->left != 0; }

/* ---- how many at once */

static uint64_t in_time(int64_t ns_each) {
  uint64_t count = ns_each > 0 ? RANGE_NS / (uint64_t)ns_each : MOST_BLOCKS;
  return count < 1 ? 1 : count > MOST_BLOCKS ? MOST_BLOCKS : count;
}

/* The first time by the kernel's last run, if any; then by how long the last range took. */
static uint64_t suits(const sg_grid *g, const sg_claim *c, int64_t now) {
  if (c->size) return in_time((now - c->since) / (int64_t)c->size);
  return *g->block_ns ? in_time(*g->block_ns) : 1;
}

static uint64_t fair(const sg_grid *g, uint64_t wanted) {
  uint64_t most = g->left / (uint64_t)(SHARES * sg_config()->workers);
  return most < 1 ? 1 : wanted < most ? wanted : most;
}

/* ---- lock held */

static void cut(sg_claim *c, uint64_t *from, uint64_t end, uint64_t size) {
  c->next = *from;
  c->end = end - *from < size ? end : *from + size;
  *from = c->end;
}

static void take(sg_grid *g, sg_claim *c, uint64_t wanted) {
  uint64_t size = fair(g, wanted);
  if (g->returned < g->returned_end)
    cut(c, &g->returned, g->returned_end, size);
  else
    cut(c, &g->next, g->block_count, size);
  c->size = c->end - c->next;
  g->left -= c->size;
}

/* ---- */

static void take_range(sg_grid *g, sg_claim *c) {
  int64_t now = g->block_count > 1 ? sg_now_ns() : 0;
  uint64_t wanted = suits(g, c, now);
  pthread_mutex_lock(&g->lock);
  take(g, c, wanted);
  pthread_mutex_unlock(&g->lock);
  c->since = now;
}

bool sg_claim_return(sg_grid *g, sg_claim *c) {
  if (c->next == c->end) return true;
  pthread_mutex_lock(&g->lock);
  bool room = g->returned == g->returned_end;
  if (room) {
    g->returned = c->next;
    g->returned_end = c->end;
    g->left += c->end - c->next;
    c->size -= c->end - c->next;
    c->end = c->next;
  }
  pthread_mutex_unlock(&g->lock);
  return room;
}

/* A range that takes much longer than it should; the clock is looked at now and then. */
static bool late(const sg_claim *c) {
  uint64_t rest = c->end - c->next;
  bool look = rest && (c->size <= LOOK_EVERY || rest % LOOK_EVERY == 0);
  return look && sg_now_ns() - c->since > LATE_NS;
}

bool sg_claim_next(sg_grid *g, sg_claim *c, uint64_t *block) {
  if (late(c)) sg_claim_return(g, c);
  if (c->next == c->end && sg_claim_left(g)) take_range(g, c);
  if (c->next == c->end) return false;
  *block = c->next++;
  return true;
}
