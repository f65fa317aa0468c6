/* table.h: small integers chosen by a client -> what they name, without trusting the integer.
 *
 * Two levels, pages made when needed and never moved, so a reader needs no lock. Must not know:
 * what the entries are. */
#ifndef REMORA_ENGINE_TABLE_H
#define REMORA_ENGINE_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#define TABLE_PAGE 1024u
#define TABLE_PAGES 1024u
#define TABLE_LIMIT ((uint64_t)TABLE_PAGE * TABLE_PAGES) /* ids at or above it are refused */

typedef struct TablePage {
  void *entries[TABLE_PAGE];
} TablePage;

typedef struct Table {
  TablePage *pages[TABLE_PAGES];
} Table;

static inline void **table_slot(Table *t, uint64_t id) {
  if (id >= TABLE_LIMIT) return NULL;
  TablePage *page = __atomic_load_n(&t->pages[id / TABLE_PAGE], __ATOMIC_ACQUIRE);
  return page ? &page->entries[id % TABLE_PAGE] : NULL;
}

static inline void *table_get(Table *t, uint64_t id) {
  void **slot = table_slot(t, id);
  return slot ? __atomic_load_n(slot, __ATOMIC_ACQUIRE) : NULL;
}

static inline bool table_page(Table *t, uint64_t id) {
  if (id >= TABLE_LIMIT) return false;
  if (__atomic_load_n(&t->pages[id / TABLE_PAGE], __ATOMIC_ACQUIRE)) return true;
  TablePage *made = calloc(1, sizeof *made), *none = NULL;
  if (!made) return false;
  if (!__atomic_compare_exchange_n(&t->pages[id / TABLE_PAGE], &none, made, false, __ATOMIC_ACQ_REL,
                                   __ATOMIC_ACQUIRE))
    free(made);
  return true;
}

/* Names entry by id. False: the id is 0, beyond the limit, in use, or memory is out. */
static inline bool table_put(Table *t, uint64_t id, void *entry) {
  void *none = NULL;
  if (id == 0 || !table_page(t, id)) return false;
  return __atomic_compare_exchange_n(table_slot(t, id), &none, entry, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED);
}

/* Takes the entry out; NULL when there is none. */
static inline void *table_take(Table *t, uint64_t id) {
  void **slot = table_slot(t, id);
  return slot ? __atomic_exchange_n(slot, NULL, __ATOMIC_ACQ_REL) : NULL;
}

/* The first id at or after `from` that names something; TABLE_LIMIT when none does. */
static inline uint64_t table_next(Table *t, uint64_t from) {
  for (uint64_t id = from; id < TABLE_LIMIT; id++) {
    if (!t->pages[id / TABLE_PAGE])
      id |= TABLE_PAGE - 1;
    else if (table_get(t, id))
      return id;
  }
  return TABLE_LIMIT;
}

#endif
