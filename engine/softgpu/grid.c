/* Runs grids. A grid that will take a while, to judge by the kernel's last run, is published at
   once to a pool of threads that take blocks from all published grids. The queue's thread runs a
   small one alone: it ends before waking anyone would pay. If that was misjudged (blocks remain
   after a moment, or one spins) it is published then. Between two blocks every thread looks whether
   a published grid of a higher priority has blocks to start: those come first. */
#include "grid.h"
#include "blocks.h"
#include "claim.h"
#include "fault.h"
#include "thread.h"
#include <fenv.h>
#include <sched.h>
#include <stdio.h>

enum { PUBLISH_AFTER_NS = 20000 };

static struct {
  pthread_mutex_t lock;
  pthread_cond_t work, left;
  sg_grid *first;
  int threads;
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, 0};

enum { URGENCIES = 6 };
static _Atomic int published[URGENCIES]; /* grids in the pool, by -priority */

static __thread uint32_t worker_number; /* 0: a queue's thread; the pool's count from 1 */

/* ---- parked blocks */

static void park(sg_grid *g, sg_block *b) {
  pthread_mutex_lock(&g->lock);
  b->next = NULL;
  if (g->parked)
    g->parked_last->next = b;
  else
    g->parked = b;
  g->parked_last = b;
  pthread_mutex_unlock(&g->lock);
}

static sg_block *unpark(sg_grid *g) {
  pthread_mutex_lock(&g->lock);
  sg_block *b = g->parked;
  if (b) g->parked = b->next;
  pthread_mutex_unlock(&g->lock);
  return b;
}

/* ---- one thread's share of a grid */

typedef struct share {
  sg_grid *grid;
  sg_claim claim;
  sg_block *block; /* in hand: given back after a fault */
  int64_t start;
  uint32_t done; /* blocks */
  bool starts;   /* takes only blocks that were not started */
} share;

/* The published grid of the highest priority, above this one, that has blocks to start. Lock held.
 */
static sg_grid *above(int priority) {
  sg_grid *best = NULL;
  for (sg_grid *g = pool.first; g; g = g->pool_next)
    if (g->priority < (best ? best->priority : priority) && !g->error && sg_claim_left(g)) best = g;
  return best;
}

static bool any_above(const sg_grid *g) {
  int higher = 0;
  for (int u = -g->priority + 1; u < URGENCIES; u++) higher += published[u];
  return higher;
}

static bool outranked(const sg_grid *g) {
  if (!any_above(g)) return false;
  pthread_mutex_lock(&pool.lock);
  bool is = above(g->priority);
  pthread_mutex_unlock(&pool.lock);
  return is;
}

/* Whether this thread should go on with blocks of its grid. */
static bool goes_on(share *s) {
  sg_grid *g = s->grid;
  return !g->error && !(outranked(g) && sg_claim_return(g, &s->claim));
}

static void give_block(share *s) {
  if (s->block) sg_block_give(s->block);
  s->block = NULL;
}

static sg_block *take_block(share *s) {
  sg_block *b = sg_block_take(s->grid);
  if (!b) sg_fault_leave(CUDA_ERROR_OUT_OF_MEMORY);
  b->abi.smid = worker_number % b->abi.nsmid;
  return b;
}

/* The next block that was not started, else one that was parked. */
static sg_block *next_block(share *s) {
  uint64_t number;
  if (!goes_on(s)) return NULL;
  if (!sg_claim_next(s->grid, &s->claim, &number)) return s->starts ? NULL : unpark(s->grid);
  sg_block *b = take_block(s);
  sg_block_set(b, number);
  return b;
}

static void block_done(share *s) {
  sg_grid *g = s->grid;
  s->done++;
  if (worker_number || g->in_pool || !sg_claim_left(g)) return;
  if (sg_now_ns() - s->start > PUBLISH_AFTER_NS) sg_grid_publish(g);
}

/* Loop mode: nothing suspends, so that one sg_block serves all. */
static void run_loop(share *s) {
  rm_block_entry entry = (rm_block_entry)s->grid->entry;
  s->block = take_block(s);
  for (uint64_t number; goes_on(s) && sg_claim_next(s->grid, &s->claim, &number);) {
    sg_block_set(s->block, number);
    entry(&s->block->abi);
    block_done(s);
  }
  give_block(s);
}

static void run_coroutines(share *s) {
  sg_grid *g = s->grid;
  while ((s->block = next_block(s))) {
    if (sg_block_run(s->block) == SG_BLOCK_DONE) {
      give_block(s);
      block_done(s);
      continue;
    }
    if (g->block_count > 1) sg_grid_publish(g);
    if (!sg_claim_left(g)) sched_yield();
    park(g, s->block);
    s->block = NULL;
  }
}

