/* ends.c: when a channel ends, nothing of it touches anybody's memory any more by the time that
 * on_end is told, a wait returns, or close does. Over a FAKE link whose card, reader and sender
 * take longer over it than real ones do. Ends with a message and status 1 at the first thing that
 * is wrong. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/internal.h"

#define EXPECT(what)                                                                               \
  if (!(what)) {                                                                                   \
    fprintf(stderr, "%s, line %d: expected %s\n", testing, __LINE__, #what);                       \
    exit(1);                                                                                       \
  }

enum { LONG_MS = 150, BYTES = 4096, TAG = 7 };

static const char *testing;
static char memory[BYTES]; /* the program's: what is sent from it, and what lands in it */

static struct fake {
  rm_link base;
  rm_channel *to;
  int stop_ms, receive_ms, send_ms; /* that each touches memory, once it has begun */
  int late_ms;                      /* how long wait takes to return, once stopped */
  bool ends_inside;                 /* the message that lands makes the program end the channel */
  int stopped, touching, reads;     /* receive has been entered */
} it;
static int told, quiet; /* calls of on_end; the program has been let go of */

static void nap(int ms) { usleep(1000 * (useconds_t)ms); }
static int get(int *what) { return rm_load_ordered(what); }

static void touch(int ms) {
  rm_add(&it.touching, 1);
  for (uint64_t end = rm_now_us() + 1000 * (uint64_t)ms; rm_now_us() < end; nap(1))
    EXPECT(!get(&quiet));
  rm_add(&it.touching, -1);
}

/* ---- the link */

static int fake_send(rm_link *l, const rm_parcel *parcels, unsigned count, rm_credit credit) {
  (void)l, (void)credit;
  if (parcels[count - 1].kind == RM_PARCEL_BULK) touch(it.send_ms);
  return 0;
}

static int fake_resume(rm_link *l) { return (void)l, 0; }

static void land(rm_channel *ch) {
  void *where;
  EXPECT(rm_in_bulk(ch, TAG, BYTES, &where) && where == memory);
  touch(it.receive_ms);
  bool goes_on = rm_in_bulk_landed(ch);
  EXPECT(goes_on == !rm_channel_error(ch, NULL));
  if (it.ends_inside) EXPECT(!rm_in_bulk(ch, TAG, BYTES, &where));
}

static long fake_receive(rm_link *l, rm_channel *ch, bool sleep) {
  (void)l;
  EXPECT(!get(&quiet));
  bool first = rm_add(&it.reads, 1) == 1;
  if (first && it.receive_ms) return land(ch), 1;
  while (sleep && !get(&it.stopped)) nap(1);
  return get(&it.stopped) ? RM_EPEER : -EAGAIN;
}

static int fake_wait(rm_link *l, int events, int timeout_ms) {
  (void)l;
  uint64_t end = rm_now_us() + 1000 * (uint64_t)timeout_ms;
  while (!get(&it.stopped) && rm_now_us() < end) nap(1);
  if (!get(&it.stopped)) return 0;
  nap(it.late_ms);
  return events;
}

static void fake_stop(rm_link *l) {
  (void)l;
  rm_store_ordered(&it.stopped, 1);
  if (it.stop_ms) touch(it.stop_ms);
}

static void fake_finish(rm_link *l) { (void)l; }
static void fake_free(rm_link *l, bool forked) { (void)l, (void)forked; }

static const rm_link_ops ops = {.send = fake_send,
                                .resume = fake_resume,
                                .receive = fake_receive,
                                .wait = fake_wait,
                                .finish = fake_finish,
                                .stop = fake_stop,
                                .free = fake_free};

/* ---- the program */

static void *on_bulk(void *user, uint32_t tag, size_t n) {
  (void)user;
  return tag == TAG && n == BYTES ? memory : NULL;
}

static void on_bulk_done(void *user, uint32_t tag, void *where, size_t n) {
  (void)user, (void)tag, (void)where, (void)n;
  if (!it.ends_inside) return;
  uint64_t start = rm_now_ms();
  rm_channel_close(it.to, 0); /* as from a signal handler of the thread that reads */
  EXPECT(rm_now_ms() - start < 5000);
}

