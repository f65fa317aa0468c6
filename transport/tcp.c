/* tcp.c: the link over a connected stream socket. Everything that is ready goes out with one
 * sendmsg; payloads are sent from, and received into, the memory they belong to.
 * Must not know: rings, waiters. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "carrier.h"
#include "frames.h"
#include "stream.h"
#include "uncancelled.h"

typedef struct rm_tcp {
  rm_link base;
  int fd;
  bool same_host;
  rm_frames out;
  uint8_t joined[RM_JOIN_BYTES];
  rm_stream in;
} rm_tcp;

/* ---- sending */

/* One piece costs the kernel less than two: small sends are put together first. */
static void join_pieces(rm_tcp *tcp) {
  size_t n = 0;
  for (size_t i = 0; i < tcp->out.count; i++) n += tcp->out.pieces[i].iov_len;
  if (n > RM_JOIN_BYTES) return;
  uint8_t *to = tcp->joined;
  for (size_t i = 0; i < tcp->out.count; i++) {
    memcpy(to, tcp->out.pieces[i].iov_base, tcp->out.pieces[i].iov_len);
    to += tcp->out.pieces[i].iov_len;
  }
  tcp->out.pieces[0] = (struct iovec){tcp->joined, n};
  tcp->out.count = 1;
}

static ssize_t send_once(rm_tcp *tcp) {
  const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  struct msghdr all = {.msg_iov = tcp->out.next, .msg_iovlen = tcp->out.count};
  if (tcp->out.count > 1) return rm_sendmsg(tcp->fd, &all, flags);
  return rm_send(tcp->fd, tcp->out.next->iov_base, tcp->out.next->iov_len, flags);
}

static int tcp_resume(rm_link *link) {
  rm_tcp *tcp = (rm_tcp *)link;
  link->corked = false;
  while (tcp->out.count) {
    ssize_t n = send_once(tcp);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -errno;
    __atomic_store_n(&link->bytes_sent, link->bytes_sent + (uint64_t)n, __ATOMIC_RELAXED);
    rm_frames_gone(&tcp->out, (size_t)n);
  }
  if (link->returned != link->lent) __atomic_store_n(&link->returned, link->lent, __ATOMIC_SEQ_CST);
  return 0;
}

/* A bulk message that something follows at once goes together with it: one system call less, and
 * one read less at the other end. Until then its bytes are lent. */
static int tcp_send(rm_link *link, const rm_parcel *parcels, unsigned count, rm_credit credit) {
  rm_tcp *tcp = (rm_tcp *)link;
  if (link->corked) {
    rm_frames_add(&tcp->out, parcels, count, credit);
    return tcp_resume(link);
  }
  rm_frames_make(&tcp->out, parcels, count, credit);
  link->corked = count == 1 && parcels->more;
  if (link->corked) return __atomic_store_n(&link->lent, link->lent + 1, __ATOMIC_SEQ_CST), 0;
  join_pieces(tcp);
  return tcp_resume(link);
}

/* ---- receiving */

static ssize_t take_in(rm_tcp *tcp, int flags) {
  struct iovec piece[2];
  unsigned count = rm_stream_room(&tcp->in, piece);
  if (count == 1) return rm_recv(tcp->fd, piece[0].iov_base, piece[0].iov_len, flags);
  struct msghdr message = {.msg_iov = piece, .msg_iovlen = count};
  return rm_recvmsg(tcp->fd, &message, flags);
}

static long tcp_receive(rm_link *link, rm_channel *to, bool sleep) {
  rm_tcp *tcp = (rm_tcp *)link;
  ssize_t n;
  do n = take_in(tcp, sleep ? 0 : MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0) return -errno;
  if (n > 0) return rm_stream_took(&tcp->in, to, (size_t)n), n;
  if (rm_stream_inside(&tcp->in)) rm_in_cut_off(to, tcp->in.left);
  return RM_EPEER;
}

/* On one host bytes arrive on the processor that they were sent from. */
static bool tcp_beside(rm_link *link) {
  rm_tcp *tcp = (rm_tcp *)link;
  int cpu = -1;
  socklen_t n = sizeof cpu;
  return tcp->same_host && !getsockopt(tcp->fd, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &n) &&
         cpu == sched_getcpu();
}

