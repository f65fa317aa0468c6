/* Feeds the object loader damaged copies of a real object: it must refuse or load, never touch what
 * is not its own. Built with the address sanitizer. Usage: fuzz_objects FILE ROUNDS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/softgpu/objects.h"

static uintptr_t resolve(void *context, const char *name) {
  (void)context;
  return strlen(name) < 200 ? 0x1000 : 0;
}

static uint64_t seed = 88172645463325252u;
static uint64_t number(uint64_t below) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed % below;
}

static void damage(uint8_t *file, size_t bytes) {
  static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
  size_t headers = number(2) && bytes > 64 ? 64 : bytes; /* half of the time the ELF header */
  for (uint64_t n = 1 + number(8); n; n--) {
    size_t at = number(headers);
    file[at] = number(2) ? values[number(sizeof values)] : (uint8_t)number(256);
  }
}

int main(int argc, char **argv) {
  static uint8_t good[1 << 20];
  FILE *f = argc == 3 ? fopen(argv[1], "rb") : NULL;
  if (!f) return 2;
  size_t bytes = fread(good, 1, sizeof good, f);
  fclose(f);
  long loaded = 0, rounds = atol(argv[2]);
  for (long i = 0; i <= rounds; i++) {
    char problem[256] = "";
    sg_code code;
    size_t length = i && number(4) == 0 ? 1 + number(bytes) : bytes;
    uint8_t *file = malloc(length); /* exact, so that reading past it is seen */
    memcpy(file, good, length);
    if (i) damage(file, length);
    CUresult r = sg_code_load(file, length, resolve, NULL, &code, problem, sizeof problem);
    if (r == CUDA_SUCCESS)
      loaded++, sg_code_symbol(&code, "rm_entry");
    else if (!*problem || i == 0)
      return printf("round %ld: %s\n", i, problem), 1;
    sg_code_unload(&code);
    free(file);
  }
  printf("%ld of %ld loaded\n", loaded, rounds);
  return 0;
}
