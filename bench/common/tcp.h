/* tcp.h: the sockets of the raw programs, and the kernel's own count of what a socket carried. */
#ifndef BENCH_TCP_H
#define BENCH_TCP_H

#include <stddef.h>
#include <stdint.h>

/* A listening socket on 127.0.0.1 and the port that the kernel chose for it. */
int bench_listen(uint16_t *port);
int bench_accept(int listener);
int bench_connect(uint16_t port);

/* How a program waits for bytes: the policies that a baseline is measured under. */
typedef enum bench_wait {
  BENCH_SPIN,            /* asks again and again */
  BENCH_YIELD,           /* asks, and lets others run between */
  BENCH_SPIN_THEN_SLEEP, /* asks for spin_us, then blocks */
  BENCH_SLEEP,           /* blocks in the kernel at once */
} bench_wait;

/* All n bytes, or the program ends; false when the peer closed before the first one. */
int bench_receive(int fd, void *to, size_t n, bench_wait wait, uint32_t spin_us);
void bench_send(int fd, const void *from, size_t n);

/* Payload bytes that the process's TCP sockets sent and received so far (TCP_INFO). */
typedef struct bench_carried {
  uint64_t sent, received;
} bench_carried;
bench_carried bench_tcp_carried(void);

#endif
