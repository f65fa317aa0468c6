/* shm.c: the link over shared memory: see shm.h.
 * Must not know: records, waiters, how the ends found each other. */
#define _GNU_SOURCE
#include "shm.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tuning.h"

#define load(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define MASK (RM_SHM_STREAM - 1)

/* What the send under way waits for. */
enum { STAGE_STREAM, STAGE_TAKEN, STAGE_ASKED };

/* ---- bells */

/* What was published before must be seen by a peer that raises its flag after this looked. */
static void ring_if(uint32_t *sleeps, int bell) {
  fence();
  if (!load(sleeps) || !__atomic_exchange_n(sleeps, 0, __ATOMIC_SEQ_CST)) return;
  const uint64_t one = 1;
  if (write(bell, &one, sizeof one) < 0) return; /* full: it rings already */
}

static void silence(int bell) {
  uint64_t count;
  if (read(bell, &count, sizeof count) < 0) return; /* none: it did not ring */
}

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  __asm__ volatile("yield");
#endif
}

/* On one processor the peer can only answer when this thread gives it up. */
static bool peer_runs_elsewhere(const rm_shm *shm) {
  return load(&shm->in->cpu) != (uint32_t)sched_getcpu();
}

static bool shm_beside(rm_link *link) { return !peer_runs_elsewhere((const rm_shm *)link); }

/* ---- the stream, outwards */

static size_t room(rm_shm *shm) {
  size_t free = RM_SHM_STREAM - (shm->head - shm->tail_seen);
  if (free) return free;
  uint64_t tail = load(&shm->out->tail);
  if (shm->head - tail <= RM_SHM_STREAM) shm->tail_seen = tail; /* else the peer made it up */
  return RM_SHM_STREAM - (shm->head - shm->tail_seen);
}

static size_t put(rm_shm *shm, const uint8_t *bytes, size_t n) {
  size_t free = room(shm), at = shm->head & MASK;
  if (n > free) n = free;
  size_t run = n < RM_SHM_STREAM - at ? n : RM_SHM_STREAM - at;
  memcpy(shm->out_stream + at, bytes, run);
  memcpy(shm->out_stream, bytes + run, n - run);
  shm->head += n;
  return n;
}

static void publish(rm_shm *shm) {
  uint64_t sent = shm->head - shm->head_told;
  if (!sent) return;
  __atomic_store_n(&shm->base.bytes_sent, shm->base.bytes_sent + sent, __ATOMIC_RELAXED);
  shm->out->cpu = (uint32_t)sched_getcpu();
  shm->head_told = shm->head;
  store(&shm->out->head, shm->head);
  ring_if(&shm->out->reader_sleeps, shm->fds.peer_reader);
}

/* Writes what fits of the frames under way; whether all went. */
static bool push(rm_shm *shm, bool more) {
  size_t n = 1;
  while (shm->frames.count && n) {
    n = put(shm, shm->frames.next->iov_base, shm->frames.next->iov_len);
    rm_frames_gone(&shm->frames, n);
  }
  shm->base.corked = more && !shm->frames.count;
  if (!shm->base.corked) publish(shm);
  return shm->frames.count == 0;
}

/* ---- placed bulk messages, outwards */

/* One frame of this link's own kind; bytes follow it if there are any. */
static void make_frame(rm_shm *shm, uint8_t kind, uint32_t tag, const void *bytes, size_t n) {
  rm_frames_make(&shm->frames,
                 &(rm_parcel){.kind = RM_PARCEL_BULK, .tag = tag, .bytes = bytes, .n = n}, 1,
                 shm->credit);
  shm->frames.frames[0].kind = kind;
}

/* Can this message be copied once? Then *place says where its bytes lie, or asks for a place. */
static bool is_placed(rm_shm *shm, const rm_parcel *bulk, rm_placed *place) {
  *place =
      (rm_placed){.turn = (uint32_t)shm->turn + 1, .n = (uint32_t)bulk->n, .file = RM_PLACED_ASKS};
  if (bulk->kind != RM_PARCEL_BULK || bulk->n < RM_SHM_PLACED_LEAST) return false;
  if (!rm_shm_files_find(&shm->files, bulk->bytes, bulk->n, &place->file, &place->offset))
    return load(&shm->out->shares);
  place->lent = rm_shm_files_reached(&shm->files, place->file, place->offset, bulk->n);
  return true;
}

static uint32_t stage_of(const rm_placed *place) {
  if (place->file == RM_PLACED_ASKS) return STAGE_ASKED;
  return place->lent ? STAGE_STREAM : STAGE_TAKEN;
}

