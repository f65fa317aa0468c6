/* Descriptions: looked up in the cache by the image's hash, else asked of the compile service, and
   checked once so that everything after may follow their offsets. */
#include "program.h"
#include "fault.h"
#include "service.h"
#include "sha256.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char options[] = "";

/* ---- the environment: known from the cache's file or from the service's hello */

static CUresult no_service(sg_jit_log *log, const sg_file *reason) {
  sg_jit_log_error(log, CUDA_ERROR_JIT_COMPILER_NOT_FOUND,
                   reason->data ? (const char *)reason->data : "out of memory");
  return CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
}

static CUresult hello(char *environment, sg_jit_log *log) {
  uint32_t code, body[2] = {RM_KERNEL_ABI, 0};
  sg_piece piece = {body, sizeof body};
  sg_file reply;
  CUresult r = CUDA_ERROR_JIT_COMPILER_NOT_FOUND;
  if (!sg_service_ask(RM_ASK_HELLO, &piece, 1, &code, &reply))
    r = no_service(log, &reply);
  else if (code != RM_SERVICE_OK || reply.bytes != SG_ENVIRONMENT_CHARS)
    sg_jit_log_error(log, r, "the compile service is of another version than this driver");
  else {
    memcpy(environment, reply.data, SG_ENVIRONMENT_CHARS + 1);
    r = CUDA_SUCCESS;
  }
  sg_file_release(&reply);
  return r;
}

/* anew: what is known has turned out not to be the service's. */
static CUresult environment_name(char *environment, bool anew, sg_jit_log *log) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  static char known[SG_ENVIRONMENT_CHARS + 1];
  CUresult r = CUDA_SUCCESS;
  pthread_mutex_lock(&lock);
  if (anew || (!known[0] && !sg_cache_environment(known))) {
    known[0] = 0;
    r = hello(known, log);
  }
  memcpy(environment, known, sizeof known);
  pthread_mutex_unlock(&lock);
  return r;
}

/* ---- checking a description */

static const void *table(const sg_file *f, uint64_t offset, uint64_t count, size_t size) {
  uint64_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes) || offset > f->bytes ||
      bytes > f->bytes - offset || (size >= 8 && offset % 8))
    return NULL;
  return f->data + offset;
}

static bool find_tables(sg_program *p) {
  const sg_file *f = &p->file;
  const struct rm_desc *h = table(f, 0, 1, sizeof *h);
  if (!h || h->magic != RM_DESC_MAGIC || h->abi != RM_KERNEL_ABI || h->bytes != f->bytes)
    return false;
  p->head = h;
  p->kernels = table(f, h->kernels, h->kernel_count, sizeof *p->kernels);
  p->params = table(f, h->params, h->param_count, sizeof *p->params);
  p->variables = table(f, h->variables, h->variable_count, sizeof *p->variables);
  p->fixups = table(f, h->references, h->reference_count, sizeof *p->fixups);
  p->data = table(f, h->data, h->data_bytes, 1);
  p->strings = table(f, h->strings, h->string_bytes, 1);
  return p->kernels && p->params && p->variables && p->fixups && p->data && p->strings &&
         (!h->string_bytes || p->strings[h->string_bytes - 1] == 0);
}

static bool kernel_holds(const sg_program *p, const struct rm_desc_kernel *k) {
  return k->name < p->head->string_bytes && k->first_param <= p->head->param_count &&
         k->param_count <= p->head->param_count - k->first_param;
}

static bool params_hold(const sg_program *p, const struct rm_desc_kernel *k) {
  for (uint32_t i = 0; i < k->param_count; i++) {
    const struct rm_desc_param *q = &p->params[k->first_param + i];
    if (q->offset > k->param_bytes || q->size > k->param_bytes - q->offset) return false;
  }
  return k->param_bytes <= 65536;
}

static bool fixups_hold(const sg_program *p, const struct rm_desc_variable *v) {
  for (uint32_t i = 0; i < v->reference_count; i++) {
    const struct rm_desc_reference *x = &p->fixups[v->first_reference + i];
    if (x->offset > v->bytes || x->bytes > v->bytes - x->offset || x->bytes > 8 || x->shift > 63 ||
        x->symbol >= p->head->string_bytes)
      return false;
  }
  return true;
}

static bool variable_holds(const sg_program *p, const struct rm_desc_variable *v) {
  const struct rm_desc *h = p->head;
  bool init = v->init == RM_DESC_NONE ||
              (v->init <= h->data_bytes && v->init_bytes <= h->data_bytes - v->init &&
               v->init_bytes <= v->bytes);
  return init && v->name < h->string_bytes && v->first_reference <= h->reference_count &&
         v->reference_count <= h->reference_count - v->first_reference && fixups_hold(p, v);
}

static bool accept(sg_program *p, sg_file file) {
  p->file = file;
  bool ok = find_tables(p);
  for (uint32_t i = 0; ok && i < p->head->kernel_count; i++)
    ok = kernel_holds(p, &p->kernels[i]) && params_hold(p, &p->kernels[i]);
  for (uint32_t i = 0; ok && i < p->head->variable_count; i++)
    ok = variable_holds(p, &p->variables[i]);
  return ok;
}

/* ---- asking the service */

static CUresult refused(uint32_t code, const sg_file *reply, sg_jit_log *log) {
  CUresult r = code == RM_SERVICE_NEED_IMAGE ? CUDA_ERROR_UNKNOWN : (CUresult)code;
  sg_jit_log_error(log, r, (const char *)reply->data);
  return r;
}

