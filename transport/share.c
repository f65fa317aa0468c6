/* share.c: memory that a peer on this host may reach.
 * Must not know: how. */
#include <errno.h>

#include "internal.h"

bool rm_shares(rm_channel *ch) { return ch->link->ops->share; }

int rm_share(rm_channel *ch, void *at, size_t n, int fd, uint64_t offset) {
  return ch->link->ops->share ? ch->link->ops->share(ch->link, at, n, fd, offset) : -ENOTSUP;
}
