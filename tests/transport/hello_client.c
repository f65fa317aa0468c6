/* hello_client.c: says hello as the shim does and prints what came of it, for the tests.
 * Usage: hello_client SERVER HASH [BASE that it could have instead] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "transport/hello.h"

static bool move(void *user, uint64_t base, uint64_t bytes, uint64_t *other) {
  (void)bytes;
  *other = *(uint64_t *)user;
  return base == *other;
}

static void print_device(const rm_grant_device *d) {
  printf("device %s %s", d->name, d->pci);
  for (int i = 0; i < 16; i++) printf("%s%02x", i ? "" : " ", d->uuid[i]);
  printf(" %" PRIu64 " %" PRIx64 " %" PRIx64 " %u", d->total_mem, d->va_base, d->va_bytes,
         d->attribute_count);
  for (uint32_t i = 0; i < d->attribute_count; i++) printf(" %d", d->attributes[i]);
  printf("\n");
}

int main(int count, char **words) {
  static rm_grant grant;
  char why[512] = "";
  uint64_t base = count > 3 ? strtoull(words[3], NULL, 16) : 0;
  rm_hello hello = {.server = words[1],
                    .ticket = "the ticket",
                    .program = "hello_client",
                    .table_hash = strtoull(words[2], NULL, 16),
                    .va_base = 0x100000000,
                    .va_bytes = 0x40000000,
                    .timeout_ms = 3000,
                    .move = count > 3 ? move : NULL,
                    .user = &base};
  rm_link *link = NULL;
  int result = rm_hello_connect(&hello, &grant, &link, why, sizeof why);
  if (result) return printf("%s\n", why), result;
  printf("session %" PRIu64 " %s %d %u %u %d %d %u %" PRIx64 " %" PRIx64 "\n", grant.session,
         grant.server, grant.driver_version, grant.ring_bytes, grant.bulk_window,
         grant.priority_least, grant.priority_greatest, grant.silence_ms, grant.va_base,
         grant.va_bytes);
  for (uint32_t i = 0; i < grant.device_count; i++) print_device(&grant.devices[i]);
  link->ops->free(link, false);
  return 0;
}
