/* flat.h: just enough FlatBuffers for the control messages in C: a writer that goes front to back,
 * and a reader that checks every offset against the buffer. Format: the FlatBuffers internals page.
 * Must not know: which messages there are. */
#ifndef REMORA_FLAT_H
#define REMORA_FLAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- writing */

typedef struct rm_flat_writer {
  uint8_t *bytes;
  uint32_t n, room;
  bool full; /* something did not fit: the buffer is worthless */
} rm_flat_writer;

#define RM_FLAT_FIELDS 32u

typedef struct rm_flat_new { /* a table being written */
  uint32_t at;
  uint16_t offset[RM_FLAT_FIELDS]; /* of each field in the table */
} rm_flat_new;

/* An empty buffer in room bytes of memory, whose root is the first table. identifier: 4 letters. */
void rm_flat_start(rm_flat_writer *w, void *memory, uint32_t room, const char *identifier);
/* A table whose fields 0..count-1 take sizes[i] bytes (4 for strings and vectors), all zero. */
void rm_flat_table(rm_flat_writer *w, rm_flat_new *table, const uint8_t *sizes, unsigned count);
void rm_flat_put(rm_flat_writer *w, const rm_flat_new *table, unsigned field, uint64_t value,
                 unsigned size);
void rm_flat_put_string(rm_flat_writer *w, const rm_flat_new *table, unsigned field,
                        const char *text);
void rm_flat_put_bytes(rm_flat_writer *w, const rm_flat_new *table, unsigned field,
                       const void *bytes, uint32_t n);
/* A vector of count tables; each is then made with rm_flat_table and put in its place. */
uint32_t rm_flat_put_tables(rm_flat_writer *w, const rm_flat_new *table, unsigned field,
                            uint32_t count);
void rm_flat_put_element(rm_flat_writer *w, uint32_t vector, uint32_t i,
                         const rm_flat_new *element);

/* ---- reading */

typedef struct rm_flat_buffer {
  const uint8_t *bytes;
  uint32_t n;
  bool broken; /* an offset left the buffer; what was read since is empty */
} rm_flat_buffer;

typedef struct rm_flat_table_in {
  rm_flat_buffer *in;
  uint32_t at, bytes, vtable, vtable_bytes; /* bytes 0: no such table, all fields are absent */
} rm_flat_table_in;

typedef struct rm_flat_vector {
  rm_flat_buffer *in;
  uint32_t at, count;
} rm_flat_vector;

/* Does the buffer carry this identifier? */
bool rm_flat_is(const void *bytes, uint32_t n, const char *identifier);
rm_flat_table_in rm_flat_root(rm_flat_buffer *in);
/* A scalar field of 1, 2, 4 or 8 bytes, zero-extended; `absent` if it isn't there. */
uint64_t rm_flat_get(rm_flat_table_in table, unsigned field, unsigned size, uint64_t absent);
/* Copies a string field, cut to room - 1 bytes, always terminated. */
void rm_flat_get_string(rm_flat_table_in table, unsigned field, char *text, size_t room);
/* Copies a vector of bytes; 0 too if it does not fit. How many. */
uint32_t rm_flat_get_bytes(rm_flat_table_in table, unsigned field, void *bytes, uint32_t room);
/* A vector field whose elements take size bytes each. */
rm_flat_vector rm_flat_get_vector(rm_flat_table_in table, unsigned field, unsigned size);
/* Element i of a vector of tables. */
rm_flat_table_in rm_flat_element(rm_flat_vector vector, uint32_t i);

#endif
