/* flat.c: see flat.h. Offsets are little endian and relative to where they stand. */
#include "flat.h"

#include <string.h>

/* ---- writing */

static uint32_t reserve(rm_flat_writer *w, uint32_t bytes, uint32_t align) {
  uint32_t at = (w->n + align - 1) / align * align;
  if (w->full || at > w->room || bytes > w->room - at) {
    w->full = true;
    return 0;
  }
  memset(w->bytes + w->n, 0, at + bytes - w->n);
  w->n = at + bytes;
  return at;
}

static void store(rm_flat_writer *w, uint32_t at, uint64_t value, unsigned size) {
  if (!w->full) memcpy(w->bytes + at, &value, size);
}

void rm_flat_start(rm_flat_writer *w, void *memory, uint32_t room, const char *identifier) {
  *w = (rm_flat_writer){.bytes = memory, .room = room};
  uint32_t at = reserve(w, 8, 8);
  if (!w->full) memcpy(w->bytes + at + 4, identifier, 4);
}

/* Widest fields first, so that none needs padding. Returns the table's size. */
static uint32_t lay_out(rm_flat_new *table, const uint8_t *sizes, unsigned count) {
  uint32_t end = 8; /* the table starts with the vtable's offset; 8-byte fields follow aligned */
  for (unsigned size = 8; size; size /= 2)
    for (unsigned i = 0; i < count; i++)
      if (sizes[i] == size) table->offset[i] = (uint16_t)end, end += size;
  return end;
}

void rm_flat_table(rm_flat_writer *w, rm_flat_new *table, const uint8_t *sizes, unsigned count) {
  *table = (rm_flat_new){0};
  uint32_t bytes = lay_out(table, sizes, count), vtable_bytes = 4 + 2 * count;
  uint32_t vtable = reserve(w, vtable_bytes, 2);
  table->at = reserve(w, bytes, 8);
  store(w, vtable, vtable_bytes, 2);
  store(w, vtable + 2, bytes, 2);
  for (unsigned i = 0; i < count; i++) store(w, vtable + 4 + 2 * i, table->offset[i], 2);
  store(w, table->at, table->at - vtable, 4);
  uint32_t root = 0;
  if (!w->full) memcpy(&root, w->bytes, 4);
  if (!root) store(w, 0, table->at, 4);
}

void rm_flat_put(rm_flat_writer *w, const rm_flat_new *table, unsigned field, uint64_t value,
                 unsigned size) {
  store(w, table->at + table->offset[field], value, size);
}

void rm_flat_put_string(rm_flat_writer *w, const rm_flat_new *table, unsigned field,
                        const char *text) {
  size_t n = strlen(text);
  if (n >= w->room) w->full = true;
  if (w->full) return;
  uint32_t at = reserve(w, (uint32_t)n + 5, 4), from = table->at + table->offset[field];
  store(w, from, at - from, 4);
  store(w, at, n, 4);
  if (!w->full) memcpy(w->bytes + at + 4, text, n);
}

static uint32_t put_vector(rm_flat_writer *w, const rm_flat_new *table, unsigned field,
                           uint32_t count, uint32_t bytes) {
  uint32_t at = reserve(w, bytes + 4, 4), from = table->at + table->offset[field];
  store(w, from, at - from, 4);
  store(w, at, count, 4);
  return at + 4;
}

void rm_flat_put_bytes(rm_flat_writer *w, const rm_flat_new *table, unsigned field,
                       const void *bytes, uint32_t n) {
  uint32_t at = put_vector(w, table, field, n, n);
  if (!w->full && n) memcpy(w->bytes + at, bytes, n);
}

uint32_t rm_flat_put_tables(rm_flat_writer *w, const rm_flat_new *table, unsigned field,
                            uint32_t count) {
  return put_vector(w, table, field, count, 4 * count);
}

void rm_flat_put_element(rm_flat_writer *w, uint32_t vector, uint32_t i,
                         const rm_flat_new *element) {
  store(w, vector + 4 * i, element->at - (vector + 4 * i), 4);
}

