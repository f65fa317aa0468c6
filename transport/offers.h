/* offers.h: the client's half of agreeing on a carrier: what it offers, and what becomes of the one
 * that the server grants. Cold.
 * Must not know: control messages, what blobs say. */
#ifndef REMORA_OFFERS_H
#define REMORA_OFFERS_H

#include "carrier.h"

typedef struct rm_offers {
  unsigned count;
  rm_carrying carryings[RM_CARRIERS_MAX];
  rm_blob blobs[RM_CARRIERS_MAX];
} rm_offers;

/* Offers all carriers that work here and that the setting allows, the best first. false: none, and
 * why. NULL for a setting means "auto". */
bool rm_offers_make(rm_offers *offers, int fd, const char *setting, char why[RM_WHY_MAX]);
/* The offer of this name ("": tcp), or NULL. */
rm_carrying *rm_offers_find(rm_offers *offers, const char *name);
/* Releases all, but not a carrying whose link was taken. */
void rm_offers_drop(rm_offers *offers);

#endif