static CUresult describe(const sg_program *p, sg_jit_log *log, sg_file *reply) {
  struct rm_ask_describe ask = {sizeof options - 1, 0};
  sg_piece pieces[] = {
      {&ask, sizeof ask}, {options, sizeof options - 1}, {p->image.data, p->image.bytes}};
  uint32_t code;
  CUresult r = CUDA_SUCCESS;
  if (!sg_service_ask(RM_ASK_DESCRIBE, pieces, 3, &code, reply))
    r = no_service(log, reply);
  else if (code != RM_SERVICE_OK)
    r = refused(code, reply, log);
  if (r != CUDA_SUCCESS) sg_file_release(reply);
  return r;
}

static CUresult compile(sg_program *p, uint32_t unit, sg_jit_log *log) {
  struct rm_ask_compile ask = {.unit = unit};
  sg_piece piece = {&ask, sizeof ask};
  uint32_t code = RM_SERVICE_NEED_IMAGE;
  sg_file reply = {0};
  CUresult r = CUDA_SUCCESS;
  memcpy(ask.key, p->key, sizeof ask.key);
  for (int tries = 0; r == CUDA_SUCCESS && code == RM_SERVICE_NEED_IMAGE && tries < 3; tries++) {
    sg_file_release(&reply);
    if (tries) r = describe(p, log, &reply);
    if (r != CUDA_SUCCESS) return r;
    sg_file_release(&reply);
    if (!sg_service_ask(RM_ASK_COMPILE, &piece, 1, &code, &reply)) r = no_service(log, &reply);
  }
  if (r == CUDA_SUCCESS && code != RM_SERVICE_OK) r = refused(code, &reply, log);
  sg_file_release(&reply);
  return r;
}

/* ---- programs */

static CUresult fetch(sg_program *p, sg_jit_log *log) {
  char environment[SG_ENVIRONMENT_CHARS + 1];
  sg_file file;
  CUresult r = environment_name(environment, false, log);
  if (r != CUDA_SUCCESS) return r;
  if (sg_cache_read_module(environment, p->key, &file)) {
    if (accept(p, file)) return CUDA_SUCCESS;
    sg_file_release(&p->file);
  }
  r = describe(p, log, &file);
  if (r != CUDA_SUCCESS || accept(p, file)) return r;
  sg_jit_log_error(log, CUDA_ERROR_UNKNOWN, "the compile service gave a damaged description");
  return CUDA_ERROR_UNKNOWN;
}

static void make_key(sg_program *p) {
  sg_sha256 hash;
  sg_sha256_start(&hash);
  sg_sha256_add(&hash, options, sizeof options); /* with its zero byte */
  sg_sha256_add(&hash, p->image.data, p->image.bytes);
  sg_sha256_end(&hash, p->key);
}

typedef struct image_copy {
  void *to;
  const sg_image *from;
} image_copy;

static void copy_body(void *argument) {
  const image_copy *c = argument;
  memcpy(c->to, c->from->data, c->from->bytes);
}

static CUresult copy_image(sg_program *p, const sg_image *image) {
  p->image.owned = malloc(image->bytes);
  if (!p->image.owned) return CUDA_ERROR_OUT_OF_MEMORY;
  image_copy copy = {p->image.owned, image};
  if (sg_fault_guard(copy_body, &copy) != CUDA_SUCCESS) return CUDA_ERROR_INVALID_IMAGE;
  p->image.data = p->image.owned;
  p->image.bytes = image->bytes;
  return CUDA_SUCCESS;
}

CUresult sg_program_load(const sg_image *image, sg_jit_log *log, sg_program **program) {
  sg_program *p = calloc(1, sizeof *p);
  if (!p) return CUDA_ERROR_OUT_OF_MEMORY;
  p->references = 1;
  CUresult r = copy_image(p, image);
  if (r == CUDA_SUCCESS) {
    make_key(p);
    r = fetch(p, log);
  }
  if (r == CUDA_SUCCESS)
    *program = p;
  else
    sg_program_drop(p);
  return r;
}

sg_program *sg_program_hold(sg_program *p) {
  p->references++;
  return p;
}

void sg_program_drop(sg_program *p) {
  if (!p || --p->references) return;
  sg_image_release(&p->image);
  sg_file_release(&p->file);
  free(p);
}

CUresult sg_program_object(sg_program *p, uint32_t unit, sg_jit_log *log, sg_file *object) {
  char environment[SG_ENVIRONMENT_CHARS + 1];
  CUresult r = environment_name(environment, false, log);
  if (r != CUDA_SUCCESS || sg_cache_read_unit(environment, p->key, unit, object)) return r;
  r = compile(p, unit, log);
  if (r != CUDA_SUCCESS || sg_cache_read_unit(environment, p->key, unit, object)) return r;
  r = environment_name(environment, true, log);
  if (r != CUDA_SUCCESS || sg_cache_read_unit(environment, p->key, unit, object)) return r;
  sg_jit_log_error(log, CUDA_ERROR_UNKNOWN, "a compiled kernel is missing from the cache");
  return CUDA_ERROR_UNKNOWN;
}

int sg_program_kernel(const sg_program *p, const char *name) {
  for (uint32_t i = 0; i < p->head->kernel_count; i++)
    if (!strcmp(sg_program_name(p, p->kernels[i].name), name)) return (int)i;
  return -1;
}

int sg_program_variable(const sg_program *p, const char *name) {
  for (uint32_t i = 0; i < p->head->variable_count; i++)
    if (!strcmp(sg_program_name(p, p->variables[i].name), name)) return (int)i;
  return -1;
}
