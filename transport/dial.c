/* dial.c: connecting to HOST:PORT with a deadline, and moving whole control messages. Cold.
 * Must not know: what the messages say. */
#define _GNU_SOURCE
#include "dial.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tuning.h"

int64_t rm_dial_now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

bool rm_dial_split(const char *server, char *host, size_t host_bytes, char *port,
                   size_t port_bytes) {
  const char *colon = strrchr(server, ':');
  if (!colon || colon == server) return false;
  const char *from = server, *to = colon;
  if (*from == '[' && to[-1] == ']') from++, to--;
  if (to <= from || (size_t)(to - from) >= host_bytes) return false;
  snprintf(host, host_bytes, "%.*s", (int)(to - from), from);
  snprintf(port, port_bytes, "%s", colon + 1);
  char *end;
  long number = strtol(port, &end, 10);
  return !*end && end != port && number > 0 && number < 65536;
}

/* Waits for events until the deadline. 0, or -errno. */
static int wait_for(int fd, short events, int64_t deadline_ms) {
  for (;;) {
    int64_t left = deadline_ms - rm_dial_now_ms();
    if (left <= 0) return -ETIMEDOUT;
    struct pollfd one = {.fd = fd, .events = events};
    int n = poll(&one, 1, (int)left);
    if (n > 0) return 0;
    if (n < 0 && errno != EINTR) return -errno;
  }
}

static int finish_connect(int fd, int64_t deadline_ms) {
  int error = wait_for(fd, POLLOUT, deadline_ms);
  socklen_t bytes = sizeof error;
  if (!error && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0) error = -error;
  return error;
}

static int connect_to(const struct addrinfo *address, int64_t deadline_ms) {
  int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -errno;
  int error = connect(fd, address->ai_addr, address->ai_addrlen) ? -errno : 0;
  if (error == -EINPROGRESS || error == -EINTR) error = finish_connect(fd, deadline_ms);
  if (!error) return fd;
  close(fd);
  return error;
}

int rm_dial(const char *host, const char *port, int64_t deadline_ms, const char **trouble) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV};
  struct addrinfo *all = NULL;
  int error = getaddrinfo(host, port, &hints, &all);
  if (error == EAI_ADDRFAMILY || error == EAI_NONAME) { /* e.g. ::1 on a host with only loopback */
    hints.ai_flags = AI_NUMERICSERV;
    error = getaddrinfo(host, port, &hints, &all);
  }
  if (error) return *trouble = gai_strerror(error), -EHOSTUNREACH;
  int fd = -EHOSTUNREACH;
  for (struct addrinfo *one = all; one && fd < 0; one = one->ai_next)
    fd = connect_to(one, deadline_ms);
  freeaddrinfo(all);
  int on = 1;
  if (fd < 0)
    *trouble = strerror(-fd);
  else
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int send_all(int fd, const void *bytes, size_t n, int64_t deadline_ms) {
  const uint8_t *from = bytes;
  while (n) {
    ssize_t sent = send(fd, from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    int error = sent < 0 ? -errno : 0;
    if (error == -EAGAIN) error = wait_for(fd, POLLOUT, deadline_ms);
    if (error && error != -EINTR) return error;
    if (sent > 0) from += sent, n -= (size_t)sent;
  }
  return 0;
}

static int receive_all(int fd, void *bytes, size_t n, int64_t deadline_ms) {
  uint8_t *to = bytes;
  while (n) {
    ssize_t got = recv(fd, to, n, MSG_DONTWAIT);
    int error = got < 0 ? -errno : 0;
    if (got == 0) return -EPIPE;
    if (error == -EAGAIN) error = wait_for(fd, POLLIN, deadline_ms);
    if (error && error != -EINTR) return error;
    if (got > 0) to += got, n -= (size_t)got;
  }
  return 0;
}

int rm_dial_send(int fd, const void *message, uint32_t n, int64_t deadline_ms) {
  int error = send_all(fd, &n, sizeof n, deadline_ms);
  return error ? error : send_all(fd, message, n, deadline_ms);
}

int rm_dial_receive(int fd, uint8_t **message, uint32_t *n, int64_t deadline_ms) {
  int error = receive_all(fd, n, sizeof *n, deadline_ms);
  if (error) return error;
  if (*n < 8 || *n > RM_CONTROL_MAX) return -EBADMSG;
  *message = malloc(*n);
  if (!*message) return -ENOMEM;
  error = receive_all(fd, *message, *n, deadline_ms);
  if (error) free(*message), *message = NULL;
  return error;
}
