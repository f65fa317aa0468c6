/* image.c: telling images apart and measuring them. Formats: System V ABI (ELF64); the fatbin
 * header and wrapper of CUDA's public fatbinary_section.h. */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image.h"

#define FATBIN_MAGIC 0xBA55ED50u
#define WRAPPER_MAGIC 0x466243B1u
#define SIZE_LIMIT ((size_t)4 << 30) /* no image is larger; a header that says so is damaged */

typedef struct fatbin_header {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t bytes; /* what follows the header */
} fatbin_header;

typedef struct wrapper {
  uint32_t magic, version;
  const void *fatbin;
  const void *const *linked; /* version 2: the fatbins that were linked, NULL at the end */
} wrapper;

/* ---- sizes; 0 means damaged or cut short */

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t sections_end(const char *base, const Elf64_Ehdr *elf, size_t limit) {
  size_t end = 0;
  for (unsigned i = 0; i < elf->e_shnum; i++) {
    Elf64_Shdr s;
    memcpy(&s, base + elf->e_shoff + i * sizeof s, sizeof s);
    if (s.sh_type == SHT_NOBITS || s.sh_type == SHT_NULL) continue;
    if (s.sh_offset > limit || s.sh_size > limit - s.sh_offset) return 0;
    end = larger(end, s.sh_offset + s.sh_size);
  }
  return end;
}

static size_t elf_size(const char *base, size_t limit) {
  Elf64_Ehdr elf;
  if (limit < sizeof elf) return 0;
  memcpy(&elf, base, sizeof elf);
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || !elf.e_shnum || elf.e_shentsize != sizeof(Elf64_Shdr))
    return 0;
  size_t table = (size_t)elf.e_shnum * sizeof(Elf64_Shdr);
  size_t segments = (size_t)elf.e_phnum * sizeof(Elf64_Phdr);
  if (elf.e_shoff > limit || table > limit - elf.e_shoff || elf.e_phoff > limit ||
      segments > limit - elf.e_phoff)
    return 0;
  size_t end = sections_end(base, &elf, limit);
  return end ? larger(end, larger(elf.e_shoff + table, elf.e_phoff + segments)) : 0;
}

static size_t fatbin_size(const char *base, size_t limit) {
  fatbin_header header;
  if (limit < sizeof header) return 0;
  memcpy(&header, base, sizeof header);
  if (header.magic != FATBIN_MAGIC || header.header_bytes < sizeof header ||
      header.bytes > limit - sizeof header || header.header_bytes + header.bytes > limit)
    return 0;
  return header.header_bytes + header.bytes;
}

/* With its NUL, which a file need not have. */
static size_t text_size(const char *base, size_t limit) {
  size_t n = strnlen(base, limit);
  for (size_t i = 0; i < n && i < 64; i++)
    if ((unsigned char)base[i] < ' ' && !strchr("\t\r\n\f\v", base[i])) return 0;
  return n && n < limit ? n + 1 : n;
}

static size_t plain_size(const char *base, size_t limit) {
  uint32_t magic;
  if (limit < sizeof magic) return 0;
  if (!memcmp(base, ELFMAG, SELFMAG)) return elf_size(base, limit);
  memcpy(&magic, base, sizeof magic);
  return magic == FATBIN_MAGIC ? fatbin_size(base, limit) : text_size(base, limit);
}

/* ---- wrappers */

static bool append(rm_image *image, const void *fatbin) {
  size_t n = fatbin_size(fatbin, SIZE_LIMIT), padded = (n + 7) & ~(size_t)7;
  char *more = n ? realloc(image->owned, image->size + padded) : NULL;
  if (!more) return false;
  memset(more + image->size, 0, padded);
  memcpy(more + image->size, fatbin, n);
  image->bytes = image->owned = more;
  image->size += padded;
  return true;
}

static CUresult unwrap(const wrapper *w, rm_image *image) {
  bool good = w->fatbin != NULL;
  if (good && (w->version != 2 || !w->linked)) {
    image->bytes = w->fatbin;
    image->size = plain_size(w->fatbin, SIZE_LIMIT);
    return image->size ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
  }
  good = good && append(image, w->fatbin);
  image->linked = true;
  for (const void *const *f = w->linked; good && *f; f++) good = append(image, *f);
  if (!good) rm_image_free(image);
  return good ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

CUresult rm_image_of(const void *pointer, size_t limit, rm_image *image) {
  uint32_t magic;
  *image = (rm_image){0};
  if (!pointer || limit < sizeof magic)
    return pointer ? CUDA_ERROR_INVALID_IMAGE : CUDA_ERROR_INVALID_VALUE;
  memcpy(&magic, pointer, sizeof magic);
  image->wrapped = magic == WRAPPER_MAGIC;
  if (image->wrapped) return limit == SIZE_MAX ? unwrap(pointer, image) : CUDA_ERROR_INVALID_IMAGE;
  image->bytes = pointer;
  image->size = plain_size(pointer, limit < SIZE_LIMIT ? limit : SIZE_LIMIT);
  return image->size ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

/* ---- files */

static bool read_all(int fd, char *to, size_t n) {
  while (n) {
    ssize_t got = read(fd, to, n);
    if (got <= 0) return false;
    to += got, n -= (size_t)got;
  }
  return true;
}

static CUresult load(int fd, void **bytes, size_t *size) {
  struct stat info;
  if (fstat(fd, &info) || !S_ISREG(info.st_mode) || info.st_size <= 0)
    return CUDA_ERROR_INVALID_IMAGE;
  *size = (size_t)info.st_size;
  char *at = *size < SIZE_LIMIT ? calloc(1, *size + 1) : NULL;
  *bytes = at;
  return at && read_all(fd, at, *size) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

/* PTX gets its NUL from the byte after the file. */
CUresult rm_image_from_file(const char *path, rm_image *image) {
  void *bytes = NULL;
  size_t size;
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) return path ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
  CUresult status = load(fd, &bytes, &size);
  close(fd);
  if (!status) {
    bool text = memcmp(bytes, ELFMAG, SELFMAG) && fatbin_size(bytes, size) == 0;
    status = rm_image_of(bytes, size + text, image);
  }
  image->owned = bytes;
  if (status) rm_image_free(image);
  return status;
}

void rm_image_free(rm_image *image) {
  free(image->owned);
  *image = (rm_image){0};
}
