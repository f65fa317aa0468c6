/* carrier.c: the list of carriers. See carrier.h.
 * Must not know: what any of them does. */
#include "carrier.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

extern const rm_carrier rm_carrier_rdma;
extern const rm_carrier rm_carrier_shm;
extern const rm_carrier rm_carrier_tcp;

const rm_carrier *const rm_carriers[] = {&rm_carrier_shm, &rm_carrier_rdma, &rm_carrier_tcp, NULL};

const rm_carrier *rm_carrier_named(const char *name) {
  const rm_carrier *const *one = rm_carriers;
  while (*one && strcmp((*one)->name, name) != 0) one++;
  return *one;
}

bool rm_carrier_allowed(const rm_carrier *carrier, const char *setting) {
  return !setting || !*setting || strcmp(setting, "auto") == 0 ||
         strcmp(setting, carrier->name) == 0;
}

bool rm_carrying_failed(rm_carrying *c, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(c->why, sizeof c->why, format, arguments);
  va_end(arguments);
  for (char *at = c->why; *at; at++)
    if ((unsigned char)*at < ' ' || *at == 127) *at = ' ';
  return false;
}

void rm_carrying_drop(rm_carrying *c) {
  if (c->carrier && c->state) c->carrier->drop(c);
  c->state = NULL;
}