/* All parcels before it go out with the message's announcement. */
static void send_placed(rm_shm *shm, const rm_parcel *parcels, unsigned count, rm_credit credit) {
  rm_parcel all[RM_PARCELS_MAX];
  memcpy(all, parcels, count * sizeof *all);
  shm->turn++;
  shm->bulk = parcels[count - 1];
  shm->credit = credit;
  shm->stage = stage_of(&shm->place);
  if (shm->place.lent) store(&shm->base.lent, shm->turn);
  all[count - 1].bytes = &shm->place;
  all[count - 1].n = sizeof shm->place;
  rm_frames_make(&shm->frames, all, count, credit);
  shm->frames.frames[count - 1].kind = RM_FRAME_PLACED;
}

/* The reader has answered: it has the bytes, or this side copies them, or they follow. */
static void go_on(rm_shm *shm) {
  uint32_t file = load(&shm->out->file), stage = shm->stage;
  uint64_t offset = load(&shm->out->offset);
  shm->stage = STAGE_STREAM;
  if (stage == STAGE_TAKEN && file != RM_PLACED_ASKS) {
    rm_shm_files_reach(&shm->files, shm->place.file, shm->place.offset, shm->bulk.n);
    return;
  }
  bool copied = stage == STAGE_ASKED && file != RM_PLACED_ASKS &&
                rm_shm_files_copy(&shm->files, file, offset, shm->bulk.n, NULL, shm->bulk.bytes);
  make_frame(shm, RM_FRAME_LANDED, 0, copied ? NULL : shm->bulk.bytes, copied ? 0 : shm->bulk.n);
}

static bool answered(const rm_shm *shm) { return load(&shm->out->turn) == (uint32_t)shm->turn; }

static int go_through(rm_shm *shm, bool more) {
  while (!load(&shm->over)) {
    if (!push(shm, more)) return -EAGAIN;
    if (shm->stage == STAGE_STREAM) return 0;
    if (!answered(shm)) return -EAGAIN;
    go_on(shm);
  }
  return -EPIPE;
}

static int shm_resume(rm_link *link) { return go_through((rm_shm *)link, false); }

/* What is lent needs no answer: the peer learns of a run of it at once, with what follows. */
static int shm_send(rm_link *link, const rm_parcel *parcels, unsigned count, rm_credit credit) {
  rm_shm *shm = (rm_shm *)link;
  bool is_one = is_placed(shm, &parcels[count - 1], &shm->place);
  if (is_one)
    send_placed(shm, parcels, count, credit);
  else
    rm_frames_make(&shm->frames, parcels, count, credit);
  return go_through(shm, is_one && shm->place.lent && parcels[count - 1].more);
}

/* How many of the messages lent the peer has taken, in turns; not more than there are. */
static uint64_t returned(const rm_shm *shm) {
  uint64_t before = load(&shm->base.returned), most = load(&shm->base.lent) - before;
  uint32_t more = load(&shm->out->turn) - (uint32_t)before;
  return before + (more < most ? more : most);
}

static bool some_returned(const rm_shm *shm) {
  uint64_t before = load(&shm->base.returned);
  return load(&shm->base.lent) != before && returned(shm) != before;
}

/* ---- the stream, inwards */

/* Tells the writer what was read: seldom, since it only needs to know when the stream is full. */
static void tell_tail(rm_shm *shm) {
  if (shm->tail - shm->tail_told < RM_SHM_STREAM / 4) return;
  shm->tail_told = shm->tail;
  store(&shm->in->tail, shm->tail);
  ring_if(&shm->in->writer_sleeps, shm->fds.peer_writer);
}

static size_t take(rm_shm *shm, uint8_t *to, size_t n, size_t there) {
  size_t at = shm->tail & MASK;
  if (n > there) n = there;
  size_t run = n < RM_SHM_STREAM - at ? n : RM_SHM_STREAM - at;
  memcpy(to, shm->in_stream + at, run);
  memcpy(to + run, shm->in_stream, n - run);
  store(&shm->tail, shm->tail + n);
  return n;
}

/* Copies out what has come. false: the peer's position is impossible. */
static bool take_in(rm_shm *shm, size_t *n) {
  uint64_t there = load(&shm->in->head) - shm->tail;
  *n = 0;
  if (!there) return true;
  if (there > RM_SHM_STREAM) return false;
  struct iovec piece[2];
  unsigned count = rm_stream_room(&shm->stream, piece);
  for (unsigned i = 0; i < count; i++)
    *n += take(shm, piece[i].iov_base, piece[i].iov_len, there - *n);
  tell_tail(shm);
  return true;
}

/* ---- placed bulk messages, inwards */

/* Bytes that were lent: nobody waits for this answer alone. */
static void answer(rm_shm *shm, const rm_placed *to, uint32_t file, uint64_t offset) {
  store(&shm->in->file, file);
  store(&shm->in->offset, offset);
  store(&shm->in->turn, to->turn);
  if (!to->lent) ring_if(&shm->in->writer_sleeps, shm->fds.peer_writer);
}

