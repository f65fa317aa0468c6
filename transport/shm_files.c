/* shm_files.c: files behind memory that one side shares and the other maps, a window at a time.
 * Must not know: frames, pipes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shm.h"
#include "tuning.h"

void rm_shm_files_open(rm_shm_files *files, int socket) {
  memset(files, 0, sizeof *files);
  pthread_mutex_init(&files->lock, NULL);
  files->socket = socket;
  for (unsigned i = 0; i < RM_SHM_FILES; i++) files->theirs[i].fd = -1;
}

static void drop_windows(rm_shm_file *file) {
  for (unsigned i = 0; file->windows && i < RM_SHM_WINDOWS; i++)
    if (file->windows[i]) munmap(file->windows[i], RM_SHM_WINDOW);
  free(file->windows);
}

void rm_shm_files_close(rm_shm_files *files, bool forked) {
  close(files->socket);
  for (unsigned i = 0; i < RM_SHM_FILES; i++) {
    if (files->theirs[i].fd >= 0) close(files->theirs[i].fd);
    if (!forked) drop_windows(&files->theirs[i]);
  }
  if (!forked) free(files->regions);
}

/* ---- this side's */

static int send_file(rm_shm_files *files, uint32_t number, int fd) {
  union {
    char bytes[CMSG_SPACE(sizeof fd)];
    struct cmsghdr align;
  } rights = {0};
  struct iovec piece = {&number, sizeof number};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = rights.bytes,
                           .msg_controllen = sizeof rights.bytes};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(head), &fd, sizeof fd);
  return sendmsg(files->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Only a file that the peer can't cut short: this side would fault on its own memory. */
static bool is_safe(int fd) {
  int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0) return false;
  return seals & F_SEAL_SHRINK || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0;
}

/* The number of a file that the peer has; it gets it now if it hasn't. */
static int number_of(rm_shm_files *files, int fd, uint32_t *number) {
  struct stat status;
  if (fstat(fd, &status) != 0) return -errno;
  for (*number = 0; *number < files->mine_count; ++*number) {
    const rm_shm_file *mine = &files->mine[*number];
    if (mine->dev == status.st_dev && mine->ino == status.st_ino) return 0;
  }
  if (*number == RM_SHM_FILES) return -ENOSPC;
  if (!is_safe(fd)) return -EPERM;
  int error = send_file(files, *number, fd);
  if (error) return error;
  files->mine[files->mine_count++] =
      (rm_shm_file){.fd = -1, .dev = status.st_dev, .ino = status.st_ino};
  return 0;
}

static bool joins(const rm_shm_region *a, const rm_shm_region *b) {
  return a->file == b->file && a->at + a->n == b->at && a->offset + a->n == b->offset;
}

static int add_region(rm_shm_files *files, rm_shm_region region) {
  for (uint32_t i = 0; i < files->region_count; i++)
    if (joins(&files->regions[i], &region)) return files->regions[i].n += region.n, 0;
  if (files->region_count == files->region_room) {
    uint32_t room = files->region_room ? 2 * files->region_room : 64;
    rm_shm_region *more = realloc(files->regions, room * sizeof *more);
    if (!more) return -ENOMEM;
    files->regions = more;
    files->region_room = room;
  }
  files->regions[files->region_count++] = region;
  return 0;
}

/* Takes [at, at + n) out of region i, which may leave two parts of it. */
static void cut_region(rm_shm_files *files, uint32_t i, uint64_t at, uint64_t n) {
  rm_shm_region whole = files->regions[i], after = whole;
  uint64_t end = whole.at + whole.n < at + n ? whole.at + whole.n : at + n;
  files->regions[i] = files->regions[--files->region_count];
  after.offset += end - after.at;
  after.n = whole.at + whole.n - end;
  after.at = end;
  if (at > whole.at) {
    whole.n = at - whole.at;
    add_region(files, whole);
  }
  if (after.n) add_region(files, after);
}

static void remove_regions(rm_shm_files *files, uint64_t at, uint64_t n) {
  for (uint32_t i = 0; i < files->region_count;) {
    const rm_shm_region *region = &files->regions[i];
    if (region->at < at + n && at < region->at + region->n)
      cut_region(files, i, at > region->at ? at : region->at,
                 at + n - (at > region->at ? at : region->at)),
          i = 0;
    else
      i++;
  }
}

int rm_shm_files_share(rm_shm_files *files, void *at, size_t n, int fd, uint64_t offset) {
  rm_shm_region region = {.at = (uint64_t)(uintptr_t)at, .n = n, .offset = offset};
  int error = 0;
  pthread_mutex_lock(&files->lock);
  remove_regions(files, region.at, n);
  if (fd >= 0) error = number_of(files, fd, &region.file);
  if (fd >= 0 && !error) error = add_region(files, region);
  pthread_mutex_unlock(&files->lock);
  return error;
}

bool rm_shm_files_find(rm_shm_files *files, const void *at, size_t n, uint32_t *file,
                       uint64_t *offset) {
  uint64_t from = (uint64_t)(uintptr_t)at;
  bool found = false;
  pthread_mutex_lock(&files->lock);
  for (uint32_t i = 0; i < files->region_count && !found; i++) {
    const rm_shm_region *region = &files->regions[i];
    found = from >= region->at && n <= region->n && from - region->at <= region->n - n;
    if (found) *file = region->file, *offset = region->offset + (from - region->at);
  }
  pthread_mutex_unlock(&files->lock);
  return found;
}

void rm_shm_files_reach(rm_shm_files *files, uint32_t file, uint64_t offset, size_t n) {
  uint64_t last = (offset + n - 1) / RM_SHM_WINDOW;
  for (uint64_t i = offset / RM_SHM_WINDOW; i <= last && i < RM_SHM_WINDOWS; i++)
    files->mine[file].reached[i / 8] |= (uint8_t)(1u << i % 8);
}

