/* verbs.c: see verbs.h. The library stays open: the devices' drivers in it may not be unloaded. */
#include "verbs.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>

#define LIBRARY "libibverbs.so.1"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static rm_verbs verbs;
static const char *trouble; /* NULL: it is open */

static const struct symbol {
  const char *name;
  size_t at;
} symbols[] = {
#define SYMBOL(name) {"ibv_" #name, offsetof(rm_verbs, name)}
    SYMBOL(get_device_list),
    SYMBOL(free_device_list),
    SYMBOL(get_device_name),
    SYMBOL(open_device),
    SYMBOL(close_device),
    SYMBOL(query_device),
    SYMBOL(query_port),
    SYMBOL(query_gid),
    SYMBOL(alloc_pd),
    SYMBOL(dealloc_pd),
    SYMBOL(reg_mr),
    SYMBOL(dereg_mr),
    SYMBOL(create_cq),
    SYMBOL(create_comp_channel),
    SYMBOL(destroy_comp_channel),
    SYMBOL(destroy_cq),
    SYMBOL(get_cq_event),
    SYMBOL(ack_cq_events),
    SYMBOL(create_qp),
    SYMBOL(modify_qp),
    SYMBOL(destroy_qp),
    SYMBOL(wc_status_str),
    SYMBOL(fork_init),
#undef SYMBOL
};

static bool find_all(void *library) {
  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *found = dlsym(library, symbols[i].name);
    if (!found) return false;
    *(void **)((char *)&verbs + symbols[i].at) = found;
  }
  return true;
}

/* Not there in older versions. */
static void find_more(void *library) {
  *(void **)&verbs.reg_dmabuf_mr = dlsym(library, "ibv_reg_dmabuf_mr");
}

#define FORK_UNNEEDED 2

/* Kernels from 5.12 on give a child copies of pinned pages at the fork. On older ones the library
 * has to take registered pages away from the child, or the parent's next write would move them away
 * from the device. Asked first: some versions of the library take them away in any case. It fails
 * when the program itself used the library before: then it is as the program wants it. */
static void survive_forks(void *library) {
  int (*needed)(void) = (int (*)(void))dlsym(library, "ibv_is_fork_initialized");
  if (!needed || needed() != FORK_UNNEEDED) verbs.fork_init();
}

static void open_library(void) {
  void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library)
    trouble = LIBRARY " is not installed";
  else if (!find_all(library))
    trouble = LIBRARY " is older than 2006's interface IBVERBS_1.1";
  else
    find_more(library), survive_forks(library);
}

const rm_verbs *rm_verbs_open(const char **why) {
  pthread_once(&once, open_library);
  *why = trouble;
  return trouble ? NULL : &verbs;
}