/* The peer's reader learns what was taken. */
static void tell_taken(rm_shm *shm) {
  if (!shm->took_lent) return;
  shm->took_lent = false;
  ring_if(&shm->out->reader_sleeps, shm->fds.peer_reader);
}

static bool placed(rm_stream *in, const rm_placed *from, void *where) {
  rm_shm *shm = (rm_shm *)((uint8_t *)in - offsetof(rm_shm, stream));
  uint32_t file = RM_PLACED_ASKS;
  uint64_t offset = 0;
  bool here = from->file != RM_PLACED_ASKS;
  if (here && rm_shm_files_copy(&shm->files, from->file, from->offset, from->n, where, NULL))
    file = from->file;
  else if (!here)
    rm_shm_files_find(&shm->files, where, from->n, &file, &offset);
  if (file != RM_PLACED_ASKS) shm->placed += from->n;
  shm->took_lent |= from->lent;
  answer(shm, from, file, offset);
  return here && file != RM_PLACED_ASKS;
}

static const rm_stream_hook hook = {placed};

/* ---- waiting */

static bool readable(const rm_shm *shm) {
  return load(&shm->in->head) != load(&shm->tail) || load(&shm->over) || some_returned(shm);
}

static bool writable(const rm_shm *shm) {
  if (load(&shm->over)) return true;
  if (shm->frames.count) return shm->head - load(&shm->out->tail) < RM_SHM_STREAM;
  return shm->stage == STAGE_STREAM || answered(shm);
}

static int ready(const rm_shm *shm, int events) {
  return (events & RM_READABLE && readable(shm) ? RM_READABLE : 0) |
         (events & RM_WRITABLE && writable(shm) ? RM_WRITABLE : 0);
}

/* A look at the lifeline and the bells; timeout as poll's. */
static void listen_for(rm_shm *shm, int events, int timeout_ms) {
  struct pollfd fds[] = {{.fd = shm->lifeline, .events = POLLIN | POLLRDHUP},
                         {.fd = events & RM_READABLE ? shm->fds.my_reader : -1, .events = POLLIN},
                         {.fd = events & RM_WRITABLE ? shm->fds.my_writer : -1, .events = POLLIN}};
  if (poll(fds, 3, timeout_ms) <= 0) return;
  if (fds[0].revents) store(&shm->over, 1);
  if (fds[1].revents) silence(shm->fds.my_reader);
  if (fds[2].revents) silence(shm->fds.my_writer);
}

static void raise_flag(uint32_t *flag, uint32_t *sleepers, bool sleeps) {
  if (!sleeps) return;
  __atomic_add_fetch(sleepers, 1, __ATOMIC_SEQ_CST);
  __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
}

/* The bell may have rung for another thread that still sleeps: the flag is raised for it again, and
 * what came before that is told it. A flag that stays up costs the peer one needless ring. */
static void leave_bell(rm_shm *shm, uint32_t *flag, uint32_t *sleepers, int event, int bell) {
  const uint64_t one = 1;
  if (!__atomic_sub_fetch(sleepers, 1, __ATOMIC_SEQ_CST)) return;
  __atomic_store_n(flag, 1, __ATOMIC_SEQ_CST);
  if (ready(shm, event) && write(bell, &one, sizeof one) < 0) return; /* full: it rings already */
}

static int sleep_until(rm_shm *shm, int events, int timeout_ms) {
  raise_flag(&shm->in->reader_sleeps, &shm->reading, events & RM_READABLE);
  raise_flag(&shm->out->writer_sleeps, &shm->writing, events & RM_WRITABLE);
  fence();
  int found = ready(shm, events);
  if (!found) {
    listen_for(shm, events, timeout_ms);
    found = ready(shm, events);
  }
  if (events & RM_READABLE)
    leave_bell(shm, &shm->in->reader_sleeps, &shm->reading, RM_READABLE, shm->fds.my_reader);
  if (events & RM_WRITABLE)
    leave_bell(shm, &shm->out->writer_sleeps, &shm->writing, RM_WRITABLE, shm->fds.my_writer);
  return found;
}

/* The peer is copying on another processor: it takes about as long as a wake would. */
static int look_while_copied(rm_shm *shm, int events) {
  if (!peer_runs_elsewhere(shm)) return 0;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t end = now.tv_sec * 1000000000 + now.tv_nsec + RM_SHM_COPY_US * 1000, at = 0;
  int found = 0;
  while (!(found = ready(shm, events)) && at < end) {
    for (unsigned i = 0; i < RM_SHM_LOOKS && !ready(shm, events); i++) pause_briefly();
    clock_gettime(CLOCK_MONOTONIC, &now);
    at = now.tv_sec * 1000000000 + now.tv_nsec;
  }
  return found;
}

