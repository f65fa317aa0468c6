/* measure.h: the commands of the measuring program (words as bench_serve hands them over). */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stddef.h>

#include "cuda.h"

/* The loop that posts; global, so that tools find it by name. */
void post_many(CUresult (*make)(void), size_t count);

void measure_wait(char **words);    /* wait CALL COUNT: each call timed */
void measure_post(char **words);    /* post CALL BURSTS BURST: bursts timed, synchronized between */
void measure_htod(char **words);    /* htod BYTES pageable|pinned REPEATS: copy and synchronize */
void measure_dtoh(char **words);    /* dtoh BYTES pageable|pinned REPEATS */
void measure_carried(char **words); /* bytes that this process's TCP sockets carried so far */

#endif
