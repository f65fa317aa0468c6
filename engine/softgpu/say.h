/* What the driver itself has to say: on standard error, and to whoever listens. */
#ifndef SG_SAY_H
#define SG_SAY_H
#include <stddef.h>

typedef void (*sg_listener)(const char *text, size_t bytes);

void sg_say(const char *text);
/* From now on the listener hears it too; it may be called by any thread, a kernel's included. */
void sg_say_to(sg_listener listener);
#endif
