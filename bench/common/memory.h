/* memory.h: memory that a server process makes and a client finds by the server's number.
 * Must not know: what lies in it. */
#ifndef BENCH_MEMORY_H
#define BENCH_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* A descriptor of fresh memory under this process's number. Ends the program when there is none. */
int bench_make_memory(size_t bytes);
/* A descriptor of what the process of this number made; nobody finds it after. Likewise. */
int bench_find_memory(uint64_t number);

#endif
