/* dial.h: connecting with a deadline, and moving whole control messages {u32 length, bytes}.
 * Must not know: what the messages say. */
#ifndef REMORA_DIAL_H
#define REMORA_DIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t rm_dial_now_ms(void);
/* HOST:PORT or [IPv6]:PORT in two. */
bool rm_dial_split(const char *server, char *host, size_t host_bytes, char *port,
                   size_t port_bytes);
/* A connected, non-blocking, close-on-exec socket, or -errno with *trouble in words. */
int rm_dial(const char *host, const char *port, int64_t deadline_ms, const char **trouble);
/* 0 or -errno: -ETIMEDOUT at the deadline, -EPIPE at the peer's end, -EBADMSG for a bad length. */
int rm_dial_send(int fd, const void *message, uint32_t n, int64_t deadline_ms);
int rm_dial_receive(int fd, uint8_t **message, uint32_t *n, int64_t deadline_ms);

#endif