static void on_end(void *user, int error, const char *why) {
  (void)user, (void)why;
  EXPECT(error && !get(&it.touching));
  rm_store_ordered(&quiet, 1);
  rm_add(&told, 1);
}

static const rm_events events = {
    .on_bulk = on_bulk, .on_bulk_done = on_bulk_done, .on_end = on_end};

static void *wait_for_ever(void *ch) {
  rm_waiter w = {0};
  EXPECT(rm_wait(ch, &w, -1) && get(&told) == 1);
  return NULL;
}

static void *send(void *ch) {
  EXPECT(rm_bulk(ch, TAG, memory, BYTES) == 0 || get(&told) == 1);
  return NULL;
}

static void *fail_to_begin(void *ch) {
  while (rm_channel_error(ch, NULL) == 0) nap(1);
  EXPECT(!rm_begin(ch, sizeof(rm_record)) && get(&told) == 1);
  return NULL;
}

static rm_channel *open_one(const char *name, struct fake how, uint32_t spin_us) {
  testing = name;
  it = how;
  it.base.ops = &ops;
  told = quiet = 0;
  rm_options options = {.service = true, .spin_us = spin_us, .silence_ms = 60000};
  it.to = rm_channel_over(&it.base, &options, &events, NULL);
  EXPECT(it.to);
  return it.to;
}

/* Ended by this thread while the others are at it; all of them must come back. */
static void end(rm_channel *ch, void *(*one)(void *), void *(*other)(void *)) {
  void *(*works[])(void *) = {one, other, fail_to_begin};
  pthread_t threads[3];
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, works[i], ch);
  nap(30);
  rm_channel_end(ch, "enough");
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  nap(2 * LONG_MS);
  rm_channel_close(ch, 0);
  EXPECT(get(&told) == 1 && !get(&it.touching));
  rm_channel_free(ch);
  EXPECT(get(&told) == 1);
}

static void a_card_that_still_writes(void) {
  struct fake how = {.stop_ms = LONG_MS};
  end(open_one("a card that still writes, looked for", how, 1000000), wait_for_ever, wait_for_ever);
  end(open_one("a card that still writes, slept for", how, 0), wait_for_ever, wait_for_ever);
}

static void a_message_that_just_lands(void) {
  struct fake how = {.receive_ms = LONG_MS};
  end(open_one("a message that just lands", how, 0), wait_for_ever, wait_for_ever);
}

static void bytes_that_still_go_out(void) {
  struct fake how = {.send_ms = LONG_MS};
  end(open_one("bytes that still go out", how, 0), send, wait_for_ever);
}

static void a_service_thread_that_wakes_late(void) {
  struct fake how = {.late_ms = LONG_MS};
  end(open_one("a service thread that wakes late", how, 0), wait_for_ever, wait_for_ever);
}

static void an_end_in_the_middle_of_reading(void) {
  struct fake how = {.receive_ms = 1, .ends_inside = true};
  rm_channel *ch = open_one("an end in the middle of reading", how, 0);
  wait_for_ever(ch);
  rm_channel_free(ch);
  EXPECT(get(&told) == 1);
}

static void a_close_that_waits(void) {
  struct fake how = {.receive_ms = LONG_MS, .stop_ms = LONG_MS};
  rm_channel *ch = open_one("a close that waits", how, 0);
  pthread_t thread;
  pthread_create(&thread, NULL, wait_for_ever, ch);
  while (!get(&it.touching)) nap(1);
  rm_channel_close(ch, 0);
  EXPECT(get(&told) == 1 && !get(&it.touching));
  pthread_join(thread, NULL);
  rm_channel_free(ch);
}

int main(void) {
  a_card_that_still_writes();
  a_message_that_just_lands();
  bytes_that_still_go_out();
  a_service_thread_that_wakes_late();
  an_end_in_the_middle_of_reading();
  a_close_that_waits();
  puts("ok");
  return 0;
}
