/* open.c: making, closing and freeing a channel; its threads. Cold.
 * Must not know: links' insides. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

uint32_t rm_silence_ms(const rm_options *options) {
  uint32_t ms = options && options->silence_ms ? options->silence_ms : RM_SILENCE_MS;
  return ms < RM_SILENCE_MIN_MS ? RM_SILENCE_MIN_MS : ms;
}

static bool options_ok(const rm_options *o) {
  bool ring = !o->ring_bytes || (o->ring_bytes >= RM_RING_MIN && o->ring_bytes <= RM_RING_MAX &&
                                 !(o->ring_bytes & (o->ring_bytes - 1)));
  uint32_t ring_bytes = o->ring_bytes ? o->ring_bytes : RM_RING_BYTES;
  return ring && o->record_max <= ring_bytes / RM_RECORD_SHARE &&
         (!o->record_max || o->record_max >= sizeof(rm_record)) &&
         o->bulk_window <= RM_BULK_WINDOW_MAX;
}

static void take_sizes(rm_channel *ch, const rm_options *o, uint32_t link_ring_bytes) {
  ch->ring_bytes = o->ring_bytes ? o->ring_bytes : RM_RING_BYTES;
  if (link_ring_bytes) ch->ring_bytes = link_ring_bytes;
  ch->mask = ch->ring_bytes - 1;
  uint32_t most = (uint32_t)(ch->ring_bytes / RM_RECORD_SHARE);
  ch->record_max = o->record_max && o->record_max < most ? o->record_max : most;
}

static void take_options(rm_channel *ch, const rm_options *o) {
  ch->bulk_window = o->bulk_window ? o->bulk_window : RM_BULK_WINDOW;
  ch->silence_ms = rm_silence_ms(o);
  ch->tick_ms = ch->silence_ms / RM_TICKS_PER_SILENCE;
  ch->bulk_overlaps = o->bulk_overlaps;
  ch->spin_us = o->spin_us == UINT32_MAX ? RM_SPIN_US : o->spin_us;
  snprintf(ch->peer, sizeof ch->peer, "%s", o->peer ? o->peer : "peer");
}

static void *map_ring(size_t bytes) {
  void *ring = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return ring == MAP_FAILED ? NULL : ring;
}

static bool map_rings(rm_channel *ch) {
  ch->own_rings[0] = !ch->link->send_ring;
  ch->own_rings[1] = !ch->link->receive_ring;
  ch->put.ring = ch->own_rings[0] ? map_ring(ch->ring_bytes) : ch->link->send_ring;
  ch->rx.ring = ch->own_rings[1] ? map_ring(ch->ring_bytes) : ch->link->receive_ring;
  return ch->put.ring && ch->rx.ring;
}

static void make_locks(rm_channel *ch) {
  pthread_mutex_t *locks[] = {&ch->wait_lock, &ch->notes.lock, &ch->fail_lock};
  for (size_t i = 0; i < sizeof locks / sizeof *locks; i++) pthread_mutex_init(locks[i], NULL);
}

static bool start(pthread_t *thread, void *(*run)(void *), rm_channel *ch, const char *name) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, RM_THREAD_STACK);
  int error = pthread_create(thread, &attributes, run, ch);
  pthread_attr_destroy(&attributes);
  if (!error) pthread_setname_np(*thread, name);
  errno = error;
  return error == 0;
}

/* The program's signals are for the program's own threads. */
static bool start_threads(rm_channel *ch) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  ch->flushes = true; /* before its threads look */
  bool flushes = start(&ch->flusher, rm_flusher_run, ch, "remora-flush");
  if (!flushes) ch->flushes = false;
  bool served = flushes && start(&ch->service, rm_service_run, ch, "remora-read");
  if (served) rm_store_ordered(&ch->served, 1); /* whoever sends next may count on it */
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return served;
}

static void free_memory(rm_channel *ch) {
  if (ch->own_rings[0] && ch->put.ring) munmap(ch->put.ring, ch->ring_bytes);
  if (ch->own_rings[1] && ch->rx.ring) munmap(ch->rx.ring, ch->ring_bytes);
  free(ch);
}

static rm_channel *give_up(rm_channel *ch, rm_link *link, int error) {
  if (ch && ch->flushes) {
    rm_fail(ch, RM_ECLOSED, "could not be opened");
    pthread_join(ch->flusher, NULL);
  }
  link->ops->free(link, false);
  if (ch) free_memory(ch);
  errno = error;
  return NULL;
}

