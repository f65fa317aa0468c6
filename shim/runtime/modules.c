/* modules.c: loading images by the hash of their content. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "blake2b.h"
#include "context.h"
#include "copy.h"
#include "modules.h"
#include "ranges.h"
#include "session.h"
#include "shared.h"
#include "thread.h"
#include "../generated/records.h"

#define LINKED 1u              /* module_load.flags: the image is several fatbins, to be linked */
#define SEND_FIRST (64u << 10) /* smaller images go up unasked: cheaper than a round trip */

/* ---- sending an image */

static CUresult send_piece(rm_context *context, const rm_image *image, const uint64_t hash[4],
                           size_t offset, size_t n) {
  rm_call call;
  const char *bytes = (const char *)image->bytes + offset;
  bool in_record = n <= RM_INLINE_MAX;
  uint32_t body = (uint32_t)(sizeof(rm_q_image_data) + (in_record ? n : 0));
  CUresult status = rm_call_begin_on(&call, context, RM_CALL_image_data, body);
  if (status) return status;
  rm_q_image_data *q = call.body;
  *q = (rm_q_image_data){.size = image->size, .offset = offset, .bytes = n};
  memcpy(q->hash, hash, sizeof q->hash);
  if (!in_record) return rm_call_post_bulk(&call, bytes, n);
  memcpy(q + 1, bytes, n);
  return rm_call_post(&call);
}

static CUresult send_image(rm_context *context, const rm_image *image, const uint64_t hash[4]) {
  CUresult status = CUDA_SUCCESS;
  for (size_t at = 0; at < image->size && !status; at += RM_BULK_MAX) {
    size_t left = image->size - at;
    status = send_piece(context, image, hash, at, left < RM_BULK_MAX ? left : RM_BULK_MAX);
  }
  if (!status && rm_bulk_returned(rm_session.channel)) status = rm_session_failure();
  return status;
}

/* ---- loading */

static CUresult ask(rm_module *module, rm_context *context, const rm_image *image,
                    const uint64_t hash[4], bool *have) {
  rm_call call;
  rm_a_module_load answer;
  void *listing;
  CUresult status = rm_call_begin_on(&call, context, RM_CALL_module_load, sizeof(rm_q_module_load));
  if (status) return status;
  rm_q_module_load *q = call.body;
  *q = (rm_q_module_load){.module = module->object.id,
                          .kind = module->library,
                          .flags = image->linked ? LINKED : 0,
                          .size = image->size};
  memcpy(q->hash, hash, sizeof q->hash);
  status = rm_call_wait_alloc(&call, &answer, sizeof answer, &listing, &module->listing_bytes);
  if (status) return status;
  *have = answer.have != 0;
  module->listing = listing;
  module->listing_count = answer.count;
  return CUDA_SUCCESS;
}

static CUresult load(rm_module *module, rm_context *context, const rm_image *image) {
  uint64_t hash[4];
  bool have = false;
  CUresult status = CUDA_SUCCESS;
  rm_blake2b_256(image->bytes, image->size, hash);
  if (image->size > SEND_FIRST) status = ask(module, context, image, hash, &have);
  if (status || have) return status;
  free(module->listing);
  module->listing = NULL;
  status = send_image(context, image, hash);
  if (!status) status = ask(module, context, image, hash, &have);
  return status || have ? status : CUDA_ERROR_INVALID_IMAGE;
}

CUresult rm_module_load(const rm_image *image, rm_context *context, bool library, rm_module **out) {
  rm_module *module = rm_object_new(RM_MODULE);
  if (!module) return CUDA_ERROR_OUT_OF_MEMORY;
  module->library = library;
  module->of_runtime = library && image->wrapped;
  module->context = library ? NULL : context;
  CUresult status = load(module, context, image);
  if (status)
    rm_module_forget(module);
  else
    *out = module;
  return status;
}

CUresult rm_module_unload(rm_module *module) {
  rm_call call;
  rm_context *context = module->library ? rm_context_current() : module->context;
  CUresult status =
      rm_call_begin_on(&call, context, RM_CALL_module_unload, sizeof(rm_q_module_unload));
  if (status) return status;
  ((rm_q_module_unload *)call.body)->module = module->object.id;
  rm_call_post(&call);
  rm_module_forget(module);
  return CUDA_SUCCESS;
}

void rm_module_forget(rm_module *module) {
  rm_range_forget_owner(module);
  if (rm_shared_any()) rm_shared_forget_owner(module);
  for (rm_function *f = module->functions, *next; f; f = next) {
    next = f->next;
    rm_function_forget(f);
  }
  free(module->listing);
  rm_object_free(module);
}

/* ---- variables */

static CUresult ask_address(const rm_module *module, rm_context *context, uint16_t op,
                            const char *name, rm_a_global_get *answer) {
  rm_call call;
  size_t n = strlen(name);
  CUresult status = rm_call_begin_on(&call, context, op, (uint32_t)(sizeof(rm_q_global_get) + n));
  if (status) return status;
  rm_q_global_get *q = call.body;
  q->module = module->object.id;
  memcpy(q + 1, name, n);
  return rm_call_wait(&call, answer, sizeof *answer);
}

static void note(rm_module *module, rm_context *context, enum rm_range_kind kind,
                 const rm_a_global_get *answer, CUdeviceptr *out, size_t *bytes) {
  rm_range range = {.base = answer->ptr,
                    .bytes = answer->bytes,
                    .kind = kind,
                    .context = context,
                    .owner = module};
  rm_range_add(&range);
  if (out) *out = answer->ptr;
  if (bytes) *bytes = answer->bytes;
}

CUresult rm_global_named(rm_module *module, const char *name, CUdeviceptr *out, size_t *bytes) {
  rm_a_global_get answer;
  rm_context *context = module->library ? rm_context_current() : module->context;
  if (!context) return CUDA_ERROR_INVALID_CONTEXT;
  CUresult status = ask_address(module, context, RM_CALL_global_get, name, &answer);
  if (!status) note(module, context, RM_RANGE_GLOBAL, &answer, out, bytes);
  return status;
}

_Static_assert(sizeof(rm_q_managed_get) == sizeof(rm_q_global_get), "managed_get is global_get");
_Static_assert(sizeof(rm_a_managed_get) == sizeof(rm_a_global_get), "managed_get is global_get");

CUresult rm_managed_named(rm_module *module, const char *name, CUdeviceptr *out, size_t *bytes) {
  rm_a_global_get answer;
  uint64_t known;
  rm_context *context = rm_context_current();
  if (!context) context = rm_context_primary(0);
  if (!context) return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult status = ask_address(module, context, RM_CALL_managed_get, name, &answer);
  if (status) return status;
  known = answer.ptr;
  if (!rm_shared_any() || !rm_shared_translate(&known))
    status = rm_shared_add_variable(context, module, answer.ptr, answer.bytes);
  if (!status) note(module, context, RM_RANGE_MANAGED, &answer, out, bytes);
  return status;
}
