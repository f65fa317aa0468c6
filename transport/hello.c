/* hello.c: see hello.h. Field numbers are the ids of control.fbs.
 * Must not know: sockets (dial.c), offsets (flat.c). */
#define _GNU_SOURCE
#include "hello.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dial.h"
#include "flat.h"
#include "offers.h"
#include "tuning.h"
#include "wire.h"

typedef struct attempt {
  const rm_hello *hello;
  rm_grant *grant;
  int fd; /* -1: the link's */
  int64_t deadline_ms;
  char *why;
  size_t why_bytes;
  rm_offers *offers;
  rm_link *link;
} attempt;

__attribute__((format(printf, 3, 4))) static int fail(attempt *a, int result, const char *format,
                                                      ...) {
  int n = snprintf(a->why, a->why_bytes, "%s: ", a->hello->server);
  va_list arguments;
  va_start(arguments, format);
  if (n >= 0 && (size_t)n < a->why_bytes)
    vsnprintf(a->why + n, a->why_bytes - (size_t)n, format, arguments);
  va_end(arguments);
  return result;
}

static int fail_io(attempt *a, int error) {
  if (error == -ETIMEDOUT)
    return fail(a, RM_HELLO_UNREACHABLE,
                "connected, but no answer in time; is it a Remora server, and is it busy?");
  if (error == -EPIPE || error == -ECONNRESET)
    return fail(a, RM_HELLO_UNREACHABLE, "the server closed the connection without an answer");
  if (error == -EBADMSG)
    return fail(a, RM_HELLO_BROKEN,
                "the answer is not that of a Remora server; is the port right?");
  return fail(a, RM_HELLO_UNREACHABLE, "the connection failed: %s", strerror(-error));
}

static int send_message(attempt *a, const rm_flat_writer *w) {
  int error = w->full ? -EMSGSIZE : rm_dial_send(a->fd, w->bytes, w->n, a->deadline_ms);
  return error ? fail_io(a, error) : RM_HELLO_OK;
}

static void write_offers(rm_flat_writer *w, const rm_flat_new *hello, const rm_offers *offers) {
  static const uint8_t sizes[] = {4, 4};
  uint32_t vector = rm_flat_put_tables(w, hello, 9, offers->count);
  for (unsigned i = 0; i < offers->count; i++) {
    rm_flat_new t;
    rm_flat_table(w, &t, sizes, sizeof sizes);
    rm_flat_put_string(w, &t, 0, offers->carryings[i].carrier->name);
    rm_flat_put_bytes(w, &t, 1, offers->blobs[i].bytes, offers->blobs[i].n);
    rm_flat_put_element(w, vector, i, &t);
  }
}

static void write_hello(attempt *a, rm_flat_writer *w) {
  static const uint8_t sizes[] = {2, 2, 8, 4, 4, 4, 8, 8, 4, 4};
  const rm_hello *h = a->hello;
  rm_flat_new t;
  rm_flat_table(w, &t, sizes, sizeof sizes);
  rm_flat_put(w, &t, 0, RM_PROTOCOL_MAJOR, 2);
  rm_flat_put(w, &t, 1, RM_PROTOCOL_MINOR, 2);
  rm_flat_put(w, &t, 2, h->table_hash, 8);
  rm_flat_put_string(w, &t, 3, h->ticket ? h->ticket : "");
  rm_flat_put(w, &t, 4, (uint64_t)getpid(), 4);
  rm_flat_put_string(w, &t, 5, h->program ? h->program : "");
  rm_flat_put(w, &t, 6, h->va_base, 8);
  rm_flat_put(w, &t, 7, h->va_bytes, 8);
  rm_flat_put(w, &t, 8, h->ring_bytes, 4);
  write_offers(w, &t, a->offers);
}

