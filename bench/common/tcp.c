/* tcp.c: plain sockets with TCP_NODELAY, four ways to wait, and TCP_INFO byte counts. */
#include "tcp.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

/* As Remora sets its own between near hosts; where the kernel has no cubic, neither end gets it. */
static void set_up(int fd) {
  int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on)) bench_fail("TCP_NODELAY refused");
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}

static struct sockaddr_in loopback(uint16_t port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

int bench_listen(uint16_t *port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = loopback(0);
  socklen_t n = sizeof a;
  if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) || listen(fd, 4) ||
      getsockname(fd, (struct sockaddr *)&a, &n))
    bench_fail("cannot listen: %s", strerror(errno));
  *port = ntohs(a.sin_port);
  return fd;
}

int bench_accept(int listener) {
  int fd = accept(listener, NULL, NULL);
  if (fd < 0) bench_fail("accept: %s", strerror(errno));
  set_up(fd);
  return fd;
}

int bench_connect(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = loopback(port);
  if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a))
    bench_fail("cannot connect to port %u: %s", port, strerror(errno));
  set_up(fd);
  return fd;
}

/* One recv under a wait policy: blocks, or returns -1/EAGAIN for another try. */
static ssize_t receive_some(int fd, void *to, size_t n, bench_wait wait, uint64_t sleep_at) {
  if (wait == BENCH_SLEEP) return recv(fd, to, n, 0);
  if (wait == BENCH_SPIN_THEN_SLEEP && bench_now_ns() >= sleep_at) return recv(fd, to, n, 0);
  ssize_t got = recv(fd, to, n, MSG_DONTWAIT);
  if (got < 0 && wait == BENCH_YIELD) {
    sched_yield();
    errno = EAGAIN;
  }
  return got;
}

int bench_receive(int fd, void *to, size_t n, bench_wait wait, uint32_t spin_us) {
  uint64_t sleep_at = wait == BENCH_SPIN_THEN_SLEEP ? bench_now_ns() + spin_us * 1000ull : 0;
  for (size_t at = 0; at < n;) {
    ssize_t got = receive_some(fd, (char *)to + at, n - at, wait, sleep_at);
    if (got == 0 && at == 0) return 0;
    if (got == 0) bench_fail("the peer closed within a message");
    if (got < 0 && errno != EAGAIN && errno != EINTR) bench_fail("recv: %s", strerror(errno));
    if (got > 0) at += (size_t)got;
    if (got > 0 && wait == BENCH_SPIN_THEN_SLEEP) sleep_at = bench_now_ns() + spin_us * 1000ull;
  }
  return 1;
}

void bench_send(int fd, const void *from, size_t n) {
  for (size_t at = 0; at < n;) {
    ssize_t sent = send(fd, (const char *)from + at, n - at, MSG_NOSIGNAL);
    if (sent < 0 && errno != EINTR) bench_fail("send: %s", strerror(errno));
    if (sent > 0) at += (size_t)sent;
  }
}

static void add_socket(int fd, bench_carried *total) {
  struct tcp_info info;
  socklen_t n = sizeof info;
  memset(&info, 0, sizeof info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n)) return; /* not a TCP socket */
  if (info.tcpi_state == 10) return;                            /* a listener carries nothing */
  total->sent += info.tcpi_bytes_sent - info.tcpi_bytes_retrans;
  total->received += info.tcpi_bytes_received;
}

bench_carried bench_tcp_carried(void) {
  bench_carried total = {0, 0};
  DIR *open_files = opendir("/proc/self/fd");
  if (!open_files) bench_fail("/proc/self/fd cannot be read");
  for (struct dirent *e; (e = readdir(open_files));)
    if (e->d_name[0] != '.') add_socket(atoi(e->d_name), &total);
  closedir(open_files);
  return total;
}
