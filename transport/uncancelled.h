/* uncancelled.h: the socket calls of a channel, which no pthread_cancel() ends: a thread that is
 * cancelled inside a call would take the channel's locks and its place as reader with it. It saves
 * two atomic operations a call, too, that libc makes in a process of several threads.
 * Must not know: what is sent. */
#ifndef REMORA_UNCANCELLED_H
#define REMORA_UNCANCELLED_H

#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static inline ssize_t rm_send(int fd, const void *bytes, size_t n, int flags) {
  return syscall(SYS_sendto, fd, bytes, n, flags, NULL, 0);
}

static inline ssize_t rm_sendmsg(int fd, const struct msghdr *message, int flags) {
  return syscall(SYS_sendmsg, fd, message, flags);
}

static inline ssize_t rm_recv(int fd, void *bytes, size_t n, int flags) {
  return syscall(SYS_recvfrom, fd, bytes, n, flags, NULL, NULL);
}

static inline ssize_t rm_recvmsg(int fd, struct msghdr *message, int flags) {
  return syscall(SYS_recvmsg, fd, message, flags);
}

/* timeout_ms -1: no limit. */
static inline int rm_poll_fds(struct pollfd *fds, nfds_t n, int timeout_ms) {
  struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
  return (int)syscall(SYS_ppoll, fds, n, timeout_ms < 0 ? NULL : &limit, NULL, 0);
}

#endif