rm_channel *rm_channel_over(rm_link *link, const rm_options *options, const rm_events *events,
                            void *user) {
  rm_options none = {0};
  if (!options) options = &none;
  if (!options_ok(options)) return give_up(NULL, link, EINVAL);
  rm_channel *ch = aligned_alloc(RM_LINE, (sizeof *ch + RM_LINE - 1) / RM_LINE * RM_LINE);
  if (!ch) return give_up(NULL, link, ENOMEM);
  memset(ch, 0, sizeof *ch);
  take_options(ch, options);
  take_sizes(ch, options, link->ring_bytes);
  make_locks(ch);
  ch->link = link;
  ch->events = events ? *events : (rm_events){0};
  ch->user = user;
  ch->heard_ms = rm_now_ms();
  if (!map_rings(ch)) return give_up(ch, link, ENOMEM);
  if (options->service && !start_threads(ch)) return give_up(ch, link, errno);
  return ch;
}

/* ---- the end */

static void drain_until(rm_channel *ch, uint64_t end_ms) {
  while (!rm_ended(ch) && rm_drain(ch, false) == -EAGAIN && rm_now_ms() < end_ms)
    ch->link->ops->wait(ch->link, RM_WRITABLE, RM_UNSERVED_MS);
}

/* Reads on until the peer has taken everything and ended its side too: data that came to a socket
 * shut for reading would make the kernel drop what the peer has not read yet. */
static void part(rm_channel *ch, uint64_t end_ms) {
  rm_store_ordered(&ch->closing, 1);
  rm_say_bye(ch, "");
  ch->link->ops->finish(ch->link);
  rm_expect(ch, 1);
  while (!rm_ended(ch) && rm_now_ms() < end_ms) {
    if (!rm_read_take(ch)) {
      rm_futex_wait(&ch->closing, 1, 1);
      continue;
    }
    if (ch->link->ops->wait(ch->link, RM_READABLE, RM_UNSERVED_MS)) rm_read_some(ch, false);
    rm_read_leave(ch);
  }
  rm_expect(ch, -1);
}

void rm_channel_close(rm_channel *ch, int drain_ms) {
  uint64_t end_ms = rm_now_ms() + (uint64_t)(drain_ms > 0 ? drain_ms : 0);
  if (drain_ms > 0) drain_until(ch, end_ms);
  if (drain_ms > 0 && !rm_ended(ch)) part(ch, end_ms);
  rm_store_ordered(&ch->closing, 1);
  rm_fail_text(ch, RM_ECLOSED, "", "");
  rm_channel_quiet(ch, RM_QUIET_MS);
}

void rm_channel_end(rm_channel *ch, const char *why) {
  char text[sizeof ch->why];
  snprintf(text, sizeof text, "connection to %s was closed on this side: %s", ch->peer, why);
  rm_fail_text(ch, RM_ECLOSED, why, text);
}

void rm_channel_free(rm_channel *ch) {
  if (!ch) return;
  rm_channel_close(ch, 0);
  if (ch->flushes) {
    pthread_join(ch->flusher, NULL);
    pthread_join(ch->service, NULL);
  }
  ch->link->ops->free(ch->link, false);
  free_memory(ch);
}

void rm_channel_abandon(rm_channel *ch) {
  if (ch) ch->link->ops->free(ch->link, true);
}

void rm_channel_stats(rm_channel *ch, rm_traffic *out) {
  *out = (rm_traffic){
      .records_sent = __atomic_load_n(&ch->put.seq, __ATOMIC_RELAXED),
      .records_received = rm_load(&ch->rx.stats.records_received),
      .bytes_sent = rm_load(&ch->link->bytes_sent),
      .bytes_received = rm_load(&ch->rx.stats.bytes_received),
      .bulk_sent = rm_load(&ch->tx.stats.bulk_sent),
      .bulk_received = rm_load(&ch->rx.stats.bulk_received),
      .sends = rm_load(&ch->tx.stats.sends),
      .recvs = rm_load(&ch->rx.stats.recvs),
      .waits = rm_load(&ch->waits),
      .credit_waits = rm_load(&ch->credit_waits),
      .bulk_copied = rm_load(&ch->link->bulk_copied),
      .bulk_direct = rm_load(&ch->link->bulk_direct),
  };
}
