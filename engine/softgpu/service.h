/* The compile service: a helper process that turns PTX into module descriptions and objects,
   started when first needed and again when it has died (kernel_abi.h, part 3). */
#ifndef SG_SERVICE_H
#define SG_SERVICE_H
#include "cache.h"

typedef struct sg_piece {
  const void *data;
  size_t bytes;
} sg_piece;

/* Sends a request (RM_ASK_*) and gives the reply's body, to be released by the caller; it ends with
   a zero byte beyond its length. *code is the reply's code. False: there is no service; `reply`
   then holds the reason as text. Waits at most minutes, for a compilation. */
bool sg_service_ask(uint32_t request, const sg_piece *pieces, size_t count, uint32_t *code,
                    sg_file *reply);
#endif
