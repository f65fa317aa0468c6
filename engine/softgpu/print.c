/* What kernels say: printf on standard output, failed assertions on standard error. The text is
   made before any lock is taken, because a wild pointer among the arguments leaves the kernel at
   once. */
#include "blocks.h"
#include "fault.h"
#include "say.h"
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 8192 };

typedef struct printer {
  char text[TEXT_BYTES];
  size_t length;
  const char *arguments;
  int32_t count;
} printer;

/* One conversion: flags, width and precision as written, length modifiers dropped. */
typedef struct conversion {
  char spec[48];
  size_t length;
  bool wide; /* a 64-bit integer */
  char kind;
} conversion;

static const void *argument(printer *p, size_t bytes) {
  uintptr_t at = ((uintptr_t)p->arguments + bytes - 1) & ~(uintptr_t)(bytes - 1);
  p->arguments = (const char *)(at + bytes);
  p->count++;
  return (const void *)at;
}

static void add(printer *p, int written) {
  size_t room = TEXT_BYTES - 1 - p->length;
  if (written > 0) p->length += (size_t)written < room ? (size_t)written : room;
}

static void put(conversion *c, const char *text) {
  while (*text && c->length + 4 < sizeof c->spec) c->spec[c->length++] = *text++;
  c->spec[c->length] = 0;
}

static const char *read_conversion(printer *p, const char *f, conversion *c) {
  char digits[16], one[2] = {0, 0};
  *c = (conversion){.spec = "%", .length = 1};
  for (; *f && !strchr("diouxXeEfFgGaAcspn%", *f); f++) {
    one[0] = *f;
    if (*f == '*') {
      snprintf(digits, sizeof digits, "%d", *(const int *)argument(p, 4));
      put(c, digits);
    } else if (*f == 'l' || *f == 'z' || *f == 'j' || *f == 't') {
      c->wide = true;
    } else if (*f != 'h') {
      put(c, one);
    }
  }
  c->kind = *f;
  if (strchr("diouxX", *f) && *f) put(c, "ll");
  one[0] = *f;
  put(c, one);
  return *f ? f + 1 : f;
}

static void convert(printer *p, const conversion *c) {
  char *to = p->text + p->length;
  size_t room = TEXT_BYTES - p->length;
  switch (c->kind) {
  case 'd':
  case 'i':
    if (c->wide)
      add(p, snprintf(to, room, c->spec, *(const long long *)argument(p, 8)));
    else
      add(p, snprintf(to, room, c->spec, (long long)*(const int *)argument(p, 4)));
    break;
  case 'o':
  case 'u':
  case 'x':
  case 'X':
    if (c->wide)
      add(p, snprintf(to, room, c->spec, *(const unsigned long long *)argument(p, 8)));
    else
      add(p, snprintf(to, room, c->spec, (unsigned long long)*(const unsigned *)argument(p, 4)));
    break;
  case 'c': add(p, snprintf(to, room, c->spec, *(const int *)argument(p, 4))); break;
  case 's': {
    const char *text = *(const char *const *)argument(p, 8);
    add(p, snprintf(to, room, c->spec, text ? text : "(null)"));
    break;
  }
  case 'p': add(p, snprintf(to, room, c->spec, *(void *const *)argument(p, 8))); break;
  case '%': add(p, snprintf(to, room, "%%")); break;
  case 'n':
  case 0: break;
  default: add(p, snprintf(to, room, c->spec, *(const double *)argument(p, 8)));
  }
}

static void format_all(printer *p, const char *f) {
  while (*f && p->length < TEXT_BYTES - 1) {
    conversion c;
    if (*f != '%') {
      p->text[p->length++] = *f++;
      continue;
    }
    f = read_conversion(p, f + 1, &c);
    convert(p, &c);
  }
}

int32_t rm_printf(struct rm_block *block, const char *format, const void *arguments) {
  printer p = {.length = 0, .arguments = arguments};
  format_all(&p, format);
  fwrite(p.text, 1, p.length, stdout);
  ((sg_block *)block)->grid->printed = true;
  return p.count;
}

void rm_assert_fail(struct rm_block *block, const char *message, const char *file, uint32_t line,
                    const char *function, uint32_t x, uint32_t y, uint32_t z) {
  char text[TEXT_BYTES];
  snprintf(text, sizeof text,
           "%s:%u: %s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%s` failed.\n", file, line,
           function, block->ctaid[0], block->ctaid[1], block->ctaid[2], x, y, z, message);
  sg_say(text);
  sg_fault_leave(CUDA_ERROR_ASSERT);
}