static void share_body(void *argument) {
  share *s = argument;
  fesetenv(FE_DFL_ENV); /* the program's rounding and denormal modes are not the GPU's */
  if (s->grid->info->mode == RM_MODE_LOOP)
    run_loop(s);
  else
    run_coroutines(s);
}

static void remember(const share *s) {
  int64_t ns = (sg_now_ns() - s->start) / s->done;
  *s->grid->block_ns = ns < 1 ? 1 : ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static void run_share(sg_grid *g, bool starts) {
  share s = {.grid = g, .starts = starts, .start = g->block_count > 1 ? sg_now_ns() : 0};
  fenv_t before;
  fegetenv(&before);
  CUresult r = sg_fault_guard(share_body, &s);
  fesetenv(&before);
  if (s.start && s.done) remember(&s);
  if (r == CUDA_SUCCESS) return;
  int none = 0;
  __atomic_compare_exchange_n(&g->error, &none, (int)r, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  give_block(&s);
}

/* ---- the pool */

static bool has_work(const sg_grid *g) { return !g->error && (sg_claim_left(g) || g->parked); }

static sg_grid *find_work(void) {
  sg_grid *best = NULL;
  for (sg_grid *g = pool.first; g; g = g->pool_next)
    if (has_work(g) && (!best || g->priority < best->priority)) best = g;
  return best;
}

/* Works for a published grid; the pool's lock is held, but not meanwhile. */
static void help(sg_grid *g, bool starts) {
  g->helpers++;
  pthread_mutex_unlock(&pool.lock);
  run_share(g, starts);
  pthread_mutex_lock(&pool.lock);
  if (--g->helpers == 0) pthread_cond_broadcast(&pool.left);
}

/* A queue's thread starts the blocks that come before its own. */
static void help_above(const sg_grid *own) {
  sg_grid *g;
  if (!any_above(own)) return;
  pthread_mutex_lock(&pool.lock);
  while ((g = above(own->priority))) help(g, true);
  pthread_mutex_unlock(&pool.lock);
}

static void *pool_thread(void *argument) {
  worker_number = (uint32_t)(uintptr_t)argument;
  sg_fault_prepare_thread();
  pthread_mutex_lock(&pool.lock);
  for (;;) {
    sg_grid *g = find_work();
    if (g)
      help(g, false);
    else
      pthread_cond_wait(&pool.work, &pool.lock);
  }
  return NULL;
}

/* Lock held. Threads that can't be made are done without. */
static void start_pool(void) {
  for (uintptr_t n = 1; n < (uintptr_t)sg_config()->workers; n++)
    pool.threads += sg_thread_start(pool_thread, (void *)n);
}

void sg_grid_publish(sg_grid *g) {
  pthread_mutex_lock(&pool.lock);
  if (!pool.threads) start_pool();
  if (!g->in_pool) {
    sg_grid **at = &pool.first;
    while (*at) at = &(*at)->pool_next;
    *at = g;
    g->pool_next = NULL;
    g->in_pool = true;
    published[-g->priority]++;
    pthread_cond_broadcast(&pool.work);
  }
  pthread_mutex_unlock(&pool.lock);
}

static void leave_pool(sg_grid *g) {
  pthread_mutex_lock(&pool.lock);
  for (sg_grid **at = &pool.first; *at; at = &(*at)->pool_next)
    if (*at == g) {
      *at = g->pool_next;
      break;
    }
  while (g->helpers) pthread_cond_wait(&pool.left, &pool.lock);
  g->in_pool = false;
  published[-g->priority]--;
  pthread_mutex_unlock(&pool.lock);
}

static bool worth_sharing(const sg_grid *g) {
  uint64_t ns = *g->block_ns;
  return g->block_count > 1 && (!ns || ns * g->block_count > PUBLISH_AFTER_NS);
}

CUresult sg_grid_run(sg_grid *g) {
  static _Atomic uint32_t ids;
  g->id = ids++;
  g->error = 0;
  g->block_count = (uint64_t)g->blocks[0] * g->blocks[1] * g->blocks[2];
  sg_claim_start(g);
  pthread_mutex_init(&g->lock, NULL);
  sg_fault_prepare_thread();
  if (worth_sharing(g)) sg_grid_publish(g);
  do {
    do {
      help_above(g);
      run_share(g, false);
    } while (has_work(g) && outranked(g));
    if (g->in_pool) leave_pool(g);
  } while (has_work(g)); /* a helper may have parked its block as it left */
  for (sg_block *b; (b = unpark(g));) sg_block_give(b);
  if (g->printed) fflush(stdout);
  pthread_mutex_destroy(&g->lock);
  return (CUresult)g->error;
}