static int send_hello(attempt *a) {
  void *memory = malloc(RM_HELLO_BYTES);
  if (!memory) return fail_io(a, -ENOMEM);
  rm_flat_writer w;
  rm_flat_start(&w, memory, RM_HELLO_BYTES, "RMHE");
  write_hello(a, &w);
  int result = send_message(a, &w);
  free(memory);
  return result;
}

static int send_accept(attempt *a, bool ok, uint64_t va_base, const char *failed,
                       const rm_blob *blob) {
  static const uint8_t sizes[] = {1, 8, 4, 4};
  _Alignas(8) uint8_t memory[RM_BLOB_MAX + RM_WHY_MAX + 128];
  rm_flat_writer w;
  rm_flat_new t;
  rm_flat_start(&w, memory, sizeof memory, "RMAC");
  rm_flat_table(&w, &t, sizes, sizeof sizes);
  rm_flat_put(&w, &t, 0, ok, 1);
  rm_flat_put(&w, &t, 1, va_base, 8);
  rm_flat_put_bytes(&w, &t, 2, blob->bytes, blob->n);
  rm_flat_put_string(&w, &t, 3, failed);
  return send_message(a, &w);
}

static void read_device(rm_flat_table_in t, rm_grant_device *device) {
  rm_flat_get_string(t, 0, device->name, sizeof device->name);
  rm_flat_vector uuid = rm_flat_get_vector(t, 1, 1);
  if (uuid.count == sizeof device->uuid) memcpy(device->uuid, uuid.in->bytes + uuid.at, uuid.count);
  device->total_mem = rm_flat_get(t, 2, 8, 0);
  rm_flat_vector all = rm_flat_get_vector(t, 3, 4);
  device->attribute_count = all.count < RM_GRANT_ATTRIBUTES ? all.count : RM_GRANT_ATTRIBUTES;
  if (all.count) memcpy(device->attributes, all.in->bytes + all.at, 4 * device->attribute_count);
  device->va_base = rm_flat_get(t, 4, 8, 0);
  device->va_bytes = rm_flat_get(t, 5, 8, 0);
  rm_flat_get_string(t, 6, device->pci, sizeof device->pci);
}

static void read_limits(rm_flat_table_in t, rm_grant *grant) {
  grant->ring_bytes = (uint32_t)rm_flat_get(t, 3, 4, 0);
  grant->bulk_window = (uint32_t)rm_flat_get(t, 4, 4, 0);
  grant->silence_ms = (uint32_t)rm_flat_get(t, 10, 4, 0);
}

/* The server's words, made fit for one line. */
static void read_line(rm_flat_table_in t, unsigned field, char *text, size_t room) {
  rm_flat_get_string(t, field, text, room);
  for (char *c = text; *c; c++)
    if ((unsigned char)*c < ' ' || *c == 127) *c = ' ';
}

static void read_carrier(rm_flat_table_in t, rm_grant *grant) {
  rm_flat_get_string(t, 11, grant->carrier, sizeof grant->carrier);
  grant->carrier_blob.n = rm_flat_get_bytes(t, 12, grant->carrier_blob.bytes, RM_BLOB_MAX);
  read_line(t, 13, grant->carrier_why, sizeof grant->carrier_why);
}

static bool read_grant(const uint8_t *message, uint32_t n, rm_grant *grant) {
  rm_flat_buffer in = {message, n, false};
  rm_flat_table_in t = rm_flat_root(&in);
  memset(grant, 0, sizeof *grant);
  grant->session = rm_flat_get(t, 0, 8, 0);
  grant->driver_version = (int32_t)rm_flat_get(t, 2, 4, 0);
  grant->priority_least = (int32_t)rm_flat_get(t, 5, 4, 0);
  grant->priority_greatest = (int32_t)rm_flat_get(t, 6, 4, 0);
  rm_flat_get_string(t, 7, grant->server, sizeof grant->server);
  grant->va_base = rm_flat_get(t, 8, 8, 0);
  grant->va_bytes = rm_flat_get(t, 9, 8, 0);
  read_limits(t, grant);
  read_carrier(t, grant);
  rm_flat_vector devices = rm_flat_get_vector(t, 1, 4);
  grant->device_count = devices.count;
  if (devices.count > RM_GRANT_DEVICES) return false;
  for (uint32_t i = 0; i < devices.count; i++)
    read_device(rm_flat_element(devices, i), &grant->devices[i]);
  return !in.broken;
}

