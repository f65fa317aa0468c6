/* A small loader for ELF objects made by LLVM: x86-64, small code model, position independent.
   Memory is writable while sections are copied and relocated and never again: code pages become
   read and execute, constants read only, only writable sections stay writable. Format: System V
   ABI, AMD64 supplement, "Relocation". */
#define _GNU_SOURCE
#include "objects.h"
#include <elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef R_X86_64_GOTPCRELX
#define R_X86_64_GOTPCRELX 41
#define R_X86_64_REX_GOTPCRELX 42
#endif

enum { PAGE = 4096, SLOT_BYTES = 16, MAX_SECTIONS = 4096 };
/* Sections are grouped by protection, one group of pages after another. */
enum { GROUP_CODE, GROUP_CONSTANT, GROUP_DATA, GROUPS };

struct sg_symbol {
  uint32_t name;
  uintptr_t address;
};

typedef struct loader {
  const uint8_t *file;
  size_t bytes;
  const Elf64_Shdr *sections;
  size_t section_count;
  const Elf64_Sym *symbols;
  size_t symbol_count;
  const char *strings;
  size_t string_bytes;
  size_t *place; /* of each section in memory, SIZE_MAX: not loaded */
  size_t group_end[GROUPS];
  size_t slots; /* place of the first slot; slots lie among the code */
  uint8_t *memory;
  uintptr_t *address; /* of each symbol */
  char *problem;
  size_t problem_bytes;
} loader;

static bool bad(loader *l, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(l->problem, l->problem_bytes, format, arguments);
  va_end(arguments);
  return false;
}

static const void *part(loader *l, uint64_t offset, uint64_t bytes) {
  return offset <= l->bytes && bytes <= l->bytes - offset ? l->file + offset : NULL;
}

/* A table of 8-aligned structures. */
static const void *table(loader *l, uint64_t offset, uint64_t bytes) {
  return offset % 8 ? NULL : part(l, offset, bytes);
}

/* ---- reading */

static bool read_header(loader *l) {
  const Elf64_Ehdr *h = part(l, 0, sizeof *h);
  if (!h || memcmp(h->e_ident, ELFMAG, SELFMAG) || h->e_ident[EI_CLASS] != ELFCLASS64)
    return bad(l, "not an ELF object");
  if (h->e_type != ET_REL || h->e_machine != EM_X86_64) return bad(l, "not an x86-64 object");
  if (h->e_shentsize != sizeof(Elf64_Shdr) || !h->e_shnum || h->e_shnum > MAX_SECTIONS)
    return bad(l, "bad section table");
  l->section_count = h->e_shnum;
  l->sections = table(l, h->e_shoff, (uint64_t)h->e_shnum * sizeof(Elf64_Shdr));
  return l->sections || bad(l, "section table outside the file");
}

static bool read_symbols(loader *l) {
  for (size_t i = 0; i < l->section_count; i++) {
    const Elf64_Shdr *s = &l->sections[i];
    if (s->sh_type != SHT_SYMTAB) continue;
    if (s->sh_link >= l->section_count) return bad(l, "symbols without strings");
    const Elf64_Shdr *t = &l->sections[s->sh_link];
    l->symbols = table(l, s->sh_offset, s->sh_size);
    l->symbol_count = s->sh_size / sizeof(Elf64_Sym);
    l->strings = part(l, t->sh_offset, t->sh_size);
    l->string_bytes = t->sh_size;
    if (!l->symbols || !l->strings || !t->sh_size || l->strings[t->sh_size - 1])
      return bad(l, "bad symbol table");
    return true;
  }
  return bad(l, "no symbol table");
}

static const char *name_of(const loader *l, const Elf64_Sym *s) {
  return s->st_name < l->string_bytes ? l->strings + s->st_name : "";
}

/* ---- layout */

static int group_of(const Elf64_Shdr *s) {
  if (s->sh_flags & SHF_EXECINSTR) return GROUP_CODE;
  return s->sh_flags & SHF_WRITE ? GROUP_DATA : GROUP_CONSTANT;
}

static bool place_group(loader *l, int group, size_t *end) {
  for (size_t i = 0; i < l->section_count; i++) {
    const Elf64_Shdr *s = &l->sections[i];
    if (!(s->sh_flags & SHF_ALLOC) || group_of(s) != group) continue;
    if (s->sh_flags & SHF_TLS) return bad(l, "thread-local data");
    size_t align = s->sh_addralign ? s->sh_addralign : 1;
    if ((align & (align - 1)) || align > PAGE || s->sh_size > (1u << 30))
      return bad(l, "section %zu is too large or badly aligned", i);
    *end = (*end + align - 1) & ~(align - 1);
    l->place[i] = *end;
    *end += s->sh_size;
  }
  return *end < (1u << 30) || bad(l, "object too large");
}

