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
static struct {
  char *kept;
  size_t size, room;
} streams[2];          /* standard output, standard error */
static bool unwritten; /* something is kept, or being written */

static bool make_room(bool error, size_t bytes) {
  size_t size = streams[error].size;
  if (streams[error].room - size >= bytes) return true;
  size_t wanted = 2 * (size + bytes);
  char *larger = realloc(streams[error].kept, wanted);
  if (!larger) return false;
  streams[error].kept = larger;
  streams[error].room = wanted;
  return true;
}

void rm_printed_keep(bool error, const void *text, uint32_t bytes) {
  pthread_mutex_lock(&lock);
  if (make_room(error, bytes)) {
    memcpy(streams[error].kept + streams[error].size, text, bytes);
    streams[error].size += bytes;
    __atomic_store_n(&unwritten, true, __ATOMIC_RELEASE);
  }
  pthread_mutex_unlock(&lock);
}

static void write_all(int to, const char *at, size_t bytes) {
  while (bytes) {
    ssize_t n = write(to, at, bytes);
    if (n >= 0) {
      at += n, bytes -= (size_t)n;
    } else if (errno == EAGAIN) {
      poll(&(struct pollfd){.fd = to, .events = POLLOUT}, 1, -1);
    } else if (errno != EINTR) {
      return;
    }
  }
}

/* The kept text of one of the two, which is the caller's to free; NULL: there is no more. */
static char *take(bool *error, size_t *bytes) {
  pthread_mutex_lock(&lock);
  *error = streams[0].size == 0;
  char *text = streams[*error].size ? streams[*error].kept : NULL;
  *bytes = streams[*error].size;
  if (text)
    streams[*error].kept = NULL, streams[*error].size = streams[*error].room = 0;
  else
    __atomic_store_n(&unwritten, false, __ATOMIC_RELEASE);
  pthread_mutex_unlock(&lock);
  return text;
}

void rm_printed_write(void) {
  size_t bytes;
  bool error;
  if (!__atomic_load_n(&unwritten, __ATOMIC_ACQUIRE)) return;
  pthread_mutex_lock(&writing);
  for (char *text; (text = take(&error, &bytes)); free(text))
    write_all(error ? STDERR_FILENO : STDOUT_FILENO, text, bytes);
  pthread_mutex_unlock(&writing);
}