/* ---- reading */

static bool inside(rm_flat_buffer *in, uint64_t at, uint64_t bytes) {
  if (!in->broken && at <= in->n && bytes <= in->n - at) return true;
  in->broken = true;
  return false;
}

static uint64_t load(rm_flat_buffer *in, uint64_t at, unsigned size) {
  uint64_t value = 0;
  if (inside(in, at, size)) memcpy(&value, in->bytes + at, size);
  return value;
}

/* Where the offset at `at` points to. */
static uint64_t follow(rm_flat_buffer *in, uint64_t at) { return at + load(in, at, 4); }

bool rm_flat_is(const void *bytes, uint32_t n, const char *identifier) {
  return n >= 8 && memcmp((const uint8_t *)bytes + 4, identifier, 4) == 0;
}

static rm_flat_table_in table_at(rm_flat_buffer *in, uint64_t at) {
  rm_flat_table_in none = {.in = in};
  int64_t vtable = (int64_t)at - (int32_t)load(in, at, 4);
  if (vtable < 0) in->broken = true;
  uint32_t vtable_bytes = (uint32_t)load(in, (uint64_t)vtable, 2);
  uint32_t bytes = (uint32_t)load(in, (uint64_t)vtable + 2, 2);
  if (vtable_bytes < 4 || bytes < 4) in->broken = true;
  if (!inside(in, (uint64_t)vtable, vtable_bytes) || !inside(in, at, bytes)) return none;
  return (rm_flat_table_in){in, (uint32_t)at, bytes, (uint32_t)vtable, vtable_bytes};
}

rm_flat_table_in rm_flat_root(rm_flat_buffer *in) { return table_at(in, follow(in, 0)); }

/* Where a field is in the buffer, 0 if absent; it lies within its table. */
static uint32_t field_at(rm_flat_table_in table, unsigned field, unsigned size) {
  uint32_t entry = 4 + 2 * field;
  if (!table.bytes || entry + 2 > table.vtable_bytes) return 0;
  uint32_t offset = (uint32_t)load(table.in, table.vtable + entry, 2);
  if (!offset) return 0;
  if (offset < 4 || offset + size > table.bytes) table.in->broken = true;
  return table.in->broken ? 0 : table.at + offset;
}

uint64_t rm_flat_get(rm_flat_table_in table, unsigned field, unsigned size, uint64_t absent) {
  uint32_t at = field_at(table, field, size);
  return at ? load(table.in, at, size) : absent;
}

rm_flat_vector rm_flat_get_vector(rm_flat_table_in table, unsigned field, unsigned size) {
  rm_flat_vector none = {.in = table.in};
  uint32_t at = field_at(table, field, 4);
  if (!at) return none;
  uint64_t vector = follow(table.in, at);
  uint64_t count = load(table.in, vector, 4);
  if (!inside(table.in, vector + 4, count * size)) return none;
  return (rm_flat_vector){table.in, (uint32_t)vector + 4, (uint32_t)count};
}

void rm_flat_get_string(rm_flat_table_in table, unsigned field, char *text, size_t room) {
  rm_flat_vector string = rm_flat_get_vector(table, field, 1);
  size_t n = string.count < room - 1 ? string.count : room - 1;
  if (n) memcpy(text, string.in->bytes + string.at, n);
  text[n] = 0;
}

uint32_t rm_flat_get_bytes(rm_flat_table_in table, unsigned field, void *bytes, uint32_t room) {
  rm_flat_vector vector = rm_flat_get_vector(table, field, 1);
  if (vector.count > room) vector.count = 0;
  if (vector.count) memcpy(bytes, vector.in->bytes + vector.at, vector.count);
  return vector.count;
}

rm_flat_table_in rm_flat_element(rm_flat_vector vector, uint32_t i) {
  if (i >= vector.count) return (rm_flat_table_in){.in = vector.in};
  return table_at(vector.in, follow(vector.in, vector.at + 4 * (uint64_t)i));
}
