/* carrier.h: what can carry a channel between two ends, and how they agree on it.
 *
 * Every session starts on a TCP connection, which says hello (hello.h) and stays: as the carrier
 * "tcp", or as the lifeline of another one, whose closing tells of a peer's death. A carrier is a
 * row of functions below; the hello calls them in this order and moves what they say to the peer:
 *
 *      client                                     server
 *      offer    makes a blob    -- Hello  -->     prepare  reads it, makes a blob
 *      accept   reads it, blob  <-- Grant --
 *                               -- Accept -->     connect  reads it: all is set up
 *      link                     <- Confirm --     link
 *
 * A step that fails says why in one line and the next carrier that both ends have is tried (at
 * offer and prepare), or both fall back to "tcp" (at accept and connect); where a carrier was
 * forced, the hello fails with that line instead. No step waits for the peer: whatever a blob may
 * be, its bytes are the peer's and are checked by whoever reads them.
 *
 * To add a carrier: write the functions, add its name to rm_carriers in carrier.c.
 * Must not know: what the blobs say, control messages (hello.c), records. */
#ifndef REMORA_CARRIER_H
#define REMORA_CARRIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"

#define RM_BLOB_MAX 4096u      /* bytes of a blob */
#define RM_CARRIER_NAME_MAX 16 /* with its end */
#define RM_CARRIERS_MAX 8u     /* that a Hello may offer */
#define RM_WHY_MAX 200

typedef struct rm_blob {
  uint32_t n;
  uint8_t bytes[RM_BLOB_MAX];
} rm_blob;

typedef struct rm_carrier rm_carrier;

typedef struct rm_terms {
  uint32_t ring_bytes, bulk_window, silence_ms; /* as in rm_options; 0 = default */
} rm_terms;

/* One end's attempt at one carrier. The caller sets carrier and fd, and terms before prepare and
 * accept; state is the carrier's own, NULL at first. */
typedef struct rm_carrying {
  const rm_carrier *carrier;
  int fd; /* the connected socket: to look at (addresses), not to read or write */
  rm_terms terms;
  void *state;
  char why[RM_WHY_MAX]; /* after a failure: one line. After success: what is worth a log line */
} rm_carrying;

struct rm_carrier {
  const char *name;
  /* All false on failure. Blobs start empty. */
  bool (*offer)(rm_carrying *c, rm_blob *mine);
  bool (*prepare)(rm_carrying *c, const rm_blob *theirs, rm_blob *mine);
  bool (*accept)(rm_carrying *c, const rm_blob *theirs, rm_blob *mine);
  bool (*connect)(rm_carrying *c, const rm_blob *theirs);
  /* The link over what was set up, which takes over state and fd (also on failure: NULL). */
  rm_link *(*link)(rm_carrying *c);
  /* Instead of link, after any step: releases state. fd stays the caller's. */
  void (*drop)(rm_carrying *c);
};

/* All of them in the order of preference, then NULL; "tcp" is the last. */
extern const rm_carrier *const rm_carriers[];

/* NULL: there is none of this name. */
const rm_carrier *rm_carrier_named(const char *name);
/* May this end use it? setting: NULL, "" and "auto" allow all, else the one carrier it names. */
bool rm_carrier_allowed(const rm_carrier *carrier, const char *setting);
/* Keeps a line for people, made fit to print. Always false. */
bool rm_carrying_failed(rm_carrying *c, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* drop, if there is anything to. */
void rm_carrying_drop(rm_carrying *c);

#endif