static bool copying(const rm_shm *shm, int events) {
  return (events & RM_WRITABLE && shm->stage != STAGE_STREAM) ||
         (events & RM_READABLE && shm->stream.asked_n);
}

static int shm_wait(rm_link *link, int events, int timeout_ms) {
  rm_shm *shm = (rm_shm *)link;
  int found = ready(shm, events);
  if (!found && copying(shm, events)) found = look_while_copied(shm, events);
  return found ? found : sleep_until(shm, events, timeout_ms);
}

/* A peer on another processor answers within this time, or after a wake. */
static bool comes_soon(const rm_shm *shm) {
  if (!peer_runs_elsewhere(shm)) return false;
  for (unsigned i = 0; i < RM_SHM_LOOKS; i++) {
    if (readable(shm)) return true;
    pause_briefly();
  }
  return false;
}

static long ended(rm_shm *shm, rm_channel *to) {
  if (rm_stream_inside(&shm->stream)) rm_in_cut_off(to, shm->stream.left);
  return RM_EPEER;
}

static long shm_receive(rm_link *link, rm_channel *to, bool sleep) {
  rm_shm *shm = (rm_shm *)link;
  for (;;) {
    bool over = load(&shm->over); /* before the look: what was sent until then is there */
    size_t n;
    if (!take_in(shm, &n)) return rm_in_broken(to, "a position beyond the stream"), RM_EPROTO;
    bool news = some_returned(shm);
    if (news) rm_in_returned(to, returned(shm));
    if (n) {
      shm->placed = 0;
      rm_stream_took(&shm->stream, to, n);
      tell_taken(shm);
      return (long)(n + shm->placed);
    }
    if (over) return ended(shm, to);
    if (news) return -EAGAIN; /* the caller may be the one that waits for it */
    if (comes_soon(shm)) continue;
    if (!sleep) return -EAGAIN;
    shm_wait(link, RM_READABLE, -1);
  }
}

/* ---- set-up and end */

static int shm_share(rm_link *link, void *at, size_t n, int fd, uint64_t offset) {
  rm_shm *shm = (rm_shm *)link;
  int error = rm_shm_files_share(&shm->files, at, n, fd, offset);
  if (!error && fd >= 0) store(&shm->in->shares, 1);
  return error;
}

static void shm_finish(rm_link *link) { shutdown(((rm_shm *)link)->lifeline, SHUT_WR); }

/* Sleepers poll the lifeline. */
static void shm_stop(rm_link *link) {
  rm_shm *shm = (rm_shm *)link;
  shutdown(shm->lifeline, SHUT_RDWR);
  store(&shm->over, 1);
}

static void close_all(const rm_shm_fds *fds) {
  const int all[] = {fds->area, fds->my_reader, fds->my_writer, fds->peer_reader, fds->peer_writer};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i] >= 0) close(all[i]);
}

static void shm_free(rm_link *link, bool forked) {
  rm_shm *shm = (rm_shm *)link;
  close(shm->lifeline);
  close_all(&shm->fds);
  rm_shm_files_close(&shm->files, forked);
  if (forked) return;
  munmap(shm->area, RM_SHM_BYTES);
  free(shm);
}

static const rm_link_ops shm_ops = {.send = shm_send,
                                    .resume = shm_resume,
                                    .receive = shm_receive,
                                    .wait = shm_wait,
                                    .beside = shm_beside,
                                    .finish = shm_finish,
                                    .stop = shm_stop,
                                    .free = shm_free,
                                    .share = shm_share};

rm_link *rm_link_shm(const rm_shm_fds *fds, int lifeline, rm_shm_area *area, bool server) {
  rm_shm *shm = aligned_alloc(64, (sizeof *shm + 63) / 64 * 64);
  if (!shm) {
    close_all(fds);
    close(fds->files);
    close(lifeline);
    munmap(area, RM_SHM_BYTES);
    return NULL;
  }
  memset(shm, 0, sizeof *shm);
  shm->base.ops = &shm_ops;
  shm->fds = *fds;
  shm->lifeline = lifeline;
  shm->area = area;
  uint8_t *streams = (uint8_t *)area + RM_SHM_FRONT;
  shm->in = &area->pipes[server ? 0 : 1];
  shm->out = &area->pipes[server ? 1 : 0];
  shm->in_stream = streams + (server ? 0 : RM_SHM_STREAM);
  shm->out_stream = streams + (server ? RM_SHM_STREAM : 0);
  shm->stream.hook = &hook;
  rm_shm_files_open(&shm->files, fds->files);
  return &shm->base;
}