#define REASON_VERSION 1

static int refused(attempt *a, const uint8_t *message, uint32_t n) {
  rm_flat_buffer in = {message, n, false};
  rm_flat_table_in t = rm_flat_root(&in);
  char text[512];
  read_line(t, 1, text, sizeof text);
  unsigned reason = (unsigned)rm_flat_get(t, 0, 2, 0), major = (unsigned)rm_flat_get(t, 2, 2, 0),
           minor = (unsigned)rm_flat_get(t, 3, 2, 0);
  uint64_t hash = rm_flat_get(t, 4, 8, 0);
  if (in.broken) return fail_io(a, -EBADMSG);
  if (reason != REASON_VERSION) return fail(a, RM_HELLO_REFUSED, "refused: %s", text);
  return fail(
      a, RM_HELLO_VERSION,
      "the server speaks protocol %u.%u (calls %016llx), this client %d.%d (calls %016llx); "
      "install the same Remora on both",
      major, minor, (unsigned long long)hash, RM_PROTOCOL_MAJOR, RM_PROTOCOL_MINOR,
      (unsigned long long)a->hello->table_hash);
}

static int read_answer(attempt *a, const uint8_t *message, uint32_t n) {
  if (rm_flat_is(message, n, "RMNO")) return refused(a, message, n);
  bool good = rm_flat_is(message, n, "RMGR") && read_grant(message, n, a->grant);
  return good ? RM_HELLO_OK : fail_io(a, -EBADMSG);
}

/* Receives one message and has `read` make something of it. */
static int receive_message(attempt *a,
                           int (*read)(attempt *a, const uint8_t *message, uint32_t n)) {
  uint8_t *message = NULL;
  uint32_t n;
  int error = rm_dial_receive(a->fd, &message, &n, a->deadline_ms);
  if (error) return fail_io(a, error);
  int result = read(a, message, n);
  free(message);
  return result;
}

/* ---- the carrier */

static int no_carrier(attempt *a, const char *why) {
  return fail(a, RM_HELLO_CARRIER, "no session over %s: %s", a->hello->transport, why);
}

static int make_offers(attempt *a) {
  char why[RM_WHY_MAX];
  a->offers = malloc(sizeof *a->offers);
  if (!a->offers) return fail_io(a, -ENOMEM);
  return rm_offers_make(a->offers, a->fd, a->hello->transport, why) ? RM_HELLO_OK
                                                                    : no_carrier(a, why);
}

static void set_terms(attempt *a, rm_carrying *c) {
  c->terms = (rm_terms){a->grant->ring_bytes, a->grant->bulk_window, a->grant->silence_ms};
}

static bool accept_carrier(attempt *a, rm_carrying *c, rm_blob *mine) {
  set_terms(a, c);
  mine->n = 0;
  if (c->carrier->accept(c, &a->grant->carrier_blob, mine)) return true;
  mine->n = 0;
  return false;
}

static int read_confirm(attempt *a, const uint8_t *message, uint32_t n) {
  rm_flat_buffer in = {message, n, false};
  if (rm_flat_is(message, n, "RMNO")) return refused(a, message, n);
  if (!rm_flat_is(message, n, "RMCO")) return fail_io(a, -EBADMSG);
  rm_flat_table_in t = rm_flat_root(&in);
  char name[RM_CARRIER_NAME_MAX], why[RM_WHY_MAX];
  rm_flat_get_string(t, 0, name, sizeof name);
  read_line(t, 1, why, sizeof why);
  if (in.broken) return fail_io(a, -EBADMSG);
  if (!*name) return fail(a, RM_HELLO_CARRIER, "no session over %s: %s", a->grant->carrier, why);
  a->grant->fell_back = strcmp(name, a->grant->carrier) != 0;
  memcpy(a->grant->carrier, name, sizeof name);
  if (*why) memcpy(a->grant->carrier_why, why, sizeof why);
  return RM_HELLO_OK;
}

