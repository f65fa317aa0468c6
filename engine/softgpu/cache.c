/* Looks up compiled kernels. The folder and every file must belong to this user and be closed to
   others: objects are code that this process will run. */
#define _GNU_SOURCE
#include "cache.h"
#include "kernel_abi.h"
#include "settings.h"
#include "sha256.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 30, LINE_BYTES = 8192 };

static char path[4096];
static int folder = -1;

/* ---- the folder */

static bool choose_path(void) {
  const char *home = getenv("HOME"), *cache = getenv("XDG_CACHE_HOME");
  int n;
  if (sg_config()->cache)
    n = snprintf(path, sizeof path, "%s", sg_config()->cache);
  else if (cache && *cache)
    n = snprintf(path, sizeof path, "%s/remora/softgpu", cache);
  else
    n = snprintf(path, sizeof path, "%s/.cache/remora/softgpu", home ? home : "");
  return n > 0 && (size_t)n < sizeof path && *path == '/';
}

static void make_parents(void) {
  for (char *p = path + 1; *p; p++)
    if (*p == '/') {
      *p = 0;
      mkdir(path, 0700);
      *p = '/';
    }
}

static void open_folder(void) {
  struct stat s;
  if (!choose_path()) {
    fprintf(stderr, "softgpu: the cache folder needs an absolute path; set REMORA_SOFTGPU_CACHE\n");
    return;
  }
  make_parents();
  mkdir(path, 0700);
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    fprintf(stderr, "softgpu: cache folder %s: %s; set REMORA_SOFTGPU_CACHE to another\n", path,
            strerror(errno));
  } else if (fstat(fd, &s) != 0 || s.st_uid != geteuid() || (s.st_mode & 022)) {
    fprintf(stderr, "softgpu: cache folder %s belongs to, or is open to, someone else; refused\n",
            path);
    close(fd);
  } else {
    folder = fd;
  }
}

int sg_cache_folder(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_folder);
  return folder;
}

const char *sg_cache_path(void) { return path; }

/* ---- the environment file */

static bool same_processor(const char *hex) {
  char line[LINE_BYTES], text[65];
  uint8_t digest[32];
  sg_sha256 hash;
  bool found = false;
  FILE *f = fopen("/proc/cpuinfo", "re");
  if (!f) return false;
  while (!found && fgets(line, sizeof line, f))
    found = !strncmp(line, "flags", 5) || !strncmp(line, "Features", 8);
  fclose(f);
  if (!found) return false;
  sg_sha256_start(&hash);
  sg_sha256_add(&hash, line, strcspn(line, "\n"));
  sg_sha256_end(&hash, digest);
  sg_hex(digest, sizeof digest, text);
  return !strcmp(hex, text);
}

static bool same_file(const char *description) {
  long long ns, size;
  int at = 0;
  struct stat s;
  if (sscanf(description, "%lld %lld %n", &ns, &size, &at) < 2 || !at) return false;
  if (stat(description + at, &s) != 0) return false;
  return (long long)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec == ns && s.st_size == size;
}

static bool line_holds(const char *line) {
  if (!strncmp(line, "cpu ", 4)) return same_processor(line + 4);
  if (!strncmp(line, "file ", 5)) return same_file(line + 5);
  return false;
}

static bool environment_holds(FILE *f, char *environment) {
  char line[LINE_BYTES];
  unsigned abi = 0;
  if (!fgets(line, sizeof line, f) ||
      sscanf(line, "remora-softgpu %u %32[0-9a-f]", &abi, environment) != 2)
    return false;
  if (abi != RM_KERNEL_ABI || strlen(environment) != SG_ENVIRONMENT_CHARS) return false;
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    if (!line_holds(line)) return false;
  }
  return true;
}

static int open_own(const char *name) {
  struct stat s;
  int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return -1;
  if (fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() && !(s.st_mode & 022))
    return fd;
  close(fd);
  return -1;
}

bool sg_cache_environment(char environment[SG_ENVIRONMENT_CHARS + 1]) {
  if (sg_cache_folder() < 0) return false;
  int fd = open_own("environment");
  FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
  if (!f) return false;
  bool holds = environment_holds(f, environment);
  fclose(f);
  return holds;
}

/* ---- files */

static bool read_all(int fd, sg_file *file) {
  struct stat s;
  if (fstat(fd, &s) != 0 || s.st_size <= 0 || s.st_size > MAX_FILE) return false;
  file->bytes = (size_t)s.st_size;
  file->data = malloc(file->bytes);
  size_t have = 0;
  while (file->data && have < file->bytes) {
    ssize_t n = read(fd, file->data + have, file->bytes - have);
    if (n <= 0) break;
    have += (size_t)n;
  }
  if (file->data && have == file->bytes) return true;
  sg_file_release(file);
  return false;
}

/* The file's last bytes are the SHA-256 of all before them; a file that is damaged is none. */
static bool is_whole(sg_file *file) {
  uint8_t digest[SG_KEY_BYTES];
  sg_sha256 hash;
  if (file->bytes <= sizeof digest) return false;
  file->bytes -= sizeof digest;
  sg_sha256_start(&hash);
  sg_sha256_add(&hash, file->data, file->bytes);
  sg_sha256_end(&hash, digest);
  return !memcmp(digest, file->data + file->bytes, sizeof digest);
}

static bool read_named(const char *environment, const uint8_t *key, const char *suffix,
                       sg_file *file) {
  char name[SG_ENVIRONMENT_CHARS + 2 * SG_KEY_BYTES + 32], hex[2 * SG_KEY_BYTES + 1];
  if (sg_cache_folder() < 0) return false;
  sg_hex(key, SG_KEY_BYTES, hex);
  snprintf(name, sizeof name, "%s/%s%s", environment, hex, suffix);
  int fd = open_own(name);
  if (fd < 0) return false;
  bool ok = read_all(fd, file);
  if (ok && !is_whole(file)) {
    sg_file_release(file);
    ok = false;
  }
  futimens(fd, NULL); /* it is in use: the service removes what has not been used for longest */
  close(fd);
  return ok;
}

bool sg_cache_read_module(const char *environment, const uint8_t key[SG_KEY_BYTES], sg_file *file) {
  return read_named(environment, key, ".mod", file);
}

bool sg_cache_read_unit(const char *environment, const uint8_t key[SG_KEY_BYTES], uint32_t unit,
                        sg_file *file) {
  char suffix[24] = "-f.o";
  if (unit != RM_UNIT_FUNCTIONS) snprintf(suffix, sizeof suffix, "-%u.o", unit);
  return read_named(environment, key, suffix, file);
}

void sg_file_release(sg_file *file) {
  free(file->data);
  *file = (sg_file){0};
}
