/* hello.h: the client's side of getting a session: connects, says hello, agrees on addresses and on
 * a carrier. What comes back is a link for rm_channel_over. Cold. Messages: control.fbs.
 * Must not know: CUDA; what devices' attributes mean. */
#ifndef REMORA_HELLO_H
#define REMORA_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "carrier.h"

#define RM_GRANT_DEVICES 64u     /* more are refused */
#define RM_GRANT_ATTRIBUTES 256u /* of a device; further ones are dropped */

typedef struct rm_hello {
  const char *server; /* HOST:PORT, [IPv6]:PORT, or a name */
  const char *ticket; /* NULL: none */
  const char *program;
  uint64_t table_hash;
  uint64_t va_base, va_bytes; /* the range reserved for device memory */
  uint32_t ring_bytes;        /* wished; 0 leaves it to the server */
  int timeout_ms;             /* for all of it; 0 = RM_HELLO_MS */
  const char *transport;      /* "auto" or NULL, or the one carrier to use, else there is none */
  /* The server wants the range elsewhere: true once [base, base + bytes) is reserved, else false
   * with *other, a base that this side could have. NULL: any other range ends the attempt. */
  bool (*move)(void *user, uint64_t base, uint64_t bytes, uint64_t *other);
  void *user;
} rm_hello;

typedef struct rm_grant_device {
  char name[256], pci[32];
  uint8_t uuid[16];
  uint64_t total_mem, va_base, va_bytes;
  uint32_t attribute_count;
  int32_t attributes[RM_GRANT_ATTRIBUTES]; /* indexed by CUdevice_attribute */
} rm_grant_device;

typedef struct rm_grant {
  uint64_t session, va_base, va_bytes;
  int32_t driver_version, priority_least, priority_greatest;
  uint32_t ring_bytes, bulk_window, silence_ms; /* for rm_options */
  char server[128];
  char carrier[RM_CARRIER_NAME_MAX]; /* that carries the channel */
  char carrier_why[RM_WHY_MAX];      /* what both sides say of the choice */
  bool fell_back;                    /* one was granted that then did not work */
  rm_blob carrier_blob;              /* the server's, for the carrier */
  uint32_t device_count;
  rm_grant_device devices[RM_GRANT_DEVICES];
} rm_grant;

enum rm_hello_result {
  RM_HELLO_OK = 0,
  RM_HELLO_UNREACHABLE, /* no such host, no answer, or the connection broke */
  RM_HELLO_REFUSED,     /* the server said why not */
  RM_HELLO_VERSION,     /* it speaks another protocol, or has another call table */
  RM_HELLO_BROKEN,      /* what came back is no answer of a Remora server */
  RM_HELLO_ADDRESSES,   /* no address range suits both sides */
  RM_HELLO_CARRIER,     /* hello->transport names a carrier that does not work here */
};

/* *link: what the channel goes over; its descriptors are close-on-exec. Otherwise `why` is one line
 * that starts with the server's name and says what to do. Blocks for timeout_ms at most; signals
 * don't end it. */
int rm_hello_connect(const rm_hello *hello, rm_grant *grant, rm_link **link, char *why,
                     size_t why_bytes);

#endif