static int tcp_wait(rm_link *link, int events, int timeout_ms) {
  rm_tcp *tcp = (rm_tcp *)link;
  struct pollfd fd = {.fd = tcp->fd};
  fd.events = (short)((events & RM_READABLE ? POLLIN : 0) | (events & RM_WRITABLE ? POLLOUT : 0));
  if (rm_poll_fds(&fd, 1, timeout_ms) <= 0) return 0;
  int ready = (fd.revents & POLLIN ? RM_READABLE : 0) | (fd.revents & POLLOUT ? RM_WRITABLE : 0);
  return fd.revents & (POLLERR | POLLHUP | POLLNVAL) ? events : ready;
}

/* ---- set-up and end */

static void tcp_finish(rm_link *link) { shutdown(((rm_tcp *)link)->fd, SHUT_WR); }

static void tcp_stop(rm_link *link) { shutdown(((rm_tcp *)link)->fd, SHUT_RDWR); }

static void tcp_free(rm_link *link, bool forked) {
  close(((rm_tcp *)link)->fd);
  if (!forked) free(link);
}

static const rm_link_ops tcp_ops = {.send = tcp_send,
                                    .resume = tcp_resume,
                                    .receive = tcp_receive,
                                    .wait = tcp_wait,
                                    .beside = tcp_beside,
                                    .finish = tcp_finish,
                                    .stop = tcp_stop,
                                    .free = tcp_free};

static void set_number(int fd, int level, int option, int value) {
  setsockopt(fd, level, option, &value, sizeof value); /* not every stream socket knows it */
}

/* A peer whose host has gone is noticed by the kernel too, within the same time of silence. */
static void watch_host(int fd, uint32_t silence_ms) {
  int seconds = (int)(silence_ms / 3000) ? (int)(silence_ms / 3000) : 1;
  set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds);
  set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds);
  set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)silence_ms);
}

static bool is_near(int fd) {
  struct tcp_info info;
  socklen_t n = sizeof info;
  return !getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) && info.tcpi_min_rtt < RM_NEAR_US;
}

static void set_congestion(int fd) {
  if (is_near(fd))
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, RM_NEAR_CONGESTION, sizeof RM_NEAR_CONGESTION - 1);
}

static void set_up(int fd, uint32_t silence_ms) {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_congestion(fd);
  watch_host(fd, silence_ms);
}

static socklen_t address_of(const struct sockaddr_storage *name, const void **address) {
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)name;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)name;
  bool is_v6 = name->ss_family == AF_INET6;
  *address = is_v6 ? (const void *)&v6->sin6_addr : &v4->sin_addr;
  return is_v6 ? sizeof v6->sin6_addr : name->ss_family == AF_INET ? sizeof v4->sin_addr : 0;
}

static bool is_same_host(int fd) {
  struct sockaddr_storage mine, theirs;
  socklen_t n = sizeof mine, m = sizeof theirs;
  if (getsockname(fd, (struct sockaddr *)&mine, &n) ||
      getpeername(fd, (struct sockaddr *)&theirs, &m))
    return false;
  const void *a, *b;
  n = address_of(&mine, &a), m = address_of(&theirs, &b);
  return n && n == m && !memcmp(a, b, n);
}

rm_link *rm_link_tcp(int fd, uint32_t silence_ms) {
  rm_tcp *tcp = calloc(1, sizeof *tcp);
  if (!tcp) return close(fd), errno = ENOMEM, NULL;
  tcp->base.ops = &tcp_ops;
  tcp->fd = fd;
  tcp->same_host = is_same_host(fd);
  set_up(fd, silence_ms);
  return &tcp->base;
}

rm_channel *rm_channel_tcp(int fd, const rm_options *options, const rm_events *events, void *user) {
  rm_link *link = rm_link_tcp(fd, rm_silence_ms(options));
  return link ? rm_channel_over(link, options, events, user) : NULL;
}

/* ---- as a carrier: the connection is there, so that nothing is left to agree on */

static bool tcp_blob(rm_carrying *c, rm_blob *mine) {
  (void)c, (void)mine;
  return true;
}

static bool tcp_answer(rm_carrying *c, const rm_blob *theirs, rm_blob *mine) {
  (void)c, (void)theirs, (void)mine;
  return true;
}

static bool tcp_connect(rm_carrying *c, const rm_blob *theirs) {
  (void)c, (void)theirs;
  return true;
}

static rm_link *tcp_link(rm_carrying *c) {
  return rm_link_tcp(c->fd, rm_silence_ms(&(rm_options){.silence_ms = c->terms.silence_ms}));
}

static void tcp_drop(rm_carrying *c) { (void)c; }

const rm_carrier rm_carrier_tcp = {"tcp",       tcp_blob, tcp_answer, tcp_answer,
                                   tcp_connect, tcp_link, tcp_drop};
