/* Load calls carry no size: it comes from the fatbin's header, the ELF tables or the PTX's end. */
#include "image.h"
#include "fault.h"
#include "kernel_abi.h"
#include <elf.h>
#include <stdlib.h>
#include <string.h>

enum { WRAPPER_MAGIC = 0x466243b1, MAX_PARTS = 4096 };
static const uint32_t fatbin_magic = 0xba55ed50;

/* What nvcc puts in .nvFatBinSegment. Version 2 (separate compilation): a list of fatbins. */
typedef struct wrapper {
  uint32_t magic, version;
  const void *data;
  const void *const *list; /* ends with NULL */
} wrapper;

typedef struct fatbin_header {
  uint32_t magic;
  uint16_t version, header_bytes;
  uint64_t payload_bytes;
} fatbin_header;

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t elf_bytes(const uint8_t *file) {
  const Elf64_Ehdr *h = (const Elf64_Ehdr *)file;
  size_t end = larger(h->e_shoff + (size_t)h->e_shnum * h->e_shentsize,
                      h->e_phoff + (size_t)h->e_phnum * h->e_phentsize);
  const Elf64_Shdr *s = (const Elf64_Shdr *)(file + h->e_shoff);
  for (int i = 0; h->e_shoff && i < h->e_shnum; i++)
    if (s[i].sh_type != SHT_NOBITS) end = larger(end, s[i].sh_offset + s[i].sh_size);
  return end;
}

/* Images that were linked into one. */
static size_t linked_bytes(const uint8_t *image) {
  uint32_t count;
  uint64_t part;
  size_t bytes = 8;
  memcpy(&count, image + 4, sizeof count);
  for (; count && count <= MAX_PARTS; count--) {
    memcpy(&part, image + bytes, sizeof part);
    bytes += 8 + (part + 7) / 8 * 8;
  }
  return bytes;
}

size_t sg_fatbin_at(const void *data, size_t bytes) {
  fatbin_header h;
  uint32_t magic;
  if (bytes < sizeof h) return 0;
  memcpy(&magic, data, sizeof magic);
  memcpy(&h, data, sizeof h);
  if (magic != fatbin_magic || h.header_bytes < sizeof h || h.header_bytes > bytes) return 0;
  return h.payload_bytes <= bytes - h.header_bytes ? h.header_bytes + h.payload_bytes : 0;
}

/* One image that is not a wrapper. */
static CUresult measure(const void *image, sg_image *found) {
  uint32_t magic;
  memcpy(&magic, image, sizeof magic);
  const fatbin_header *h = image;
  *found = (sg_image){.data = image};
  if (magic == fatbin_magic)
    found->bytes = h->header_bytes + h->payload_bytes;
  else if (magic == RM_LINK_MAGIC)
    found->bytes = linked_bytes(image);
  else if (!memcmp(image, ELFMAG, SELFMAG))
    found->bytes = elf_bytes(image);
  else
    found->bytes = strlen(image);
  return found->bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

static CUresult measure_list(const void *const *list, sg_image *found) {
  sg_image parts[64];
  size_t count = 0;
  for (; list && list[count]; count++) {
    if (count == 64) return CUDA_ERROR_INVALID_IMAGE;
    CUresult r = measure(list[count], &parts[count]);
    if (r != CUDA_SUCCESS) return r;
  }
  if (count == 0) return CUDA_ERROR_INVALID_IMAGE;
  if (count > 1) return sg_image_link(parts, count, found);
  *found = parts[0];
  return CUDA_SUCCESS;
}

static CUresult find(const void *image, sg_image *found) {
  const wrapper *w = image;
  if (*(const char *)image == 0) return CUDA_ERROR_INVALID_IMAGE;
  uint32_t magic = 0;
  if (strnlen(image, 4) == 4 || !memcmp(image, ELFMAG, SELFMAG)) memcpy(&magic, image, 4);
  if (magic != WRAPPER_MAGIC) return measure(image, found);
  CUresult r = w->version == 2 && w->list ? measure_list(w->list, found) : measure(w->data, found);
  found->wrapped = true;
  return r;
}

/* A damaged image may say that it is longer than what is there: looking at it is guarded. */
typedef struct look {
  const void *image;
  sg_image found;
  CUresult result;
} look;

static void look_body(void *argument) {
  look *l = argument;
  l->result = find(l->image, &l->found);
  if (l->result != CUDA_SUCCESS) return;
  if (l->found.bytes > RM_SERVICE_MAX_IMAGE) l->result = CUDA_ERROR_INVALID_IMAGE;
  volatile uint8_t end = l->found.data[l->result ? 0 : l->found.bytes - 1];
  (void)end;
}

CUresult sg_image_find(const void *image, sg_image *found) {
  look l = {.image = image};
  if (!image) return CUDA_ERROR_INVALID_VALUE;
  if (sg_fault_guard(look_body, &l) != CUDA_SUCCESS) return CUDA_ERROR_INVALID_IMAGE;
  *found = l.found;
  return l.result;
}

CUresult sg_image_link(const sg_image *parts, size_t count, sg_image *linked) {
  size_t bytes = 8;
  if (count > MAX_PARTS) return CUDA_ERROR_INVALID_VALUE;
  for (size_t i = 0; i < count; i++) bytes += 8 + (parts[i].bytes + 7) / 8 * 8;
  uint8_t *to = calloc(1, bytes);
  if (!to) return CUDA_ERROR_OUT_OF_MEMORY;
  *linked = (sg_image){.data = to, .bytes = bytes, .owned = to};
  memcpy(to, (uint32_t[2]){RM_LINK_MAGIC, (uint32_t)count}, 8);
  to += 8;
  for (size_t i = 0; i < count; i++) {
    uint64_t size = parts[i].bytes;
    memcpy(to, &size, 8);
    memcpy(to + 8, parts[i].data, size);
    to += 8 + (size + 7) / 8 * 8;
  }
  return CUDA_SUCCESS;
}

void sg_image_release(sg_image *image) {
  free(image->owned);
  *image = (sg_image){0};
}
