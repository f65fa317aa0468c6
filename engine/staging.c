/* staging.c: see staging.h. */
#include "staging.h"

#include <stdlib.h>
#include <sys/mman.h>

static bool grow(Staging *s) {
  if (s->slab_count == STAGING_PIECES / STAGING_SLAB) return false;
  Piece *pieces = calloc(STAGING_SLAB, sizeof *pieces);
  uint8_t *bytes = mmap(NULL, (size_t)STAGING_SLAB * RM_BULK_MAX, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!pieces || bytes == MAP_FAILED) {
    free(pieces);
    if (bytes != MAP_FAILED) munmap(bytes, (size_t)STAGING_SLAB * RM_BULK_MAX);
    return false;
  }
  for (uint32_t i = STAGING_SLAB; i-- > 0;) {
    pieces[i].bytes = bytes + (size_t)i * RM_BULK_MAX;
    pieces[i].next = s->free;
    s->free = &pieces[i];
  }
  s->slabs[s->slab_count++] = bytes;
  s->free_count += STAGING_SLAB;
  return true;
}

bool staging_init(Staging *s, uint32_t window) {
  pthread_mutex_init(&s->lock, NULL);
  pthread_cond_init(&s->moved, NULL);
  s->landed_end = &s->landed;
  while (s->free_count < window)
    if (!grow(s)) return false;
  s->promised = window;
  return true;
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