bool rm_shm_files_reached(const rm_shm_files *files, uint32_t file, uint64_t offset, size_t n) {
  uint64_t i = offset / RM_SHM_WINDOW, last = (offset + n - 1) / RM_SHM_WINDOW;
  while (i <= last && i < RM_SHM_WINDOWS && files->mine[file].reached[i / 8] >> i % 8 & 1) i++;
  return i > last;
}

/* ---- the peer's */

static int descriptor_in(struct msghdr *message) {
  struct cmsghdr *head = CMSG_FIRSTHDR(message);
  int fd = -1;
  if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
    memcpy(&fd, CMSG_DATA(head), sizeof fd);
  return fd;
}

/* Only plain memory that can't become shorter: this side would fault on it, or wait for a file
 * system of the peer's. */
static bool is_harmless(int fd) {
  struct statfs system;
  int seals = fcntl(fd, F_GET_SEALS);
  return seals >= 0 && seals & F_SEAL_SHRINK && fstatfs(fd, &system) == 0 &&
         system.f_type == TMPFS_MAGIC;
}

/* Room for one descriptor and not a second, which would come unseen. */
static ssize_t receive_number(int socket, uint32_t *number, int *fd) {
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
  } rights = {0};
  struct iovec piece = {number, sizeof *number};
  struct msghdr message = {.msg_iov = &piece,
                           .msg_iovlen = 1,
                           .msg_control = rights.bytes,
                           .msg_controllen = CMSG_LEN(sizeof(int))};
  ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  *fd = n < 0 ? -1 : descriptor_in(&message);
  return n;
}

/* Takes in a file that has come; false: none has. */
static bool receive_file(rm_shm_files *files) {
  uint32_t number = RM_SHM_FILES;
  int fd;
  ssize_t n = receive_number(files->socket, &number, &fd);
  bool fits = n == sizeof number && number < RM_SHM_FILES && files->theirs[number].fd < 0;
  if (fd >= 0 && fits && is_harmless(fd))
    files->theirs[number].fd = fd;
  else if (fd >= 0)
    close(fd);
  return n > 0 || fd >= 0;
}

static bool has_bytes(rm_shm_file *file, uint64_t end) {
  struct stat status;
  if (end <= file->bytes) return true;
  if (fstat(file->fd, &status) == 0) file->bytes = (uint64_t)status.st_size;
  return end <= file->bytes;
}

/* Addresses for a window, at a multiple of a huge page: where the file has huge pages, they are
 * mapped as such, with a 512th of the page faults. */
static uint8_t *reserve_window(void) {
  const uint64_t huge = RM_SHM_HUGE;
  uint8_t *at = mmap(NULL, RM_SHM_WINDOW + huge, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return NULL;
  uint64_t lead = -(uint64_t)(uintptr_t)at % huge;
  if (lead) munmap(at, lead);
  munmap(at + lead + RM_SHM_WINDOW, huge - lead);
  return at + lead;
}

static uint8_t *map_window(const rm_shm_file *file, uint64_t i) {
  uint8_t *at = reserve_window();
  if (!at) return NULL;
  if (mmap(at, RM_SHM_WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
           file->fd, (off_t)(i * RM_SHM_WINDOW)) == MAP_FAILED) {
    munmap(at, RM_SHM_WINDOW);
    return NULL;
  }
  madvise(at, RM_SHM_WINDOW, MADV_DONTFORK);
  return at;
}

static uint8_t *window_of(rm_shm_file *file, uint64_t i) {
  if (!file->windows) file->windows = calloc(RM_SHM_WINDOWS, sizeof *file->windows);
  if (!file->windows || i >= RM_SHM_WINDOWS) return NULL;
  if (!file->windows[i]) file->windows[i] = map_window(file, i);
  return file->windows[i];
}

/* Windows stay until the end, so that a copy needs no lock. */
static uint8_t *map_place(rm_shm_files *files, uint32_t number, uint64_t offset, size_t n) {
  uint8_t *at = NULL;
  if (number >= RM_SHM_FILES || offset > RM_SHM_WINDOW * RM_SHM_WINDOWS) return NULL;
  pthread_mutex_lock(&files->lock);
  rm_shm_file *file = &files->theirs[number];
  while (file->fd < 0 && receive_file(files)) {
  }
  if (file->fd >= 0 && has_bytes(file, offset + n)) at = window_of(file, offset / RM_SHM_WINDOW);
  pthread_mutex_unlock(&files->lock);
  return at ? at + offset % RM_SHM_WINDOW : NULL;
}

/* For large copies the processor's own string copy was 10 to 25 % faster than memcpy, at every size
 * from 1 MiB on: it writes whole lines without reading them first. */
static void copy_bytes(void *to, const void *from, size_t n) {
#if defined(__x86_64__)
  if (n >= RM_SHM_STRING_COPY) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return;
  }
#endif
  memcpy(to, from, n);
}

bool rm_shm_files_copy(rm_shm_files *files, uint32_t file, uint64_t offset, size_t n, void *to,
                       const void *from) {
  uint64_t here = RM_SHM_WINDOW - offset % RM_SHM_WINDOW;
  size_t run = n < here ? n : here, rest = n - run;
  uint8_t *first = map_place(files, file, offset, run);
  uint8_t *second = rest ? map_place(files, file, offset + run, rest) : first;
  if (!first || !second) return false;
  copy_bytes(to ? to : first, from ? from : first, run);
  if (!rest) return true;
  copy_bytes(to ? (uint8_t *)to + run : second, from ? (const uint8_t *)from + run : second, rest);
  return true;
}
