/* staging.c: see staging.h. */
#define _GNU_SOURCE
#include "staging.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLAB_BYTES ((size_t)STAGING_SLAB * RM_BULK_MAX)

/* Memory of a file can be shared with a peer on this host; without one it serves all others. */
static void *map_slab(Staging *s) {
  off_t from = (off_t)(s->slab_count * SLAB_BYTES);
  if (s->file >= 0 && ftruncate(s->file, from + (off_t)SLAB_BYTES) == 0) {
    void *at = mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, s->file, from);
    if (at != MAP_FAILED) return at;
  }
  if (s->file >= 0) close(s->file);
  s->file = -1;
  return mmap(NULL, SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void share_slab(Staging *s, uint32_t i) {
  if (s->file >= 0) rm_share(s->channel, s->slabs[i], SLAB_BYTES, s->file, i * SLAB_BYTES);
}

static bool grow(Staging *s) {
  if (s->slab_count == STAGING_PIECES / STAGING_SLAB) return false;
  Piece *pieces = calloc(STAGING_SLAB, sizeof *pieces);
  uint8_t *bytes = map_slab(s);
  if (!pieces || bytes == MAP_FAILED) {
    free(pieces);
    if (bytes != MAP_FAILED) munmap(bytes, SLAB_BYTES);
    return false;
  }
  for (uint32_t i = STAGING_SLAB; i-- > 0;) {
    pieces[i].bytes = bytes + (size_t)i * RM_BULK_MAX;
    pieces[i].next = s->free;
    s->free = &pieces[i];
  }
  s->slabs[s->slab_count++] = bytes;
  if (s->channel) share_slab(s, s->slab_count - 1);
  s->free_count += STAGING_SLAB;
  return true;
}

bool staging_init(Staging *s, uint32_t window) {
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->moved, NULL);
  s->landed_end = &s->landed;
  s->file = memfd_create("remora staging", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  while (s->free_count < window)
    if (!grow(s)) return false;
  s->promised = window;
  return true;
}

void staging_share(Staging *s) {
  for (uint32_t i = 0; i < s->slab_count; i++) share_slab(s, i);
}

static Piece *pop(Staging *s) {
  Piece *piece = s->free;
  s->free = piece->next;
  s->free_count--;
  piece->next = NULL;
  piece->placed = false;
  return piece;
}

Piece *staging_land(Staging *s) {
  Piece *piece = NULL;
  pthread_mutex_lock(&s->lock);
  if (s->promised) {
    s->promised--;
    piece = pop(s);
  }
  pthread_mutex_unlock(&s->lock);
  return piece;
}

void staging_landed(Staging *s, Piece *piece) {
  pthread_mutex_lock(&s->lock);
  *s->landed_end = piece;
  s->landed_end = &piece->next;
  pthread_cond_broadcast(&s->moved);
  pthread_mutex_unlock(&s->lock);
}

void staging_credit(Staging *s) {
  pthread_mutex_lock(&s->lock);
  bool back = s->free_count > s->promised || grow(s);
  if (back)
    s->promised++;
  else
    s->owed++;
  pthread_mutex_unlock(&s->lock);
  if (back) rm_bulk_release(s->channel, 0);
}

bool staging_waits(Staging *s) {
  pthread_mutex_lock(&s->lock);
  bool none = !s->landed && !s->ended;
  pthread_mutex_unlock(&s->lock);
  return none;
}

Piece *staging_payload(Staging *s) {
  pthread_mutex_lock(&s->lock);
  while (!s->landed && !s->ended) pthread_cond_wait(&s->moved, &s->lock);
  Piece *piece = s->landed;
  if (piece) {
    s->landed = piece->next;
    if (!s->landed) s->landed_end = &s->landed;
    piece->next = NULL;
  }
  pthread_mutex_unlock(&s->lock);
  return piece;
}

Piece *staging_take(Staging *s, bool wait) {
  Piece *piece = NULL;
  pthread_mutex_lock(&s->lock);
  while (wait && !s->ended && s->free_count <= s->promised && !grow(s))
    pthread_cond_wait(&s->moved, &s->lock);
  if (!s->ended && (s->free_count > s->promised || grow(s))) piece = pop(s);
  pthread_mutex_unlock(&s->lock);
  return piece;
}

Piece *staging_extra(Staging *s) {
  Piece *piece = staging_take(s, false);
  if (piece) return piece;
  piece = calloc(1, sizeof *piece + RM_BULK_MAX);
  if (!piece) return NULL;
  piece->bytes = (uint8_t *)(piece + 1);
  piece->extra = true;
  return piece;
}

void staging_put(Staging *s, Piece *piece) {
  if (piece->extra) {
    free(piece);
    return;
  }
  pthread_mutex_lock(&s->lock);
  piece->next = s->free;
  s->free = piece;
  s->free_count++;
  bool back = s->owed && s->free_count > s->promised;
  if (back) {
    s->owed--;
    s->promised++;
  }
  pthread_cond_broadcast(&s->moved);
  pthread_mutex_unlock(&s->lock);
  if (back) rm_bulk_release(s->channel, 0);
}

void staging_end(Staging *s) {
  pthread_mutex_lock(&s->lock);
  s->ended = true;
  pthread_cond_broadcast(&s->moved);
  pthread_mutex_unlock(&s->lock);
}