/* The link over what both sides have agreed on; the socket is the link's from then on. */
static int take_link(attempt *a) {
  rm_carrying *c = rm_offers_find(a->offers, a->grant->carrier);
  if (!c) return no_carrier(a, "the server wants another one");
  set_terms(a, c);
  a->link = c->carrier->link(c);
  c->state = NULL;
  a->fd = -1;
  if (!a->link) return fail(a, RM_HELLO_UNREACHABLE, "%s failed: %s", a->grant->carrier, c->why);
  return RM_HELLO_OK;
}

/* The granted addresses suit: accepts, and sees the choice of a carrier through. */
static int conclude(attempt *a, uint64_t va_base) {
  if (!*a->grant->carrier) strcpy(a->grant->carrier, "tcp");
  rm_carrying *c = rm_offers_find(a->offers, a->grant->carrier);
  if (!c) return fail(a, RM_HELLO_BROKEN, "the server chose a transport that was not offered");
  rm_blob mine;
  bool works = accept_carrier(a, c, &mine), decided = strcmp(a->grant->carrier, "tcp") == 0;
  int result = send_accept(a, true, va_base, works ? "" : *c->why ? c->why : "it failed", &mine);
  if (!result && !decided) result = receive_message(a, read_confirm);
  return result ? result : take_link(a);
}

/* ---- the addresses */

/* Can this side have the granted range? Else *other is what it could have. */
static bool range_suits(const rm_hello *h, const rm_grant *grant, uint64_t *other) {
  *other = h->va_base;
  if (grant->va_base == h->va_base && grant->va_bytes <= h->va_bytes) return true;
  return h->move && h->move(h->user, grant->va_base, grant->va_bytes, other);
}

static int agree(attempt *a) {
  for (int round = 0; round < RM_ADDRESS_ROUNDS; round++) {
    int result = receive_message(a, read_answer);
    if (result) return result;
    uint64_t other;
    if (range_suits(a->hello, a->grant, &other)) return conclude(a, other);
    result = send_accept(a, false, other, "", &(rm_blob){0});
    if (result) return result;
  }
  return fail(a, RM_HELLO_ADDRESSES, "no address range for device memory is free on both sides");
}

static int dial(attempt *a) {
  char host[256], port[16];
  const char *trouble = "";
  if (!rm_dial_split(a->hello->server, host, sizeof host, port, sizeof port))
    return fail(a, RM_HELLO_UNREACHABLE, "not an address; use HOST:PORT or [IPv6]:PORT");
  a->fd = rm_dial(host, port, a->deadline_ms, &trouble);
  if (a->fd >= 0) return RM_HELLO_OK;
  return fail(a, RM_HELLO_UNREACHABLE, "cannot connect: %s; is `remora serve` running there?",
              trouble);
}

int rm_hello_connect(const rm_hello *hello, rm_grant *grant, rm_link **link, char *why,
                     size_t why_bytes) {
  int timeout_ms = hello->timeout_ms > 0 ? hello->timeout_ms : RM_HELLO_MS;
  attempt a = {.hello = hello,
               .grant = grant,
               .fd = -1,
               .deadline_ms = rm_dial_now_ms() + timeout_ms,
               .why = why,
               .why_bytes = why_bytes};
  int result = dial(&a);
  if (!result) result = make_offers(&a);
  if (!result) result = send_hello(&a);
  if (!result) result = agree(&a);
  if (a.offers) rm_offers_drop(a.offers);
  free(a.offers);
  if (a.fd >= 0) close(a.fd);
  *link = a.link;
  return result;
}
