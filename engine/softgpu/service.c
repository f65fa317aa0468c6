/* One connection for the process, made and remade on demand; one request at a time. */
#define _GNU_SOURCE
#include "service.h"
#include "kernel_abi.h"
#include "spawn.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_MS = 300 * 1000, SEND_MS = 30 * 1000, MAX_REPLY = 1 << 30 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int connection = -1;

/* ---- bytes, with an end to every wait */

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool wait_for(int fd, short events, int64_t deadline) {
  struct pollfd p = {.fd = fd, .events = events};
  for (;;) {
    int64_t left = deadline - now_ms();
    int n = left > 0 ? poll(&p, 1, (int)left) : 0;
    if (n > 0) return true;
    if (n == 0 || errno != EINTR) return false;
  }
}

static bool send_all(int fd, const void *data, size_t bytes, int64_t deadline) {
  const char *from = data;
  while (bytes) {
    ssize_t n = send(fd, from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
      from += n, bytes -= (size_t)n;
    else if (n < 0 && errno == EINTR)
      continue;
    else if (n < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, deadline))
      continue;
    else
      return false;
  }
  return true;
}

static bool receive_all(int fd, void *data, size_t bytes, int64_t deadline) {
  char *to = data;
  while (bytes) {
    ssize_t n = recv(fd, to, bytes, MSG_DONTWAIT);
    if (n > 0)
      to += n, bytes -= (size_t)n;
    else if (n < 0 && errno == EINTR)
      continue;
    else if (n < 0 && errno == EAGAIN && wait_for(fd, POLLIN, deadline))
      continue;
    else
      return false;
  }
  return true;
}

/* ---- the connection */

static void disconnect(void) {
  if (connection >= 0) close(connection);
  connection = -1;
}

static bool same_user(int fd) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

static bool try_connect(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int folder = sg_cache_folder();
  if (folder < 0) return false;
  snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/service.sock", folder);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 && same_user(fd)) {
    connection = fd;
    return true;
  }
  close(fd);
  return false;
}

static bool ensure_connected(bool *fresh, char *reason, size_t size) {
  *fresh = connection < 0;
  if (!*fresh || try_connect()) return true;
  if (sg_cache_folder() < 0) {
    snprintf(reason, size, "no usable cache folder (REMORA_SOFTGPU_CACHE)");
    return false;
  }
  if (!sg_service_start(reason, size)) return false;
  if (try_connect()) return true;
  snprintf(reason, size, "the compile service started but can't be reached in %s", sg_cache_path());
  return false;
}

/* ---- one exchange */

static bool send_request(uint32_t request, const sg_piece *pieces, size_t count) {
  int64_t deadline = now_ms() + SEND_MS;
  struct rm_service_head head = {RM_SERVICE_MAGIC, request, 0};
  for (size_t i = 0; i < count; i++) head.bytes += pieces[i].bytes;
  if (!send_all(connection, &head, sizeof head, deadline)) return false;
  for (size_t i = 0; i < count; i++)
    if (!send_all(connection, pieces[i].data, pieces[i].bytes, deadline)) return false;
  return true;
}

static bool receive_reply(uint32_t *code, sg_file *reply) {
  int64_t deadline = now_ms() + ANSWER_MS;
  struct rm_service_head head;
  if (!receive_all(connection, &head, sizeof head, deadline)) return false;
  if (head.magic != RM_SERVICE_MAGIC || head.bytes > MAX_REPLY) return false;
  reply->data = malloc(head.bytes + 1);
  if (!reply->data) return false;
  reply->bytes = head.bytes;
  reply->data[head.bytes] = 0;
  *code = head.code;
  if (receive_all(connection, reply->data, head.bytes, deadline)) return true;
  sg_file_release(reply);
  return false;
}

static void give_reason(sg_file *reply, const char *reason) {
  reply->data = (uint8_t *)strdup(reason);
  reply->bytes = reply->data ? strlen(reason) : 0;
}

bool sg_service_ask(uint32_t request, const sg_piece *pieces, size_t count, uint32_t *code,
                    sg_file *reply) {
  char reason[1024] = "the compile service ended while it worked on this";
  bool done = false, fresh = false;
  *reply = (sg_file){0};
  pthread_mutex_lock(&lock);
  for (int tries = 0; !done && tries < 2; tries++) { /* a kept connection may be stale: once more */
    if (!ensure_connected(&fresh, reason, sizeof reason)) break;
    done = send_request(request, pieces, count) && receive_reply(code, reply);
    if (!done) disconnect();
  }
  pthread_mutex_unlock(&lock);
  if (!done) give_reason(reply, reason);
  return done;
}
