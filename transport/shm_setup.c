/* shm_setup.c: how a client and a server of one host come to share an area: the carrier "shm".
 *
 * The client binds a Unix datagram socket to a name of random bytes and offers the name together
 * with the host's boot id. The server makes the area and the bells and sends their descriptors to
 * that name, which reaches only a process of its own host and network namespace, whoever its user
 * is. A number that the Grant carries tells the client that the datagram is the server's.
 * Must not know: what goes through the area. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shm.h"
#include "tuning.h"

#define BOOT_ID_BYTES 36
#define NAME_BYTES 24
#define FDS 6u /* area, files, and four bells */

typedef struct offer_blob {
  uint32_t version, reserved;
  char boot_id[BOOT_ID_BYTES + 4];
  char name[NAME_BYTES]; /* of the socket, abstract: random */
} offer_blob;

typedef struct grant_blob {
  uint32_t version, bytes;
  uint8_t key[16]; /* stands in the datagram too */
} grant_blob;

typedef struct state {
  int socket; /* the client's, until it accepts */
  rm_shm_fds fds;
  rm_shm_area *area;
  bool server;
} state;

static bool failed_errno(rm_carrying *c, const char *what) {
  return rm_carrying_failed(c, "%s: %s", what, strerror(errno));
}

static bool read_boot_id(char id[BOOT_ID_BYTES]) {
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, id, BOOT_ID_BYTES);
  if (fd >= 0) close(fd);
  return n == BOOT_ID_BYTES;
}

static bool random_bytes(void *bytes, size_t n) {
  return getrandom(bytes, n, GRND_NONBLOCK) == (ssize_t)n;
}

static socklen_t address_of(const char *name, struct sockaddr_un *address) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  memcpy(address->sun_path + 1, name, NAME_BYTES);
  return offsetof(struct sockaddr_un, sun_path) + 1 + NAME_BYTES;
}

static state *new_state(rm_carrying *c, bool server) {
  state *s = calloc(1, sizeof *s);
  if (!s) return rm_carrying_failed(c, "out of memory"), NULL;
  *s = (state){-1, {-1, -1, -1, -1, -1, -1}, NULL, server};
  return c->state = s;
}

static rm_shm_area *map_area(int fd) {
  void *at = mmap(NULL, RM_SHM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return NULL;
  madvise(at, RM_SHM_BYTES, MADV_DONTFORK);
  return at;
}

/* ---- the client */

static bool shm_offer(rm_carrying *c, rm_blob *mine) {
  state *s = new_state(c, false);
  offer_blob offer = {.version = RM_SHM_VERSION};
  struct sockaddr_un address;
  if (!s) return false;
  if (!read_boot_id(offer.boot_id)) return rm_carrying_failed(c, "this host has no boot id");
  uint8_t random[NAME_BYTES / 2];
  if (!random_bytes(random, sizeof random)) return failed_errno(c, "no random bytes");
  for (unsigned i = 0; i < NAME_BYTES; i++)
    offer.name[i] = "0123456789abcdef"[random[i / 2] >> (i % 2 * 4) & 15];
  s->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  socklen_t bytes = address_of(offer.name, &address);
  if (s->socket < 0 || bind(s->socket, (struct sockaddr *)&address, bytes) != 0)
    return failed_errno(c, "no Unix socket");
  memcpy(mine->bytes, &offer, sizeof offer);
  mine->n = sizeof offer;
  return true;
}

static unsigned descriptors_in(struct msghdr *message, int *fds) {
  unsigned count = 0;
  for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head; head = CMSG_NXTHDR(message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    count = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    if (count > FDS) count = FDS;
    memcpy(fds, CMSG_DATA(head), count * sizeof *fds);
  }
  return count;
}

/* One datagram: 1 the server's, 0 somebody else's, -1 none. */
static int receive_fds(int socket, const grant_blob *grant, int fds[FDS]) {
  union {
    char bytes[CMSG_SPACE(FDS * sizeof(int))];
    struct cmsghdr align;
  } rights = {0};
  grant_blob got = {0};
  struct iovec piece = {&got, sizeof got};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = rights.bytes,
                           .msg_controllen = sizeof rights.bytes};
  ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return -1;
  unsigned count = descriptors_in(&message, fds);
  if (n == sizeof got && count == FDS && memcmp(&got, grant, sizeof got) == 0) return 1;
  for (unsigned i = 0; i < count; i++) close(fds[i]);
  return 0;
}

static bool take_fds(state *s, const grant_blob *grant) {
  int fds[FDS], found = 0;
  for (int tries = 0; tries < RM_SHM_STRANGERS && !found; tries++)
    found = receive_fds(s->socket, grant, fds);
  if (found != 1) return false;
  s->fds = (rm_shm_fds){fds[0], fds[1], fds[2], fds[3], fds[4], fds[5]};
  return true;
}