static bool lay_out(loader *l) {
  size_t end = 0;
  l->place = malloc(l->section_count * sizeof *l->place);
  if (!l->place) return bad(l, "out of memory");
  for (size_t i = 0; i < l->section_count; i++) l->place[i] = SIZE_MAX;
  for (int group = 0; group < GROUPS; group++) {
    if (!place_group(l, group, &end)) return false;
    if (group == GROUP_CODE) {
      l->slots = (end + SLOT_BYTES - 1) & ~(size_t)(SLOT_BYTES - 1);
      end = l->slots + l->symbol_count * SLOT_BYTES;
    }
    l->group_end[group] = end = (end + PAGE - 1) & ~(size_t)(PAGE - 1);
  }
  return true;
}

static bool copy_sections(loader *l) {
  l->memory = mmap(NULL, l->group_end[GROUPS - 1], PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (l->memory == MAP_FAILED) {
    l->memory = NULL;
    return bad(l, "out of memory");
  }
  for (size_t i = 0; i < l->section_count; i++) {
    const Elf64_Shdr *s = &l->sections[i];
    if (l->place[i] == SIZE_MAX || s->sh_type == SHT_NOBITS) continue;
    const void *from = part(l, s->sh_offset, s->sh_size);
    if (!from) return bad(l, "section %zu outside the file", i);
    memcpy(l->memory + l->place[i], from, s->sh_size);
  }
  return true;
}

/* ---- symbols */

/* A slot: the address (what a GOT entry holds), then `jmp *address(%rip)`. */
static void fill_slot(loader *l, size_t symbol) {
  static const uint8_t jump[8] = {0xff, 0x25, 0xf2, 0xff, 0xff, 0xff, 0x0f, 0x0b};
  uint8_t *slot = l->memory + l->slots + symbol * SLOT_BYTES;
  memcpy(slot, &l->address[symbol], 8);
  memcpy(slot + 8, jump, sizeof jump);
}

static bool find_symbol(loader *l, size_t i, sg_resolver resolve, void *context) {
  const Elf64_Sym *s = &l->symbols[i];
  if (i == 0) return true;
  if (s->st_shndx == SHN_UNDEF) {
    l->address[i] = resolve(context, name_of(l, s));
    if (!l->address[i]) return bad(l, "unknown symbol %s", name_of(l, s));
  } else if (s->st_shndx == SHN_ABS) {
    l->address[i] = s->st_value;
  } else if (s->st_shndx >= l->section_count) {
    return bad(l, "symbol %s in an unknown section", name_of(l, s));
  } else if (l->place[s->st_shndx] != SIZE_MAX) {
    if (s->st_value > l->sections[s->st_shndx].sh_size)
      return bad(l, "symbol %s outside its section", name_of(l, s));
    l->address[i] = (uintptr_t)l->memory + l->place[s->st_shndx] + s->st_value;
  }
  fill_slot(l, i);
  return true;
}

static bool find_symbols(loader *l, sg_resolver resolve, void *context) {
  l->address = calloc(l->symbol_count + 1, sizeof *l->address);
  if (!l->address) return bad(l, "out of memory");
  for (size_t i = 0; i < l->symbol_count; i++)
    if (!find_symbol(l, i, resolve, context)) return false;
  return true;
}

/* ---- relocations */

static bool store32(loader *l, uint8_t *at, int64_t value) {
  if (value != (int32_t)value) return bad(l, "a relative address is out of reach");
  int32_t narrow = (int32_t)value;
  memcpy(at, &narrow, 4);
  return true;
}

static bool relocate(loader *l, uint8_t *at, const Elf64_Rela *r, size_t room) {
  size_t symbol = ELF64_R_SYM(r->r_info);
  uint32_t type = ELF64_R_TYPE(r->r_info);
  bool wide = type == R_X86_64_64 || type == R_X86_64_PC64;
  if (symbol >= l->symbol_count || room < (wide ? 8 : 4)) return bad(l, "bad relocation");
  uintptr_t slot = (uintptr_t)l->memory + l->slots + symbol * SLOT_BYTES;
  uintptr_t target = l->address[symbol];
  uint64_t value = target + (uint64_t)r->r_addend;
  switch (type) {
  case R_X86_64_NONE: return true;
  case R_X86_64_PC64: value -= (uintptr_t)at; /* fall through */
  case R_X86_64_64: memcpy(at, &value, 8); return true;
  case R_X86_64_PLT32:
    if (l->symbols[symbol].st_shndx == SHN_UNDEF) target = slot + 8; /* fall through */
  case R_X86_64_PC32: return store32(l, at, (int64_t)(target + r->r_addend - (uintptr_t)at));
  case R_X86_64_GOTPCREL:
  case R_X86_64_GOTPCRELX:
  case R_X86_64_REX_GOTPCRELX: return store32(l, at, (int64_t)(slot + r->r_addend - (uintptr_t)at));
  default: return bad(l, "relocation of type %u", type);
  }
}

static bool relocate_section(loader *l, const Elf64_Shdr *s) {
  size_t target = s->sh_info;
  if (target >= l->section_count) return bad(l, "relocations for an unknown section");
  if (l->place[target] == SIZE_MAX) return true; /* debug information and the like */
  if (s->sh_type == SHT_REL) return bad(l, "relocations without addends");
  const Elf64_Rela *r = table(l, s->sh_offset, s->sh_size);
  if (!r) return bad(l, "relocations outside the file");
  size_t size = l->sections[target].sh_size;
  for (size_t i = 0; i < s->sh_size / sizeof *r; i++) {
    if (r[i].r_offset > size) return bad(l, "relocation outside its section");
    uint8_t *at = l->memory + l->place[target] + r[i].r_offset;
    if (!relocate(l, at, &r[i], size - r[i].r_offset)) return false;
  }
  return true;
}

static bool relocate_all(loader *l) {
  for (size_t i = 0; i < l->section_count; i++) {
    const Elf64_Shdr *s = &l->sections[i];
    if (s->sh_type != SHT_RELA && s->sh_type != SHT_REL) continue;
    if (!relocate_section(l, s)) return false;
  }
  return true;
}

static bool protect(loader *l) {
  size_t code = l->group_end[GROUP_CODE], constant = l->group_end[GROUP_CONSTANT];
  if (mprotect(l->memory, code, PROT_READ | PROT_EXEC) == 0 &&
      mprotect(l->memory + code, constant - code, PROT_READ) == 0)
    return true;
  return bad(l, "this system does not let programs make code executable");
}

/* ---- what is left of a loaded object */

static bool keep_symbols(loader *l, sg_code *code) {
  code->names = malloc(l->string_bytes);
  code->symbols = calloc(l->symbol_count + 1, sizeof *code->symbols);
  if (!code->names || !code->symbols) return bad(l, "out of memory");
  memcpy(code->names, l->strings, l->string_bytes);
  for (size_t i = 1; i < l->symbol_count; i++) {
    const Elf64_Sym *s = &l->symbols[i];
    if (ELF64_ST_BIND(s->st_info) == STB_LOCAL || s->st_shndx == SHN_UNDEF) continue;
    if (s->st_name < l->string_bytes)
      code->symbols[code->symbol_count++] = (struct sg_symbol){s->st_name, l->address[i]};
  }
  return true;
}

CUresult sg_code_load(const uint8_t *file, size_t bytes, sg_resolver resolve, void *context,
                      sg_code *code, char *problem, size_t size) {
  loader l = {.file = file, .bytes = bytes, .problem = problem, .problem_bytes = size};
  *code = (sg_code){0};
  bool ok = read_header(&l) && read_symbols(&l) && lay_out(&l) && copy_sections(&l) &&
            find_symbols(&l, resolve, context) && relocate_all(&l) && protect(&l) &&
            keep_symbols(&l, code);
  code->memory = l.memory;
  code->bytes = l.memory ? l.group_end[GROUPS - 1] : 0;
  free(l.place);
  free(l.address);
  if (!ok) sg_code_unload(code);
  return ok ? CUDA_SUCCESS : CUDA_ERROR_INVALID_IMAGE;
}

uintptr_t sg_code_symbol(const sg_code *code, const char *name) {
  for (size_t i = 0; i < code->symbol_count; i++)
    if (!strcmp(code->names + code->symbols[i].name, name)) return code->symbols[i].address;
  return 0;
}

void sg_code_unload(sg_code *code) {
  if (code->memory) munmap(code->memory, code->bytes);
  free(code->symbols);
  free(code->names);
  *code = (sg_code){0};
}
