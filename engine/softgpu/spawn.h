/* Starts the compile service's process. */
#ifndef SG_SPAWN_H
#define SG_SPAWN_H
#include <stdbool.h>
#include <stddef.h>

/* Waits until the service is ready or has said why not. The program sees neither a child nor a
   SIGCHLD. */
bool sg_service_start(char *reason, size_t size);
#endif