static bool shm_accept(rm_carrying *c, const rm_blob *theirs, rm_blob *mine) {
  state *s = c->state;
  grant_blob grant;
  struct stat status;
  mine->n = 0;
  if (theirs->n != sizeof grant) return rm_carrying_failed(c, "the server's answer is malformed");
  memcpy(&grant, theirs->bytes, sizeof grant);
  if (grant.version != RM_SHM_VERSION || grant.bytes != RM_SHM_BYTES)
    return rm_carrying_failed(c, "the server lays its memory out differently");
  if (!take_fds(s, &grant)) return rm_carrying_failed(c, "the server's memory did not come");
  if (fstat(s->fds.area, &status) != 0 || status.st_size != RM_SHM_BYTES)
    return rm_carrying_failed(c, "the server's memory has another size than it said");
  if (!(s->area = map_area(s->fds.area))) return failed_errno(c, "cannot map the server's memory");
  __atomic_store_n(&s->area->attached, RM_SHM_ATTACHED, __ATOMIC_SEQ_CST);
  return true;
}

/* ---- the server */

static bool make_area(rm_carrying *c, state *s) {
  s->fds.area = memfd_create("remora", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (s->fds.area < 0 || ftruncate(s->fds.area, RM_SHM_BYTES) != 0 ||
      fcntl(s->fds.area, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return failed_errno(c, "no shared memory");
  s->area = map_area(s->fds.area);
  return s->area || failed_errno(c, "cannot map shared memory");
}

static bool make_bells(rm_carrying *c, rm_shm_fds *fds) {
  int *bells[] = {&fds->my_reader, &fds->my_writer, &fds->peer_reader, &fds->peer_writer};
  for (unsigned i = 0; i < 4; i++)
    if ((*bells[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
      return failed_errno(c, "no event descriptor");
  return true;
}

static int send_fds(const offer_blob *offer, const grant_blob *grant, const int fds[FDS]) {
  union {
    char bytes[CMSG_SPACE(FDS * sizeof(int))];
    struct cmsghdr align;
  } rights = {0};
  struct sockaddr_un address;
  socklen_t bytes = address_of(offer->name, &address);
  struct iovec piece = {(void *)grant, sizeof *grant};
  struct msghdr message = {.msg_name = &address,
                           .msg_namelen = bytes,
                           .msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = rights.bytes,
                           .msg_controllen = sizeof rights.bytes};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(FDS * sizeof(int));
  memcpy(CMSG_DATA(head), fds, FDS * sizeof(int));
  int from = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int error = from < 0 || sendmsg(from, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
  if (from >= 0) close(from);
  return error;
}

/* The client gets the other end of the socket, and its bells the other way round. */
static bool send_all(rm_carrying *c, state *s, const offer_blob *offer, const grant_blob *grant) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
    return failed_errno(c, "no Unix socket");
  s->fds.files = pair[0];
  const rm_shm_fds *f = &s->fds;
  const int theirs[FDS] = {f->area,        pair[1],      f->peer_reader,
                           f->peer_writer, f->my_reader, f->my_writer};
  int error = send_fds(offer, grant, theirs);
  close(pair[1]);
  if (!error) return true;
  if (error == -ECONNREFUSED)
    return rm_carrying_failed(c, "the client is in another network namespace of this host");
  return rm_carrying_failed(c, "the client's socket cannot be reached: %s", strerror(-error));
}

static bool shm_prepare(rm_carrying *c, const rm_blob *theirs, rm_blob *mine) {
  offer_blob offer;
  grant_blob grant = {.version = RM_SHM_VERSION, .bytes = RM_SHM_BYTES};
  char boot_id[BOOT_ID_BYTES];
  if (theirs->n != sizeof offer) return rm_carrying_failed(c, "the client's offer is malformed");
  memcpy(&offer, theirs->bytes, sizeof offer);
  if (offer.version != RM_SHM_VERSION)
    return rm_carrying_failed(c, "the client has another version");
  if (!read_boot_id(boot_id) || memcmp(boot_id, offer.boot_id, sizeof boot_id) != 0)
    return rm_carrying_failed(c, "the client is on another host");
  state *s = new_state(c, true);
  if (!s || !make_area(c, s) || !make_bells(c, &s->fds)) return false;
  if (!random_bytes(grant.key, sizeof grant.key)) return failed_errno(c, "no random bytes");
  if (!send_all(c, s, &offer, &grant)) return false;
  memcpy(mine->bytes, &grant, sizeof grant);
  mine->n = sizeof grant;
  return true;
}

static bool shm_connect(rm_carrying *c, const rm_blob *theirs) {
  state *s = c->state;
  (void)theirs;
  if (__atomic_load_n(&s->area->attached, __ATOMIC_SEQ_CST) != RM_SHM_ATTACHED)
    return rm_carrying_failed(c, "the client has not mapped the memory");
  return true;
}

/* ---- both */

static rm_link *shm_link(rm_carrying *c) {
  state *s = c->state;
  if (s->socket >= 0) close(s->socket);
  rm_link *link = rm_link_shm(&s->fds, c->fd, s->area, s->server);
  if (!link) rm_carrying_failed(c, "out of memory");
  free(s);
  return link;
}

static void shm_drop(rm_carrying *c) {
  state *s = c->state;
  const int all[] = {s->socket,        s->fds.area,        s->fds.files,      s->fds.my_reader,
                     s->fds.my_writer, s->fds.peer_reader, s->fds.peer_writer};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i] >= 0) close(all[i]);
  if (s->area) munmap(s->area, RM_SHM_BYTES);
  free(s);
}

const rm_carrier rm_carrier_shm = {"shm",       shm_offer, shm_prepare, shm_accept,
                                   shm_connect, shm_link,  shm_drop};
