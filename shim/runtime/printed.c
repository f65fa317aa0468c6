#include "printed.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;    /* of what is kept */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER; /* taken first */
static char *kept;
static size_t size, room;
static bool unwritten; /* something is kept, or being written */

static bool make_room(size_t bytes) {
  if (room - size >= bytes) return true;
  size_t wanted = 2 * (size + bytes);
  char *larger = realloc(kept, wanted);
  if (!larger) return false;
  kept = larger;
  room = wanted;
  return true;
}

void rm_printed_keep(const void *text, uint32_t bytes) {
  pthread_mutex_lock(&lock);
  if (make_room(bytes)) {
    memcpy(kept + size, text, bytes);
    size += bytes;
    __atomic_store_n(&unwritten, true, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&lock);
}

static void write_all(const char *at, size_t bytes) {
  while (bytes) {
    ssize_t n = write(STDOUT_FILENO, at, bytes);
    if (n >= 0) {
      at += n, bytes -= (size_t)n;
    } else if (errno == EAGAIN) {
      poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

/* The kept text, which is the caller's to free; NULL: there is no more. */
static char *take(size_t *bytes) {
  pthread_mutex_lock(&lock);
  char *text = size ? kept : NULL;
  *bytes = size;
  if (text)
    kept = NULL, size = room = 0;
  else
    __atomic_store_n(&unwritten, false, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&lock);
  return text;
}

void rm_printed_write(void) {
  size_t bytes;
  if (!__atomic_load_n(&unwritten, __ATOMIC_ACQUIRE)) return;
  pthread_mutex_lock(&writing);
  for (char *text; (text = take(&bytes)); free(text)) write_all(text, bytes);
  pthread_mutex_unlock(&writing);
}
