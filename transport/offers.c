/* offers.c: see offers.h.
 * Must not know: control messages, what blobs say. */
#include "offers.h"

#include <stdio.h>
#include <string.h>

static bool offer(rm_offers *offers, const rm_carrier *carrier, int fd) {
  rm_carrying *c = &offers->carryings[offers->count];
  rm_blob *blob = &offers->blobs[offers->count];
  *c = (rm_carrying){.carrier = carrier, .fd = fd};
  blob->n = 0;
  bool works = carrier->offer(c, blob);
  if (works)
    offers->count++;
  else
    rm_carrying_drop(c);
  return works;
}

bool rm_offers_make(rm_offers *offers, int fd, const char *setting, char why[RM_WHY_MAX]) {
  offers->count = 0;
  snprintf(why, RM_WHY_MAX, "there is no such transport");
  for (const rm_carrier *const *one = rm_carriers; *one; one++) {
    if (offers->count == RM_CARRIERS_MAX || !rm_carrier_allowed(*one, setting)) continue;
    if (!offer(offers, *one, fd)) memcpy(why, offers->carryings[offers->count].why, RM_WHY_MAX);
  }
  return offers->count != 0;
}

rm_carrying *rm_offers_find(rm_offers *offers, const char *name) {
  if (!*name) name = "tcp";
  for (unsigned i = 0; i < offers->count; i++)
    if (strcmp(offers->carryings[i].carrier->name, name) == 0) return &offers->carryings[i];
  return NULL;
}

void rm_offers_drop(rm_offers *offers) {
  for (unsigned i = 0; i < offers->count; i++) rm_carrying_drop(&offers->carryings[i]);
}
