/* functions.c: finding a module's functions, with the layout of their parameters. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "modules.h"
#include "session.h"
#include "thread.h"
#include "../generated/records.h"

#define PARAM_BYTES_MAX 65536u /* CUDA allows 32,764 */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all modules' lists */

static rm_context *context_of(const rm_module *module) {
  return module->library ? rm_context_current() : module->context;
}

/* ---- making one */

static bool set_params(rm_function *f, const rm_s_param *params, uint32_t count) {
  f->params = calloc(count ? count : 1, sizeof *f->params);
  if (!f->params) return false;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t end = params[i].offset + params[i].size;
    if (params[i].offset > PARAM_BYTES_MAX || params[i].size > PARAM_BYTES_MAX) return false;
    f->params[i] = (rm_param){params[i].offset, params[i].size};
    f->param_bytes = end > f->param_bytes ? end : f->param_bytes;
  }
  f->param_count = count;
  return true;
}

static rm_function *function_new(rm_module *module, const char *name, size_t name_bytes) {
  rm_function *f = rm_object_new(RM_FUNCTION);
  if (!f) return NULL;
  f->module = module;
  f->name = strndup(name, name_bytes);
  if (f->name) return f;
  rm_function_forget(f);
  return NULL;
}

void rm_function_forget(rm_function *f) {
  free(f->name);
  free(f->params);
  rm_object_free(f);
}

static void link_in(rm_function *f) {
  f->next = f->module->functions;
  f->module->functions = f;
}

static rm_function *linked(const rm_module *module, const char *name, size_t n) {
  for (rm_function *f = module->functions; f; f = f->next)
    if (!strncmp(f->name, name, n) && !f->name[n]) return f;
  return NULL;
}

/* ---- from the listing that came with the module */

/* The entry at *at if it is whole; advances. */
static const rm_s_function *next_entry(const rm_module *module, size_t *at) {
  if (module->listing_bytes - *at < sizeof(rm_s_function)) return NULL;
  const rm_s_function *e = (const void *)((const char *)module->listing + *at);
  uint64_t needed = sizeof *e + (uint64_t)e->param_count * sizeof(rm_s_param) + e->name_bytes;
  if (e->bytes < needed || e->bytes > module->listing_bytes - *at || e->bytes % 8) return NULL;
  *at += e->bytes;
  return e;
}

static const char *entry_name(const rm_s_function *e) {
  return (const char *)(e + 1) + (size_t)e->param_count * sizeof(rm_s_param);
}

static CUresult bind(const rm_function *f, uint32_t index) {
  rm_call call;
  CUresult status = rm_call_begin_on(&call, context_of(f->module), RM_CALL_function_bind,
                                     sizeof(rm_q_function_bind));
  if (status) return status;
  *(rm_q_function_bind *)call.body = (rm_q_function_bind){
      .module = f->module->object.id, .function = f->object.id, .index = index};
  return rm_call_post(&call);
}

/* With the lock held: the entry's function, bound to an id on the engine. */
static CUresult from_entry(rm_module *module, const rm_s_function *e, rm_function **out) {
  *out = linked(module, entry_name(e), e->name_bytes);
  if (*out) return CUDA_SUCCESS;
  rm_function *f = function_new(module, entry_name(e), e->name_bytes);
  if (!f) return CUDA_ERROR_OUT_OF_MEMORY;
  memcpy(f->attributes, e->attributes, sizeof f->attributes);
  CUresult status = set_params(f, (const void *)(e + 1), e->param_count)
                        ? bind(f, e->index)
                        : CUDA_ERROR_OPERATING_SYSTEM;
  if (status) {
    rm_function_forget(f);
    return status;
  }
  link_in(f);
  *out = f;
  return CUDA_SUCCESS;
}

static CUresult from_listing(rm_module *module, const char *name, rm_function **out) {
  size_t at = 0, n = strlen(name);
  for (const rm_s_function *e; (e = next_entry(module, &at));)
    if (e->name_bytes == n && !memcmp(entry_name(e), name, n)) return from_entry(module, e, out);
  return CUDA_ERROR_NOT_FOUND;
}

/* With the lock held. */
static CUresult ask_list(rm_module *module) {
  rm_call call;
  rm_a_module_list answer;
  void *listing;
  uint32_t bytes;
  CUresult status =
      rm_call_begin_on(&call, context_of(module), RM_CALL_module_list, sizeof(rm_q_module_list));
  if (status) return status;
  ((rm_q_module_list *)call.body)->module = module->object.id;
  status = rm_call_wait_alloc(&call, &answer, sizeof answer, &listing, &bytes);
  if (status) return status;
  free(module->listing);
  module->listing = listing;
  module->listing_bytes = bytes;
  module->listing_count = answer.count;
  return CUDA_SUCCESS;
}

CUresult rm_function_list(rm_module *module, rm_function **out, uint32_t capacity,
                          uint32_t *count) {
  size_t at = 0;
  pthread_mutex_lock(&lock);
  CUresult status = module->listing_count ? CUDA_SUCCESS : ask_list(module);
  *count = 0;
  for (const rm_s_function *e; !status && (e = next_entry(module, &at)); ++*count)
    if (*count < capacity) status = from_entry(module, e, &out[*count]);
  pthread_mutex_unlock(&lock);
  return status;
}

/* ---- asked by name */

static CUresult ask(rm_function *f) {
  rm_call call;
  rm_a_function_get answer;
  void *params;
  uint32_t got, n = (uint32_t)strlen(f->name);
  CUresult status = rm_call_begin_on(&call, context_of(f->module), RM_CALL_function_get,
                                     (uint32_t)sizeof(rm_q_function_get) + n);
  if (status) return status;
  rm_q_function_get *q = call.body;
  *q = (rm_q_function_get){.module = f->module->object.id, .function = f->object.id};
  memcpy(q + 1, f->name, n);
  status = rm_call_wait_alloc(&call, &answer, sizeof answer, &params, &got);
  if (!status && (got < (uint64_t)answer.param_count * sizeof(rm_s_param) ||
                  !set_params(f, params, answer.param_count)))
    status = CUDA_ERROR_OPERATING_SYSTEM;
  if (!status) memcpy(f->attributes, answer.attributes, sizeof f->attributes);
  free(params);
  return status;
}

static CUresult from_engine(rm_module *module, const char *name, rm_function **out) {
  rm_function *f = function_new(module, name, strlen(name));
  if (!f) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult status = ask(f);
  if (status) {
    rm_function_forget(f);
    return status;
  }
  pthread_mutex_lock(&lock);
  *out = linked(module, name, strlen(name)); /* another thread may have asked as well */
  if (!*out) link_in(*out = f);
  pthread_mutex_unlock(&lock);
  return CUDA_SUCCESS;
}

CUresult rm_function_named(rm_module *module, const char *name, rm_function **out) {
  CUresult status = CUDA_SUCCESS;
  pthread_mutex_lock(&lock);
  *out = linked(module, name, strlen(name));
  if (!*out && module->listing_count) status = from_listing(module, name, out);
  pthread_mutex_unlock(&lock);
  if (*out || (status && status != CUDA_ERROR_NOT_FOUND)) return status;
  return from_engine(module, name, out);
}
